//! Reads from a standby that follows, lags, hangs, goes and comes back. Each test has a real primary and a real standby,
//! made by `pg_basebackup`; lag is made by pausing what the standby replays.

use std::time::{Duration, Instant};

use bedplate::{Database, Error};
use rstest::rstest;

use crate::boundary::{one_text, run};
use crate::support::cluster::{Primary, Standby};
use crate::support::{Home, IdeaBuilder, connection, execute, home, until};

struct Following {
    database: Database,
    home: Home,
    standby: Standby,
    primary: Primary,
}

/// A database whose reads may go to one standby.
async fn following() -> Following {
    let primary = Primary::start(&["wal_level=replica", "max_wal_senders=4"]).await;
    let standby = Standby::of(&primary, "standby");
    let mut config = primary.config();
    config.replicas = vec![standby.url(&primary.urls.app)];
    config.replica_wait = Duration::from_secs(10);
    let database = Database::connect(config).await.unwrap();
    let home = home(&database).await;
    Following { database, home, standby, primary }
}

impl Following {
    async fn of_standby(&self, sql: &str) {
        execute(&mut connection(&self.standby.url(&self.primary.urls.admin)).await, sql).await;
    }

    /// How many ideas a read sees, and whether it was on the standby.
    async fn read(&self, reads: bedplate::database::ReplicaReads<'_>) -> (String, bool) {
        reads
            .tenant_read("look", &self.home.context, async |tx| {
                let on_standby = one_text(tx.connection(), "SELECT pg_is_in_recovery()::text").await?;
                let ideas = one_text(tx.connection(), "SELECT count(*)::text FROM business_ideas").await?;
                Ok((ideas, on_standby == "true"))
            })
            .await
            .unwrap()
    }
}

/// Fifty times: 1. A write. 2. Its position. 3. A read on the standby sees the write.
#[rstest]
#[tokio::test]
async fn a_read_after_a_position_sees_what_was_written_before() {
    let following = following().await;
    for n in 1..=50 {
        IdeaBuilder::new(&following.home).create(&following.database).await; // 1
        let position = following.database.wal_position().await.unwrap(); // 2
        let seen = following.read(following.database.replica().after(position)).await; // 3
        assert_eq!(seen, (n.to_string(), true));
    }
}

/// 1. The standby stops replaying, and something is written.
/// 2. A read without a position is served there, and does not see it; nor does it with one that is older.
/// 3. One with the position waits as long as it may, and is then served by the primary, which has it.
/// 4. One that may wait for longer is served by the standby as soon as that goes on.
#[rstest]
#[tokio::test]
async fn a_replica_that_is_behind_is_waited_for_and_then_left() {
    let following = following().await;
    let database = &following.database;
    let before = database.wal_position().await.unwrap();
    assert_eq!(following.read(database.replica().after(before)).await, ("0".to_owned(), true));
    following.of_standby("SELECT pg_wal_replay_pause()").await; // 1
    let mut standby = connection(&following.standby.url(&following.primary.urls.admin)).await;
    until(&mut standby, "SELECT (pg_get_wal_replay_pause_state() = 'paused')::int").await;
    IdeaBuilder::new(&following.home).create(database).await;
    let position = database.wal_position().await.unwrap();
    assert_eq!(following.read(database.replica()).await, ("0".to_owned(), true)); // 2
    assert_eq!(following.read(database.replica().after(before)).await, ("0".to_owned(), true));
    let begun = Instant::now(); // 3
    let brief = database.replica().after(position).wait_at_most(Duration::from_millis(200));
    assert_eq!(following.read(brief).await, ("1".to_owned(), false));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let patient = following.read(database.replica().after(position)); // 4
    let (seen, ()) = tokio::join!(patient, following.of_standby("SELECT pg_wal_replay_resume()"));
    assert_eq!(seen, ("1".to_owned(), true));
}

/// 1. The standby is stopped: the primary serves its reads, the first one included.
/// 2. It comes back, and serves them again.
#[rstest]
#[tokio::test]
async fn a_replica_that_is_gone_costs_nobody_a_read() {
    let following = following().await;
    assert!(following.read(following.database.replica()).await.1);
    following.standby.stop(); // 1
    for _ in 0..5 {
        assert!(!following.read(following.database.replica()).await.1);
    }
    following.standby.start(); // 2
    let served = async { while !following.read(following.database.replica()).await.1 {} };
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap();
}

