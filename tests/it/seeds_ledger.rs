//! The ledger of the seeds knows when a table that they filled lost its rows, whoever took them away.

use std::collections::BTreeMap;

use bedplate::database::DatabaseName;
use bedplate::database::maintain;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::seed::{self, Outcome, SeedFile, Set};
use bedplate::database::status;
use bedplate::{DatabaseUrl, Environment};
use rstest::rstest;

use crate::support::{TestDatabase, connection, db, execute, migrated, number, texts};

const BOTH: [Set; 2] = [Set::Reference, Set::Development];

async fn load(url: &DatabaseUrl, of: DatabaseName) -> BTreeMap<Outcome, usize> {
    count(&seed::load(url, of, Environment::Development, &BOTH).await.unwrap())
}

fn count(outcomes: &[(String, Outcome)]) -> BTreeMap<Outcome, usize> {
    let mut counts = BTreeMap::new();
    for (_, outcome) in outcomes {
        *counts.entry(*outcome).or_default() += 1;
    }
    counts
}

/// Rows by table. The audit log is left out: it tells that rows came twice.
async fn rows(url: &DatabaseUrl, of: DatabaseName) -> BTreeMap<String, i64> {
    let tables = status::read(url, of).await.unwrap().tables.into_iter();
    tables.filter(|table| table.table != "audit_log").map(|table| (table.table, table.rows)).collect()
}

/// After any number of migrations was reverted and applied again, every row is back, and a further run has nothing to
/// do.
#[rstest]
#[case(DatabaseName::Main)]
#[case(DatabaseName::Rfq)]
#[case(DatabaseName::Marketdata)]
#[tokio::test(flavor = "multi_thread")]
async fn seeds_of_reverted_tables_come_back(#[case] of: DatabaseName) {
    let db = migrated(of).await;
    load(&db.url, of).await;
    let loaded = rows(&db.url, of).await;
    let source = Source::Embedded(of);
    let mut restored = 0;
    for count in 1..=source.read().unwrap().len() {
        migrate::run(&db.url, &source, Direction::Down { count }, |_| {}).await.unwrap();
        migrate::run(&db.url, &source, Direction::Up, |_| {}).await.unwrap();
        restored += load(&db.url, of).await.get(&Outcome::Restored).copied().unwrap_or_default();
        assert_eq!(rows(&db.url, of).await, loaded, "after {count} migrations went down and up");
        assert_eq!(load(&db.url, of).await.keys().collect::<Vec<_>>(), [&Outcome::Unchanged]);
    }
    assert!(restored > 0);
}

