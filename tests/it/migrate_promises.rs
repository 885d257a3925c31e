//! What the runner of migrations promises where something goes wrong around it: each statement runs once, in the session
//! that the statements before it have made, and nothing else is touched.

use std::time::Duration;

use bedplate::database::migrate::{self, Difference, Direction, Event, MigrationState, Options, Repair};
use bedplate::{DatabaseUrl, Error};
use rstest::rstest;

use crate::support::{Folder, connection, empty_db, execute, number, texts, until};

const ONE: &str = "2026-01-01-000000_one";
const TWO: &str = "2026-01-02-000000_two";
const THREE: &str = "2026-01-03-000000_three";

async fn repair(url: &DatabaseUrl, folder: &Folder, repair: Repair) -> Vec<String> {
    migrate::repair(url, &folder.source(), &[repair], &Options::default(), |_| {}).await.unwrap()
}

async fn go(url: &DatabaseUrl, folder: &Folder, direction: Direction) -> bedplate::Result<Vec<String>> {
    migrate::run(url, &folder.source(), direction, |_| {}).await
}

/// 1. A migration makes its session, and stops at a statement that fails.
/// 2. The mended migration goes on in a new session: what the statements before have set is there again.
#[rstest]
#[case::setting("SET app.tenant = '7'", "current_setting('app.tenant', true)", "7")]
#[case::set_config("SELECT set_config('app.tenant', '7', false)", "current_setting('app.tenant', true)", "7")]
#[case::set_config_in_do(
    "DO $$ BEGIN PERFORM set_config('app.tenant', '7', false); END $$",
    "current_setting('app.tenant', true)",
    "7"
)]
#[case::search_path("CREATE SCHEMA app; SET search_path = app, public", "current_schema()", "app")]
#[case::time_zone("SET TIME ZONE 'Asia/Tokyo'", "current_setting('TimeZone')", "Asia/Tokyo")]
#[case::role("SET ROLE \"$role\"", "current_user", "$role")]
#[case::role_that_was_reset("SET ROLE \"$role\"; RESET ROLE", "current_setting('role')", "none")]
#[case::lock_timeout("SET lock_timeout = '77s'", "current_setting('lock_timeout')", "77s")]
#[case::reset("SET app.tenant = '7'; RESET app.tenant", "coalesce(current_setting('app.tenant', true), '')", "")]
#[case::block("BEGIN; SET app.tenant = '7'; SELECT 1; COMMIT", "current_setting('app.tenant', true)", "7")]
#[case::local_block(
    "SET app.tenant = '7'; BEGIN; SET LOCAL app.tenant = '8'; SELECT 1; COMMIT",
    "current_setting('app.tenant', true)",
    "7"
)]
#[case::local_in_do(
    "SET app.tenant = '7'; DO $$ BEGIN PERFORM set_config('app.tenant', '8', true); END $$",
    "current_setting('app.tenant', true)",
    "7"
)]
#[tokio::test]
async fn a_migration_that_goes_on_finds_its_session_again(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] session: &str,
    #[case] shown: &str,
    #[case] expected: &str,
) {
    let folder = Folder::new(&[]);
    let role = format!("{}_role", empty_db.database());
    if session.contains("$role") {
        let made = format!("CREATE ROLE {role}; GRANT {role} TO CURRENT_USER; GRANT CREATE ON SCHEMA public TO {role}");
        execute(&mut connection(&empty_db).await, &made).await;
    }
    let (session, expected) = (session.replace("$role", &role), expected.replace("$role", &role));
    let up = |last: &str| format!("{session}; SELECT 1 / {last}; CREATE TABLE public.seen AS SELECT {shown} AS seen");
    folder.add_bare(ONE, &up("0"), "");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("division by zero"), "{error}");
    folder.write(ONE, "up.sql", &up("1"));
    folder.up(&empty_db).await.unwrap();
    let mut owner = connection(&empty_db).await;
    if expected == role {
        // Its table is the role's.
        execute(&mut owner, &format!("SET ROLE {role}")).await;
    }
    assert_eq!(texts(&mut owner, "SELECT seen FROM public.seen").await, [expected]);
    if session.contains("ROLE") {
        execute(&mut owner, &format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")).await;
    }
}

