//! Files as people write them.

use bedplate::DatabaseUrl;
use rstest::rstest;

use super::{migrate, status};
use crate::support::{Folder, connection, empty_db, number, texts};

const NAME: &str = "2026-01-01-000000_a";

/// 1. A file is applied.
/// 2. Its line endings become those of another system, also inside of a body.
/// 3. `up` passes, and `status` calls the difference cosmetic.
#[rstest]
#[case::to_unix(
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\r\nBEGIN\r\n  RETURN 1;\r\nEND\r\n$$;\r\n",
    "\r\n",
    "\n"
)]
#[case::to_windows(
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 1;\nEND\n$$;\n",
    "\n",
    "\r\n"
)]
#[case::in_a_string("CREATE TABLE t (id int);\r\nCOMMENT ON TABLE t IS 'one\r\ntwo';\r\n", "\r\n", "\n")]
#[tokio::test]
async fn other_line_endings_are_cosmetic(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
    #[case] from: &str,
    #[case] to: &str,
) {
    let folder = Folder::new(&[(NAME, up, "SELECT 1")]);
    migrate(folder.path(), &empty_db, &["up"]).well();
    folder.write(NAME, "up.sql", &up.replace(from, to));
    migrate(folder.path(), &empty_db, &["up"]).well();
    let problems = status(folder.path(), &empty_db)[0]["problems"].clone();
    assert_eq!(problems[0]["difference"], "cosmetic", "{problems}");
}

/// A BEGIN of the file keeps what it says, and so does what is set in it.
#[rstest]
#[case::serializable(
    "BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE seen AS SELECT current_setting('transaction_isolation') AS a; COMMIT",
    "serializable"
)]
#[case::local(
    "BEGIN; SET LOCAL lock_timeout = '77ms'; CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS a; COMMIT",
    "77ms"
)]
#[case::start(
    "START TRANSACTION ISOLATION LEVEL REPEATABLE READ; CREATE TABLE seen AS SELECT current_setting('transaction_isolation') AS a; END",
    "repeatable read"
)]
#[case::deferrable(
    "BEGIN WORK ISOLATION LEVEL SERIALIZABLE, READ WRITE, DEFERRABLE; CREATE TABLE seen AS SELECT current_setting('transaction_deferrable') AS a; COMMIT",
    "on"
)]
#[case::read_only(
    "BEGIN READ ONLY; SELECT 1; COMMIT; CREATE TABLE seen AS SELECT current_setting('transaction_read_only') AS a",
    "off"
)]
#[case::two(
    "BEGIN; SET LOCAL app.x = 'first'; CREATE TABLE one (id int); COMMIT; BEGIN; CREATE TABLE seen AS SELECT coalesce(nullif(current_setting('app.x', true), ''), 'none') AS a; COMMIT",
    "none"
)]
#[tokio::test]
async fn a_begin_of_the_file_keeps_its_modes(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
    #[case] expected: &str,
) {
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, up, "SELECT 1");
    migrate(folder.path(), &empty_db, &["up"]).well();
    assert_eq!(texts(&mut connection(&empty_db).await, "SELECT a FROM seen").await, [expected]);
}

/// The migration is one transaction, so a COMMIT of the file is left out. Where the file needs it, the message says so.
#[rstest]
#[case::value_of_an_enum(
    "CREATE TYPE mood AS ENUM ('a'); ALTER TYPE mood ADD VALUE 'b'; COMMIT; BEGIN; CREATE TABLE t (m mood DEFAULT 'b')"
)]
#[case::vacuum("CREATE TABLE t (id int); COMMIT; VACUUM t")]
#[case::commit_work(
    "CREATE TYPE mood AS ENUM ('a'); ALTER TYPE mood ADD VALUE 'b'; COMMIT WORK; CREATE TABLE t (m mood DEFAULT 'b')"
)]
#[tokio::test]
async fn a_commit_that_is_left_out_is_told(#[future(awt)] empty_db: DatabaseUrl, #[case] up: &str) {
    let folder = Folder::new(&[(NAME, up, "SELECT 1")]);
    let said = migrate(folder.path(), &empty_db, &["up"]).refused().said;
    assert!(said.contains("COMMIT") && said.contains("run_in_transaction"), "{said}");
}

/// A statement that PostgreSQL refuses in a transaction, and that the engine does not know: there is a way to send it,
/// and no advice that the file follows already.
#[rstest]
#[case::discard("CREATE TABLE a (id int); DISCARD ALL")]
#[case::discard_in_lower_case("CREATE TABLE a (id int);\n/* a comment */ discard\n all")]
#[case::of_a_schema("CREATE TABLE a (id int); REINDEX (VERBOSE) SCHEMA public")]
#[tokio::test]
async fn an_unknown_statement_can_be_sent_alone(#[future(awt)] empty_db: DatabaseUrl, #[case] up: &str) {
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, up, "SELECT 1");
    let answer = migrate(folder.path(), &empty_db, &["up"]);
    assert!(!answer.said.contains("put `run_in_transaction = false`"), "{}", answer.said);
    assert!(answer.well || answer.said.contains("alone"), "{}", answer.said);
}

