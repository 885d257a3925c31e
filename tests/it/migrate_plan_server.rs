//! `plan` and `verify` change nothing of the server: no role, no setting, no other database, no file.

use std::os::unix::fs::PermissionsExt as _;

use bedplate::DatabaseUrl;
use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, PlannedStatement, Rows, Verification, Verify};
use rstest::rstest;

use crate::support::cluster::Primary;
use crate::support::folder::BARE;
use crate::support::server::server;
use crate::support::{Folder, connection, empty_db, execute, migrated, number, texts};

const ONE: &str = "2026-01-01-000000_one";
const TWO: &str = "2026-01-02-000000_two";
const CHANGES_SERVER: Option<&str> = Some("changes the server");

/// What belongs to the server, as lines. Not what passes: counters, and the numbers of old transactions.
async fn cluster(admin: &DatabaseUrl) -> Vec<String> {
    let query = "
        SELECT 'role ' || to_jsonb(r)::text FROM pg_authid AS r
        UNION ALL SELECT 'member ' || to_jsonb(m)::text FROM pg_auth_members AS m
        UNION ALL SELECT 'setting ' || to_jsonb(s)::text FROM pg_db_role_setting AS s
        UNION ALL SELECT 'database ' || (to_jsonb(d) - '{datfrozenxid,datminmxid}'::text[])::text FROM pg_database AS d
        UNION ALL SELECT 'tablespace ' || to_jsonb(t)::text FROM pg_tablespace AS t
        UNION ALL SELECT 'description ' || to_jsonb(d)::text FROM pg_shdescription AS d
        UNION ALL SELECT 'label ' || to_jsonb(l)::text FROM pg_shseclabel AS l
        UNION ALL SELECT 'parameter ' || to_jsonb(p)::text FROM pg_parameter_acl AS p
        UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
        UNION ALL SELECT 'origin ' || to_jsonb(o)::text FROM pg_replication_origin AS o
        UNION ALL SELECT 'subscription ' || to_jsonb(s)::text FROM pg_subscription AS s
        UNION ALL SELECT 'prepared ' || gid FROM pg_prepared_xacts
        UNION ALL SELECT 'file ' || to_jsonb(f)::text FROM pg_file_settings AS f
        UNION ALL SELECT 'file ' || name FROM pg_ls_dir('.') AS name WHERE name NOT LIKE 'postmaster%'
        ORDER BY 1";
    let lines = texts(&mut connection(&admin.with_database("postgres").unwrap()).await, query).await;
    for kind in ["role ", "member ", "setting ", "database ", "tablespace ", "file "] {
        assert!(lines.iter().any(|line| line.starts_with(kind)), "nothing of the kind {kind}was looked at");
    }
    lines
}

/// Statements that change the server, one a kind, with its other forms.
const OF_THE_SERVER: &str = "
    ALTER DATABASE postgres SET work_mem = '1MB';
    ALTER GROUP bedplate_app ADD USER bedplate_login;
    ALTER ROLE bedplate_login IN DATABASE postgres SET statement_timeout = '5s';
    ALTER SUBSCRIPTION made DISABLE;
    ALTER SYSTEM SET work_mem = '1MB';
    ALTER TABLESPACE pg_default SET (random_page_cost = 1);
    ALTER USER bedplate_login PASSWORD 'made';
    CHECKPOINT;
    COMMENT ON ROLE bedplate_app IS 'made';
    COMMENT ON DATABASE postgres IS 'made';
    COPY (SELECT 1) TO PROGRAM 'touch made';
    COPY (SELECT 1) TO 'made';
    CREATE DATABASE made;
    CREATE GROUP made;
    CREATE ROLE made;
    CREATE SUBSCRIPTION made CONNECTION 'dbname=postgres' PUBLICATION made WITH (connect = false);
    CREATE TABLESPACE made LOCATION '/tmp';
    CREATE USER made;
    DO $$ BEGIN CREATE ROLE made; END $$;
    DO $$ BEGIN EXECUTE 'ALTER ' || 'ROLE bedplate_login SET work_mem = 64'; END $$;
    DO $$ BEGIN GRANT bedplate_app TO pg_monitor; END $$;
    DO $$ BEGIN COMMENT ON ROLE bedplate_app IS 'made'; END $$;
    DO $$ BEGIN PERFORM pg_create_physical_replication_slot('made'); END $$;
    DO $$ BEGIN ALTER ROLE CURRENT_USER PASSWORD 'made'; END $$;
    DROP DATABASE IF EXISTS postgres;
    DROP GROUP bedplate_forms;
    DROP ROLE bedplate_forms;
    DROP SUBSCRIPTION made;
    DROP TABLESPACE made;
    DROP USER bedplate_forms;
    GRANT bedplate_app TO pg_monitor;
    GRANT CREATE ON DATABASE postgres TO bedplate_app;
    GRANT SET ON PARAMETER work_mem TO bedplate_app;
    LOAD 'plpgsql';
    LOCK TABLE pg_authid;
    REINDEX DATABASE postgres;
    REVOKE bedplate_app FROM bedplate_login;
    REVOKE ALL ON DATABASE postgres FROM PUBLIC;
    SECURITY LABEL ON ROLE bedplate_app IS 'made';
    SELECT pg_create_physical_replication_slot('made');
    SELECT pg_reload_conf();
    UPDATE pg_database SET datconnlimit = 7 WHERE datname = 'postgres'";

