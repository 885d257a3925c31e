//! The lint finds each of its rules where it was planted, on its line, and nothing where it is nearly so.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use bedplate::database::DatabaseName;
use bedplate::database::migrate::lint::{self, Finding, Level, Rules};
use bedplate::database::migrate::{Migration, Script, Source};
use rstest::rstest;

const ONE: &str = "run_in_transaction = true\n";
const NONE: &str = "run_in_transaction = false\n";

/// What was there before: a table that keeps every rule, an enum, a function.
const BEFORE: &str = "
CREATE TYPE mood AS ENUM ('good', 'bad');
COMMENT ON TYPE mood IS 'How it goes.';
CREATE TABLE good (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    parent_id uuid,
    name text,
    price numeric(20,4),
    tags text[],
    mood mood,
    short varchar(20),
    number int,
    checked varchar(20),
    CONSTRAINT good_checked_check CHECK (checked IS NOT NULL),
    CONSTRAINT good_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT good_parent_id_fkey FOREIGN KEY (tenant_id, parent_id) REFERENCES good (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX good_parent_id_idx ON good (tenant_id, parent_id);
COMMENT ON INDEX good_parent_id_idx IS 'x';
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON good FOR EACH ROW EXECUTE FUNCTION audit('good', 'id');
COMMENT ON TABLE good IS 'Keeps every rule.';
COMMENT ON COLUMN good.tenant_id IS 'x';
COMMENT ON COLUMN good.id IS 'x';
COMMENT ON COLUMN good.parent_id IS 'x';
COMMENT ON COLUMN public.good.name IS 'x';
COMMENT ON COLUMN good.price IS 'x';
COMMENT ON COLUMN good.tags IS 'x';
COMMENT ON COLUMN good.mood IS 'x';
COMMENT ON COLUMN good.short IS 'x';
COMMENT ON COLUMN good.number IS 'x';
COMMENT ON COLUMN good.checked IS 'x';
CREATE DOMAIN label AS varchar(30);
COMMENT ON DOMAIN label IS 'x';
ALTER TABLE good ENABLE ROW LEVEL SECURITY;
ALTER TABLE good FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON good TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON good IS 'x';
CREATE POLICY system ON good TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON good IS 'x';
GRANT SELECT, INSERT, UPDATE ON good TO bedplate_app, bedplate_system;
CREATE FUNCTION known() RETURNS int LANGUAGE sql RETURN 1;
COMMENT ON FUNCTION known() IS 'x';
REVOKE EXECUTE ON FUNCTION known() FROM PUBLIC;";

const OF_BEFORE: &str = "run_in_transaction = true\n[lint]\nenum-type = \"the tests ask for one\"\n";

/// A folder on the disk, read as the command does: each migration with `up.sql`, `down.sql`, `metadata.toml`.
fn folder(files: &[(&str, Option<&str>, &str)]) -> (tempfile::TempDir, Vec<Migration>) {
    let folder = tempfile::tempdir().unwrap();
    for (n, (up, down, metadata)) in files.iter().enumerate() {
        let path = folder.path().join(format!("2026-12-0{}-000000_m{}", n + 1, n + 1));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("up.sql"), up).unwrap();
        if let Some(down) = down {
            std::fs::write(path.join("down.sql"), down).unwrap();
        }
        std::fs::write(path.join("metadata.toml"), metadata).unwrap();
    }
    let migrations = Source::Directory(folder.path().into()).read().unwrap();
    (folder, migrations)
}

/// Behind [`BEFORE`].
fn lint(up: &str, down: Option<&str>, metadata: &str, rules: Rules) -> Vec<Finding> {
    let files = [(BEFORE, Some("SELECT;"), OF_BEFORE), (up, down, metadata)];
    lint::lint(&folder(&files).1, rules).unwrap()
}

fn up(sql: &str) -> Vec<Finding> {
    lint(sql, Some("SELECT;"), ONE, Rules::Tenants)
}

/// Where a rule was found: files with lines.
fn places<'f>(findings: &'f [Finding], rule: &str) -> Vec<(&'f str, Option<usize>)> {
    findings.iter().filter(|finding| finding.rule == rule).map(|finding| (finding.file, finding.line)).collect()
}