/// What ends with a session cannot be restored: the migration refuses to go on and names the statement, which may be
/// repeated then.
#[rstest]
#[case("CREATE TEMP TABLE t AS SELECT 7 AS n", "temporary table t", "SELECT n FROM t")]
#[case("CREATE TEMPORARY VIEW v AS SELECT 7 AS n", "temporary view v", "SELECT n FROM v")]
#[case("PREPARE p AS SELECT 7", "prepared statement p", "SELECT 7")]
#[case("DECLARE c CURSOR WITH HOLD FOR SELECT 7", "cursor c", "SELECT 7")]
#[case("LISTEN l", "LISTEN l", "SELECT 7")]
#[case("SELECT pg_advisory_lock(7)", "advisory lock 0, 7", "SELECT 7")]
#[case("DO $$ BEGIN CREATE TEMP TABLE t AS SELECT 7 AS n; END $$", "temporary table t", "SELECT n FROM t")]
#[tokio::test]
async fn what_ended_with_its_session_has_to_be_repeated(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] made: &str,
    #[case] what: &str,
    #[case] used: &str,
) {
    let folder = Folder::new(&[]);
    let up = |last: &str| format!("SELECT 1; {made}; SELECT 1 / {last}; CREATE TABLE seen AS {used}");
    folder.add_bare(ONE, &up("0"), "");
    folder.up(&empty_db).await.unwrap_err();
    folder.write(ONE, "up.sql", &up("1"));
    let Err(Error::Drift { problems }) = folder.up(&empty_db).await else { panic!("it goes on") };
    assert_eq!(problems[0].difference, Difference::SessionLost);
    let message = &problems[0].message;
    assert!(message.contains(what) && message.contains("statement 2 of 4"), "{message}");
    repair(&empty_db, &folder, Repair::Repeat(ONE.into())).await;
    folder.up(&empty_db).await.unwrap();
    assert_eq!(number(&mut connection(&empty_db).await, "SELECT * FROM seen").await, 7);
}

/// Nothing that a migration sets for its session reaches the next one, of whatever kind, in both ways of running.
#[rstest]
#[case("SET app.tenant = '7'", "coalesce(current_setting('app.tenant', true), 'none')", "none")]
#[case("SET LOCAL app.tenant = '7'", "coalesce(current_setting('app.tenant', true), 'none')", "none")]
#[case(
    "DO $$ BEGIN PERFORM set_config('app.tenant', '7', false); END $$",
    "coalesce(current_setting('app.tenant', true), 'none')",
    "none"
)]
#[case("CREATE TEMP TABLE t ()", "coalesce(to_regclass('t')::text, 'none')", "none")]
#[case("PREPARE p AS SELECT 1", "(SELECT count(*) FROM pg_prepared_statements)", "0")]
#[case("LISTEN l", "(SELECT count(*) FROM pg_listening_channels())", "0")]
#[case("SELECT pg_advisory_lock(7)", "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7)", "0")]
#[case("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "(SELECT count(*) FROM pg_cursors WHERE name = 'c')", "0")]
#[case(
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "current_setting('transaction_isolation')",
    "read committed"
)]
#[tokio::test]
async fn nothing_of_a_session_reaches_the_next_migration(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
    #[case] shown: &str,
    #[case] expected: &str,
) {
    let next = format!("CREATE TABLE seen AS SELECT ({shown})::text AS seen");
    let mut owner = connection(&empty_db).await;
    for bare in [true, false] {
        // Without an effect, and refused, outside of a transaction.
        if bare && up.starts_with("SET LOCAL") {
            continue;
        }
        let folder = Folder::new(&[(TWO, next.as_str(), "DROP TABLE seen")]);
        folder.add_as(bare, ONE, up, "SELECT 1");
        folder.up(&empty_db).await.unwrap();
        assert_eq!(texts(&mut owner, "SELECT seen FROM seen").await, [expected], "bare: {bare}");
        go(&empty_db, &folder, Direction::DownAll).await.unwrap();
    }
}

