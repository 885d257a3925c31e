//! Bad input to an append, in every field, by Rust and by SQL: an error that says so, and nothing is written.

use bedplate::Error;
use bedplate::events::{
    AppendCondition, EventId, EventQuery, EventToken, ExpectedVersion, NewEvent, QueryItem, ReadFrom, Stream,
};
use bedplate::sql::quote_literal;
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::event_conditions::{condition, event, query};
use crate::support::{Home, TestDatabase, as_app, db, home, number, texts};

async fn written(db: &TestDatabase, home: &Home) -> i64 {
    let mut app = as_app(db, home).await;
    number(&mut app, "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM event_tags)").await
}

const EVENTS: &str = "events is not allowed (events_events_check)";
const CONDITION: &str = "condition is not allowed (events_condition_check)";
const AFTER: &str = "after is not allowed (events_after_check)";
const STREAM: &str = "stream is not allowed (events_stream_check)";
const UNREADABLE: &str = "value cannot be read";

/// What is wrong with one event of an otherwise good append.
#[rstest]
#[case::no_type(r#"{"event_data": 1}"#, EVENTS)]
#[case::null_type(r#"{"event_type": null, "event_data": 1}"#, EVENTS)]
#[case::empty_type(r#"{"event_type": "", "event_data": 1}"#, EVENTS)]
#[case::blank_type(r#"{"event_type": " ", "event_data": 1}"#, EVENTS)]
#[case::control_in_type(r#"{"event_type": "A\u001fB", "event_data": 1}"#, EVENTS)]
#[case::newline_in_type(r#"{"event_type": "A\nB", "event_data": 1}"#, EVENTS)]
#[case::stream_as_type(r#"{"event_type": "\u0002a", "event_data": 1}"#, EVENTS)]
#[case::no_data(r#"{"event_type": "A"}"#, "event_data is missing")]
#[case::null_data(r#"{"event_type": "A", "event_data": null}"#, "event_data is missing")]
#[case::null_tag(r#"{"event_type": "A", "event_data": 1, "tags": [null]}"#, EVENTS)]
#[case::number_tag(r#"{"event_type": "A", "event_data": 1, "tags": [1]}"#, EVENTS)]
#[case::tag_in_an_array(r#"{"event_type": "A", "event_data": 1, "tags": [["a:1", "b:2"]]}"#, EVENTS)]
#[case::tags_in_arrays(r#"{"event_type": "A", "event_data": 1, "tags": [["a:1"], ["b:2"]]}"#, EVENTS)]
#[case::a_tag_and_an_array(r#"{"event_type": "A", "event_data": 1, "tags": ["a:1", ["b:2"]]}"#, EVENTS)]
#[case::empty_tag(r#"{"event_type": "A", "event_data": 1, "tags": [""]}"#, EVENTS)]
#[case::tag_without_colon(r#"{"event_type": "A", "event_data": 1, "tags": ["a:1", "b"]}"#, EVENTS)]
#[case::tag_without_key(r#"{"event_type": "A", "event_data": 1, "tags": [":1"]}"#, EVENTS)]
#[case::tag_without_value(r#"{"event_type": "A", "event_data": 1, "tags": ["a:"]}"#, EVENTS)]
#[case::control_in_tag(r#"{"event_type": "A", "event_data": 1, "tags": ["a:\u0001b"]}"#, EVENTS)]
#[case::two_tags_in_one(r#"{"event_type": "A", "event_data": 1, "tags": ["a:1\u001fb:2"]}"#, EVENTS)]
#[case::type_as_tag(r#"{"event_type": "A", "event_data": 1, "tags": ["\u0001a:b"]}"#, EVENTS)]
#[case::long_tag(&format!(r#"{{"event_type": "A", "event_data": 1, "tags": ["a:{}"]}}"#, "ü".repeat(254)), EVENTS)]
#[case::tag_of_more_than_a_word(&format!(r#"{{"event_type": "A", "event_data": 1, "tags": ["a:{}"]}}"#, "b".repeat(3000)), EVENTS)]
#[case::many_tags(&format!(r#"{{"event_type": "A", "event_data": 1, "tags": ["a:1"{}]}}"#, r#", "a:2""#.repeat(1000)), EVENTS)]
#[case::deep_data(&format!(r#"{{"event_type": "A", "event_data": {}1{}}}"#, "[".repeat(110), "]".repeat(110)), EVENTS)]
#[case::deep_metadata(&format!(r#"{{"event_type": "A", "event_data": 1, "metadata": {{"a": {}1{}}}}}"#, "[".repeat(110), "]".repeat(110)), EVENTS)]
#[case::number_beyond(r#"{"event_type": "A", "event_data": {"a": -1e400}}"#, EVENTS)]
#[case::nul_in_data(
    r#"{"event_type": "A", "event_data": "\u0000"}"#,
    "value holds a character that PostgreSQL cannot store (NUL)"
)]
#[case::long_type(&format!(r#"{{"event_type": "{}", "event_data": 1}}"#, "ü".repeat(256)), "value is too long")]
#[case::id(r#"{"event_type": "A", "event_data": 1, "id": "1"}"#, UNREADABLE)]
#[case::correlation_id(r#"{"event_type": "A", "event_data": 1, "correlation_id": "1"}"#, UNREADABLE)]
#[case::causation_id(r#"{"event_type": "A", "event_data": 1, "causation_id": 1}"#, UNREADABLE)]
#[case::no_object("1", EVENTS)]
#[case::null("null", EVENTS)]
#[case::array("[]", EVENTS)]
#[tokio::test]
async fn a_bad_event_is_refused(#[future(awt)] db: TestDatabase, #[case] bad: &str, #[case] message: &str) {
    let home = home(&db).await;
    let good = r#"{"event_type": "A", "event_data": 1, "tags": ["a:1"]}"#;
    let mut app = as_app(&db, &home).await;
    for events in [format!("[{bad}]"), format!("[{good}, {bad}]"), format!("[{bad}, {good}]")] {
        let append = format!("SELECT append_events({})", quote_literal(&events));
        let error = app.batch_execute(&append).await.map_err(Error::from).expect_err(&events);
        assert!(!matches!(error, Error::Database(_)), "{events}: {error:?}");
        assert_eq!(error.to_string(), message, "{events}");
    }
    assert_eq!(written(&db, &home).await, 0);
}