/// Rule, what `up.sql` says, and the lines it is found in.
const PLANTED: &[(&str, &str, &[usize])] = &[
    ("syntax", "SELECT 1;\n\nCREATE TABLE t (a int,, b int);", &[3]),
    ("syntax", "SELECT 1;\n'open", &[2]),
    ("syntax", "SELECT 1;\n/* open", &[2]),
    ("one-concurrently", "-- why\nCREATE INDEX CONCURRENTLY i ON good (tenant_id, name);", &[2]),
    ("one-concurrently", "DROP INDEX CONCURRENTLY i;", &[1]),
    ("one-concurrently", "ALTER TABLE good\n DETACH PARTITION x CONCURRENTLY;", &[1]),
    // Keys.
    ("tenant-id-missing", "CREATE TABLE t (\n id uuid PRIMARY KEY);", &[1]),
    ("key-without-tenant", "CREATE TABLE t (tenant_id uuid,\n id uuid PRIMARY KEY);", &[2]),
    (
        "key-without-tenant",
        "CREATE TABLE t (tenant_id uuid, id uuid,\n CONSTRAINT k PRIMARY KEY (id, tenant_id));",
        &[2],
    ),
    (
        "key-without-tenant",
        "CREATE TABLE t (tenant_id uuid,\n email text UNIQUE,\n a uuid REFERENCES good (id));",
        &[2],
    ),
    (
        "foreign-key-without-tenant",
        "CREATE TABLE t (tenant_id uuid,\n email text UNIQUE,\n a uuid REFERENCES good (id));",
        &[3],
    ),
    (
        "foreign-key-without-tenant",
        "CREATE TABLE t (tenant_id uuid, a uuid,\n FOREIGN KEY (a) REFERENCES good (id));",
        &[2],
    ),
    ("key-without-tenant", "ALTER TABLE good\n ADD CONSTRAINT k UNIQUE (name);", &[2]),
    ("key-without-tenant", "CREATE UNIQUE INDEX ON good (name, tenant_id);", &[1]),
    ("key-without-tenant", "CREATE UNIQUE INDEX ON unknown (lower(name));", &[1]),
    // Policies.
    ("rls-off", "CREATE TABLE t (tenant_id uuid);", &[1]),
    ("rls-off", "CREATE TABLE tenants (id uuid);", &[1]),
    ("rls-off", "\nALTER TABLE good DISABLE ROW LEVEL SECURITY;", &[2]),
    ("rls-not-forced", "CREATE TABLE t (tenant_id uuid);", &[1]),
    ("rls-not-forced", "\nCREATE TABLE t AS SELECT 1;", &[2]),
    ("rls-not-forced", "CREATE TABLE p PARTITION OF good DEFAULT;\nALTER TABLE p ENABLE ROW LEVEL SECURITY;", &[1]),
    ("policy-missing", "CREATE TABLE t (tenant_id uuid);", &[1]),
    ("policy-missing", "CREATE TABLE tenants (id uuid);", &[1]),
    ("policy-missing", "\nDROP POLICY tenant ON good;", &[2]),
    (
        "policy-missing",
        "CREATE TABLE t (tenant_id uuid);
         ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON t TO bedplate_app USING (tenant_id = (SELECT current_tenant()));",
        &[1],
    ),
    (
        "policy-missing",
        "CREATE TABLE t (tenant_id uuid);
         ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON t TO bedplate_app USING (true) WITH CHECK (true);",
        &[1],
    ),
    ("policy-bare-call", "CREATE POLICY p ON good TO bedplate_app\n USING (tenant_id = current_tenant());", &[2]),
    ("policy-bare-call", "ALTER POLICY tenant ON good\n WITH CHECK (tenant_id = public.current_tenant());", &[2]),
    ("rls-not-forced", "ALTER TABLE good NO FORCE ROW LEVEL SECURITY;", &[1]),
    ("policy-restrictive", "CREATE POLICY p ON good\n AS restrictive TO bedplate_app USING (true);", &[2]),
    // Indexes.
    ("index-lost-to-rls", "CREATE INDEX i ON good USING gin (tags);", &[1]),
    ("index-lost-to-rls", "CREATE INDEX i ON good (tenant_id, price);", &[1]),
    ("index-lost-to-rls", "CREATE INDEX i ON good (tenant_id, mood DESC);", &[1]),
    ("index-lost-to-rls", "CREATE INDEX i ON good (tenant_id, tags);", &[1]),
    ("index-lost-to-rls", "CREATE INDEX i ON good (tenant_id, lower(name));", &[1]),
    ("index-lost-to-rls", "CREATE INDEX i ON good (tenant_id, (data ->> 'name'));", &[1]),
    ("index-lost-to-rls", "ALTER TABLE good ADD COLUMN data jsonb;\nCREATE INDEX i ON good (tenant_id, data);", &[2]),
    // Comments.
    ("comment-missing", "CREATE TABLE t (\n tenant_id uuid);", &[1, 2]),
    ("comment-missing", "ALTER TABLE good\n ADD COLUMN a int;", &[2]),
    ("comment-missing", "ALTER TABLE good ADD COLUMN a int;\nCOMMENT ON COLUMN good.a IS NULL;", &[1]),
    ("comment-missing", "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1;", &[1]),
    ("comment-missing", "CREATE PROCEDURE f() LANGUAGE sql BEGIN ATOMIC SELECT 1; END;", &[1]),
    ("comment-missing", "CREATE TYPE t AS ENUM ('a');\nCREATE DOMAIN d AS text;", &[1, 2]),
    // Functions and grants.
    ("function-without-search-path", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';", &[1]),
    (
        "function-without-search-path",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET timezone = 'UTC' AS 'SELECT 1';",
        &[1],
    ),
    (
        "definer-without-tenant",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT 1';",
        &[1],
    ),
    (
        "definer-without-search-path",
        "CREATE FUNCTION f() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS 'SELECT public.require_tenant()';",
        &[1],
    ),
    ("granted-to-public", "SELECT 1;\nGRANT SELECT ON good TO bedplate_app, PUBLIC;", &[2]),
    ("granted-to-public", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public;", &[1]),
    ("granted-to-public", "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1;", &[1]),
    // What cannot be distributed.
    (
        "on-delete-set-null",
        "ALTER TABLE good ADD CONSTRAINT k FOREIGN KEY (tenant_id, a) REFERENCES good\n ON DELETE SET NULL;",
        &[2],
    ),
    ("on-delete-set-null", "CREATE TABLE t (a int\n REFERENCES good ON UPDATE CASCADE ON DELETE SET NULL (a));", &[2]),
    ("deferrable-constraint", "ALTER TABLE good ADD CONSTRAINT k UNIQUE (tenant_id, name)\n DEFERRABLE;", &[2]),
    ("deferrable-constraint", "CREATE TABLE t (tenant_id uuid UNIQUE\n INITIALLY DEFERRED);", &[2]),
    ("serial", "CREATE TABLE t (\n n bigserial);", &[2]),
    ("serial", "ALTER TABLE good ADD COLUMN n SERIAL;", &[1]),
    ("time-without-zone", "CREATE TABLE t (\n at timestamp(3));", &[2]),
    ("time-without-zone", "ALTER TABLE good ALTER COLUMN at TYPE timestamp without time zone;", &[1]),
    ("time-without-zone", "ALTER TABLE good ADD COLUMN at timestamp[];", &[1]),
    // Backfills.
    ("backfill-as-owner", "\nUPDATE good SET name = 'x';", &[2]),
    ("backfill-as-owner", "WITH gone AS (\nDELETE FROM ONLY public.good RETURNING *) SELECT * FROM gone;", &[2]),
    ("backfill-as-owner", "SET LOCAL ROLE bedplate_system;\nRESET ROLE;\nDELETE FROM good;", &[3]),
    ("backfill-as-owner", "MERGE INTO good USING x ON true WHEN MATCHED THEN DELETE;", &[1]),
    ("backfill-as-owner", "UPDATE unknown SET a = 1;", &[1]),
    ("backfill-as-owner", "DO $$ BEGIN\n UPDATE good SET name = 'x' WHERE name = 'y'; END $$;", &[2]),
    // Locks and rows: `src/database/migrate/lint/locks/`.
    ("vacuum-full", "SELECT 1;\nVACUUM FULL good;", &[2]),
    ("vacuum-full", "VACUUM (FULL, ANALYZE) good;", &[1]),
    ("cluster", "CLUSTER good USING good_pkey;", &[1]),
    ("lock-table", "LOCK TABLE good;", &[1]),
    ("lock-table", "\nLOCK good IN SHARE ROW EXCLUSIVE MODE;", &[2]),
    ("lock-table", "DO $$ BEGIN\n LOCK TABLE good; END $$;", &[2]),
    ("set-logged", "ALTER TABLE good SET UNLOGGED;\nALTER TABLE good SET LOGGED;", &[1, 2]),
    ("set-tablespace", "ALTER TABLE good SET TABLESPACE fast;\nALTER INDEX good_pkey SET TABLESPACE fast;", &[1, 2]),
    ("set-tablespace", "ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE fast;", &[1]),
    ("set-access-method", "ALTER TABLE good SET ACCESS METHOD heap;", &[1]),
    ("changing-column-type", "ALTER TABLE good\n ALTER COLUMN name TYPE varchar(5);", &[2]),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN price TYPE numeric(20,6);", &[1]),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN short TYPE varchar(40) USING upper(short);", &[1]),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN number TYPE bigint;", &[1]),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN price SET DATA TYPE text;", &[1]),
    ("changing-column-type", "ALTER TABLE unknown ALTER COLUMN a TYPE text;", &[1]),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN id TYPE uuid COLLATE \"C\";", &[1]),
    ("changing-column-type", "ALTER TYPE pair ALTER ATTRIBUTE a TYPE text CASCADE;", &[1]),
    ("changing-column-type", "DO $$\nBEGIN\n ALTER TABLE good ALTER number TYPE bigint;\nEND $$;", &[3]),
    ("changing-checked-column", "ALTER TABLE good ALTER COLUMN checked TYPE varchar(40);", &[1]),
    ("set-expression", "ALTER TABLE good ALTER COLUMN name SET EXPRESSION AS (short || 'x');", &[1]),
    ("adding-computed-field", "ALTER TABLE good ADD COLUMN a int GENERATED ALWAYS AS (number + 1) STORED;", &[1]),
    ("adding-computed-field", "ALTER TABLE good ADD COLUMN a bigint GENERATED ALWAYS AS IDENTITY;", &[1]),
    ("adding-computed-field", "ALTER TABLE good ADD COLUMN a serial;", &[1]),
    ("adding-field-with-constraint", "ALTER TABLE good ADD COLUMN a int CHECK (a > 0);", &[1]),
    ("adding-field-with-constraint", "ALTER TABLE good ADD COLUMN a int UNIQUE;", &[1]),
    ("adding-not-nullable-field", "ALTER TABLE good ALTER COLUMN name SET NOT NULL;", &[1]),
    (
        "adding-not-nullable-field",
        "ALTER TABLE good ADD CONSTRAINT c CHECK (name IS NOT NULL) NOT VALID;\nALTER TABLE good ALTER COLUMN name SET NOT NULL;",
        &[2],
    ),
    ("adding-exclusion-constraint", "ALTER TABLE good ADD CONSTRAINT e EXCLUDE USING gist (tenant_id WITH =);", &[1]),
    ("attach-partition", "ALTER TABLE parent ATTACH PARTITION loose DEFAULT;", &[1]),
    ("split-partition", "ALTER TABLE parent MERGE PARTITIONS (a, b) INTO c;", &[1]),
    ("refresh-not-concurrently", "REFRESH MATERIALIZED VIEW v;", &[1]),
    ("checking-domain", "ALTER DOMAIN d VALIDATE CONSTRAINT c;", &[1]),
    ("checking-domain", "ALTER DOMAIN d SET NOT NULL;", &[1]),
    ("truncating-table", "TRUNCATE good, unknown;", &[1, 1]),
    ("truncating-table", "DO $$ BEGIN TRUNCATE good; END $$;", &[1]),
    ("change-without-where", "UPDATE good SET name = 'x';", &[1]),
    ("change-without-where", "\nDELETE FROM good;", &[2]),
    ("change-without-where", "DELETE FROM good WHERE true;", &[1]),
    ("change-without-where", "WITH gone AS (\n DELETE FROM good RETURNING *) SELECT * FROM gone;", &[2]),
    ("change-without-where", "DO $$ BEGIN IF true THEN\n DELETE FROM good;\nEND IF; END $$;", &[2]),
    // squawk's.
    ("require-concurrent-index-creation", "\nCREATE INDEX i ON good (tenant_id, name);", &[2]),
    ("require-concurrent-index-deletion", "DROP INDEX i;", &[1]),
    ("require-concurrent-reindex", "REINDEX INDEX i;", &[1]),
    ("require-concurrent-partition-detach", "ALTER TABLE good DETACH PARTITION x;", &[1]),
    ("constraint-missing-not-valid", "ALTER TABLE good\n ADD CONSTRAINT c CHECK (name <> '');", &[2]),
    (
        "adding-foreign-key-constraint",
        "ALTER TABLE good ADD CONSTRAINT k FOREIGN KEY (tenant_id) REFERENCES x (id);",
        &[1],
    ),
    ("adding-required-field", "ALTER TABLE good ADD COLUMN a int NOT NULL;", &[1]),
    ("adding-serial-primary-key-field", "ALTER TABLE good ADD PRIMARY KEY (tenant_id, name);", &[1]),
    ("disallowed-unique-constraint", "ALTER TABLE good ADD CONSTRAINT k UNIQUE (tenant_id, name);", &[1]),
    ("adding-field-with-default", "ALTER TABLE good ADD COLUMN a uuid DEFAULT gen_random_uuid();", &[1]),
    ("ban-alter-domain-with-add-constraint", "ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0);", &[1]),
    ("ban-create-domain-with-constraint", "CREATE DOMAIN d AS int CHECK (VALUE > 0);", &[1]),
    ("ban-uncommitted-transaction", "BEGIN;\nSELECT 1;", &[1]),
    ("ban-duplicate-column-assignments", "CREATE TABLE t (a int,\n a int);", &[1, 2]),
    (
        "identifier-too-long",
        "CREATE TABLE a_name_that_is_longer_than_sixty_three_bytes_is_cut_off_by_the_server (id int);",
        &[1],
    ),
    ("renaming-column", "ALTER TABLE good RENAME COLUMN name TO title;", &[1]),
    ("renaming-table", "ALTER TABLE good RENAME TO better;", &[1]),
    ("renaming-object", "ALTER VIEW v RENAME TO w;", &[1]),
    ("ban-set-schema", "ALTER TABLE good SET SCHEMA other;", &[1]),
    ("ban-drop-column", "ALTER TABLE good\n DROP COLUMN name;", &[2]),
    ("ban-drop-table", "DROP TABLE good;", &[1]),
    ("ban-drop-view", "DROP VIEW v;", &[1]),
    ("ban-drop-function", "DROP FUNCTION known();", &[1]),
    ("ban-drop-type", "DROP TYPE mood;", &[1]),
    ("ban-drop-domain", "DROP DOMAIN d;", &[1]),
    ("ban-drop-sequence", "DROP SEQUENCE s;", &[1]),
    ("ban-drop-schema", "DROP SCHEMA s;", &[1]),
    ("ban-drop-extension", "DROP EXTENSION hstore;", &[1]),
    ("ban-drop-default", "ALTER TABLE good ALTER COLUMN id DROP DEFAULT;", &[1]),
    ("ban-drop-not-null", "ALTER TABLE good ALTER COLUMN id DROP NOT NULL;", &[1]),
    ("ban-drop-constraint", "ALTER TABLE good DROP CONSTRAINT good_pkey;", &[1]),
    ("ban-drop-generated-expression", "ALTER TABLE good ALTER COLUMN name DROP EXPRESSION;", &[1]),
    ("ban-alter-identity", "ALTER TABLE good ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;", &[1]),
    ("ban-drop-database", "DROP DATABASE d;", &[1]),
    ("ban-truncate-cascade", "TRUNCATE good CASCADE;", &[1]),
    ("ban-alter-system-options", "ALTER SYSTEM SET work_mem = '1GB';", &[1]),
    ("require-enum-value-ordering", "ALTER TYPE mood ADD VALUE 'fine';", &[1]),
];