/// 1. A DO or a CALL is at work; it takes a moment.
/// 2. Another session holds the history's table, for longer than a statement waits for a lock.
/// 3. The other session lets it go: the statement has run once.
#[rstest]
#[case("DO $$ BEGIN INSERT INTO ledger VALUES (1); PERFORM pg_advisory_lock_shared(1); END $$")]
#[case("CALL p()")]
#[tokio::test]
async fn a_history_that_is_locked_makes_no_statement_run_twice(#[future(awt)] empty_db: DatabaseUrl, #[case] up: &str) {
    let mut other = connection(&empty_db).await;
    execute(
        &mut other,
        "CREATE TABLE ledger (id int); CREATE PROCEDURE p() LANGUAGE sql \
             BEGIN ATOMIC INSERT INTO ledger VALUES (1); SELECT pg_advisory_lock_shared(1); END",
    )
    .await;
    execute(&mut other, "SELECT pg_advisory_lock(1)").await;
    let folder = Folder::new(&[]);
    folder.add_bare(ONE, &format!("SELECT 1; {up}; SELECT 1"), "");
    let options = Options { lock_timeout: Some(Duration::from_millis(300)), ..Options::default() };
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let migrating = folder.up_with(&empty_db, options, move |event| {
        if let Event::Blocked { by } = event {
            tell.send(by).unwrap();
        }
    });
    let (done, ()) = tokio::join!(migrating, async {
        let mut watcher = connection(&empty_db).await;
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()";
        until(&mut watcher, waits).await;
        execute(&mut other, "BEGIN; LOCK TABLE __bedplate_migrations IN SHARE MODE; SELECT pg_advisory_unlock(1)")
            .await;
        while !told.recv().await.unwrap().starts_with("the history") {}
        execute(&mut other, "COMMIT").await;
    });
    assert_eq!(done.unwrap(), [ONE]);
    assert_eq!(number(&mut other, "SELECT count(*) FROM ledger").await, 1);
}

/// 1. A statement that PostgreSQL refuses in a transaction is sent, and its runner is killed behind its end: the history
///    says that it was sent.
/// 2. The next run cannot know whether it ran: it refuses, and names the statement.
/// 3. The answer decides.
#[rstest]
#[case(true, 1)]
#[case(false, 2)]
#[tokio::test]
async fn a_statement_that_may_have_run_is_asked_for(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] ran: bool,
    #[case] expected: i64,
) {
    let folder = Folder::new(&[]);
    let mut owner = connection(&empty_db).await;
    execute(
        &mut owner,
        "CREATE TABLE ledger (id int); CREATE PROCEDURE p() LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO ledger VALUES (1); COMMIT; RAISE 'behind its COMMIT'; END $$",
    )
    .await;
    folder.add_bare(ONE, "SELECT 1; CALL p(); SELECT 2", "SELECT 1");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("behind its COMMIT") && error.contains("this statement may have run"), "{error}");
    assert_eq!(number(&mut owner, "SELECT count(*) FROM ledger").await, 1);
    let Err(Error::Drift { problems }) = folder.up(&empty_db).await else { panic!("it goes on") };
    assert_eq!(problems[0].difference, Difference::MayHaveRun);
    assert!(problems[0].message.contains("statement 2 of 3 (CALL p()) may have run"), "{}", problems[0].message);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM ledger").await, 1);
    execute(
        &mut owner,
        "CREATE OR REPLACE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ledger VALUES (1); COMMIT; END $$",
    )
    .await;
    let answer = if ran { Repair::Ran(ONE.into()) } else { Repair::NotRun(ONE.into()) };
    repair(&empty_db, &folder, answer).await;
    // What was answered is not asked again.
    let told = migrate::status(&empty_db, &folder.source()).await.unwrap()[0].problems[0].message.clone();
    assert!(told.contains("`migrate repair` said so") && !told.contains("look whether it did"), "{told}");
    folder.up(&empty_db).await.unwrap();
    assert_eq!(number(&mut owner, "SELECT count(*) FROM ledger").await, expected);
    assert!(folder.status(&empty_db).await.iter().all(|(_, state, _)| *state == MigrationState::Applied));
}

/// The history is found wherever it is: a schema that comes first later does not make a migration pending again.
#[rstest]
#[case::schema_like_the_login("CREATE SCHEMA IF NOT EXISTS \"$user\"", true)]
#[case::role("ALTER ROLE CURRENT_USER IN DATABASE \"$database\" SET search_path = app, public", false)]
#[case::database("ALTER DATABASE \"$database\" SET search_path = app", false)]
#[tokio::test]
async fn the_history_stays_where_it_is(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] change: &str,
    #[case] in_file: bool,
) {
    let mut owner = connection(&empty_db).await;
    let user = texts(&mut owner, "SELECT current_user").await.remove(0);
    let change = change.replace("$user", &user).replace("$database", empty_db.database());
    let up = "CREATE SCHEMA IF NOT EXISTS app; CREATE TABLE IF NOT EXISTS public.country (code text); \
              INSERT INTO public.country VALUES ('DE')";
    let folder =
        Folder::new(&[(ONE, if in_file { format!("{change}; {up}") } else { up.to_owned() }.as_str(), "SELECT 1")]);
    folder.up(&empty_db).await.unwrap();
    if !in_file {
        execute(&mut owner, &change).await;
    }
    assert_eq!(folder.up(&empty_db).await.unwrap(), Vec::<String>::new());
    assert_eq!(folder.status(&empty_db).await, [(ONE.to_owned(), MigrationState::Applied, vec![])]);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM public.country").await, 1);
    folder.add(TWO, "SELECT 1", "SELECT 1");
    folder.up(&empty_db).await.unwrap();
    let schemas = "SELECT relnamespace::regnamespace FROM pg_class WHERE relname IN ('__bedplate_migrations', '__diesel_schema_migrations')";
    assert_eq!(texts(&mut owner, schemas).await, ["public", "public"]);
}

