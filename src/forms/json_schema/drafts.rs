//! Schemas of draft-04, draft-06 and draft-07, read as draft 2020-12
//! (<https://json-schema.org/draft/2020-12/release-notes>,
//! <https://json-schema.org/draft/2019-09/release-notes>).
//!
//! Always holds: the translation decides as the older draft does, or the schema is refused with the place. The older
//! draft ignores keywords that came later and what stands beside `$ref`, so the translation leaves them out.
//! One difference stays: draft-04 does not take 1.0 for an integer, a difference that most of its validators ignore.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::documents::push_segment;
use super::remarks::Remark;
use super::{Refusal, dialect};

/// An older draft that is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Draft {
    Four,
    Six,
    Seven,
}

/// What a schema of an older draft became.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Translation {
    /// The definition, in draft 2020-12. Violations point into it.
    pub definition: Value,
    /// The schemas that it refers to, by URI.
    pub resources: BTreeMap<String, Value>,
    /// What was written otherwise. The places are those of the schema as it was written.
    pub changes: Vec<Remark>,
    /// What the older draft ignores, and was left out.
    #[serde(skip)]
    pub(super) remarks: Vec<Remark>,
}

/// Keywords with a schema, with a list of schemas, with schemas by name.
const ONE: [&str; 9] =
    ["items", "contains", "additionalProperties", "additionalItems", "propertyNames", "not", "if", "then", "else"];
const LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const NAMED: [&str; 4] = ["definitions", "$defs", "properties", "patternProperties"];

/// What demands nothing, so that it may stay beside `$ref`.
const BESIDE_REF: [&str; 11] = [
    "$ref",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "readOnly",
    "writeOnly",
    "deprecated",
];

/// Translates what says that it is of an older draft; `None`: nothing does. A resource that says nothing is of the
/// definition's draft.
pub(super) fn translate(
    definition: &Value,
    resources: &BTreeMap<String, Value>,
) -> Result<Option<Translation>, Vec<Refusal>> {
    let own = Draft::of(definition);
    let of_resource = |schema: &Value| match schema.get("$schema") {
        Some(_) => Draft::of(schema),
        None => own,
    };
    if own.is_none() && resources.values().all(|resource| of_resource(resource).is_none()) {
        return Ok(None);
    }
    let mut translation = Translation {
        definition: definition.clone(),
        resources: resources.clone(),
        changes: Vec::new(),
        remarks: Vec::new(),
    };
    if let Some(draft) = own {
        translation.definition = translation.document(draft, definition, "")?;
    }
    for (uri, resource) in resources {
        if let Some(draft) = of_resource(resource) {
            let translated = translation.document(draft, resource, &format!("{uri}#"))?;
            translation.resources.insert(uri.clone(), translated);
        }
    }
    Ok(Some(translation))
}

impl Draft {
    fn of(schema: &Value) -> Option<Self> {
        let uri = schema.get("$schema")?.as_str()?.trim_end_matches('#');
        match uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"))? {
            "json-schema.org/draft-04/schema" => Some(Self::Four),
            "json-schema.org/draft-06/schema" => Some(Self::Six),
            "json-schema.org/draft-07/schema" => Some(Self::Seven),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Four => "draft-04",
            Self::Six => "draft-06",
            Self::Seven => "draft-07",
        }
    }

    /// Whether a keyword that has a meaning in draft 2020-12 has none in this one.
    fn ignores(self, keyword: &str) -> bool {
        match keyword {
            "$anchor"
            | "$dynamicAnchor"
            | "$dynamicRef"
            | "$vocabulary"
            | "contentSchema"
            | "dependentRequired"
            | "dependentSchemas"
            | "maxContains"
            | "minContains"
            | "prefixItems"
            | "unevaluatedItems"
            | "unevaluatedProperties" => true,
            "if" | "then" | "else" => self < Self::Seven,
            "$id" | "const" | "contains" | "propertyNames" => self < Self::Six,
            _ => false,
        }
    }

    fn check(self, schema: &Value, name: &str) -> Result<(), Vec<Refusal>> {
        let meta = match self {
            Self::Four => jsonschema::draft4::meta::validator(),
            Self::Six => jsonschema::draft6::meta::validator(),
            Self::Seven => jsonschema::draft7::meta::validator(),
        };
        let broken = dialect::refusals(name, meta.iter_errors(schema));
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }
}