/// Nearly so, and well.
const FINE: &[(&str, &str)] = &[
    ("syntax", "SELECT ';', $$ ( $$, E'\\'';\n-- ' \" (\n"),
    ("syntax", "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;"),
    ("one-concurrently", "REFRESH MATERIALIZED VIEW CONCURRENTLY v;"),
    ("one-concurrently", "SELECT 'CREATE INDEX CONCURRENTLY';"),
    (
        "key-without-tenant",
        "CREATE TABLE t (\"tenant_id\" uuid PRIMARY KEY REFERENCES tenants (id), a int, UNIQUE (TENANT_ID, a));",
    ),
    ("key-without-tenant", "CREATE TABLE p PARTITION OF good DEFAULT;"),
    ("key-without-tenant", "CREATE TEMP TABLE t (id int PRIMARY KEY);\nCREATE INDEX ON good (name);"),
    ("key-without-tenant", "ALTER TABLE good ADD CONSTRAINT k UNIQUE USING INDEX i;"),
    ("rls-off", "CREATE TEMPORARY TABLE t (tenant_id uuid);"),
    ("rls-not-forced", "CREATE TABLE scratch (tenant_id uuid);\nDROP TABLE scratch;"),
    ("policy-missing", "CREATE TABLE venues (code text);"),
    ("policy-missing", "CREATE TABLE p PARTITION OF good DEFAULT;"),
    (
        "policy-missing",
        "CREATE POLICY other ON good TO bedplate_app USING (tenant_id = (SELECT current_tenant())) \
         WITH CHECK (tenant_id = (SELECT current_tenant()));\nDROP POLICY tenant ON good;",
    ),
    ("tenant-id-missing", "CREATE TABLE tenants (id uuid PRIMARY KEY);"),
    ("foreign-key-without-tenant", "CREATE TABLE t (tenant_id uuid REFERENCES tenants (id));"),
    (
        "policy-bare-call",
        "CREATE POLICY p ON good TO bedplate_app USING (tenant_id = (SELECT public.current_tenant()));",
    ),
    ("policy-restrictive", "CREATE POLICY p ON good AS PERMISSIVE TO bedplate_app USING (true);"),
    ("index-lost-to-rls", "CREATE INDEX i ON good (tenant_id, name COLLATE \"C\" DESC, coalesce(parent_id, id));"),
    ("index-lost-to-rls", "CREATE INDEX i ON good USING brin (created_at);"),
    (
        "index-lost-to-rls",
        "CREATE INDEX i ON good (tenant_id, (CASE name WHEN 'high' THEN 0 ELSE 1 END)) WHERE lower(name) = 'x';",
    ),
    ("index-lost-to-rls", "CREATE TABLE venues (code text, data jsonb);\nCREATE INDEX i ON venues USING gin (data);"),
    (
        "comment-missing",
        "CREATE TABLE t (\"Total\" int);\nCOMMENT ON TABLE public.t IS 'x';\nCOMMENT ON COLUMN public.t.\"Total\" IS 'x';",
    ),
    ("comment-missing", "CREATE OR REPLACE FUNCTION known() RETURNS int LANGUAGE sql RETURN 2;"),
    ("comment-missing", "CREATE TEMP TABLE t (a int);"),
    (
        "comment-missing",
        "CREATE FUNCTION s.f(a int) RETURNS int LANGUAGE sql RETURN 1;\nCOMMENT ON FUNCTION s.f(int) IS 'x';",
    ),
    ("function-without-search-path", "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;"),
    (
        "definer-without-tenant",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN END';",
    ),
    (
        "definer-without-search-path",
        "CREATE FUNCTION f() RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS 'SELECT public.require_tenant()';",
    ),
    ("granted-to-public", "GRANT USAGE ON SCHEMA public TO bedplate_app;"),
    (
        "granted-to-public",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1;\nREVOKE ALL ON FUNCTION public.f() FROM PUBLIC;",
    ),
    ("granted-to-public", "CREATE OR REPLACE FUNCTION known() RETURNS int LANGUAGE sql RETURN 2;"),
    (
        "on-delete-set-null",
        "ALTER TABLE good ADD CONSTRAINT k FOREIGN KEY (tenant_id, a) REFERENCES good ON DELETE CASCADE;",
    ),
    (
        "deferrable-constraint",
        "ALTER TABLE good ADD CONSTRAINT k UNIQUE (tenant_id, name) NOT DEFERRABLE INITIALLY IMMEDIATE;",
    ),
    ("serial", "CREATE TABLE t (serial bigint GENERATED ALWAYS AS IDENTITY);"),
    ("time-without-zone", "CREATE TABLE t (a timestamptz, b timestamp with time zone);\nSELECT now()::timestamp;"),
    ("backfill-as-owner", "SET LOCAL ROLE bedplate_system;\nUPDATE good SET name = 'x';\nRESET ROLE;"),
    ("backfill-as-owner", "DO $$ BEGIN SET LOCAL ROLE bedplate_system; DELETE FROM good WHERE name = 'y'; END $$;"),
    ("backfill-as-owner", "SET LOCAL ROLE bedplate_system;\nDO $$ BEGIN DELETE FROM good WHERE name = 'y'; END $$;"),
    ("backfill-as-owner", "CREATE TABLE venues (code text);\nUPDATE venues SET code = 'x';"),
    (
        "backfill-as-owner",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC UPDATE good SET name = 'x'; END;",
    ),
    // Locks and rows.
    ("vacuum-full", "VACUUM (ANALYZE) good;\nVACUUM;"),
    ("cluster", "ALTER TABLE good CLUSTER ON good_pkey;"),
    ("lock-table", "LOCK TABLE good IN SHARE UPDATE EXCLUSIVE MODE;"),
    ("lock-table", "CREATE TABLE t (a int);\nLOCK TABLE t;"),
    ("set-logged", "CREATE TABLE t (a int);\nALTER TABLE t SET UNLOGGED;"),
    ("set-tablespace", "CREATE TABLE t (a int);\nALTER TABLE t SET TABLESPACE fast;"),
    ("set-access-method", "CREATE TABLE t (a int) USING heap;\nALTER TABLE t SET ACCESS METHOD heap;"),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN short TYPE varchar(40);"),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN short TYPE character varying;"),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN short TYPE text USING short::text;"),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN short TYPE text USING (CAST(short AS text));"),
    (
        "changing-column-type",
        "ALTER TABLE good ALTER COLUMN short TYPE varchar(40);\nALTER TABLE good ALTER COLUMN short TYPE text;",
    ),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN price TYPE numeric(30,4);"),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN price TYPE numeric;"),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN short TYPE label;"),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN short TYPE varchar(40) COLLATE \"C\";"),
    ("changing-column-type", "CREATE TABLE t (a int);\nALTER TABLE t ALTER COLUMN a TYPE bigint;"),
    (
        "changing-column-type",
        "ALTER TABLE good ALTER COLUMN name SET STATISTICS 100, ALTER COLUMN name SET STORAGE EXTERNAL;",
    ),
    ("changing-column-type", "DO $$ BEGIN EXECUTE 'ALTER TABLE good ALTER number TYPE bigint'; END $$;"),
    ("changing-checked-column", "ALTER TABLE good ALTER COLUMN short TYPE varchar(40);"),
    ("set-expression", "ALTER TABLE good ALTER COLUMN name SET DEFAULT 'x';"),
    ("adding-computed-field", "ALTER TABLE good ADD COLUMN a int GENERATED ALWAYS AS (number + 1) VIRTUAL;"),
    ("adding-computed-field", "ALTER TABLE good ADD COLUMN a int DEFAULT 5;"),
    ("adding-field-with-constraint", "ALTER TABLE good ADD COLUMN a int REFERENCES good (id);"),
    ("adding-not-nullable-field", "ALTER TABLE good ALTER COLUMN checked SET NOT NULL;"),
    ("adding-not-nullable-field", "CREATE TABLE t (a int);\nALTER TABLE t ALTER COLUMN a SET NOT NULL;"),
    ("adding-exclusion-constraint", "CREATE TABLE t (a int, EXCLUDE USING gist (a WITH =));"),
    ("attach-partition", "CREATE TABLE t (a int);\nALTER TABLE parent ATTACH PARTITION t FOR VALUES IN (1);"),
    ("attach-partition", "ALTER TABLE parent ATTACH PARTITION good FOR VALUES IN (1);"),
    ("split-partition", "ALTER TABLE good RENAME CONSTRAINT a TO b;"),
    ("refresh-not-concurrently", "REFRESH MATERIALIZED VIEW CONCURRENTLY v;"),
    ("refresh-not-concurrently", "CREATE MATERIALIZED VIEW v AS SELECT 1;\nREFRESH MATERIALIZED VIEW v;"),
    ("checking-domain", "ALTER DOMAIN d SET DEFAULT 5;"),
    ("truncating-table", "CREATE TABLE t (a int);\nTRUNCATE t;"),
    ("change-without-where", "DELETE FROM good WHERE name IS NULL;"),
    ("change-without-where", "CREATE TABLE t (a int);\nDELETE FROM t;"),
    ("change-without-where", "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM good; END;"),
    ("change-without-where", "CREATE TEMP TABLE t (a int);\nDELETE FROM t;"),
    ("set-local-without-transaction", "SET LOCAL search_path = public;"),
    ("require-concurrent-index-creation", "CREATE TABLE t (a int);\nCREATE INDEX i ON t (a);"),
    ("ban-drop-column", "CREATE TABLE t (a int);\nALTER TABLE t DROP COLUMN a;"),
    ("adding-not-nullable-field", "ALTER TABLE good ADD CONSTRAINT c CHECK (name IS NOT NULL) NOT VALID;"),
    ("adding-required-field", "ALTER TABLE good ADD COLUMN a int NOT NULL DEFAULT 0;"),
    ("changing-column-type", "ALTER TABLE good ALTER COLUMN name SET STATISTICS 100;"),
    ("constraint-missing-not-valid", "ALTER TABLE good ADD CONSTRAINT c CHECK (name <> '') NOT VALID;"),
    ("renaming-column", "ALTER TABLE good ADD COLUMN title text;"),
    ("ban-drop-column", "ALTER TABLE good ALTER COLUMN name SET DEFAULT 'x';"),
];

