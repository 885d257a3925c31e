//! Migrations: they come back, they leave nothing half done, and runners side by side do not hurt.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Event, MigrationState, Source};
use bedplate::{DatabaseUrl, Error};
use futures_util::future::join_all;
use rstest::rstest;

use crate::support::{connection, empty_db, execute, number, texts};

/// Everything in the schema that a migration can make, as lines: names, types, defaults, constraints, indexes,
/// policies, grants, comments, functions, triggers.
async fn catalogue(url: &DatabaseUrl) -> Vec<String> {
    let mut owner = connection(url).await;
    let mine = "relnamespace = 'public'::regnamespace AND NOT starts_with(relname, '__')";
    let mut lines = texts(&mut owner, &format!(
        "SELECT concat_ws(' ', 'relation', relname, relkind, relowner::regrole, relrowsecurity, relforcerowsecurity, \
                array(SELECT unnest(relacl)::text ORDER BY 1)::text, obj_description(oid, 'pg_class'), pg_get_indexdef(CASE relkind WHEN 'i' THEN oid END)) \
           FROM pg_class WHERE {mine} \
         UNION ALL SELECT concat_ws(' ', 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, \
                attidentity, attgenerated, attacl::text, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)) \
           FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum) \
          WHERE {mine} AND relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped \
         UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')) \
           FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND NOT starts_with(conrelid::regclass::text, '__') \
         UNION ALL SELECT concat_ws(' ', 'policy', polrelid::regclass, polname, polcmd, polpermissive, polroles::regrole[]::text, \
                pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), obj_description(oid, 'pg_policy')) FROM pg_policy \
         UNION ALL SELECT concat_ws(' ', 'trigger', tgrelid::regclass, pg_get_triggerdef(oid), obj_description(oid, 'pg_trigger')) \
           FROM pg_trigger WHERE NOT tgisinternal \
         UNION ALL SELECT concat_ws(' ', 'function', pg_get_functiondef(oid), proowner::regrole, \
                array(SELECT unnest(proacl)::text ORDER BY 1)::text, obj_description(oid, 'pg_proc')) \
           FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
         UNION ALL SELECT concat_ws(' ', 'type', typname, typtype) FROM pg_type \
          WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r') \
         UNION ALL SELECT concat_ws(' ', 'schema', nspname, nspowner::regrole, array(SELECT unnest(nspacl)::text ORDER BY 1)::text) \
           FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \
         UNION ALL SELECT concat_ws(' ', 'extension', extname) FROM pg_extension \
         UNION ALL SELECT concat_ws(' ', 'default privileges', defaclrole::regrole, defaclobjtype, defaclacl::text) FROM pg_default_acl"
    )).await;
    lines.sort();
    lines
}

async fn run(url: &DatabaseUrl, direction: Direction) -> Vec<String> {
    migrate::run(url, &Source::Embedded(DatabaseName::Main), direction, |_| {}).await.unwrap()
}

