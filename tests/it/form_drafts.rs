//! Schemas of older drafts: translated where that is exact, refused otherwise.

use std::collections::BTreeMap;

use bedplate::Error;
use bedplate::forms::{CompileOptions, JsonSchema, trial};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{TestDatabase, db};

const FOUR: &str = "http://json-schema.org/draft-04/schema#";
const SIX: &str = "http://json-schema.org/draft-06/schema#";
const SEVEN: &str = "http://json-schema.org/draft-07/schema#";

fn with(draft: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema.as_object_mut().unwrap().insert("$schema".to_owned(), draft.into());
    schema
}

fn compile(definition: &Value) -> Result<JsonSchema, Error> {
    JsonSchema::compile(definition, &BTreeMap::new(), CompileOptions::default())
}

/// What a schema becomes, and the verdicts of all validators: those of the older draft.
#[rstest]
#[case::tuple(SEVEN, json!({"items": [{"type": "string"}, true], "additionalItems": {"type": "null"}}),
    json!({"prefixItems": [{"type": "string"}, true], "items": {"type": "null"}}),
    json!([["a", 1, null]]), json!([[1], ["a", 1, 2]]))]
#[case::dependencies(SEVEN, json!({"dependencies": {"a": ["b"], "c": {"required": ["d"]}, "e": false}}),
    json!({"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": {"required": ["d"]}, "e": false}}),
    json!([{"a": 1, "b": 1}, {"c": 1, "d": 1}, 1]), json!([{"a": 1}, {"c": 1}, {"e": 1}]))]
#[case::names_are_data(SEVEN, json!({"properties": {"dependencies": {"items": [{"type": "null"}]}, "nullable": {"const": {"items": [1]}}}}),
    json!({"properties": {"dependencies": {"prefixItems": [{"type": "null"}]}, "nullable": {"const": {"items": [1]}}}}),
    json!([{"nullable": {"items": [1]}}]), json!([{"dependencies": [1]}, {"nullable": {}}]))]
#[case::beside_a_reference(SEVEN, json!({"definitions": {"a": {"type": "string"}}, "properties": {"a": {"$ref": "#/definitions/a", "minLength": 9, "title": "A"}}}),
    json!({"definitions": {"a": {"type": "string"}}, "properties": {"a": {"$ref": "#/definitions/a", "title": "A"}}}),
    json!([{"a": "b"}]), json!([{"a": 1}]))]
#[case::later_keywords(SEVEN, json!({"dependentRequired": {"a": ["b"]}, "unevaluatedProperties": false, "contains": {"const": 1}, "minContains": 2}),
    json!({"contains": {"const": 1}}), json!([{"a": 1}, [1]]), json!([[2]]))]
#[case::anchor(SEVEN, json!({"definitions": {"a": {"$id": "#text", "type": "string"}}, "items": {"$ref": "#text"}}),
    json!({"definitions": {"a": {"$anchor": "text", "type": "string"}}, "items": {"$ref": "#text"}}),
    json!([["a"]]), json!([[1]]))]
#[case::identifier(SEVEN, json!({"$id": "https://example.org/a#", "items": {"$ref": "https://example.org/a"}}),
    json!({"$id": "https://example.org/a", "items": {"$ref": "https://example.org/a"}}), json!([1, [[]]]), json!([]))]
#[case::nullable(SEVEN, json!({"properties": {"a": {"type": "string", "nullable": true}, "b": {"type": ["integer", "null"], "nullable": true},
        "c": {"type": "string", "nullable": false}}}),
    json!({"properties": {"a": {"type": ["string", "null"]}, "b": {"type": ["integer", "null"]}, "c": {"type": "string"}}}),
    json!([{"a": null}, {"a": "a", "b": null}]), json!([{"a": 1}, {"c": null}]))]
#[case::conditions_are_of_seven(SIX, json!({"if": {"type": "string"}, "then": false, "const": "a"}), json!({"const": "a"}),
    json!(["a"]), json!(["b"]))]