#[test]
fn each_rule_is_found_where_it_was_planted() {
    for (rule, sql, lines) in PLANTED {
        let findings = up(sql);
        let expected: Vec<_> = lines.iter().map(|line| ("up.sql", Some(*line))).collect();
        assert_eq!(places(&findings, rule), expected, "{rule}: {sql}: {findings:#?}");
        assert!(findings.iter().all(|finding| finding.migration == "2026-12-02-000000_m2"), "{findings:#?}");
        assert!(findings.iter().all(|finding| !finding.help.is_empty() && !finding.message.is_empty()));
    }
}

#[test]
fn what_is_nearly_so_is_fine() {
    for (rule, sql) in FINE {
        let findings = up(sql);
        assert_eq!(places(&findings, rule), [], "{rule}: {sql}: {findings:#?}");
        assert_eq!(places(&findings, "syntax"), [], "{sql}");
    }
}

#[test]
fn every_rule_is_planted_and_every_rule_of_ours_has_a_near_miss() {
    // These are planted in tests of their own, below.
    let apart = [
        "set-local-without-transaction",
        "down-missing",
        "exemption-without-reason",
        "stale-exemption",
        "unknown-rule",
        "prefer-identity",
        "prefer-timestamp-tz",
    ];
    let rules: BTreeSet<String> = lint::rules().collect();
    // What the doctor knows too is planted there.
    let planted = PLANTED.iter().map(|(rule, ..)| *rule).chain(apart).chain(crate::doctor_rules::rules());
    let planted: BTreeSet<String> = planted.map(str::to_owned).collect();
    assert_eq!(planted, rules);
    let ours =
        PLANTED.iter().take_while(|(rule, ..)| *rule != "require-concurrent-index-creation").map(|(rule, ..)| *rule);
    let fine: BTreeSet<_> = FINE.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(ours.filter(|rule| !fine.contains(rule)).collect::<Vec<_>>(), [""; 0]);
}

