//! Two tiers, the functions of a form and the interpreter: chosen by use, for each backend, with the same verdict.

use std::collections::BTreeMap;

use bedplate::forms::{CompileOptions, JsonSchema};
use bedplate::models::NewFormDefinition;
use bedplate::sql::quote_literal;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Home, TestDatabase, as_app, connection, db, draft_form, execute, home, number, texts};

/// The form, its id and the name of its function.
async fn published(db: &TestDatabase, home: &Home, name: &str, definition: &Value) -> (String, String) {
    let new = NewFormDefinition { name, definition, resources: None, assert_formats: false };
    let form = db.tenant_tx("publish", &home.context, async |tx| {
        let draft = tx.form_definitions().create(new).await?;
        tx.form_definitions().publish(draft.id).await
    });
    let id = form.await.unwrap().definition.id.to_string();
    let validator =
        texts(&mut as_app(db, home).await, &format!("SELECT form_validator('{}', '{id}')", home.tenant)).await;
    (id, validator[0].clone())
}

fn tea() -> Value {
    json!({"type": "object", "required": ["kind", "cups"], "properties": {
        "kind": {"enum": ["green", "black"]}, "cups": {"type": "integer", "minimum": 1, "maximum": 9}
    }})
}

async fn judge(app: &mut AsyncPgConnection, home: &Home, form: &str, data: &Value) -> String {
    let data = quote_literal(&data.to_string());
    let call = format!("SELECT coalesce(validate_form_data('{}', '{form}', {data})::text, 'valid')", home.tenant);
    texts(app, &call).await.remove(0)
}

async fn met(app: &mut AsyncPgConnection, validator: &str) -> String {
    texts(app, &format!("SELECT coalesce(current_setting('bedplate_forms.{validator}', true), '')")).await.remove(0)
}

#[rstest]
#[tokio::test]
async fn a_backend_compiles_what_it_meets_often(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (form, validator) = published(&db, &home, "tea", &tea()).await;
    let (good, bad) = (json!({"kind": "green", "cups": 2}), json!({"kind": "white", "cups": 10}));
    let mut app = as_app(&db, &home).await;
    let cold = judge(&mut app, &home, &form, &bad).await;
    assert!(cold.contains("/properties/kind/enum") && cold.contains("/properties/cups/maximum"), "{cold}");
    for times in 2..=20 {
        assert_eq!(judge(&mut app, &home, &form, &good).await, "valid");
        assert_eq!(met(&mut app, &validator).await, times.to_string());
    }
    assert_eq!(judge(&mut app, &home, &form, &good).await, "valid");
    assert_eq!(met(&mut app, &validator).await, "compiled");
    assert_eq!(judge(&mut app, &home, &form, &good).await, "valid");
    // The same list, and it says so also where the functions are what decided.
    assert_eq!(judge(&mut app, &home, &form, &bad).await, cold);
    // Another backend has met nothing yet.
    assert_eq!(met(&mut as_app(&db, &home).await, &validator).await, "");
}

/// The functions decide: one that was made to refuse everything refuses what the interpreter would let through.
#[rstest]
#[tokio::test]
async fn a_difference_between_the_tiers_lets_nothing_through(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut app = as_app(&db, &home).await;
    let schema = JsonSchema::compile(&tea(), &BTreeMap::new(), CompileOptions::default()).unwrap();
    let draft = draft_form(&db, &home, "tea", &[]).await;
    let form = draft.id.to_string();
    execute(&mut app, &format!("SELECT create_form_validator('{form}', ARRAY['BEGIN RETURN false; END'])")).await;
    let program = quote_literal(&schema.program().to_string());
    let publish = format!(
        "UPDATE form_definitions SET status = 'active', published_at = now(), compiled_bytes = 1, program = {program}"
    );
    execute(&mut app, &publish).await;
    let good = json!({"kind": "green", "cups": 2});
    for _ in 1..=20 {
        assert_eq!(judge(&mut app, &home, &form, &good).await, "valid");
    }
    assert!(judge(&mut app, &home, &form, &good).await.contains("is refused by the compiled form"));
}

#[rstest]
#[tokio::test]
async fn what_has_no_room_is_interpreted(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (tea_form, tea_validator) = published(&db, &home, "tea", &tea()).await;
    let (wide_form, wide_validator) = published(&db, &home, "wide", &wide(60)).await;
    let mut app = as_app(&db, &home).await;
    execute(&mut app, "SET bedplate.forms_memory = 1").await;
    for _ in 0..25 {
        assert_eq!(judge(&mut app, &home, &wide_form, &json!({})).await, "valid");
        assert_eq!(judge(&mut app, &home, &tea_form, &json!({"kind": "black", "cups": 1})).await, "valid");
    }
    assert_eq!(met(&mut app, &wide_validator).await, "20", "estimated at more than a megabyte");
    assert_eq!(met(&mut app, &tea_validator).await, "compiled");
    let used = number(&mut app, "SELECT current_setting('bedplate_forms.memory')").await;
    assert!(used > 0 && used < 1 << 20, "{used}");
}

fn wide(fields: usize) -> Value {
    let field = |n: usize| {
        (
            format!("field_{n}"),
            json!({"type": "object", "required": ["a"], "properties": {
                "a": {"type": "string", "minLength": 1, "maxLength": 80}, "b": {"type": "integer", "minimum": 0}
            }}),
        )
    };
    json!({"type": "object", "properties": (0..fields).map(field).collect::<serde_json::Map<_, _>>()})
}

/// The estimate is about what PostgreSQL says that the plans take. Only a superuser may ask that.
#[rstest]
#[tokio::test]
async fn the_memory_of_a_backend_stays_below_the_cap(#[future(awt)] db: TestDatabase) {
    const FORMS: usize = 30;
    const CAP: i64 = 8;
    let Some(admin) = crate::support::server::server().admin.as_ref() else {
        eprintln!("not measured: nobody here is a superuser");
        return;
    };
    let home = home(&db).await;
    let mut forms = Vec::new();
    for n in 0..FORMS {
        forms.push(published(&db, &home, &format!("form {n}"), &wide(40)).await.0);
    }
    let data: Value =
        (0..40).map(|n| (format!("field_{n}"), json!({"a": "x", "b": 1}))).collect::<serde_json::Map<_, _>>().into();
    let mut taken = Vec::new();
    for cap in [0, CAP, 1000] {
        let mut backend = connection(&admin.with_database(db.url.database()).unwrap()).await;
        backend
            .batch_execute(&format!("SET bedplate.forms_memory = {cap}; SET app.tenant_id = '{}'", home.tenant))
            .await
            .unwrap();
        judge(&mut backend, &home, &forms[0], &data).await;
        let memory = "SELECT sum(total_bytes) FROM pg_backend_memory_contexts";
        let before = number(&mut backend, memory).await;
        for form in &forms {
            for _ in 0..22 {
                assert_eq!(judge(&mut backend, &home, form, &data).await, "valid");
            }
        }
        taken.push(number(&mut backend, memory).await - before);
    }
    let [interpreted, capped, all] = taken[..] else { panic!("{taken:?}") };
    println!("bytes for {FORMS} forms: {interpreted} interpreted, {capped} with a cap of {CAP} MB, {all} compiled");
    assert!(capped - interpreted < CAP << 20, "{taken:?}");
    assert!(capped - interpreted > 1 << 20, "some were compiled: {taken:?}");
    assert!(all > 2 * capped, "{taken:?}");
}
