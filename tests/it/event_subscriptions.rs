//! Subscriptions: nothing is skipped, no effect is doubled, nobody is waited for who is not concerned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bedplate::database::{AllTenants, Tx};
use bedplate::events::{
    Event, EventHandler, EventQuery, EventSink, NewEvent, PartitionBy, Projection, QueryItem, Subscriber, Subscription,
    SubscriptionScope, Turn,
};
use bedplate::{Error, Result, TenantContext};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use serde_json::json;
use tokio::sync::{Notify, oneshot};

use crate::support::{Home, TestDatabase, as_app, connection, db, execute, home, number, texts, until};

fn noted(n: usize, course: usize) -> NewEvent {
    NewEvent::new("Noted", json!({ "n": n })).tag("course", course)
}

async fn append(db: &TestDatabase, home: &Home, numbers: impl IntoIterator<Item = usize>) -> Vec<i64> {
    let events: Vec<_> = numbers.into_iter().map(|n| noted(n, n % 7)).collect();
    db.append_events(&home.context, &events, None).await.unwrap()
}

/// A read model that the handlers below write: an effect that happens twice breaks its key.
async fn with_model(db: &TestDatabase) {
    let sql = "CREATE TABLE model (tenant_id uuid, position bigint, n int, course text, PRIMARY KEY (tenant_id, position)); \
               GRANT SELECT, INSERT, DELETE ON model TO bedplate_app, bedplate_system";
    execute(&mut connection(&db.url).await, sql).await;
}

async fn model(db: &TestDatabase) -> Vec<i64> {
    let positions = texts(&mut connection(&db.url).await, "SELECT position FROM model ORDER BY position").await;
    positions.iter().map(|position| position.parse().unwrap()).collect()
}

/// Writes the model; fails on every n-th call.
#[derive(Default)]
struct Writer {
    calls: AtomicUsize,
    fails_every: usize,
}

impl<S: SubscriptionScope> EventHandler<S> for Writer {
    async fn handle(&self, tx: &Tx<S>, events: &[Event]) -> Result<()> {
        for event in events {
            let sql = format!(
                "INSERT INTO model VALUES ('{}', {}, {}, '{}')",
                event.tenant_id, event.position, event.event_data["n"], event.tags[0]
            );
            (&mut tx.connection()).batch_execute(&sql).await?;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.fails_every > 0 && call.is_multiple_of(self.fails_every) {
            return Err(Error::Contention { message: "a handler that fails".into() });
        }
        Ok(())
    }
}

impl<S: SubscriptionScope> Projection<S> for Writer {
    async fn reset(&self, tx: &Tx<S>) -> Result<()> {
        Ok((&mut tx.connection()).batch_execute("DELETE FROM model").await?)
    }
}

fn all(name: &str) -> Subscription {
    Subscription::new(name, EventQuery::all())
}

#[rstest]
#[tokio::test]
async fn a_subscription_catches_up_in_batches_and_by_its_query(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let home = home(&db).await;
    let positions = append(&db, &home, 0..25).await;
    let of_course = EventQuery::from(QueryItem::default().tag("course", 3).event_type("Noted"));
    let subscriber = db.subscribe(&home.context, Subscription::new("third", of_course).batch(2)).await.unwrap();
    assert_eq!(subscriber.catch_up(&Writer::default()).await.unwrap(), 4);
    assert_eq!(model(&db).await, [positions[3], positions[10], positions[17], positions[24]]);
    // Its place is the head, not the last event of its own.
    assert_eq!(subscriber.lag().await.unwrap()[0].behind(), 0);
    append(&db, &home, 0..2).await;
    let lag = subscriber.lag().await.unwrap();
    assert_eq!((lag.len(), lag[0].behind()), (1, 2));
    assert!(lag[0].waiting_since.is_some());
    let listed = db.system_tx("lag", async |tx| tx.subscription_lags().await).await.unwrap();
    assert_eq!(listed, lag);
}

#[rstest]
#[tokio::test]
async fn a_bad_subscription_is_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    for bad in [
        all(""),
        all("a").batch(0),
        all("a").partitions(0, PartitionBy::Aggregate),
        all("a").partitions(2, PartitionBy::Tag(String::new())),
        all("a").lease(Duration::ZERO),
        Subscription::new("a", EventQuery::from(QueryItem::default().with_tag("course"))),
    ] {
        assert!(matches!(db.subscribe(&home.context, bad).await, Err(Error::Invalid { .. })));
    }
    db.subscribe(&home.context, all("a").partitions(2, PartitionBy::Aggregate)).await.unwrap();
    for (partitions, by) in
        [(3, PartitionBy::Aggregate), (2, PartitionBy::Tag("course".into())), (2, PartitionBy::Tenant)]
    {
        let other = db.subscribe(&home.context, all("a").partitions(partitions, by)).await;
        assert!(matches!(other, Err(Error::SubscriptionDiffers { .. })));
    }
    db.subscribe(&home.context, all("a").partitions(2, PartitionBy::Aggregate)).await.unwrap();
    // In one share every key means the same.
    db.subscribe(&home.context, all("b")).await.unwrap();
    db.subscribe(&home.context, all("b").partitions(1, PartitionBy::Tenant)).await.unwrap();
}

