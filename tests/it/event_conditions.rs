//! Which appends wait for one another, and what they find then: every kind of condition against every kind of event,
//! in both orders, held by open transactions.

use bedplate::events::{AppendCondition, AppendConflict, EventQuery, ExpectedVersion, NewEvent, QueryItem, Stream};
use bedplate::sql::quote_literal;
use bedplate::{Error, Result};
use diesel_async::AsyncPgConnection;
use rstest::rstest;
use serde_json::json;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{Home, TestDatabase, as_app, db, execute, home, number, waits_for_lock};

/// `"T x y"` is an event of the type T with the tags t:x and t:y.
pub fn event(words: &str) -> NewEvent {
    let (event_type, tags) = words.split_once(' ').unwrap_or((words, ""));
    tags.split_whitespace().fold(NewEvent::new(event_type, json!({})), |event, tag| event.tag("t", tag))
}

/// `"T U x | y"` is of the type T or U with the tag t:x, or any type with the tag t:y; `"*"` is any event.
pub fn query(words: &str) -> EventQuery {
    let item = |words: &str| {
        words.split_whitespace().filter(|word| *word != "*").fold(QueryItem::default(), |item, word| {
            if word.starts_with(char::is_uppercase) { item.event_type(word) } else { item.tag("t", word) }
        })
    };
    let (first, rest) = words.split_once(" | ").unwrap_or((words, ""));
    let others = rest.split(" | ").filter(|words| !words.is_empty());
    others.fold(item(first).into(), |query: EventQuery, words| query.or(item(words)))
}

/// No condition for an empty text.
pub fn condition(words: &str) -> Option<AppendCondition> {
    (!words.is_empty()).then(|| AppendCondition::fail_if(query(words)))
}

/// As a client writes it in SQL.
pub fn append_sql(events: &[NewEvent], condition: Option<&AppendCondition>) -> String {
    let literal = |json: String| quote_literal(&json);
    let condition = condition.map_or("NULL".to_owned(), |some| literal(serde_json::to_string(some).unwrap()));
    format!("SELECT append_events({}, {condition})", literal(serde_json::to_string(events).unwrap()))
}

/// A transaction that has appended and is not committed.
pub async fn under_way(db: &TestDatabase, home: &Home, events: &str, if_none: &str) -> AsyncPgConnection {
    let mut app = as_app(db, home).await;
    execute(&mut app, &format!("BEGIN; {}", append_sql(&[event(events)], condition(if_none).as_ref()))).await;
    app
}

/// An append in the transaction `b`.
pub fn append_b(db: &TestDatabase, home: &Home, events: &str, if_none: &str) -> JoinHandle<Result<Vec<i64>>> {
    let (db, context) = (db.database.clone(), home.context.clone());
    let (events, condition) = ([event(events)], condition(if_none));
    tokio::spawn(async move {
        let (events, condition) = (&events, condition.as_ref());
        db.tenant_tx("b", &context, async move |tx| tx.events().append(events, condition).await).await
    })
}

/// The item of the condition that an event matched.
pub fn conflicting_item(outcome: Result<Vec<i64>>) -> Option<usize> {
    match outcome {
        Ok(_) => None,
        Err(Error::AppendConflict { conflict: AppendConflict::Event { item, .. } }) => Some(item),
        Err(other) => panic!("{other:?}"),
    }
}

/// How B fares.
enum B {
    /// It is done before A is.
    Goes,
    /// It is appended after A's commit.
    Waits,
    /// It waits, and an event of A matches this item.
    Conflicts(usize),
}

