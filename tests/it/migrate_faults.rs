//! What can go wrong with migrations: what is told, and that nothing is half applied.

use std::time::Duration;

use bedplate::database::migrate::{self, Difference, Direction, Event, MigrationState, Options, Repair};
use bedplate::{DatabaseUrl, Error};
use rstest::{fixture, rstest};
use tokio::sync::oneshot;

use crate::support::{Folder, connection, empty_db, execute, number, texts};

const ONE: &str = "2026-01-01-000000_one";
const TWO: &str = "2026-01-02-000000_two";
const THREE: &str = "2026-01-03-000000_three";

/// Two migrations.
#[fixture]
fn folder() -> Folder {
    Folder::new(&[
        (ONE, "CREATE TABLE one (id int);\n", "DROP TABLE one;\n"),
        (TWO, "CREATE TABLE two (id int);\n", "DROP TABLE two;\n"),
    ])
}

async fn tables(url: &DatabaseUrl) -> Vec<String> {
    let mut owner = connection(url).await;
    let mine = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' \
                AND NOT starts_with(relname, '__') ORDER BY 1";
    texts(&mut owner, mine).await
}

fn quick() -> Options {
    Options {
        lock_timeout: Some(Duration::from_millis(50)),
        retry_for: Duration::from_millis(200),
        wait_for_runner: Duration::from_millis(200),
        ..Options::default()
    }
}

#[rstest]
#[tokio::test]
async fn an_edit_of_an_applied_migration_is_refused_with_a_diff(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    folder.up(&empty_db).await.unwrap();
    folder.write(ONE, "up.sql", "CREATE TABLE one (id bigint);\n");
    folder.add(THREE, "CREATE TABLE three (id int)", "DROP TABLE three");
    let Err(Error::Drift { problems }) = folder.up(&empty_db).await else { panic!("it is not refused") };
    assert_eq!((problems.len(), problems[0].difference), (1, Difference::Edited));
    assert_eq!(
        problems[0].diff.as_deref().unwrap(),
        "--- up.sql as applied\n+++ up.sql now\n@@ -1 +1 @@\n-CREATE TABLE one (id int);\n+CREATE TABLE one (id bigint);\n"
    );
    assert_eq!(tables(&empty_db).await, ["one", "two"]);
    // Where the database has the change, that can be said.
    migrate::repair(&empty_db, &folder.source(), &[Repair::Accept(ONE.into())], &Options::default(), |_| {})
        .await
        .unwrap();
    assert_eq!(folder.up(&empty_db).await.unwrap(), [THREE]);
}

#[rstest]
#[case("-- why it is so\nCREATE  TABLE one (\n  id INT\n);\n")]
#[case("create table ONE(id int)")]
#[tokio::test]
async fn a_cosmetic_edit_is_reported_and_passes(
    #[future(awt)] empty_db: DatabaseUrl,
    folder: Folder,
    #[case] edited: &str,
) {
    folder.up(&empty_db).await.unwrap();
    folder.write(ONE, "up.sql", edited);
    folder.add(THREE, "CREATE TABLE three (id int)", "DROP TABLE three");
    let mut noticed = Vec::new();
    let done = folder.up_with(&empty_db, Options::default(), |event| {
        if let Event::Noticed { problem } = event {
            noticed.push(problem.difference);
        }
    });
    assert_eq!(done.await.unwrap(), [THREE]);
    assert_eq!(noticed, [Difference::Cosmetic]);
    let repaired = migrate::repair(&empty_db, &folder.source(), &[], &Options::default(), |_| {}).await.unwrap();
    assert_eq!(repaired, [format!("{ONE}: cosmetic recorded")]);
    assert!(folder.status(&empty_db).await.iter().all(|(_, _, problems)| problems.is_empty()));
}

#[rstest]
#[tokio::test]
async fn an_edited_down_is_named_and_is_the_one_that_runs(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    folder.up(&empty_db).await.unwrap();
    folder.write(TWO, "down.sql", "DROP TABLE two; CREATE TABLE mended (id int)");
    assert_eq!(folder.status(&empty_db).await[1], (TWO.into(), MigrationState::Applied, vec!["down_edited"]));
    assert_eq!(folder.up(&empty_db).await.unwrap(), Vec::<String>::new());
    folder.down(&empty_db).await.unwrap();
    assert_eq!(tables(&empty_db).await, ["mended", "one"]);
}

