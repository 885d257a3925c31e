//! Schemas that are too much, or that mean nothing: each is refused with its place and the reason, before anything
//! is published.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Map, Value, json};

use super::{compile, verdicts};
use crate::support::{TestDatabase, db};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The innermost schema stands this deep.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(true), |inner, _| json!({"not": inner}))
}

fn defs(each: impl Iterator<Item = Value>) -> Map<String, Value> {
    each.enumerate().map(|(n, schema)| (format!("d{n}"), schema)).collect()
}

fn to(n: usize) -> Value {
    json!({"$ref": format!("#/$defs/d{n}")})
}

/// Every definition applies the one before it twice.
fn laughs(levels: usize) -> Value {
    let each =
        (0..levels).map(|n| if n == 0 { json!({"type": "integer"}) } else { json!({"allOf": [to(n - 1), to(n - 1)]}) });
    json!({"$ref": format!("#/$defs/d{}", levels - 1), "$defs": defs(each)})
}

/// Each definition refers to the next one.
fn chain(length: usize) -> Value {
    json!({"$ref": "#/$defs/d0", "$defs": defs((1..=length).map(|n| if n < length { to(n) } else { json!(true) }))})
}

fn properties(count: usize, each: impl Fn(usize) -> Value) -> Value {
    json!({"properties": defs((0..count).map(each))})
}

fn dynamic_circle() -> Value {
    json!({"$id": "https://example.org/a", "$dynamicAnchor": "x", "$ref": "b",
           "$defs": {"b": {"$id": "b", "$dynamicAnchor": "x", "anyOf": [true, {"$dynamicRef": "#x"}]}}})
}

fn unknown_vocabulary() -> Value {
    json!({"https://example.org/meta": {"$id": "https://example.org/meta", "$vocabulary": {"https://example.org/v": true}}})
}

