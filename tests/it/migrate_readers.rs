//! What readers notice of a migration that has to wait, and which lock timeout is used.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bedplate::DatabaseUrl;
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::support::{Folder, connection, empty_db, execute, number, texts, until};

const NAME: &str = "2026-01-01-000000_more";
/// What a query takes on a machine that is busy.
const NOT_BLOCKED: Duration = Duration::from_millis(20);
/// Readers come as requests do, not as fast as one processor can.
const BETWEEN_QUERIES: Duration = Duration::from_millis(2);

/// The migration as a process, with no options but these.
fn up(folder: &Folder, url: &str, options: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    command.args(["migrate", "--url", url, "--dir"]).arg(folder.path()).arg("up").args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

async fn ends_well(runner: Child) {
    let done = tokio::time::timeout(Duration::from_mins(1), runner.wait_with_output()).await;
    let done = done.expect("the runner hangs").unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Queries one table after the other until it is told to stop, or a table is gone. Returns how long its queries were
/// blocked in all, and their number.
fn reader(url: &DatabaseUrl, tables: &'static [&'static str], stop: &Arc<AtomicBool>) -> JoinHandle<(Duration, u32)> {
    let (url, stop) = (url.clone(), stop.clone());
    tokio::spawn(async move {
        let mut session = connection(&url).await;
        let (mut blocked, mut queries) = (Duration::ZERO, 0);
        while !stop.load(Ordering::Relaxed) {
            for table in tables {
                let asked = Instant::now();
                let read = session.batch_execute(&format!("SELECT count(*) FROM {table}")).await;
                blocked += asked.elapsed().saturating_sub(NOT_BLOCKED);
                queries += 1;
                if let Err(error) = read {
                    assert!(error.to_string().contains("does not exist"), "{error}");
                    return (blocked, queries);
                }
            }
            tokio::time::sleep(BETWEEN_QUERIES).await;
        }
        (blocked, queries)
    })
}

/// 1. A transaction reads table `a`, and stays open for 6 s.
/// 2. The runner wants a lock on `a` that excludes readers; in some cases it holds one on `b` by then.
/// 3. Four readers read both tables all the while; another one reads a table that the migration does not touch.
/// 4. The transaction ends, and the migration is applied within a second.
/// 5. No reader was blocked for more than 0.5 s in all, beyond what the other one waited for the machine.
#[rstest]
#[case::add_column("ALTER TABLE a ADD COLUMN more int", true)]
#[case::add_column_bare("ALTER TABLE a ADD COLUMN more int", false)]
#[case::another_is_locked("ALTER TABLE b ADD COLUMN more int; ALTER TABLE a ADD COLUMN more int", true)]
#[case::drop_table("CREATE TABLE c (id int); DROP TABLE a", true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_transaction_of_six_seconds_readers_hardly_wait(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] sql: &str,
    #[case] run_in_transaction: bool,
) {
    let mut long = connection(&empty_db).await;
    execute(&mut long, "CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE beside (id int)").await;
    let folder = Folder::new(&[(NAME, sql, "SELECT 1")]);
    folder.write(NAME, "metadata.toml", &format!("run_in_transaction = {run_in_transaction}\n"));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4).map(|_| reader(&empty_db, &["a", "b"], &stop)).collect();
    let beside = reader(&empty_db, &["beside", "beside"], &stop);

    execute(&mut long, "BEGIN; SELECT * FROM a").await;
    let began = Instant::now();
    let runner = up(&folder, empty_db.reveal(), &[]);
    // The scenario is a transaction of this length.
    tokio::time::sleep(Duration::from_secs(6)).await;
    execute(&mut long, "COMMIT").await;
    let (length, ended) = (began.elapsed(), Instant::now());
    ends_well(runner).await;
    let took = ended.elapsed();
    stop.store(true, Ordering::Relaxed);

    let machine = beside.await.unwrap().0;
    let mut worst = Duration::ZERO;
    for reader in readers {
        let (blocked, queries) = reader.await.unwrap();
        assert!(queries > 100, "a reader made {queries} queries only");
        worst = worst.max(blocked);
    }
    println!("{sql}: open for {length:?}, applied {took:?} after it, blocked {worst:?}, beside {machine:?}");
    assert!(worst <= Duration::from_millis(500) + machine, "a reader was blocked for {worst:?} (beside: {machine:?})");
    assert!(took <= Duration::from_secs(1) + machine, "it was applied {took:?} after the transaction ended");
}

