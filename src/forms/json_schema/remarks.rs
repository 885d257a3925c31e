//! What a schema says without effect: keywords of other drafts, words that are probably typing errors, keywords at the
//! wrong level. The specification takes unknown words for annotations, so none of it makes a schema invalid.
//!
//! Always holds: names of properties and of definitions, and values such as those of `enum` and `default`, are data and
//! get no remark. Words of extensions (`x-…`) get none either.

use serde::Serialize;
use serde_json::{Map, Value};

use super::documents::{Documents, Place, push_segment};
use super::program::Type;

/// The most remarks that a schema gets.
const MAX_REMARKS: usize = 100;

/// A place in a schema that does not say what its author probably meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Remark {
    /// `definition` and a JSON Pointer, or `resources/`, a URI, `#` and a pointer.
    pub field: String,
    /// What is to be said of it, for people.
    pub message: String,
}

impl Remark {
    pub(super) fn at(place: &str, message: impl Into<String>) -> Self {
        Self { field: field(place), message: message.into() }
    }
}

/// A place of a schema as a field of the form.
pub(super) fn field(place: &str) -> String {
    let root = place.is_empty() || place.starts_with('/');
    if root { format!("definition{place}") } else { format!("resources/{place}") }
}

/// The keywords of draft 2020-12.
const KEYWORDS: [&str; 58] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "then",
    "title",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "writeOnly",
];

/// Keywords of other drafts and of OpenAPI, where they are from, and what to write.
const OTHERS: [(&str, &str, &str); 11] = [
    ("dependencies", "drafts before 2019-09", "write dependentRequired for names, dependentSchemas for schemas"),
    ("additionalItems", "drafts before 2020-12", "write prefixItems for the list, items for the rest"),
    ("$recursiveRef", "draft 2019-09", "write $dynamicRef"),
    ("$recursiveAnchor", "draft 2019-09", "write $dynamicAnchor"),
    ("id", "draft-04", "write $id"),
    ("extends", "draft-03", "write allOf"),
    ("disallow", "draft-03", "write not"),
    ("divisibleBy", "draft-03", "write multipleOf"),
    ("nullable", "OpenAPI 3.0", "write \"null\" among the types"),
    ("example", "OpenAPI 3.0", "write examples, a list"),
    ("discriminator", "OpenAPI", "write oneOf, with a const in each schema"),
];

/// What people write for keywords that are spelled quite otherwise.
const SYNONYMS: [(&str, &str); 8] = [
    ("property", "properties"),
    ("min", "minimum"),
    ("max", "maximum"),
    ("minlen", "minLength"),
    ("maxlen", "maxLength"),
    ("regex", "pattern"),
    ("regexp", "pattern"),
    ("unique", "uniqueItems"),
];

/// Keywords that ask something of one type of value.
const OF_ONE_TYPE: [(Type, &[&str]); 4] = [
    (Type::String, &["maxLength", "minLength", "pattern"]),
    (Type::Number, &["exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"]),
    (
        Type::Array,
        &[
            "contains",
            "items",
            "maxContains",
            "maxItems",
            "minContains",
            "minItems",
            "prefixItems",
            "unevaluatedItems",
            "uniqueItems",
        ],
    ),
    (
        Type::Object,
        &[
            "additionalProperties",
            "dependentRequired",
            "dependentSchemas",
            "maxProperties",
            "minProperties",
            "patternProperties",
            "properties",
            "propertyNames",
            "required",
            "unevaluatedProperties",
        ],
    ),
];

/// Keywords that say nothing without another one.
const COMPANIONS: [(&str, &str); 4] =
    [("then", "if"), ("else", "if"), ("minContains", "contains"), ("maxContains", "contains")];

pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word) || OTHERS.iter().any(|(other, ..)| *other == word)
}

/// What is to be said of all schemas that were supplied, in the order of their places.
pub(super) fn remarks(documents: &Documents<'_>) -> Vec<Remark> {
    let mut found = Vec::new();
    for place in documents.supplied() {
        if let Value::Object(schema) = place.schema {
            let mut remark = |key: &str, message: String| {
                let mut at = place.name.to_string();
                push_segment(&mut at, key);
                found.push(Remark::at(&at, message));
            };
            words(schema, &mut remark);
            levels(documents, place, schema, &mut remark);
        }
    }
    found.sort();
    found.dedup();
    found.truncate(MAX_REMARKS);
    found
}

