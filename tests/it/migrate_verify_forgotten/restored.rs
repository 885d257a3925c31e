//! Changes whose way back leaves traces in the catalogue that mean nothing.

/// The kind, what is there before, the way up, the way down.
pub(super) type Restored = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
pub(super) const RESTORED: &[Restored] = &[
    ("a column moves to the end", "CREATE TABLE a1 (a int, b int)", "ALTER TABLE a1 DROP a", "ALTER TABLE a1 ADD a int"),
    ("first grant on a table", "CREATE TABLE a2 ()", "GRANT SELECT ON a2 TO pg_monitor", "REVOKE SELECT ON a2 FROM pg_monitor"),
    ("order of grants", "CREATE TABLE a3 (); GRANT SELECT ON a3 TO pg_monitor; GRANT SELECT ON a3 TO pg_read_all_data", "REVOKE SELECT ON a3 FROM pg_monitor", "GRANT SELECT ON a3 TO pg_monitor"),
    ("first grant on a column", "CREATE TABLE a4 (a int)", "GRANT SELECT (a) ON a4 TO pg_monitor", "REVOKE SELECT (a) ON a4 FROM pg_monitor"),
    ("first revoke on a function", "CREATE FUNCTION a5() RETURNS int LANGUAGE sql AS 'SELECT 1'", "REVOKE ALL ON FUNCTION a5() FROM PUBLIC", "GRANT EXECUTE ON FUNCTION a5() TO PUBLIC"),
    ("first revoke on a row type", "CREATE TABLE a6 ()", "REVOKE ALL ON TYPE a6 FROM PUBLIC", "GRANT USAGE ON TYPE a6 TO PUBLIC"),
    ("order of options", "CREATE TABLE a7 () WITH (fillfactor = 70, autovacuum_enabled = false)", "ALTER TABLE a7 RESET (fillfactor)", "ALTER TABLE a7 SET (fillfactor = 70)"),
    ("order of settings of the database", "DO $d$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 7777', current_database()); EXECUTE format('ALTER DATABASE %I SET geqo = off', current_database()); END $d$", "DO $d$ BEGIN EXECUTE format('ALTER DATABASE %I RESET work_mem', current_database()); END $d$", "DO $d$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 7777', current_database()); END $d$"),
    ("a TOAST table stays", "CREATE TABLE a8 (a int)", "ALTER TABLE a8 ADD b text", "ALTER TABLE a8 DROP b"),
    ("a dropped index leaves a hint", "CREATE TABLE a9 (a int)", "CREATE INDEX a9_a ON a9 (a)", "DROP INDEX a9_a"),
    ("a dropped trigger leaves a hint", "CREATE TABLE a10 (a int)", "CREATE TRIGGER a10 BEFORE UPDATE ON a10 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "DROP TRIGGER a10 ON a10"),
    ("a trigger of a foreign key has a new name", "CREATE TABLE a11 (a int PRIMARY KEY, b int CONSTRAINT a11 REFERENCES a11); ALTER TABLE a11 DISABLE TRIGGER ALL", "ALTER TABLE a11 DROP CONSTRAINT a11", "ALTER TABLE a11 ADD CONSTRAINT a11 FOREIGN KEY (b) REFERENCES a11; ALTER TABLE a11 DISABLE TRIGGER ALL"),
    ("numbers of parents have gaps", "CREATE TABLE a12 (a int); CREATE TABLE a12_too (a int); CREATE TABLE a12_child (a int) INHERITS (a12, a12_too)", "ALTER TABLE a12_child NO INHERIT a12; ALTER TABLE a12_child NO INHERIT a12_too", "ALTER TABLE a12_child INHERIT a12; ALTER TABLE a12_child INHERIT a12_too"),
    ("a partition comes back", "CREATE TABLE a13 (a int) PARTITION BY LIST (a); CREATE TABLE a13_one PARTITION OF a13 FOR VALUES IN (1)", "ALTER TABLE a13 DETACH PARTITION a13_one", "ALTER TABLE a13 ATTACH PARTITION a13_one FOR VALUES IN (1)"),
    ("numbers of labels are fractions", "CREATE TYPE a14 AS ENUM ('a', 'c'); ALTER TYPE a14 ADD VALUE 'b' BEFORE 'c'", "DROP TYPE a14", "CREATE TYPE a14 AS ENUM ('a', 'b', 'c')"),
    ("a comment", "CREATE TABLE a15 ()", "COMMENT ON TABLE a15 IS 'Gone.'", "COMMENT ON TABLE a15 IS NULL"),
    ("a large object", "", "SELECT lo_create(15)", "SELECT lo_unlink(15)"),
    ("a large object of another number", "SELECT lo_create(16)", "SELECT lo_unlink(16)", "SELECT lo_create(16)"),
    ("default privileges", "", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor", "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM pg_monitor"),
    ("a temporary table", "", "CREATE TEMPORARY TABLE a17 (a serial PRIMARY KEY, b text DEFAULT 'b')", "SELECT 1"),
    ("a grant on a built-in function", "", "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO pg_monitor", "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM pg_monitor"),
    ("a revoke on a built-in function", "", "REVOKE EXECUTE ON FUNCTION pg_sleep(float8) FROM PUBLIC", "GRANT EXECUTE ON FUNCTION pg_sleep(float8) TO PUBLIC"),
    ("a revoke on the catalogue", "", "REVOKE SELECT ON pg_proc FROM PUBLIC", "GRANT SELECT ON pg_proc TO PUBLIC"),
    ("the owner of a built-in function", "", "ALTER FUNCTION pg_sleep(float8) OWNER TO pg_monitor", "ALTER FUNCTION pg_sleep(float8) OWNER TO CURRENT_USER"),
    ("a mapping of a built-in configuration", "", "ALTER TEXT SEARCH CONFIGURATION english ALTER MAPPING FOR email WITH english_stem", "ALTER TEXT SEARCH CONFIGURATION english ALTER MAPPING FOR email WITH simple"),
    ("a setting of a role in the database", "", "DO $d$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET work_mem = 7777', current_database()); END $d$", "DO $d$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I RESET work_mem', current_database()); END $d$"),
    ("the owner of the schema public", "", "ALTER SCHEMA public OWNER TO pg_monitor", "ALTER SCHEMA public OWNER TO pg_database_owner"),
    // The last one: without plpgsql, no DO runs after it.
    ("an extension", "", "DROP EXTENSION plpgsql", "CREATE EXTENSION plpgsql"),
];
