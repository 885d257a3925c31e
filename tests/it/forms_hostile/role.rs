//! Should a body ever be another than bedplate compiles, its role may do nothing: bodies made by hand, as a tenant that
//! writes SQL could, and the catalogue.

use std::collections::BTreeMap;

use bedplate::Error;
use bedplate::models::FormDefinitionId;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::json;

use super::compile;
use crate::support::{Home, TestDatabase, connection, db, draft_form, execute, form, home, number, texts};

pub(super) async fn as_app(db: &TestDatabase, home: &Home) -> AsyncPgConnection {
    let mut app = connection(db.config().url()).await;
    let set =
        format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'; SET app.user_id = '{}'", home.tenant, home.user);
    execute(&mut app, &set).await;
    app
}

/// Makes functions of these bodies for the tenant of the session; returns the entry's name.
pub(super) async fn by_hand(app: &mut AsyncPgConnection, home: &Home, id: FormDefinitionId, bodies: &[&str]) -> String {
    let bodies: Vec<_> = bodies.iter().map(|body| format!("$body${body}$body$")).collect();
    execute(app, &format!("SELECT create_form_validator('{id}', ARRAY[{}])", bodies.join(","))).await;
    texts(app, &format!("SELECT 'forms_compiled.' || form_validator('{}', '{id}')", home.tenant)).await.swap_remove(0)
}

async fn refused(connection: &mut AsyncPgConnection, sql: &str) -> String {
    connection.batch_execute(sql).await.map_err(Error::from).expect_err(sql).to_string()
}

/// What is there, of every kind that a body could want to make or change.
async fn everything(db: &TestDatabase) -> Vec<String> {
    let mut system = connection(&db.url).await;
    execute(&mut system, "SET ROLE bedplate_system").await;
    let rows = "SELECT 'relations ' || count(*) FROM pg_class UNION ALL SELECT 'functions ' || md5(string_agg(oid::text || prosrc, '' ORDER BY oid)) FROM pg_proc \
        UNION ALL SELECT 'large objects ' || count(*) FROM pg_largeobject_metadata \
        UNION ALL SELECT 'users ' || md5(string_agg(u::text, '' ORDER BY id)) FROM users AS u \
        UNION ALL SELECT 'forms ' || md5(string_agg(to_jsonb(f)::text, '' ORDER BY id)) FROM form_definitions AS f \
        UNION ALL SELECT 'submissions ' || count(*) FROM form_submissions UNION ALL SELECT 'tenants ' || count(*) FROM tenants";
    texts(&mut system, rows).await
}

#[rstest]
#[case::users("PERFORM count(*) FROM public.users;", "not allowed: permission denied for table users")]
#[case::submissions("PERFORM count(*) FROM public.form_submissions;", "permission denied for table form_submissions")]
#[case::definitions("PERFORM count(*) FROM public.form_definitions;", "permission denied for table form_definitions")]
#[case::audit_log("PERFORM count(*) FROM public.audit_log;", "permission denied for table audit_log")]
#[case::sessions("PERFORM count(*) FROM public.sessions;", "permission denied for table sessions")]
#[case::tenants("PERFORM count(*) FROM public.tenants;", "permission denied for table tenants")]
#[case::into_xml(
    "PERFORM query_to_xml('SELECT * FROM public.users', true, true, '');",
    "permission denied for table users"
)]
#[case::passwords("PERFORM count(*) FROM pg_authid;", "permission denied for table pg_authid")]
#[case::insert("INSERT INTO public.users DEFAULT VALUES;", "INSERT is not allowed in a non-volatile function")]
#[case::update("UPDATE public.form_submissions SET data = '{}';", "UPDATE is not allowed in a non-volatile function")]
#[case::lock("LOCK TABLE public.users;", "LOCK TABLE is not allowed in a non-volatile function")]
#[case::table("CREATE TABLE public.mine (id int);", "CREATE TABLE is not allowed in a non-volatile function")]
#[case::temporary_table("CREATE TEMP TABLE mine (id int);", "CREATE TABLE is not allowed in a non-volatile function")]
#[case::drop("EXECUTE 'DROP TABLE public.users';", "DROP TABLE is not allowed in a non-volatile function")]
#[case::function(
    "CREATE FUNCTION forms_compiled.mine() RETURNS int LANGUAGE sql RETURN 1;",
    "CREATE FUNCTION is not allowed in a non-volatile function"
)]
#[case::grant("GRANT bedplate_app TO bedplate_forms;", "GRANT ROLE is not allowed in a non-volatile function")]
#[case::program("COPY (SELECT 1) TO PROGRAM 'true';", "COPY|permission")]
#[case::program_in_text("EXECUTE $x$COPY (SELECT 1) TO PROGRAM 'true'$x$;", "COPY|permission")]
#[case::file("PERFORM pg_read_file('/etc/passwd');", "permission denied for function pg_read_file")]
#[case::folder("PERFORM pg_ls_dir('.');", "permission denied for function pg_ls_dir")]
#[case::large_object_of_a_file("PERFORM lo_import('/etc/passwd');", "permission denied for function lo_import")]
#[case::set_role("SET ROLE bedplate_system;", "not allowed in a non-volatile function|cannot set parameter \"role\"")]
#[case::set_config_role(
    "PERFORM set_config('role', 'bedplate_app', true);",
    "cannot set parameter \"role\" within security-definer function"
)]
#[case::set_session(
    "PERFORM set_config('session_authorization', 'bedplate_owner', false);",
    "cannot set parameter \"session_authorization\""
)]
#[case::another_server(
    "PERFORM dblink('host=127.0.0.1', 'SELECT 1');",
    "function dblink(unknown, unknown) does not exist"
)]
#[case::interpreter(
    "PERFORM public.json_schema_violations('{}', '1');",
    "permission denied for function json_schema_violations"
)]
#[case::search(
    "PERFORM public.search_form_submissions('{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 50);",
    "permission denied for function search_form_submissions"
)]
#[case::validate(
    "PERFORM public.validate_form_data(gen_random_uuid(), gen_random_uuid(), '1');",
    "permission denied for function validate_form_data"
)]
#[case::backend(
    "PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL;",
    "terminate"
)]
#[case::replica(
    "PERFORM set_config('session_replication_role', 'replica', true);",
    "permission denied to set parameter"
)]
#[case::end_of_the_literal("RETURN true; END $function$; DROP TABLE public.users; --", "syntax error|unterminated")]
#[tokio::test]
async fn a_body_reads_and_changes_nothing(
    #[future(awt)] db: TestDatabase,
    #[case] statement: &str,
    #[case] reason: &str,
) {
    let home = home(&db).await;
    form(&db, &home, "tea", &["title"]).await;
    let id = draft_form(&db, &home, "mine", &[]).await.id;
    let before = everything(&db).await;
    let mut app = as_app(&db, &home).await;
    let name = texts(&mut app, &format!("SELECT form_validator('{}', '{id}')", home.tenant)).await.swap_remove(0);
    let tried = format!(
        "BEGIN; SELECT create_form_validator('{id}', ARRAY[$body$BEGIN {statement} RETURN true; END$body$]); \
         SELECT forms_compiled.{name}('{{}}'); COMMIT"
    );
    let error = refused(&mut app, &tried).await;
    assert!(reason.split('|').any(|reason| error.contains(reason)), "{error}");
    execute(&mut app, "ROLLBACK").await;
    assert_eq!(everything(&db).await, before);
}