#[rstest]
#[case::missing(None, "SELECT 1;", true)]
#[case::empty(Some(""), "SELECT 1;", true)]
#[case::only_a_comment(Some("-- nothing; to do\n;"), "SELECT 1;", true)]
#[case::says_that_there_is_nothing(Some("SELECT;"), "SELECT 1;", false)]
#[case::nothing_to_take_back(None, "-- nothing", false)]
fn a_way_back_is_needed_where_there_is_a_way(#[case] down: Option<&str>, #[case] sql: &str, #[case] found: bool) {
    for rules in [Rules::General, Rules::Tenants, Rules::Reference] {
        let findings = lint(sql, down, ONE, rules);
        let expected: &[_] = if found { &[("down.sql", None)] } else { &[] };
        assert_eq!(places(&findings, "down-missing"), expected, "{findings:#?}");
    }
}

#[test]
fn down_sql_may_drop_but_not_block_or_fail() {
    let down = "DROP TABLE t;\nDROP FUNCTION f();\nALTER TABLE good DROP COLUMN a;\nALTER TABLE good RENAME COLUMN a TO b;\n\
                CREATE INDEX i ON good (name);\nALTER TABLE good ADD COLUMN c int NOT NULL;\nSELECT (;";
    let findings = lint("SELECT 1;", Some(down), ONE, Rules::Tenants);
    let seen: Vec<_> =
        findings.iter().map(|finding| (finding.file, finding.line.unwrap(), finding.rule.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("down.sql", 5, "require-concurrent-index-creation"),
            ("down.sql", 6, "adding-required-field"),
            ("down.sql", 7, "syntax")
        ]
    );
}