/// 1. Tenant A appends event 1 and does not commit.
/// 2. A appends event 2 and commits it: its position is greater.
/// 3. The subscriber gets neither: event 1 is not there yet.
/// 4. Step 1 commits; the subscriber gets both, in order.
#[rstest]
#[tokio::test]
async fn an_append_under_way_is_not_skipped(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let home = home(&db).await;
    let subscriber = db.subscribe(&home.context, all("model")).await.unwrap();
    let mut open = as_app(&db, &home).await;
    execute(&mut open, "BEGIN; SELECT append_events('[{\"event_type\": \"Noted\", \"event_data\": {\"n\": 1}, \"tags\": [\"course:1\"]}]')").await;
    append(&db, &home, [2]).await;
    assert_eq!(subscriber.turn(&Writer::default()).await.unwrap(), Turn::Idle);
    execute(&mut open, "COMMIT").await;
    assert_eq!(subscriber.turn(&Writer::default()).await.unwrap(), Turn::Handled(2));
    let numbers = texts(&mut connection(&db.url).await, "SELECT n FROM model ORDER BY position").await;
    assert_eq!(numbers, ["1", "2"]);
}

/// 1. A transaction that has written, but appended nothing, stays open; so does an append of another tenant.
/// 2. The subscriber gets an event that is committed meanwhile.
#[rstest]
#[tokio::test]
async fn a_transaction_that_is_not_concerned_is_not_waited_for(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let (mine, other) = (home(&db).await, home(&db).await);
    let mut unrelated = connection(&db.url).await;
    execute(&mut unrelated, "BEGIN; INSERT INTO model VALUES (gen_random_uuid(), 0, 0, '')").await;
    let mut foreign = as_app(&db, &other).await;
    execute(&mut foreign, "BEGIN; SELECT append_events('[{\"event_type\": \"A\", \"event_data\": 1}]')").await;
    append(&db, &mine, [1]).await;
    let subscriber = db.subscribe(&mine.context, all("model")).await.unwrap();
    assert_eq!(subscriber.turn(&Writer::default()).await.unwrap(), Turn::Handled(1));
    // A subscription of all tenants is concerned by the append, and waits.
    let everything = db.subscribe_all(all("everything")).await.unwrap();
    assert_eq!(everything.turn(&Writer::default()).await.unwrap(), Turn::Idle);
    execute(&mut foreign, "ROLLBACK").await;
    execute(&mut unrelated, "ROLLBACK").await;
}

