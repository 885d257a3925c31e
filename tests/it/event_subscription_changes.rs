//! A subscription that is not the one that is stored, and one whose tenant is gone: the subscriber ends with an error
//! that says so; it neither skips events nor idles.

use std::collections::BTreeSet;
use std::time::Duration;

use bedplate::database::Tx;
use bedplate::events::{Event, EventHandler, EventQuery, EventSink, NewEvent, QueryItem, Resume, Subscription, Turn};
use bedplate::{Error, Result, TenantContext};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use serde_json::json;

use crate::event_races::close;
use crate::support::{Home, TestDatabase, as_app, connection, db, execute, home, number, texts, until, waits_for_lock};

/// Does nothing with them.
struct Nothing;

impl<S: Sync> EventHandler<S> for Nothing {
    async fn handle(&self, _: &Tx<S>, _: &[Event]) -> Result<()> {
        Ok(())
    }
}

impl EventSink for Nothing {
    async fn deliver(&self, _: &[Event]) -> Result<()> {
        Ok(())
    }
}

async fn append(db: &TestDatabase, home: &Home, types: &[&str]) {
    let events: Vec<_> = types.iter().map(|name| NewEvent::new(*name, json!({})).tag("a", 1)).collect();
    db.append_events(&home.context, &events, None).await.unwrap();
}

fn of_types(types: &[&str]) -> EventQuery {
    types.iter().fold(QueryItem::default(), |item, name| item.event_type(*name)).into()
}

async fn delete(db: &TestDatabase, home: &Home) {
    close(db, home).await;
    db.system_tx("delete", async |tx| tx.tenants().delete(home.tenant).await).await.unwrap();
}

async fn rows(db: &TestDatabase, home: &Home) -> i64 {
    number(&mut as_app(db, home).await, "SELECT count(*) FROM event_subscriptions").await
}

/// Each differs from `A` with the tag `a:1`, in another way.
#[rstest]
#[case::another_type(of_types(&["B"]))]
#[case::one_more_type(QueryItem::default().event_type("A").event_type("B").tag("a", 1).into())]
#[case::without_the_tag(of_types(&["A"]))]
#[case::another_tag(QueryItem::default().event_type("A").tag("a", 2).into())]
#[case::one_more_tag(QueryItem::default().event_type("A").tag("a", 1).tag("b", 1).into())]
#[case::one_more_item(EventQuery::from(QueryItem::default().event_type("A").tag("a", 1)).or_query(of_types(&["B"])))]
#[case::every_event(EventQuery::all())]
#[tokio::test]
async fn another_query_under_the_same_name_is_refused(#[future(awt)] db: TestDatabase, #[case] other: EventQuery) {
    let home = home(&db).await;
    let query: EventQuery = QueryItem::default().event_type("A").tag("a", 1).into();
    append(&db, &home, &["A", "B"]).await;
    let subscriber = db.subscribe(&home.context, Subscription::new("mailer", query.clone())).await.unwrap();
    assert_eq!(subscriber.catch_up(&Nothing).await.unwrap(), 1);
    let before = texts(&mut as_app(&db, &home).await, "SELECT position FROM event_subscriptions").await;
    let refused = db.subscribe(&home.context, Subscription::new("mailer", other.clone())).await.unwrap_err();
    let Error::SubscriptionDiffers { name, differences } = &refused else { panic!("{refused:?}") };
    assert_eq!((name.as_str(), differences.len(), differences[0].what), ("mailer", 1, "query"));
    for query in [&query, &other] {
        let json = serde_json::to_value(query).unwrap();
        for text in texts_in(&json) {
            assert!(refused.to_string().contains(&text), "{text}: {refused}");
        }
    }
    assert_eq!(texts(&mut as_app(&db, &home).await, "SELECT position FROM event_subscriptions").await, before);
    // The one that is stored goes on, and so does the same query of all tenants under the same name.
    db.subscribe(&home.context, Subscription::new("mailer", query)).await.unwrap();
    db.subscribe_all(Subscription::new("mailer", other)).await.unwrap();
}

fn texts_in(json: &serde_json::Value) -> BTreeSet<String> {
    match json {
        serde_json::Value::String(text) => [text.clone()].into(),
        serde_json::Value::Array(items) => items.iter().flat_map(texts_in).collect(),
        serde_json::Value::Object(members) => members.values().flat_map(texts_in).collect(),
        _ => BTreeSet::new(),
    }
}