/// 1. Another session builds an index on the table concurrently; a transaction keeps it waiting.
/// 2. The runner wants an index without a name on the same table, and waits for the other build.
/// 3. The transaction ends: both indexes are there.
#[rstest]
#[tokio::test]
async fn an_index_of_another_session_is_left_alone(#[future(awt)] empty_db: DatabaseUrl) {
    let mut reader = connection(&empty_db).await;
    execute(&mut reader, "CREATE TABLE t (x int, y int)").await;
    execute(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t").await;
    let mut other = connection(&empty_db).await;
    let folder = Folder::new(&[]);
    folder.add_bare(ONE, "CREATE INDEX CONCURRENTLY ON t (y)", "SELECT 1");
    let mut watcher = connection(&empty_db).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let on_event = move |event| {
        if let Event::Blocked { by } = event {
            tell.send(by).unwrap();
        }
    };
    let (built, (done, ())) = tokio::join!(
        diesel_async::SimpleAsyncConnection::batch_execute(&mut other, "CREATE INDEX CONCURRENTLY theirs ON t (x)"),
        async {
            until(&mut watcher, "SELECT count(*) FROM pg_index WHERE NOT indisvalid").await;
            tokio::join!(folder.up_with(&empty_db, Options::default(), on_event), async {
                let by = told.recv().await.unwrap();
                assert!(by.ends_with("waited for another session at work on its table"), "{by}");
                execute(&mut reader, "COMMIT").await;
            })
        }
    );
    built.unwrap();
    assert_eq!(done.unwrap(), [ONE]);
    let valid = "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid ORDER BY 1";
    assert_eq!(texts(&mut watcher, valid).await.len(), 2);
}

/// INVALID indexes that were there before stay, whatever becomes of a build without a name; what it leaves itself does
/// not.
#[rstest]
#[tokio::test]
async fn only_what_a_build_left_is_dropped(#[future(awt)] empty_db: DatabaseUrl) {
    use diesel_async::SimpleAsyncConnection as _;
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "CREATE TABLE t (x int); INSERT INTO t VALUES (1), (1)").await;
    owner.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY theirs ON t (x)").await.unwrap_err();
    let folder = Folder::new(&[]);
    folder.add_bare(ONE, "CREATE UNIQUE INDEX CONCURRENTLY ON t (x)", "SELECT 1");
    folder.up(&empty_db).await.unwrap_err();
    let all = "SELECT indexrelid::regclass || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END FROM pg_index \
               WHERE indrelid = 't'::regclass ORDER BY indexrelid::regclass::text";
    assert_eq!(texts(&mut owner, all).await, ["theirs INVALID"]);
    execute(&mut owner, "DELETE FROM t").await;
    folder.up(&empty_db).await.unwrap();
    assert_eq!(texts(&mut owner, all).await, ["t_x_idx", "theirs INVALID"]);
}