#[case::limits_of_four(FOUR, json!({"minimum": 1, "exclusiveMinimum": true, "maximum": 3, "exclusiveMaximum": false}),
    json!({"exclusiveMinimum": 1, "maximum": 3}), json!([1.5, 3]), json!([1, 3.5]))]
#[case::id_of_four(FOUR, json!({"id": "https://example.org/a", "definitions": {"b": {"id": "#b", "type": "null"}}, "items": {"$ref": "#b"}}),
    json!({"$id": "https://example.org/a", "definitions": {"b": {"$anchor": "b", "type": "null"}}, "items": {"$ref": "#b"}}),
    json!([[null]]), json!([[1]]))]
#[case::later_than_four(FOUR, json!({"const": 1, "propertyNames": {"maxLength": 1}, "contains": {"type": "null"}}), json!({}),
    json!([2, {"aa": 1}, [1]]), json!([]))]
#[case::https("https://json-schema.org/draft-07/schema", json!({"items": [{"type": "null"}]}), json!({"prefixItems": [{"type": "null"}]}),
    json!([[null]]), json!([[1]]))]
#[tokio::test]
async fn an_older_draft_is_translated(
    #[future(awt)] db: TestDatabase,
    #[case] draft: &str,
    #[case] definition: Value,
    #[case] expected: Value,
    #[case] valid: Value,
    #[case] invalid: Value,
) {
    let schema = compile(&with(draft, &definition)).unwrap();
    let translation = schema.translation().unwrap();
    assert_eq!(translation.definition, expected);
    let (valid, invalid) = (valid.as_array().unwrap(), invalid.as_array().unwrap());
    let trials = trial::run(&db, &schema, &[valid.clone(), invalid.clone()].concat()).await.unwrap();
    for (n, trial) in trials.iter().enumerate() {
        let verdict = n < valid.len();
        assert_eq!(
            (trial.compiled, trial.interpreted.is_empty(), trial.rust.is_empty()),
            (verdict, verdict, verdict),
            "{n}"
        );
    }
}

/// All that changes is told, with the place in the schema as it was written; what was ignored all the time is a remark.
#[test]
fn every_change_is_told() {
    let definition = with(
        SEVEN,
        &json!({"properties": {"a": {"items": [true], "additionalItems": false}, "b": {"$ref": "#", "minLength": 1}},
            "dependencies": {"a": ["b"]}, "additionalItems": true, "minContains": 1}),
    );
    let schema = compile(&definition).unwrap();
    let changes = schema.translation().unwrap().changes.iter();
    let changes: Vec<_> = changes.map(|change| format!("{}: {}", change.field, change.message)).collect();
    assert_eq!(
        changes,
        [
            "definition/properties/a/items: a list of schemas is prefixItems",
            "definition/properties/a/additionalItems: is items, for what comes after prefixItems",
            "definition/dependencies/a: a list of names is dependentRequired",
            "definition: was read as draft 2020-12: it is of draft-07",
        ]
    );
    let remarks: Vec<_> = schema.remarks().iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
    assert_eq!(
        remarks,
        [
            "definition/additionalItems: was left out: it has no effect where items is not a list",
            "definition/minContains: was left out: draft-07 has no such keyword",
            "definition/properties/b/minLength: was left out: draft-07 ignores what stands beside $ref",
        ]
    );
}

#[rstest]
#[case::meta_schema(SEVEN, json!({"properties": {"a": {"minLength": "1"}}}), "definition/properties/a/minLength does not follow the meta-schema")]
#[case::another_draft_inside(SEVEN, json!({"items": {"$id": "https://example.org/a", "$schema": "https://json-schema.org/draft/2020-12/schema"}}),
    "definition/items/$schema is of another draft than the schema around it")]