/// What is wrong with the call.
#[rstest]
#[case::no_events("NULL", EVENTS)]
#[case::null("'null'", EVENTS)]
#[case::one_event(r#"'{"event_type": "A", "event_data": 1}'"#, EVENTS)]
#[case::no_event("'[]'", EVENTS)]
#[case::too_many(
    r#"(SELECT jsonb_agg('{"event_type": "A", "event_data": 1}'::jsonb) FROM generate_series(1, 1001))"#,
    EVENTS
)]
#[case::null_condition("$E$, 'null'", CONDITION)]
#[case::empty_condition("$E$, '{}'", CONDITION)]
#[case::condition_without_items(r#"$E$, '{"fail_if_events_match": []}'"#, CONDITION)]
#[case::condition_of_a_number(r#"$E$, '{"fail_if_events_match": 1}'"#, CONDITION)]
#[case::condition_misspelt(
    r#"$E$, '{"fail_if_event_match": [{"tags": ["a:1"]}]}'"#,
    "condition.fail_if_event_match is not allowed (events_keys_check)"
)]
#[case::empty_tag(r#"$E$, '{"fail_if_events_match": [{"tags": [""]}]}'"#, CONDITION)]
#[case::empty_tag_of_two(r#"$E$, '{"fail_if_events_match": [{"tags": ["a:1"]}, {"tags": [""]}]}'"#, CONDITION)]
#[case::null_tag(r#"$E$, '{"fail_if_events_match": [{"tags": ["a:1", null]}]}'"#, CONDITION)]
#[case::tag_without_colon(r#"$E$, '{"fail_if_events_match": [{"tags": ["a:1", "b"]}]}'"#, CONDITION)]
#[case::null_type(r#"$E$, '{"fail_if_events_match": [{"tags": ["a:1"], "types": [null]}]}'"#, CONDITION)]
#[case::only_a_null_type(r#"$E$, '{"fail_if_events_match": [{"types": [null]}]}'"#, CONDITION)]
#[case::null_types(r#"$E$, '{"fail_if_events_match": [{"tags": ["a:1"], "types": null}]}'"#, CONDITION)]
#[case::type_for_types(r#"$E$, '{"fail_if_events_match": [{"tags": ["a:1"], "types": "T"}]}'"#, CONDITION)]
#[case::tags_as_object(r#"$E$, '{"fail_if_events_match": [{"tags": {"0": "a:1"}}]}'"#, CONDITION)]
#[case::items_as_object(r#"$E$, '{"fail_if_events_match": {"0": {"tags": ["a:1"]}}}'"#, CONDITION)]
#[case::long_tag(r"$E$, jsonb_build_object('fail_if_events_match', jsonb_build_array(jsonb_build_object('tags', ARRAY['a:' || repeat('x', 300)])))", CONDITION)]
#[case::too_many_items(r#"$E$, (SELECT jsonb_build_object('fail_if_events_match', jsonb_agg('{"tags": ["a:1"]}'::jsonb)) FROM generate_series(1, 101))"#, CONDITION)]
#[case::stream_without_all("$E$, NULL, '{}'", STREAM)]
#[case::stream_without_type(r#"$E$, NULL, '{"aggregate_id": "01900000-0000-7000-8000-000000000001"}'"#, STREAM)]
#[case::stream_of_blank_type(
    r#"$E$, NULL, '{"aggregate_type": " ", "aggregate_id": "01900000-0000-7000-8000-000000000001"}'"#,
    STREAM
)]
#[case::stream_without_id(r#"$E$, NULL, '{"aggregate_type": "order"}'"#, STREAM)]
#[case::stream_of_bad_id(r#"$E$, NULL, '{"aggregate_type": "order", "aggregate_id": "1"}'"#, UNREADABLE)]
#[case::stream_below_none(r#"$E$, NULL, '{"aggregate_type": "order", "aggregate_id": "01900000-0000-7000-8000-000000000001", "expected_version": -1}'"#, STREAM)]
#[case::stream_at_a_text(r#"$E$, NULL, '{"aggregate_type": "order", "aggregate_id": "01900000-0000-7000-8000-000000000001", "expected_version": "x"}'"#, STREAM)]
#[tokio::test]
async fn a_bad_call_is_refused(#[future(awt)] db: TestDatabase, #[case] arguments: &str, #[case] message: &str) {
    let home = home(&db).await;
    let arguments = arguments.replace("$E$", r#"'[{"event_type": "A", "event_data": 1, "tags": ["a:1"]}]'"#);
    let call = format!("SELECT append_events({arguments})");
    let error = as_app(&db, &home).await.batch_execute(&call).await.map_err(Error::from).unwrap_err();
    assert!(!matches!(error, Error::Database(_)), "{error:?}");
    assert_eq!(error.to_string(), message);
    assert_eq!(written(&db, &home).await, 0);
}

/// `$` stands for the begin of a good token: when this server was started.
#[rstest]
#[case::empty("", AFTER)]
#[case::word("x", UNREADABLE)]
#[case::one_part("$", AFTER)]
#[case::four_parts("$.1.1.0", AFTER)]
#[case::six_parts("$.1.1.0.1:1:.1", AFTER)]
#[case::no_numbers("$.a.b.c.d", UNREADABLE)]
#[case::no_snapshot("$.1.1.0.x", UNREADABLE)]
#[case::a_snapshot_that_ends_early("$.1.1.0.5:3:", UNREADABLE)]
#[case::beyond("$.99999999999999999999.1.0.1:1:", "value is too large")]
#[case::a_position("17", AFTER)]
#[case::no_number_of_the_start("x.1.1.0.1:1:", UNREADABLE)]
#[tokio::test]
async fn a_bad_token_is_refused(#[future(awt)] db: TestDatabase, #[case] token: &str, #[case] message: &str) {
    let home = home(&db).await;
    let good = texts(&mut as_app(&db, &home).await, "SELECT event_token()").await.remove(0);
    let token = token.replace('$', good.split('.').next().unwrap());
    let condition = AppendCondition::fail_if(query("x")).after(EventToken::from_client(token));
    let error = db.append_events(&home.context, &[event("T x")], Some(&condition)).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert_eq!(error.to_string(), message);
    assert_eq!(written(&db, &home).await, 0);
}

/// What Rust sees before the database does.
#[rstest]
#[case::no_type(NewEvent::new("", json!({})), "event_type is empty")]
#[case::long_type(NewEvent::new("A".repeat(256), json!({})), "event_type")]
#[case::null(NewEvent::new("A", json!(null)), "event_data is missing")]
#[case::nul(NewEvent::new("A", json!({"a\0": 1})), "event_data holds a NUL character")]
#[case::nul_in_metadata(NewEvent::new("A", json!(1)).metadata("a", json!("\0")), "metadata holds a NUL character")]
#[case::tag(NewEvent::new("A", json!(1)).tag("a", "\u{1f}"), "tags cannot hold")]
#[case::long_tag(NewEvent::new("A", json!(1)).tag("a", "ü".repeat(254)), "tags cannot hold")]
#[tokio::test]
async fn a_bad_event_of_rust_is_refused(#[future(awt)] db: TestDatabase, #[case] bad: NewEvent, #[case] message: &str) {
    let home = home(&db).await;
    let error = db.append_events(&home.context, &[event("T x"), bad], None).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().starts_with(message), "{error:?}");
    assert_eq!(written(&db, &home).await, 0);
}