/// Statements that stay in their database, one a kind, and take back what they make.
const OF_THE_DATABASE: &str = "
    CREATE SCHEMA s; ALTER SCHEMA s RENAME TO s1; ALTER SCHEMA s1 RENAME TO s; SET search_path TO s, public;
    CREATE TABLE t (id int PRIMARY KEY, word text, role text);
    INSERT INTO t VALUES (1, 'a'); UPDATE t SET word = 'b'; DELETE FROM t WHERE id = 2; TRUNCATE t;
    MERGE INTO t USING (VALUES (1)) AS v (id) ON t.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id);
    SELECT * FROM t; VALUES (1); TABLE t; WITH w AS (SELECT 1) SELECT * FROM w; SELECT 1 AS a INTO t2; DROP TABLE t2;
    EXPLAIN ANALYZE SELECT * FROM t; ANALYZE t; VACUUM t; VACUUM FULL t; CLUSTER t USING t_pkey; REINDEX TABLE t;
    CREATE TABLE t3 AS SELECT 1 AS a; DROP TABLE t3;
    ALTER TABLE t ADD COLUMN more int; CREATE INDEX i ON t (word); ALTER INDEX i RENAME TO i1; DROP INDEX i1;
    CREATE INDEX CONCURRENTLY i2 ON t (word); DROP INDEX CONCURRENTLY i2;
    COMMENT ON TABLE t IS 'a role of the database'; GRANT SELECT ON t TO bedplate_app; REVOKE SELECT ON t FROM bedplate_app;
    CREATE VIEW v AS SELECT id FROM t; ALTER VIEW v RENAME TO v1; DROP VIEW v1;
    CREATE MATERIALIZED VIEW m AS SELECT id FROM t; REFRESH MATERIALIZED VIEW m;
    ALTER MATERIALIZED VIEW m RENAME TO m1; DROP MATERIALIZED VIEW m1;
    CREATE SEQUENCE q; ALTER SEQUENCE q INCREMENT 2; DROP SEQUENCE q;
    CREATE FUNCTION f(int) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT $1'; ALTER FUNCTION f(int) COST 2;
    CREATE PROCEDURE p() LANGUAGE sql AS ''; CALL p(); ALTER PROCEDURE p() RENAME TO p1;
    ALTER ROUTINE p1() RENAME TO p2; DROP ROUTINE p2(); CREATE PROCEDURE p() LANGUAGE sql AS ''; DROP PROCEDURE p();
    CREATE AGGREGATE g (int) (sfunc = int4pl, stype = int); ALTER AGGREGATE g(int) RENAME TO g1; DROP AGGREGATE g1(int);
    CREATE FUNCTION r() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION r(); ALTER TRIGGER r ON t RENAME TO r1;
    CREATE CONSTRAINT TRIGGER c AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION r();
    INSERT INTO t VALUES (7); BEGIN; SET CONSTRAINTS ALL IMMEDIATE; COMMIT;
    DROP TRIGGER c ON t; DROP TRIGGER r1 ON t; DROP FUNCTION r();
    CREATE RULE u AS ON DELETE TO t DO NOTHING; ALTER RULE u ON t RENAME TO u1; DROP RULE u1 ON t;
    CREATE POLICY y ON t USING (true); ALTER POLICY y ON t RENAME TO y1; DROP POLICY y1 ON t;
    CREATE TYPE e AS ENUM ('a'); ALTER TYPE e ADD VALUE 'b'; DROP TYPE e; CREATE DOMAIN d AS int;
    ALTER DOMAIN d SET NOT NULL; DROP DOMAIN d;
    CREATE CAST (text AS t) WITH INOUT; DROP CAST (text AS t);
    CREATE COLLATION k FROM \"C\"; ALTER COLLATION k RENAME TO k1; DROP COLLATION k1;
    CREATE CONVERSION n FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8; ALTER CONVERSION n RENAME TO n1; DROP CONVERSION n1;
    CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq); ALTER OPERATOR === (int, int) SET (RESTRICT = eqsel);
    DROP OPERATOR === (int, int); CREATE STATISTICS z ON id, word FROM t; ALTER STATISTICS z RENAME TO z1; DROP STATISTICS z1;
    CREATE TEXT SEARCH DICTIONARY td (TEMPLATE = simple); ALTER TEXT SEARCH DICTIONARY td RENAME TO td1;
    CREATE TEXT SEARCH CONFIGURATION tc (COPY = simple); ALTER TEXT SEARCH CONFIGURATION tc RENAME TO tc1;
    DROP TEXT SEARCH CONFIGURATION tc1; DROP TEXT SEARCH DICTIONARY td1;
    CREATE PUBLICATION b FOR TABLE t; ALTER PUBLICATION b RENAME TO b1; DROP PUBLICATION b1;
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bedplate_app;
    ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM bedplate_app;
    SELECT lo_create(4711); ALTER LARGE OBJECT 4711 OWNER TO CURRENT_USER; SELECT lo_unlink(4711);
    CREATE EXTENSION pgcrypto; ALTER EXTENSION pgcrypto UPDATE; DROP EXTENSION pgcrypto;
    START TRANSACTION; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; DECLARE c CURSOR FOR SELECT * FROM t; FETCH c;
    MOVE c; CLOSE c; SAVEPOINT a; ROLLBACK TO SAVEPOINT a; RELEASE SAVEPOINT a; LOCK t; END;
    PREPARE x AS SELECT 1; EXECUTE x; DEALLOCATE x; DISCARD PLANS; LISTEN l; NOTIFY l; UNLISTEN l;
    DO $$ BEGIN RAISE NOTICE 'nothing'; END $$; DO $$ BEGIN COMMIT; END $$;
    SET work_mem = '1MB'; SHOW work_mem; RESET work_mem; SET ROLE bedplate_app; RESET ROLE;
    DROP FUNCTION f(int); DROP TABLE t; DROP SCHEMA s; SET search_path TO public;
    REASSIGN OWNED BY bedplate_app TO bedplate_system; DROP OWNED BY bedplate_app";

