//! The keys that `append_events()` knows, in events, conditions and streams: any other one is refused by its name, and
//! a value of another type is refused too. Nothing is written then.

use bedplate::Error;
use bedplate::sql::quote_literal;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::{Map, Value, json};

use crate::support::{TestDatabase, as_app, connection, db, home, number, texts};

const ID: &str = "01900000-0000-7000-8000-000000000001";

/// An object that `append_events()` takes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Event,
    Condition,
    Item,
    Stream,
}

/// Each key that an object of the place has, with a good value.
fn known(place: Place) -> Vec<(&'static str, Value)> {
    match place {
        Place::Event => vec![
            ("id", json!(uuid::Uuid::now_v7())),
            ("event_type", json!("A")),
            ("event_data", json!({"n": 1})),
            ("metadata", json!({"source": "x"})),
            ("tags", json!(["a:1"])),
            ("correlation_id", json!(ID)),
            ("causation_id", json!(ID)),
        ],
        Place::Condition => vec![("fail_if_events_match", json!([{"tags": ["b:1"]}]))],
        Place::Item => vec![("types", json!(["B"])), ("tags", json!(["b:1"]))],
        Place::Stream => {
            vec![("aggregate_type", json!("order")), ("aggregate_id", json!(ID)), ("expected_version", json!(0))]
        }
    }
}

