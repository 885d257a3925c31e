//! The relay: publishes, wakes, ends, and survives the death of workers and sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bedplate::models::{
    NewOutboxEvent, OutboxClaim, OutboxEvent, Outcome, RelayOptions, Relayed, RetryPolicy, Settlement, TenantId,
};
use bedplate::outbox::{Relay, Sink, SinkError};
use bedplate::{Error, TenantContext};
use rstest::rstest;
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::support::sinks::{Recorder, drain, options, send, states};
use crate::support::{TestDatabase, connection, db, execute, home, number, rfq_db, texts, until};

#[rstest]
#[tokio::test]
async fn messages_are_published_once_where_nothing_fails(#[future(awt)] db: TestDatabase) {
    let (one, other, sink) = (home(&db).await, home(&db).await, Recorder::new());
    send(&db, &one.context, &[("green", 1), ("black", 2), ("green", 3)]).await;
    send(&db, &other.context, &[("green", 4)]).await;
    assert_eq!(drain(&db, &sink).await, Relayed { published: 4, ..Relayed::default() });
    let mut taken = sink.taken();
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3, 4]);
    assert_eq!(states(&db).await, ["1 published 0", "2 published 0", "3 published 0", "4 published 0"]);
    assert_eq!(drain(&db, &sink).await, Relayed::default());
}

/// The relay polls every ten minutes: what comes at once is woken.
#[rstest]
#[tokio::test]
async fn a_commit_wakes_the_relay(#[future(awt)] db: TestDatabase) {
    let (home, sink, stop) = (home(&db).await, Recorder::new(), Arc::new(Notify::new()));
    let relay = Relay::new(&db.database, sink.clone(), options("woken"));
    let stopped = stop.clone();
    let relay = tokio::spawn(async move { relay.run_until(async move { stopped.notified().await }).await });
    for n in 1..=5 {
        send(&db, &home.context, &[("green", n)]).await;
        sink.until_handed(usize::try_from(n).unwrap()).await;
    }
    stop.notify_one();
    assert_eq!(relay.await.unwrap().unwrap().published, 5);
    assert_eq!(sink.taken(), [1, 2, 3, 4, 5]);
}

/// Without a notification it looks when the next message is due, or after its poll.
#[rstest]
#[tokio::test]
async fn what_nobody_told_of_is_found(#[future(awt)] db: TestDatabase) {
    let (home, sink) = (home(&db).await, Recorder::new());
    let often = RelayOptions { poll: Duration::from_millis(50), ..options("polls") };
    let relay = Relay::new(&db.database, sink.clone(), often);
    let relay = tokio::spawn(async move { relay.run_until(std::future::pending()).await });
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        &format!(
            "SET ROLE bedplate_system; INSERT INTO outbox_events (tenant_id, event_type, entity_type, entity_id, payload) \
             VALUES ('{}', 'x', 'x', 'x', '{{\"n\": 1}}')",
            home.tenant
        ),
    )
    .await;
    sink.until_handed(1).await;
    relay.abort();
}

/// Hands a message over, and waits until the test lets it go.
struct Gate {
    handed: Notify,
    go_on: Notify,
    count: AtomicUsize,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { handed: Notify::new(), go_on: Notify::new(), count: AtomicUsize::new(0) })
    }
}

impl Sink for Gate {
    async fn publish(&self, _: &OutboxEvent) -> Result<(), SinkError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.handed.notify_one();
        self.go_on.notified().await;
        Ok(())
    }
}

/// 1. A has claimed two messages of an entity and hands the first to the sink, which takes its time.
/// 2. A's lease runs out; B takes both over and publishes them.
/// 3. The sink answers A: its settlement names a claim that is over and has no effect, and the second message it does
///    not hand over again.
#[rstest]
#[tokio::test]
async fn a_late_worker_is_fenced_off(#[future(awt)] db: TestDatabase) {
    let (home, gate, sink) = (home(&db).await, Gate::new(), Recorder::new());
    send(&db, &home.context, &[("green", 1), ("green", 2)]).await;
    let stop = Arc::new(Notify::new());
    let relay = Relay::new(&db.database, gate.clone(), options("a"));
    let stopped = stop.clone();
    let a = tokio::spawn(async move { relay.run_until(async move { stopped.notified().await }).await });
    gate.handed.notified().await; // 1
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system; UPDATE outbox_events SET lease_expires_at = now()").await;
    assert_eq!(drain(&db, &sink).await.published, 2); // 2
    assert_eq!(sink.taken(), [1, 2]);
    let published = "SELECT string_agg(concat(claimed_by, published_at), ',' ORDER BY sequence) FROM outbox_events";
    let before = texts(&mut owner, published).await;
    stop.notify_one();
    gate.go_on.notify_one();
    let relayed = a.await.unwrap().unwrap(); // 3
    assert_eq!(relayed, Relayed { published: 1, lost: 2, ..Relayed::default() });
    assert_eq!(gate.count.load(Ordering::Relaxed), 1);
    assert_eq!(texts(&mut owner, published).await, before);
}