/// The same, for a superuser.
const OF_A_SUPERUSER: &str = "
    CREATE ACCESS METHOD a TYPE INDEX HANDLER bthandler; DROP ACCESS METHOD a;
    CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION e(); ALTER EVENT TRIGGER e DISABLE; DROP EVENT TRIGGER e;
    DROP FUNCTION e();
    CREATE FOREIGN DATA WRAPPER w; ALTER FOREIGN DATA WRAPPER w NO HANDLER; CREATE SERVER v FOREIGN DATA WRAPPER w;
    ALTER SERVER v VERSION '1'; CREATE USER MAPPING FOR PUBLIC SERVER v; ALTER USER MAPPING FOR PUBLIC SERVER v OPTIONS (a 'b');
    DROP USER MAPPING FOR PUBLIC SERVER v; CREATE FOREIGN TABLE f (id int) SERVER v; ALTER FOREIGN TABLE f ADD COLUMN a int;
    DROP FOREIGN TABLE f; DROP SERVER v; DROP FOREIGN DATA WRAPPER w;
    CREATE LANGUAGE l HANDLER plpgsql_call_handler; ALTER LANGUAGE l RENAME TO l1; DROP LANGUAGE l1;
    CREATE OPERATOR FAMILY o USING btree; ALTER OPERATOR FAMILY o USING btree RENAME TO o1; DROP OPERATOR FAMILY o1 USING btree;
    CREATE OPERATOR CLASS o FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 btint4cmp(int, int);
    ALTER OPERATOR CLASS o USING btree RENAME TO o1; DROP OPERATOR CLASS o1 USING btree; DROP OPERATOR FAMILY o USING btree;
    CREATE TEXT SEARCH PARSER p (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype);
    ALTER TEXT SEARCH PARSER p RENAME TO p1; DROP TEXT SEARCH PARSER p1;
    CREATE TEXT SEARCH TEMPLATE t (lexize = dsimple_lexize, init = dsimple_init);
    ALTER TEXT SEARCH TEMPLATE t RENAME TO t1; DROP TEXT SEARCH TEMPLATE t1;
    CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
    DROP TRANSFORM FOR int LANGUAGE sql; BEGIN; SET SESSION AUTHORIZATION bedplate_app;
    RESET SESSION AUTHORIZATION; COMMIT";

