//! Migrations outside of a transaction: no dead end, no INVALID index; and the locks that migrations wait for.

use std::time::{Duration, Instant};

use bedplate::database::migrate::{self, Difference, Event, MigrationState, Options, Outcome, Repair};
use bedplate::{DatabaseUrl, Error};
use rstest::rstest;
use tokio::sync::oneshot;

use crate::support::{Folder, connection, empty_db, execute, number, texts, until};

const NAME: &str = "2026-01-01-000000_one";
const NEXT: &str = "2026-01-02-000000_two";

async fn indexes(url: &DatabaseUrl) -> Vec<String> {
    let sql = "SELECT indexrelid::regclass || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END FROM pg_index \
                WHERE indrelid::regclass::text IN ('a', 'b') ORDER BY 1";
    texts(&mut connection(url).await, sql).await
}

#[rstest]
#[tokio::test]
async fn several_concurrent_indexes_in_one_file_work(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[]);
    folder.add_bare(
        NAME,
        "CREATE TABLE a (x int, y int); CREATE INDEX CONCURRENTLY a_x ON a (x); CREATE INDEX CONCURRENTLY a_y ON a (y)",
        "DROP INDEX CONCURRENTLY a_y; DROP INDEX CONCURRENTLY a_x; DROP TABLE a",
    );
    folder.up(&empty_db).await.unwrap();
    assert_eq!(indexes(&empty_db).await, ["a_x", "a_y"]);
    folder.down(&empty_db).await.unwrap();
    assert_eq!(indexes(&empty_db).await, Vec::<String>::new());
}

/// 1. The second of three statements fails: the first is in the database, and that is told.
/// 2. A changed first statement is refused.
/// 3. The mended second statement and the third run, the first does not run again.
#[rstest]
#[tokio::test]
async fn what_failed_half_way_goes_on_from_there(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[]);
    let up = |first: &str, second: &str| format!("{first};\n{second};\nINSERT INTO a VALUES (3)");
    folder.add_bare(NAME, &up("CREATE TABLE a (id int)", "INSERT INTO nowhere VALUES (2)"), "DROP TABLE a");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(
        error.contains("up.sql line 2, statement 2 of 3") && error.contains("statements 1 to 1 are in the database"),
        "{error}"
    );
    assert_eq!(folder.status(&empty_db).await, [(NAME.into(), MigrationState::Interrupted, vec!["interrupted"])]);

    folder.write(NAME, "up.sql", &up("CREATE TABLE a (id bigint)", "INSERT INTO a VALUES (2)"));
    let Err(Error::Drift { problems }) = folder.up(&empty_db).await else { panic!("it is not refused") };
    assert!(problems[0].message.starts_with("is half applied, and statement 1 was changed"), "{problems:?}");
    assert_eq!(problems[0].difference, Difference::Edited);

    folder.write(NAME, "up.sql", &up("CREATE TABLE a (id int) /* as before */", "INSERT INTO a VALUES (2)"));
    folder.up(&empty_db).await.unwrap();
    assert_eq!(texts(&mut connection(&empty_db).await, "SELECT id FROM a ORDER BY id").await, ["2", "3"]);
    assert_eq!(folder.status(&empty_db).await, [(NAME.into(), MigrationState::Applied, vec![])]);
}

/// The other way out: what ran is taken back by hand, and forgotten.
#[rstest]
#[tokio::test]
async fn what_failed_half_way_can_be_forgotten(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, "CREATE TABLE a (id int); INSERT INTO nowhere VALUES (2)", "DROP TABLE a");
    folder.up(&empty_db).await.unwrap_err();
    execute(&mut connection(&empty_db).await, "DROP TABLE a").await;
    let forget = [Repair::Forget(NAME.into())];
    migrate::repair(&empty_db, &folder.source(), &forget, &Options::default(), |_| {}).await.unwrap();
    folder.write(NAME, "up.sql", "CREATE TABLE a (id bigint)");
    assert_eq!(folder.up(&empty_db).await.unwrap(), [NAME]);
}

/// A file's own `BEGIN … COMMIT` stays one transaction; in a migration that is one, it changes nothing.
#[rstest]
#[case(true)]
#[case(false)]
#[tokio::test]
async fn transactions_of_the_file_are_kept(#[future(awt)] empty_db: DatabaseUrl, #[case] run_in_transaction: bool) {
    let folder = Folder::new(&[]);
    let up = "BEGIN; CREATE TABLE a (id int); INSERT INTO nowhere VALUES (1); COMMIT";
    folder.add(NAME, up, "DROP TABLE a");
    folder.write(NAME, "metadata.toml", &format!("run_in_transaction = {run_in_transaction}\n"));
    folder.up(&empty_db).await.unwrap_err();
    let mut owner = connection(&empty_db).await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM pg_class WHERE relname = 'a'").await, 0);
    folder.write(NAME, "up.sql", &up.replace("nowhere", "a"));
    folder.up(&empty_db).await.unwrap();
    assert_eq!(number(&mut owner, "SELECT count(*) FROM a").await, 1);
}