/// Up one by one, each followed by down and up again: down restores what was there, and up makes the same again.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn every_migration_comes_back(#[future(awt)] empty_db: DatabaseUrl) {
    let all = run(&empty_db, Direction::Up).await;
    assert!(all.len() >= 8, "{all:?}");
    assert_eq!(run(&empty_db, Direction::DownAll).await, all.iter().rev().cloned().collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let source = Source::Directory(folder.path().into());
    let step = async |direction| migrate::run(&empty_db, &source, direction, |_| {}).await.unwrap();
    for name in &all {
        let before = catalogue(&empty_db).await;
        copy(&Path::new("migrations/main").join(name), &folder.path().join(name));
        assert_eq!(step(Direction::Up).await, std::slice::from_ref(name));
        let after = catalogue(&empty_db).await;
        assert_eq!(before == after, name.ends_with("_write_audit_baseline"), "{name} changes something, or only rows");
        step(Direction::Down { count: 1 }).await;
        assert_eq!(catalogue(&empty_db).await, before, "down.sql of {name} does not restore what was there");
        step(Direction::Up).await;
        assert_eq!(catalogue(&empty_db).await, after, "up.sql of {name} does not make the same twice");
    }
    assert_eq!(step(Direction::Redo).await.len(), 1);
    assert_eq!(step(Direction::Up).await, Vec::<String>::new());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_leaves_nothing_and_says_why(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = folder(&[
        ("2026-01-01-000000_good", "CREATE TABLE good (id int)", "DROP TABLE good"),
        ("2026-01-02-000000_bad", "CREATE TABLE half (id int); CREATE TABLE good (id int)", "DROP TABLE half"),
        ("2026-01-03-000000_later", "CREATE TABLE later (id int)", "DROP TABLE later"),
    ]);
    let source = Source::Directory(folder.path().into());
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
async fn an_applied_migration_without_files_is_told_and_not_reverted(#[future(awt)] empty_db: DatabaseUrl) {
    let both = folder(&[
        ("2026-01-01-000000_one", "CREATE TABLE one (id int)", "DROP TABLE one"),
        ("2026-01-02-000000_two", "CREATE TABLE two (id int)", "DROP TABLE two"),
    ]);
    migrate::run(&empty_db, &Source::Directory(both.path().into()), Direction::Up, |_| {}).await.unwrap();
    std::fs::remove_dir_all(both.path().join("2026-01-02-000000_two")).unwrap();
    let source = Source::Directory(both.path().into());
    let status = migrate::status(&empty_db, &source).await.unwrap();
    assert_eq!(
        status.iter().map(|m| (m.name.as_str(), m.state)).collect::<Vec<_>>(),
        [("2026-01-01-000000_one", MigrationState::Applied), ("20260102000000", MigrationState::Missing),]
    );
    let error = migrate::run(&empty_db, &source, Direction::Down { count: 1 }, |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, Error::Configuration { message } if message.starts_with("20260102000000 is applied")),
        "{error:?}"
    );
    let nowhere = Source::Directory(both.path().join("nowhere"));
    assert!(matches!(migrate::status(&empty_db, &nowhere).await, Err(Error::Configuration { .. })));
}

/// 1. Six runners start together on an empty database.
/// 2. One works, the others wait and find nothing left.
/// 3. No failure; each migration was applied once.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn runners_side_by_side_apply_each_migration_once(#[future(awt)] empty_db: DatabaseUrl) {
    let waited = Arc::new(Mutex::new(0));
    let runners = (0..6).map(|_| {
        let (url, waited) = (empty_db.clone(), waited.clone());
        tokio::spawn(async move {
            migrate::run(&url, &Source::Embedded(DatabaseName::Main), Direction::Up, move |event| {
                if matches!(event, Event::Waiting { .. }) {
                    *waited.lock().unwrap() += 1;
                }
            })
            .await
        })
    });
    let applied: Vec<_> = join_all(runners).await.into_iter().map(|done| done.unwrap().unwrap().len()).collect();
    let mut owner = connection(&empty_db).await;
    let recorded = number(&mut owner, "SELECT count(*) FROM __diesel_schema_migrations").await;
    assert_eq!(applied.iter().filter(|count| **count > 0).count(), 1, "{applied:?}");
    assert_eq!(i64::try_from(applied.iter().sum::<usize>()).unwrap(), recorded);
}

/// What the diesel CLI applied is known here: both use Diesel's table.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_diesels_table_is_applied(#[future(awt)] empty_db: DatabaseUrl) {
    let one = folder(&[("2026-01-01-000000_one", "CREATE TABLE one (id int)", "DROP TABLE one")]);
    let source = Source::Directory(one.path().into());
    assert_eq!(migrate::status(&empty_db, &source).await.unwrap()[0].state, MigrationState::Pending);
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "INSERT INTO __diesel_schema_migrations (version) VALUES ('20260101000000')").await;
    assert_eq!(migrate::status(&empty_db, &source).await.unwrap()[0].state, MigrationState::Applied);
}

fn folder(migrations: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, up, down) in migrations {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("up.sql"), up).unwrap();
        std::fs::write(path.join("down.sql"), down).unwrap();
        std::fs::write(path.join("metadata.toml"), "run_in_transaction = true\n").unwrap();
    }
    folder
}