/// <https://www.postgresql.org/docs/15/sql-commands.html>, without those that the test cannot have.
const COMMANDS: &str = "
    ALTER AGGREGATE, ALTER COLLATION, ALTER CONVERSION, ALTER DATABASE, ALTER DEFAULT PRIVILEGES, ALTER DOMAIN,
    ALTER EVENT TRIGGER, ALTER EXTENSION, ALTER FOREIGN DATA WRAPPER, ALTER FOREIGN TABLE, ALTER FUNCTION, ALTER GROUP,
    ALTER INDEX, ALTER LANGUAGE, ALTER LARGE OBJECT, ALTER MATERIALIZED VIEW, ALTER OPERATOR, ALTER OPERATOR CLASS,
    ALTER OPERATOR FAMILY, ALTER POLICY, ALTER PROCEDURE, ALTER PUBLICATION, ALTER ROLE, ALTER ROUTINE, ALTER RULE,
    ALTER SCHEMA, ALTER SEQUENCE, ALTER SERVER, ALTER STATISTICS, ALTER SUBSCRIPTION, ALTER SYSTEM, ALTER TABLE,
    ALTER TABLESPACE, ALTER TEXT SEARCH CONFIGURATION, ALTER TEXT SEARCH DICTIONARY, ALTER TEXT SEARCH PARSER,
    ALTER TEXT SEARCH TEMPLATE, ALTER TRIGGER, ALTER TYPE, ALTER USER, ALTER USER MAPPING, ALTER VIEW, ANALYZE, BEGIN,
    CALL, CHECKPOINT, CLOSE, CLUSTER, COMMENT, COMMIT, COPY, CREATE ACCESS METHOD, CREATE AGGREGATE,
    CREATE CAST, CREATE COLLATION, CREATE CONVERSION, CREATE DATABASE, CREATE DOMAIN, CREATE EVENT TRIGGER,
    CREATE EXTENSION, CREATE FOREIGN DATA WRAPPER, CREATE FOREIGN TABLE, CREATE FUNCTION, CREATE GROUP, CREATE INDEX,
    CREATE LANGUAGE, CREATE MATERIALIZED VIEW, CREATE OPERATOR, CREATE OPERATOR CLASS, CREATE OPERATOR FAMILY,
    CREATE POLICY, CREATE PROCEDURE, CREATE PUBLICATION, CREATE ROLE, CREATE RULE, CREATE SCHEMA, CREATE SEQUENCE,
    CREATE SERVER, CREATE STATISTICS, CREATE SUBSCRIPTION, CREATE TABLE, CREATE TABLESPACE, CREATE TEXT SEARCH CONFIGURATION,
    CREATE TEXT SEARCH DICTIONARY, CREATE TEXT SEARCH PARSER, CREATE TEXT SEARCH TEMPLATE, CREATE TRANSFORM, CREATE TRIGGER,
    CREATE TYPE, CREATE USER, CREATE USER MAPPING, CREATE VIEW, DEALLOCATE, DECLARE, DELETE, DISCARD, DO,
    DROP ACCESS METHOD, DROP AGGREGATE, DROP CAST, DROP COLLATION, DROP CONVERSION, DROP DATABASE, DROP DOMAIN,
    DROP EVENT TRIGGER, DROP EXTENSION, DROP FOREIGN DATA WRAPPER, DROP FOREIGN TABLE, DROP FUNCTION, DROP GROUP, DROP INDEX,
    DROP LANGUAGE, DROP MATERIALIZED VIEW, DROP OPERATOR, DROP OPERATOR CLASS, DROP OPERATOR FAMILY, DROP OWNED, DROP POLICY,
    DROP PROCEDURE, DROP PUBLICATION, DROP ROLE, DROP ROUTINE, DROP RULE, DROP SCHEMA, DROP SEQUENCE, DROP SERVER,
    DROP STATISTICS, DROP SUBSCRIPTION, DROP TABLE, DROP TABLESPACE, DROP TEXT SEARCH CONFIGURATION,
    DROP TEXT SEARCH DICTIONARY, DROP TEXT SEARCH PARSER, DROP TEXT SEARCH TEMPLATE, DROP TRANSFORM, DROP TRIGGER, DROP TYPE,
    DROP USER, DROP USER MAPPING, DROP VIEW, END, EXECUTE, EXPLAIN, FETCH, GRANT, INSERT, LISTEN, LOAD, LOCK, MERGE, MOVE,
    NOTIFY, PREPARE, REASSIGN OWNED, REFRESH MATERIALIZED VIEW, REINDEX, RELEASE SAVEPOINT, RESET,
    REVOKE, ROLLBACK TO SAVEPOINT, SAVEPOINT, SECURITY LABEL, SELECT, SET, SET CONSTRAINTS, SET ROLE,
    SET SESSION AUTHORIZATION, SET TRANSACTION, SHOW, START TRANSACTION, TRUNCATE, UNLISTEN, UPDATE, VACUUM, VALUES";

