//! What a migration did to its session is there again when it goes on, and nowhere else.

use rstest::rstest;

use super::migrate;
use crate::support::server::server;
use crate::support::{Folder, connection, empty_db, execute, number, texts};
use bedplate::DatabaseUrl;

const FIRST: &str = "2026-01-01-000000_first";
const SECOND: &str = "2026-01-02-000000_second";

const PEOPLE: &str = "CREATE TABLE people (id int PRIMARY KEY, tenant int, name text, display text);
    INSERT INTO people SELECT i, i % 3, 'n' || i, NULL FROM generate_series(1, 1000) i;
    ALTER TABLE people ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON people USING (tenant = nullif(current_setting('app.tenant', true), '')::int);
    CREATE POLICY by_role ON people USING (current_user = 'bedplate_kinds');
    GRANT SELECT, UPDATE ON people TO bedplate_kinds;";

/// 1. A migration outside of a transaction changes its session.
/// 2. Its backfill gives up, because another session holds a row for longer than it is tried again.
/// 3. The row is let go, and `up` goes on.
/// 4. Either every row is filled that the file means, or the refusal says which statement has to be repeated.
#[rstest]
#[case::bypassing_role("SET ROLE bedplate_kinds_all;", "SET ROLE", 1000)]
#[case::role_of_a_policy("SELECT set_config('role', 'bedplate_kinds', false);", "set_config", 1000)]
#[case::setting("SET app.tenant = '1';", "SET app.tenant", 334)]
#[case::setting_in_a_transaction("BEGIN; SET app.tenant = '2'; COMMIT;", "SET app.tenant", 333)]
#[case::setting_by_a_block("DO $$ BEGIN PERFORM set_config('app.tenant', '0', false); END $$;", "DO", 333)]
#[tokio::test]
async fn a_backfill_that_goes_on_has_its_session(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] session: &str,
    #[case] named: &str,
    #[case] rows: i64,
) {
    roles(&empty_db).await;
    let folder = Folder::new(&[(FIRST, PEOPLE, "DROP TABLE people")]);
    migrate(folder.path(), &empty_db, &["up"]).well();
    let update = "UPDATE people SET display = name WHERE display IS NULL /* batch */; RESET ROLE;";
    folder.add_bare(SECOND, &format!("{session} {update}"), "SELECT 1");
    let mut holder = connection(&empty_db).await;
    // The policies hide rows from the owner.
    execute(&mut holder, "BEGIN; SET LOCAL ROLE bedplate_kinds; SELECT FROM people WHERE id IN (3, 4, 5) FOR UPDATE")
        .await;
    migrate(folder.path(), &empty_db, &["up", "--lock-timeout", "200", "--retry", "1"]).refused();
    execute(&mut holder, "ROLLBACK").await;
    let again = migrate(folder.path(), &empty_db, &["up"]);
    execute(&mut holder, "SET ROLE bedplate_kinds").await;
    let filled = number(&mut holder, "SELECT count(*) FROM people WHERE display IS NOT NULL").await;
    if again.well {
        assert_eq!(filled, rows, "{}", again.said);
    } else {
        assert!(again.said.contains("repeat") && again.said.contains(named), "{}", again.said);
    }
}

async fn roles(url: &DatabaseUrl) {
    let make = |role: &str, attributes: &str| {
        format!(
            "DO $$ BEGIN CREATE ROLE {role} NOLOGIN {attributes}; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; "
        )
    };
    let grant = |role: &str, to: &str| {
        format!(
            "DO $$ BEGIN GRANT {role} TO {to}; EXCEPTION WHEN OTHERS THEN PERFORM pg_sleep(0.1); GRANT {role} TO {to}; END $$; "
        )
    };
    let admin = server().admin.as_ref().unwrap_or(&server().owner);
    let mut admin = connection(&admin.with_database(url.database()).unwrap()).await;
    let owner = format!("\"{}\"", url.user());
    for (role, attributes) in [("bedplate_kinds", ""), ("bedplate_kinds_all", "BYPASSRLS")] {
        execute(&mut admin, &format!("{}{}", make(role, attributes), grant(role, &owner))).await;
    }
    execute(&mut admin, &grant("bedplate_kinds", "bedplate_kinds_all")).await;
}