/// 1. Six readers have a transaction of about 50 ms each, one after the other: at each moment one is open.
/// 2. The runner wants to alter the table that they read: a lock that is tried for without waiting is never to be had.
/// 3. It gets through.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_readers_that_overlap_a_migration_gets_through(#[future(awt)] empty_db: DatabaseUrl) {
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "CREATE TABLE a (id int)").await;
    let folder = Folder::new(&[(NAME, "ALTER TABLE a ADD COLUMN more int", "SELECT 1")]);
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..6)
        .map(|n| {
            let (url, stop) = (empty_db.clone(), stop.clone());
            tokio::spawn(async move {
                let mut session = connection(&url).await;
                let mut transactions = 0;
                while !stop.load(Ordering::Relaxed) {
                    // In one statement: the transaction is open for as long as the server says.
                    let hold = 0.040 + 0.004 * f64::from(n);
                    execute(&mut session, &format!("BEGIN; SELECT * FROM a; SELECT pg_sleep({hold}); COMMIT")).await;
                    transactions += 1;
                }
                transactions
            })
        })
        .collect();
    let held = "SELECT count(*) FROM pg_locks WHERE relation = 'a'::regclass AND granted AND mode = 'AccessShareLock'";
    until(&mut owner, &format!("SELECT (({held}) >= 4)::int")).await;
    let began = Instant::now();
    ends_well(up(&folder, empty_db.reveal(), &[])).await;
    println!("through after {:?}", began.elapsed());
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert_eq!(number(&mut owner, "SELECT count(*) FROM pg_attribute WHERE attname = 'more'").await, 1);
}

/// Where a lock timeout of the user's own is said.
#[derive(Debug, Clone, Copy)]
enum Said {
    Url,
    Role,
    Database,
    File,
}

/// 1. A transaction reads the table, and stays open.
/// 2. The user has said how long to wait for a lock: in the URL, for the role, for the database, or in the file.
/// 3. The runner wants to alter the table. It waits for that long, neither for less nor for more, and tries again.
/// 4. The transaction ends, and the migration is applied.
#[rstest]
#[case::url(Said::Url)]
#[case::role(Said::Role)]
#[case::database(Said::Database)]
#[case::file(Said::File)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_timeout_of_the_users_own_is_kept(#[future(awt)] empty_db: DatabaseUrl, #[case] said: Said) {
    // Far from what a runner chooses by itself.
    const OWN: Duration = Duration::from_millis(900);
    let mut long = connection(&empty_db).await;
    execute(&mut long, "CREATE TABLE a (id int)").await;
    let name = empty_db.database();
    let mut url = empty_db.reveal().to_owned();
    let mut sql = "ALTER TABLE a ADD COLUMN more int".to_owned();
    match said {
        Said::Url => {
            let separator = if url.contains('?') { '&' } else { '?' };
            url = format!("{url}{separator}options=-c%20lock_timeout%3D{}", OWN.as_millis());
        }
        Said::Role => {
            let set = format!("ALTER ROLE CURRENT_USER IN DATABASE {name} SET lock_timeout = {}", OWN.as_millis());
            execute(&mut long, &set).await;
        }
        Said::Database => {
            execute(&mut long, &format!("ALTER DATABASE {name} SET lock_timeout = {}", OWN.as_millis())).await;
        }
        Said::File => sql = format!("SET lock_timeout = {}; {sql}", OWN.as_millis()),
    }
    let folder = Folder::new(&[(NAME, &sql, "SELECT 1")]);
    execute(&mut long, "BEGIN; SELECT * FROM a").await;
    let runner = up(&folder, &url, &[]);
    let mut watcher = connection(&empty_db).await;
    let waited = longest_of_two_waits(&mut watcher, OWN * 3).await;
    execute(&mut long, "COMMIT").await;
    ends_well(runner).await;
    let close = Duration::from_millis(300);
    assert!(waited + close >= OWN && waited <= OWN + close, "{said:?}: it waited for {waited:?}");
}

/// How long the first waits for a lock on `a` took, as the server has it: until the third one begins, or for `at_most`.
async fn longest_of_two_waits(watcher: &mut diesel_async::AsyncPgConnection, at_most: Duration) -> Duration {
    let waits = "SELECT waitstart || ' ' || (1000000 * extract(epoch FROM clock_timestamp() - waitstart))::bigint \
                   FROM pg_locks WHERE relation = 'a'::regclass AND NOT granted AND waitstart IS NOT NULL";
    let (mut starts, mut longest) = (Vec::new(), Duration::ZERO);
    let asked = Instant::now();
    while starts.len() < 3 && asked.elapsed() < at_most {
        for wait in texts(watcher, waits).await {
            let (start, micros) = wait.rsplit_once(' ').unwrap();
            longest = longest.max(Duration::from_micros(micros.parse().unwrap()));
            if !starts.iter().any(|known| known == start) {
                starts.push(start.to_owned());
            }
        }
        tokio::time::sleep(BETWEEN_QUERIES).await;
    }
    assert!(!starts.is_empty(), "it never waited");
    longest
}