/// 1. A partition's detachment, or the rebuild of an index, is interrupted half way by the end of its session.
/// 2. The next run goes on by the way that PostgreSQL has for it.
#[rstest]
#[case::detach(
    "ALTER TABLE parts DETACH PARTITION part CONCURRENTLY",
    "SELECT count(*) FROM pg_inherits WHERE inhdetachpending",
    "SELECT count(*) FROM pg_inherits WHERE inhparent = 'parts'::regclass"
)]
#[case::reindex(
    "REINDEX INDEX CONCURRENTLY part_id",
    "SELECT count(*) FROM pg_class WHERE relname = 'part_id_ccnew'",
    "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
)]
#[tokio::test]
async fn what_was_interrupted_has_its_own_way_on(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
    #[case] half: &str,
    #[case] left: &str,
) {
    let mut reader = connection(&empty_db).await;
    execute(
        &mut reader,
        "CREATE TABLE parts (id int) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF parts FOR VALUES IN (1); \
         CREATE INDEX part_id ON part (id)",
    )
    .await;
    execute(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM parts").await;
    let folder = Folder::new(&[]);
    folder.add_bare(ONE, up, "SELECT 1");
    let mut watcher = connection(&empty_db).await;
    let (interrupted, ()) = tokio::join!(folder.up(&empty_db), async {
        until(&mut watcher, half).await;
        let waits = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE wait_event = 'virtualxid' AND datname = current_database()";
        until(&mut watcher, waits).await;
    });
    let error = interrupted.unwrap_err().to_string();
    assert!(error.contains("may have run"), "{error}");
    execute(&mut reader, "COMMIT").await;
    folder.up(&empty_db).await.unwrap();
    assert_eq!(number(&mut watcher, left).await, 0);
    assert_eq!(folder.status(&empty_db).await, [(ONE.to_owned(), MigrationState::Applied, vec![])]);
}

/// Half reverted is a state of its own: `up` refuses, `down` goes on, and Diesel's table does not call it applied.
#[rstest]
#[tokio::test]
async fn half_reverted_is_not_applied(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[]);
    folder.add_bare(
        ONE,
        "CREATE TABLE t (x int); CREATE INDEX t_x ON t (x)",
        "DROP INDEX CONCURRENTLY t_x; DROP INDEX CONCURRENTLY t_typo; DROP TABLE t",
    );
    folder.up(&empty_db).await.unwrap();
    folder.down(&empty_db).await.unwrap_err();
    assert_eq!(folder.status(&empty_db).await, [(ONE.to_owned(), MigrationState::HalfReverted, vec!["half_reverted"])]);
    let Err(Error::Drift { problems }) = folder.up(&empty_db).await else { panic!("it says that all is well") };
    assert_eq!(problems[0].difference, Difference::HalfReverted);
    let mut owner = connection(&empty_db).await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM __diesel_schema_migrations").await, 0);
    folder.write(ONE, "down.sql", "DROP INDEX CONCURRENTLY t_x; DROP TABLE t");
    assert_eq!(folder.down(&empty_db).await.unwrap(), [ONE]);
    assert_eq!(folder.status(&empty_db).await, [(ONE.to_owned(), MigrationState::Pending, vec![])]);
    assert_eq!(folder.up(&empty_db).await.unwrap(), [ONE]);
}

#[rstest]
#[tokio::test]
async fn nothing_is_reverted_beneath_a_half_applied_migration(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[(ONE, "CREATE TABLE base (x int)", "DROP TABLE base")]);
    folder.add_bare(TWO, "ALTER TABLE base ADD COLUMN y int; SELECT 1 / 0", "ALTER TABLE base DROP COLUMN y");
    folder.up(&empty_db).await.unwrap_err();
    for direction in
        [Direction::Down { count: 1 }, Direction::DownAll, Direction::Redo, Direction::DownThese(vec![ONE.into()])]
    {
        let Err(Error::Drift { problems }) = go(&empty_db, &folder, direction).await else { panic!("it is reverted") };
        assert_eq!((problems[0].name.as_str(), problems[0].difference), (TWO, Difference::Interrupted));
    }
    folder.write(TWO, "up.sql", "ALTER TABLE base ADD COLUMN y int; SELECT 1 / 1");
    folder.up(&empty_db).await.unwrap();
    assert_eq!(go(&empty_db, &folder, Direction::DownAll).await.unwrap(), [TWO, ONE]);
}