#[rstest]
#[case::deep(nested(65), "definition/not/not/", "deeper than 64 levels")]
#[case::deep_in_a_value(json!({"const": nested(64)}), "definition/const/not/", "deeper than 64 levels")]
#[case::choices(json!({"enum": (0..10_001).collect::<Vec<_>>()}), "definition/enum", "more than 10000 values")]
#[case::size(json!({"$comment": "x".repeat(257 << 10)}), "definition", "more than 256 KB")]
#[case::laughs(laughs(30), "definition/$defs/", "more than 50000 schemas")]
#[case::circle(json!({"$ref": "#"}), "definition", "without going deeper")]
#[case::circle_of_two(json!({"$ref": "#/$defs/d0", "$defs": {"d0": to(1), "d1": to(0)}}), "definition/$defs/d", "without going deeper")]
#[case::circle_in_all_of(json!({"allOf": [{"type": "object"}, {"$ref": "#"}]}), "definition", "without going deeper")]
#[case::circle_in_not(json!({"not": {"$ref": "#"}}), "definition", "without going deeper")]
#[case::circle_in_if(json!({"if": {"$ref": "#"}, "then": false}), "definition", "without going deeper")]
#[case::circle_in_dependents(json!({"dependentSchemas": {"a": {"$ref": "#"}}}), "definition", "without going deeper")]
#[case::dynamic_circle(dynamic_circle(), "definition", "without going deeper")]
#[case::doubling(json!({"allOf": [{"properties": {"a": {"$ref": "#"}}}], "properties": {"a": {"$ref": "#"}}}), "definition", "leads back to itself more than once")]
#[case::doubling_items(json!({"items": {"$ref": "#"}, "contains": {"$ref": "#"}}), "definition", "leads back to itself more than once")]
#[case::doubling_names(json!({"additionalProperties": {"$ref": "#"}, "patternProperties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}}), "definition", "leads back to itself more than once")]
#[case::many(properties(10_001, |_| json!(true)), "definition/properties/d", "more than 10000 schemas")]
#[case::patterns(properties(2_000, |n| json!({"pattern": format!("^{n}$")})), "definition", "more than 200 patterns")]
#[case::conditions(json!({"unevaluatedProperties": false, "anyOf": (0..300).map(|n| json!({"properties": {format!("{n}"): true}})).collect::<Vec<_>>()}), "definition", "more than 200 conditions")]
#[case::wide_integer(parsed(r#"{"minimum": 18446744073709551616}"#), "definition/minimum", "more than 64 bits")]
#[case::wide_negative_integer(parsed(r#"{"enum": [-18446744073709551617]}"#), "definition/enum/0", "more than 64 bits")]
#[case::wide_length(json!({"maxLength": 1e30}), "definition/maxLength", "no whole number|more than 64 bits")]
#[case::length(json!({"minItems": 9_223_372_036_854_775_808_u64}), "definition/minItems", "no whole number")]
#[case::half_length(json!({"minItems": 1.5}), "definition/minItems", "meta-schema")]
#[case::zero_divisor(json!({"multipleOf": 0}), "definition/multipleOf", "meta-schema")]
#[case::nul(json!({"const": ["a\u{0}"]}), "definition/const/0", "NUL")]
#[case::nul_in_a_name(json!({"properties": {"a\u{0}": true}}), "definition/properties", "NUL")]
#[case::no_schema(json!([]), "definition", "")]
#[case::no_schema_inside(json!({"$ref": "#/x", "x": 7}), "definition/x", "is no schema")]
#[case::keyword(json!({"properties": {"a": {"type": "text"}}}), "definition/properties/a/type", "meta-schema")]
#[case::draft_03(json!({"$schema": "http://json-schema.org/draft-03/schema#"}), "definition/$schema", "is not draft 2020-12")]
#[case::other_draft_inside(json!({"$ref": "b", "$defs": {"b": {"$id": "b", "$schema": "https://json-schema.org/draft/2019-09/schema"}}}), "definition/$defs/b/$schema", "is not draft 2020-12")]
#[case::dangling(json!({"items": {"$ref": "#/$defs/none"}}), "definition/items/$ref", "where nothing is")]
#[case::dangling_anchor(json!({"$ref": "#none"}), "definition/$ref", "anchor none")]
#[case::dangling_dynamic(json!({"$dynamicRef": "#none"}), "definition/$dynamicRef", "anchor none")]
#[case::http(json!({"$ref": "http://127.0.0.1:1/a"}), "definition/$ref", "http://127.0.0.1:1/a, which was not supplied")]
#[case::https(json!({"$ref": "https://example.org/a#/b"}), "definition/$ref", "https://example.org/a, which was not supplied")]
#[case::file(json!({"$ref": "file:///etc/passwd"}), "definition/$ref", "file:///etc/passwd, which was not supplied")]
#[case::relative(json!({"$ref": "../secret.json"}), "definition/$ref", "not supplied")]
#[case::http_meta(json!({"$schema": "http://127.0.0.1:1/meta"}), "definition/$schema", "not supplied")]
#[case::twice(json!({"$defs": {"a": {"$id": "https://example.org/a"}, "b": {"$id": "https://example.org/a"}}}), "definition/$defs/b/$id", "another schema has this URI")]
#[case::anchor_twice(json!({"$defs": {"a": {"$anchor": "a"}, "b": {"$anchor": "a"}}}), "definition/$defs/b/$anchor", "another schema has this anchor")]
fn a_hostile_schema_is_refused(#[case] definition: Value, #[case] field: &str, #[case] reason: &str) {
    let why = compile(&definition, &BTreeMap::new()).expect_err("refused");
    assert!(why[0].field.starts_with(field), "{:?}", why[0]);
    assert!(reason.split('|').any(|reason| why[0].message.contains(reason)), "{:?}", why[0]);
}

/// One definition inside of the other, by each kind of way: the limit is met before the stack of a thread ends, of which
/// tokio's have 2 MB.
#[rstest]
#[case::references(chain(5_000))]
#[case::in_all_of(json!({"$ref": "#/$defs/d0", "$defs": defs((1..400).map(|n| json!({"allOf": [to(n)]})).chain([json!(true)]))}))]
#[case::in_items(json!({"$ref": "#/$defs/d0", "$defs": defs((1..400).map(|n| json!({"items": to(n)})).chain([json!(true)]))}))]
fn a_long_chain_is_refused_on_a_small_stack(#[case] definition: Value) {
    let why = compile(&definition, &BTreeMap::new()).expect_err("refused");
    assert!(why[0].message.contains("stand inside of one another"), "{:?}", why[0]);
}

/// What costs more at every level, or with every pair, is refused before it is done: this test would not end else.
#[rstest]
#[case::laughs(unevaluated_laughs(60))]
#[case::circles(wide_circles(1_000))]
#[case::dynamic_anchors(dynamic_anchors(3_000))]
fn work_has_an_end(#[case] definition: Value) {
    compile(&definition, &BTreeMap::new()).expect_err("refused");
}