/// Each tenant makes functions under names of its own, and takes away no others.
#[rstest]
#[tokio::test]
async fn nobody_makes_or_drops_functions_of_another(#[future(awt)] db: TestDatabase) {
    let (mine, other) = (home(&db).await, home(&db).await);
    let theirs = form(&db, &other, "tea", &["title"]).await;
    let mut app = as_app(&db, &mine).await;
    let bodies = "SELECT string_agg(prosrc, '' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'forms_compiled'::regnamespace";
    let made = by_hand(&mut app, &mine, theirs.id, &["BEGIN RETURN true; END"]).await;
    let validator = |tenant| format!("SELECT 'forms_compiled.' || form_validator('{tenant}', '{}')", theirs.id);
    let of_theirs = texts(&mut app, &validator(other.tenant)).await.swap_remove(0);
    assert_ne!(made, of_theirs);
    assert_eq!(texts(&mut app, &format!("SELECT {of_theirs}('{{}}')")).await, ["false"], "it asks for a title, still");
    let again = format!("SELECT create_form_validator('{}', ARRAY['BEGIN RETURN false; END'])", theirs.id);
    assert!(refused(&mut app, &again).await.contains("already exists"));
    // What takes functions away is a trigger: nobody can call it.
    let drop = "SELECT drop_form_validator()";
    assert!(refused(&mut app, drop).await.contains("permission denied for function"));
    let before = texts(&mut app, bodies).await;
    execute(&mut app, "RESET app.tenant_id").await;
    assert!(refused(&mut app, &again).await.contains("no tenant is set"));
    for call in [format!("DROP FUNCTION {of_theirs}(jsonb)"), format!("ALTER FUNCTION {of_theirs}(jsonb) VOLATILE")] {
        assert!(refused(&mut app, &call).await.contains("must be owner"), "{call}");
    }
    execute(&mut app, "RESET ROLE").await;
    for call in [again, drop.to_owned(), format!("SELECT {of_theirs}('{{}}')")] {
        assert!(refused(&mut app, &call).await.contains("permission denied"), "{call}");
    }
    assert_eq!(texts(&mut as_app(&db, &mine).await, bodies).await, before);
}