/// 1. A appends, and does not commit.
/// 2. B appends.
/// 3. A commits; B is done before, or waits for it.
/// 4. What B decided holds, or an event of A is in its way.
#[rstest]
#[case::two_decisions_on_a_tag(("T x", "x"), ("T x", "x"), B::Conflicts(0))]
#[case::two_decisions_on_two_tags(("T x", "x"), ("T y", "y"), B::Goes)]
#[case::two_without_a_condition(("T x", ""), ("T x", ""), B::Goes)]
#[case::an_event_under_a_decision(("T y", "x"), ("T x", ""), B::Waits)]
#[case::a_decision_after_an_event(("T x", ""), ("T y", "x"), B::Conflicts(0))]
#[case::an_event_under_the_second_item(("T z", "y | x"), ("T x", ""), B::Waits)]
#[case::the_second_item_after_an_event(("T x", ""), ("T z", "y | x"), B::Conflicts(1))]
#[case::neither_item(("T z", "y | x"), ("T v", ""), B::Goes)]
#[case::two_decisions_crossing(("T x y", "y | x"), ("T x y", "x | y"), B::Conflicts(0))]
#[case::both_tags(("T x y", ""), ("T z", "x y"), B::Conflicts(0))]
#[case::the_first_tag_only(("T x", ""), ("T z", "x y"), B::Waits)]
#[case::the_second_tag_only(("T y", ""), ("T z", "x y"), B::Goes)]
#[case::both_tags_in_the_other_order(("T z", "x y"), ("T y x", ""), B::Waits)]
#[case::type_and_tag(("T x", ""), ("V z", "T U x"), B::Conflicts(0))]
#[case::the_other_type_and_tag(("V x", ""), ("V z", "T U x"), B::Waits)]
#[case::type_and_another_tag(("T y", ""), ("V z", "T U x"), B::Goes)]
#[case::under_type_and_tag(("V z", "T U x"), ("U x", ""), B::Waits)]
#[case::type_alone(("T x", ""), ("V z", "U T"), B::Conflicts(0))]
#[case::under_type_alone(("V z", "U T"), ("T x", ""), B::Waits)]
#[case::another_type(("V z", "U T"), ("W x", ""), B::Goes)]
#[case::two_types(("V z", "T"), ("W x", "U"), B::Goes)]
#[case::two_decisions_on_a_type(("T x", "T"), ("T y", "T"), B::Conflicts(0))]
#[case::type_against_tag(("T x", "x"), ("V y", "T"), B::Conflicts(0))]
#[case::tag_against_type(("V y", "T"), ("T x", "x"), B::Waits)]
#[case::anything_after_an_event(("T x", ""), ("U y", "*"), B::Conflicts(0))]
#[case::under_anything(("T x", "*"), ("U y", ""), B::Waits)]
#[case::anything_twice(("T x", "*"), ("U y", "*"), B::Conflicts(0))]
#[case::anything_as_an_item(("T x", ""), ("U y", "z | *"), B::Conflicts(1))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_meet(
    #[future(awt)] db: TestDatabase,
    #[case] a: (&str, &str),
    #[case] b: (&str, &str),
    #[case] expected: B,
) {
    meet(&db, a, b, expected).await;
}

async fn meet(db: &TestDatabase, a: (&str, &str), b: (&str, &str), expected: B) {
    let home = home(db).await;
    let mut first = under_way(db, &home, a.0, a.1).await; // 1
    let second = append_b(db, &home, b.0, b.1); // 2
    if matches!(expected, B::Goes) {
        assert_eq!(conflicting_item(second.await.unwrap()), None);
        execute(&mut first, "COMMIT").await;
        return;
    }
    waits_for_lock(db, "b").await;
    execute(&mut first, "COMMIT").await; // 3
    let item = match expected {
        B::Conflicts(item) => Some(item),
        B::Goes | B::Waits => None,
    };
    assert_eq!(conflicting_item(second.await.unwrap()), item); // 4
}

/// The same with A rolled back: then nothing is in the way of B.
#[rstest]
#[case("T x", "x")]
#[case("T x", "T")]
#[case("T x", "*")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rolled_back_is_not_in_the_way(
    #[future(awt)] db: TestDatabase,
    #[case] events: &str,
    #[case] if_none: &str,
) {
    let home = home(&db).await;
    let mut first = under_way(&db, &home, events, "").await;
    let second = append_b(&db, &home, "T y", if_none);
    waits_for_lock(&db, "b").await;
    execute(&mut first, "ROLLBACK").await;
    assert_eq!(conflicting_item(second.await.unwrap()), None);
}

/// An item asks for all of its tags, and for one of its types, of one event.
#[rstest]
#[case::no_event_with_both("x y", None)]
#[case::no_event_of_the_type_with_the_tag("U x", None)]
#[case::neither_of_two_items("x y | U x", None)]
#[case::one_type_of_two("V U y", Some(0))]
#[case::both_tags("z y", Some(0))]
#[case::both_tags_and_the_type("x y | U y z", Some(1))]
#[tokio::test]
async fn an_item_asks_for_everything(
    #[future(awt)] db: TestDatabase,
    #[case] words: &str,
    #[case] item: Option<usize>,
) {
    let home = home(&db).await;
    db.append_events(&home.context, &[event("T x"), event("U y z"), event("T x v"), event("U y")], None).await.unwrap();
    let appended = db.append_events(&home.context, &[event("T")], condition(words).as_ref()).await;
    assert_eq!(conflicting_item(appended), item);
}

fn three_hundred_tags() -> String {
    (0..300).map(|n| format!(" x{n}")).fold("T".to_owned(), |words, tag| words + &tag)
}

/// An event with more tags than one append locks one by one: it has the tenant for itself, in both orders, and is
/// found by each of its tags.
#[rstest]
#[case::another_event_waits((true, ""), (false, ""), B::Waits)]
#[case::it_waits((false, ""), (true, ""), B::Waits)]
#[case::a_decision_on_its_last_tag((true, ""), (false, "x299"), B::Conflicts(0))]
#[case::under_a_decision_on_its_last_tag((false, "x299"), (true, ""), B::Waits)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_has_many_tags(
    #[future(awt)] db: TestDatabase,
    #[case] a: (bool, &str),
    #[case] b: (bool, &str),
    #[case] expected: B,
) {
    let words = |many: bool| if many { three_hundred_tags() } else { "U y".to_owned() };
    meet(&db, (&words(a.0), a.1), (&words(b.0), b.1), expected).await;
}