fn words(schema: &Map<String, Value>, remark: &mut impl FnMut(&str, String)) {
    for word in schema.keys().filter(|word| !KEYWORDS.contains(&word.as_str()) && !is_extension(word)) {
        let other = OTHERS.iter().find(|(other, ..)| other == word);
        if let Some((_, from, instead)) = other {
            // As a name of something else it is an annotation.
            if word != "id" || schema[word].is_string() {
                remark(word, format!("is a keyword of {from} and has no effect here: {instead}"));
            }
        } else if let Some(meant) = meant(word) {
            remark(word, format!("is not a keyword and has no effect: did you mean {meant}?"));
        }
    }
}

fn is_extension(word: &str) -> bool {
    word.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
}

/// The keyword that a word is a typing error of.
fn meant(word: &str) -> Option<&'static str> {
    // As documentation tools mark their own words.
    if word.starts_with("$$") {
        return None;
    }
    let lower = word.to_lowercase();
    if let Some((_, meant)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == lower) {
        return Some(meant);
    }
    let near = KEYWORDS.iter().chain(OTHERS.iter().map(|(other, ..)| other)).filter_map(|keyword| {
        let distance = strsim::osa_distance(&lower, &keyword.to_lowercase());
        // A short word is soon another word: `note` is no `not`.
        let most = match keyword.len() {
            0..4 => 0,
            4..9 => 1,
            9..13 => 2,
            _ => 3,
        };
        (distance <= most).then_some((distance, *keyword))
    });
    near.min().map(|(_, keyword)| keyword)
}

fn levels(
    documents: &Documents<'_>,
    place: &Place<'_>,
    schema: &Map<String, Value>,
    remark: &mut impl FnMut(&str, String),
) {
    for (keyword, companion) in COMPANIONS {
        if schema.contains_key(keyword) && !schema.contains_key(companion) {
            remark(keyword, format!("has no effect without {companion} beside it"));
        }
    }
    let is_root = place.name.is_empty() || place.name.ends_with('#');
    if schema.contains_key("$schema") && !is_root && !schema.contains_key("$id") {
        remark("$schema", "has no effect inside of a schema: write it at the top, or beside $id".to_owned());
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let takes = |kind: Type| {
        types.is_empty() || types.contains(&kind.as_str()) || (kind == Type::Number && types.contains(&"integer"))
    };
    for (kind, keywords) in OF_ONE_TYPE.iter().filter(|(kind, _)| !takes(*kind)) {
        for keyword in keywords.iter().filter(|keyword| schema.contains_key(**keyword)) {
            let message = format!("has no effect on type {}: it applies to type {}", types.join(" or "), kind.as_str());
            remark(keyword, message);
        }
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            if properties.get(keyword) == Some(&Value::Bool(false)) {
                let message = format!("has {keyword}: false as one of its names: the keyword stands beside properties");
                remark("properties", message);
            }
        }
    }
    if types.contains(&"object") {
        let unknown =
            schema.iter().filter(|(word, _)| !is_keyword(word) && !is_extension(word) && meant(word).is_none());
        for (word, value) in unknown {
            let type_of = value.get("type").and_then(Value::as_str);
            let like_a_schema = type_of.is_some_and(|name| Type::ALL.iter().any(|kind| kind.as_str() == name));
            if like_a_schema && !documents.is_schema(value) {
                remark(word, "is not a keyword and has no effect: write a property inside of properties".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("properites", Some("properties"))]
    #[case("require", Some("required"))]
    #[case("Type", Some("type"))]
    #[case("oneof", Some("oneOf"))]
    #[case("ref", Some("$ref"))]
    #[case("minLenght", Some("minLength"))]
    #[case("additionalProperty", Some("additionalProperties"))]
    #[case("Nullable", Some("nullable"))]
    #[case("dependancies", Some("dependencies"))]
    #[case("regex", Some("pattern"))]
    #[case("note", None)]
    #[case("label", None)]
    #[case("form", None)]
    #[case("widget", None)]
    #[case("order", None)]
    #[case("errorMessage", None)]
    #[case("enumNames", None)]
    #[case("ui:widget", None)]
    #[case("", None)]
    fn a_typing_error_is_near_a_keyword(#[case] word: &str, #[case] expected: Option<&str>) {
        assert_eq!(meant(word), expected);
    }

    #[test]
    fn extensions_have_a_prefix() {
        assert!(is_extension("x-order") && is_extension("X-Order") && !is_extension("x") && !is_extension("é-"));
    }
}