#[rstest]
#[case::tag(QueryItem::default().with_tag("x").into(), "tags cannot hold")]
#[case::no_item_but_a_bad_one(EventQuery::tag("a", 1).or(QueryItem::default().with_tag("a:\u{1}")), "tags cannot hold")]
#[case::event_type(EventQuery::event_type(""), "types is empty")]
#[case::too_many_items((0..100).fold(EventQuery::all(), |query, n| query.or(QueryItem::default().tag("a", n))), "query has 101 items")]
#[tokio::test]
async fn a_bad_query_is_refused(#[future(awt)] db: TestDatabase, #[case] bad: EventQuery, #[case] message: &str) {
    let home = home(&db).await;
    let condition = AppendCondition::fail_if(bad.clone());
    let bad = &bad;
    for error in [
        db.append_events(&home.context, &[event("T x")], Some(&condition)).await.unwrap_err(),
        db.tenant_tx("read", &home.context, async |tx| tx.events().read(bad, ReadFrom::Start, 1).await)
            .await
            .unwrap_err(),
        db.tenant_tx("read", &home.context, async |tx| tx.events().read_to_decide(bad).await).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Invalid { .. }) && error.to_string().starts_with(message), "{error:?}");
    }
    assert_eq!(written(&db, &home).await, 0);
}