#[case::fragment(SEVEN, json!({"items": {"$id": "https://example.org/a#b"}}), "definition/items/$id has a URI and a fragment")]
#[case::nullable_alone(SEVEN, json!({"items": {"nullable": true}}), "definition/items/nullable stands without type")]
#[case::no_schema_there(SEVEN, json!({"parts": {"a": {"items": [true]}}, "items": {"$ref": "#/parts/a"}}),
    "definition/items/$ref refers to #/parts/a, where its draft has no schema")]
#[case::moved(SEVEN, json!({"items": [{"type": "null"}, {"$ref": "#/items/0"}]}), "definition/prefixItems/1/$ref refers to #/items/0, where nothing is")]
#[case::exclusive(SEVEN, json!({"minimum": 1, "exclusiveMinimum": true}), "definition/exclusiveMinimum does not follow the meta-schema: is no number, as in draft-04")]
#[case::booleans(FOUR, json!({"properties": {"a": true}}), "definition/properties/a does not follow the meta-schema")]
#[case::not_translated("https://json-schema.org/draft/2019-09/schema", json!({"items": [true], "$recursiveAnchor": true}),
    "definition/$schema https://json-schema.org/draft/2019-09/schema is not draft 2020-12: draft 2019-09 is not translated")]
#[case::unknown("http://json-schema.org/draft-03/schema#", json!({}), "definition/$schema http://json-schema.org/draft-03/schema# is not draft 2020-12")]
fn what_cannot_be_translated_is_refused(#[case] draft: &str, #[case] definition: Value, #[case] reason: &str) {
    let said = compile(&with(draft, &definition)).unwrap_err().to_string();
    assert!(said.starts_with(reason), "{said}");
}

/// As generators of schemas write it: the identifier is the path that it stands at, or was at once.
#[rstest]
#[case(FOUR, "id")]
#[case(SEVEN, "$id")]
fn an_identifier_that_is_a_path_is_left_out(#[case] draft: &str, #[case] keyword: &str) {
    let definition = json!({
        "definitions": {"x": {keyword: "#/definitions/x", "type": "string"}},
        "properties": {"a": {keyword: "#/properties/a", "allOf": [{"$ref": "#/definitions/x"}]}},
    });
    let schema = compile(&with(draft, &definition)).unwrap();
    let remarks: Vec<_> = schema.remarks().iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
    let expected = |place: &str| {
        format!(
            "definition/{place}/{keyword}: was left out: #/{place} is a path, which finds its place without an identifier"
        )
    };
    assert_eq!(remarks, [expected("definitions/x"), expected("properties/a")]);
    assert_eq!(schema.violations(&json!({"a": 1})).len(), 1);
}

/// A resource is of the draft that it names, or else of the definition's.
#[test]
fn a_resource_has_a_draft() {
    let tuple = json!({"items": [{"type": "null"}]});
    let compile = |definition: Value, resource: Value| {
        let resources = BTreeMap::from([("https://example.org/r".to_owned(), resource)]);
        JsonSchema::compile(&definition, &resources, CompileOptions::default())
    };
    let refers = json!({"$ref": "https://example.org/r"});
    for (definition, resource) in [
        (with(SEVEN, &refers), tuple.clone()),
        (refers.clone(), with(SEVEN, &tuple)),
        (with(SEVEN, &refers), with(SIX, &tuple)),
    ] {
        let schema = compile(definition, resource).unwrap();
        assert!(schema.violations(&json!([null])).is_empty());
        assert_eq!(schema.violations(&json!([1]))[0].schema_path, "https://example.org/r#/prefixItems/0/type");
    }
    assert!(compile(refers, tuple).is_err());
    let of_today = with("https://json-schema.org/draft/2020-12/schema", &json!({"prefixItems": [{"type": "null"}]}));
    let schema = compile(with(SEVEN, &json!({"$ref": "https://example.org/r"})), of_today).unwrap();
    assert_eq!(schema.violations(&json!([1])).len(), 1);
}