#[test]
fn concurrently_is_explained_where_only_the_diesel_cli_cannot_run_it() {
    let one = "CREATE INDEX CONCURRENTLY i ON good (tenant_id, name);";
    assert_eq!(lint(one, Some("DROP INDEX CONCURRENTLY i;"), NONE, Rules::General), []);
    let two = lint(&format!("{one}\n{one}"), Some("SELECT;"), NONE, Rules::General);
    let [found] = two.as_slice() else { panic!("{two:#?}") };
    assert_eq!((found.rule.as_str(), found.line, found.level), ("one-concurrently", Some(2), Level::Explain));
    // As Diesel reads it: without the line it is `false`.
    assert_eq!(lint(one, Some("SELECT;"), "", Rules::General), []);
}

#[rstest]
#[case::role("SET LOCAL ROLE bedplate_system;", &[1])]
#[case::path("SELECT 1;\nSET LOCAL search_path = public;", &[2])]
#[case::isolation("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;", &[1])]
#[case::function("SELECT set_config('app.tenant_id', 'x', true);", &[1])]
#[case::after_commit("BEGIN;\nSET LOCAL work_mem = '1GB';\nCOMMIT;\nSET LOCAL work_mem = '1GB';", &[4])]
#[case::in_a_transaction("BEGIN;\nSET LOCAL work_mem = '1GB';\nCOMMIT;", &[])]
#[case::of_the_session("SET work_mem = '1GB';\nSELECT set_config('app.tenant_id', 'x', false);", &[])]
#[case::in_a_block("DO $$ BEGIN SET LOCAL work_mem = '1GB'; END $$;", &[])]
fn a_local_setting_needs_a_transaction(#[case] sql: &str, #[case] lines: &[usize]) {
    let expected: Vec<_> = lines.iter().map(|line| ("up.sql", Some(*line))).collect();
    let findings = lint(sql, Some("SELECT;"), NONE, Rules::General);
    assert_eq!(places(&findings, "set-local-without-transaction"), expected, "{findings:#?}");
    assert_eq!(places(&lint(sql, Some("SELECT;"), ONE, Rules::General), "set-local-without-transaction").len(), {
        // One that ends its transaction itself is without one behind it, whatever the metadata says.
        usize::from(sql.contains("COMMIT;\nSET"))
    });
}

/// A batch holds its rows for less than a second.
#[test]
fn a_change_in_batches_is_no_change_of_every_row_at_once() {
    let sql = "UPDATE good SET name = 'x' WHERE true /* batch */;\nUPDATE good SET name = 'x' WHERE true;";
    let findings = lint(sql, Some("SELECT;"), NONE, Rules::General);
    assert_eq!(places(&findings, "change-without-where"), [("up.sql", Some(2))]);
}

