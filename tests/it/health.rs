//! Readiness turns within two seconds of a fault, and returns within two seconds of its end; what is counted.

use std::time::{Duration, Instant};

use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::{DatabaseName, Health, HealthLimits};
use bedplate::events::NewEvent;
use bedplate::{Config, Database, Environment, Error};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::boundary::run;
use crate::support::cluster::{Primary, Standby};
use crate::support::database::config;
use crate::support::sinks::send;
use crate::support::{IdeaBuilder, TestDatabase, connection, db, execute, home};

const IN_TIME: Duration = Duration::from_secs(2);

/// The router, on a port of its own.
struct Served {
    url: String,
    client: reqwest::Client,
    serving: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn of(database: &Database, limits: HealthLimits) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = bedplate::serve::router(Health::new(database, limits));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, client: reqwest::Client::new(), serving }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Whether it is ready, and the checks that are not passed.
    async fn ready(&self) -> (bool, Vec<String>) {
        let (status, text) = self.get("/health/ready").await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let ready = answer["ready"].as_bool().unwrap();
        assert_eq!(status, if ready { 200 } else { 503 });
        let checks = answer["checks"].as_array().unwrap();
        assert!(!checks.is_empty());
        let failed = checks.iter().filter(|check| check["ok"] == false);
        (ready, failed.map(|check| check["name"].as_str().unwrap().to_owned()).collect())
    }

    /// Asks until it is, and tells how long that took.
    async fn until(&self, ready: bool, because_of: &str) -> Duration {
        let begun = Instant::now();
        let asked = async {
            loop {
                let (is, failed) = self.ready().await;
                if is == ready {
                    assert!(ready || failed.iter().any(|name| name == because_of), "{failed:?}");
                    return;
                }
            }
        };
        let turned = tokio::time::timeout(Duration::from_secs(20), asked).await;
        turned.unwrap_or_else(|_| panic!("it never became {ready} by {because_of}"));
        begun.elapsed()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The databases beside it are the same one in a test.
fn only_main(db: &TestDatabase) -> Config {
    let mut config = config(&db.url);
    config.databases = vec![DatabaseName::Main];
    config
}

fn in_time(what: &str, turned: Duration, returned: Duration) {
    println!("{what}: turned after {turned:.0?}, returned after {returned:.0?}");
    assert!(turned < IN_TIME && returned < IN_TIME, "{what}: {turned:?}, {returned:?}");
}

/// Killed, and started again; then it stops answering without a word, and goes on.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_turns_it() {
    let primary = Primary::start(&[]).await;
    let database = Database::connect(primary.config()).await.unwrap();
    let served = Served::of(&database, HealthLimits::of(Environment::Production)).await;
    assert_eq!(served.ready().await, (true, Vec::new()));
    tokio::task::block_in_place(|| primary.kill());
    let turned = served.until(false, "database").await;
    assert_eq!(served.get("/health/live").await.0, 200);
    assert!(served.get("/metrics").await.1.contains("bedplate_up{database=\"main\"} 0.0"));
    primary.start_again().await;
    in_time("killed", turned, served.until(true, "database").await);

    primary.freeze();
    let turned = served.until(false, "database").await;
    primary.thaw();
    in_time("frozen", turned, served.until(true, "database").await);
}

