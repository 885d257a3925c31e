//! Messages of an entity go out in their order, whoever claims, fails or dies; those of others go on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bedplate::models::{OutboxClaim, OutboxClaimed, Outcome, RelayOptions, RetryPolicy, Settlement};
use bedplate::outbox::{Relay, SinkError};
use bedplate::{Database, TenantContext};
use rstest::rstest;
use tokio::sync::Notify;

use crate::support::sinks::{Recorder, options, send};
use crate::support::{TestDatabase, connection, db, execute, home, number};

const LEASE: Duration = Duration::from_mins(1);

async fn claim(db: &Database, worker: &'static str, limit: u16) -> OutboxClaimed {
    let claim = OutboxClaim { worker, limit, lease: LEASE };
    db.system_tx("tests.claim", async |tx| tx.outbox_queue().claim(claim).await).await.unwrap()
}

fn numbers(claimed: &OutboxClaimed) -> Vec<i64> {
    claimed.messages.iter().map(|message| message.payload["n"].as_i64().unwrap()).collect()
}

/// Claims until nothing is left to look at.
async fn claim_all(db: &Database, worker: &'static str, limit: u16) -> Vec<i64> {
    let mut all = Vec::new();
    loop {
        let claimed = claim(db, worker, limit).await;
        all.extend(numbers(&claimed));
        if !claimed.more {
            return all;
        }
    }
}

async fn settle(db: &Database, claimed: &OutboxClaimed, outcome: Outcome) -> usize {
    let settled: Vec<_> =
        claimed.messages.iter().map(|message| Settlement::new(message, claimed.claim_id, outcome.clone())).collect();
    db.system_tx("tests.settle", async |tx| tx.outbox_queue().settle(&settled).await).await.unwrap()
}

async fn set(db: &TestDatabase, sql: &str) {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, &format!("SET ROLE bedplate_system; {sql}")).await;
}

/// 1. A has locked the first message of an entity, its limit, and not committed.
/// 2. B claims: of the entity it gets nothing, although the second message is free; another entity's it gets.
/// 3. A commits: B gets nothing while A's lease runs.
/// 4. A settles: now B gets the second message.
#[rstest]
#[tokio::test]
async fn nobody_claims_past_a_message_that_another_claims(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1), ("green", 2), ("black", 3)]).await;
    let (claimed, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let a = tokio::spawn({
        let (database, claimed, go_on) = (db.database.clone(), claimed.clone(), go_on.clone());
        async move {
            database
                .system_tx("a", async |tx| {
                    let got = tx.outbox_queue().claim(OutboxClaim { worker: "a", limit: 1, lease: LEASE }).await?;
                    claimed.notify_one(); // 1
                    go_on.notified().await;
                    Ok(got)
                })
                .await
                .unwrap()
        }
    });
    claimed.notified().await;
    assert_eq!(claim_all(&db, "b", 1).await, Vec::<i64>::new(), "its limit is used up by what it lets go");
    assert_eq!(claim_all(&db, "b", 10).await, [3]); // 2
    go_on.notify_one();
    let a = a.await.unwrap();
    assert_eq!(numbers(&a), [1]);
    assert_eq!(claim_all(&db, "b", 10).await, Vec::<i64>::new()); // 3
    assert_eq!(settle(&db, &a, Outcome::Published).await, 1);
    assert_eq!(claim_all(&db, "b", 10).await, [2]); // 4
}

/// 1. The first message of an entity fails, and waits for its next attempt.
/// 2. The later ones wait with it; what is written meanwhile too. Another entity goes on.
/// 3. When its time has come, all of them come, in their order.
#[rstest]
#[tokio::test]
async fn what_waits_for_its_next_attempt_holds_up_its_entity_alone(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1), ("green", 2), ("green", 3)]).await;
    let first = claim(&db, "a", 1).await;
    assert_eq!(numbers(&first), [1]);
    settle(&db, &first, Outcome::Retry { error: "no water".into(), pause: Duration::from_mins(1) }).await; // 1
    send(&db, &home.context, &[("black", 4), ("green", 5)]).await;
    assert_eq!(claim_all(&db, "a", 1).await, [4], "one at a time: what waits is put aside, and not looked at again"); // 2
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let due = "SELECT count(*) FROM outbox_events WHERE published_at IS NULL AND lease_expires_at IS NULL AND available_at <= now()";
    assert_eq!(number(&mut owner, due).await, 0);
    execute(&mut owner, "UPDATE outbox_events SET available_at = now() WHERE entity_id = 'green'").await;
    assert_eq!(claim_all(&db, "a", 10).await, [1, 2, 3, 5]); // 3
}

/// A transaction that began earlier and wrote later: its message is due for longer and comes second.
#[rstest]
#[case::limit_of_one(1)]
#[case::all(10)]
#[tokio::test]
async fn the_order_is_that_of_writing_and_not_that_of_times(#[future(awt)] db: TestDatabase, #[case] limit: u16) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1), ("green", 2)]).await;
    set(&db, "UPDATE outbox_events SET available_at = available_at - interval '1 h' WHERE payload = '{\"n\": 2}'")
        .await;
    let mut taken = Vec::new();
    for _ in 0..4 {
        let claimed = claim(&db, "a", limit).await;
        taken.extend(numbers(&claimed));
        settle(&db, &claimed, Outcome::Published).await;
    }
    assert_eq!(taken, [1, 2]);
}