/// A unique index that cannot be built leaves no INVALID one; when the rows are mended it is built.
#[rstest]
#[tokio::test]
async fn a_failed_concurrent_index_leaves_no_invalid_one(#[future(awt)] empty_db: DatabaseUrl) {
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (1)").await;
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, "CREATE UNIQUE INDEX CONCURRENTLY a_id_key ON a (id)", "DROP INDEX CONCURRENTLY a_id_key");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("could not create unique index") && error.contains("Key (id)=(1) is duplicated"), "{error}");
    assert_eq!(indexes(&empty_db).await, Vec::<String>::new());
    execute(&mut owner, "DELETE FROM a").await;
    folder.up(&empty_db).await.unwrap();
    assert_eq!(indexes(&empty_db).await, ["a_id_key"]);
}

/// What an interrupted build of another tool left is dropped and built again, where it has the name that the migration
/// gives; a valid one of the same name that nobody recorded is an error.
#[rstest]
#[case("CREATE INDEX CONCURRENTLY a_id ON a (id)", "a_id")]
#[case("CREATE INDEX CONCURRENTLY IF NOT EXISTS a_id ON a (id)", "a_id")]
#[tokio::test]
async fn an_invalid_index_is_built_again(#[future(awt)] empty_db: DatabaseUrl, #[case] up: &str, #[case] name: &str) {
    use diesel_async::SimpleAsyncConnection as _;
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (1)").await;
    let unique = up.replace("INDEX", "UNIQUE INDEX");
    owner.batch_execute(&unique).await.unwrap_err();
    assert_eq!(indexes(&empty_db).await, [format!("{name} INVALID")]);
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, up, "SELECT 1");
    folder.up(&empty_db).await.unwrap();
    assert_eq!(indexes(&empty_db).await, [name]);
}

/// 1. A transaction of somebody else has read the table.
/// 2. The runner builds the index, which waits for that transaction. Its process is killed.
/// 3. The server notices within a second and lets the runner's lock go.
/// 4. The next runner finds the INVALID index, drops it and builds it. The run before it does not stay "running".
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_in_a_concurrent_build_leaves_nothing_locked(#[future(awt)] empty_db: DatabaseUrl) {
    let mut reader = connection(&empty_db).await;
    execute(&mut reader, "CREATE TABLE a (id int)").await;
    execute(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM a").await;
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, "CREATE TABLE b (id int); CREATE INDEX CONCURRENTLY a_id ON a (id)", "SELECT 1");
    let arguments = ["migrate", "--dir", folder.path().to_str().unwrap(), "--url", empty_db.reveal()];
    let mut runner = std::process::Command::new(env!("CARGO_BIN_EXE_bedplate"));
    let mut runner = runner.args(arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut watcher = connection(&empty_db).await;
    let building = "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%' AND datname = current_database()";
    until(&mut watcher, building).await;
    runner.kill().unwrap();
    runner.wait().unwrap();
    let runners = "SELECT (NOT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) \
                    WHERE locktype = 'advisory' AND datname = current_database()))::int";
    until(&mut watcher, runners).await;
    assert_eq!(indexes(&empty_db).await, ["a_id INVALID"]);
    assert_eq!(
        folder.status(&empty_db).await,
        [(NAME.into(), MigrationState::Interrupted, vec!["interrupted", "may_have_run"])]
    );
    execute(&mut reader, "COMMIT").await;
    folder.up(&empty_db).await.unwrap();
    assert_eq!(indexes(&empty_db).await, ["a_id"]);
    let runs = migrate::history(&empty_db).await.unwrap();
    let ended: Vec<_> = runs.iter().map(|run| (run.outcome, run.error.as_deref())).collect();
    assert_eq!(ended, [(Outcome::Failed, Some("the runner was killed")), (Outcome::Done, None)]);
}

/// 1. A transaction of somebody else has written to the table.
/// 2. The runner builds an index, which waits for it; it tells how the build stands, and for whom it waits.
/// 3. The transaction ends, and the build goes on, however short the lock timeout is.
#[rstest]
#[tokio::test]
async fn the_progress_of_a_build_is_told(#[future(awt)] empty_db: DatabaseUrl) {
    let mut writer = connection(&empty_db).await;
    execute(&mut writer, "CREATE TABLE a (id int)").await;
    execute(&mut writer, "SET application_name = 'writer'; BEGIN; INSERT INTO a VALUES (1)").await;
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, "CREATE INDEX CONCURRENTLY a_id ON a (id)", "SELECT 1");
    let options = Options { lock_timeout: Some(Duration::from_millis(100)), ..Options::default() };
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let building = folder.up_with(&empty_db, options, move |event| {
        if let Event::Working { how } = event {
            tell.send(how).unwrap();
        }
    });
    let (done, how) = tokio::join!(building, async {
        let how = told.recv().await.unwrap();
        execute(&mut writer, "COMMIT").await;
        how
    });
    assert!(how.starts_with("CREATE INDEX CONCURRENTLY: waiting for writers before build"), "{how}");
    assert!(how.contains("waits for pid ") && how.contains("writer, idle in transaction"), "{how}");
    assert_eq!(done.unwrap(), [NAME]);
    assert_eq!(indexes(&empty_db).await, ["a_id"]);
}

