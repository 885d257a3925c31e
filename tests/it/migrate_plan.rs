//! What `plan` tells of each statement: its locks, what it reads or rewrites, or that this is not measured.

use bedplate::DatabaseUrl;
use bedplate::database::migrate;
use rstest::rstest;

use crate::support::folder::BARE;
use crate::support::server::server;
use crate::support::{Folder, connection, empty_db, number, texts};

const ONE: &str = "2026-01-01-000000_one";
const TWO: &str = "2026-01-02-000000_two";
const THREE: &str = "2026-01-03-000000_three";

/// The statements, and for each its locks and its work, as `table mode` and `verb table (held …)`.
async fn plan(url: &DatabaseUrl, folder: &Folder) -> Vec<(Vec<String>, Vec<String>)> {
    let planned = migrate::plan(url, &folder.source(), &server().owner, |_| {}).await.unwrap();
    let statements = planned.into_iter().flat_map(|migration| migration.statements);
    let held =
        |locks: &[migrate::TableLock]| locks.iter().map(|l| format!("{} {}", l.table, l.mode)).collect::<Vec<_>>();
    statements
        .map(|statement| {
            let work = statement.work.iter().map(|work| {
                let verb = if work.rewritten { "rewrites" } else { "reads" };
                format!("{verb} {} holding {}", work.table, held(&work.while_holding).join(", "))
            });
            let not_measured = statement.not_measured.iter().map(|reason| format!("not measured: {reason}"));
            (held(&statement.locks).into_iter().chain(not_measured).collect(), work.collect())
        })
        .collect()
}

#[rstest]
#[case::plain("ALTER TABLE a ADD COLUMN more int", &["a ACCESS EXCLUSIVE"], &[])]
#[case::constant("ALTER TABLE a ADD COLUMN more int NOT NULL DEFAULT 1", &["a ACCESS EXCLUSIVE"], &[])]
#[case::volatile("ALTER TABLE a ADD COLUMN more float DEFAULT random()", &["a ACCESS EXCLUSIVE"], &["rewrites a holding a ACCESS EXCLUSIVE"])]
#[case::narrower("ALTER TABLE a ALTER COLUMN word TYPE varchar(10)", &["a ACCESS EXCLUSIVE"], &["rewrites a holding a ACCESS EXCLUSIVE"])]
#[case::wider("ALTER TABLE a ALTER COLUMN short TYPE varchar(100)", &["a ACCESS EXCLUSIVE"], &[])]
#[case::not_null("ALTER TABLE a ALTER COLUMN word SET NOT NULL", &["a ACCESS EXCLUSIVE"], &["reads a holding a ACCESS EXCLUSIVE"])]
#[case::check("ALTER TABLE a ADD CHECK (id > 0)", &["a ACCESS EXCLUSIVE"], &["reads a holding a ACCESS EXCLUSIVE"])]
#[case::not_valid("ALTER TABLE a ADD CHECK (id > 0) NOT VALID", &["a ACCESS EXCLUSIVE"], &[])]
#[case::index("CREATE INDEX ON a (word)", &["a SHARE"], &["reads a holding a SHARE"])]
#[case::foreign_key("ALTER TABLE b ADD FOREIGN KEY (id) REFERENCES a NOT VALID", &["a SHARE ROW EXCLUSIVE", "b SHARE ROW EXCLUSIVE"], &[])]
#[case::new_table("CREATE TABLE c (id int)", &[], &[])]
#[case::trigger("CREATE TRIGGER t BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", &["a SHARE ROW EXCLUSIVE"], &[])]
#[case::drop("DROP TABLE a", &["a ACCESS EXCLUSIVE"], &[])]
#[case::truncate("TRUNCATE a", &["a ACCESS EXCLUSIVE"], &[])]
#[case::lock("LOCK TABLE a IN EXCLUSIVE MODE", &["a EXCLUSIVE"], &[])]
#[case::reindex("REINDEX INDEX a_pkey", &["a SHARE", "a_pkey ACCESS EXCLUSIVE"], &["reads a holding a SHARE, a_pkey ACCESS EXCLUSIVE"])]
#[case::rename_index("ALTER INDEX a_pkey RENAME TO a_key", &["a_pkey SHARE UPDATE EXCLUSIVE"], &[])]
#[case::sequence("ALTER SEQUENCE s INCREMENT BY 2", &["s SHARE ROW EXCLUSIVE"], &[])]
#[case::view("DROP VIEW v", &["v ACCESS EXCLUSIVE"], &[])]
#[case::dynamic("DO $$ BEGIN EXECUTE 'ALTER TABLE ' || 'a ADD COLUMN more int'; END $$", &["a ACCESS EXCLUSIVE"], &[])]
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_locks_scans_and_rewrites(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] sql: &str,
    #[case] locks: &[&str],
    #[case] work: &[&str],
) {
    let folder = Folder::new(&[(
        ONE,
        "CREATE TABLE a (id int PRIMARY KEY, word text, short varchar(5)); CREATE TABLE b (id int); \
         CREATE SEQUENCE s; CREATE VIEW v AS SELECT 1",
        "DROP TABLE a, b",
    )]);
    folder.up(&empty_db).await.unwrap();
    folder.add(TWO, sql, "SELECT 1");
    assert_eq!(
        plan(&empty_db, &folder).await,
        [(locks.iter().map(ToString::to_string).collect(), work.iter().map(ToString::to_string).collect())]
    );
    // Planning changes nothing.
    assert_eq!(number(&mut connection(&empty_db).await, "SELECT count(*) FROM __diesel_schema_migrations").await, 1);
}

