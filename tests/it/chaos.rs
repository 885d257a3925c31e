//! Everything at once. Too long for each run of the suite: `scripts/chaos` runs it, and prints the figures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bedplate::events::NewEvent;
use bedplate::models::{NewBusinessIdea, NewOutboxEvent};
use bedplate::{Database, Error};
use futures_util::future::{join_all, try_join_all};
use rand::RngExt as _;
use rstest::rstest;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::support::builders::DESCRIPTION;
use crate::support::cluster::Primary;
use crate::support::pgbouncer::PgBouncer;
use crate::support::{Home, connection, execute, home, texts, until};

const TASKS: usize = 64;
const POOL: u32 = 20;
const KILLS: usize = 10;
const TERMINATING: Duration = Duration::from_secs(30);
const RESTARTS: usize = 10;

/// What became of a write, as far as its task knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It is there.
    Acknowledged,
    /// It is not.
    Failed,
    /// It is there or not: its future was dropped, or the connection broke during COMMIT.
    Nobody,
}

#[derive(Clone)]
struct Load {
    database: Database,
    home: Arc<Home>,
    stop: Arc<AtomicBool>,
    written: Arc<Mutex<BTreeMap<String, Known>>>,
}

impl Load {
    /// Reads and writes until it is told to stop; half of what it begins, it drops.
    async fn run(self) {
        while !self.stop.load(Ordering::SeqCst) {
            let patience =
                rand::rng().random_bool(0.5).then(|| Duration::from_micros(rand::rng().random_range(0..20_000)));
            if rand::rng().random_bool(0.3) {
                let _ = timeout(patience.unwrap_or(Duration::MAX), self.read()).await;
                continue;
            }
            let key = Uuid::now_v7().to_string();
            let known = match timeout(patience.unwrap_or(Duration::MAX), self.write(&key)).await {
                Err(_) | Ok(Err(Error::CommitUnknown)) => Known::Nobody,
                Ok(Ok(())) => Known::Acknowledged,
                Ok(Err(error)) => {
                    assert!(error.fault().is_some(), "{error:?}");
                    Known::Failed
                }
            };
            self.written.lock().unwrap().insert(key, known);
        }
    }

    /// In three tables, with locks of its own: an idea, an event, a message.
    async fn write(&self, key: &str) -> Result<(), Error> {
        let user_id = self.home.user;
        self.database
            .tenant_tx("chaos.write", &self.home.context, async move |tx| {
                tx.business_ideas().create(NewBusinessIdea { user_id, title: key, description: DESCRIPTION }).await?;
                tx.events().append(&[NewEvent::new("Written", json!({"key": key})).tag("key", key)], None).await?;
                let payload = json!({});
                tx.outbox().create(NewOutboxEvent::new("chaos.written", "ideas", key, &payload)).await?;
                Ok(())
            })
            .await
    }

    async fn read(&self) -> Result<(), Error> {
        let user = self.home.user;
        let found = self.database.tenant_tx("chaos.read", &self.home.context, async |tx| tx.users().find(user).await);
        found.await.map(drop)
    }

    /// Every connection of the pool in use at a time, beside the load: how long it took.
    async fn until_whole(&self) -> Duration {
        let begun = Instant::now();
        loop {
            let all = &Barrier::new(POOL as usize);
            let held = (0..POOL).map(|_| {
                self.database.system_tx("chaos.whole", async move |_| {
                    all.wait().await;
                    Ok(())
                })
            });
            match timeout(Duration::from_secs(30), try_join_all(held)).await {
                Ok(Ok(_)) => return begun.elapsed(),
                Ok(Err(error)) => println!("not whole yet: {error}"),
                Err(late) => panic!("the pool has not {POOL} connections: {late}"),
            }
        }
    }
}