/// The statements of the test are those of the list. A command that no statement begins with fails, and so does a
/// statement that begins with none. ABORT, ROLLBACK, PREPARE TRANSACTION, COMMIT
/// PREPARED and ROLLBACK PREPARED are refused by plan as by up; IMPORT FOREIGN SCHEMA needs a wrapper with a handler.
#[test]
fn every_command_has_its_statement() {
    let all = [OF_THE_SERVER, OF_THE_DATABASE, OF_A_SUPERUSER].join(";");
    let script = migrate::Script::new("up.sql", all);
    let statements: Vec<_> = script.statements().unwrap().into_iter().map(|one| one.excerpt()).collect();
    let commands: Vec<_> =
        COMMANDS.split(',').map(|name| name.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(commands.len() > 170 && statements.len() > 200, "{} {}", commands.len(), statements.len());
    let begins = |statement: &str, command: &str| format!("{statement} ").starts_with(&format!("{command} "));
    for command in &commands {
        assert!(statements.iter().any(|statement| begins(statement, command)), "no statement for {command}");
    }
    for statement in &statements {
        // TABLE and WITH are forms of SELECT; the manual has the page CREATE CONSTRAINT TRIGGER no more.
        let form = ["TABLE", "WITH", "CREATE CONSTRAINT TRIGGER"].iter().any(|form| begins(statement, form));
        assert!(form || commands.iter().any(|command| begins(statement, command)), "{statement} is of no command");
    }
}

async fn plan(url: &DatabaseUrl, folder: &Folder) -> Vec<PlannedStatement> {
    let planned = migrate::plan(url, &folder.source(), url, |_| {}).await.unwrap();
    planned.into_iter().flat_map(|migration| migration.statements).collect()
}

async fn verify(url: &DatabaseUrl, folder: &Folder) -> Verification {
    let what = Verify { source: folder.source(), rows: Rows::None, release: None, diesel_config: None };
    migrate::verify(url, &what, |_| {}).await.unwrap()
}

/// Every kind of statement, planned and proven by the owner and by a superuser. The snapshots of the server before and
/// after are equal, the plan names each statement that changes the server, and every other one is executed.
#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_statement_changes_the_server() {
    let server = Primary::start(&[]).await;
    for (url, own) in [(&server.urls.owner, ""), (&server.urls.admin, OF_A_SUPERUSER)] {
        let url = url.with_database("postgres").unwrap();
        let folder = Folder::new(&[]);
        folder.add_bare(ONE, &[OF_THE_DATABASE, own].join(";"), "SELECT 1");
        folder.add_bare(TWO, OF_THE_SERVER, OF_THE_SERVER);
        let before = cluster(&server.urls.admin).await;

        let planned = migrate::plan(&url, &folder.source(), &url, |_| {}).await.unwrap();
        for statement in &planned[0].statements {
            let expected = (statement.statement == "DO $$ BEGIN COMMIT; END $$").then_some("ends transactions itself");
            assert_eq!(statement.not_measured.as_deref(), expected, "{}", statement.statement);
        }
        for statement in &planned[1].statements {
            assert_eq!(statement.not_measured.as_deref(), CHANGES_SERVER, "{}", statement.statement);
        }
        assert!(planned[0].statements.len() > 120 && planned[1].statements.len() > 40);
        assert_eq!(cluster(&server.urls.admin).await, before, "plan");

        let proven = verify(&url, &folder).await;
        assert_eq!(cluster(&server.urls.admin).await, before, "verify");
        assert_eq!(proven.migrations.iter().flat_map(|one| &one.problems).collect::<Vec<_>>(), Vec::<&String>::new());
        assert_eq!(proven.migrations[0].not_measured, Vec::<String>::new());
        assert_eq!(proven.migrations[1].not_measured.len(), planned[1].statements.len());
        assert!(!proven.migrations[1].not_measured.iter().any(|told| told.contains("PASSWORD 'made'")));
    }
}

