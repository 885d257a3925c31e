//! What a schema says without effect is told to its publisher.

use std::collections::BTreeMap;

use bedplate::forms::{CompileOptions, JsonSchema};
use bedplate::models::NewFormDefinition;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::builders::home;
use crate::support::{TestDatabase, db};

/// The remarks, as `place: message`.
fn remarks(definition: &Value, resources: &BTreeMap<String, Value>) -> Vec<String> {
    let schema = JsonSchema::compile(definition, resources, CompileOptions::default()).unwrap();
    schema.remarks().iter().map(|remark| format!("{}: {}", remark.field, remark.message)).collect()
}

#[rstest]
#[case::dependencies(json!({"dependencies": {"card": ["billing"]}}), "definition/dependencies: is a keyword of drafts before 2019-09 and has no effect here: write dependentRequired")]
#[case::additional_items(json!({"items": {}, "additionalItems": false}), "definition/additionalItems: is a keyword of drafts before 2020-12")]
#[case::recursive(json!({"$defs": {"a": {"$recursiveRef": "#"}}}), "definition/$defs/a/$recursiveRef: is a keyword of draft 2019-09")]
#[case::id(json!({"id": "https://example.org/a"}), "definition/id: is a keyword of draft-04")]
#[case::nullable(json!({"properties": {"a": {"type": "string", "nullable": true}}}), "definition/properties/a/nullable: is a keyword of OpenAPI 3.0")]
#[case::example(json!({"example": 1}), "definition/example: is a keyword of OpenAPI 3.0")]
#[case::discriminator(json!({"discriminator": {"propertyName": "a"}}), "definition/discriminator: is a keyword of OpenAPI")]
#[case::divisible(json!({"divisibleBy": 2}), "definition/divisibleBy: is a keyword of draft-03")]
#[case::transposed(json!({"properites": {}}), "definition/properites: is not a keyword and has no effect: did you mean properties?")]
#[case::shortened(json!({"require": ["a"]}), "definition/require: is not a keyword and has no effect: did you mean required?")]
#[case::case(json!({"Type": "string"}), "definition/Type: is not a keyword and has no effect: did you mean type?")]
#[case::deep(json!({"items": {"anyOf": [{"not": {"maxlenght": 3}}]}}), "definition/items/anyOf/0/not/maxlenght: is not a keyword")]
#[case::named(json!({"patternProperties": {"^a/": {"enums": [1]}}}), "definition/patternProperties/^a~1/enums: is not a keyword")]
#[case::then(json!({"then": {"required": ["a"]}}), "definition/then: has no effect without if beside it")]
#[case::min_contains(json!({"minContains": 2}), "definition/minContains: has no effect without contains beside it")]
#[case::other_type(json!({"type": "string", "minimum": 1}), "definition/minimum: has no effect on type string: it applies to type number")]
#[case::items_of_an_object(json!({"type": ["object", "null"], "items": {}}), "definition/items: has no effect on type object or null: it applies to type array")]
#[case::inside_of_properties(json!({"properties": {"a": true, "additionalProperties": false}}), "definition/properties: has additionalProperties: false as one of its names")]
#[case::outside_of_properties(json!({"type": "object", "street": {"type": "string"}}), "definition/street: is not a keyword and has no effect: write a property inside of properties")]
#[case::schema_inside(json!({"items": {"$schema": "https://json-schema.org/draft/2020-12/schema"}}), "definition/items/$schema: has no effect inside of a schema")]
fn what_has_no_effect_is_remarked(#[case] definition: Value, #[case] expected: &str) {
    let found = remarks(&definition, &BTreeMap::new());
    assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    // In a schema that is referred to as well.
    let resources = BTreeMap::from([("https://example.org/r".to_owned(), definition)]);
    let found = remarks(&json!({"$ref": "https://example.org/r"}), &resources);
    let expected = expected.replace("definition", "resources/https://example.org/r#");
    assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}");
}

/// Names and values are data, extensions are known to somebody else, and each keyword of the draft has its effect.
#[rstest]
#[case::names(json!({"properties": {"properites": true, "require": {"type": "string"}, "Type": {}, "dependencies": {}, "nullable": {}},
    "$defs": {"items": {}, "id": {}}, "definitions": {"Ref": {}}, "dependentSchemas": {"require": {}},
    "dependentRequired": {"Type": ["require"]}, "patternProperties": {"require": {}}, "required": ["require"]}))]
#[case::values(json!({"enum": [{"require": 1}], "default": {"properites": {}}, "examples": [{"Type": 1}]}))]
#[case::constant(json!({"const": {"dependencies": {}, "nullable": true}}))]
#[case::extensions(json!({"x-require": 1, "X-Type": 1, "x-": 1}))]
#[case::annotations(json!({"title": "a", "$comment": "b", "readOnly": true, "deprecated": true, "contentSchema": {}, "contentMediaType": "a/b"}))]
#[case::words(json!({"note": "a", "label": "b", "widget": "c", "ui:order": [], "enumNames": ["a"], "errorMessage": {}, "form": 1, "id": 7}))]
#[case::integers(json!({"type": "integer", "minimum": 1, "multipleOf": 2}))]
#[case::several_types(json!({"type": ["array", "object"], "items": {}, "properties": {}, "required": []}))]
#[case::elsewhere(json!({"type": "object", "shapes": {"type": "string"}, "properties": {"a": {"$ref": "#/shapes"}}}))]
#[case::condition(json!({"if": {"required": ["a"]}, "then": {}, "else": {}, "contains": {}, "minContains": 0}))]
fn what_is_right_gets_no_remark(#[case] definition: Value) {
    assert_eq!(remarks(&definition, &BTreeMap::new()), Vec::<String>::new());
}

/// However wrong a schema is, its list has an end.
#[test]
fn there_are_at_most_a_hundred() {
    let definitions: serde_json::Map<_, _> = (0..500).map(|n| (format!("d{n}"), json!({"require": []}))).collect();
    assert_eq!(remarks(&json!({"$defs": definitions}), &BTreeMap::new()).len(), 100);
}

/// Who publishes gets the remarks and what was translated; what is stored stays as it was written.
#[rstest]
#[tokio::test]
async fn publishing_tells_them(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let publish = async |name: &'static str, definition: Value| {
        db.tenant_tx("publish", &home.context, async |tx| {
            let new = NewFormDefinition { name, definition: &definition, resources: None, assert_formats: false };
            let draft = tx.form_definitions().create(new).await?;
            let published = tx.form_definitions().publish(draft.id).await?;
            let stored = tx.form_definitions().find(draft.id).await?;
            assert_eq!((&stored, &stored.definition), (&published.definition, &definition));
            Ok(published)
        })
        .await
        .unwrap()
    };
    let typo = publish("typo", json!({"require": ["a"]})).await;
    assert_eq!((typo.remarks.len(), typo.translated.len()), (1, 0));
    assert_eq!(typo.remarks[0].field, "definition/require");
    let seven = json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}], "additionalItems": false});
    let seven = publish("seven", seven).await;
    assert_eq!((seven.remarks.len(), seven.translated.len()), (0, 3));
}
