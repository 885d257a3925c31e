//! Seeds: what they hold, that a second run changes nothing, and what is refused.

use bedplate::database::DatabaseName;
use bedplate::database::seed::{self, Outcome, SeedFile, Set};
use bedplate::database::status;
use bedplate::models::{CompileOptions, JsonSchema, TenantId};
use bedplate::{Environment, Error, TenantContext};
use rstest::rstest;
use uuid::Uuid;

use crate::support::{TestDatabase, connection, db, execute, migrated, number, texts};

const BOTH: [Set; 2] = [Set::Reference, Set::Development];

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_development_seeds_hold_what_they_promise(#[future(awt)] db: TestDatabase) {
    let loaded = seed::load(&db.url, DatabaseName::Main, Environment::Development, &BOTH).await.unwrap();
    assert!(loaded.iter().all(|(_, outcome)| *outcome == Outcome::Loaded) && loaded.len() >= 6, "{loaded:?}");
    let status = status::read(&db.url, DatabaseName::Main).await.unwrap();
    let rows: Vec<_> = status.tables.iter().map(|table| (table.table.as_str(), table.rows)).collect();
    assert_eq!(
        rows,
        [
            ("agent_results", 25),
            ("api_keys", 2),
            ("audit_log", 67),
            ("business_ideas", 6),
            ("evaluations", 5),
            ("event_subscriptions", 4),
            ("event_tags", 15),
            ("events", 8),
            ("form_definitions", 5),
            ("form_submissions", 8),
            ("idempotency_keys", 2),
            ("organizations", 2),
            ("outbox_events", 6),
            ("outbox_stopped_endpoints", 0),
            ("processed_events", 3),
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
    seed::load(&db.url, DatabaseName::Main, Environment::Development, &BOTH).await.unwrap();
    let lumen: TenantId = "01900000-0000-7000-8000-000000000001".parse::<Uuid>().unwrap().into();
    let context = TenantContext::new(lumen);
    let user = db.authenticate(&context, "founder@lumen.example", &"bedplate-founder".into()).await.unwrap();
    assert_eq!(user.username, "founder");
}

#[rstest]
#[tokio::test]
async fn a_second_run_changes_nothing_and_a_changed_file_is_run_again(#[future(awt)] db: TestDatabase) {
    seed::load(&db.url, DatabaseName::Main, Environment::Development, &BOTH).await.unwrap();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let rows = "SELECT md5(string_agg(i::text, '' ORDER BY id)) FROM business_ideas AS i";
    let before = texts(&mut owner, rows).await;
    let again = seed::load(&db.url, DatabaseName::Main, Environment::Development, &BOTH).await.unwrap();
    assert!(again.iter().all(|(_, outcome)| *outcome == Outcome::Unchanged), "{again:?}");
    assert_eq!(texts(&mut owner, rows).await, before);

    let mut files = seed::files(&Set::Development, DatabaseName::Main).unwrap();
    let tenants = files.iter_mut().find(|file| file.name.ends_with("010_tenants.sql")).unwrap();
    tenants.sql = tenants.sql.replace("Lumen Venture Studio", "Lumen Studio");
    let outcomes = seed::load_files(&db.url, DatabaseName::Main, &files).await.unwrap();
    let changed: Vec<_> =
        outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Reloaded).map(|(name, _)| name.as_str()).collect();
    assert_eq!(changed, ["development/main/010_tenants.sql"]);
    assert_eq!(texts(&mut owner, "SELECT name FROM tenants WHERE slug = 'lumen'").await, ["Lumen Studio"]);

    // Every file upserts: all can be run again.
    for file in &mut files {
        file.sql.push_str("\n-- changed");
    }
    let outcomes = seed::load_files(&db.url, DatabaseName::Main, &files).await.unwrap();
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Reloaded), "{outcomes:?}");
}

#[rstest]
#[case::wrong_sql("INSERT INTO nowhere VALUES (1)", "bad.sql: relation \"nowhere\" does not exist")]
#[case::inconsistent(
    "UPDATE business_ideas SET status = 'evaluating' WHERE status = 'draft'",
    "2 rows violate the rule \"a submitted or evaluating idea has one open evaluation, any other idea has none\""
)]
#[case::no_right("CREATE TABLE mine (id int)", "bad.sql: permission denied for schema public")]
#[tokio::test]
async fn a_bad_file_writes_nothing_of_any(#[future(awt)] db: TestDatabase, #[case] sql: &str, #[case] message: &str) {
    let mut files = seed::files(&Set::Development, DatabaseName::Main).unwrap();
    files.push(SeedFile { name: "bad.sql".into(), sql: sql.into() });
    let error = seed::load_files(&db.url, DatabaseName::Main, &files).await.unwrap_err();
    assert_eq!(error.to_string(), format!("seeds: {message}; nothing was written"));
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM tenants").await, 0);
}

#[rstest]
#[tokio::test]
async fn development_seeds_are_refused_in_production(#[future(awt)] db: TestDatabase) {
    let error = seed::load(&db.url, DatabaseName::Main, Environment::Production, &BOTH).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }));
    seed::load(&db.url, DatabaseName::Main, Environment::Production, &[Set::Reference]).await.unwrap();
    seed::load(&db.url, DatabaseName::Main, Environment::Staging, &BOTH).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn two_seeders_side_by_side_load_once(#[future(awt)] db: TestDatabase) {
    let (one, two) = tokio::join!(
        seed::load(&db.url, DatabaseName::Main, Environment::Development, &BOTH),
        seed::load(&db.url, DatabaseName::Main, Environment::Development, &BOTH),
    );
    let loaded = [one.unwrap(), two.unwrap()].concat();
    let files = seed::files(&Set::Development, DatabaseName::Main).unwrap().len();
    assert_eq!(loaded.iter().filter(|(_, outcome)| *outcome == Outcome::Loaded).count(), files);
}