/// `up` does afterwards what the plan only told.
#[tokio::test(flavor = "multi_thread")]
async fn up_works_after_a_plan() {
    let server = Primary::start(&[]).await;
    let url = server.urls.owner.with_database("postgres").unwrap();
    let folder = Folder::new(&[(
        ONE,
        "CREATE TABLE a (id int); CREATE ROLE made_by_plan LOGIN; ALTER ROLE bedplate_owner IN DATABASE postgres SET statement_timeout = '5s'",
        "DROP TABLE a; DROP ROLE made_by_plan; ALTER ROLE bedplate_owner IN DATABASE postgres RESET statement_timeout",
    )]);
    let admin = server.urls.admin.with_database("postgres").unwrap();
    execute(&mut connection(&admin).await, "GRANT CREATE ON SCHEMA public TO bedplate_owner").await;
    let before = cluster(&server.urls.admin).await;
    let told: Vec<_> = plan(&url, &folder).await.into_iter().map(|one| one.not_measured).collect();
    assert_eq!(told, [None, CHANGES_SERVER.map(Into::into), CHANGES_SERVER.map(Into::into)]);
    assert_eq!(verify(&url, &folder).await.migrations[0].problems, Vec::<String>::new());
    assert_eq!(cluster(&server.urls.admin).await, before);
    folder.up(&url).await.unwrap();
    assert_ne!(cluster(&server.urls.admin).await, before);
}

/// What hides in a function, a trigger, a deferred trigger or the name of a procedure is seen when it runs.
#[rstest]
#[case::function(
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE ''CREATE '' || ''ROLE made_@''; END'; SELECT f()",
    1
)]
#[case::trigger(
    "CREATE TABLE t (id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN CREATE ROLE made_@; RETURN NEW; END'; \
     CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); INSERT INTO t VALUES (1)",
    3
)]
#[case::deferred(
    "CREATE TABLE t (id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN CREATE ROLE made_@; RETURN NEW; END'; \
     CREATE CONSTRAINT TRIGGER f AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f(); \
     INSERT INTO t VALUES (1)",
    3
)]
#[case::procedure("CREATE PROCEDURE f() LANGUAGE plpgsql AS 'BEGIN CREATE ROLE made_@; END'; CALL f()", 1)]
#[case::default(
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN CREATE ROLE made_@; RETURN 1; END'; \
     CREATE TABLE t AS SELECT f() AS id",
    1
)]
#[tokio::test(flavor = "multi_thread")]
async fn what_hides_in_a_body_is_rolled_back(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
    #[case] hidden: usize,
    #[values(true, false)] one_transaction: bool,
) {
    let role = empty_db.database().to_owned();
    let folder = Folder::new(&[(ONE, &up.replace('@', &role), "SELECT 1")]);
    if !one_transaction {
        folder.write(ONE, "metadata.toml", BARE);
    }
    for (n, statement) in plan(&empty_db, &folder).await.iter().enumerate() {
        assert_eq!(
            statement.not_measured.as_deref(),
            CHANGES_SERVER.filter(|_| n == hidden),
            "{}",
            statement.statement
        );
    }
    let told = verify(&empty_db, &folder).await.migrations.remove(0).not_measured;
    assert!(told.len() == 1 && told[0].ends_with(": changes the server"), "{told:?}");
    let made = format!("SELECT count(*) FROM pg_roles WHERE rolname = 'made_{role}'");
    assert_eq!(number(&mut connection(&empty_db).await, &made).await, 0);
}