/// 1. A migration outside of a transaction goes to another schema.
/// 2. A unique index cannot be built. The rows are mended, and `up` goes on.
/// 3. What comes behind is made in that schema, and no INVALID index stays.
#[rstest]
#[case::set("SET search_path = app")]
#[case::schema("SET SCHEMA 'app'")]
#[case::config("SELECT set_config('search_path', 'app, public', false)")]
#[tokio::test]
async fn a_migration_goes_on_in_its_schema(#[future(awt)] empty_db: DatabaseUrl, #[case] session: &str) {
    let folder = Folder::new(&[]);
    let up = format!(
        "CREATE SCHEMA app; {session}; CREATE TABLE person (id int, email text); \
         INSERT INTO person SELECT i, 'x' FROM generate_series(1, 3) i; \
         CREATE UNIQUE INDEX CONCURRENTLY person_email ON person (email); CREATE TABLE visit (id int)"
    );
    folder.add_bare(FIRST, &up, "SELECT 1");
    migrate(folder.path(), &empty_db, &["up"]).refused();
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "UPDATE app.person SET email = id").await;
    migrate(folder.path(), &empty_db, &["up"]).well();
    let places = "SELECT oid::regclass || ' ' || coalesce((SELECT indisvalid::text FROM pg_index WHERE indexrelid = c.oid), '') \
                  FROM pg_class AS c WHERE relname IN ('person_email', 'visit') ORDER BY 1";
    assert_eq!(texts(&mut owner, places).await, ["app.person_email true", "app.visit "]);
}

/// What a migration leaves in its session does not reach the next one, of whatever kind it is.
#[rstest]
#[case::temporary_table("CREATE TEMPORARY TABLE scratch (id int)", "CREATE TEMPORARY TABLE scratch (id int)")]
#[case::hiding_table("CREATE TEMPORARY TABLE kept (id int)", "INSERT INTO kept (id, name) VALUES (1, 'a')")]
#[case::prepared("PREPARE p AS SELECT 1", "PREPARE p AS SELECT 2")]
#[case::cursor("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE c CURSOR WITH HOLD FOR SELECT 2")]
#[case::characteristics(
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET app.x = 'left'",
    "INSERT INTO kept (id) SELECT 1 WHERE current_setting('app.x', true) = 'left'"
)]
#[case::lock(
    "SELECT pg_advisory_lock(7)",
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objid = 7 AND classid = 0) THEN RAISE 'left'; END IF; END $$"
)]
#[case::listening(
    "LISTEN somewhere",
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_listening_channels()) THEN RAISE 'left'; END IF; END $$"
)]
#[tokio::test]
async fn a_session_does_not_reach_the_next_migration(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] first: &str,
    #[case] second: &str,
    #[values(true, false)] bare: bool,
) {
    let folder = Folder::new(&[("2026-01-01-000000_a", "CREATE TABLE kept (id int, name text)", "SELECT 1")]);
    let add = if bare { Folder::add_bare } else { Folder::add };
    add(&folder, "2026-01-02-000000_b", first, "SELECT 1");
    add(&folder, "2026-01-03-000000_c", second, "SELECT 1");
    migrate(folder.path(), &empty_db, &["up"]).well();
}

/// The history stays where it is, whatever schemas come to be: a second `up` has nothing to do.
#[rstest]
#[case::named("CREATE SCHEMA IF NOT EXISTS {login}")]
#[case::authorization("CREATE SCHEMA AUTHORIZATION CURRENT_USER")]
#[case::first_in_the_path(
    "CREATE SCHEMA late; ALTER ROLE CURRENT_USER IN DATABASE {database} SET search_path = late, public"
)]
#[tokio::test]
async fn a_schema_that_comes_first_does_not_hide_the_history(#[future(awt)] empty_db: DatabaseUrl, #[case] up: &str) {
    let up = up.replace("{login}", empty_db.user()).replace("{database}", empty_db.database());
    let up = format!(
        "{up}; CREATE TABLE IF NOT EXISTS public.country (code text); INSERT INTO public.country VALUES ('DE'), ('FR')"
    );
    let folder = Folder::new(&[(FIRST, &up, "SELECT 1")]);
    migrate(folder.path(), &empty_db, &["up"]).well();
    let again = migrate(folder.path(), &empty_db, &["up"]).well();
    assert!(again.said.contains("Nothing to do"), "{}", again.said);
    assert_eq!(number(&mut connection(&empty_db).await, "SELECT count(*) FROM public.country").await, 2);
}