/// A message put off until tomorrow holds up the later ones of its entity; a dead one does not.
#[rstest]
#[case("available_at = now() + interval '1 day'", &[1])]
#[case("dead_at = now()", &[1, 3])]
#[case("published_at = now()", &[1, 3])]
#[case("claim_id = gen_random_uuid(), lease_expires_at = now() + interval '1 min'", &[1])]
#[case("claim_id = gen_random_uuid(), lease_expires_at = now()", &[1, 2, 3])]
#[tokio::test]
async fn what_the_second_message_does_to_the_third(
    #[future(awt)] db: TestDatabase,
    #[case] second: &str,
    #[case] expected: &[i64],
) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1), ("green", 2), ("green", 3)]).await;
    set(&db, &format!("UPDATE outbox_events SET {second} WHERE payload = '{{\"n\": 2}}'")).await;
    assert_eq!(claim_all(&db, "a", 10).await, expected);
}

/// A tenant with much to send does not hold up one with little.
#[rstest]
#[tokio::test]
async fn every_tenant_gets_its_share(#[future(awt)] db: TestDatabase) {
    let (big, small) = (home(&db).await, home(&db).await);
    let entities: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    send(&db, &big.context, &entities.iter().map(|entity| (entity.as_str(), 0)).collect::<Vec<_>>()).await;
    send(&db, &small.context, &[("green", 1)]).await;
    let claimed = claim(&db, "a", 10).await;
    assert!(claimed.messages.len() <= 10 && claimed.more);
    assert_eq!(claimed.messages.iter().filter(|message| message.tenant_id == small.tenant).count(), 1);
    // The same entity of another tenant is another entity.
    send(&db, &big.context, &[("green", 2)]).await;
    assert!(claim_all(&db, "a", 500).await.contains(&2));
    // More tenants than a claim takes messages: the others' turn comes.
    for n in 0..5 {
        let other = home(&db).await;
        send(&db, &other.context, &[("green", 100 + n)]).await;
    }
    let mut others = claim_all(&db, "a", 2).await;
    others.sort_unstable();
    assert_eq!(others, [100, 101, 102, 103, 104]);
}

/// Four relays, a sink that fails at random, workers that die in the middle, and writers at work: each
/// message is taken, and none is handed over before the one before it was taken. Each entity has one writer, and its
/// messages are numbered from 1.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn relays_that_fail_and_die_keep_the_order(#[future(awt)] db: TestDatabase) {
    const WRITERS: u8 = 4;
    const EACH: i64 = 60;
    let homes = [home(&db).await, home(&db).await];
    let taken: Arc<Mutex<HashMap<(String, String), i64>>> = Arc::default();
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Recorder::answering({
        let (taken, wrong) = (taken.clone(), wrong.clone());
        move |message| {
            let (n, mut taken) = (message.payload["n"].as_i64().unwrap(), taken.lock().unwrap());
            let last = taken.entry((message.tenant_id.to_string(), message.entity_id.clone())).or_default();
            if n > *last + 1 {
                wrong.lock().unwrap().push(format!("{}: {n} after {last}", message.entity_id));
            }
            match rand::random_range(0..10) {
                0 | 1 => Err(SinkError::retry("no water")),
                _ => {
                    *last = n.max(*last);
                    Ok(())
                }
            }
        }
    });
    let options = |n: usize| RelayOptions {
        batch: 20,
        in_flight: 4,
        lease: Duration::from_millis(300),
        timeout: Duration::from_millis(100),
        poll: Duration::from_millis(50),
        retry: RetryPolicy { pauses: [5, 10, 20].map(Duration::from_millis).to_vec().into(), max_attempts: 1000 },
        ..options(&format!("relay-{n}"))
    };
    let relay = |n: usize| {
        let relay = Relay::new(&db.database, sink.clone(), options(n));
        tokio::spawn(async move { relay.run_until(std::future::pending()).await })
    };
    let mut relays: Vec<_> = (0..4).map(relay).collect();
    let writers = (0..WRITERS).map(|writer| {
        let (database, contexts) = (db.database.clone(), homes.clone().map(|home| home.context));
        tokio::spawn(async move { write(&database, &contexts[usize::from(writer % 2)], writer, EACH).await })
    });
    let writers: Vec<_> = writers.collect();
    // A worker dies at every twenty-fifth message: its task is aborted wherever it is, and another one comes.
    for round in 1..=8 {
        sink.until_handed(round * 25).await;
        relays.remove(0).abort();
        relays.push(relay(10 + round));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    crate::support::until(&mut owner, "SELECT (count(*) = 0)::int FROM outbox_events WHERE published_at IS NULL").await;
    assert_eq!(*wrong.lock().unwrap(), Vec::<String>::new());
    let taken = taken.lock().unwrap();
    assert_eq!((taken.len(), taken.values().sum::<i64>()), (usize::from(WRITERS) * 3, EACH * i64::from(WRITERS)));
    for relay in relays {
        relay.abort();
    }
}

/// Numbers three entities from 1 on, taking turns.
async fn write(database: &Database, context: &TenantContext, writer: u8, each: i64) {
    let entities = [0, 1, 2].map(|n| format!("{writer}-{n}"));
    for n in 0..each {
        send(database, context, &[(&entities[usize::try_from(n % 3).unwrap()], n / 3 + 1)]).await;
    }
}