/// 1. The standby stops answering, without closing a connection: a read is served by the primary within the time that it
///    waits for replicas, and the next ones at once.
/// 2. It goes on, and serves again.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hangs_is_not_waited_for() {
    let primary = Primary::start(&["wal_level=replica", "max_wal_senders=4"]).await;
    let standby = Standby::of(&primary, "standby");
    let mut config = primary.config();
    config.replicas = vec![standby.url(&primary.urls.app)];
    let database = Database::connect(config).await.unwrap();
    let home = home(&database).await;
    let following = Following { database, home, standby, primary };
    while !following.read(following.database.replica()).await.1 {}
    following.standby.freeze(); // 1
    let begun = Instant::now();
    for _ in 0..3 {
        assert!(!following.read(following.database.replica()).await.1);
    }
    let (took, waits) = (begun.elapsed(), following.database.config().replica_wait);
    assert!(took < 6 * waits, "{took:?}");
    following.standby.thaw(); // 2
    let served = async { while !following.read(following.database.replica()).await.1 {} };
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap();
}

/// Neither on the standby nor where the primary stands in for it: the same code is refused in both places.
#[rstest]
#[tokio::test]
async fn a_read_does_not_write() {
    let following = following().await;
    let write = async || {
        let reads = following.database.replica();
        let written = reads.tenant_read("write", &following.home.context, async |tx| {
            run(tx.connection(), "DELETE FROM business_ideas").await
        });
        written.await.unwrap_err()
    };
    assert!(matches!(write().await, Error::ReadOnly { .. }));
    following.standby.stop();
    assert!(matches!(write().await, Error::ReadOnly { .. }));
}

/// A standby cancels a query that is in the way of what it has to replay: the primary answers.
///
/// 1. A read on the standby has seen a table.
/// 2. The primary drops the table, and the standby may not wait to replay that.
/// 3. The read's next query fails, and all of it is run again on the primary.
#[rstest]
#[tokio::test]
async fn a_read_that_is_in_the_way_of_replaying_goes_to_the_primary() {
    let following = following().await;
    let mut owner = connection(&following.primary.urls.owner).await;
    execute(&mut owner, "CREATE TABLE passing (id int); GRANT SELECT ON passing TO bedplate_app").await;
    following.of_standby("ALTER SYSTEM SET max_standby_streaming_delay = 0").await;
    following.of_standby("SELECT pg_reload_conf()").await;
    let position = following.database.wal_position().await.unwrap();
    let (url, runs) = (&following.primary.urls.owner, &std::sync::atomic::AtomicU32::new(0));
    let standby = following.standby.url(url);
    let standby = &standby;
    let served = following
        .database
        .replica()
        .after(position)
        .tenant_read("in the way", &following.home.context, async |tx| {
            if runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                run(tx.connection(), "SELECT FROM passing").await?; // 1
                execute(&mut connection(url).await, "DROP TABLE passing").await; // 2
                let gone = "SELECT (to_regclass('passing') IS NULL)::int";
                until(&mut connection(standby).await, gone).await;
            }
            one_text(tx.connection(), "SELECT pg_is_in_recovery()::text").await // 3
        })
        .await
        .unwrap();
    assert_eq!(served, "false");
}

/// The head of the events is the primary's to tell, for a standby does not know its locks: what a standby refuses is
/// asked there.
#[rstest]
#[tokio::test]
async fn what_only_the_primary_knows_is_asked_there() {
    let following = following().await;
    let head = async |of_standby: bool| {
        let (begin, url) = ("SET ROLE bedplate_app; SET app.tenant_id = ", &following.primary.urls.app);
        let url = if of_standby { following.standby.url(url) } else { url.clone() };
        let mut client = connection(&url).await;
        execute(&mut client, &format!("{begin}'{}'", following.home.tenant)).await;
        diesel_async::SimpleAsyncConnection::batch_execute(&mut client, "SELECT event_head()").await
    };
    assert!(head(true).await.unwrap_err().to_string().contains("primary"));
    head(false).await.unwrap();
    let reads = following.database.replica();
    let served = reads.tenant_read("head", &following.home.context, async |tx| tx.events().head().await);
    assert_eq!(served.await.unwrap(), 0);
}