/// A block that ends transactions cannot be taken back: where it may change the server it is not executed.
#[rstest]
#[case::block("DO $$ BEGIN COMMIT; EXECUTE 'CREATE ' || 'ROLE made_@'; END $$")]
#[case::procedure("CREATE PROCEDURE f() LANGUAGE plpgsql AS 'BEGIN COMMIT; CREATE ROLE made_@; END'; CALL f()")]
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_transactions_and_may_change_the_server_is_not_executed(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] up: &str,
) {
    let role = empty_db.database().to_owned();
    let folder = Folder::new(&[]);
    folder.add_bare(ONE, &up.replace('@', &role), "SELECT 1");
    let told = plan(&empty_db, &folder).await.pop().unwrap().not_measured;
    assert_eq!(told.as_deref(), Some("ends transactions itself, and may change the server"));
    assert_eq!(verify(&empty_db, &folder).await.migrations[0].not_measured.len(), 1);
    let made = format!("SELECT count(*) FROM pg_roles WHERE rolname = 'made_{role}'");
    assert_eq!(number(&mut connection(&empty_db).await, &made).await, 0);
}

/// What no rollback takes back is not executed through a function or a trigger of the migration either.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_is_not_called() {
    let server = Primary::start(&[]).await;
    let url = server.urls.admin.with_database("postgres").unwrap();
    let folder = Folder::new(&[(
        ONE,
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_create_physical_replication_slot('made'); END $$; \
         SELECT f(); CREATE TABLE t (id int); \
         CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_create_physical_replication_slot('made'); RETURN NEW; END $$; \
         CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION g(); INSERT INTO t VALUES (1)",
        "DROP TABLE t; DROP FUNCTION g(); DROP FUNCTION f()",
    )]);
    let before = cluster(&server.urls.admin).await;
    let told: Vec<_> = plan(&url, &folder).await.into_iter().map(|one| one.not_measured.is_some()).collect();
    assert_eq!(told, [false, true, false, false, false, true]);
    assert_eq!(verify(&url, &folder).await.migrations[0].problems, Vec::<String>::new());
    assert_eq!(cluster(&server.urls.admin).await, before);
}

/// A block that finds everything as it wants it changes nothing, and neither does one about its own database, or one
/// that takes back what it grants: all of it is measured.
#[rstest]
#[case::is_there("DO $$ BEGIN IF to_regrole('bedplate_app') IS NULL THEN CREATE ROLE bedplate_app; END IF; END $$")]
#[case::is_so("DO $$ BEGIN GRANT bedplate_app TO bedplate_owner; END $$")]
#[case::own_database(
    "DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO bedplate_app', current_database()); END $$"
)]
#[case::own_setting(
    "DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET TimeZone = %L', current_user, current_database(), 'UTC'); END $$"
)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_already_so_is_measured(#[future(awt)] empty_db: DatabaseUrl, #[case] up: &str) {
    let _roles = migrated(DatabaseName::Main).await;
    let folder = Folder::new(&[(ONE, up, "SELECT 1")]);
    assert_eq!(plan(&empty_db, &folder).await[0].not_measured, None);
    assert_eq!(verify(&empty_db, &folder).await.migrations[0].not_measured, Vec::<String>::new());
}

/// 1. Another session makes and drops roles, again and again.
/// 2. Meanwhile a migration is planned: none of its statements is taken for the maker.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn roles_of_others_are_not_taken_for_the_migrations(#[future(awt)] empty_db: DatabaseUrl) {
    let role = format!("made_{}", empty_db.database());
    let mut other = connection(&empty_db).await;
    let others = async {
        loop {
            execute(&mut other, &format!("CREATE ROLE {role}")).await;
            execute(&mut other, &format!("DROP ROLE {role}")).await;
        }
    };
    let folder = Folder::new(&[(ONE, &"SELECT 1;".repeat(50), "SELECT 1")]);
    let planned = tokio::select! {
        planned = plan(&empty_db, &folder) => planned,
        () = others => Vec::new(),
    };
    let told: Vec<_> = planned.iter().filter_map(|statement| statement.not_measured.clone()).collect();
    assert!(planned.len() == 50 && told.is_empty(), "{told:?}");
    execute(&mut connection(&empty_db).await, &format!("DROP ROLE IF EXISTS {role}")).await;
}