#[rstest]
#[tokio::test]
async fn migrations_that_are_behind_turn_it(#[future(awt)] db: TestDatabase) {
    let database = Database::connect(only_main(&db)).await.unwrap();
    let served = Served::of(&database, HealthLimits::of(Environment::Production)).await;
    assert_eq!(served.ready().await, (true, Vec::new()));
    let mut owner = connection(&db.url).await;
    // Of an older database, as the program sees it: one version is not there.
    let newest = "SELECT max(version) FROM __diesel_schema_migrations";
    let version = crate::support::texts(&mut owner, newest).await.remove(0);
    execute(&mut owner, &format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}'")).await;
    let turned = served.until(false, "migrations").await;
    execute(&mut owner, &format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')")).await;
    in_time("migrations behind", turned, served.until(true, "migrations").await);
    // For real: the last one is taken back, and with it the right to look at versions.
    let main = Source::Embedded(DatabaseName::Main);
    migrate::run(&db.url, &main, Direction::Down { count: 1 }, |_| {}).await.unwrap();
    assert!(!served.ready().await.0);
    migrate::run(&db.url, &main, Direction::Up, |_| {}).await.unwrap();
    assert!(served.ready().await.0);
}

#[rstest]
#[tokio::test]
async fn an_exhausted_pool_turns_it(#[future(awt)] db: TestDatabase) {
    let mut small = only_main(&db);
    small.pool.max_size = 2;
    let database = Database::connect(small).await.unwrap();
    let served = Served::of(&database, HealthLimits::of(Environment::Production)).await;
    let (held, release) = (tokio::sync::Barrier::new(3), Notify::new());
    let (held, release) = (&held, &release);
    let hold = async || {
        database
            .system_tx("hold", async |_| {
                held.wait().await;
                release.notified().await;
                Ok(())
            })
            .await
            .unwrap();
    };
    assert_eq!(served.ready().await, (true, Vec::new()));
    let asked = async {
        held.wait().await;
        let turned = served.until(false, "pool").await;
        assert!(
            served.get("/metrics").await.1.contains("bedplate_pool_connections{pool=\"main\",state=\"in_use\"} 2.0")
        );
        release.notify_waiters();
        in_time("pool exhausted", turned, served.until(true, "pool").await);
    };
    tokio::join!(hold(), hold(), asked);
}

/// The limit is a second: the fault is there when that has passed.
#[rstest]
#[tokio::test]
async fn a_replica_that_lags_turns_it() {
    let limit = Duration::from_secs(1);
    let primary = Primary::start(&["wal_level=replica", "max_wal_senders=4"]).await;
    let standby = Standby::of(&primary, "standby");
    let mut config = primary.config();
    config.replicas = vec![standby.url(&primary.urls.app)];
    let database = Database::connect(config).await.unwrap();
    let home = home(&database).await;
    let served =
        Served::of(&database, HealthLimits { replica_lag: limit, ..HealthLimits::of(Environment::Production) }).await;
    assert_eq!(served.ready().await, (true, Vec::new()));
    let mut of_standby = connection(&standby.url(&primary.urls.admin)).await;
    execute(&mut of_standby, "SELECT pg_wal_replay_pause()").await;
    IdeaBuilder::new(&home).create(&database).await;
    let turned = served.until(false, "replica").await.saturating_sub(limit);
    assert!(served.get("/metrics").await.1.contains("bedplate_replica_up"));
    execute(&mut of_standby, "SELECT pg_wal_replay_resume()").await;
    in_time("replica lag", turned, served.until(true, "replica").await);
    // One that is gone is nobody's loss: the primary is read instead.
    standby.stop();
    let down = async { while !served.get("/metrics").await.1.contains("} 0.0\n# HELP bedplate_replica_lag") {} };
    tokio::time::timeout(Duration::from_secs(20), down).await.unwrap();
    assert!(served.ready().await.0);
}

#[rstest]
#[tokio::test]
async fn a_message_that_nobody_publishes_turns_it(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let database = Database::connect(only_main(&db)).await.unwrap();
    let served = Served::of(
        &database,
        HealthLimits { outbox_age: Duration::from_millis(200), ..HealthLimits::of(Environment::Production) },
    )
    .await;
    assert_eq!(served.ready().await, (true, Vec::new()));
    send(&db, &home.context, &[("pot", 1), ("pot", 2)]).await;
    served.until(false, "outbox").await;
    let metrics = served.get("/metrics").await.1;
    assert!(metrics.contains("\nbedplate_outbox_pending 2.0\n"), "{metrics}");
    crate::support::sinks::drain(&db, &crate::support::sinks::Recorder::new()).await;
    served.until(true, "outbox").await;
}

/// Each way for a transaction to end, by its name, and what runs into a retry or is slow.
#[rstest]
#[tokio::test]
async fn what_happens_is_counted(#[future(awt)] db: TestDatabase) {
    let mut quick = config(&db.url);
    quick.slow_queries.threshold = Duration::from_millis(500);
    let database = Database::connect(quick).await.unwrap();
    let home = home(&database).await;
    let events = [NewEvent::new("Counted", json!({}))];
    database
        .tenant_tx("count.append", &home.context, async |tx| tx.events().append(&events, None).await)
        .await
        .unwrap();
    let refused = database.tenant_tx("count.refuse", &home.context, async |_| Err::<(), _>(Error::invalid("x", "y")));
    refused.await.unwrap_err();
    let slow = database.system_tx("count.slow", async |tx| run(tx.connection(), "SELECT pg_sleep(0.6)").await);
    slow.await.unwrap();
    let dropped = database.system_tx("count.drop", async |tx| run(tx.connection(), "SELECT pg_sleep(60)").await);
    tokio::time::timeout(Duration::from_millis(50), dropped).await.unwrap_err();
    let runs = std::sync::atomic::AtomicU32::new(0);
    let again =
        database.system_tx("count.again", async |_| match runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Err(Error::Contention { message: "deadlock detected".into() }),
            _ => Ok(()),
        });
    again.await.unwrap();
    let text = Health::new(&database, HealthLimits::of(Environment::Production)).metrics().await;
    for line in [
        "bedplate_transaction_seconds_count{name=\"count.append\",outcome=\"committed\"} 1",
        "bedplate_transaction_seconds_count{name=\"count.refuse\",outcome=\"rolled_back\"} 1",
        "bedplate_transaction_seconds_count{name=\"count.drop\",outcome=\"dropped\"} 1",
        "bedplate_transaction_retries_total{name=\"count.again\",fault=\"deadlock\"} 1",
        "bedplate_slow_queries_total{name=\"count.slow\"} 1",
        "bedplate_pool_waiting{pool=\"main\"} 0",
        "bedplate_pool_connections_max{pool=\"main\"} 10.0",
        "bedplate_up{database=\"main\"} 1.0",
        "bedplate_outbox_pending 0.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("bedplate_pool_wait_seconds_bucket") && text.ends_with("# EOF\n"), "{text}");
}