fn good(place: Place) -> Value {
    Value::Object(known(place).into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A call with the object in its place: alone, so that the short way is taken where there is one, and among others,
/// with the name that errors have for the place.
fn calls(place: Place, object: &Value, token: &str) -> Vec<(String, &'static str)> {
    let call = |events: &Value, condition: Option<Value>, stream: Option<&Value>| {
        let literal = |json: &Value| quote_literal(&json.to_string());
        let argument = |json: Option<Value>| json.map_or("NULL".to_owned(), |json| literal(&json));
        format!("SELECT append_events({}, {}, {})", literal(events), argument(condition), argument(stream.cloned()))
    };
    let event = || json!({"event_type": "A", "event_data": 1, "tags": ["b:1"]});
    match place {
        Place::Event => vec![
            (call(&json!([object]), None, None), "events[0]"),
            (call(&json!([event(), object]), None, None), "events[1]"),
            (call(&json!([object]), None, Some(&good(Place::Stream))), "events[0]"),
        ],
        Place::Condition => {
            let mut with_token = object.clone();
            with_token["after"] = json!(token);
            vec![
                (call(&json!([event()]), Some(object.clone()), None), "condition"),
                (call(&json!([event()]), Some(with_token), None), "condition"),
                (call(&json!([event(), event()]), Some(object.clone()), None), "condition"),
            ]
        }
        Place::Item => {
            let other = json!({"tags": ["c:1"]});
            vec![
                (
                    call(&json!([event()]), Some(json!({"fail_if_events_match": [object]})), None),
                    "condition.fail_if_events_match[0]",
                ),
                (
                    call(&json!([event()]), Some(json!({"fail_if_events_match": [other, object]})), None),
                    "condition.fail_if_events_match[1]",
                ),
            ]
        }
        Place::Stream => vec![(call(&json!([event()]), None, Some(object)), "stream")],
    }
}

/// How a key is misspelt; and what belongs elsewhere.
fn unknown(place: Place) -> Vec<String> {
    let known: Vec<_> = known(place).iter().map(|(key, _)| *key).collect();
    let misspelt = known.iter().flat_map(|key| {
        let less = key[..key.len() - 1].to_owned();
        [less, format!("{key}s"), key.to_uppercase(), key.replace('_', "-"), format!(" {key}"), camel(key)]
    });
    let elsewhere = ["aggregate_type", "aggregate_id", "event_version", "expected_version", "position", "tenant_id"];
    let elsewhere = elsewhere.into_iter().chain(["created_at", "transaction_id", "type", "data", "after", "", "it's"]);
    let mut all: Vec<_> = misspelt.chain(elsewhere.map(str::to_owned)).collect();
    all.retain(|key| !(known.contains(&key.as_str()) || place == Place::Condition && key == "after"));
    all.sort();
    all.dedup();
    all
}

fn camel(key: &str) -> String {
    let mut parts = key.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + &part[..1].to_uppercase() + &part[1..])
}

async fn app(db: &TestDatabase) -> (AsyncPgConnection, String) {
    let home = home(db).await;
    let mut app = as_app(db, &home).await;
    let token = texts(&mut app, "SELECT event_token()").await.remove(0);
    (app, token)
}

async fn written(app: &mut AsyncPgConnection) -> i64 {
    number(app, "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM event_tags)").await
}

#[rstest]
#[case(Place::Event)]
#[case(Place::Condition)]
#[case(Place::Item)]
#[case(Place::Stream)]
#[tokio::test]
async fn a_key_that_is_not_known_is_refused_by_its_name(#[future(awt)] db: TestDatabase, #[case] place: Place) {
    let (mut app, token) = app(&db).await;
    for key in unknown(place) {
        let mut object = good(place);
        object[&key] = json!(["a:1"]);
        for (call, at) in calls(place, &object, &token) {
            let error = app.batch_execute(&call).await.expect_err(&call);
            assert!(error.to_string().contains(&format!("{at} has no key {}", json!(key))), "{call}: {error}");
            let Error::Invalid { violations } = Error::from(error) else { panic!("{call}") };
            assert_eq!(violations[0].field, format!("{at}.{key}"), "{call}");
        }
    }
    assert_eq!(written(&mut app).await, 0);
}

#[rstest]
#[case(Place::Event, &["event_type", "event_data"])]
#[case(Place::Condition, &["fail_if_events_match"])]
#[case(Place::Item, &[])]
#[case(Place::Stream, &["aggregate_type", "aggregate_id"])]
#[tokio::test]
async fn a_key_that_has_to_be_there_is_missed(
    #[future(awt)] db: TestDatabase,
    #[case] place: Place,
    #[case] needed: &[&str],
) {
    let (mut app, token) = app(&db).await;
    let mut taken = 0;
    for (key, _) in known(place) {
        let mut object = good(place);
        object.as_object_mut().map(|object| object.remove(key));
        for (call, _) in calls(place, &object, &token) {
            app.batch_execute("BEGIN").await.unwrap();
            let done = app.batch_execute(&call).await.map_err(Error::from);
            app.batch_execute("ROLLBACK").await.unwrap();
            match done {
                Ok(()) => taken += usize::from(!needed.contains(&key)),
                Err(Error::Invalid { .. }) if needed.contains(&key) => {}
                other => panic!("{call}: {other:?}"),
            }
        }
    }
    assert!(taken > 0 || needed.len() == known(place).len(), "nothing was taken");
    assert_eq!(written(&mut app).await, 0);
}

/// Every value that is of no type of its key; a text that PostgreSQL would read as an array is one of them.
#[rstest]
#[case(Place::Event)]
#[case(Place::Condition)]
#[case(Place::Item)]
#[case(Place::Stream)]
#[tokio::test]
async fn a_value_of_another_type_is_refused(#[future(awt)] db: TestDatabase, #[case] place: Place) {
    let (mut app, token) = app(&db).await;
    let values = [json!(7), json!(true), json!("{a:1,b:2}"), json!("x"), json!({"a": 1}), json!([1])];
    for (key, right) in known(place) {
        // Any JSON is data.
        let wrong = values.iter().filter(|value| kind(value) != kind(&right) && key != "event_data");
        for value in wrong.cloned().chain(arrays(key, &right)) {
            let mut object = good(place);
            object[key] = value.clone();
            for (call, _) in calls(place, &object, &token) {
                let error = app.batch_execute(&call).await.map_err(Error::from).expect_err(&call);
                assert!(matches!(error, Error::Invalid { .. }), "{call}: {error:?}");
            }
        }
    }
    assert_eq!(written(&mut app).await, 0);
}

/// Arrays with what no event has in its array: in another array too, into which jsonpath looks of its own accord.
fn arrays(key: &str, right: &Value) -> Vec<Value> {
    let first = match (key, right) {
        ("tags" | "types" | "fail_if_events_match", Value::Array(items)) => &items[0],
        _ => return Vec::new(),
    };
    let mut arrays =
        vec![json!([[first]]), json!([first, [first]]), json!([first, 1]), json!([[[first]]]), json!([[]])];
    match key {
        "tags" => arrays.extend(["", "a", ":1", "a:", "a:\u{1}", "\u{1f}:1"].map(|tag| json!([tag]))),
        "types" => arrays.extend(["", " ", "\t", "A\u{1}"].map(|name| json!([name]))),
        _ => {}
    }
    arrays
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// The good objects are good, and the function's COMMENT names each of their keys.
#[rstest]
#[tokio::test]
async fn every_key_that_is_known_is_taken_and_told(#[future(awt)] db: TestDatabase) {
    let (mut app, token) = app(&db).await;
    let comment = "SELECT obj_description('append_events(jsonb, jsonb, jsonb)'::regprocedure)";
    let comment = texts(&mut connection(&db.url).await, comment).await.remove(0);
    for place in [Place::Event, Place::Condition, Place::Item, Place::Stream] {
        for (key, _) in known(place) {
            assert!(comment.contains(&format!("\"{key}\"")), "{key}: {comment}");
        }
        for (call, _) in calls(place, &good(place), &token) {
            app.batch_execute(&format!("BEGIN; {call}; ROLLBACK")).await.expect(&call);
        }
    }
    // A key may be there with null where it may be missing.
    let null: Map<_, _> = ["id", "metadata", "tags", "correlation_id", "causation_id"]
        .map(|key| (key.to_owned(), Value::Null))
        .into_iter()
        .chain([("event_type".to_owned(), json!("A")), ("event_data".to_owned(), json!(1))])
        .collect();
    for (call, _) in calls(Place::Event, &Value::Object(null), &token) {
        app.batch_execute(&call).await.expect(&call);
        app.batch_execute("ROLLBACK").await.unwrap();
    }
    assert!(comment.contains("\"after\""), "{comment}");
}