/// 1. Sixty-four tasks read and write over a pool of twenty; half of their futures are dropped at random.
/// 2. The server is killed ten times, and started again; within two seconds of its return, all twenty connections can
///    be had at a time.
/// 3. For thirty seconds, all its sessions are ended every 200 ms.
/// 4. Where there is a PgBouncer, it is restarted ten times.
/// 5. What was acknowledged is there, in all three tables, once; what failed is not; the rest is there once or not.
/// 6. No transaction, no lock and no query is left.
#[rstest]
#[case::direct(false)]
#[case::behind_pgbouncer(true)]
#[ignore = "takes two minutes; scripts/chaos runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_left(#[case] behind_pgbouncer: bool) {
    let primary = Primary::start(&[]).await;
    let mut pooler = behind_pgbouncer.then(|| PgBouncer::start(&primary.urls.app, "transaction", POOL as usize, ""));
    let mut config = primary.config();
    if let Some(pooler) = &pooler {
        config.app_url = Some(pooler.url.clone());
    }
    config.pool.max_size = POOL;
    let database = Database::connect(config).await.unwrap();
    let home = Arc::new(home(&database).await);
    let load = Load { database, home, stop: Arc::default(), written: Arc::default() };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(load.clone().run())).collect(); // 1

    let mut whole = Vec::new();
    for _ in 0..KILLS {
        sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| primary.kill()); // 2
        primary.start_again().await;
        whole.push(load.until_whole().await);
    }
    let mut admin = connection(&primary.urls.admin).await;
    let (begun, mut rounds) = (Instant::now(), 0);
    while begun.elapsed() < TERMINATING {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'bedplate_login'";
        execute(&mut admin, end).await; // 3
        rounds += 1;
        sleep(Duration::from_millis(200)).await;
    }
    let after_terminating = load.until_whole().await;
    let mut after_restarts = Vec::new();
    if let Some(pooler) = &mut pooler {
        for _ in 0..RESTARTS {
            tokio::task::block_in_place(|| pooler.restart()); // 4
            after_restarts.push(load.until_whole().await);
        }
    }
    load.stop.store(true, Ordering::SeqCst);
    for task in join_all(tasks).await {
        task.unwrap();
    }

    let written = load.written.lock().unwrap().clone(); // 5
    let mut system = connection(&primary.urls.owner).await;
    execute(&mut system, "SET ROLE bedplate_system").await;
    // Whoever was dropped during COMMIT may still be at it.
    let at_work =
        "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE usename = 'bedplate_login' AND state <> 'idle'";
    until(&mut admin, at_work).await;
    let ideas = texts(&mut system, "SELECT title FROM business_ideas ORDER BY title").await;
    let events =
        texts(&mut system, "SELECT event_data ->> 'key' FROM events WHERE event_type = 'Written' ORDER BY 1").await;
    let messages = texts(&mut system, "SELECT entity_id FROM outbox_events ORDER BY 1").await;
    assert_eq!(ideas, events, "half of a transaction is there");
    assert_eq!(ideas, messages, "half of a transaction is there");
    let count = |of: Known| written.values().filter(|known| **known == of).count();
    let lost: Vec<_> = written
        .iter()
        .filter(|(key, known)| **known == Known::Acknowledged && ideas.binary_search(key).is_err())
        .collect();
    let untrue: Vec<_> =
        ideas.iter().filter(|key| written.get(*key).is_none_or(|known| *known == Known::Failed)).collect();
    let doubled = ideas.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let millis =
        |times: &[Duration]| times.iter().map(|time| time.as_millis().to_string()).collect::<Vec<_>>().join(" ");
    println!(
        "acknowledged {}, failed {}, nobody knows {}; lost {}, doubled {doubled}, there though failed {}\n\
         whole after a kill (ms): {}\nwhole after {rounds} rounds of terminating (ms): {}\nwhole after a restart of \
         PgBouncer (ms): {}",
        count(Known::Acknowledged),
        count(Known::Failed),
        count(Known::Nobody),
        lost.len(),
        untrue.len(),
        millis(&whole),
        after_terminating.as_millis(),
        millis(&after_restarts),
    );
    assert!(lost.is_empty() && untrue.is_empty() && doubled == 0, "lost {lost:?}, untrue {untrue:?}");
    assert!(count(Known::Acknowledged) > 1_000);
    let slowest = whole.iter().chain(&after_restarts).chain([&after_terminating]).max().unwrap();
    assert!(*slowest < Duration::from_secs(2), "{slowest:?}");

    // 6
    let left = "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE usename = 'bedplate_login' \
                   AND (state <> 'idle' OR xact_start IS NOT NULL)";
    until(&mut admin, left).await;
    let locks = "SELECT count(*)::text FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE usename = 'bedplate_login'";
    assert_eq!(texts(&mut admin, locks).await, ["0"]);
    let prepared = "SELECT count(*)::text FROM pg_prepared_xacts";
    assert_eq!(texts(&mut admin, prepared).await, ["0"]);
}