/// The end of a transaction that another session prepared is no COMMIT of the file: it is refused, because no rollback
/// takes it back.
#[rstest]
#[case("COMMIT PREPARED 'nowhere'")]
#[case("ROLLBACK PREPARED 'nowhere'")]
#[tokio::test]
async fn the_end_of_a_prepared_transaction_is_refused(#[future(awt)] empty_db: DatabaseUrl, #[case] up: &str) {
    let folder = Folder::new(&[]);
    folder.add_bare(NAME, up, "SELECT 1");
    let said = migrate(folder.path(), &empty_db, &["up"]).refused().said;
    assert!(said.contains("ends a transaction that another session prepared"), "{said}");
}

/// A string may go on in the next line, and keeps its kind there.
#[rstest]
#[case::escaped("E'one '\n  'it\\'s; two'", "one it's; two")]
#[case::with_a_comment("E'one ' -- a comment; it's\n  'it\\'s; two'", "one it's; two")]
#[case::plain("'one '\n  'it''s; two\\'", "one it's; two\\")]
#[case::three_lines("e'a\\'; '\n'b\\'; '\n\n  'c\\\\'", "a'; b'; c\\")]
#[case::unicode("U&'one; '\n'\\0041'", "one; A")]
#[tokio::test]
async fn a_continued_string_is_one(#[future(awt)] empty_db: DatabaseUrl, #[case] string: &str, #[case] expected: &str) {
    let up = format!("CREATE TABLE a (t text);\nINSERT INTO a VALUES ({string});\nINSERT INTO a VALUES ('three');\n");
    let folder = Folder::new(&[(NAME, &up, "SELECT 1")]);
    migrate(folder.path(), &empty_db, &["up"]).well();
    let mut rows = texts(&mut connection(&empty_db).await, "SELECT t FROM a ORDER BY t = 'three'").await;
    assert_eq!((rows.remove(0).as_str(), rows.len()), (expected, 1));
}

/// A command of psql is no SQL: the message says that.
#[rstest]
#[case::copy("\\copy a from rows.csv csv")]
#[case::include("\\i other.sql")]
#[case::set("\\set rows 7\nINSERT INTO a VALUES (:rows);")]
#[case::behind_a_query("SELECT 'SELECT 1' \\gexec")]
#[tokio::test]
async fn a_command_of_psql_is_told(#[future(awt)] empty_db: DatabaseUrl, #[case] line: &str) {
    let up = format!("CREATE TABLE a (id int, t text);\n{line}\n");
    let folder = Folder::new(&[(NAME, &up, "SELECT 1")]);
    let said = migrate(folder.path(), &empty_db, &["up"]).refused().said;
    assert!(said.contains("psql") && said.contains("line 2"), "{said}");
}

/// Rows behind COPY … FROM STDIN are for psql: the message says that, whatever quotes the rows hold.
#[rstest]
#[case::text("COPY a (id, t) FROM stdin;\n1\tit's\n2\t\\N\n\\.")]
#[case::csv("copy a from STDIN with (format csv);\n1,\"x;y\n2,$$\n\\.")]
#[case::other_comment("COPY a FROM STDIN;\n1\t/* open\n2\t\"\n\\.")]
#[tokio::test]
async fn rows_of_copy_are_told(#[future(awt)] empty_db: DatabaseUrl, #[case] copy: &str) {
    let up = format!("CREATE TABLE a (id int, t text);\n{copy}\nCREATE TABLE b (id int);\n");
    let folder = Folder::new(&[(NAME, &up, "SELECT 1")]);
    let said = migrate(folder.path(), &empty_db, &["up"]).refused().said;
    assert!(said.to_uppercase().contains("COPY") && said.contains("line 2"), "{said}");
    assert!(!said.contains("does not end"), "{said}");
    assert_eq!(number(&mut connection(&empty_db).await, "SELECT count(*) FROM pg_class WHERE relname = 'a'").await, 0);
}

/// A folder of another tool holds no migration of Diesel's layout: that is told, and is no success.
#[rstest]
#[case::two_forms(&["20260101000000_init.sql", "20260101000001_x.up.sql"])]
#[case::versions(&["V1__init.sql", "V2__more.sql"])]
#[case::up_and_down(&["001_init.up.sql", "001_init.down.sql"])]
#[tokio::test]
async fn flat_files_are_told(#[future(awt)] empty_db: DatabaseUrl, #[case] files: &[&str]) {
    let folder = Folder::new(&[]);
    for file in files {
        std::fs::write(folder.path().join(file), "CREATE TABLE a (id int);\n").unwrap();
    }
    let said = migrate(folder.path(), &empty_db, &["up"]).refused().said;
    assert!(said.contains(".sql"), "{said}");
    // An empty folder of a new application is not of this kind.
    let new = Folder::new(&[]);
    assert!(migrate(new.path(), &empty_db, &["up"]).well().said.contains("Nothing to do"));
}