/// 1. A worker dies with a message at the sink: its task is dropped.
/// 2. While its lease runs nobody gets the message; then another worker publishes it.
/// 3. A message at which workers die again and again is dead in the end, and what was claimed with it is not.
#[rstest]
#[tokio::test]
async fn a_worker_that_dies_is_followed(#[future(awt)] db: TestDatabase) {
    let (home, gate, sink) = (home(&db).await, Gate::new(), Recorder::new());
    send(&db, &home.context, &[("green", 1), ("green", 2)]).await;
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    for attempt in 1..=14 {
        let relay = Relay::new(&db.database, gate.clone(), options("dies"));
        let dies = tokio::spawn(async move { relay.run_until(std::future::pending()).await });
        gate.handed.notified().await;
        dies.abort(); // 1
        assert!(dies.await.unwrap_err().is_cancelled());
        assert_eq!(drain(&db, &sink).await, Relayed::default());
        execute(&mut owner, "UPDATE outbox_events SET lease_expires_at = now() WHERE claim_id IS NOT NULL").await;
        if attempt == 1 {
            assert_eq!(drain(&db, &sink).await.published, 2); // 2
            send(&db, &home.context, &[("black", 3), ("black", 4)]).await;
        }
    }
    assert_eq!(drain(&db, &sink).await, Relayed { published: 1, dead: 1, ..Relayed::default() }); // 3
    assert_eq!(sink.taken(), [1, 2, 4]);
    assert_eq!(states(&db).await[2..], ["3 dead 14 its workers died, or were too slow: 13 attempts", "4 published 0"]);
}

/// 1. A worker claims the messages of three entities, and dies with the first of them at the sink.
/// 2. Each may fail once at most, and the leases that ran out count: but none is dead that was not tried.
#[rstest]
#[tokio::test]
async fn what_was_claimed_beside_a_death_is_still_tried(#[future(awt)] db: TestDatabase) {
    let (home, gate, sink) = (home(&db).await, Gate::new(), Recorder::new());
    send(&db, &home.context, &[("green", 1), ("black", 2), ("white", 3)]).await;
    let once = RetryPolicy { max_attempts: 1, ..options("once").retry };
    let relay =
        Relay::new(&db.database, gate.clone(), RelayOptions { in_flight: 1, retry: once.clone(), ..options("dies") });
    let dies = tokio::spawn(async move { relay.run_until(std::future::pending()).await });
    gate.handed.notified().await;
    dies.abort(); // 1
    assert!(dies.await.unwrap_err().is_cancelled());
    let mut owner = connection(&db.url).await;
    let expired =
        "SET ROLE bedplate_system; UPDATE outbox_events SET lease_expires_at = now() WHERE claim_id IS NOT NULL";
    execute(&mut owner, expired).await;
    let relay = Relay::new(&db.database, sink.clone(), RelayOptions { retry: once, ..options("once") });
    let relayed = relay.drain(std::future::pending()).await.unwrap();
    assert_eq!(relayed, Relayed { published: 3, ..Relayed::default() }); // 2
}

/// 1. A relay is at work.
/// 2. Its sessions are ended, listener and all, again and again, while messages are written.
/// 3. All are published.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_killed_lose_nothing(#[future(awt)] db: TestDatabase) {
    let (home, sink) = (home(&db).await, Recorder::new());
    let often = RelayOptions { poll: Duration::from_millis(50), batch: 7, ..options("killed") };
    let relay = Relay::new(&db.database, sink.clone(), often);
    let relay = tokio::spawn(async move { relay.run_until(std::future::pending()).await }); // 1
    let mut killer = connection(db.config().url()).await;
    for n in 1..=100 {
        send(&db, &home.context, &[(if n % 2 == 0 { "green" } else { "black" }, n)]).await;
        if n % 10 == 0 {
            execute(
                &mut killer,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()",
            )
            .await; // 2
        }
    }
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    until(&mut owner, "SELECT (count(*) = 0)::int FROM outbox_events WHERE published_at IS NULL").await; // 3
    let first: Vec<_> =
        sink.first_taken().into_values().map(|sequences| (sequences.len(), sequences.is_sorted())).collect();
    assert_eq!(first, [(50, true), (50, true)]);
    relay.abort();
}