/// RFQs in every state, of both tenants; venues and instruments of every kind, in production too. A second run
/// changes nothing, and each file can be run again.
#[rstest]
#[case::rfq(DatabaseName::Rfq, Environment::Development, &BOTH, &[
    "accepted, buy, 2 quotes", "accepted, sell, 2 quotes", "cancelled, buy, 1 quotes", "expired, sell, 1 quotes",
    "open, buy, 0 quotes", "quoted, buy, 1 quotes", "quoted, sell, 3 quotes",
], "SELECT concat(r.status, ', ', r.side, ', ', count(q), ' quotes') FROM rfqs AS r LEFT JOIN rfq_quotes AS q ON q.rfq_id = r.id GROUP BY r.tenant_id, r.id ORDER BY 1")]
#[case::marketdata(DatabaseName::Marketdata, Environment::Production, &[Set::Reference], &[
    "bond 2", "commodity 4", "crypto 2", "equity 10", "fx 4", "venues 10",
], "SELECT concat(asset_class, ' ', count(*)) FROM instruments GROUP BY asset_class UNION ALL SELECT concat('venues ', count(*)) FROM venues ORDER BY 1")]
#[tokio::test]
async fn the_databases_beside_main_have_seeds(
    #[case] of: DatabaseName,
    #[case] environment: Environment,
    #[case] sets: &[Set],
    #[case] expected: &[&str],
    #[case] rows: &str,
) {
    let db = migrated(of).await;
    let loaded = seed::load(&db.url, of, environment, sets).await.unwrap();
    assert!(loaded.len() >= 2 && loaded.iter().all(|(_, outcome)| *outcome == Outcome::Loaded), "{loaded:?}");
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(texts(&mut owner, rows).await, expected);
    let again = seed::load(&db.url, of, environment, sets).await.unwrap();
    assert!(again.iter().all(|(_, outcome)| *outcome == Outcome::Unchanged), "{again:?}");
    let mut files: Vec<_> = sets.iter().flat_map(|set| seed::files(set, of).unwrap()).collect();
    for file in &mut files {
        file.sql.push_str("\n-- changed");
    }
    let outcomes = seed::load_files(&db.url, of, &files).await.unwrap();
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Reloaded), "{outcomes:?}");
    assert_eq!(texts(&mut owner, rows).await, expected);
}

/// Each rule between rows, broken.
#[rstest]
#[case(
    DatabaseName::Rfq,
    "UPDATE rfq_quotes SET status = 'rejected' WHERE status = 'accepted'",
    "2 rows violate the rule \"an accepted RFQ has one accepted quote"
)]
#[case(
    DatabaseName::Rfq,
    "UPDATE rfqs SET status = 'quoted' WHERE status = 'open'",
    "1 row violates the rule \"an open RFQ has no quote"
)]
#[case(
    DatabaseName::Rfq,
    "UPDATE rfq_quotes SET status = 'live' WHERE status = 'rejected'",
    "3 rows violate the rule \"no quote of an RFQ that ended is live"
)]
#[case(
    DatabaseName::Marketdata,
    "UPDATE venues SET timezone = 'Europe/Nowhere' WHERE code = 'XLON'",
    "1 row violates the rule \"the time zone of a venue"
)]
#[case(
    DatabaseName::Marketdata,
    "UPDATE venues SET status = 'closed' WHERE code = 'XLON'",
    "2 rows violate the rule \"an active instrument is traded at a venue"
)]
#[tokio::test]
async fn rows_that_do_not_fit_together_are_told(#[case] of: DatabaseName, #[case] sql: &str, #[case] message: &str) {
    let db = migrated(of).await;
    let mut files: Vec<_> = BOTH.iter().flat_map(|set| seed::files(set, of).unwrap()).collect();
    files.push(SeedFile { name: "bad.sql".into(), sql: sql.into() });
    let error = seed::load_files(&db.url, of, &files).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("seeds: {message}")), "{error}");
    let mut owner = connection(&db.url).await;
    assert!(
        texts(&mut owner, "SELECT to_regclass('__bedplate_seeds') WHERE to_regclass('__bedplate_seeds') IS NOT NULL")
            .await
            .is_empty()
    );
}

/// The `program` of a seeded form is what Rust compiles from its definition; otherwise the right lines are printed,
/// for `080_form_definitions.sql`.
#[rstest]
#[tokio::test]
async fn programs_are_fresh(#[future(awt)] db: TestDatabase) {
    seed::load(&db.url, DatabaseName::Main, Environment::Development, &BOTH).await.unwrap();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let rows = texts(
        &mut owner,
        "SELECT jsonb_build_array(id, definition, resources, assert_formats, program) FROM form_definitions \
          WHERE status <> 'draft' ORDER BY id",
    )
    .await;
    assert!(rows.len() >= 4, "{rows:?}");
    let (mut fresh, mut right) = (true, Vec::new());
    for row in rows {
        let row: serde_json::Value = serde_json::from_str(&row).unwrap();
        let resources = serde_json::from_value(row[2].clone()).unwrap();
        let options = CompileOptions { assert_formats: row[3].as_bool().unwrap() };
        let schema = JsonSchema::compile(&row[1], &resources, options).unwrap();
        fresh &= *schema.program() == row[4];
        right.push(format!(
            "    ('{}', '{}')",
            row[0].as_str().unwrap(),
            schema.program().to_string().replace('\'', "''")
        ));
    }
    assert!(fresh, "the programs of the seeds are stale; right are\n{}", right.join(",\n"));
}