/// A statement that needs a role which a dry run did not make says so in one line, and the way out works.
#[rstest]
#[case::statement("CREATE ROLE \"made_@\"")]
#[case::block("DO $$ BEGIN CREATE ROLE made_@; END $$")]
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_missing_is_named_with_its_statement(#[future(awt)] empty_db: DatabaseUrl, #[case] up: &str) {
    let role = empty_db.database().to_owned();
    let up = format!("{up};\nCREATE TABLE a (id int);\nGRANT SELECT ON a TO made_@").replace('@', &role);
    let folder = Folder::new(&[(ONE, &up, "DROP TABLE a")]);
    let error = migrate::plan(&empty_db, &folder.source(), &empty_db, |_| {}).await.unwrap_err().to_string();
    let problem = verify(&empty_db, &folder).await.migrations.remove(0).problems.remove(0);
    for said in [error, problem] {
        assert!(said.contains("up.sql line 3") && said.contains(&format!("makes the role made_{role}")), "{said}");
        assert!(said.contains("did not execute line 1") && said.contains("--scratch private"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

fn bedplate(command: &str, folder: &Folder, url: &DatabaseUrl) -> std::process::Command {
    let mut bedplate = std::process::Command::new(env!("CARGO_BIN_EXE_bedplate"));
    bedplate.args(["migrate", command, "--dir"]).arg(folder.path()).args(["--url", url.reveal()]);
    bedplate.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    bedplate
}

/// On a server that is thrown away everything is executed, and nothing of it is left.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_private_server_everything_is_executed(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = Folder::new(&[(
        ONE,
        "CREATE ROLE made; CREATE TABLE a (id int); GRANT SELECT ON a TO made",
        "DROP TABLE a; DROP ROLE made",
    )]);
    for command in ["plan", "verify"] {
        let temporary = tempfile::tempdir().unwrap();
        let mut bedplate = bedplate(command, &folder, &empty_db);
        // The server's account has to get there.
        std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let output = bedplate.args(["--scratch", "private"]).env("TMPDIR", temporary.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("not measured"), "{said}");
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}

/// Ctrl-C, or SIGTERM, in the middle of a statement: no scratch database stays.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_proof_leaves_no_scratch_database(
    #[future(awt)] empty_db: DatabaseUrl,
    #[values("plan", "verify")] command: &str,
    #[values("INT", "TERM")] signal: &str,
) {
    let folder = Folder::new(&[(ONE, "SELECT pg_sleep(600)", "SELECT 1")]);
    let child = bedplate(command, &folder, &empty_db).spawn().unwrap();
    let prefix = format!("bedplate_scratch_{}_", child.id());
    let mut asking = connection(&server().owner).await;
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE starts_with(datname, '{prefix}') AND wait_event = 'PgSleep'"
    );
    crate::support::until(&mut asking, &asleep).await;
    std::process::Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).output().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let left = format!("SELECT count(*) FROM pg_database WHERE starts_with(datname, '{prefix}')");
    assert_eq!(number(&mut asking, &left).await, 0);
}

/// The rows of a proof change no server either.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_the_server_are_refused(#[future(awt)] empty_db: DatabaseUrl) {
    let role = format!("made_{}", empty_db.database());
    let folder = Folder::new(&[(ONE, "CREATE TABLE a (id int)", "DROP TABLE a")]);
    let rows = Rows::Sql(format!("INSERT INTO a VALUES (1); CREATE ROLE {role}"));
    let what = Verify { source: folder.source(), rows, release: None, diesel_config: None };
    let error = migrate::verify(&empty_db, &what, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("the rows, line 1 (CREATE ROLE") && error.contains("--scratch private"), "{error}");
    let made = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'");
    assert_eq!(number(&mut connection(&empty_db).await, &made).await, 0);
}
