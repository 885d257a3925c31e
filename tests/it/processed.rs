//! Consumers that have the effect of an event once, however often it is delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bedplate::models::{Processed, TenantId};
use bedplate::{Error, TenantContext};
use futures_util::future::join_all;
use rstest::rstest;
use tokio::sync::{Barrier, Notify};
use uuid::Uuid;

use crate::support::{TestDatabase, connection, db, execute, home, number, rfq_db, waits_for_lock};

const GRANTED: &str = "SELECT count(*) FROM user_roles";
const MARKS: &str = "SELECT count(*) FROM processed_events";

async fn count(db: &TestDatabase, sql: &str) -> i64 {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    number(&mut owner, sql).await
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_two_deliveries_at_a_time_have_one_effect(#[future(awt)] db: TestDatabase) {
    let (home, event, start) = (home(&db).await, Uuid::now_v7(), Arc::new(Barrier::new(32)));
    let effects = Arc::new(AtomicUsize::new(0));
    let deliveries = (0..32).map(|n| {
        let (database, home, start, effects) = (db.database.clone(), home.clone(), start.clone(), effects.clone());
        tokio::spawn(async move {
            start.wait().await;
            database
                .tenant_tx("deliver", &home.context, async |tx| {
                    let role = format!("role-{n}");
                    tx.process_once("billing", event, "paid", async {
                        effects.fetch_add(1, Ordering::Relaxed);
                        tx.roles().grant(home.user, &role).await
                    })
                    .await
                })
                .await
        })
    });
    let done: Vec<_> =
        join_all(deliveries.collect::<Vec<_>>()).await.into_iter().map(|done| done.unwrap().unwrap()).collect();
    assert_eq!(done.iter().filter(|done| matches!(done, Processed::Now(_))).count(), 1);
    assert_eq!((effects.load(Ordering::Relaxed), count(&db, GRANTED).await, count(&db, MARKS).await), (1, 1, 1));
}

/// 1. The first delivery has marked the event, and is at work on its effect.
/// 2. The second one waits for it.
/// 3. The first one fails: neither effect nor mark is there.
/// 4. The second one has the effect.
#[rstest]
#[case::fails(true)]
#[case::commits(false)]
#[tokio::test]
async fn a_second_delivery_waits_for_the_first(#[future(awt)] db: TestDatabase, #[case] fails: bool) {
    let (home, event) = (home(&db).await, Uuid::now_v7());
    let (at_work, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = tokio::spawn({
        let (database, home, at_work, go_on) = (db.database.clone(), home.clone(), at_work.clone(), go_on.clone());
        async move {
            database
                .tenant_tx("first", &home.context, async |tx| {
                    tx.process_once("billing", event, "paid", async {
                        tx.roles().grant(home.user, "first").await?;
                        at_work.notify_one(); // 1
                        go_on.notified().await;
                        if fails { Err(Error::invalid("card", "is declined")) } else { Ok(()) }
                    })
                    .await
                })
                .await
        }
    });
    at_work.notified().await;
    let second = tokio::spawn({
        let (database, home) = (db.database.clone(), home.clone());
        async move {
            database
                .tenant_tx("second", &home.context, async |tx| {
                    tx.process_once("billing", event, "paid", async { tx.roles().grant(home.user, "second").await })
                        .await
                })
                .await
        }
    });
    waits_for_lock(&db, "second").await; // 2
    go_on.notify_one();
    let (first, second) = (first.await.unwrap(), second.await.unwrap().unwrap()); // 3, 4
    assert_eq!((first.is_err(), matches!(second, Processed::Now(_))), (fails, fails));
    let role = if fails { "second" } else { "first" };
    let there = format!("{GRANTED} WHERE role = '{role}'");
    assert_eq!((count(&db, &there).await, count(&db, GRANTED).await, count(&db, MARKS).await), (1, 1, 1));
}

/// Inside a transaction that goes on, what fails leaves neither effect nor mark.
#[rstest]
#[tokio::test]
async fn an_effect_that_fails_is_undone_and_the_transaction_goes_on(#[future(awt)] db: TestDatabase) {
    let (home, event) = (home(&db).await, Uuid::now_v7());
    db.tenant_tx("one", &home.context, async |tx| {
        let failed = tx
            .process_once("billing", event, "paid", async {
                tx.roles().grant(home.user, "undone").await?;
                Err::<(), _>(Error::invalid("card", "is declined"))
            })
            .await;
        assert!(failed.is_err());
        tx.roles().grant(home.user, "kept").await
    })
    .await
    .unwrap();
    assert_eq!((count(&db, GRANTED).await, count(&db, MARKS).await), (1, 0));
    let done =
        db.tenant_tx("two", &home.context, async |tx| tx.process_once("billing", event, "paid", async { Ok(7) }).await);
    assert_eq!(done.await.unwrap().now(), Some(7));
    let done =
        db.tenant_tx("two", &home.context, async |tx| tx.process_once("billing", event, "paid", async { Ok(8) }).await);
    assert_eq!(done.await.unwrap().now(), None);
}

#[rstest]
#[tokio::test]
async fn groups_tenants_and_events_are_told_apart(#[future(awt)] db: TestDatabase) {
    let (one, other, event) = (home(&db).await, home(&db).await, Uuid::now_v7());
    for (home, group, event) in
        [(&one, "billing", event), (&one, "mail", event), (&one, "billing", Uuid::now_v7()), (&other, "billing", event)]
    {
        let deliver = async || {
            db.tenant_tx("deliver", &home.context, async |tx| {
                tx.process_once(group, event, "paid", async { Ok(()) }).await
            })
            .await
            .unwrap()
        };
        assert_eq!((deliver().await, deliver().await), (Processed::Now(()), Processed::Before));
    }
    let refused = db.tenant_tx("bad", &one.context, async |tx| tx.process_once(" ", event, "", async { Ok(()) }).await);
    assert_eq!(refused.await.unwrap_err().to_string(), "consumer_group is empty; event_type is empty");
}

#[rstest]
#[tokio::test]
async fn the_same_in_rfq(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context, event) = (rfq_db, TenantContext::new(TenantId::new()), Uuid::now_v7());
    let deliver = async || {
        db.rfq()
            .tenant_tx("deliver", &context, async |tx| tx.process_once("desk", event, "quoted", async { Ok(1) }).await)
            .await
            .unwrap()
    };
    assert_eq!((deliver().await, deliver().await), (Processed::Now(1), Processed::Before));
}