/// Two folders in one database: each reverts its own, unless a migration is named.
#[rstest]
#[tokio::test]
async fn down_touches_only_its_own_folder(#[future(awt)] empty_db: DatabaseUrl) {
    let theirs = Folder::new(&[
        (ONE, "CREATE TABLE one (id int)", "DROP TABLE one"),
        (THREE, "CREATE TABLE three (id int)", "DROP TABLE three"),
    ]);
    let mine = Folder::new(&[(TWO, "CREATE TABLE two (id int)", "DROP TABLE two")]);
    theirs.up(&empty_db).await.unwrap();
    // A later one of another folder is not in its way.
    assert_eq!(mine.up(&empty_db).await.unwrap(), [TWO]);
    let states: Vec<_> =
        mine.status(&empty_db).await.into_iter().map(|(_, state, problems)| (state, problems)).collect();
    let foreign = (MigrationState::Foreign, vec![]);
    assert_eq!(states, [foreign.clone(), (MigrationState::Applied, vec![]), foreign]);
    assert_eq!(go(&empty_db, &mine, Direction::DownAll).await.unwrap(), [TWO]);
    assert_eq!(go(&empty_db, &mine, Direction::Down { count: 5 }).await.unwrap(), Vec::<String>::new());
    assert_eq!(go(&empty_db, &mine, Direction::Redo).await.unwrap(), Vec::<String>::new());
    assert_eq!(go(&empty_db, &mine, Direction::DownThese(vec!["2026-01-03-000000".into()])).await.unwrap(), [THREE]);
    let mut owner = connection(&empty_db).await;
    assert_eq!(texts(&mut owner, "SELECT version FROM __diesel_schema_migrations").await, ["20260101000000"]);
}

/// The record of a migration whose files are gone knows that it runs outside of a transaction.
#[rstest]
#[tokio::test]
async fn a_recorded_down_runs_as_its_files_said(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[(ONE, "CREATE TABLE t (x int)", "DROP TABLE t")]);
    folder.add_bare(TWO, "CREATE INDEX CONCURRENTLY t_x ON t (x)", "DROP INDEX CONCURRENTLY t_x");
    folder.up(&empty_db).await.unwrap();
    folder.remove(TWO);
    assert_eq!(folder.down(&empty_db).await.unwrap(), [TWO]);
}

#[rstest]
#[case("SELECT 1; PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION 'x') takes the transaction away from the runner")]
#[case("COMMIT PREPARED 'x'", "ends a transaction that another session prepared")]
#[case("ROLLBACK PREPARED 'x'", "ends a transaction that another session prepared")]
#[case("BEGIN; SELECT 1; COMMIT AND CHAIN", "opens another transaction with AND CHAIN")]
#[case("BEGIN; SELECT 1; END WORK AND CHAIN", "opens another transaction with AND CHAIN")]
#[case("BEGIN; ROLLBACK AND CHAIN", "a migration that rolls itself back does nothing")]
#[case("BEGIN; ABORT", "a migration that rolls itself back does nothing")]
#[tokio::test]
async fn what_replaces_the_transaction_is_refused(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] sql: &str,
    #[case] expected: &str,
) {
    for bare in [true, false] {
        let folder = Folder::new(&[]);
        let up = format!("CREATE TABLE t (id int); {sql}");
        folder.add_as(bare, ONE, &up, "");
        let error = folder.up(&empty_db).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        let there = number(&mut connection(&empty_db).await, "SELECT count(*) FROM pg_class WHERE relname = 't'").await;
        assert_eq!(there, 0);
    }
}

/// Outside of a transaction some statements have no effect: they are refused before anything is written.
#[rstest]
#[case("SET LOCAL ROLE NONE", "SET LOCAL has no effect outside of a transaction")]
#[case("SET LOCAL app.tenant = '7'", "SET LOCAL has no effect")]
#[case("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION has no effect")]
#[case("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS has no effect")]
#[case("SAVEPOINT s", "SAVEPOINT has no effect")]
#[case("SELECT set_config('app.tenant', '7', true)", "set_config(…, true) has no effect")]
#[case("DECLARE c CURSOR FOR SELECT 1", "DECLARE CURSOR without WITH HOLD has no effect")]
#[case("BEGIN; SELECT 1", "this BEGIN has no COMMIT")]
#[tokio::test]
async fn what_has_no_effect_outside_of_a_transaction_is_said(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] sql: &str,
    #[case] expected: &str,
) {
    let folder = Folder::new(&[]);
    folder.add_bare(ONE, &format!("CREATE TABLE t (id int); {sql}"), "");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains(expected), "{error}");
    let mut owner = connection(&empty_db).await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM pg_class WHERE relname = 't'").await, 0);
    if !sql.starts_with("BEGIN") {
        // In a transaction it has one.
        folder.add(
            ONE,
            &format!("CREATE TABLE t (id int); {}", sql.replace("SET TRANSACTION", "SELECT 1; -- SET")),
            "",
        );
        folder.up(&empty_db).await.unwrap();
    }
}