/// The way back blocks as the way there does, and may lose what only the way there made.
#[test]
fn the_way_back_may_not_block_either() {
    let down =
        "LOCK TABLE good;\nALTER TABLE good SET UNLOGGED;\nDELETE FROM good;\nTRUNCATE good;\nREINDEX TABLE good;";
    let findings = lint("SELECT 1;", Some(down), ONE, Rules::General);
    let found: Vec<_> = findings.iter().map(|finding| (finding.line.unwrap(), finding.rule.as_str())).collect();
    assert_eq!(found, [(1, "lock-table"), (2, "set-logged"), (5, "require-concurrent-reindex")]);
}

/// SET LOCAL does nothing outside of a transaction, and a COMMIT ends it.
#[rstest]
#[case("SET LOCAL ROLE bedplate_system;\nDELETE FROM good;", &[2])]
#[case("SET ROLE bedplate_system;\nDELETE FROM good;", &[])]
#[case("BEGIN;\nSET LOCAL ROLE bedplate_system;\nDELETE FROM good;\nCOMMIT;\nDELETE FROM good;", &[5])]
fn a_role_holds_for_its_transaction(#[case] sql: &str, #[case] lines: &[usize]) {
    let findings = lint(sql, Some("SELECT;"), NONE, Rules::Tenants);
    let expected: Vec<_> = lines.iter().map(|line| ("up.sql", Some(*line))).collect();
    assert_eq!(places(&findings, "backfill-as-owner"), expected);
}

#[test]
fn a_folder_is_asked_only_the_rules_that_are_for_it() {
    let sql = "CREATE TABLE t (id serial, at timestamp);";
    let rules = |rules| -> Vec<_> {
        lint(sql, Some("SELECT;"), ONE, rules).into_iter().map(|finding| (finding.rule, finding.level)).collect()
    };
    let found =
        |rules: &[(&str, Level)]| rules.iter().map(|(rule, level)| ((*rule).to_owned(), *level)).collect::<Vec<_>>();
    let general = [("prefer-identity", Level::Explain), ("prefer-timestamp-tz", Level::Explain)];
    assert_eq!(rules(Rules::General), found(&general));
    let mut reference = vec![("comment-missing", Level::Refuse); 3];
    reference.extend(["grant-missing", "serial", "time-without-zone"].map(|rule| (rule, Level::Refuse)));
    assert_eq!(rules(Rules::Reference), found(&reference));
    reference.insert(5, ("tenant-id-missing", Level::Refuse));
    assert_eq!(rules(Rules::Tenants), found(&reference));
}

#[rstest]
#[case::good("\"renaming-column\" = \"nobody reads it\"", &[])]
#[case::without_reason("\"renaming-column\" = \" \"", &["exemption-without-reason", "renaming-column"])]
#[case::stale("\"renaming-column\" = \"x\"\n\"serial\" = \"x\"", &["stale-exemption"])]
#[case::unknown("\"renaming-column\" = \"x\"\n\"renaming-colum\" = \"x\"", &["unknown-rule"])]
#[case::of_a_rule_that_is_not_asked("\"renaming-column\" = \"x\"\n\"prefer-text-field\" = \"x\"", &["unknown-rule"])]
#[case::of_an_exemption("\"renaming-column\" = \"x\"\nstale-exemption = \"x\"", &["unknown-rule"])]
#[case::for_other_folders("\"renaming-column\" = \"x\"\nprefer-identity = \"x\"", &[])]
fn an_exemption_has_a_reason_and_a_use(#[case] lint_section: &str, #[case] expected: &[&str]) {
    let metadata = format!("{ONE}[lint]\n{lint_section}\n");
    let findings = lint("ALTER TABLE good RENAME COLUMN name TO title;", Some("SELECT;"), &metadata, Rules::Tenants);
    let mut found: Vec<_> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, expected, "{findings:#?}");
}

#[test]
fn a_comment_of_squawk_exempts_nothing() {
    let findings = up("-- squawk-ignore ban-drop-column\nALTER TABLE good DROP COLUMN name;");
    assert_eq!(places(&findings, "ban-drop-column"), [("up.sql", Some(2))]);
    let findings = up("-- squawk-ignore-file\nALTER TABLE good DROP COLUMN name;");
    assert_eq!(places(&findings, "ban-drop-column"), [("up.sql", Some(2))]);
}

/// Nothing that is no SQL ends the process.
#[rstest]
#[case("\u{0}\u{feff}é'\"")]
#[case("CREATE TABLE ( ( (")]
#[case("COMMENT ON COLUMN a IS 'x'; COMMENT ON COLUMN IS 'x'; COMMENT ON;")]
#[case("CREATE INDEX; CREATE UNIQUE INDEX ON; CREATE POLICY; ALTER TABLE; GRANT TO; UPDATE; CREATE FUNCTION; SET ROLE")]
#[case("é CREATE TABLE é (é é, é PRIMARY KEY é);")]
fn broken_input_is_a_finding(#[case] sql: &str) {
    let findings = lint(sql, Some(sql), ONE, Rules::Tenants);
    assert!(!places(&findings, "syntax").is_empty(), "{findings:#?}");
}

#[test]
fn what_would_fill_the_stack_is_a_finding() {
    let deep = format!("SELECT 1;\nSELECT {}", "(".repeat(100_000));
    assert_eq!(places(&up(&deep), "syntax"), [("up.sql", Some(2))]);
    let long = format!("SELECT {}true;", "NOT ".repeat(100_000));
    assert_eq!(places(&up(&long), "syntax"), [("up.sql", Some(1))]);
}

/// Every beginning of every migration is looked at without an end of the process.
#[test]
fn no_part_of_a_migration_is_too_much() {
    let mut looked = 0;
    for migration in Source::Embedded(DatabaseName::Main).read().unwrap() {
        let sql = migration.up.text().unwrap().into_owned();
        for (end, _) in sql.char_indices().step_by(197) {
            let mut part = migration.clone();
            part.up = Script::new("up.sql", &sql[..end]);
            lint::lint(&[part], Rules::Tenants).unwrap();
            looked += 1;
        }
    }
    assert!(looked > 100, "{looked}");
}