/// The parts of a compiled form are called by its entry alone.
#[rstest]
#[tokio::test]
async fn nobody_calls_a_part(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let id = draft_form(&db, &home, "tree", &[]).await.id;
    let schema = compile(&json!({"items": {"$ref": "#"}, "type": "array"}), &BTreeMap::new()).unwrap();
    let mut app = as_app(&db, &home).await;
    let name = texts(&mut app, &format!("SELECT form_validator('{}', '{id}')", home.tenant)).await.swap_remove(0);
    let bodies = schema.bodies(&name).unwrap();
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    assert!(bodies.len() > 1);
    let entry = by_hand(&mut app, &home, id, &bodies).await;
    assert_eq!(texts(&mut app, &format!("SELECT {entry}('[[]]')")).await, ["true"]);
    for role in ["bedplate_app", "bedplate_system", "bedplate_definer", "bedplate_session"] {
        let may = |function: &str| format!("SELECT has_function_privilege('{role}', '{function}(jsonb)', 'EXECUTE')");
        let entries = texts(&mut app, &may(&entry)).await;
        assert_eq!(entries, [(role == "bedplate_app" || role == "bedplate_system").to_string()], "{role}");
        assert_eq!(texts(&mut app, &may(&format!("{entry}_1"))).await, ["false"], "{role}");
    }
    assert!(refused(&mut app, &format!("SELECT {entry}_1('[]')")).await.contains("permission denied for function"));
}

/// Every compiled function is as it has to be, and the role that owns them has nothing else.
#[rstest]
#[tokio::test]
async fn the_catalogue_of_compiled_forms_is_closed(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    form(&db, &home, "tea", &["title"]).await;
    let tree = json!({"items": {"$ref": "#"}, "type": "array"});
    let new =
        bedplate::models::NewFormDefinition { name: "tree", definition: &tree, resources: None, assert_formats: false };
    db.tenant_tx("publish", &home.context, async |tx| {
        let draft = tx.form_definitions().create(new).await?;
        tx.form_definitions().publish(draft.id).await
    })
    .await
    .unwrap();
    let mut owner = connection(&db.url).await;
    let functions = "SELECT CASE WHEN proname ~ '^v[0-9a-f]{40}$' THEN 'entry' WHEN proname ~ '^v[0-9a-f]{40}_[0-9]+$' THEN 'part' ELSE proname END \
        || ' ' || proowner::regrole || ' ' || prosecdef || ' ' || coalesce(array_to_string(proconfig, ';'), '-') || ' ' || provolatile::text \
        || ' ' || (SELECT string_agg(grantee::regrole::text, ',' ORDER BY grantee::regrole::text) FROM aclexplode(proacl)) \
        FROM pg_proc WHERE pronamespace = 'forms_compiled'::regnamespace ORDER BY 1";
    let entry =
        "entry bedplate_forms true search_path=pg_catalog, pg_temp i bedplate_app,bedplate_forms,bedplate_system";
    let part = "part bedplate_forms false - i bedplate_forms";
    assert_eq!(texts(&mut owner, functions).await, [entry, entry, part]);
    assert_eq!(
        number(&mut owner, "SELECT count(*) FROM pg_class WHERE relnamespace = 'forms_compiled'::regnamespace").await,
        0
    );

    let grants = "SELECT what || ' ' || privilege_type FROM ( \
        SELECT 'table ' || relname, relacl FROM pg_class UNION ALL SELECT 'column ' || attname, attacl FROM pg_attribute \
        UNION ALL SELECT 'schema ' || nspname, nspacl FROM pg_namespace UNION ALL SELECT 'database ' || datname, datacl FROM pg_database \
        UNION ALL SELECT 'function ' || proname, proacl FROM pg_proc WHERE pronamespace <> 'forms_compiled'::regnamespace \
        UNION ALL SELECT 'type ' || typname, typacl FROM pg_type UNION ALL SELECT 'language ' || lanname, lanacl FROM pg_language \
        UNION ALL SELECT 'parameter ' || parname, paracl FROM pg_parameter_acl \
        UNION ALL SELECT 'default', defaclacl FROM pg_default_acl) AS objects (what, acl), aclexplode(acl) \
        WHERE grantee = 'bedplate_forms'::regrole ORDER BY 1";
    let expected = ["function form_validator EXECUTE", "schema forms_compiled CREATE", "schema forms_compiled USAGE"];
    assert_eq!(texts(&mut owner, grants).await, expected);
    let alone = "SELECT rolsuper OR rolinherit OR rolcreaterole OR rolcreatedb OR rolcanlogin OR rolreplication OR rolbypassrls \
        OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid) FROM pg_roles AS r WHERE rolname = 'bedplate_forms'";
    assert_eq!(texts(&mut owner, alone).await, ["false"]);
    let owned = "SELECT proname FROM pg_proc WHERE proowner = 'bedplate_forms'::regrole AND pronamespace <> 'forms_compiled'::regnamespace \
        UNION ALL SELECT relname FROM pg_class WHERE relowner = 'bedplate_forms'::regrole ORDER BY 1";
    assert_eq!(texts(&mut owner, owned).await, ["create_form_validator", "drop_form_validator"]);
    let policies =
        "SELECT polname FROM pg_policy WHERE 'bedplate_forms'::regrole = ANY (polroles) OR '0' = ANY (polroles)";
    assert_eq!(texts(&mut owner, policies).await, Vec::<String>::new());
}
