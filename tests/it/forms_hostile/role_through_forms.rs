//! Bodies made by hand, through submissions: what a body could still do is to change a setting.

use std::collections::BTreeMap;

use bedplate::Error;
use bedplate::models::FormDefinition;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::json;

use super::compile;
use super::role::{as_app, by_hand};
use crate::support::{Home, TestDatabase, connection, db, draft_form, execute, form, home, number, texts};

/// A form made active by SQL, whose function has this body; and a session that interpreted it as often as it does.
async fn active(db: &TestDatabase, home: &Home, body: &str) -> (FormDefinition, AsyncPgConnection) {
    let form = draft_form(db, home, "mine", &[]).await;
    let mut app = as_app(db, home).await;
    by_hand(&mut app, home, form.id, &[body]).await;
    let program = compile(&json!(true), &BTreeMap::new()).unwrap().program().to_string();
    let publish = format!(
        "UPDATE form_definitions SET status = 'active', program = '{program}', compiled_bytes = 100, published_at = now() WHERE id = '{}'",
        form.id
    );
    execute(&mut app, &publish).await;
    execute(&mut app, &submissions(&form, 20)).await;
    (form, app)
}

fn submissions(form: &FormDefinition, count: usize) -> String {
    format!(
        "INSERT INTO form_submissions (tenant_id, form_definition_id, form_version, status, data) \
         SELECT '{}', '{}', {}, 'submitted', '{{}}' FROM generate_series(1, {count})",
        form.tenant_id, form.id, form.version
    )
}

/// The tenant or the user of the transaction, changed for it or for the session, is told; nothing is written.
#[rstest]
#[case("app.tenant_id", true)]
#[case("app.tenant_id", false)]
#[case("app.user_id", true)]
#[case("app.user_id", false)]
#[tokio::test]
async fn a_body_that_changes_who_it_is_is_refused(
    #[future(awt)] db: TestDatabase,
    #[case] setting: &str,
    #[case] local: bool,
) {
    let (home, other) = (home(&db).await, home(&db).await);
    let value = if setting == "app.tenant_id" { other.tenant.to_string() } else { other.user.to_string() };
    for value in [value.as_str(), ""] {
        let body = format!("BEGIN PERFORM set_config('{setting}', '{value}', {local}); RETURN true; END");
        let (form, mut app) = active(&db, &home, &body).await;
        let there = format!("SELECT count(*) FROM form_submissions WHERE form_definition_id = '{}'", form.id);
        let scope = "SELECT current_setting('app.tenant_id') || current_setting('app.user_id')";
        let (before, who) = (number(&mut app, &there).await, texts(&mut app, scope).await);
        let error = Error::from(app.batch_execute(&submissions(&form, 1)).await.unwrap_err());
        assert!(
            matches!(&error, Error::Forbidden { message } if message.contains("changed the tenant or the user")),
            "{error:?}"
        );
        assert_eq!((number(&mut app, &there).await, texts(&mut app, scope).await), (before, who));
        assert_eq!(before, 20);
        let archive = format!("UPDATE form_definitions SET status = 'archived' WHERE id = '{}'", form.id);
        execute(&mut app, &archive).await;
    }
}

/// What is neither true nor false, an error, or another verdict than the interpreter's lets nothing through.
#[rstest]
#[case("RETURN NULL;")]
#[case("RETURN false;")]
#[case("RETURN 1 / 0 = 1;")]
#[case("RAISE EXCEPTION 'mine' USING ERRCODE = 'check_violation';")]
#[tokio::test]
async fn a_body_without_a_verdict_lets_nothing_through(#[future(awt)] db: TestDatabase, #[case] statement: &str) {
    let home = home(&db).await;
    let (form, mut app) = active(&db, &home, &format!("BEGIN {statement} END")).await;
    app.batch_execute(&submissions(&form, 1)).await.unwrap_err();
    assert_eq!(number(&mut app, "SELECT count(*) FROM form_submissions").await, 20);
}

/// A body does not call the function that makes bodies, not even between two changes of the tenant.
#[rstest]
#[tokio::test]
async fn a_body_replaces_no_form_of_another(#[future(awt)] db: TestDatabase) {
    let (home, other) = (home(&db).await, home(&db).await);
    let theirs = draft_form(&db, &other, "tea", &["title"]).await;
    let body = format!(
        "BEGIN PERFORM set_config('app.tenant_id', '{other}', true); \
         PERFORM public.create_form_validator('{id}', ARRAY['BEGIN RETURN true; END']); \
         PERFORM set_config('app.tenant_id', '{mine}', true); RETURN true; END",
        other = other.tenant,
        id = theirs.id,
        mine = home.tenant
    );
    let (form, mut app) = active(&db, &home, &body).await;
    let bodies = format!(
        "SELECT prosrc FROM pg_proc WHERE pronamespace = 'forms_compiled'::regnamespace AND proname = form_validator('{}', '{}')",
        other.tenant, theirs.id
    );
    let mut owner = connection(&db.url).await;
    let before = texts(&mut owner, &bodies).await;
    let refused = app.batch_execute(&submissions(&form, 1)).await;
    assert_eq!(texts(&mut owner, &bodies).await, before);
    assert!(matches!(refused.map_err(Error::from), Err(Error::Forbidden { .. })));
}

/// What it leaves in the session meets no other tenant on the same connection.
#[rstest]
#[case::memory("bedplate_forms.memory")]
#[case::validator("bedplate_forms.")]
#[tokio::test]
async fn a_setting_that_a_body_leaves_refuses_nobody(#[future(awt)] db: TestDatabase, #[case] setting: &str) {
    let (home, other) = (home(&db).await, home(&db).await);
    let theirs = form(&db, &other, "tea", &[]).await;
    let body = format!(
        "BEGIN PERFORM set_config('{setting}' || CASE WHEN '{setting}' = 'bedplate_forms.' THEN public.form_validator('{}', '{}') ELSE '' END, 'x', false); RETURN true; END",
        other.tenant, theirs.id
    );
    let (form, mut app) = active(&db, &home, &body).await;
    let _ = app.batch_execute(&submissions(&form, 1)).await;
    execute(&mut app, &format!("SET app.tenant_id = '{}'; SET app.user_id = '{}'", other.tenant, other.user)).await;
    execute(&mut app, &submissions(&theirs, 1)).await;
}