/// The diesel CLI runs `down.sql` and `up.sql` and knows no ledger.
#[rstest]
#[case(DatabaseName::Rfq)]
#[case(DatabaseName::Marketdata)]
#[tokio::test(flavor = "multi_thread")]
async fn seeds_of_tables_that_another_tool_reverted_come_back(#[case] of: DatabaseName) {
    let db = migrated(of).await;
    load(&db.url, of).await;
    let loaded = rows(&db.url, of).await;
    let mut folders: Vec<_> =
        std::fs::read_dir(format!("migrations/{of}")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    let mut owner = connection(&db.url).await;
    for (file, folders) in
        [("down.sql", folders.iter().rev().collect::<Vec<_>>()), ("up.sql", folders.iter().collect())]
    {
        for folder in folders {
            execute(&mut owner, &std::fs::read_to_string(folder.join(file)).unwrap()).await;
        }
    }
    assert!(rows(&db.url, of).await.values().all(|rows| *rows == 0));
    assert!(load(&db.url, of).await.contains_key(&Outcome::Restored));
    assert_eq!(rows(&db.url, of).await, loaded);
}

/// Each table that the seeds fill, emptied with what refers to it.
#[rstest]
#[case(DatabaseName::Main)]
#[case(DatabaseName::Rfq)]
#[case(DatabaseName::Marketdata)]
#[tokio::test(flavor = "multi_thread")]
async fn seeds_of_truncated_tables_come_back(#[case] of: DatabaseName) {
    let db = migrated(of).await;
    load(&db.url, of).await;
    let loaded = rows(&db.url, of).await;
    let mut owner = connection(&db.url).await;
    let mut truncated = 0;
    // Events cannot be taken away.
    for table in loaded.iter().filter(|(table, rows)| **rows > 0 && !table.starts_with("event")).map(|(table, _)| table)
    {
        execute(&mut owner, &format!("TRUNCATE {table} CASCADE")).await;
        assert!(load(&db.url, of).await.contains_key(&Outcome::Restored), "{table}");
        assert_eq!(rows(&db.url, of).await, loaded, "after TRUNCATE {table}");
        truncated += 1;
    }
    assert!(truncated >= 2);
}

const THINGS: &str = "CREATE TABLE things (id int PRIMARY KEY, name text DEFAULT 'unknown'); \
                      GRANT SELECT, INSERT, UPDATE, DELETE ON things TO bedplate_system; ";

fn file(name: &str, sql: &str) -> SeedFile {
    SeedFile { name: name.into(), sql: sql.into() }
}

fn one_and_two() -> [SeedFile; 2] {
    [
        file("one.sql", "INSERT INTO things VALUES (1, 'one') ON CONFLICT (id) DO UPDATE SET name = excluded.name"),
        file("two.sql", "INSERT INTO things VALUES (2, 'two') ON CONFLICT DO NOTHING"),
    ]
}

/// What happens to a table by hand, and how many of two files are loaded again.
#[rstest]
#[case::nothing("SELECT", 0)]
#[case::dropped("DROP TABLE things", 2)]
#[case::another_row_is_there("DROP TABLE things; {THINGS} INSERT INTO things VALUES (3)", 2)]
#[case::swapped("ALTER TABLE things RENAME TO old; ALTER INDEX things_pkey RENAME TO old_pkey; {THINGS}", 2)]
#[case::truncated("TRUNCATE things", 2)]
#[case::deleted("DELETE FROM things", 2)]
#[case::column_made_again("ALTER TABLE things DROP COLUMN name; ALTER TABLE things ADD COLUMN name text", 2)]
#[case::column_added("ALTER TABLE things ADD COLUMN more text", 0)]
#[case::somebodys_change("UPDATE things SET name = 'mine'; INSERT INTO things VALUES (3, 'three')", 0)]
#[tokio::test]
async fn a_table_that_lost_what_a_file_wrote_is_noticed(
    #[future(awt)] db: TestDatabase,
    #[case] by_hand: &str,
    #[case] expected: usize,
) {
    let mut owner = connection(&db.url).await;
    // Both rows are there already: a file that finds nothing to write has filled the table all the same.
    execute(&mut owner, &format!("{THINGS} INSERT INTO things VALUES (1, 'one'), (2, 'two')")).await;
    let load = async || count(&seed::load_files(&db.url, DatabaseName::Main, &one_and_two()).await.unwrap());
    assert_eq!(load().await, BTreeMap::from([(Outcome::Loaded, 2)]));
    execute(&mut owner, &by_hand.replace("{THINGS}", THINGS)).await;
    if by_hand == "DROP TABLE things" {
        let error = seed::load_files(&db.url, DatabaseName::Main, &one_and_two()).await.unwrap_err();
        assert_eq!(error.to_string(), "seeds: one.sql: relation \"things\" does not exist; nothing was written");
        execute(&mut owner, THINGS).await;
    }
    assert_eq!(load().await.get(&Outcome::Restored).copied().unwrap_or_default(), expected);
    let named = "SELECT count(*) FROM things WHERE (id, name) IN ((1, 'one'), (2, 'two'))";
    let kept = if by_hand.starts_with("UPDATE") { 0 } else { 2 };
    // A file that leaves rows alone that are there cannot bring a column back.
    let kept = if by_hand.contains("DROP COLUMN") { 1 } else { kept };
    assert_eq!(number(&mut owner, named).await, kept);
    assert_eq!(load().await, BTreeMap::from([(Outcome::Unchanged, 2)]));
}

/// Out of a dump every table has another oid, and its rows.
#[rstest]
#[tokio::test]
async fn a_restored_dump_is_no_revert(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, THINGS).await;
    let load = async || count(&seed::load_files(&db.url, DatabaseName::Main, &one_and_two()).await.unwrap());
    load().await;
    execute(&mut owner, "UPDATE things SET name = 'mine'").await;
    for table in ["things", "__bedplate_seeds"] {
        execute(
            &mut owner,
            &format!(
                "CREATE TABLE copy (LIKE {table} INCLUDING ALL); INSERT INTO copy SELECT * FROM {table}; \
                 DROP TABLE {table}; ALTER TABLE copy RENAME TO {table}; ALTER INDEX copy_pkey RENAME TO {table}_pkey; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO bedplate_system"
            ),
        )
        .await;
    }
    assert_eq!(load().await, BTreeMap::from([(Outcome::Unchanged, 2)]));
    assert_eq!(texts(&mut owner, "SELECT DISTINCT name FROM things").await, ["mine"]);
    // From then on, the ledger knows these tables.
    execute(&mut owner, &format!("DROP TABLE things; {THINGS} INSERT INTO things VALUES (3)")).await;
    assert_eq!(load().await, BTreeMap::from([(Outcome::Restored, 2)]));
}

/// No rule between rows is broken where there are no rows.
#[rstest]
#[tokio::test]
async fn a_table_that_ends_up_empty_is_a_broken_rule(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, THINGS).await;
    let [one, _] = one_and_two();
    let files = [one, file("none.sql", "DELETE FROM things")];
    let error = seed::load_files(&db.url, DatabaseName::Main, &files).await.unwrap_err();
    assert_eq!(error.to_string(), "seeds: public.things has no rows, but one.sql fills it; nothing was written");
}