/// Four workers share eight parts; every fifth batch fails. Every event has its effect once, and those of a course
/// come in order.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_and_no_effect_is_lost_or_doubled(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let home = home(&db).await;
    let shared = all("model").partitions(8, PartitionBy::Tag("course".into())).batch(3);
    let subscriber = db.subscribe(&home.context, shared).await.unwrap();
    let handler = Arc::new(Writer { fails_every: 5, ..Writer::default() });
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (worker, handler, mut stopped) = (subscriber.clone(), handler.clone(), stopped.clone());
            tokio::spawn(async move {
                let over = async move { stopped.wait_for(|over| *over).await.map(drop).unwrap() };
                worker.run_until(&*handler, over).await
            })
        })
        .collect();
    let mut positions = Vec::new();
    for batch in 0..20 {
        positions.extend(append(&db, &home, batch * 10..batch * 10 + 10).await);
    }
    until(&mut connection(&db.url).await, "SELECT count(*) FROM (SELECT FROM model OFFSET 199) AS done").await;
    stop.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    assert_eq!(model(&db).await, positions);
    assert!(handler.calls.load(Ordering::SeqCst) > 5, "no batch failed");
    let shares =
        texts(&mut as_app(&db, &home).await, "SELECT partition FROM event_subscriptions WHERE position > 0").await;
    assert!(shares.len() > 1, "{shares:?}");
}

/// 1. A worker is in the middle of a batch: its effect is written, not committed.
/// 2. Its connection is killed. Nothing of the batch is left.
/// 3. It tries again, and the batch has its effect once.
#[rstest]
#[tokio::test]
async fn a_worker_that_is_killed_leaves_nothing_half_done(#[future(awt)] db: TestDatabase) {
    struct Killed(Mutex<Option<oneshot::Receiver<()>>>, Notify);
    impl EventHandler<TenantContext> for Killed {
        async fn handle(&self, tx: &Tx<TenantContext>, events: &[Event]) -> Result<()> {
            Writer::default().handle(tx, events).await?;
            let waits = self.0.lock().unwrap().take();
            if let Some(killed) = waits {
                self.1.notify_one();
                killed.await.unwrap();
            }
            Ok(())
        }
    }
    with_model(&db).await;
    let home = home(&db).await;
    let positions = append(&db, &home, 0..3).await;
    let subscriber = db.subscribe(&home.context, all("model")).await.unwrap();
    let (kill, killed) = oneshot::channel();
    let handler = Killed(Mutex::new(Some(killed)), Notify::new());
    let terminate = async {
        handler.1.notified().await;
        assert!(model(&db).await.is_empty());
        // The view shows every database of the server, those of other tests too.
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE application_name = 'events.subscriber' AND datname = current_database()";
        assert_eq!(number(&mut connection(db.config().url()).await, sql).await, 1);
        kill.send(()).unwrap();
    };
    let (turn, ()) = tokio::join!(subscriber.turn(&handler), terminate);
    // It noticed at COMMIT: what became of it, it cannot know.
    assert!(matches!(turn, Err(Error::CommitUnknown)), "{turn:?}");
    assert!(model(&db).await.is_empty());
    assert_eq!(subscriber.turn(&handler).await.unwrap(), Turn::Handled(3));
    assert_eq!(model(&db).await, positions);
    assert_eq!(subscriber.turn(&handler).await.unwrap(), Turn::Idle);
}

/// Remembers what it was given; the first time it waits.
#[derive(Default)]
struct Outside {
    delivered: Mutex<Vec<i64>>,
    arrived: Notify,
    go: Mutex<Option<oneshot::Receiver<()>>>,
    fails: bool,
}

impl EventSink for Outside {
    async fn deliver(&self, events: &[Event]) -> Result<()> {
        self.arrived.notify_one();
        let waits = self.go.lock().unwrap().take();
        if let Some(go) = waits {
            go.await.unwrap();
        }
        if self.fails {
            return Err(Error::Timeout { waited_for: bedplate::error::WaitedFor::Statement });
        }
        self.delivered.lock().unwrap().extend(events.iter().map(|event| event.position));
        Ok(())
    }
}

