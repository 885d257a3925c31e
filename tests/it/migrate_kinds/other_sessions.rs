//! Other sessions, while a migration runs.

use std::time::{Duration, Instant};

use bedplate::DatabaseUrl;
use rstest::rstest;

use super::{answer, command};
use crate::support::{Folder, connection, empty_db, execute, number, texts, until};

const NAME: &str = "2026-01-01-000000_a";

/// 1. A statement that leaves a row runs outside of the file's transactions.
/// 2. While it sleeps, another session locks the history, for longer than the runner waits for a lock.
/// 3. The lock is let go. The migration is applied, and each row is there once.
#[rstest]
#[case::block("DO $$ BEGIN INSERT INTO ledger VALUES (100); PERFORM pg_sleep(0.5); END $$", "__bedplate_migrations", 1)]
#[case::call("CALL p(0)", "__bedplate_migrations", 1)]
#[case::call_that_commits(
    "DO $$ BEGIN INSERT INTO ledger VALUES (1); COMMIT; PERFORM pg_sleep(0.5); INSERT INTO ledger VALUES (2); END $$",
    "__bedplate_migrations",
    2
)]
#[case::before_the_end("CALL p(1)", "__diesel_schema_migrations", 1)]
#[tokio::test]
async fn a_locked_history_repeats_nothing(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] sql: &str,
    #[case] table: &str,
    #[case] rows: i64,
) {
    let mut owner = connection(&empty_db).await;
    let setup = "CREATE TABLE ledger (amount int); CREATE PROCEDURE p(n int) LANGUAGE plpgsql AS \
                 $$ BEGIN INSERT INTO ledger VALUES (n); PERFORM pg_sleep(0.5); END $$";
    execute(&mut owner, setup).await;
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, sql, "SELECT 1");
    let mut runner = command(folder.path(), &empty_db, &["up", "--lock-timeout", "100"]).spawn().unwrap();
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    until(&mut owner, sleeping).await;
    execute(&mut owner, &format!("BEGIN; LOCK TABLE {table} IN SHARE MODE")).await;
    let (held, mut waits) = (Instant::now(), std::collections::BTreeSet::new());
    // Three waits are more than one try.
    while waits.len() < 3 && held.elapsed() < Duration::from_secs(5) && runner.try_wait().unwrap().is_none() {
        let waiting = format!("SELECT waitstart FROM pg_locks WHERE relation = '{table}'::regclass AND NOT granted");
        waits.extend(texts(&mut owner, &waiting).await);
    }
    execute(&mut owner, "COMMIT").await;
    answer(runner.wait_with_output().unwrap()).well();
    assert!(!waits.is_empty(), "the runner never waited");
    assert_eq!(number(&mut owner, "SELECT count(*) FROM ledger").await, rows);
}

/// 1. A transaction has written to `t`, and stays open.
/// 2. Another session works on an index of `t` concurrently, which waits for that transaction; an INVALID index is there.
/// 3. The runner wants to build an index on `t`, and waits for the other session for longer than `deadlock_timeout`.
/// 4. The transaction ends. In the end both indexes are there and valid.
#[rstest]
#[case::another_column(
    "CREATE INDEX CONCURRENTLY ON t (x)",
    "CREATE INDEX CONCURRENTLY ON t (y)",
    "t_x_idx t_y_idx there"
)]
#[case::the_same_column(
    "CREATE INDEX CONCURRENTLY ON t (y)",
    "CREATE INDEX CONCURRENTLY ON t (y)",
    "t_y_idx t_y_idx1 there"
)]
#[case::rebuilt("REINDEX INDEX CONCURRENTLY there", "CREATE INDEX CONCURRENTLY ON t (y)", "t_y_idx there")]
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_another_session_builds_stays(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] other: &'static str,
    #[case] own: &str,
    #[case] expected: &str,
) {
    let mut writer = connection(&empty_db).await;
    execute(&mut writer, "CREATE TABLE t (x int, y int); CREATE INDEX there ON t (x, y)").await;
    execute(&mut writer, "BEGIN; INSERT INTO t VALUES (1, 1)").await;
    let mut builder = connection(&empty_db).await;
    let built = tokio::spawn(async move { execute(&mut builder, other).await });
    let mut watcher = connection(&empty_db).await;
    until(&mut watcher, "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass AND NOT indisvalid").await;
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, own, "SELECT 1");
    let runner = command(folder.path(), &empty_db, &["up"]).spawn().unwrap();
    // Longer than deadlock_timeout: a runner that waits with a snapshot is the death of the other session.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'bedplate migrate' AND backend_start < clock_timestamp() - interval '3 s'";
    until(&mut watcher, waiting).await;
    execute(&mut writer, "COMMIT").await;
    built.await.unwrap();
    answer(runner.wait_with_output().unwrap()).well();
    let indexes = "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
                   WHERE indrelid = 't'::regclass AND indisvalid ORDER BY relname";
    let mut found = texts(&mut watcher, indexes).await;
    found.sort();
    assert_eq!(found.join(" "), expected);
}
