//! Data that is deep, wide, or wrong everywhere.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::{compile, lists, verdicts};
use crate::support::{TestDatabase, db};

fn objects(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({"a": inner}))
}

fn arrays(levels: usize) -> Value {
    (0..levels).fold(json!([]), |inner, _| json!([inner]))
}

/// As deep as the data: 100 levels, and not one more, whatever they are made of.
#[rstest]
#[case::objects(json!({"type": "object", "properties": {"a": {"$ref": "#"}}}), objects)]
#[case::arrays(json!({"type": "array", "items": {"$ref": "#"}}), arrays)]
#[case::aside(json!({"properties": {"b": {"$ref": "#"}}}), objects)]
#[case::aside_arrays(json!({"properties": {"b": {"$ref": "#"}}}), arrays)]
#[tokio::test]
async fn a_hundred_levels_are_decided_alike(
    #[future(awt)] db: TestDatabase,
    #[case] definition: Value,
    #[case] data: fn(usize) -> Value,
) {
    let schema = compile(&definition, &BTreeMap::new()).unwrap();
    let documents = [data(1), data(99), data(100), data(101), data(110)];
    let lists = lists(&db, &schema, &documents).await;
    let keywords: Vec<_> =
        lists.iter().map(|list| list.iter().map(|one| one.keyword.as_str()).collect::<Vec<_>>()).collect();
    assert_eq!(keywords, [vec![], vec![], vec![], vec!["maxDepth"], vec!["maxDepth"]]);
}

/// What is wrong in the last level is found there.
#[rstest]
#[tokio::test]
async fn the_last_level_is_looked_at(#[future(awt)] db: TestDatabase) {
    let schema = compile(&json!({"type": "object", "additionalProperties": {"$ref": "#"}}), &BTreeMap::new()).unwrap();
    let data = (0..100).fold(json!(1), |inner, _| json!({"a": inner}));
    let lists = lists(&db, &schema, &[data]).await;
    assert_eq!((lists[0].len(), lists[0][0].instance_path.as_str()), (1, "/a".repeat(100).as_str()));
}

/// A schema that does not go around has its own end, however deep the data.
#[rstest]
#[tokio::test]
async fn deep_data_does_not_matter_to_a_flat_schema(#[future(awt)] db: TestDatabase) {
    let schema = compile(&json!({"properties": {"a": {"type": "object"}}}), &BTreeMap::new()).unwrap();
    assert_eq!(verdicts(&db, &schema, &[objects(120), json!({"a": arrays(120)})]).await, [true, false]);
}

const MANY: usize = 100_000;

fn numbers() -> Value {
    (0..MANY).collect()
}

fn named(value: &Value) -> Value {
    Value::Object((0..MANY).map(|n| (format!("n{n}"), value.clone())).collect())
}

#[rstest]
#[case::items(json!({"items": {"type": "integer", "maximum": MANY}, "uniqueItems": true, "maxItems": MANY}), numbers())]
#[case::contains(json!({"contains": {"const": MANY - 1}, "maxContains": 1}), numbers())]
#[case::prefix(json!({"prefixItems": [{"const": 0}], "unevaluatedItems": {"minimum": 1}}), numbers())]
#[case::properties(json!({"additionalProperties": {"type": "integer"}, "minProperties": MANY}), named(&json!(1)))]
#[case::names(json!({"propertyNames": {"pattern": "^n[0-9]{1,5}$"}, "maxProperties": MANY}), named(&json!(1)))]
#[case::patterns(json!({"patternProperties": {"^n": {"type": "string"}}, "additionalProperties": false}), named(&json!("")))]
#[tokio::test]
async fn wide_data_fits(#[future(awt)] db: TestDatabase, #[case] definition: Value, #[case] data: Value) {
    let schema = compile(&definition, &BTreeMap::new()).unwrap();
    assert_eq!(verdicts(&db, &schema, &[data]).await, [true]);
}

/// The names that are evaluated are looked up, and not compared each with each.
#[rstest]
#[tokio::test]
async fn wide_data_with_evaluated_names_fit(#[future(awt)] db: TestDatabase) {
    let definition = json!({"anyOf": [{"patternProperties": {"^n": true}}], "unevaluatedProperties": false});
    let schema = compile(&definition, &BTreeMap::new()).unwrap();
    assert_eq!(verdicts(&db, &schema, &[named(&json!(""))]).await, [true]);
}

/// Wrong at 3,000 places: the first hundred are told, in order, by all.
#[rstest]
#[case::items(json!({"items": {"type": "string"}}), (0..3_000).collect())]
#[case::properties(json!({"additionalProperties": false}), Value::Object((0..3_000).map(|n| (format!("n'{n}"), json!(n))).collect()))]
#[case::names(json!({"propertyNames": {"maxLength": 2}}), Value::Object((0..3_000).map(|n| (format!("~/{n}"), json!(n))).collect()))]
#[case::unevaluated(json!({"unevaluatedProperties": {"type": "string"}}), Value::Object((0..3_000).map(|n| (format!("{n}"), json!(n))).collect()))]
#[case::required(json!({"required": (0..3_000).map(|n| format!("\\{n}")).collect::<Vec<_>>()}), json!({}))]
#[case::in_each(json!({"items": {"type": "object", "required": ["a", "b"], "properties": {"a": {"enum": [1, 2]}}}}), Value::Array(vec![json!({"a": 3}); 1_500]))]
#[tokio::test]
async fn a_hundred_violations_are_told_in_order(
    #[future(awt)] db: TestDatabase,
    #[case] definition: Value,
    #[case] data: Value,
) {
    let schema = compile(&definition, &BTreeMap::new()).unwrap();
    let lists = lists(&db, &schema, &[data]).await;
    assert_eq!(lists[0].len(), 100);
    assert!(lists[0].is_sorted());
    assert!(lists[0].windows(2).all(|pair| pair[0] != pair[1]));
}

/// -2^63 is a limit that a 64-bit float stands for exactly; the decimal that the float is written as is below it.
#[rstest]
#[case(json!({"const": i64::MIN}))]
#[case(json!({"enum": [i64::MIN, "a"]}))]
#[case(json!({"minimum": i64::MIN}))]
#[tokio::test]
async fn the_smallest_integer_is_not_the_decimal_below_it(#[future(awt)] db: TestDatabase, #[case] definition: Value) {
    let schema = compile(&definition, &BTreeMap::new()).unwrap();
    assert_eq!(verdicts(&db, &schema, &[json!(i64::MIN), json!(-9.223_372_036_854_776e18)]).await, [true, false]);
}
