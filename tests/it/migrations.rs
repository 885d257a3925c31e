//! Where the runner stops, and how far `--to` goes.

use bedplate::DatabaseUrl;
use bedplate::database::migrate::{self, Direction, MigrationState};
use rstest::rstest;

use crate::support::{Folder, connection, empty_db, texts};

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_leaves_nothing_and_says_why(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[
        ("2026-01-01-000000_good", "CREATE TABLE good (id int)", "DROP TABLE good"),
        ("2026-01-02-000000_bad", "CREATE TABLE half (id int); CREATE TABLE good (id int)", "DROP TABLE half"),
        ("2026-01-03-000000_later", "CREATE TABLE later (id int)", "DROP TABLE later"),
    ]);
    let source = folder.source();
    let error = migrate::run(&empty_db, &source, Direction::Up, |_| {}).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "migration 2026-01-02-000000_bad failed: up.sql line 1, statement 2 of 2 (CREATE TABLE good (id int)): \
         relation \"good\" already exists; something else made it: drop it, or declare the migration applied with \
         `bedplate migrate baseline`; mend it and run `bedplate migrate` again"
    );
    let mut owner = connection(&empty_db).await;
    let tables = texts(&mut owner, "SELECT relname FROM pg_class WHERE relname IN ('good', 'half', 'later')").await;
    assert_eq!(tables, ["good"]);
    let states: Vec<_> = migrate::status(&empty_db, &source).await.unwrap().into_iter().map(|m| m.state).collect();
    assert_eq!(states, [MigrationState::Applied, MigrationState::Pending, MigrationState::Pending]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_named_by_version_or_directory(#[future(awt)] empty_db: DatabaseUrl) {
    const NAMES: [&str; 4] =
        ["2026-01-01-000000_a", "2026-01-02-000000_b", "2026-01-03-000000_c", "2026-01-04-000000_d"];
    let folder = Folder::new(&NAMES.map(|name| (name, "SELECT 1", "SELECT 1")));
    let run = async |direction| migrate::run(&empty_db, &folder.source(), direction, |_| {}).await.unwrap();
    assert_eq!(run(Direction::UpTo("2026-01-02-000000".into())).await, NAMES[..2]);
    assert_eq!(run(Direction::UpTo("20260103000000".into())).await, NAMES[2..3]);
    assert_eq!(run(Direction::Up).await, NAMES[3..]);
    assert_eq!(run(Direction::DownTo(NAMES[1].into())).await, [NAMES[3], NAMES[2]]);
    assert_eq!(run(Direction::Redo).await, [NAMES[1]]);
    assert_eq!(run(Direction::DownAll).await, [NAMES[1], NAMES[0]]);
    assert_eq!(run(Direction::DownAll).await, Vec::<String>::new());
    for wrong in [Direction::UpTo("2026-01-09-000000".into()), Direction::DownTo("d".into())] {
        let error = migrate::run(&empty_db, &folder.source(), wrong, |_| {}).await.unwrap_err();
        assert!(matches!(error, bedplate::Error::NotFound { entity: "migration", .. }), "{error:?}");
    }
}