/// 1 KB that asks 2^60 times what is evaluated.
fn unevaluated_laughs(levels: usize) -> Value {
    let mut definition = laughs(levels);
    definition["unevaluatedProperties"] = json!(false);
    definition
}

/// Schemas that lead to one another, each with 5,000 properties behind a reference.
fn wide_circles(count: usize) -> Value {
    let wide = (0..100)
        .map(|n| json!({"properties": Value::Object((0..50).map(|m| (format!("p{n}_{m}"), json!(true))).collect())}));
    let wide = json!({"allOf": wide.collect::<Vec<_>>()});
    let circle = (0..count).map(|n| json!({"properties": {"a": to((n + 1) % count)}, "$ref": "#/$defs/wide"}));
    let mut definition = json!({"$ref": "#/$defs/d0", "$defs": defs(circle)});
    definition["$defs"]["wide"] = wide;
    definition
}

fn dynamic_anchors(count: usize) -> Value {
    let mut definition = properties(count, to);
    definition["$defs"] = Value::Object(defs((0..count).map(|n| json!({"$dynamicAnchor": format!("a{n}")}))));
    definition
}

/// Resources are looked at as the definition is.
#[rstest]
#[case::vocabulary(json!({"$schema": "https://example.org/meta"}), unknown_vocabulary(), "definition/$schema", "vocabulary https://example.org/v")]
#[case::deep(json!(true), json!({"https://example.org/a": nested(65)}), "resources/https://example.org/a#/not", "deeper than 64 levels")]
#[case::size(json!(true), json!({"https://example.org/a": {"$comment": "x".repeat(257 << 10)}}), "resources/https://example.org/a#", "more than 256 KB")]
#[case::no_schema(json!(true), json!({"https://example.org/a": {"type": "text"}}), "resources/https://example.org/a#/type", "meta-schema")]
#[case::relative(json!(true), json!({"a.json": true}), "resources/a.json#", "no absolute URI")]
#[case::taken(json!(true), json!({"https://json-schema.org/draft/2020-12/schema": true}), "resources/https://json-schema.org/", "is there already")]
#[case::pattern(json!({"$ref": "https://example.org/a"}), json!({"https://example.org/a": {"pattern": "(a"}}), "resources/https://example.org/a#/pattern", "unclosed")]
#[case::circle(json!({"$ref": "https://example.org/a"}), json!({"https://example.org/a": {"$ref": "https://example.org/a"}}), "resources/https://example.org/a#", "without going deeper")]
fn a_hostile_resource_is_refused(
    #[case] definition: Value,
    #[case] resources: Value,
    #[case] field: &str,
    #[case] reason: &str,
) {
    let resources = resources.as_object().unwrap().clone().into_iter().collect();
    let why = compile(&definition, &resources).expect_err("refused");
    assert!(why[0].field.starts_with(field) && why[0].message.contains(reason), "{:?}", why[0]);
}

/// Up to each limit, a schema is taken and decides.
#[rstest]
#[case::deep(nested(64), json!(1), json!(2), [true, true])]
#[case::choices(json!({"enum": (0..10_000).collect::<Vec<_>>()}), json!(9_999), json!(10_000), [true, false])]
#[case::laughs(laughs(13), json!(1), json!("1"), [true, false])]
#[case::chain(chain(60), json!(1), json!(2), [true, true])]
#[case::patterns(properties(200, |n| json!({"pattern": format!("^{n}$")})), json!({"d7": "7"}), json!({"d7": "8"}), [true, false])]
#[case::many(properties(2_000, |_| json!({"type": "integer"})), json!({"d1999": 1}), json!({"d1999": "1"}), [true, false])]
#[case::tree(json!({"items": {"$ref": "#"}, "type": "array"}), json!([[], [[]]]), json!([[], [[1]]]), [true, false])]
#[tokio::test]
async fn what_is_just_small_enough_is_taken(
    #[future(awt)] db: TestDatabase,
    #[case] definition: Value,
    #[case] first: Value,
    #[case] second: Value,
    #[case] expected: [bool; 2],
) {
    let schema = compile(&definition, &BTreeMap::new()).unwrap();
    assert_eq!(verdicts(&db, &schema, &[first, second]).await, expected);
}