#[rstest]
#[tokio::test]
async fn one_that_comes_too_late_is_refused_unless_it_is_named(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    folder.up(&empty_db).await.unwrap();
    let late = "2026-01-01-120000_late";
    folder.add(late, "CREATE TABLE late (id int)", "DROP TABLE late");
    folder.add(THREE, "CREATE TABLE three (id int)", "DROP TABLE three");
    let Err(Error::Drift { problems }) = folder.up(&empty_db).await else { panic!("it is not refused") };
    assert_eq!((problems[0].name.as_str(), problems[0].difference), (late, Difference::OutOfOrder));
    let other = Options { allow_out_of_order: vec![THREE.into()], ..Options::default() };
    assert!(matches!(folder.up_with(&empty_db, other, |_| {}).await, Err(Error::Drift { .. })));
    assert_eq!(tables(&empty_db).await, ["one", "two"]);
    let allowed = Options { allow_out_of_order: vec!["2026-01-01-120000".into()], ..Options::default() };
    assert_eq!(folder.up_with(&empty_db, allowed, |_| {}).await.unwrap(), [late, THREE]);
}

#[rstest]
#[tokio::test]
async fn applied_files_that_are_gone_are_named_and_reverted_from_the_record(
    #[future(awt)] empty_db: DatabaseUrl,
    folder: Folder,
) {
    folder.up(&empty_db).await.unwrap();
    folder.remove(TWO);
    assert_eq!(folder.status(&empty_db).await[1], (TWO.into(), MigrationState::Missing, vec!["missing"]));
    assert_eq!(folder.down(&empty_db).await.unwrap(), [TWO]);
    assert_eq!(tables(&empty_db).await, ["one"]);

    // What another tool applied has no record: it is passed over, and not reverted where it is named.
    let foreign = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20260909000000')";
    execute(&mut connection(&empty_db).await, foreign).await;
    let named = Direction::DownThese(vec!["2026-09-09-000000".into()]);
    let error = migrate::run(&empty_db, &folder.source(), named, |_| {}).await.unwrap_err().to_string();
    assert!(error.starts_with("20260909000000 is applied, but its files are not here"), "{error}");
    let forget = [Repair::Forget("2026-09-09-000000".into())];
    migrate::repair(&empty_db, &folder.source(), &forget, &Options::default(), |_| {}).await.unwrap();
    assert_eq!(folder.status(&empty_db).await, [(ONE.to_owned(), MigrationState::Applied, vec![])]);
}

#[rstest]
#[tokio::test]
async fn a_renamed_folder_is_named(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    folder.up(&empty_db).await.unwrap();
    std::fs::rename(folder.path().join(TWO), folder.path().join("2026-01-02-000000_second")).unwrap();
    let status = folder.status(&empty_db).await;
    assert_eq!(status[1], ("2026-01-02-000000_second".into(), MigrationState::Applied, vec!["renamed"]));
}

#[rstest]
#[tokio::test]
async fn two_folders_with_one_version_are_refused(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    folder.add("20260102000000_other", "SELECT 1", "SELECT 1");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains(TWO) && error.contains("20260102000000_other") && error.contains("same version"), "{error}");
    assert_eq!(tables(&empty_db).await, Vec::<String>::new());
}

#[rstest]
#[tokio::test]
async fn what_another_tool_did_is_told_and_can_be_recorded(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    folder.up(&empty_db).await.unwrap();
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "DROP TABLE __bedplate_migrations; DELETE FROM __diesel_schema_migrations WHERE version LIKE '%2000000'; DROP TABLE two").await;
    let state = |state, difference: &'static str| (state, vec![difference]);
    let status = folder.status(&empty_db).await;
    assert_eq!((status[0].1, status[0].2.clone()), state(MigrationState::Applied, "applied_elsewhere"));
    execute(&mut owner, "INSERT INTO __diesel_schema_migrations (version) VALUES ('20260102000000')").await;
    let mut noticed = Vec::new();
    let on_event = |event| {
        if let Event::Noticed { problem } = event {
            noticed.push(problem.message);
        }
    };
    folder.up_with(&empty_db, Options::default(), on_event).await.unwrap();
    assert!(noticed.len() == 1 && noticed[0].starts_with("(and 1 others) was applied by another tool"), "{noticed:?}");
    execute(&mut owner, "DELETE FROM __diesel_schema_migrations WHERE version = '20260102000000'").await;
    let declared =
        migrate::baseline(&empty_db, &folder.source(), Some(ONE), &Options::default(), |_| {}).await.unwrap();
    assert_eq!(declared, [ONE]);
    assert_eq!(folder.up(&empty_db).await.unwrap(), [TWO]);

    // The diesel CLI reverts one: it is pending again.
    execute(&mut owner, "DELETE FROM __diesel_schema_migrations WHERE version = '20260102000000'; DROP TABLE two")
        .await;
    let status = folder.status(&empty_db).await;
    assert_eq!((status[1].1, status[1].2.clone()), state(MigrationState::Pending, "reverted_elsewhere"));
    assert_eq!(folder.up(&empty_db).await.unwrap(), [TWO]);
}