/// The modes of the file's own BEGIN hold, in both ways of running.
#[rstest]
#[case(
    true,
    "BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE seen AS SELECT current_setting('transaction_isolation') AS x; COMMIT",
    "serializable"
)]
#[case(
    false,
    "BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE seen AS SELECT current_setting('transaction_isolation') AS x; COMMIT",
    "serializable"
)]
#[case(
    true,
    "START TRANSACTION; SET LOCAL lock_timeout = '77ms'; CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS x; COMMIT",
    "77ms"
)]
#[case(
    true,
    "BEGIN READ ONLY; SET app.x = 'kept'; COMMIT; CREATE TABLE seen AS SELECT current_setting('app.x') AS x",
    "kept"
)]
#[tokio::test]
async fn the_modes_of_a_files_own_transaction_hold(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] bare: bool,
    #[case] up: &str,
    #[case] expected: &str,
) {
    let folder = Folder::new(&[]);
    folder.add_as(bare, ONE, up, "");
    folder.up(&empty_db).await.unwrap();
    assert_eq!(texts(&mut connection(&empty_db).await, "SELECT x FROM seen").await, [expected]);
}

#[rstest]
#[case("BEGIN READ ONLY; SELECT 1; COMMIT", "cannot be READ ONLY")]
#[case("SELECT 1; BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT", "a second transaction with modes of its own")]
#[tokio::test]
async fn modes_that_one_transaction_cannot_have_are_refused(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
    #[case] expected: &str,
) {
    let folder = Folder::new(&[(ONE, up, "")]);
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains(expected) && error.contains("run_in_transaction = false"), "{error}");
}

/// A COMMIT in a migration that is one transaction is left out, and said: when it goes well, and when it does not.
#[rstest]
#[tokio::test]
async fn a_commit_that_is_left_out_is_said(#[future(awt)] empty_db: DatabaseUrl) {
    let up = "CREATE TYPE mood AS ENUM ('a');\nALTER TYPE mood ADD VALUE 'b';\nCOMMIT;\nBEGIN;\n";
    let folder = Folder::new(&[(ONE, &format!("{up}CREATE TABLE t (m mood DEFAULT 'b');"), "")]);
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("the COMMIT in up.sql line 3 is left out"), "{error}");
    assert!(error.contains("`run_in_transaction = false` in metadata.toml"), "{error}");
    folder.add(ONE, &format!("{up}SELECT 1; COMMIT;"), "");
    let mut notes = Vec::new();
    let done = folder.up_with(&empty_db, Options::default(), |event| {
        if let Event::Note { text } = event {
            notes.push(text);
        }
    });
    done.await.unwrap();
    assert!(notes.len() == 1 && notes[0].contains("line 3 is left out"), "{notes:?}");
}

/// A file that is checked out with other line ends is what was applied, also inside of a function's body, and half way.
#[rstest]
#[case("\n", "\r\n")]
#[case("\r\n", "\n")]
#[tokio::test]
async fn line_ends_are_cosmetic(#[future(awt)] empty_db: DatabaseUrl, #[case] before: &str, #[case] after: &str) {
    let up = |end: &str, zero: &str| {
        let sql = "CREATE TABLE a (id int);\n-- why\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 1;\nEND\n$$;\n";
        format!("{sql}SELECT 1 / {zero};\n").replace('\n', end)
    };
    let folder = Folder::new(&[(ONE, up(before, "1").as_str(), "DROP FUNCTION f")]);
    folder.add_bare(TWO, &up(before, "0").replace(" a ", " b ").replace("f()", "g()"), "");
    folder.up(&empty_db).await.unwrap_err();
    folder.write(ONE, "up.sql", &up(after, "1"));
    folder.write(TWO, "up.sql", &up(after, "1").replace(" a ", " b ").replace("f()", "g()"));
    let status = migrate::status(&empty_db, &folder.source()).await.unwrap();
    let problem = &status[0].problems[0];
    assert_eq!(problem.difference, Difference::Cosmetic);
    let diff = problem.diff.as_deref().unwrap();
    assert!(diff.contains("CREATE TABLE a (id int);\\r\n"), "{diff}");
    assert_eq!(folder.up(&empty_db).await.unwrap(), [TWO]);
}

