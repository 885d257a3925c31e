//! Lint and doctor know the rules of the schema: out of a migration that keeps every rule, one thing at a time is left
//! out or made otherwise, and both find it under one name.

use std::collections::BTreeSet;

use bedplate::DatabaseUrl;
use bedplate::database::DatabaseName;
use bedplate::database::doctor::{self, Rulebook};
use bedplate::database::migrate::lint::{self, Rules};
use bedplate::database::migrate::{Migration, Source};
use futures_util::StreamExt as _;
use rstest::rstest;

use crate::support::database::config;
use crate::support::{Folder, TestDatabase, connection, db, empty_db, execute, migrated};

/// A migration of a table of tenants, with a view and two functions, that keeps every rule.
const GOOD: &str = "
CREATE TABLE parcels (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'packed',
    lock_version int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT parcels_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT parcels_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT parcels_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT parcels_status_check CHECK (status IN ('packed', 'sent'))
);
CREATE INDEX parcels_user_id_idx ON parcels (tenant_id, user_id, created_at);
COMMENT ON INDEX parcels_user_id_idx IS 'Parcels of a user; its foreign key.';
COMMENT ON TABLE parcels IS 'What is sent.';
COMMENT ON COLUMN parcels.tenant_id IS 'The tenant.';
COMMENT ON COLUMN parcels.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN parcels.user_id IS 'The sender.';
COMMENT ON COLUMN parcels.status IS 'packed or sent.';
COMMENT ON COLUMN parcels.lock_version IS 'Number of changes (trigger).';
COMMENT ON COLUMN parcels.created_at IS 'When the row was made.';
COMMENT ON COLUMN parcels.updated_at IS 'When the row last changed (trigger).';
CREATE TRIGGER update_updated_at BEFORE UPDATE ON parcels FOR EACH ROW EXECUTE FUNCTION update_updated_at();
CREATE TRIGGER increment_lock_version BEFORE UPDATE ON parcels FOR EACH ROW EXECUTE FUNCTION increment_lock_version();
CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON parcels FOR EACH ROW WHEN (OLD.status <> NEW.status)
    EXECUTE FUNCTION refuse_illegal_transition('parcels', 'packed>sent');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON parcels FOR EACH ROW EXECUTE FUNCTION audit('parcels', 'id');
ALTER TABLE parcels ENABLE ROW LEVEL SECURITY;
ALTER TABLE parcels FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON parcels TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON parcels IS 'A tenant sees its own rows.';
CREATE POLICY system ON parcels TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON parcels IS 'Work across tenants.';
GRANT SELECT, INSERT, UPDATE ON parcels TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON parcels TO bedplate_system;
CREATE VIEW sent_parcels WITH (security_invoker = true) AS SELECT tenant_id, id FROM parcels WHERE status = 'sent';
CREATE FUNCTION pack() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN RAISE NOTICE '%', TG_ARGV[0]; RETURN NEW; END $$;
COMMENT ON FUNCTION pack() IS 'Trigger: packs.';
REVOKE EXECUTE ON FUNCTION pack() FROM PUBLIC;
CREATE FUNCTION count_parcels() RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ DECLARE tenant uuid := public.require_tenant(); BEGIN RETURN tenant; END $$;
COMMENT ON FUNCTION count_parcels() IS 'How many.';
REVOKE EXECUTE ON FUNCTION count_parcels() FROM PUBLIC;
SELECT give_to_definer('count_parcels()');
-- and more
";