/// A lock is held to the end of the transaction: what comes later goes through another table meanwhile.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_which_locks_are_held_while_a_table_is_read(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[(ONE, "CREATE TABLE a (id int); CREATE TABLE b (id int)", "DROP TABLE a, b")]);
    folder.up(&empty_db).await.unwrap();
    folder.add(TWO, "ALTER TABLE a ADD COLUMN more int; CREATE INDEX ON b (id)", "SELECT 1");
    let text = |items: &[&str]| items.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        plan(&empty_db, &folder).await,
        [
            (text(&["a ACCESS EXCLUSIVE"]), vec![]),
            (text(&["b SHARE"]), text(&["reads b holding a ACCESS EXCLUSIVE, b SHARE"]))
        ]
    );
    folder.write(TWO, "metadata.toml", BARE);
    folder.write(TWO, "up.sql", "ALTER TABLE a ADD COLUMN more int; CREATE INDEX CONCURRENTLY b_id ON b (id)");
    assert_eq!(
        plan(&empty_db, &folder).await,
        [
            (text(&["a ACCESS EXCLUSIVE"]), vec![]),
            (text(&["b SHARE UPDATE EXCLUSIVE"]), text(&["reads b holding b SHARE UPDATE EXCLUSIVE"]))
        ]
    );
    assert_eq!(
        texts(
            &mut connection(&empty_db).await,
            "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'b'::regclass"
        )
        .await,
        Vec::<String>::new()
    );
}

/// What has no transaction around it has its locks too: measured in one where PostgreSQL allows that, else the manual's.
#[rstest]
#[case::vacuum("VACUUM a", &["a SHARE UPDATE EXCLUSIVE"], &["reads a holding a SHARE UPDATE EXCLUSIVE"])]
#[case::vacuum_full("VACUUM FULL a", &["a ACCESS EXCLUSIVE"], &["rewrites a holding a ACCESS EXCLUSIVE"])]
#[case::vacuum_full_of_two(
    "VACUUM (FULL, ANALYZE) a (id), m",
    &["a ACCESS EXCLUSIVE", "m ACCESS EXCLUSIVE"],
    &["rewrites a holding a ACCESS EXCLUSIVE", "rewrites m holding m ACCESS EXCLUSIVE"]
)]
#[case::vacuum_not_full("VACUUM (FULL off) m", &["m SHARE UPDATE EXCLUSIVE"], &["reads m holding m SHARE UPDATE EXCLUSIVE"])]
#[case::vacuum_all(
    "VACUUM",
    &["a SHARE UPDATE EXCLUSIVE", "m SHARE UPDATE EXCLUSIVE", "p1 SHARE UPDATE EXCLUSIVE"],
    &["reads a holding a SHARE UPDATE EXCLUSIVE", "reads m holding m SHARE UPDATE EXCLUSIVE", "reads p1 holding p1 SHARE UPDATE EXCLUSIVE"]
)]
#[case::vacuum_partitioned("VACUUM FULL p", &["p1 ACCESS EXCLUSIVE"], &["rewrites p1 holding p1 ACCESS EXCLUSIVE"])]
#[case::cluster("CLUSTER a USING a_pkey", &["a ACCESS EXCLUSIVE"], &["rewrites a holding a ACCESS EXCLUSIVE"])]
#[case::cluster_all("CLUSTER", &["m ACCESS EXCLUSIVE"], &["rewrites m holding m ACCESS EXCLUSIVE"])]
#[case::reindex("REINDEX TABLE m", &["m SHARE", "m_id ACCESS EXCLUSIVE"], &["reads m holding m SHARE, m_id ACCESS EXCLUSIVE"])]
#[case::reindex_concurrently("REINDEX INDEX CONCURRENTLY a_pkey", &["a SHARE UPDATE EXCLUSIVE"], &["reads a holding a SHARE UPDATE EXCLUSIVE"])]
#[case::refresh("REFRESH MATERIALIZED VIEW m", &["m ACCESS EXCLUSIVE"], &["rewrites m holding m ACCESS EXCLUSIVE", "reads a holding m ACCESS EXCLUSIVE"])]
#[case::refresh_concurrently("REFRESH MATERIALIZED VIEW CONCURRENTLY m", &["m EXCLUSIVE"], &["reads a holding m EXCLUSIVE", "reads m holding m EXCLUSIVE"])]
#[case::lock("LOCK a", &["a ACCESS EXCLUSIVE"], &[])]
#[case::drop_index("DROP INDEX CONCURRENTLY a_word", &["a SHARE UPDATE EXCLUSIVE"], &[])]
#[case::detach(
    "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
    &["p1 SHARE UPDATE EXCLUSIVE", "p1 ACCESS EXCLUSIVE"],
    &[]
)]
#[case::block("DO $$ BEGIN ALTER TABLE a ALTER COLUMN word TYPE varchar(9); END $$", &["a ACCESS EXCLUSIVE"], &["rewrites a holding a ACCESS EXCLUSIVE"])]
#[case::block_that_commits("DO $$ BEGIN LOCK a; COMMIT; END $$", &["not measured: ends transactions itself"], &[])]
#[case::call("CALL changes()", &["a ACCESS EXCLUSIVE"], &[])]
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_the_locks_of_what_stands_alone(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] sql: &str,
    #[case] locks: &[&str],
    #[case] work: &[&str],
) {
    let folder = Folder::new(&[(
        ONE,
        "CREATE TABLE a (id int PRIMARY KEY, word text); CREATE INDEX a_word ON a (word); \
         CREATE MATERIALIZED VIEW m AS SELECT id FROM a; CREATE UNIQUE INDEX m_id ON m (id); ALTER MATERIALIZED VIEW m CLUSTER ON m_id; \
         CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); \
         CREATE PROCEDURE changes() BEGIN ATOMIC SELECT 1; END; DROP PROCEDURE changes; \
         CREATE PROCEDURE changes() LANGUAGE plpgsql AS 'BEGIN ALTER TABLE a ADD COLUMN more int; END'",
        "SELECT 1",
    )]);
    folder.up(&empty_db).await.unwrap();
    folder.add_bare(TWO, sql, "SELECT 1");
    assert_eq!(
        plan(&empty_db, &folder).await,
        [(locks.iter().map(ToString::to_string).collect(), work.iter().map(ToString::to_string).collect())]
    );
}