#[rstest]
#[tokio::test]
async fn a_database_that_came_by_other_means_is_adopted(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    execute(&mut connection(&empty_db).await, "CREATE TABLE one (id int); CREATE TABLE two (id int)").await;
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains("already exists") && error.contains("bedplate migrate baseline"), "{error}");
    let baseline =
        || async { migrate::baseline(&empty_db, &folder.source(), None, &Options::default(), |_| {}).await.unwrap() };
    assert_eq!(baseline().await, [ONE, TWO]);
    assert_eq!(baseline().await, Vec::<String>::new());
    assert_eq!(folder.up(&empty_db).await.unwrap(), Vec::<String>::new());
    assert_eq!(folder.down(&empty_db).await.unwrap(), [TWO]);
}

/// A server whose databases are read-only, as a standby's.
#[rstest]
#[tokio::test]
async fn a_read_only_server_is_told(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    let mut owner = connection(&empty_db).await;
    let name = empty_db.database();
    execute(&mut owner, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let error = folder.up(&empty_db).await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { message } if message.contains("read-only")), "{error:?}");
    execute(&mut owner, &format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
    assert_eq!(tables(&empty_db).await, Vec::<String>::new());
    assert_eq!(folder.up(&empty_db).await.unwrap().len(), 2);
}

#[rstest]
#[case("postgres://nobody:wrong@127.0.0.1:1/x", true)]
#[case("postgres://bedplate_owner:wrong@", false)]
#[tokio::test]
async fn a_wrong_url_is_told(
    #[future(awt)] empty_db: DatabaseUrl,
    folder: Folder,
    #[case] url: &str,
    #[case] unreachable: bool,
) {
    let here = empty_db.to_string();
    let here = here.split_once('@').unwrap().1;
    let url = if url.ends_with('@') { format!("{url}{here}") } else { url.to_owned() };
    let error = folder.up(&url.parse().unwrap()).await.unwrap_err();
    let told = if unreachable {
        matches!(error, Error::Unavailable { .. })
    } else {
        matches!(error, Error::Configuration { .. })
    };
    assert!(told, "{error:?}");
    assert!(!error.to_string().contains("wrong@"), "{error}");
}

/// Somebody holds the table of the history: told, waited for up to the limit, and nothing is half applied.
#[rstest]
#[case("before the runner reads it", "__bedplate_migrations", "ACCESS EXCLUSIVE")]
#[case("when the runner writes it", "__bedplate_migrations", "SHARE")]
#[case("when the runner writes Diesel's", "__diesel_schema_migrations", "SHARE")]
#[tokio::test]
async fn a_history_that_is_locked_is_waited_for(
    #[future(awt)] empty_db: DatabaseUrl,
    folder: Folder,
    #[case] when: &str,
    #[case] table: &str,
    #[case] mode: &str,
) {
    folder.up(&empty_db).await.unwrap();
    folder.add(THREE, "CREATE TABLE three (id int)", "DROP TABLE three");
    let mut other = connection(&empty_db).await;
    execute(&mut other, &format!("BEGIN; LOCK TABLE {table} IN {mode} MODE")).await;
    let mut blocked = 0;
    let waited =
        folder.up_with(&empty_db, quick(), |event| blocked += i32::from(matches!(event, Event::Blocked { .. })));
    let error = waited.await.unwrap_err();
    assert!(blocked > 0, "{when}: {error}");
    assert!(error.to_string().contains("lock"), "{when}: {error}");
    // Let go, it gets through by itself.
    let patient = Options { lock_timeout: Some(Duration::from_millis(50)), ..Options::default() };
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let waiting = folder.up_with(&empty_db, patient, move |event| {
        if matches!(event, Event::Blocked { .. }) {
            tell.take().into_iter().for_each(|tell: oneshot::Sender<()>| tell.send(()).unwrap());
        }
    });
    let (done, ()) = tokio::join!(waiting, async {
        told.await.unwrap();
        execute(&mut other, "COMMIT").await;
    });
    assert_eq!(done.unwrap(), [THREE], "{when}");
    assert_eq!(tables(&empty_db).await, ["one", "three", "two"]);
}