/// 1. A claims the share and delivers, slowly: its lease runs out.
/// 2. B takes the share over, delivers, and writes its place.
/// 3. A comes to its end: it is told that the lease is lost, and does not move the place.
#[rstest]
#[tokio::test]
async fn who_is_late_is_fenced_off(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let positions = append(&db, &home, 0..3).await;
    let subscriber = db.subscribe(&home.context, all("mail").lease(Duration::from_millis(1))).await.unwrap();
    let (go, waits) = oneshot::channel();
    let late = Outside { go: Mutex::new(Some(waits)), ..Outside::default() };
    let quick = Outside::default();
    let meanwhile = async {
        late.arrived.notified().await;
        until(
            &mut as_app(&db, &home).await,
            "SELECT count(*) FROM event_subscriptions WHERE lease_expires_at < clock_timestamp()",
        )
        .await;
        assert_eq!(subscriber.deliver_turn(&quick).await.unwrap(), Turn::Handled(3));
        append(&db, &home, 3..4).await;
        go.send(()).unwrap();
    };
    let (turn, ()) = tokio::join!(subscriber.deliver_turn(&late), meanwhile);
    assert!(matches!(turn, Err(Error::LeaseLost { .. })), "{turn:?}");
    // At least once: both have them.
    assert_eq!(*late.delivered.lock().unwrap(), positions);
    assert_eq!(*quick.delivered.lock().unwrap(), positions);
    assert_eq!(subscriber.deliver_turn(&quick).await.unwrap(), Turn::Handled(1));
}

/// While one delivers, another worker finds the share busy; what fails comes again, and the share is free at once.
#[rstest]
#[tokio::test]
async fn a_share_that_is_leased_is_left_alone(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let positions = append(&db, &home, 0..2).await;
    let subscriber = db.subscribe(&home.context, all("mail")).await.unwrap();
    let (go, waits) = oneshot::channel();
    let failing = Outside { go: Mutex::new(Some(waits)), fails: true, ..Outside::default() };
    let good = Outside::default();
    let meanwhile = async {
        failing.arrived.notified().await;
        assert_eq!(subscriber.deliver_turn(&good).await.unwrap(), Turn::Busy);
        // Nor by a worker whose effects are in the database.
        with_model(&db).await;
        assert_eq!(subscriber.turn(&Writer::default()).await.unwrap(), Turn::Busy);
        go.send(()).unwrap();
    };
    let (turn, ()) = tokio::join!(subscriber.deliver_turn(&failing), meanwhile);
    assert!(matches!(turn, Err(Error::Timeout { .. })));
    assert_eq!(subscriber.deliver_turn(&good).await.unwrap(), Turn::Handled(2));
    assert_eq!(*good.delivered.lock().unwrap(), positions);
}

/// 1. A delivers two events, and takes longer than its lease.
/// 2. B writes them into the model, and then three more.
/// 3. A has lost the share: it does not put it back to where its own two ended.
#[rstest]
#[tokio::test]
async fn who_delivers_too_long_does_not_move_the_share_back(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let home = home(&db).await;
    let mut positions = append(&db, &home, 0..2).await;
    let subscriber = db.subscribe(&home.context, all("mail").lease(Duration::from_millis(1))).await.unwrap();
    let (go, waits) = oneshot::channel();
    let slow = Outside { go: Mutex::new(Some(waits)), ..Outside::default() };
    let meanwhile = async {
        slow.arrived.notified().await;
        while subscriber.turn(&Writer::default()).await.unwrap() != Turn::Handled(2) {}
        positions.extend(append(&db, &home, 2..5).await);
        assert_eq!(subscriber.turn(&Writer::default()).await.unwrap(), Turn::Handled(3)); // 2
        go.send(()).unwrap();
    };
    let (turn, ()) = tokio::join!(subscriber.deliver_turn(&slow), meanwhile); // 1
    assert!(matches!(turn, Err(Error::LeaseLost { .. })), "{turn:?}");
    assert_eq!(subscriber.turn(&Writer::default()).await.unwrap(), Turn::Idle); // 3
    assert_eq!(model(&db).await, positions);
}

#[rstest]
#[tokio::test]
async fn a_read_model_is_rebuilt_from_the_first_event(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let home = home(&db).await;
    let positions = append(&db, &home, 0..9).await;
    let subscriber = db
        .subscribe(&home.context, all("model").partitions(3, PartitionBy::Tag("course".into())).batch(2))
        .await
        .unwrap();
    assert_eq!(subscriber.catch_up(&Writer::default()).await.unwrap(), 9);
    execute(&mut connection(&db.url).await, "DELETE FROM model WHERE n % 2 = 0").await;
    assert_eq!(subscriber.rebuild(&Writer::default()).await.unwrap(), 9);
    assert_eq!(model(&db).await, positions);
}