#[rstest]
#[tokio::test]
async fn an_append_has_an_end(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let events: Vec<_> = (0..1001).map(|n| event(&format!("T x{n}"))).collect();
    let refused = db.append_events(&home.context, &events, None).await.unwrap_err();
    assert_eq!(refused.to_string(), "events are 1001, allowed are 1 to 1000");
    assert_eq!(
        db.append_events(&home.context, &[], None).await.unwrap_err().to_string(),
        "events are 0, allowed are 1 to 1000"
    );
    assert_eq!(written(&db, &home).await, 0);
    let positions = db.append_events(&home.context, &events[..1000], condition("x7").as_ref()).await.unwrap();
    assert!(positions.is_sorted() && positions.len() == 1000);
    assert_eq!(written(&db, &home).await, 2000);
    let mut read = db
        .tenant_tx("read", &home.context, async |tx| tx.events().read(&query("x999"), ReadFrom::Start, 10).await)
        .await
        .unwrap();
    assert_eq!(read.remove(0).position, positions[999]);
    for limit in [0, 100_001] {
        let read =
            db.tenant_tx("read", &home.context, async |tx| tx.events().read(&query("*"), ReadFrom::Start, limit).await);
        assert!(matches!(read.await, Err(Error::Invalid { .. })));
    }
}