/// A statement that the engine does not know, and PostgreSQL refuses in a transaction, is sent alone: because it is
/// marked, or because the server says so.
#[rstest]
#[case("DISCARD ALL")]
#[case("DISCARD ALL /* alone */")]
#[case("CALL p() /* alone */")]
#[case("CALL p()")]
#[case("DO $$ BEGIN INSERT INTO ledger VALUES (1); COMMIT; END $$")]
#[case("REINDEX TABLE parts")]
#[tokio::test]
async fn a_statement_that_wants_no_transaction_is_sent_alone(#[future(awt)] empty_db: DatabaseUrl, #[case] sql: &str) {
    let mut owner = connection(&empty_db).await;
    execute(
        &mut owner,
        "CREATE TABLE ledger (id int); CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY LIST (id); \
         CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ledger VALUES (1); COMMIT; END $$",
    )
    .await;
    let folder = Folder::new(&[]);
    folder.add_bare(ONE, &format!("CREATE TABLE a (id int); {sql}; CREATE TABLE b (id int)"), "");
    folder.up(&empty_db).await.unwrap();
    let rows = i64::from(sql.contains("CALL") || sql.contains("INSERT"));
    assert_eq!(number(&mut owner, "SELECT count(*) FROM ledger").await, rows);
    folder.add(TWO, sql, "");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("`run_in_transaction = false`"), "{error}");
}

#[rstest]
#[case("INSERT INTO a VALUES (E'one '\n  'it\\'s; two')", "one it's; two")]
#[case("SET standard_conforming_strings = off; INSERT INTO a VALUES ('it\\'s; two')", "it's; two")]
#[case("INSERT INTO a SELECT begin atomic FROM (VALUES ('x; y')) AS v (begin)", "x; y")]
#[tokio::test]
async fn valid_sql_runs(#[future(awt)] empty_db: DatabaseUrl, #[case] sql: &str, #[case] expected: &str) {
    for bare in [true, false] {
        let up = format!("CREATE TABLE a (t text); {sql}; CREATE TABLE b (t text)");
        let folder = Folder::new(&[]);
        folder.add_as(bare, ONE, &up, "DROP TABLE a; DROP TABLE b");
        folder.up(&empty_db).await.unwrap();
        assert_eq!(texts(&mut connection(&empty_db).await, "SELECT t FROM a").await, [expected]);
        folder.down(&empty_db).await.unwrap();
    }
}

/// A folder, a version, a database's encoding that cannot work: each says what it is.
#[rstest]
#[tokio::test]
async fn what_is_no_migration_says_what_it_is(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[]);
    std::fs::write(folder.path().join("20260101000000_init.sql"), "CREATE TABLE a (id int)").unwrap();
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("has no migration, and .sql files lie in it (20260101000000_init.sql)"), "{error}");
    folder.add(&format!("{}_long", "1".repeat(51)), "SELECT 1", "");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("its version has 51 characters; at most 50"), "{error}");

    let mut owner = connection(&empty_db).await;
    let latin = format!("{}_latin", empty_db.database());
    execute(
        &mut owner,
        &format!("CREATE DATABASE {latin} ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"),
    )
    .await;
    let folder = Folder::new(&[(ONE, "CREATE TABLE a (id int) -- →", "")]);
    let error = folder.up(&empty_db.with_database(&latin).unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("the database's encoding cannot hold this character"), "{error}");
    execute(&mut owner, &format!("DROP DATABASE {latin} WITH (FORCE)")).await;
}

/// How long a statement waits for a lock: as the caller says, else the URL, else the login; else briefly.
#[rstest]
#[case::brief(None, "", "", "100ms")]
#[case::url(None, "?options=-c%20lock_timeout%3D7s", "", "7s")]
#[case::login(None, "", "ALTER DATABASE \"$database\" SET lock_timeout = '8s'", "8s")]
#[case::caller(
    Some(9),
    "?options=-c%20lock_timeout%3D7s",
    "ALTER DATABASE \"$database\" SET lock_timeout = '8s'",
    "9s"
)]
#[tokio::test]
async fn the_lock_timeout_is_the_callers_the_urls_or_the_logins(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] option: Option<u64>,
    #[case] url: &str,
    #[case] change: &str,
    #[case] expected: &str,
) {
    if !change.is_empty() {
        execute(&mut connection(&empty_db).await, &change.replace("$database", empty_db.database())).await;
    }
    let folder = Folder::new(&[(ONE, "CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS x", "")]);
    let with_options: DatabaseUrl = format!("{}{url}", empty_db.reveal()).parse().unwrap();
    let options = Options { lock_timeout: option.map(Duration::from_secs), ..Options::default() };
    folder.up_with(&with_options, options, |_| {}).await.unwrap();
    assert_eq!(texts(&mut connection(&empty_db).await, "SELECT x FROM seen").await, [expected]);
}
