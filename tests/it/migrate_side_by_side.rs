//! Any number of runners at once.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use bedplate::database::migrate::{self, Direction, Event, Options};
use bedplate::{DatabaseUrl, Error};
use futures_util::future::join_all;
use rstest::{fixture, rstest};

use crate::support::{Folder, connection, empty_db, execute, number, texts, until};

const RUNNERS: usize = 20;
const ROUNDS: usize = 10;
const MIGRATIONS: usize = 12;

/// A dozen, with an index that waits for every other transaction: a runner that waits in a blocking way would be a
/// deadlock.
#[fixture]
fn folder() -> Folder {
    let folder = Folder::new(&[]);
    for n in 0..MIGRATIONS {
        let name = format!("2026-01-{:02}-000000_step", n + 1);
        if n % 4 == 3 {
            let index = format!("CREATE INDEX CONCURRENTLY index_{n} ON table_{} (id)", n - 1);
            folder.add_bare(&name, &index, &format!("DROP INDEX CONCURRENTLY index_{n}"));
        } else {
            let table =
                format!("CREATE TABLE table_{n} (id int); INSERT INTO table_{n} SELECT generate_series(1, 1000)");
            folder.add(&name, &table, &format!("DROP TABLE table_{n}"));
        }
    }
    folder
}

/// Each migration was applied once: its table would have failed twice, its rows would be double, and the history has
/// one run of each.
async fn each_once(url: &DatabaseUrl) {
    let mut owner = connection(url).await;
    let versions = "SELECT count(*) FROM __diesel_schema_migrations";
    assert_eq!(number(&mut owner, versions).await, i64::try_from(MIGRATIONS).unwrap());
    let done = texts(&mut owner, "SELECT version FROM __bedplate_migrations WHERE outcome = 'done' ORDER BY 1").await;
    assert_eq!(done.len(), MIGRATIONS);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM pg_index WHERE NOT indisvalid").await, 0);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM table_0").await, 1000);
}

/// 1. Twenty runners start together on an empty database.
/// 2. One works, the others wait, and find nothing left.
/// 3. No failure; each migration was applied once. Ten times.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn twenty_runners_apply_each_migration_once(folder: Folder) {
    for _ in 0..ROUNDS {
        let url = empty_db().await;
        let runners = (0..RUNNERS).map(|_| {
            let (url, source) = (url.clone(), folder.source());
            tokio::spawn(async move { migrate::run(&url, &source, Direction::Up, |_| {}).await })
        });
        let applied: Vec<_> = join_all(runners).await.into_iter().map(|done| done.unwrap().unwrap().len()).collect();
        assert_eq!(applied.iter().sum::<usize>(), MIGRATIONS, "{applied:?}");
        each_once(&url).await;
    }
}

/// 1. Twenty processes start together on an empty database.
/// 2. The one that works is killed at its third migration (in every other round at its fourth, an index).
/// 3. Another takes over. No failure but the killed one; each migration was applied once. Ten times.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_runner_is_replaced(folder: Folder) {
    for round in 0..ROUNDS {
        let url = empty_db().await;
        let (tell, told) = mpsc::channel();
        let mut runners: Vec<Option<Child>> =
            (0..RUNNERS).map(|n| Some(start(&folder, &url, n, tell.clone()))).collect();
        drop(tell);
        let at = format!("migration {} of", 3 + round % 2);
        // Lines come until the last runner has ended.
        let working = told.iter().find(|(_, line)| line.contains(&at)).map(|(n, _)| n).unwrap();
        let mut killed = runners[working].take().unwrap();
        killed.kill().unwrap();
        killed.wait().unwrap();
        let rest: Vec<_> = told.iter().collect();
        for runner in runners.into_iter().flatten() {
            let output = runner.wait_with_output().unwrap();
            assert!(output.status.success(), "{rest:?}");
        }
        let again = migrate::run(&url, &folder.source(), Direction::Up, |_| {}).await.unwrap();
        assert_eq!(again, Vec::<String>::new());
        each_once(&url).await;
    }
}

/// A process, whose lines are sent on with its number.
fn start(folder: &Folder, url: &DatabaseUrl, number: usize, tell: mpsc::Sender<(usize, String)>) -> Child {
    let mut bedplate = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    bedplate.args(["migrate", "--dir"]).arg(folder.path()).args(["--url", url.reveal()]);
    let mut child = bedplate.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send((number, line))));
    child
}

/// 1. Somebody holds the runners' lock.
/// 2. A runner says for whom it waits, and gives up at its limit.
/// 3. With a longer limit it goes on when the lock is let go.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_says_for_whom_it_waits_and_for_how_long(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    let mut other = connection(&empty_db).await;
    execute(&mut other, &format!("SELECT pg_advisory_lock({})", i64::from_be_bytes(*b"bedplate"))).await;
    let pid = number(&mut other, "SELECT pg_backend_pid()").await;
    let options = Options { wait_for_runner: std::time::Duration::from_millis(1), ..Options::default() };
    let error = folder.up_with(&empty_db, options, |_| {}).await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { message } if message.contains(&format!("pid {pid}"))), "{error:?}");
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let waiting = folder.up_with(&empty_db, Options::default(), move |event| {
        if let Event::Waiting { runner } = event {
            tell.take().into_iter().for_each(|tell| tell.send(runner.clone()).unwrap());
        }
    });
    let (done, ()) = tokio::join!(waiting, async {
        assert!(told.await.unwrap().starts_with(&format!("pid {pid}")));
        execute(&mut other, "SELECT pg_advisory_unlock_all()").await;
    });
    assert_eq!(done.unwrap().len(), MIGRATIONS);
}

/// A runner that waits asks again and again, and has no snapshot open that an index would wait for.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_runner_holds_nothing(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    let mut other = connection(&empty_db).await;
    execute(&mut other, &format!("SELECT pg_advisory_lock({})", i64::from_be_bytes(*b"bedplate"))).await;
    let (url, source) = (empty_db.clone(), folder.source());
    let waiting = tokio::spawn(async move { migrate::run(&url, &source, Direction::Up, |_| {}).await });
    let asks = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bedplate migrate' \
                AND datname = current_database() AND state = 'idle' AND query LIKE '%pg_locks%'";
    until(&mut other, asks).await;
    execute(&mut other, "CREATE TABLE mine (id int)").await;
    execute(&mut other, "CREATE INDEX CONCURRENTLY mine_id ON mine (id)").await;
    execute(&mut other, "SELECT pg_advisory_unlock_all()").await;
    assert_eq!(waiting.await.unwrap().unwrap().len(), MIGRATIONS);
}