/// The event is appended when the worker waits: it is woken, for its poll is an hour away.
#[rstest]
#[tokio::test]
async fn an_append_wakes_who_waits(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let home = home(&db).await;
    let subscriber = db.subscribe(&home.context, all("model").poll(Duration::from_hours(1))).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let appended = async {
        let mut owner = connection(db.config().url()).await;
        until(&mut owner, "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN bedplate_events' AND state = 'idle' AND datname = current_database()").await;
        append(&db, &home, [1]).await;
        until(&mut connection(&db.url).await, "SELECT count(*) FROM model").await;
        stop.send(()).unwrap();
    };
    let writer = Writer::default();
    let (ran, ()) = tokio::join!(subscriber.run_until(&writer, async { stopped.await.unwrap() }), appended);
    ran.unwrap();
}

#[rstest]
#[tokio::test]
async fn all_tenants_are_read_by_the_system_and_nobody_else(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let (a, b) = (home(&db).await, home(&db).await);
    let mut positions = append(&db, &a, 0..2).await;
    positions.extend(append(&db, &b, 2..4).await);
    let subscriber: Subscriber<AllTenants> =
        db.subscribe_all(all("everything").partitions(2, PartitionBy::Tenant)).await.unwrap();
    assert_eq!(subscriber.catch_up(&Writer::default()).await.unwrap(), 4);
    assert_eq!(model(&db).await, positions);
    let tenants = texts(&mut connection(&db.url).await, "SELECT DISTINCT tenant_id FROM model").await;
    assert_eq!(tenants.into_iter().collect::<BTreeSet<_>>().len(), 2);
    // A tenant sees its own subscriptions alone, and not that one.
    db.subscribe(&a.context, all("mine")).await.unwrap();
    let seen = async |home| texts(&mut as_app(&db, home).await, "SELECT name FROM event_subscriptions").await;
    assert_eq!(seen(&a).await, ["mine"]);
    assert_eq!(seen(&b).await, Vec::<String>::new());
}

/// A subscription that begins now, and one whose key some events do not have.
#[rstest]
#[tokio::test]
async fn a_subscription_begins_where_it_is_told(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    append(&db, &home, 0..3).await;
    let subscriber =
        db.subscribe(&home.context, all("now").from_head().partitions(2, PartitionBy::Tag("x".into()))).await.unwrap();
    let outside = Outside::default();
    assert_eq!(subscriber.deliver_turn(&outside).await.unwrap(), Turn::Idle);
    let positions = append(&db, &home, 3..6).await;
    assert_eq!(subscriber.deliver_turn(&outside).await.unwrap(), Turn::Handled(3));
    assert_eq!(*outside.delivered.lock().unwrap(), positions);
    // Made anew it keeps its place.
    let again = db.subscribe(&home.context, all("now").partitions(2, PartitionBy::Tag("x".into()))).await.unwrap();
    assert_eq!(again.deliver_turn(&outside).await.unwrap(), Turn::Idle);
}

/// Each event is in one share, and events with one key are in the same.
#[rstest]
#[tokio::test]
async fn shares_are_whole(#[future(awt)] db: TestDatabase) {
    with_model(&db).await;
    let home = home(&db).await;
    append(&db, &home, 0..70).await;
    let shared = all("model").partitions(5, PartitionBy::Tag("course".into()));
    let subscriber = db.subscribe(&home.context, shared).await.unwrap();
    let mut shares: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut before = BTreeSet::new();
    let mut turns = 0;
    while let Turn::Handled(_) = subscriber.turn(&Writer::default()).await.unwrap() {
        turns += 1;
        let now: BTreeSet<_> =
            texts(&mut connection(&db.url).await, "SELECT course || ' ' || n FROM model").await.into_iter().collect();
        for line in now.difference(&before) {
            shares.entry(line.split(' ').next().unwrap().to_owned()).or_default().insert(turns);
        }
        before = now;
    }
    assert_eq!((before.len(), shares.len()), (70, 7));
    assert!(turns > 1 && shares.values().all(|turns| turns.len() == 1), "{shares:?}");
}