/// Every beginning of each statement of which the checks read the words one after the other.
#[test]
fn no_beginning_of_a_statement_is_too_much() {
    let statements = [
        "CREATE TRIGGER a AFTER INSERT OR UPDATE OF b ON t FOR EACH ROW WHEN (true) EXECUTE FUNCTION f('x', 'y');",
        "GRANT SELECT (a, b), INSERT ON TABLE t, u TO bedplate_app, PUBLIC WITH GRANT OPTION;",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM bedplate_app CASCADE;",
        "CREATE POLICY p ON t FOR ALL TO bedplate_app USING (tenant_id = current_tenant()) WITH CHECK (true);",
        "ALTER TABLE ONLY t ADD CONSTRAINT c FOREIGN KEY (a, b) REFERENCES u (a, b) ON DELETE CASCADE NOT VALID;",
        "CREATE UNIQUE INDEX CONCURRENTLY i ON t USING btree (a DESC, (b ->> 'c')) INCLUDE (d) WHERE a > 1;",
        "CREATE FUNCTION f(a int) RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN RETURN NULL; END $$;",
        "COMMENT ON CONSTRAINT c ON t IS 'x'; DROP TRIGGER a ON t; ALTER TABLE t DISABLE TRIGGER a; SET LOCAL ROLE bedplate_system;",
    ];
    let table = "CREATE TABLE t (tenant_id uuid, a int, b jsonb, d int); ";
    let migration = Source::Embedded(DatabaseName::Main).read().unwrap().remove(0);
    for statement in statements {
        for (end, _) in statement.char_indices() {
            let mut part = migration.clone();
            part.up = Script::new("up.sql", format!("{table}{}", &statement[..end]));
            lint::lint(&[part], Rules::Tenants).unwrap();
        }
    }
}

#[test]
fn our_own_folders_have_no_finding() {
    let mut looked = 0;
    for name in DatabaseName::ALL {
        let migrations = Source::Embedded(*name).read().unwrap();
        assert_eq!(lint::lint(&migrations, Rules::of(*name)).unwrap(), [], "{name}");
        looked += migrations.len();
    }
    assert!(looked >= 18);
}

/// `bedplate` without a variable that names a database.
fn bedplate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    for name in ["DATABASE_URL", "DATABASE_URL_FILE", "DB_HOST", "DB_NAME", "APP_DATABASE_URL", "BEDPLATE_ENV"] {
        command.env_remove(name);
    }
    command.current_dir(folder).args(["migrate", "lint"]).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_command_needs_no_database_and_says_by_its_exit_code_what_it_found() {
    let empty = tempfile::tempdir().unwrap();
    let own = bedplate(empty.path(), &[]);
    assert_eq!((own.status.code(), out(&own).ends_with(" migrations, nothing found.\n")), (Some(0), true), "{own:?}");
    assert_eq!(bedplate(empty.path(), &["--all"]).status.code(), Some(0));

    let files = [("ALTER TABLE t RENAME COLUMN a TO b;\n\nDROP INDEX i;", Some("SELECT;"), ONE)];
    let (bad, _) = folder(&files);
    let path = bad.path().to_str().unwrap();
    let refused = bedplate(empty.path(), &["--dir", path]);
    let lines: Vec<_> = out(&refused).lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("2026-12-01-000000_m1/up.sql:1 renaming-column: "), "{lines:?}");
    assert_eq!(lines[1], "    the running program asks for the old name");
    assert!(lines[2].starts_with("2026-12-01-000000_m1/up.sql:3 require-concurrent-index-deletion: "), "{lines:?}");
    assert_eq!((lines[4].as_str(), lines.len()), (format!("{path}: 1 migration, 1 refused, 1 explained.").as_str(), 5));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(5));
    assert_eq!(
        error,
        "error: 1 found: change the migration, or say under [lint] in its metadata.toml why it does no harm there\n"
    );

    let json: serde_json::Value =
        serde_json::from_slice(&bedplate(empty.path(), &["--dir", path, "--json"]).stdout).unwrap();
    assert_eq!(json["findings"][0]["rule"], "renaming-column");
    assert_eq!(json["findings"][0]["line"], 1);
    assert_eq!(json["findings"][0]["level"], "refuse");
    assert_eq!(json["findings"][1]["level"], "explain");
    assert_eq!(json["findings"].as_array().unwrap().len(), 2);

    let (explained, _) = folder(&[("DROP INDEX i;", Some("SELECT;"), ONE)]);
    assert_eq!(bedplate(empty.path(), &["--dir", explained.path().to_str().unwrap()]).status.code(), Some(0));

    let (tenants, _) = folder(&[("UPDATE t SET a = 1 WHERE a = 2;", Some("SELECT;"), ONE)]);
    let path = tenants.path().to_str().unwrap();
    assert_eq!(bedplate(empty.path(), &["--dir", path]).status.code(), Some(0));
    assert_eq!(bedplate(empty.path(), &["--dir", path, "--tenants"]).status.code(), Some(5));
    assert_eq!(bedplate(empty.path(), &["--tenants"]).status.code(), Some(2), "it is about --dir");
    assert_eq!(bedplate(empty.path(), &["--dir", "nowhere"]).status.code(), Some(1));
}

/// The files as they are here, not as they were when the program was built.
#[test]
fn the_command_reads_the_folder_where_it_is_there() {
    let project = tempfile::tempdir().unwrap();
    let migration = project.path().join("migrations/rfq/2026-12-01-000000_rename");
    std::fs::create_dir_all(&migration).unwrap();
    std::fs::write(migration.join("up.sql"), "ALTER TABLE t RENAME COLUMN a TO b;").unwrap();
    let rfq = bedplate(project.path(), &["--database", "rfq"]);
    assert_eq!(rfq.status.code(), Some(5));
    assert!(out(&rfq).contains("2026-12-01-000000_rename/down.sql down-missing: is missing\n"), "{}", out(&rfq));
    let all = bedplate(project.path(), &["--all"]);
    assert!(out(&all).starts_with("\nrfq\n2026-12-01-000000_rename/up.sql:1 renaming-column"), "{}", out(&all));
    let json: serde_json::Value =
        serde_json::from_slice(&bedplate(project.path(), &["--all", "--json"]).stdout).unwrap();
    assert_eq!(json["databases"]["rfq"]["findings"].as_array().unwrap().len(), 2);
    assert_eq!(json["databases"]["main"]["findings"].as_array().unwrap().len(), 0);
}
