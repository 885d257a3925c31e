//! The primary dies under load, and its standby takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bedplate::models::NewBusinessIdea;
use bedplate::{Database, Error};
use rstest::rstest;
use uuid::Uuid;

use crate::support::builders::DESCRIPTION;
use crate::support::cluster::{Primary, Standby, either};
use crate::support::{Home, connection, execute, home, texts, until};

const WRITERS: usize = 16;

/// A write that may be repeated: the key makes it one.
async fn write(database: &Database, home: &Home, key: &str) -> Result<(), Error> {
    let user_id = home.user;
    database
        .tenant_tx("failover.write", &home.context, async |tx| {
            tx.idempotent(key, &key, async {
                let new = NewBusinessIdea { user_id, title: key, description: DESCRIPTION };
                tx.business_ideas().create(new).await.map(|idea| idea.id)
            })
            .await
        })
        .await
        .map(drop)
}

/// 1. A primary, and a standby that every commit waits for; an application that knows both.
/// 2. Sixteen tasks write, each write under a key of its own, repeated until it is acknowledged.
/// 3. The primary is killed, and the standby promoted.
/// 4. Within two seconds of the promotion something is acknowledged again.
/// 5. Each acknowledged write is there, once.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_after_a_promotion_and_nothing_acknowledged_is_lost() {
    let primary = Primary::start(&["wal_level=replica", "max_wal_senders=4"]).await; // 1
    let standby = Standby::of(&primary, "standby");
    let mut admin = connection(&primary.urls.admin).await;
    execute(&mut admin, "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    execute(&mut admin, "SELECT pg_reload_conf()").await;
    until(&mut admin, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").await;
    let mut config = primary.config();
    config.app_url = Some(either(&primary.urls.app, &standby.url(&primary.urls.app)));
    config.pool.max_size = 10;
    let database = Database::connect(config).await.unwrap();
    let home = Arc::new(home(&database).await);

    let (stop, (acknowledged, mut news)) = (Arc::new(AtomicBool::new(false)), tokio::sync::mpsc::unbounded_channel());
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (database, home, stop, acknowledged) =
                (database.clone(), home.clone(), stop.clone(), acknowledged.clone());
            // 2
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let key = Uuid::now_v7().to_string();
                    let mut attempts = 0;
                    while let Err(error) = write(&database, &home, &key).await {
                        attempts += 1;
                        let known = error.fault().is_some() || matches!(error, Error::CommitUnknown);
                        assert!(known, "{error:?}");
                    }
                    acknowledged.send((key, attempts, Instant::now())).unwrap();
                }
            })
        })
        .collect();
    drop(acknowledged);
    let mut all = Vec::new();
    while all.len() < 200 {
        all.push(news.recv().await.unwrap());
    }
    let (killed, promoted) = tokio::task::block_in_place(|| {
        let killed = Instant::now();
        primary.kill(); // 3
        standby.promote();
        (killed, Instant::now())
    });
    let mut first_after = None;
    while first_after.is_none() || all.len() < 400 {
        let (key, attempts, at) = tokio::time::timeout(Duration::from_secs(30), news.recv()).await.unwrap().unwrap();
        if at > promoted && first_after.is_none() {
            first_after = Some(at);
        }
        all.push((key, attempts, at));
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    while let Some(last) = news.recv().await {
        all.push(last);
    }
    // 4
    let gap = first_after.unwrap() - promoted;
    let repeated = all.iter().filter(|(_, attempts, _)| *attempts > 0).count();
    println!(
        "{} acknowledged, {repeated} after an error; promotion took {:?}, the first write came {gap:?} later",
        all.len(),
        promoted - killed
    );
    assert!(gap < Duration::from_secs(2), "{gap:?}");
    // 5
    let mut admin = connection(&standby.url(&primary.urls.admin)).await;
    let mut stored = texts(&mut admin, "SELECT title FROM business_ideas").await;
    stored.sort();
    let mut expected: Vec<_> = all.into_iter().map(|(key, _, _)| key).collect();
    expected.sort();
    assert_eq!(stored, expected);
}
