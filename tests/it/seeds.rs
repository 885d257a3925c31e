//! Seeds: what they hold, that a second run changes nothing, and what is refused.

use bedplate::database::seed::{self, Outcome, SeedFile, Set};
use bedplate::database::status;
use bedplate::models::TenantId;
use bedplate::{Environment, Error, TenantContext};
use rstest::rstest;
use uuid::Uuid;

use crate::support::{TestDatabase, connection, db, execute, number, texts};

const BOTH: [Set; 2] = [Set::Reference, Set::Development];

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_development_seeds_hold_what_they_promise(#[future(awt)] db: TestDatabase) {
    let loaded = seed::load(&db.url, Environment::Development, &BOTH).await.unwrap();
    assert!(loaded.iter().all(|(_, outcome)| *outcome == Outcome::Loaded) && loaded.len() >= 6, "{loaded:?}");
    let status = status::read(&db.url).await.unwrap();
    let rows: Vec<_> = status.tables.iter().map(|table| (table.table.as_str(), table.rows)).collect();
    assert_eq!(
        rows,
        [
            ("agent_results", 25),
            ("api_keys", 2),
            ("audit_log", 54),
            ("business_ideas", 6),
            ("evaluations", 5),
            ("idempotency_keys", 2),
            ("organizations", 2),
            ("sessions", 0),
            ("tenants", 2),
            ("user_entitlements", 3),
            ("user_organizations", 3),
            ("user_roles", 3),
            ("users", 3),
        ]
    );
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let each = texts(&mut owner, "SELECT DISTINCT count(*) FROM agent_results GROUP BY tenant_id, evaluation_id").await;
    assert_eq!(each, ["5"]);
    assert_eq!(number(&mut owner, "SELECT count(DISTINCT tenant_id) FROM evaluations").await, 2);
    assert_eq!(
        texts(&mut owner, "SELECT DISTINCT status FROM evaluations ORDER BY 1").await,
        ["analyzing", "completed", "failed", "pending"]
    );
}

#[rstest]
#[tokio::test]
async fn a_seeded_user_signs_in(#[future(awt)] db: TestDatabase) {
    seed::load(&db.url, Environment::Development, &BOTH).await.unwrap();
    let lumen: TenantId = "01900000-0000-7000-8000-000000000001".parse::<Uuid>().unwrap().into();
    let context = TenantContext::new(lumen);
    let user = db.authenticate(&context, "founder@lumen.example", &"bedplate-founder".into()).await.unwrap();
    assert_eq!(user.username, "founder");
}

#[rstest]
#[tokio::test]
async fn a_second_run_changes_nothing_and_a_changed_file_is_run_again(#[future(awt)] db: TestDatabase) {
    seed::load(&db.url, Environment::Development, &BOTH).await.unwrap();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let rows = "SELECT md5(string_agg(i::text, '' ORDER BY id)) FROM business_ideas AS i";
    let before = texts(&mut owner, rows).await;
    let again = seed::load(&db.url, Environment::Development, &BOTH).await.unwrap();
    assert!(again.iter().all(|(_, outcome)| *outcome == Outcome::Unchanged), "{again:?}");
    assert_eq!(texts(&mut owner, rows).await, before);

    let mut files = seed::files(Set::Development);
    let tenants = files.iter_mut().find(|file| file.name.ends_with("010_tenants.sql")).unwrap();
    tenants.sql = tenants.sql.replace("Lumen Venture Studio", "Lumen Studio");
    let outcomes = seed::load_files(&db.url, &files).await.unwrap();
    let changed: Vec<_> =
        outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Reloaded).map(|(name, _)| name.as_str()).collect();
    assert_eq!(changed, ["development/main/010_tenants.sql"]);
    assert_eq!(texts(&mut owner, "SELECT name FROM tenants WHERE slug = 'lumen'").await, ["Lumen Studio"]);

    // Every file upserts: all can be run again.
    for file in &mut files {
        file.sql.push_str("\n-- changed");
    }
    let outcomes = seed::load_files(&db.url, &files).await.unwrap();
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Reloaded), "{outcomes:?}");
}

#[rstest]
#[case::wrong_sql("INSERT INTO nowhere VALUES (1)", "bad.sql: relation \"nowhere\" does not exist")]
#[case::inconsistent(
    "UPDATE business_ideas SET status = 'evaluating' WHERE status = 'draft'",
    "not so for 2 rows: a submitted or evaluating idea has one open evaluation, any other idea has none"
)]
#[case::no_right("CREATE TABLE mine (id int)", "bad.sql: permission denied for schema public")]
#[tokio::test]
async fn a_bad_file_writes_nothing_of_any(#[future(awt)] db: TestDatabase, #[case] sql: &str, #[case] message: &str) {
    let mut files = seed::files(Set::Development);
    files.push(SeedFile { name: "bad.sql".into(), sql: sql.into() });
    let error = seed::load_files(&db.url, &files).await.unwrap_err();
    assert_eq!(error.to_string(), format!("seeds: {message}; nothing was written"));
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM tenants").await, 0);
}

#[rstest]
#[tokio::test]
async fn development_seeds_are_refused_in_production(#[future(awt)] db: TestDatabase) {
    let error = seed::load(&db.url, Environment::Production, &BOTH).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }));
    seed::load(&db.url, Environment::Production, &[Set::Reference]).await.unwrap();
    seed::load(&db.url, Environment::Staging, &BOTH).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn two_seeders_side_by_side_load_once(#[future(awt)] db: TestDatabase) {
    let (one, two) = tokio::join!(
        seed::load(&db.url, Environment::Development, &BOTH),
        seed::load(&db.url, Environment::Development, &BOTH),
    );
    let loaded = [one.unwrap(), two.unwrap()].concat();
    let files = seed::files(Set::Development).len();
    assert_eq!(loaded.iter().filter(|(_, outcome)| *outcome == Outcome::Loaded).count(), files);
}