/// The index was built, and the runner killed before it could record that: it is not built twice.
/// A runner leaves it so that was killed behind the statement's end: `sent` says what there was before.
#[rstest]
#[tokio::test]
async fn a_build_that_nobody_recorded_is_taken_as_it_is(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, "CREATE TABLE a (id int); CREATE INDEX CONCURRENTLY a_id ON a (nothing)", "SELECT 1");
    folder.up(&empty_db).await.unwrap_err();
    let killed = "CREATE INDEX a_id ON a (id); \
                  UPDATE __bedplate_migrations SET outcome = 'running', error = NULL, sent = '{\"statement\": 1}'";
    execute(&mut connection(&empty_db).await, killed).await;
    folder.write(NAME, "up.sql", "CREATE TABLE a (id int); CREATE INDEX CONCURRENTLY a_id ON a (id)");
    let status = folder.status(&empty_db).await;
    assert_eq!(status, [(NAME.into(), MigrationState::Interrupted, vec!["interrupted", "may_have_run"])]);
    folder.up(&empty_db).await.unwrap();
    assert_eq!(indexes(&empty_db).await, ["a_id"]);
}

/// The same for the first statement, of which the history knows only that its run began.
#[rstest]
#[tokio::test]
async fn a_first_statement_that_nobody_recorded_is_taken_as_it_is(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, "CREATE INDEX CONCURRENTLY a_id ON a (id)", "SELECT 1");
    folder.up(&empty_db).await.unwrap_err();
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "CREATE TABLE a (id int); CREATE INDEX a_id ON a (id)").await;
    folder.up(&empty_db).await.unwrap_err();
    // As a runner leaves it that is killed.
    let killed = "UPDATE __bedplate_migrations SET outcome = 'running', error = NULL, sent = '{\"statement\": 0}'";
    execute(&mut owner, killed).await;
    folder.up(&empty_db).await.unwrap();
    assert_eq!(indexes(&empty_db).await, ["a_id"]);
}

/// 1. A transaction has read the table, and stays open.
/// 2. The migration wants to alter the table, waits for the lock timeout, and gives up for a while.
/// 3. Readers come all the time: none of them waits for longer than the lock timeout.
/// 4. When the transaction ends, the migration gets through by itself.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_long_transaction_readers_wait_at_most_the_lock_timeout(#[future(awt)] empty_db: DatabaseUrl) {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let mut long = connection(&empty_db).await;
    execute(&mut long, "CREATE TABLE a (id int)").await;
    execute(&mut long, "BEGIN; SELECT * FROM a").await;
    let folder = Folder::new(&[(NAME, "CREATE TABLE b (id int); ALTER TABLE a ADD COLUMN more int", "SELECT 1")]);
    let options = Options { lock_timeout: Some(TIMEOUT), ..Options::default() };
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (url, source) = (empty_db.clone(), folder.source());
    let migration = tokio::spawn(async move {
        let on_event = move |event| {
            if let Event::Blocked { by, .. } = event {
                tell.send(by).unwrap();
            }
        };
        migrate::run_with(&url, &source, migrate::Direction::Up, &options, on_event).await
    });
    let (stop, mut stopped) = oneshot::channel::<()>();
    let url = empty_db.clone();
    let readers = tokio::spawn(async move {
        let mut reader = connection(&url).await;
        let (mut longest, mut waited) = (Duration::ZERO, 0);
        while stopped.try_recv().is_err() {
            let began = Instant::now();
            execute(&mut reader, "SELECT * FROM a").await;
            longest = longest.max(began.elapsed());
            waited += i32::from(began.elapsed() > TIMEOUT / 3);
        }
        (longest, waited)
    });
    // A busy machine may see who holds it only at a later try.
    while !told.recv().await.unwrap().starts_with("ALTER TABLE a ADD COLUMN more int waited for pid ") {}
    execute(&mut long, "COMMIT").await;
    assert_eq!(migration.await.unwrap().unwrap(), [NAME]);
    stop.send(()).unwrap();
    let (longest, waited) = readers.await.unwrap();
    assert!(waited > 0, "no reader ever came behind the migration");
    // Twice, for a machine that is busy.
    assert!(longest < TIMEOUT * 2, "a reader waited for {longest:?}");
}

