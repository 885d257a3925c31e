//! Which keywords count: the vocabularies of a schema's meta-schema
//! (<https://json-schema.org/draft/2020-12/json-schema-core#section-8.1>), and whether the schema follows it.

use std::collections::BTreeMap;

use jsonschema::{Draft, PatternOptions};
use referencing::Registry;
use serde_json::Value;

use super::Refusal;
use super::documents::{Documents, Place};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const VOCABULARY: &str = "https://json-schema.org/draft/2020-12/vocab/";

/// The most errors that are told of one document.
const MAX_REFUSALS: usize = 20;

/// The vocabularies in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether a vocabulary is there")]
pub(super) struct Dialect {
    pub(super) applicator: bool,
    pub(super) validation: bool,
    pub(super) unevaluated: bool,
    /// Whether `format` is an assertion.
    pub(super) formats: bool,
}

impl Dialect {
    const STANDARD: Self = Self { applicator: true, validation: true, unevaluated: true, formats: false };

    /// The dialect of the schema resource that a schema belongs to.
    pub(super) fn of(documents: &Documents<'_>, resource: &Place<'_>) -> Result<Self, Refusal> {
        let Some(meta) = resource.schema.get("$schema").and_then(Value::as_str) else { return Ok(Self::STANDARD) };
        if meta.trim_end_matches('#') == DRAFT {
            return Ok(Self::STANDARD);
        }
        let refuse = |reason: String| resource.refuse("$schema", reason);
        let Some(meta_schema) = documents.resource(meta) else { return Err(unknown(resource, meta)) };
        let Some(vocabularies) = meta_schema.schema.get("$vocabulary").and_then(Value::as_object) else {
            return Ok(Self::STANDARD);
        };
        let mut dialect = Self { applicator: false, validation: false, unevaluated: false, formats: false };
        for (uri, required) in vocabularies {
            match uri.strip_prefix(VOCABULARY) {
                Some("applicator") => dialect.applicator = true,
                Some("validation") => dialect.validation = true,
                Some("unevaluated") => dialect.unevaluated = true,
                Some("format-assertion") => dialect.formats = true,
                Some("core" | "meta-data" | "content" | "format-annotation") => {}
                _ if *required == Value::Bool(true) => {
                    return Err(refuse(format!("its meta-schema demands the vocabulary {uri}, which is unknown")));
                }
                _ => {}
            }
        }
        Ok(dialect)
    }
}

fn unknown(place: &Place<'_>, meta: &str) -> Refusal {
    let advice = if meta.contains("json-schema.org/draft/2019-09") {
        ": draft 2019-09 is not translated; write draft 2020-12"
    } else {
        ", and was not supplied along with the schema"
    };
    let refusal = place.refuse("$schema", format!("{meta} is not draft 2020-12{advice}"));
    Refusal { missing: Some(meta.to_owned()), ..refusal }
}

/// Whether a document follows its meta-schema; what it breaks, else.
pub(super) fn check(place: &Place<'_>, resources: &BTreeMap<String, Value>) -> Result<(), Vec<Refusal>> {
    let refuse = |reason: String| vec![Refusal::new(place.name.to_string(), reason)];
    let meta = place.schema.get("$schema").and_then(Value::as_str).unwrap_or(DRAFT);
    let broken: Vec<Refusal> = match resources.get(meta) {
        // The rules of draft 2020-12 are not those of another draft.
        None if meta.trim_end_matches('#') != DRAFT => return Err(vec![unknown(place, meta)]),
        None => refusals(&place.name, jsonschema::draft202012::meta::validator().iter_errors(place.schema)),
        Some(meta_schema) => {
            let pairs = resources.iter().map(|(uri, document)| (uri.as_str(), document));
            let registry =
                Registry::new().draft(Draft::Draft202012).extend(pairs).and_then(jsonschema::RegistryBuilder::prepare);
            let registry = registry.map_err(|error| refuse(format!("its meta-schema cannot be used: {error}")))?;
            let validator = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .with_registry(&registry)
                .with_base_uri(meta)
                .with_pattern_options(PatternOptions::regex())
                .build(meta_schema)
                .map_err(|error| refuse(format!("its meta-schema cannot be used: {error}")))?;
            refusals(&place.name, validator.iter_errors(place.schema))
        }
    };
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

/// What a document breaks of its meta-schema, each once: a meta-schema of vocabularies says it for each of them.
pub(super) fn refusals<'e>(name: &str, errors: impl Iterator<Item = jsonschema::ValidationError<'e>>) -> Vec<Refusal> {
    let mut broken: Vec<Refusal> = Vec::new();
    for error in errors {
        let place = format!("{name}{}", error.instance_path());
        // The value itself may be long.
        let reason = known(&place, error.instance()).map_or_else(|| error.masked().to_string(), str::to_owned);
        let refusal = Refusal::new(place, format!("does not follow the meta-schema: {reason}"));
        if !broken.contains(&refusal) {
            broken.push(refusal);
        }
        if broken.len() == MAX_REFUSALS {
            break;
        }
    }
    broken
}

/// What people write that was right in another draft, or stands at the wrong level.
fn known(place: &str, value: &Value) -> Option<&'static str> {
    let mut segments = place.rsplit('/');
    let (last, before) = (segments.next()?, segments.next().unwrap_or_default());
    match (last, value) {
        ("required", Value::Array(_)) if before == "properties" => {
            Some("is a list, and no property: required stands beside properties")
        }
        ("items", Value::Array(_)) if before != "properties" => {
            Some("is a list, as in drafts before 2020-12: write prefixItems, or say the draft in $schema")
        }
        ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(_)) if before != "properties" => {
            Some("is no number, as in draft-04: write the limit here, or say the draft in $schema")
        }
        ("required", Value::Bool(_)) if before != "properties" => {
            Some("is no list, as in draft-03: list the names beside properties")
        }
        ("type", Value::String(_)) if before != "properties" => {
            Some("is no type: array, boolean, integer, null, number, object, string")
        }
        _ => None,
    }
}