/// What is executed outside of a transaction has its effect on the statements behind it.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_alone_is_there_for_the_next(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[(ONE, "CREATE TABLE a (id int)", "DROP TABLE a")]);
    folder.up(&empty_db).await.unwrap();
    folder.add_bare(TWO, "CREATE INDEX CONCURRENTLY a_id ON a (id); DROP INDEX a_id", "SELECT 1");
    assert_eq!(plan(&empty_db, &folder).await[1].0, ["a ACCESS EXCLUSIVE"]);
}

/// Each migration has a session of its own: role, settings and temporary tables of the one before are gone.
#[rstest]
#[case::role("SET ROLE bedplate_app")]
#[case::search_path("SET search_path TO ''")]
#[case::temporary_table("CREATE TEMPORARY TABLE b (id int)")]
#[tokio::test(flavor = "multi_thread")]
async fn each_migration_is_planned_in_a_fresh_session(#[future(awt)] empty_db: DatabaseUrl, #[case] left: &str) {
    let _roles = crate::support::migrated(bedplate::database::DatabaseName::Main).await;
    let folder = Folder::new(&[(ONE, left, "SELECT 1"), (TWO, "CREATE TABLE b (id int)", "DROP TABLE b")]);
    folder.add(THREE, "DO $$ BEGIN ASSERT 'public.b'::regclass IS NOT NULL; END $$", "SELECT 1");
    assert_eq!(plan(&empty_db, &folder).await.len(), 3);
}

/// The file's own BEGIN … COMMIT is one transaction: a lock is held to its end, and not behind it.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_own_transaction_of_a_file_is_planned_as_one(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[(ONE, "CREATE TABLE a (id int); CREATE TABLE b (id int)", "DROP TABLE a, b")]);
    folder.up(&empty_db).await.unwrap();
    folder.add_bare(
        TWO,
        "BEGIN; LOCK a; CREATE INDEX ON b (id); COMMIT; CREATE INDEX ON b (id); SET ROLE NONE",
        "SELECT 1",
    );
    let work: Vec<_> = plan(&empty_db, &folder).await.into_iter().flat_map(|(_, work)| work).collect();
    assert_eq!(work, ["reads b holding a ACCESS EXCLUSIVE, b SHARE", "reads b holding b SHARE"]);
}

/// A statement that needs data from the client is refused, as `up` refuses it, and not waited for.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_refuses_what_up_refuses(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[(ONE, "CREATE TABLE a (id int); COPY a FROM STDIN", "DROP TABLE a")]);
    let error = migrate::plan(&empty_db, &folder.source(), &server().owner, |_| {}).await.unwrap_err().to_string();
    assert_eq!(error, folder.up(&empty_db).await.unwrap_err().to_string());
}