/// Order and repetition of types, tags and items say nothing.
#[rstest]
#[tokio::test]
async fn the_same_query_in_other_words_is_the_same(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let one = || QueryItem::default().event_type("A").event_type("B").tag("a", 1).tag("b", 2);
    let two = || QueryItem::default().tag("c", 3);
    let other =
        QueryItem::default().event_type("B").event_type("A").event_type("B").tag("b", 2).tag("a", 1).tag("b", 2);
    for query in [EventQuery::from(one()).or(two()), EventQuery::from(two()).or(other).or(two())] {
        db.subscribe(&home.context, Subscription::new("mailer", query)).await.unwrap();
    }
}

/// 1. A worker has read where its share stands, and the query is changed on purpose.
/// 2. The worker ends at its next turn: it would skip what the new query asks for.
/// 3. The new query starts where it was told to.
#[rstest]
#[case::from_the_start(Resume::FromStart, 3)]
#[case::from_here(Resume::FromHere, 1)]
#[tokio::test]
async fn a_query_is_changed_on_purpose(#[future(awt)] db: TestDatabase, #[case] resume: Resume, #[case] handled: u64) {
    let home = home(&db).await;
    append(&db, &home, &["A", "B"]).await;
    let old = db.subscribe(&home.context, Subscription::new("mailer", of_types(&["A"]))).await.unwrap();
    assert_eq!(old.catch_up(&Nothing).await.unwrap(), 1);
    let subscription = Subscription::new("mailer", of_types(&["A", "B"]));
    let new = db.change_subscription(&home.context, subscription, resume).await.unwrap();
    append(&db, &home, &["B"]).await;
    let never = std::future::pending::<()>();
    let ended = tokio::time::timeout(Duration::from_secs(20), old.run_until(&Nothing, never)).await.unwrap();
    assert!(matches!(ended, Err(Error::SubscriptionDiffers { .. })), "{ended:?}");
    assert!(matches!(old.deliver_turn(&Nothing).await, Err(Error::SubscriptionDiffers { .. })));
    assert_eq!(new.catch_up(&Nothing).await.unwrap(), handled);
    // The next process says it as the stored one is.
    db.subscribe(&home.context, Subscription::new("mailer", of_types(&["B", "A"]))).await.unwrap();
}

/// 1. A worker has read where its share stands, and waits for the table of events.
/// 2. The query is changed and committed.
/// 3. The worker finds events of the old query, and does not step on.
#[rstest]
#[tokio::test]
async fn a_worker_under_way_does_not_step_on_after_a_change(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    append(&db, &home, &["A", "B"]).await;
    let old = db.subscribe(&home.context, Subscription::new("mailer", of_types(&["A"]))).await.unwrap();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "BEGIN; ALTER TABLE events ADD COLUMN locked int").await;
    let meanwhile = async {
        waits_for_lock(&db, "events.subscriber").await; // 1
        execute(&mut as_app(&db, &home).await, "UPDATE event_subscriptions SET query = '[]'").await; // 2
        execute(&mut owner, "ROLLBACK").await;
    };
    let (turn, ()) = tokio::join!(old.turn(&Nothing), meanwhile);
    assert_eq!(turn.unwrap(), Turn::Busy); // 3
    assert!(matches!(old.turn(&Nothing).await, Err(Error::SubscriptionDiffers { .. })));
    assert_eq!(texts(&mut as_app(&db, &home).await, "SELECT position FROM event_subscriptions").await, ["0"]);
}

#[rstest]
#[tokio::test]
async fn a_change_that_would_skip_events_or_finds_nothing_is_refused(#[future(awt)] db: TestDatabase) {
    use bedplate::events::PartitionBy::Aggregate;
    let home = home(&db).await;
    let missing =
        db.change_subscription(&home.context, Subscription::new("mailer", EventQuery::all()), Resume::FromHere).await;
    assert!(matches!(missing, Err(Error::NotFound { entity: "subscription", .. })), "{missing:?}");
    db.subscribe(&home.context, Subscription::new("mailer", EventQuery::all())).await.unwrap();
    let more = Subscription::new("mailer", of_types(&["A"])).partitions(2, Aggregate);
    let refused = db.change_subscription(&home.context, more, Resume::FromHere).await;
    assert!(
        matches!(&refused, Err(Error::SubscriptionDiffers { differences, .. }) if differences[0].what == "partitions")
    );
    // Nothing was changed.
    db.subscribe(&home.context, Subscription::new("mailer", EventQuery::all())).await.unwrap();
}

fn is_gone(ended: &Result<()>) -> bool {
    matches!(ended, Err(Error::NotFound { entity: "tenant", .. }))
}

