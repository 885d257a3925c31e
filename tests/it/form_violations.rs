//! What a violation says to programs: the parameters of AJV, the same from Rust and from the database.

use std::collections::BTreeMap;

use bedplate::forms::{CompileOptions, JsonSchema, trial};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{TestDatabase, db};

/// Each keyword that can be broken, with the parameters that <https://ajv.js.org/api.html#error-parameters> names.
#[rstest]
#[case::limits(
    json!({"properties": {"a": {"minLength": 2}, "b": {"maxLength": 1}, "c": {"minItems": 1}, "d": {"maxItems": 0},
        "e": {"minProperties": 1}, "f": {"maxProperties": 0}}}),
    json!({"a": "", "b": "ab", "c": [], "d": [1], "e": {}, "f": {"x": 1}}),
    json!([["/a", "minLength", {"limit": 2}], ["/b", "maxLength", {"limit": 1}], ["/c", "minItems", {"limit": 1}],
        ["/d", "maxItems", {"limit": 0}], ["/e", "minProperties", {"limit": 1}], ["/f", "maxProperties", {"limit": 0}]])
)]
#[case::numbers(
    json!({"items": {"minimum": 1.5, "maximum": 1e16, "exclusiveMinimum": 2, "exclusiveMaximum": 10.0, "multipleOf": 0.1}}),
    json!([0.25, 2e16]),
    json!([["/0", "exclusiveMinimum", {"comparison": ">", "limit": 2}],
        ["/0", "minimum", {"comparison": ">=", "limit": 1.5}],
        ["/0", "multipleOf", {"multipleOf": 0.1}],
        ["/1", "exclusiveMaximum", {"comparison": "<", "limit": 10.0}],
        ["/1", "maximum", {"comparison": "<=", "limit": 10_000_000_000_000_000_u64}]])
)]
#[case::types(
    json!({"properties": {"a": {"type": "string"}, "b": {"type": ["string", "null"]}, "c": {"type": ["integer"]}}}),
    json!({"a": 1, "b": 2, "c": "3"}),
    json!([["/a", "type", {"type": "string"}], ["/b", "type", {"type": ["string", "null"]}],
        ["/c", "type", {"type": ["integer"]}]])
)]
#[case::values(
    json!({"properties": {"a": {"const": {"x": [1e16, -0.0]}}, "b": {"enum": [1, "two", 1e300, null]}}}),
    json!({"a": 1, "b": "secret"}),
    json!([["/a", "const", {"allowedValue": {"x": [10_000_000_000_000_000_u64, 0.0]}}],
        ["/b", "enum", {"allowedValues": [1, "two", 1e300, null]}]])
)]
#[case::texts(
    json!({"properties": {"a": {"pattern": "^\\d$"}, "b": {"pattern": "^(?=a)b"}, "c": {"format": "date"}}}),
    json!({"a": "x", "b": "x", "c": "x"}),
    json!([["/a", "pattern", {"pattern": "^\\d$"}], ["/b", "pattern", {"pattern": "^(?=a)b"}],
        ["/c", "format", {"format": "date"}]])
)]
#[case::required(
    json!({"required": ["a", "it's \"b\""], "dependentRequired": {"c": ["x", "d"], "e": ["d"], "f": ["d"]}}),
    json!({"c": 1, "e": 1, "x": 1}),
    json!([["", "dependentRequired", {"property": "c", "missingProperty": "d", "depsCount": 2, "deps": "x, d"}],
        ["", "dependentRequired", {"property": "e", "missingProperty": "d", "depsCount": 1, "deps": "d"}],
        ["", "required", {"missingProperty": "a"}], ["", "required", {"missingProperty": "it's \"b\""}]])
)]
#[case::properties(
    json!({"properties": {"a": {"additionalProperties": false}, "b": {"unevaluatedProperties": false},
        "c": {"propertyNames": {"maxLength": 1, "oneOf": [{"const": "x"}, {"const": "y"}]}}, "d": {"propertyNames": false}}}),
    json!({"a": {"x/y": 1}, "b": {"z": 1}, "c": {"zz": 1}, "d": {"x": 1}}),
    json!([["/a/x~1y", "additionalProperties", {"additionalProperty": "x/y"}],
        ["/b/z", "unevaluatedProperties", {"unevaluatedProperty": "z"}],
        ["/c/zz", "maxLength", {"limit": 1, "propertyName": "zz"}],
        ["/c/zz", "oneOf", {"passingSchemas": null, "propertyName": "zz"}],
        ["/d/x", "false", {"propertyName": "x"}]])
)]
#[case::items(
    json!({"properties": {"a": {"uniqueItems": true}, "b": {"contains": {"const": 1}}, "f": {"uniqueItems": true},
        "c": {"contains": {"const": 1}, "minContains": 2, "maxContains": 3},
        "d": {"prefixItems": [true, true], "unevaluatedItems": false},
        "e": {"contains": {"const": 1}, "unevaluatedItems": false}}}),
    json!({"a": [1, 2, 1.0, {"x": 1}, 2, {"x": 1.0}, 3], "b": [], "c": [1], "d": [1, 2, 3], "e": [1, 2], "f": ["a", "a", "a"]}),
    json!([["/a", "uniqueItems", {"i": 5, "j": 3}], ["/b", "contains", {"minContains": 1}],
        ["/c", "contains", {"minContains": 2, "maxContains": 3}], ["/d", "unevaluatedItems", {"limit": 2}],
        ["/e", "unevaluatedItems", {}], ["/f", "uniqueItems", {"i": 2, "j": 1}]])
)]
#[case::applied(
    json!({"properties": {"a": {"anyOf": [{"const": 1}, {"const": 2}]}, "b": {"not": {}}, "c": false,
        "d": {"oneOf": [{"const": 9}, {"type": "integer"}, {"minimum": 0}, true]}, "e": {"oneOf": [false]}}}),
    json!({"a": 3, "b": 4, "c": 5, "d": 6, "e": 7}),
    json!([["/a", "anyOf", {}], ["/b", "not", {}], ["/c", "false", {}], ["/d", "oneOf", {"passingSchemas": [1, 2]}],
        ["/e", "oneOf", {"passingSchemas": null}]])
)]
#[case::the_whole(
    json!({"properties": {"a": {"$ref": "#"}}}),
    (0..101).fold(json!({}), |inner, _| json!({"a": inner})),
    json!([["", "maxDepth", {"limit": 100}]])
)]
#[tokio::test]
async fn parameters_are_those_of_ajv(
    #[future(awt)] db: TestDatabase,
    #[case] definition: Value,
    #[case] data: Value,
    #[case] expected: Value,
) {
    let options = CompileOptions { assert_formats: true };
    let schema = JsonSchema::compile(&definition, &BTreeMap::new(), options).unwrap();
    let trial = trial::run(&db, &schema, &[data]).await.unwrap().remove(0);
    assert_eq!(trial.interpreted, trial.rust);
    assert!(!trial.compiled);
    let said = |trial: &[bedplate::SchemaViolation]| -> Value {
        trial.iter().map(|one| json!([one.instance_path, one.keyword, one.params])).collect()
    };
    // As text: 1 is another parameter than 1.0.
    assert_eq!(said(&trial.rust).to_string(), expected.to_string());
    assert_eq!(said(&trial.interpreted).to_string(), expected.to_string());
}

/// A list that was written before there were parameters is still read.
#[test]
fn a_list_without_parameters_is_read() {
    let text = r#"{"instancePath": "/a", "schemaPath": "/b", "keyword": "type", "message": "must"}"#;
    let violation: bedplate::SchemaViolation = serde_json::from_str(text).unwrap();
    assert!(violation.params.is_empty());
}