/// 1. A has its tenant for itself, and does not commit.
/// 2. In another tenant everything goes on, with the same tags and types, and the same ids of streams.
#[rstest]
#[tokio::test]
async fn another_tenant_never_waits(#[future(awt)] db: TestDatabase) {
    let (here, there) = (home(&db).await, home(&db).await);
    let mut first = under_way(&db, &here, "T x", "*").await; // 1
    for if_none in ["", "x", "T", "*"] {
        let condition = condition(if_none);
        let appended = db.append_events(&there.context, &[event("T x")], condition.as_ref()).await;
        // 2: its own first event is in the way of the second one, A's is not.
        assert_eq!(appended.is_ok(), if_none.is_empty(), "{if_none}");
        let message = appended.map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(message.is_empty() || message.starts_with("append condition failed: T at position 2 "), "{message}");
    }
    execute(&mut first, "COMMIT").await;
}

fn stream(id: Uuid) -> Stream<'static> {
    Stream { aggregate_type: "order", aggregate_id: id }
}

/// 1. A appends to a stream, and does not commit.
/// 2. B appends to another stream with the same tags, and does not wait.
/// 3. B appends to the same one, and waits; A commits.
/// 4. B gets the next version, or is told where the stream is.
#[rstest]
#[case::at_any(ExpectedVersion::Any, None)]
#[case::at_none(ExpectedVersion::NoStream, Some((0, 1)))]
#[case::at_the_next(ExpectedVersion::Exact(1), None)]
#[case::at_another(ExpectedVersion::Exact(2), Some((2, 1)))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_write_to_a_stream(
    #[future(awt)] db: TestDatabase,
    #[case] expected: ExpectedVersion,
    #[case] conflict: Option<(i32, i32)>,
) {
    let home = home(&db).await;
    let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
    let mut first = as_app(&db, &home).await;
    let to = json!({"aggregate_type": "order", "aggregate_id": id}).to_string();
    let append = append_sql(&[event("T x")], None);
    let append = append.replace(", NULL)", &format!(", NULL, {})", quote_literal(&to)));
    execute(&mut first, &format!("BEGIN; {append}")).await; // 1
    let append_to = |id: Uuid, expected: ExpectedVersion| {
        let (db, context) = (db.database.clone(), home.context.clone());
        tokio::spawn(async move {
            let append = async move |tx: bedplate::TenantTx| {
                tx.events().append_to_stream(stream(id), expected, &[event("T x")]).await
            };
            db.tenant_tx("b", &context, append).await
        })
    };
    append_to(other, ExpectedVersion::NoStream).await.unwrap().unwrap(); // 2
    let second = append_to(id, expected);
    waits_for_lock(&db, "b").await;
    execute(&mut first, "COMMIT").await; // 3
    match (second.await.unwrap(), conflict) {
        (Ok(_), None) => {} // 4
        (
            Err(Error::AppendConflict { conflict: AppendConflict::Stream { aggregate_id, expected, version } }),
            Some(said),
        ) => {
            assert_eq!((aggregate_id, expected, version), (id, said.0, said.1));
        }
        other => panic!("{other:?}"),
    }
    let read =
        db.tenant_tx("read", &home.context, async |tx| tx.events().read_stream(stream(id), 0).await).await.unwrap();
    let versions: Vec<_> = read.iter().map(|event| event.event_version.unwrap()).collect();
    assert_eq!(versions, if conflict.is_none() { vec![1, 2] } else { vec![1] });
}

/// 1. A appends under a condition on x, and holds x.
/// 2. B, with the same condition, waits for it.
/// 3. A appends another event with x: it need not wait behind B for what it holds.
/// 4. B finds what A appended.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_held_though_others_wait(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut a = under_way(&db, &home, "T x", "x").await; // 1
    let b = append_b(&db, &home, "T x", "x");
    waits_for_lock(&db, "b").await; // 2
    execute(&mut a, &append_sql(&[event("T x")], None)).await; // 3
    execute(&mut a, "COMMIT").await;
    assert_eq!(conflicting_item(b.await.unwrap()), Some(0)); // 4
}

/// However many appends a transaction has, it announces once.
#[rstest]
#[tokio::test]
async fn a_transaction_announces_once(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut a = under_way(&db, &home, "T x", "").await;
    for _ in 0..3 {
        execute(&mut a, &append_sql(&[event("T x")], None)).await;
    }
    let announcements = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 \
                            AND pid = pg_backend_pid()";
    assert_eq!(number(&mut a, announcements).await, 1);
}

/// In a new database nothing was analyzed yet, and the planner takes every table for a small one. Of the 200 events
/// with the tag none is of the type: each is looked at once.
#[rstest]
#[tokio::test]
async fn each_event_is_looked_at_once_before_there_are_statistics(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut app = as_app(&db, &home).await;
    let events: Vec<_> = (0..200).map(|_| event("A x")).collect();
    execute(&mut app, &append_sql(&events, None)).await;
    execute(&mut app, &format!("BEGIN; {}", append_sql(&[event("A x")], condition("B x").as_ref()))).await;
    let fetched = "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'events'";
    let fetched = number(&mut app, fetched).await;
    assert!((200..400).contains(&fetched), "{fetched}");
}