/// The rule, a part of [`GOOD`], what stands there instead, and the rules that are broken with it.
const LEFT_OUT: &[(&str, &str, &str, &[&str])] = &[
    // Triggers.
    (
        "audit-missing",
        "CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON parcels FOR EACH ROW EXECUTE FUNCTION audit('parcels', 'id');",
        "",
        &[],
    ),
    ("audit-missing", "AFTER INSERT OR UPDATE OR DELETE ON parcels", "AFTER INSERT OR UPDATE ON parcels", &[]),
    ("audit-missing", "audit('parcels', 'id')", "audit('parcel', 'id')", &[]),
    ("audit-missing", "-- and more", "ALTER TABLE parcels DISABLE TRIGGER audit;", &[]),
    ("audit-missing", "-- and more", "DROP TRIGGER audit ON parcels;", &[]),
    (
        "lock-version-without-trigger",
        "CREATE TRIGGER increment_lock_version BEFORE UPDATE ON parcels FOR EACH ROW EXECUTE FUNCTION increment_lock_version();",
        "",
        &[],
    ),
    (
        "lock-version-without-trigger",
        "increment_lock_version BEFORE UPDATE ON",
        "increment_lock_version BEFORE UPDATE OF status ON",
        &[],
    ),
    (
        "transition-missing",
        "CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON parcels FOR EACH ROW WHEN (OLD.status <> NEW.status)\n    EXECUTE FUNCTION refuse_illegal_transition('parcels', 'packed>sent');",
        "",
        &[],
    ),
    ("transition-missing", "refuse_illegal_transition('parcels'", "refuse_illegal_transition('users'", &[]),
    (
        "updated-at-without-trigger",
        "CREATE TRIGGER update_updated_at BEFORE UPDATE ON parcels FOR EACH ROW EXECUTE FUNCTION update_updated_at();",
        "",
        &[],
    ),
    ("updated-at-without-trigger", "update_updated_at BEFORE UPDATE ON", "update_updated_at AFTER UPDATE ON", &[]),
    // Columns and keys.
    ("status-without-check", ",\n    CONSTRAINT parcels_status_check CHECK (status IN ('packed', 'sent'))", "", &[]),
    ("status-without-check", "CHECK (status IN ('packed', 'sent'))", "CHECK (status <> '')", &[]),
    ("status-without-check", "status text NOT NULL", "status varchar(20) NOT NULL", &[]),
    ("status-without-check", "status text NOT NULL", "status text", &[]),
    ("time-without-default", "created_at timestamptz NOT NULL DEFAULT now()", "created_at timestamptz NOT NULL", &[]),
    (
        "time-without-default",
        "updated_at timestamptz NOT NULL DEFAULT now()",
        "updated_at timestamptz DEFAULT now()",
        &[],
    ),
    ("time-without-zone", "updated_at timestamptz", "updated_at timestamp", &[]),
    (
        "tenant-id-missing",
        "-- and more",
        "CREATE TABLE loose (id int); COMMENT ON TABLE loose IS 'x'; COMMENT ON COLUMN loose.id IS 'x'; GRANT SELECT, INSERT ON loose TO bedplate_app, bedplate_system;",
        &[],
    ),
    (
        "tenant-id-nullable",
        "-- and more",
        "ALTER TABLE parcels DROP CONSTRAINT parcels_pkey, ADD CONSTRAINT parcels_id_key UNIQUE (tenant_id, id), ALTER tenant_id DROP NOT NULL;",
        &["ban-drop-constraint", "ban-drop-not-null", "disallowed-unique-constraint"],
    ),
    (
        "tenant-foreign-key-missing",
        "    CONSTRAINT parcels_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,\n    CONSTRAINT parcels_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,\n",
        "",
        &[],
    ),
    (
        "key-without-tenant",
        "-- and more",
        "CREATE UNIQUE INDEX parcels_created_at_key ON parcels (created_at); COMMENT ON INDEX parcels_created_at_key IS 'x';",
        &[],
    ),
    (
        "foreign-key-without-tenant",
        "-- and more",
        "ALTER TABLE parcels ADD CONSTRAINT parcels_sender_fkey FOREIGN KEY (user_id, tenant_id) REFERENCES users (id, tenant_id);",
        &["foreign-key-without-index", "adding-foreign-key-constraint", "constraint-missing-not-valid"],
    ),
    (
        "foreign-key-without-index",
        "CREATE INDEX parcels_user_id_idx ON parcels (tenant_id, user_id, created_at);\nCOMMENT ON INDEX parcels_user_id_idx IS 'Parcels of a user; its foreign key.';",
        "",
        &[],
    ),
    (
        "foreign-key-without-index",
        "(tenant_id, user_id, created_at);",
        "(tenant_id, user_id) WHERE status = 'sent';",
        &[],
    ),
    (
        "on-delete-set-null",
        "REFERENCES users (tenant_id, id) ON DELETE CASCADE",
        "REFERENCES users (tenant_id, id) ON DELETE SET NULL",
        &[],
    ),
    (
        "deferrable-constraint",
        "REFERENCES users (tenant_id, id) ON DELETE CASCADE",
        "REFERENCES users (tenant_id, id) ON DELETE CASCADE DEFERRABLE",
        &[],
    ),
    ("serial", "lock_version int NOT NULL DEFAULT 0", "lock_version serial NOT NULL", &[]),
    ("enum-type", "-- and more", "CREATE TYPE mood AS ENUM ('good', 'bad'); COMMENT ON TYPE mood IS 'x';", &[]),
    (
        "index-lost-to-rls",
        "-- and more",
        "CREATE INDEX parcels_lower_idx ON parcels (tenant_id, lower(status)); COMMENT ON INDEX parcels_lower_idx IS 'x';",
        &[],
    ),
    // Comments.
    ("comment-missing", "COMMENT ON TABLE parcels IS 'What is sent.';", "", &[]),
    ("comment-missing", "COMMENT ON COLUMN parcels.status IS 'packed or sent.';", "", &[]),
    ("comment-missing", "COMMENT ON INDEX parcels_user_id_idx IS 'Parcels of a user; its foreign key.';", "", &[]),
    ("comment-missing", "COMMENT ON POLICY system ON parcels IS 'Work across tenants.';", "", &[]),
    ("comment-missing", "COMMENT ON FUNCTION pack() IS 'Trigger: packs.';", "", &[]),
    // Policies.
    ("rls-off", "ALTER TABLE parcels ENABLE ROW LEVEL SECURITY;", "", &[]),
    ("rls-not-forced", "ALTER TABLE parcels FORCE ROW LEVEL SECURITY;", "", &[]),
    (
        "policy-missing",
        "CREATE POLICY tenant ON parcels TO bedplate_app\n    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));\nCOMMENT ON POLICY tenant ON parcels IS 'A tenant sees its own rows.';",
        "",
        &[],
    ),
    ("policy-missing", "-- and more", "DROP POLICY tenant ON parcels;", &[]),
    ("policy-without-check", " WITH CHECK (tenant_id = (SELECT current_tenant()))", "", &["policy-missing"]),
    ("policy-open", "WITH CHECK (tenant_id = (SELECT current_tenant()))", "WITH CHECK (true)", &["policy-missing"]),
    (
        "policy-open",
        "USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system')",
        "USING (true) WITH CHECK (true)",
        &[],
    ),
    ("policy-bare-call", "USING (tenant_id = (SELECT current_tenant()))", "USING (tenant_id = current_tenant())", &[]),
    (
        "policy-restrictive",
        "CREATE POLICY system ON parcels TO",
        "CREATE POLICY system ON parcels AS RESTRICTIVE TO",
        &[],
    ),
    (
        "system-policy-missing",
        "CREATE POLICY system ON parcels TO bedplate_system\n    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');\nCOMMENT ON POLICY system ON parcels IS 'Work across tenants.';",
        "",
        &[],
    ),
    ("view-not-invoker", " WITH (security_invoker = true)", "", &[]),
    // Grants.
    ("grant-missing", "GRANT SELECT, INSERT, UPDATE ON parcels TO bedplate_app;", "", &[]),
    ("grant-missing", "GRANT SELECT, INSERT, UPDATE ON parcels TO bedplate_system;", "", &[]),
    ("grant-missing", "-- and more", "REVOKE UPDATE ON parcels FROM bedplate_app, bedplate_system;", &[]),
    ("delete-granted", "-- and more", "GRANT DELETE ON parcels TO bedplate_app;", &[]),
    ("delete-granted", "-- and more", "GRANT ALL ON TABLE public.parcels TO bedplate_app;", &["grant-too-much"]),
    ("grant-too-much", "-- and more", "GRANT TRUNCATE ON parcels TO bedplate_app;", &[]),
    ("grant-too-much", "-- and more", "GRANT REFERENCES (id) ON parcels TO bedplate_system;", &[]),
    (
        "grant-too-much",
        "-- and more",
        "GRANT TRIGGER ON ALL TABLES IN SCHEMA public TO bedplate_session;",
        &["partition-granted"],
    ),
    ("partition-granted", "-- and more", "GRANT SELECT ON audit_log_default TO bedplate_app;", &[]),
    ("granted-to-public", "-- and more", "GRANT SELECT ON parcels TO PUBLIC;", &[]),
    ("granted-to-public", "REVOKE EXECUTE ON FUNCTION pack() FROM PUBLIC;", "", &[]),
    // Functions.
    (
        "function-without-search-path",
        "plpgsql SET search_path = pg_catalog, pg_temp\n    AS $$ BEGIN RAISE",
        "plpgsql\n    AS $$ BEGIN RAISE",
        &[],
    ),
    ("trigger-by-table-name", "TG_ARGV[0]", "TG_TABLE_NAME", &[]),
    ("definer-without-search-path", "SECURITY DEFINER SET search_path = pg_catalog, pg_temp", "SECURITY DEFINER", &[]),
    ("definer-without-tenant", "public.require_tenant()", "NULL", &[]),
    ("definer-of-another-owner", "SELECT give_to_definer('count_parcels()');", "", &[]),
];