/// Both ways to work end, though their poll is an hour away.
#[rstest]
#[tokio::test]
async fn a_tenant_that_is_deleted_ends_its_subscribers(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let all = |name: &str| Subscription::new(name, EventQuery::all()).poll(Duration::from_hours(1));
    let one = db.subscribe(&home.context, all("one")).await.unwrap();
    let two = db.subscribe(&home.context, all("two")).await.unwrap();
    let deleted = async {
        let listening = "SELECT (count(*) = 2)::int FROM pg_stat_activity WHERE query = 'LISTEN bedplate_events' AND state = 'idle' AND datname = current_database()";
        until(&mut connection(db.config().url()).await, listening).await;
        delete(&db, &home).await;
    };
    let ended = async {
        tokio::join!(
            one.run_until(&Nothing, std::future::pending()),
            two.deliver_until(&Nothing, std::future::pending())
        )
    };
    let ended = async { tokio::time::timeout(Duration::from_secs(20), ended).await.expect("they idle") };
    let ((one_ended, two_ended), ()) = tokio::join!(ended, deleted);
    assert!(is_gone(&one_ended) && is_gone(&two_ended), "{one_ended:?} {two_ended:?}");
    assert!(is_gone(&one.lag().await.map(drop)), "lag");
    assert!(is_gone(&one.turn(&Nothing).await.map(drop)), "turn");
    assert!(is_gone(&one.catch_up(&Nothing).await.map(drop)), "catch_up");
    assert!(is_gone(&db.subscribe(&home.context, all("one")).await.map(drop)), "subscribe");
    assert_eq!(rows(&db, &home).await, 0);
}

#[rstest]
#[tokio::test]
async fn a_tenant_that_never_was_has_no_subscription(#[future(awt)] db: TestDatabase) {
    let nobody = TenantContext::new(uuid::Uuid::now_v7().into());
    let refused = db.subscribe(&nobody, Subscription::new("mailer", EventQuery::all())).await.map(drop);
    assert!(is_gone(&refused), "{refused:?}");
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM event_subscriptions").await, 0);
}

/// 1. The tenant's deletion is under way, its events and subscriptions are deleted.
/// 2. Somebody subscribes: it waits, and finds no tenant. No row is left that nobody would delete.
#[rstest]
#[tokio::test]
async fn a_subscription_that_comes_beside_the_deletion_leaves_nothing(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    close(&db, &home).await;
    let mut system = connection(&db.url).await;
    let sql = format!("SET ROLE bedplate_system; BEGIN; DELETE FROM tenants WHERE id = '{}'", home.tenant);
    execute(&mut system, &sql).await; // 1
    let subscribe = db.subscribe(&home.context, Subscription::new("mailer", EventQuery::all()));
    let commit = async {
        waits_for_lock(&db, "events.subscriber").await;
        system.batch_execute("COMMIT").await.unwrap();
    };
    let (refused, ()) = tokio::join!(subscribe, commit); // 2
    let refused = refused.map(drop);
    assert!(is_gone(&refused), "{refused:?}");
    assert_eq!(number(&mut system, "SELECT count(*) FROM event_subscriptions").await, 0);
}

/// Rows that somebody has deleted by hand are told too.
#[rstest]
#[tokio::test]
async fn a_subscription_that_is_deleted_ends_its_subscribers(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let subscriber = db.subscribe(&home.context, Subscription::new("mailer", EventQuery::all())).await.unwrap();
    execute(&mut as_app(&db, &home).await, "DELETE FROM event_subscriptions").await;
    let ended = subscriber.run_until(&Nothing, std::future::pending());
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it idles");
    assert!(matches!(ended, Err(Error::NotFound { entity: "subscription", .. })), "{ended:?}");
}

/// By SQL too: a query with a misspelt key would skip events, or take all of them.
#[rstest]
#[case::misspelt("query = '[{\"typs\": [\"A\"]}]'")]
#[case::of_anything("query = '[1, null, \"x\"]'")]
#[case::nested("query = '[{\"types\": [[\"A\"]]}]'")]
#[case::no_tag("query = '[{\"tags\": [\"a\"]}]'")]
#[case::object("query = '{\"types\": [\"A\"]}'")]
#[case::shows_nothing("name = U&'\\200b'")]
#[tokio::test]
async fn a_query_that_no_subscription_has_is_refused_by_the_table(#[future(awt)] db: TestDatabase, #[case] set: &str) {
    let home = home(&db).await;
    db.subscribe(&home.context, Subscription::new("mailer", of_types(&["A"]))).await.unwrap();
    let update = format!("UPDATE event_subscriptions SET {set}");
    let error = as_app(&db, &home).await.batch_execute(&update).await.unwrap_err().to_string();
    assert!(error.contains("violates check constraint"), "{error}");
}