/// Three statements, the last of which fails, as a transaction: nothing is left, and the failure is recorded.
#[rstest]
#[tokio::test]
async fn a_failure_in_a_transaction_leaves_nothing_but_its_record(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[(
        ONE,
        "CREATE TABLE a (id int);\nINSERT INTO a VALUES (1);\n\nALTER TABLE a\n  ADD CHECK (id > 5);",
        "DROP TABLE a",
    )]);
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "migration {ONE} failed: up.sql line 4, statement 3 of 3 (ALTER TABLE a ADD CHECK (id > 5)): check constraint \
             \"a_id_check\" of relation \"a\" is violated by some row; rows that are there contradict it: mend them in a \
             migration before; mend it and run `bedplate migrate` again"
        )
    );
    assert_eq!(tables(&empty_db).await, Vec::<String>::new());
    let runs = migrate::history(&empty_db).await.unwrap();
    assert_eq!((runs.len(), runs[0].outcome, runs[0].statements_done), (1, migrate::Outcome::Failed, 0));
    assert!(runs[0].error.as_ref().unwrap().contains("a_id_check"));
    assert_eq!(folder.status(&empty_db).await, [(ONE.to_owned(), MigrationState::Pending, vec![])]);
}

#[rstest]
#[case("SELECT 1;\n\nSELEKT 2", "up.sql line 3, statement 2 of 2 (SELEKT 2): syntax error")]
#[case("SELECT 1,\n  nothing", "up.sql line 2, statement 1 of 1")]
#[case("SELECT 'open", "up.sql line 1 opens a quote or a comment that does not end")]
#[case("VACUUM", "cannot run inside a transaction block; put `run_in_transaction = false`")]
#[case("COPY one FROM STDIN", "COPY FROM STDIN, which has no data here")]
#[case("ROLLBACK", "a migration that rolls itself back does nothing")]
#[case("UPDATE one SET id = 1 WHERE id = 2 /* batch */", "needs `run_in_transaction = false`")]
#[tokio::test]
async fn a_broken_statement_is_told_with_its_line(
    #[future(awt)] empty_db: DatabaseUrl,
    folder: Folder,
    #[case] sql: &str,
    #[case] expected: &str,
) {
    folder.add(THREE, sql, "");
    let error = folder.up(&empty_db).await.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert_eq!(tables(&empty_db).await, ["one", "two"]);
    assert_eq!(number(&mut connection(&empty_db).await, "SELECT count(*) FROM __diesel_schema_migrations").await, 2);
}

/// What a migration sets for its session is gone before the next one.
#[rstest]
#[tokio::test]
async fn settings_of_a_migration_do_not_reach_the_next(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[
        (
            ONE,
            "CREATE SCHEMA aside; SET search_path = aside; SET lock_timeout = 1; CREATE TABLE one (id int)",
            "DROP SCHEMA aside CASCADE",
        ),
        (TWO, "CREATE TABLE two AS SELECT current_setting('lock_timeout') AS lock_timeout", "DROP TABLE two"),
    ]);
    folder.up(&empty_db).await.unwrap();
    assert_eq!(tables(&empty_db).await, ["two"]);
    assert_eq!(texts(&mut connection(&empty_db).await, "SELECT lock_timeout FROM two").await, ["100ms"]);
    assert!(folder.status(&empty_db).await.iter().all(|(_, state, _)| *state == MigrationState::Applied));
}

#[rstest]
#[tokio::test]
async fn a_folder_that_is_not_there_is_told(#[future(awt)] empty_db: DatabaseUrl, folder: Folder) {
    let nowhere = migrate::Source::Directory(folder.path().join("nowhere"));
    assert!(matches!(migrate::status(&empty_db, &nowhere).await, Err(Error::Configuration { .. })));
}