impl Translation {
    fn document(&mut self, draft: Draft, schema: &Value, name: &str) -> Result<Value, Vec<Refusal>> {
        draft.check(schema, name)?;
        let translated = self.schema(draft, schema, name, true).map_err(|refusal| vec![refusal])?;
        if draft == Draft::Four && translated.to_string().contains("\"integer\"") {
            self.changes.push(Remark::at(name, "type integer takes 1.0 as well, which draft-04 does not"));
        }
        self.changes.push(Remark::at(name, format!("was read as draft 2020-12: it is of {}", draft.name())));
        Ok(translated)
    }

    fn change(&mut self, place: &str, keyword: &str, message: impl Into<String>) {
        self.changes.push(Remark::at(&inside(place, keyword), message));
    }

    fn schema(&mut self, draft: Draft, schema: &Value, place: &str, root: bool) -> Result<Value, Refusal> {
        let Value::Object(old) = schema else { return Ok(schema.clone()) };
        let mut old = old.clone();
        if old.remove("$schema").is_some() && !root && Draft::of(schema) != Some(draft) {
            let reason = "is of another draft than the schema around it: supply it as a resource";
            return Err(Refusal::new(inside(place, "$schema"), reason));
        }
        self.leave_out(draft, &mut old, place);
        self.identifier(draft, &mut old, place)?;
        self.nullable(&mut old, place)?;
        if draft == Draft::Four {
            self.exclusive(&mut old, place, "minimum", "exclusiveMinimum");
            self.exclusive(&mut old, place, "maximum", "exclusiveMaximum");
        }
        let rest = old.remove("additionalItems");
        let dependencies = old.remove("dependencies");
        let mut new = Map::new();
        for (keyword, value) in &old {
            let here = inside(place, keyword);
            let translated = match value {
                Value::Array(list) if LIST.contains(&keyword.as_str()) => self.list(draft, list, &here)?,
                Value::Array(list) if keyword == "items" => {
                    self.change(place, "items", "a list of schemas is prefixItems");
                    new.insert("prefixItems".to_owned(), self.list(draft, list, &here)?);
                    continue;
                }
                Value::Object(named) if NAMED.contains(&keyword.as_str()) => self.named(draft, named, &here)?,
                value if ONE.contains(&keyword.as_str()) => self.schema(draft, value, &here, false)?,
                value => value.clone(),
            };
            new.insert(keyword.clone(), translated);
        }
        if let Some(rest) = rest {
            if new.contains_key("prefixItems") {
                self.change(place, "additionalItems", "is items, for what comes after prefixItems");
                let rest = self.schema(draft, &rest, &inside(place, "additionalItems"), false)?;
                new.insert("items".to_owned(), rest);
            } else {
                let message = "was left out: it has no effect where items is not a list";
                self.remarks.push(Remark::at(&inside(place, "additionalItems"), message));
            }
        }
        if let Some(Value::Object(dependencies)) = dependencies {
            self.dependencies(draft, &dependencies, place, &mut new)?;
        }
        Ok(Value::Object(new))
    }

    fn list(&mut self, draft: Draft, list: &[Value], place: &str) -> Result<Value, Refusal> {
        let each = list.iter().enumerate();
        each.map(|(n, schema)| self.schema(draft, schema, &inside(place, &n.to_string()), false)).collect()
    }

    fn named(&mut self, draft: Draft, named: &Map<String, Value>, place: &str) -> Result<Value, Refusal> {
        let each = named.iter();
        let each =
            each.map(|(name, schema)| Ok((name.clone(), self.schema(draft, schema, &inside(place, name), false)?)));
        each.collect::<Result<_, _>>().map(Value::Object)
    }

    /// What the draft ignores: keywords that came later, and all that stands beside `$ref`.
    fn leave_out(&mut self, draft: Draft, schema: &mut Map<String, Value>, place: &str) {
        let refers = schema.get("$ref").is_some_and(Value::is_string);
        schema.retain(|keyword, _| {
            let message = if draft.ignores(keyword) {
                format!("was left out: {} has no such keyword", draft.name())
            } else if refers && super::remarks::is_keyword(keyword) && !BESIDE_REF.contains(&keyword.as_str()) {
                format!("was left out: {} ignores what stands beside $ref", draft.name())
            } else {
                return true;
            };
            self.remarks.push(Remark::at(&inside(place, keyword), message));
            false
        });
    }