/// Once is enough; and two events of one append may share a tag.
#[rstest]
#[tokio::test]
async fn a_tag_twice_is_once(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    db.append_events(&home.context, &[event("T x y x"), event("T y")], None).await.unwrap();
    let mut app = as_app(&db, &home).await;
    assert_eq!(texts(&mut app, "SELECT tags FROM events ORDER BY position").await, ["{t:x,t:y}", "{t:y}"]);
    assert_eq!(number(&mut app, "SELECT count(*) FROM event_tags").await, 3);
}

/// In one append and in two; a savepoint keeps what came before.
#[rstest]
#[tokio::test]
async fn an_id_is_taken_once(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let id = EventId::new();
    let conflict = |error: Error| match error {
        Error::Conflict { constraint, field } => assert_eq!((&*constraint, &*field), ("events_id_key", "id")),
        other => panic!("{other:?}"),
    };
    let twice = [event("T x").id(id), event("T y").id(id)];
    conflict(db.append_events(&home.context, &twice, None).await.unwrap_err());
    assert_eq!(written(&db, &home).await, 0);
    db.append_events(&home.context, &twice[..1], None).await.unwrap();
    conflict(db.append_events(&home.context, &twice[1..], None).await.unwrap_err());
    conflict(
        db.append_events(&home.context, &[event("T z"), twice[0].clone()], condition("y").as_ref()).await.unwrap_err(),
    );
    assert_eq!(written(&db, &home).await, 2);
}

/// Any characters but control characters; what looks alike is not equal.
#[rstest]
#[tokio::test]
async fn tags_are_of_any_script(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let longest = "ß".repeat(253);
    let tags = [
        "über:straße",
        "课程:数据库",
        "emoji:👩‍🚀",
        "e\u{301}:1",
        "\u{e9}:1",
        "a:b:c",
        " : ",
        "'a\\:\"b",
        "a:%_",
        &format!("k:{longest}"),
    ];
    for tag in tags {
        let item = || QueryItem::default().with_tag(tag);
        let none_yet = AppendCondition::fail_if(item().into());
        let (key, value) = tag.split_once(':').unwrap();
        let new = [NewEvent::new("T", json!({})).tag(key, value)];
        db.append_events(&home.context, &new, Some(&none_yet)).await.unwrap_or_else(|error| panic!("{tag}: {error}"));
        let again = db.append_events(&home.context, &new, Some(&none_yet)).await;
        assert!(matches!(again, Err(Error::AppendConflict { .. })), "{tag}");
        let query = &item().into();
        let read = db.tenant_tx("read", &home.context, async |tx| tx.events().read(query, ReadFrom::End, 10).await);
        assert_eq!(read.await.unwrap()[0].tags, [tag]);
    }
}

/// A stream keeps its kind; and a version that is negative is none.
#[rstest]
#[tokio::test]
async fn a_stream_of_another_kind_is_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let stream = Stream { aggregate_type: "order", aggregate_id: Uuid::now_v7() };
    let append = async |stream: Stream<'_>, expected| {
        let (kind, aggregate_id) = (stream.aggregate_type.to_owned(), stream.aggregate_id);
        db.tenant_tx("append", &home.context, async |tx| {
            let stream = Stream { aggregate_type: &kind, aggregate_id };
            tx.events().append_to_stream(stream, expected, &[event("T x")]).await
        })
        .await
    };
    append(stream, ExpectedVersion::Any).await.unwrap();
    for (kind, expected, message) in [
        ("invoice", ExpectedVersion::Any, "aggregate_type is not allowed (events_aggregate_type_check)"),
        ("order", ExpectedVersion::Exact(-1), "expected is negative"),
        ("", ExpectedVersion::Any, "aggregate_type is empty"),
    ] {
        let refused = append(Stream { aggregate_type: kind, ..stream }, expected).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }) && refused.to_string() == message, "{refused:?}");
    }
    assert_eq!(written(&db, &home).await, 2);
}
