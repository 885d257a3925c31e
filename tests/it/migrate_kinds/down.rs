//! The way back.

use bedplate::DatabaseUrl;
use rstest::rstest;

use super::{migrate, status};
use crate::support::folder::BARE;
use crate::support::{Folder, connection, empty_db, number};

const FIRST: &str = "2026-01-01-000000_a";
const SECOND: &str = "2026-01-02-000000_b";

/// 1. A migration is applied.
/// 2. `down` fails at its second statement: a part of it is gone.
/// 3. `status` says so, and `up` does not say that all is well.
#[rstest]
#[case::concurrently("DROP INDEX CONCURRENTLY t_x; DROP INDEX CONCURRENTLY t_typo; DROP TABLE t")]
#[case::ordinary("DROP INDEX t_x; DROP TABLE typo; DROP TABLE t")]
#[case::own_transaction("BEGIN; DROP INDEX t_x; COMMIT; DO $$ BEGIN RAISE 'no'; END $$; DROP TABLE t")]
#[tokio::test]
async fn a_half_reverted_migration_is_told(#[future(awt)] empty_db: DatabaseUrl, #[case] down: &str) {
    let folder = Folder::new(&[]);
    let up =
        "CREATE TABLE t (x int, y int); CREATE INDEX CONCURRENTLY t_x ON t (x); CREATE INDEX CONCURRENTLY t_y ON t (y)";
    folder.add_bare(FIRST, up, down);
    migrate(folder.path(), &empty_db, &["up"]).well();
    migrate(folder.path(), &empty_db, &["down"]).refused();
    assert_eq!(status(folder.path(), &empty_db)[0]["state"], "half_reverted");
    let shown = migrate(folder.path(), &empty_db, &["status"]).well();
    assert!(shown.said.contains("half reverted"), "{}", shown.said);
    let again = migrate(folder.path(), &empty_db, &["up"]);
    assert!(!again.said.contains("Nothing to do"), "{}", again.said);
}

/// 1. The first migration is applied, the second stops half way.
/// 2. The first is not reverted while half of the second stands on it.
#[rstest]
#[case::last(&["down"])]
#[case::redo(&["redo"])]
#[case::all(&["down", "--all"])]
#[case::two(&["down", "--count", "2"])]
#[tokio::test]
async fn nothing_is_reverted_below_a_half_applied_migration(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] command: &[&str],
) {
    let folder = Folder::new(&[(FIRST, "CREATE TABLE base (x int)", "DROP TABLE base")]);
    let up = "ALTER TABLE base ADD COLUMN y int; CREATE INDEX CONCURRENTLY b_y ON base (nope)";
    folder.add_bare(SECOND, up, "ALTER TABLE base DROP COLUMN y");
    migrate(folder.path(), &empty_db, &["up"]).refused();
    let answer = migrate(folder.path(), &empty_db, command);
    let state = status(folder.path(), &empty_db)[1]["state"].clone();
    let mut owner = connection(&empty_db).await;
    let base = number(&mut owner, "SELECT count(*) FROM pg_class WHERE relname = 'base'").await;
    let column = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('base') AND attname = 'y'";
    let column = number(&mut owner, column).await;
    if base == 0 {
        // All the way back is right where the second went first.
        assert!(command.len() > 1 && state == "pending", "{state}: {}", answer.said);
    } else {
        assert_eq!(state == "interrupted", column == 1, "{state}: {}", answer.said);
    }
}

/// 1. Two migrations are applied, and the files of the second are gone.
/// 2. `down` reverts it from the record, outside of a transaction where its statements demand that.
#[rstest]
#[case::index("CREATE INDEX CONCURRENTLY t_x ON t (x)", "DROP INDEX CONCURRENTLY t_x")]
#[case::vacuum("CREATE TABLE t_x (id int)", "DROP TABLE t_x; VACUUM t")]
#[case::block(
    "CREATE TABLE t_x (id int)",
    "DO $$ BEGIN DELETE FROM t; COMMIT; INSERT INTO t VALUES (1); END $$; DROP TABLE t_x"
)]
#[tokio::test]
async fn files_that_are_gone_are_reverted_as_they_were(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
    #[case] down: &str,
) {
    let folder = Folder::new(&[(FIRST, "CREATE TABLE t (x int)", "DROP TABLE t")]);
    folder.add_bare(SECOND, up, down);
    assert_eq!(std::fs::read_to_string(folder.path().join(SECOND).join("metadata.toml")).unwrap(), BARE);
    migrate(folder.path(), &empty_db, &["up"]).well();
    folder.remove(SECOND);
    migrate(folder.path(), &empty_db, &["down"]).well();
    let left = "SELECT count(*) FROM pg_class WHERE relname = 't_x'";
    assert_eq!(number(&mut connection(&empty_db).await, left).await, 0);
    assert_eq!(status(folder.path(), &empty_db).len(), 1);
}