#[rstest]
#[tokio::test]
async fn every_file_is_run_again_on_request(#[future(awt)] db: TestDatabase) {
    load(&db.url, DatabaseName::Main).await;
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system; UPDATE tenants SET name = 'mine'; DELETE FROM idempotency_keys")
        .await;
    let again = seed::load_again(&db.url, DatabaseName::Main, Environment::Development, &BOTH).await.unwrap();
    assert_eq!(count(&again).keys().collect::<Vec<_>>(), [&Outcome::Repeated]);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM tenants WHERE name = 'mine'").await, 0);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM idempotency_keys").await, 2);
}

/// What ends the run's transaction, and what only psql understands, is named with its line; nothing is written.
#[rstest]
#[case::commit("INSERT INTO two VALUES (2);\nCOMMIT;", "line 2: COMMIT would end the transaction")]
#[case::rollback("INSERT INTO two VALUES (2);\n\nROLLBACK", "line 3: ROLLBACK would end the transaction")]
#[case::begin("BEGIN; INSERT INTO two VALUES (2); COMMIT;", "line 1: BEGIN would end the transaction")]
#[case::end("INSERT INTO two VALUES (2); END", "line 1: END would end the transaction")]
#[case::copy("COPY two FROM stdin;\n2\n\\.\n", "line 1")]
#[case::command("\\set a 1\nINSERT INTO two VALUES (2);", "line 1")]
#[tokio::test]
async fn a_file_that_ends_the_transaction_is_refused(
    #[future(awt)] db: TestDatabase,
    #[case] sql: &str,
    #[case] said: &str,
) {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "CREATE TABLE two (n int); GRANT ALL ON two TO bedplate_system").await;
    let files = [file("own/main/010_good.sql", "INSERT INTO two VALUES (1)"), file("own/main/020_bad.sql", sql)];
    let error = seed::load_files(&db.url, DatabaseName::Main, &files).await.unwrap_err().to_string();
    assert!(error.contains("own/main/020_bad.sql: ") && error.contains(said), "{error}");
    assert_eq!(number(&mut owner, "SELECT count(*) FROM two").await, 0);
}

/// As `pg_dump` writes its files; a byte order mark, as some editors do; a savepoint.
#[rstest]
#[tokio::test]
async fn settings_of_a_file_are_its_own(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "CREATE TABLE two (n int, zone text); GRANT ALL ON two TO bedplate_system").await;
    let dump = "\u{feff}SELECT pg_catalog.set_config('search_path', '', false); SET TimeZone = 'Asia/Tokyo'; \
                SAVEPOINT a; ROLLBACK TO a; INSERT INTO public.two VALUES (1, current_setting('TimeZone'));";
    let plain = "INSERT INTO two VALUES (2, current_setting('TimeZone'))";
    let files = [file("own/main/010_dump.sql", dump), file("own/main/020_plain.sql", plain)];
    let loaded = seed::load_files(&db.url, DatabaseName::Main, &files).await.unwrap();
    assert_eq!(count(&loaded), BTreeMap::from([(Outcome::Loaded, 2)]));
    let zones = texts(&mut owner, "SELECT zone FROM two ORDER BY n").await;
    assert!(zones[0] == "Asia/Tokyo" && zones[1] != "Asia/Tokyo", "{zones:?}");
}

/// 010 fills a table from which 020 moves the rows on: that is no table that lost its rows.
#[rstest]
#[tokio::test]
async fn the_last_file_that_writes_a_table_decides(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "CREATE TABLE staged (n int); CREATE TABLE two (n int); GRANT ALL ON staged, two TO bedplate_system",
    )
    .await;
    let files = [
        file("own/main/010_staged.sql", "INSERT INTO staged VALUES (1)"),
        file(
            "own/main/020_moved.sql",
            "WITH rows AS (DELETE FROM staged RETURNING n) INSERT INTO two SELECT n FROM rows",
        ),
    ];
    let load = async || count(&seed::load_files(&db.url, DatabaseName::Main, &files).await.unwrap());
    assert_eq!(load().await, BTreeMap::from([(Outcome::Loaded, 2)]));
    assert_eq!(load().await, BTreeMap::from([(Outcome::Unchanged, 2)]));
    execute(&mut owner, "TRUNCATE two").await;
    assert!(load().await.contains_key(&Outcome::Restored));
}

/// What `bedplate maintain` deletes for its age is not loaded again: a message would be sent twice.
#[rstest]
#[tokio::test]
async fn what_was_deleted_for_its_age_stays_away(#[future(awt)] db: TestDatabase) {
    load(&db.url, DatabaseName::Main).await;
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "SET ROLE bedplate_system; UPDATE outbox_events SET dead_at = NULL, published_at = now() - interval '1 s'",
    )
    .await;
    let keep = maintain::Keep { outbox_days: 0, processed_days: 0, ..maintain::Keep::default() };
    let kept = maintain::run(db.config(), keep, |_| {}).await.unwrap();
    assert!(kept.outbox_events_pruned > 0 && kept.processed_events_pruned > 0, "{kept:?}");
    assert_eq!(load(&db.url, DatabaseName::Main).await.keys().collect::<Vec<_>>(), [&Outcome::Unchanged]);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM outbox_events").await, 0);
}
