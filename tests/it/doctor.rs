//! The doctor finds each of its findings where it was planted, and none in a fresh database.

use std::collections::BTreeSet;

use bedplate::database::DatabaseName;
use bedplate::database::doctor::{self, Finding, Rulebook};
use bedplate::database::maintain::{self, Keep};
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::{Config, Environment, Error};
use futures_util::StreamExt as _;
use rstest::rstest;

use crate::support::database::config;
use crate::support::server::server;
use crate::support::{TestDatabase, connection, db, empty_db, execute, marketdata_db, migrated, number, texts};

pub async fn examine(db: &TestDatabase, of: DatabaseName) -> Vec<Finding> {
    doctor::examine(&config(&db.url), &Rulebook::of(of).unwrap()).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn a_fresh_database_has_no_finding(
    #[values(DatabaseName::Main, DatabaseName::Rfq, DatabaseName::Marketdata)] of: DatabaseName,
) {
    let db = migrated(of).await;
    assert_eq!(examine(&db, of).await, []);
}

/// A well kept table with rows in it, the seeds, and a second look after everything was read.
#[rstest]
#[tokio::test]
async fn a_database_in_use_has_no_finding(
    #[values(DatabaseName::Main, DatabaseName::Rfq, DatabaseName::Marketdata)] of: DatabaseName,
) {
    use bedplate::database::seed::{self, Set};
    let db = migrated(of).await;
    seed::load(&db.url, of, Environment::Development, &[Set::Reference, Set::Development]).await.unwrap();
    assert_eq!(examine(&db, of).await, []);
}

/// An event with two tags.
macro_rules! event {
    () => {
        "SET ROLE bedplate_system; INSERT INTO tenants (id, slug, name) VALUES ('00000000-0000-4000-8000-000000000001', 'one', 'One'); \
         SET ROLE bedplate_app; SET app.tenant_id = '00000000-0000-4000-8000-000000000001'; \
         SELECT append_events('[{\"event_type\": \"A\", \"event_data\": {}, \"tags\": [\"a:1\", \"b:2\"]}]'); RESET ROLE; "
    };
}

/// What is planted, who plants it, and the object that is found. `good` is a table that keeps every rule.
const PLANTED: &[(&str, &str, &str)] = &[
    ("rls-off", "ALTER TABLE good DISABLE ROW LEVEL SECURITY", "good"),
    ("rls-off", "ALTER TABLE tenants DISABLE ROW LEVEL SECURITY", "tenants"),
    ("rls-off", "ALTER TABLE audit_log_default DISABLE ROW LEVEL SECURITY", "audit_log_default"),
    ("rls-not-forced", "ALTER TABLE good NO FORCE ROW LEVEL SECURITY", "good"),
    ("policy-missing", "DROP POLICY tenant ON good", "good"),
    (
        "policy-without-check",
        "CREATE POLICY half ON good TO bedplate_app USING (tenant_id = (SELECT current_tenant()))",
        "half on good",
    ),
    ("policy-open", "CREATE POLICY open ON good FOR SELECT TO bedplate_app USING (true)", "open on good"),
    ("policy-open", "CREATE POLICY open ON good FOR SELECT USING (true)", "open on good"),
    (
        "policy-restrictive",
        "CREATE POLICY no ON good AS RESTRICTIVE FOR SELECT TO bedplate_app USING (tenant_id IS NOT NULL)",
        "no on good",
    ),
    ("view-not-invoker", "CREATE VIEW names AS SELECT name FROM good", "names"),
    ("key-without-tenant", "CREATE UNIQUE INDEX good_name_key ON good (name)", "good_name_key"),
    (
        "foreign-key-without-tenant",
        "CREATE UNIQUE INDEX good_id_key ON good (id); ALTER TABLE good ADD CONSTRAINT good_parent_fkey FOREIGN KEY (parent_id) REFERENCES good (id)",
        "good_parent_fkey on good",
    ),
    ("audit-log-open", "GRANT UPDATE ON audit_log TO bedplate_system", "audit_log for bedplate_system"),
    ("audit-log-open", "ALTER TABLE audit_log_default DISABLE TRIGGER append_only", "audit_log_default"),
    ("granted-to-public", "GRANT SELECT ON good TO PUBLIC", "SELECT on good"),
    ("granted-to-public", "GRANT SELECT (name) ON good TO PUBLIC", "SELECT of good"),
    ("granted-to-public", "GRANT CREATE ON SCHEMA public TO PUBLIC", "CREATE on schema public"),
    (
        "granted-to-public",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = pg_catalog AS 'SELECT 1'",
        "EXECUTE on f()",
    ),
    (
        "definer-without-search-path",
        "CREATE FUNCTION f() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS 'SELECT public.require_tenant()'; REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC; SELECT give_to_definer('f()')",
        "f()",
    ),
    (
        "definer-of-another-owner",
        "CREATE FUNCTION f() RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT public.require_tenant()'; REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC",
        "f()",
    ),
    (
        "definer-without-tenant",
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT count(*) FROM public.users'; REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC; SELECT give_to_definer('f()')",
        "f()",
    ),
    (
        "function-without-search-path",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC",
        "f()",
    ),
    (
        "time-without-zone",
        "ALTER TABLE good ADD COLUMN seen timestamp; COMMENT ON COLUMN good.seen IS 'x'",
        "good.seen",
    ),
    ("updated-at-without-trigger", "DROP TRIGGER update_updated_at ON good", "good"),
    ("enum-type", "CREATE TYPE mood AS ENUM ('good', 'bad')", "mood"),
    ("comment-missing", "COMMENT ON TABLE good IS NULL", "good"),
    ("comment-missing", "COMMENT ON COLUMN good.name IS NULL", "good.name"),
    (
        "on-delete-set-null",
        "ALTER TABLE good ADD CONSTRAINT good_parent_id_fkey FOREIGN KEY (tenant_id, parent_id) REFERENCES good (tenant_id, id) ON DELETE SET NULL",
        "good_parent_id_fkey on good",
    ),
    (
        "deferrable-constraint",
        "ALTER TABLE good ADD CONSTRAINT good_parent_id_fkey FOREIGN KEY (tenant_id, parent_id) REFERENCES good (tenant_id, id) DEFERRABLE",
        "good_parent_id_fkey on good",
    ),
    (
        "trigger-by-table-name",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS 'BEGIN RAISE NOTICE ''%'', TG_TABLE_NAME; RETURN NULL; END'; REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC",
        "f()",
    ),
    (
        "foreign-key-without-index",
        "DROP INDEX good_parent_id_idx; ALTER TABLE good ADD CONSTRAINT good_parent_id_fkey FOREIGN KEY (tenant_id, parent_id) REFERENCES good (tenant_id, id)",
        "good_parent_id_fkey on good",
    ),
    (
        "index-duplicate",
        "CREATE INDEX good_again_idx ON good (tenant_id, parent_id, name)",
        "good_again_idx, by good_parent_id_idx",
    ),
    (
        "index-duplicate",
        "CREATE INDEX good_begin_idx ON good (tenant_id, parent_id)",
        "good_begin_idx, by good_parent_id_idx",
    ),
    ("index-duplicate", "CREATE INDEX good_id_idx ON good (tenant_id, id)", "good_id_idx, by good_pkey"),
    (
        "index-duplicate",
        "CREATE INDEX a_idx ON good (tenant_id, md5(name)) WHERE name > 'a'; CREATE INDEX b_idx ON good (tenant_id, md5(name)) WHERE name > 'a'",
        "b_idx, by a_idx",
    ),
    ("index-lost-to-rls", "CREATE INDEX good_lower_idx ON good (tenant_id, lower(name))", "good_lower_idx"),
    ("index-lost-to-rls", "CREATE INDEX good_json_idx ON good (tenant_id, (json ->> 'a'))", "good_json_idx"),
    ("index-lost-to-rls", "CREATE INDEX good_contains_idx ON good USING gin (json)", "good_contains_idx"),
    ("index-lost-to-rls", "CREATE INDEX good_amount_idx ON good (tenant_id, amount)", "good_amount_idx"),
    (
        "partition-missing",
        "DO $$ BEGIN EXECUTE format('DROP TABLE audit_log_%s', to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM')); END $$",
        "audit_log of ",
    ),
    ("sequence-near-end", "CREATE SEQUENCE tickets AS int; SELECT setval('tickets', 2000000000)", "tickets"),
    (
        "sequence-near-end",
        "ALTER TABLE good ADD COLUMN n serial; COMMENT ON COLUMN good.n IS 'x'; ALTER SEQUENCE good_n_seq AS bigint NO MAXVALUE; SELECT setval('good_n_seq', 2000000000)",
        "good_n_seq",
    ),
    ("event-sequence", concat!(event!(), "SELECT setval('events_position_seq', 1, false)"), "events_position_seq"),
];

/// Planted by a superuser: nobody else could.
const PLANTED_BY_ADMIN: &[(&str, &str, &str)] = &[
    (
        "time-zone",
        "DO $$ BEGIN EXECUTE format('ALTER ROLE bedplate_login IN DATABASE %I SET TimeZone = ''Europe/Rome''', current_database()); END $$",
        "bedplate_login",
    ),
    (
        "index-invalid",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'good_parent_id_idx'::regclass",
        "good_parent_id_idx",
    ),
    // The default partition catches what no month is ready for.
    (
        "partition-default-used",
        "INSERT INTO audit_log (tenant_id, action, entity_type, entity_id, created_at) VALUES (gen_random_uuid(), 'x', 'x', 'x', '2001-01-01')",
        "audit_log_default",
    ),
    (
        "event-tags-hash",
        concat!(
            event!(),
            "SET ROLE bedplate_definer; DELETE FROM event_tags WHERE tag = event_tag_hash('a:1'); INSERT INTO event_tags SELECT tenant_id, 7, position FROM events"
        ),
        "event_tags: 1 of the last 1 events",
    ),
];

/// What has a test of its own: roles are the server's, and statistics come late. What lint knows too is planted in
/// `doctor_rules::`.
const ELSEWHERE: [&str; 4] = ["login-bypasses-rls", "login-inherits", "role-too-strong", "index-unused"];

const GOOD: &str = "CREATE TABLE good ( \
        tenant_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), parent_id uuid, name text, json jsonb, amount numeric, \
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), \
        CONSTRAINT good_pkey PRIMARY KEY (tenant_id, id)); \
    ALTER TABLE good ADD CONSTRAINT good_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE; \
    CREATE INDEX good_parent_id_idx ON good (tenant_id, parent_id, name); COMMENT ON INDEX good_parent_id_idx IS 'By parent.'; \
    DO $$ DECLARE c text; BEGIN FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 'good'::regclass AND attnum > 0 LOOP \
        EXECUTE format('COMMENT ON COLUMN good.%I IS ''A column.''', c); END LOOP; END $$; \
    COMMENT ON TABLE good IS 'A table that keeps every rule.'; \
    CREATE TRIGGER update_updated_at BEFORE UPDATE ON good FOR EACH ROW EXECUTE FUNCTION update_updated_at(); \
    ALTER TABLE good ENABLE ROW LEVEL SECURITY; ALTER TABLE good FORCE ROW LEVEL SECURITY; \
    CREATE POLICY tenant ON good TO bedplate_app USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant())); \
    CREATE POLICY system ON good TO bedplate_system USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system'); \
    COMMENT ON POLICY tenant ON good IS 'A tenant sees its own rows.'; COMMENT ON POLICY system ON good IS 'Work across tenants.'; \
    CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON good FOR EACH ROW EXECUTE FUNCTION audit('good', 'id'); \
    GRANT SELECT, INSERT, UPDATE ON good TO bedplate_app, bedplate_system";

async fn planted(db: &TestDatabase, by_admin: bool, check: &str, plant: &str, object: &str) {
    execute(&mut connection(&db.url).await, GOOD).await;
    let planter = if by_admin {
        server().admin.as_ref().unwrap().with_database(db.url.database()).unwrap()
    } else {
        db.url.clone()
    };
    execute(&mut connection(&planter).await, plant).await;
    let findings = examine(db, DatabaseName::Main).await;
    let found = findings.iter().find(|finding| finding.check == check && finding.object.starts_with(object));
    let found = found.unwrap_or_else(|| panic!("{check} of {object} is not found: {findings:#?}"));
    assert!(!found.why.is_empty() && !found.fix.is_empty(), "{found:?}");
    // Where the SQL is whole, it mends.
    if found.fix.starts_with("--") || found.fix.contains('…') {
        return;
    }
    let mender = if ["time-zone", "event-tags-hash"].contains(&check) {
        server().admin.as_ref().unwrap_or(&db.url).with_database(db.url.database()).unwrap()
    } else {
        db.url.clone()
    };
    execute(
        &mut connection(&mender).await,
        &found.fix.replace(
            "ALTER ROLE bedplate_login SET",
            &format!("ALTER ROLE bedplate_login IN DATABASE {} SET", db.url.database()),
        ),
    )
    .await;
    let left = examine(db, DatabaseName::Main).await;
    assert!(!left.contains(found), "{} does not mend it: {left:#?}", found.fix);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_finding_is_found_where_it_was_planted_and_its_sql_mends_it() {
    let by_owner = PLANTED.iter().map(|planted| (false, planted));
    let by_admin = PLANTED_BY_ADMIN.iter().map(|planted| (true, planted));
    // On a server that is not ours there is no superuser.
    let all = by_owner.chain(by_admin).filter(|(admin, _)| server().admin.is_some() || !*admin);
    futures_util::stream::iter(all)
        .for_each_concurrent(6, async |(admin, (check, plant, object))| {
            let db = migrated(DatabaseName::Main).await;
            planted(&db, admin, check, plant, object).await;
        })
        .await;
}

/// A day that nobody made, and a price that had to go into the default partition: `maintain` mends both.
#[rstest]
#[tokio::test]
async fn prices_without_a_day_are_found(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    let mut owner = connection(&db.url).await;
    let today = texts(&mut owner, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM_DD')").await.remove(0);
    execute(
        &mut owner,
        &format!(
            "DROP TABLE price_ticks_{today}; INSERT INTO venues VALUES ('XNAS', 'Nasdaq', 'US', 'America/New_York'); \
             INSERT INTO instruments VALUES ('AAPL', 'Apple', 'equity', 'USD', 0.01, 1, 'XNAS'); \
             INSERT INTO price_ticks (instrument_symbol, ts, last) VALUES ('AAPL', now(), 1)"
        ),
    )
    .await;
    let found: Vec<_> = examine(&db, DatabaseName::Marketdata)
        .await
        .into_iter()
        .map(|finding| (finding.check, finding.object))
        .collect();
    let day = today.replace('_', "-");
    assert_eq!(
        found,
        [
            ("partition-missing", format!("price_ticks of {day}")),
            ("partition-default-used", "price_ticks_default".to_owned())
        ]
    );
    maintain::run_marketdata(&config(&db.url), Keep::default(), |_| {}).await.unwrap();
    // The file of the default partition has kept its size.
    execute(&mut owner, "VACUUM price_ticks_default").await;
    assert_eq!(examine(&db, DatabaseName::Marketdata).await, []);
}

/// Roles are the server's: on one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn roles_that_are_too_strong_are_found() {
    let own = crate::private_server::Own::new();
    own.start().await;
    let urls = own.server.urls().unwrap().unwrap();
    migrate::run(&urls.owner, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await.unwrap();
    let mut config = Config::new(urls.owner.clone(), Environment::Development);
    config.app_url = Some(urls.app.clone());
    let rulebook = Rulebook::of(DatabaseName::Main).unwrap();
    let mut admin = connection(&urls.admin.with_database(urls.owner.database()).unwrap()).await;
    assert_eq!(doctor::examine(&config, &rulebook).await.unwrap(), []);
    // From 16 on it is the grant that says whether a member inherits.
    let since_16 = number(&mut admin, "SELECT current_setting('server_version_num')").await >= 160_000;
    let (app_inherits, owner_inherits) = if since_16 {
        (
            "GRANT bedplate_system TO bedplate_login WITH INHERIT TRUE",
            "GRANT bedplate_definer TO bedplate_owner WITH INHERIT TRUE",
        )
    } else {
        ("ALTER ROLE bedplate_login INHERIT", "GRANT bedplate_definer TO bedplate_owner")
    };
    for (check, plant, object) in [
        ("login-bypasses-rls", "ALTER ROLE bedplate_login BYPASSRLS", "bedplate_login"),
        ("login-bypasses-rls", "ALTER ROLE bedplate_owner SUPERUSER", "bedplate_owner"),
        ("login-inherits", app_inherits, "bedplate_login"),
        ("login-inherits", owner_inherits, "bedplate_owner"),
        ("role-too-strong", "ALTER ROLE bedplate_app LOGIN", "bedplate_app"),
        ("role-too-strong", "ALTER ROLE bedplate_system BYPASSRLS", "bedplate_system"),
    ] {
        execute(&mut admin, plant).await;
        let findings = doctor::examine(&config, &rulebook).await.unwrap();
        let found = findings.iter().find(|finding| finding.check == check && finding.object == object);
        let found = found.unwrap_or_else(|| panic!("{check} of {object} is not found: {findings:#?}"));
        execute(&mut admin, &found.fix).await;
        assert_eq!(doctor::examine(&config, &rulebook).await.unwrap(), [], "{} mends it", found.fix);
    }
}

/// Both ways: no check without a planted finding, no finding of a check that is not there.
#[test]
fn every_check_has_a_planted_finding() {
    let planted = PLANTED.iter().chain(PLANTED_BY_ADMIN).map(|(check, ..)| *check).chain(ELSEWHERE);
    let planted = planted.chain(crate::doctor_rules::rules());
    assert_eq!(doctor::checks().collect::<BTreeSet<_>>(), planted.collect::<BTreeSet<_>>());
    assert_eq!(doctor::checks().count(), doctor::checks().collect::<BTreeSet<_>>().len(), "no name twice");
}

/// What the others start from has no finding itself.
#[rstest]
#[tokio::test]
async fn a_table_that_keeps_every_rule_has_no_finding(#[future(awt)] db: TestDatabase) {
    execute(&mut connection(&db.url).await, GOOD).await;
    assert_eq!(examine(&db, DatabaseName::Main).await, []);
}

/// A large index of a table that is read, and that no query ever used. The key serves the foreign key to the tenants
/// too, so that this one excuses no index.
#[rstest]
#[tokio::test]
async fn an_index_that_nobody_uses_is_found(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        &format!(
            "{GOOD}; ALTER TABLE good NO FORCE ROW LEVEL SECURITY; ALTER TABLE good DISABLE TRIGGER audit; \
             SET ROLE bedplate_system; INSERT INTO tenants (id, slug, name) VALUES ('00000000-0000-4000-8000-000000000001', 'one', 'One'); RESET ROLE; \
             INSERT INTO good (tenant_id, name) SELECT '00000000-0000-4000-8000-000000000001', md5(n::text) FROM generate_series(1, 30000) AS n; \
             CREATE INDEX good_name_idx ON good (tenant_id, name); \
             ALTER TABLE good FORCE ROW LEVEL SECURITY; SELECT count(*) FROM good; SELECT pg_stat_force_next_flush()"
        ),
    )
    .await;
    execute(&mut owner, "SELECT 1").await;
    let unused: Vec<_> =
        examine(&db, DatabaseName::Main).await.into_iter().filter(|finding| finding.check == "index-unused").collect();
    let objects: Vec<_> = unused.iter().map(|finding| finding.object.as_str()).collect();
    assert_eq!(objects, ["good_name_idx", "good_parent_id_idx"]);
    execute(&mut owner, "SET enable_seqscan = off; SET enable_sort = off; SET app.tenant_id = '01900000-0000-7000-8000-000000000001'; SELECT name FROM good ORDER BY tenant_id, name LIMIT 1; SELECT pg_stat_force_next_flush()").await;
    execute(&mut owner, "SELECT 1").await;
    assert_eq!(
        examine(&db, DatabaseName::Main).await.iter().filter(|finding| finding.check == "index-unused").count(),
        1
    );
}

#[rstest]
#[tokio::test]
async fn a_database_without_migrations_is_told(#[future(awt)] empty_db: bedplate::DatabaseUrl) {
    let error = doctor::examine(&config(&empty_db), &Rulebook::of(DatabaseName::Main).unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Configuration { ref message } if message.contains("bedplate migrate")), "{error:?}");
    assert_eq!(
        texts(
            &mut connection(&empty_db).await,
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
        .await,
        Vec::<String>::new()
    );
}