    /// `id` of draft-04; `$id` that is the name of a place, which is an anchor now.
    fn identifier(&mut self, draft: Draft, schema: &mut Map<String, Value>, place: &str) -> Result<(), Refusal> {
        let keyword = if draft == Draft::Four { "id" } else { "$id" };
        let Some(Value::String(id)) = schema.get(keyword).cloned() else { return Ok(()) };
        let (uri, fragment) = id.split_once('#').unwrap_or((&id, ""));
        if !uri.is_empty() && !fragment.is_empty() {
            return Err(Refusal::new(
                inside(place, keyword),
                "has a URI and a fragment: draft 2020-12 has no such $id",
            ));
        }
        schema.remove(keyword);
        if fragment.starts_with('/') {
            // As generators write it: a reference finds the place by its path, with it or without.
            let message = format!("was left out: {id} is a path, which finds its place without an identifier");
            self.remarks.push(Remark::at(&inside(place, keyword), message));
        } else if !fragment.is_empty() {
            self.change(place, keyword, format!("{id} is $anchor"));
            schema.insert("$anchor".to_owned(), fragment.into());
        } else if !uri.is_empty() {
            if keyword == "id" {
                self.change(place, keyword, "is $id");
            }
            schema.insert("$id".to_owned(), uri.into());
        }
        Ok(())
    }

    /// `nullable` of OpenAPI 3.0 (<https://spec.openapis.org/oas/v3.0.4.html#schema-object>), which adds null to `type`.
    fn nullable(&mut self, schema: &mut Map<String, Value>, place: &str) -> Result<(), Refusal> {
        let Some(Value::Bool(nullable)) = schema.get("nullable").cloned() else { return Ok(()) };
        schema.remove("nullable");
        if !nullable {
            return Ok(());
        }
        let mut types = match schema.get("type") {
            Some(Value::String(one)) => vec![one.as_str().into()],
            Some(Value::Array(several)) => several.clone(),
            _ => {
                let reason = "stands without type, where OpenAPI 3.0 gives it no meaning: leave it out";
                return Err(Refusal::new(inside(place, "nullable"), reason));
            }
        };
        if !types.contains(&"null".into()) {
            types.push("null".into());
        }
        schema.insert("type".to_owned(), types.into());
        self.change(place, "nullable", "is null among the types, as in OpenAPI 3.0");
        let chosen = schema.get("enum").and_then(Value::as_array);
        if chosen.is_some_and(|values| !values.contains(&Value::Null)) {
            let message = "lets null through, but enum has no null: null is refused";
            self.remarks.push(Remark::at(&inside(place, "nullable"), message));
        }
        Ok(())
    }

    /// A limit that a boolean makes exclusive, in draft-04.
    fn exclusive(&mut self, schema: &mut Map<String, Value>, place: &str, limit: &str, exclusive: &str) {
        if schema.remove(exclusive) == Some(Value::Bool(true))
            && let Some(value) = schema.remove(limit)
        {
            schema.insert(exclusive.to_owned(), value);
            self.change(place, exclusive, format!("has the value of {limit}"));
        }
    }

    fn dependencies(
        &mut self,
        draft: Draft,
        dependencies: &Map<String, Value>,
        place: &str,
        new: &mut Map<String, Value>,
    ) -> Result<(), Refusal> {
        let place = inside(place, "dependencies");
        let (mut required, mut schemas) = (Map::new(), Map::new());
        for (name, value) in dependencies {
            let here = inside(&place, name);
            if value.is_array() {
                self.changes.push(Remark::at(&here, "a list of names is dependentRequired"));
                required.insert(name.clone(), value.clone());
            } else {
                self.changes.push(Remark::at(&here, "a schema is dependentSchemas"));
                schemas.insert(name.clone(), self.schema(draft, value, &here, false)?);
            }
        }
        for (keyword, found) in [("dependentRequired", required), ("dependentSchemas", schemas)] {
            if !found.is_empty() {
                new.insert(keyword.to_owned(), json!(found));
            }
        }
        Ok(())
    }
}

fn inside(place: &str, key: &str) -> String {
    let mut place = place.to_owned();
    push_segment(&mut place, key);
    place
}