/// What [`LEFT_OUT`] breaks, for the list of planted findings.
pub fn rules() -> impl Iterator<Item = &'static str> {
    LEFT_OUT.iter().map(|(rule, ..)| *rule)
}

/// Behind the project's own folder.
fn folder(up: &str) -> Vec<Migration> {
    let mut migrations = Source::Embedded(DatabaseName::Main).read().unwrap();
    let files = Folder::new(&[("2027-01-01-000000_parcels", up, "DROP TABLE parcels;")]);
    migrations.extend(files.source().read().unwrap());
    migrations
}

fn lint(up: &str) -> Vec<lint::Finding> {
    lint::lint(&folder(up), Rules::Tenants).unwrap()
}

async fn examine(db: &TestDatabase) -> Vec<doctor::Finding> {
    doctor::examine(&config(&db.url), &Rulebook::of(DatabaseName::Main).unwrap()).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn a_migration_that_keeps_every_rule_has_no_finding(#[future(awt)] db: TestDatabase) {
    assert_eq!(lint(GOOD), []);
    execute(&mut connection(&db.url).await, GOOD).await;
    assert_eq!(examine(&db).await, []);
}

#[test]
fn lint_finds_what_is_left_out() {
    for (rule, part, instead, also) in LEFT_OUT {
        assert!(GOOD.contains(part), "{part}");
        let findings = lint(&GOOD.replacen(part, instead, 1));
        assert!(findings.iter().any(|finding| finding.rule == *rule), "{rule}: {part}: {findings:#?}");
        let others = findings.iter().filter(|finding| finding.rule != *rule && !also.contains(&finding.rule.as_str()));
        assert_eq!(others.count(), 0, "{rule}: {part}: {findings:#?}");
        assert!(findings.iter().all(|finding| finding.migration == "2027-01-01-000000_parcels"), "{findings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_what_is_left_out_and_its_sql_mends_it() {
    futures_util::stream::iter(LEFT_OUT)
        .for_each_concurrent(6, async |(rule, part, instead, also)| {
            let db = migrated(DatabaseName::Main).await;
            // One statement is no transaction: a function is given away after it is made.
            execute(&mut connection(&db.url).await, &GOOD.replacen(part, instead, 1)).await;
            let findings = examine(&db).await;
            let (found, others): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.check == *rule);
            assert!(!found.is_empty(), "{rule}: {part}: {findings:#?}");
            let others = others.into_iter().filter(|finding| !also.contains(&finding.check));
            assert_eq!(others.count(), 0, "{rule}: {part}: {findings:#?}");
            assert!(found.iter().all(|finding| !finding.why.is_empty() && !finding.fix.is_empty()));
            // Where the SQL is whole, it mends.
            let whole = found.iter().filter(|found| !found.fix.starts_with("--") && !found.fix.contains('…'));
            for found in whole.take(2) {
                execute(&mut connection(&db.url).await, &found.fix).await;
                let left = examine(&db).await;
                assert!(!left.contains(found), "{} does not mend it: {left:#?}", found.fix);
            }
        })
        .await;
}

/// Both ways: a rule that both know is left out above, and a rule that is left out above is known to both.
#[test]
fn every_rule_that_both_know_is_left_out() {
    let checks: BTreeSet<String> = doctor::checks().map(str::to_owned).collect();
    let both: BTreeSet<String> = lint::rules().filter(|rule| checks.contains(rule)).collect();
    assert!(both.len() > 30, "{both:?}");
    assert_eq!(rules().map(str::to_owned).collect::<BTreeSet<_>>(), both);
}

/// `[lint]` holds for both; `[unseen]` for lint alone.
#[rstest]
#[case::of_the_table("[lint]\n\"audit-missing\" = \"only the system writes it\"", &[], &[])]
#[case::without_reason("[lint]\n\"audit-missing\" = \" \"", &["audit-missing", "exemption-without-reason"], &["audit-missing"])]
#[case::of_another_rule("[lint]\n\"rls-off\" = \"x\"", &["audit-missing", "stale-exemption"], &["audit-missing"])]
#[case::unseen("[unseen]\n\"audit-missing\" = \"a function makes the trigger\"", &[], &["audit-missing"])]
#[case::only_the_doctor_asks("[lint]\n\"audit-missing\" = \"x\"\n\"index-unused\" = \"x\"", &[], &[])]
#[tokio::test]
async fn a_declaration_is_honoured_by_both(
    #[future(awt)] db: TestDatabase,
    #[case] declared: &str,
    #[case] by_lint: &[&str],
    #[case] by_doctor: &[&str],
) {
    let up = GOOD.replace(LEFT_OUT[0].1, "");
    let folder = own_folder();
    folder.add("2027-01-01-000000_parcels", &up, "DROP TABLE parcels;");
    folder.write("2027-01-01-000000_parcels", "metadata.toml", &format!("run_in_transaction = true\n{declared}\n"));
    let findings = lint::lint(&folder.source().read().unwrap(), Rules::Tenants).unwrap();
    assert_eq!(findings.iter().map(|finding| finding.rule.as_str()).collect::<Vec<_>>(), by_lint, "{findings:#?}");
    execute(&mut connection(&db.url).await, &up).await;
    let rulebook = Rulebook::read(&folder.source(), Rules::Tenants).unwrap();
    let findings = doctor::examine(&config(&db.url), &rulebook).await.unwrap();
    assert_eq!(findings.iter().map(|finding| finding.check).collect::<Vec<_>>(), by_doctor, "{findings:#?}");
}

/// The project's own migrations, as files.
fn own_folder() -> Folder {
    let folder = Folder::new(&[]);
    let mut migrations = 0;
    for entry in std::fs::read_dir("migrations/main").unwrap() {
        let entry = entry.unwrap();
        for file in std::fs::read_dir(entry.path()).unwrap() {
            let file = file.unwrap();
            let (migration, name) = (entry.file_name(), file.file_name());
            let text = std::fs::read_to_string(file.path()).unwrap();
            folder.write(migration.to_str().unwrap(), name.to_str().unwrap(), &text);
        }
        migrations += 1;
    }
    assert!(migrations > 20);
    folder
}

/// A later migration that touches the table declares for it; one that does not touch it declares nothing.
#[rstest]
#[case::that_alters_the_table("GRANT SELECT ON parcels TO bedplate_app;", &[])]
#[case::that_alters_another_one("GRANT SELECT ON users TO bedplate_app;", &["audit-missing", "stale-exemption"])]
fn an_exemption_is_about_what_its_migration_touches(#[case] later: &str, #[case] expected: &[&str]) {
    let mut migrations = folder(&GOOD.replace(LEFT_OUT[0].1, ""));
    let files = Folder::new(&[("2027-02-01-000000_later", later, "SELECT;")]);
    files.write(
        "2027-02-01-000000_later",
        "metadata.toml",
        "run_in_transaction = true\n[lint]\naudit-missing = \"x\"\n",
    );
    migrations.extend(files.source().read().unwrap());
    let findings = lint::lint(&migrations, Rules::Tenants).unwrap();
    assert_eq!(findings.iter().map(|finding| finding.rule.as_str()).collect::<Vec<_>>(), expected, "{findings:#?}");
}

/// What a later migration mends is no finding; what it breaks is its own.
#[test]
fn the_migration_that_breaks_a_rule_has_the_finding() {
    let with = |up: &str, later: &str| {
        let mut migrations = folder(up);
        let files = Folder::new(&[("2027-02-01-000000_later", later, "SELECT;")]);
        migrations.extend(files.source().read().unwrap());
        let findings = lint::lint(&migrations, Rules::Tenants).unwrap();
        findings.into_iter().map(|finding| (finding.migration, finding.line, finding.rule)).collect::<Vec<_>>()
    };
    assert_eq!(with(&GOOD.replace(LEFT_OUT[0].1, ""), LEFT_OUT[0].1), []);
    let place = ("2027-02-01-000000_later".to_owned(), Some(2), "audit-missing".to_owned());
    assert_eq!(with(GOOD, "SELECT 1;\nDROP TRIGGER audit ON parcels;"), [place]);
}

/// Somebody's database, with tables and a folder of its own: the doctor asks it the rules for any Diesel project, and
/// with `--tenants` those of this design, less what the folder declares.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_command_takes_the_folder_of_a_database(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[("2026-01-01-000000_a", "SELECT 1;", "SELECT;")]);
    let up = "CREATE TABLE parents (id int PRIMARY KEY);
              CREATE TABLE children (id int PRIMARY KEY, parent_id int REFERENCES parents (id));
              CREATE VIEW all_children AS SELECT * FROM children;";
    folder.add("2026-01-02-000000_b", up, "DROP VIEW all_children; DROP TABLE children, parents;");
    let elsewhere = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let doctor = |more: &[&str]| {
        let arguments = [&["doctor", "--json"], more].concat();
        let output = crate::cli::bedplate(elsewhere.path(), &[("DATABASE_URL", empty_db.reveal())], &arguments);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let checks = json["findings"].as_array().cloned().unwrap_or_default();
        let checks = checks.iter().map(|finding| finding["check"].as_str().unwrap().to_owned());
        (output.status.code(), checks.collect::<BTreeSet<_>>())
    };
    assert_eq!(doctor(&["--dir", path]).0, Some(1), "it has no migrations");
    folder.up(&empty_db).await.unwrap();
    assert_eq!(doctor(&["--dir", path]), (Some(5), BTreeSet::from(["foreign-key-without-index".to_owned()])));
    let (code, found) = doctor(&["--dir", path, "--tenants"]);
    assert_eq!(code, Some(5));
    for check in ["tenant-id-missing", "view-not-invoker", "grant-missing", "comment-missing"] {
        assert!(found.contains(check), "{check}: {found:?}");
    }
    let declared = "run_in_transaction = true\n[lint]\nview-not-invoker = \"it has no rows of tenants\"\n";
    folder.write("2026-01-02-000000_b", "metadata.toml", declared);
    assert!(!doctor(&["--dir", path, "--tenants"]).1.contains("view-not-invoker"));
    assert_eq!(doctor(&["--tenants"]).0, Some(2), "it is about --dir");
    assert_eq!(doctor(&["--dir", "nowhere"]).0, Some(1));
}