/// 1. The sink has a message of one entity, and the relay has claimed three more.
/// 2. It is told to end: it waits for the one, and lets the others go, so that another worker gets them at once.
#[rstest]
#[tokio::test]
async fn it_ends_in_order(#[future(awt)] db: TestDatabase) {
    let (home, gate, sink, stop) = (home(&db).await, Gate::new(), Recorder::new(), Arc::new(Notify::new()));
    send(&db, &home.context, &[("green", 1), ("green", 2), ("black", 3), ("white", 4)]).await;
    let relay = Relay::new(&db.database, gate.clone(), RelayOptions { in_flight: 1, ..options("ends") });
    let (stopped, ending) = (stop.clone(), Arc::new(Notify::new()));
    let told = ending.clone();
    let relay = tokio::spawn(async move {
        let shutdown = async move {
            stopped.notified().await;
            told.notify_one();
        };
        relay.run_until(shutdown).await
    });
    gate.handed.notified().await; // 1
    assert_eq!(states(&db).await, ["1 leased 0", "2 leased 0", "3 leased 0", "4 leased 0"]);
    stop.notify_one();
    ending.notified().await;
    gate.go_on.notify_one();
    assert_eq!(relay.await.unwrap().unwrap(), Relayed { published: 1, ..Relayed::default() }); // 2
    assert_eq!(gate.count.load(Ordering::Relaxed), 1);
    assert_eq!(states(&db).await, ["1 published 0", "2 open 0", "3 open 0", "4 open 0"]);
    assert_eq!(drain(&db, &sink).await.published, 3);
}

/// What is settled under another claim, or twice, has no effect.
#[rstest]
#[case(Outcome::Published)]
#[case(Outcome::Released)]
#[case(Outcome::Dead { error: "no tea".into() })]
#[case(Outcome::Retry { error: "no water".into(), pause: Duration::ZERO })]
#[tokio::test]
async fn a_settlement_names_its_claim(#[future(awt)] db: TestDatabase, #[case] outcome: Outcome) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1)]).await;
    let claim = OutboxClaim { worker: "a", limit: 1, lease: Duration::from_mins(1) };
    let claimed = db.system_tx("claim", async |tx| tx.outbox_queue().claim(claim).await).await.unwrap();
    let settle = async |claim_id| {
        let settled = [Settlement::new(&claimed.messages[0], claim_id, outcome.clone())];
        db.system_tx("settle", async |tx| tx.outbox_queue().settle(&settled).await).await.unwrap()
    };
    assert_eq!((settle(Uuid::now_v7()).await, states(&db).await), (0, vec!["1 leased 0".to_owned()]));
    assert_eq!((settle(claimed.claim_id).await, settle(claimed.claim_id).await), (1, 0));
}

#[rstest]
#[case(OutboxClaim { worker: "", limit: 1, lease: Duration::from_secs(1) }, "worker is empty")]
#[case(OutboxClaim { worker: "a", limit: 0, lease: Duration::from_secs(1) }, "limit is 0, allowed are 1 to 10000")]
#[case(OutboxClaim { worker: "a", limit: 1, lease: Duration::ZERO }, "lease must be from 1 ms to 24 hours")]
#[tokio::test]
async fn bad_claims_are_refused(
    #[future(awt)] db: TestDatabase,
    #[case] claim: OutboxClaim<'static>,
    #[case] expected: &str,
) {
    let error = db.system_tx("claim", async |tx| tx.outbox_queue().claim(claim).await).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { .. }) && error.to_string() == expected, "{error}");
    for (never, expected) in [
        (
            RelayOptions { timeout: Duration::from_mins(5), ..options("never") },
            "timeout is more than half of the lease",
        ),
        (RelayOptions { batch: 0, ..options("never") }, "batch is 0, allowed are 1 to 10000"),
    ] {
        let error = Relay::new(&db.database, Recorder::new(), never).drain(std::future::pending()).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[rstest]
#[tokio::test]
async fn rfq_has_a_relay_too(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context, sink) = (rfq_db, TenantContext::new(TenantId::new()), Recorder::new());
    let relay = Relay::of_rfq(db.rfq(), sink.clone(), options("rfq"));
    let running = tokio::spawn(async move { relay.run_until(std::future::pending()).await });
    let payload = json!({"n": 1});
    db.rfq()
        .tenant_tx("write", &context, async |tx| {
            tx.outbox().create(NewOutboxEvent::new("rfq.accepted", "rfqs", "7", &payload)).await
        })
        .await
        .unwrap();
    sink.until_handed(1).await;
    running.abort();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM outbox_events").await, 1);
}