/// The same for the message: who holds the lock is told, and what was tried in vain leaves nothing.
#[rstest]
#[tokio::test]
async fn a_lock_that_is_never_let_go_is_told_with_its_holder(#[future(awt)] empty_db: DatabaseUrl) {
    let mut other = connection(&empty_db).await;
    execute(&mut other, "SET application_name = 'report'; CREATE TABLE a (id int)").await;
    execute(&mut other, "BEGIN; SELECT * FROM a").await;
    let folder = Folder::new(&[(NAME, "CREATE TABLE b (id int); ALTER TABLE a ADD COLUMN more int", "SELECT 1")]);
    let options = Options {
        lock_timeout: Some(Duration::from_millis(1500)),
        retry_for: Duration::from_millis(1),
        ..Options::default()
    };
    let error = folder.up_with(&empty_db, options, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("canceling statement due to lock timeout; it was held by pid "), "{error}");
    assert!(error.contains("report, idle in transaction"), "{error}");
    assert_eq!(number(&mut connection(&empty_db).await, "SELECT count(*) FROM pg_class WHERE relname = 'b'").await, 0);
}

/// Every row is changed, in more than one transaction; rows that are locked are waited for; the diesel CLI would run the
/// same file in one piece.
#[rstest]
#[tokio::test]
async fn a_backfill_goes_in_batches(#[future(awt)] empty_db: DatabaseUrl) {
    let mut owner = connection(&empty_db).await;
    execute(
        &mut owner,
        "CREATE TABLE a (id int, twice int, batch xid8); INSERT INTO a SELECT g FROM generate_series(1, 60000) AS g",
    )
    .await;
    let folder = Folder::new(&[]);
    folder.add_bare(
        NAME,
        "UPDATE a SET twice = 2 * id, batch = pg_current_xact_id() WHERE twice IS NULL /* batch */;",
        "UPDATE a AS t SET twice = NULL WHERE (twice > 0 OR twice < 0) /* batch */",
    );
    let mut told = Vec::new();
    let done = folder.up_with(&empty_db, Options::default(), |event| {
        if let Event::Working { how } = event {
            told.push(how);
        }
    });
    done.await.unwrap();
    assert!(told.iter().any(|how| how == "60000 rows, 100 % of the table"), "{told:?}");
    assert_eq!(number(&mut owner, "SELECT count(*) FROM a WHERE twice = 2 * id").await, 60000);
    assert!(number(&mut owner, "SELECT count(DISTINCT batch::text) FROM a").await > 1);
    folder.down(&empty_db).await.unwrap();
    assert_eq!(number(&mut owner, "SELECT count(*) FROM a WHERE twice IS NULL").await, 60000);
}

#[rstest]
#[case("UPDATE a SET id = id + 1 WHERE id > 0 /* batch */", "the condition holds for rows that were changed")]
#[case("UPDATE a SET id = 1 WHERE id = 2 OR id = 3 /* batch */", "put its OR into parentheses")]
#[case("UPDATE a SET id = 1 /* batch */", "behind the condition of its WHERE")]
#[case("INSERT INTO a VALUES (1) /* batch */", "which is for UPDATE and DELETE")]
#[tokio::test]
async fn a_backfill_that_cannot_be_cut_is_told(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
    #[case] expected: &str,
) {
    execute(&mut connection(&empty_db).await, "CREATE TABLE a (id int); INSERT INTO a VALUES (2)").await;
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, up, "SELECT 1");
    folder.add(NEXT, "CREATE TABLE b (id int)", "DROP TABLE b");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert_eq!(number(&mut connection(&empty_db).await, "SELECT count(*) FROM pg_class WHERE relname = 'b'").await, 0);
}
