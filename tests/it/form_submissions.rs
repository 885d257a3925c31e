//! Form submissions: drafts, what is submitted and refused, by Rust and by the database with the same list.

use bedplate::models::{
    FormDefinition, FormSubmission, FormSubmissionId, FormSubmissionStatus, NewFormSubmission, SchemaViolation,
};
use bedplate::{Error, Result};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{
    Home, TestDatabase, as_app, connection, db, draft_form, execute, filled_in, form, home, number, texts,
};

async fn create(
    db: &TestDatabase,
    home: &Home,
    form: &FormDefinition,
    data: &Value,
    submit: bool,
) -> Result<FormSubmission> {
    let new = NewFormSubmission { form_definition_id: form.id, data, submit };
    db.tenant_tx("create", &home.context, async |tx| tx.form_submissions().create(new).await).await
}

fn insert(form: &FormDefinition, status: &str, data: &Value) -> String {
    format!(
        "INSERT INTO form_submissions (tenant_id, form_definition_id, form_version, status, data) \
         VALUES ('{}', '{}', {}, '{status}', '{data}')",
        form.tenant_id, form.id, form.version
    )
}

fn violations(error: Error) -> Vec<SchemaViolation> {
    match error {
        Error::DataInvalid { violations } => violations,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[tokio::test]
async fn a_draft_is_completed_submitted_amended_and_put_away(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &["title", "cups"]).await;
    let draft = filled_in(&db, &home, &form, &json!({"title": "Tea"}), false).await;
    assert_eq!((draft.status, draft.form_version, draft.lock_version), (FormSubmissionStatus::Draft, 1, 0));
    let (id, context) = (draft.id, &home.context);
    let submit =
        async |read| db.tenant_tx("submit", context, async |tx| tx.form_submissions().submit(id, read).await).await;
    let save = async |read, data: Value| {
        let data = &data;
        db.tenant_tx("save", context, async |tx| tx.form_submissions().save(id, read, data).await).await
    };
    let amend = async |read, data: Value| {
        let data = &data;
        db.tenant_tx("amend", context, async |tx| tx.form_submissions().amend(id, read, data).await).await
    };
    let archive = async || db.tenant_tx("archive", context, async |tx| tx.form_submissions().archive(id).await).await;
    let refused = |error: Error, state: &str, action: &str| {
        assert_eq!(error.to_string(), format!("form_submission {id} is {state}: {action} is not possible"));
    };

    let missing = violations(submit(0).await.unwrap_err());
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].instance_path.as_str(), missing[0].keyword.as_str()), ("", "required"));
    refused(amend(0, json!({})).await.unwrap_err(), "draft", "amend");
    assert!(matches!(save(7, json!({})).await, Err(Error::StaleVersion { expected: 7, found: 0, .. })));
    let saved = save(0, json!({"title": "Tea", "cups": 2})).await.unwrap();
    assert_eq!((saved.lock_version, saved.title.as_deref()), (1, Some("Tea")));
    assert!(matches!(submit(0).await, Err(Error::StaleVersion { expected: 0, found: 1, .. })));
    let submitted = submit(1).await.unwrap();
    assert_eq!((submitted.status, &submitted.data), (FormSubmissionStatus::Submitted, &saved.data));

    refused(submit(2).await.unwrap_err(), "submitted", "submit");
    refused(save(2, json!({})).await.unwrap_err(), "submitted", "save");
    assert_eq!(violations(amend(2, json!({"cups": 3})).await.unwrap_err()).len(), 1);
    assert!(matches!(amend(1, json!({"cups": 3})).await, Err(Error::StaleVersion { .. })));
    let amended = amend(2, json!({"title": "Green tea", "cups": 3})).await.unwrap();
    assert_eq!((amended.status, amended.title.as_deref()), (FormSubmissionStatus::Submitted, Some("Green tea")));
    let archived = archive().await.unwrap();
    assert_eq!(
        (archived.status, archived.data, archived.lock_version),
        (FormSubmissionStatus::Archived, amended.data, 4)
    );
    refused(archive().await.unwrap_err(), "archived", "archive");
    refused(amend(4, json!({})).await.unwrap_err(), "archived", "amend");
    refused(save(4, json!({})).await.unwrap_err(), "archived", "save");
    refused(submit(4).await.unwrap_err(), "archived", "submit");
    // An incomplete draft is put away as it is.
    let draft = filled_in(&db, &home, &form, &json!([]), false).await;
    let put_away = db.tenant_tx("archive", context, async |tx| tx.form_submissions().archive(draft.id).await).await;
    assert_eq!(put_away.unwrap().data, json!([]));
}

#[rstest]
#[tokio::test]
async fn a_form_that_is_not_active_is_not_filled_in(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let old = form(&db, &home, "tea", &["title"]).await;
    let there = filled_in(&db, &home, &old, &json!({"title": "Tea"}), true).await;
    let half = filled_in(&db, &home, &old, &json!({}), false).await;
    form(&db, &home, "tea", &["cups"]).await;
    let draft = draft_form(&db, &home, "tea", &[]).await;
    let tea = json!({"title": "Tea"});
    for submit in [true, false] {
        for (form, status) in [(&old, "archived"), (&draft, "draft")] {
            let error = create(&db, &home, form, &tea, submit).await.unwrap_err().to_string();
            assert_eq!(error, format!("form_definition {} is {status}: fill in is not possible", form.id));
        }
        let mut nowhere = draft.clone();
        nowhere.id = bedplate::models::FormDefinitionId::new();
        assert!(matches!(create(&db, &home, &nowhere, &tea, submit).await, Err(Error::NotFound { .. })));
    }
    // What was begun is finished against its own version.
    let home = &home;
    db.tenant_tx("finish", &home.context, async |tx| {
        let submissions = tx.form_submissions();
        submissions.amend(there.id, 0, &json!({"title": "Green tea"})).await?;
        submissions.save(half.id, 0, &json!({"title": "Black tea"})).await?;
        submissions.submit(half.id, 1).await
    })
    .await
    .unwrap();
    let unknown = FormSubmissionId::new();
    for error in [
        db.tenant_tx("find", &home.context, async |tx| tx.form_submissions().find(unknown).await).await.unwrap_err(),
        db.tenant_tx("save", &home.context, async |tx| tx.form_submissions().save(unknown, 0, &json!({})).await)
            .await
            .unwrap_err(),
        db.tenant_tx("submit", &home.context, async |tx| tx.form_submissions().submit(unknown, 0).await)
            .await
            .unwrap_err(),
        db.tenant_tx("amend", &home.context, async |tx| tx.form_submissions().amend(unknown, 0, &json!({})).await)
            .await
            .unwrap_err(),
        db.tenant_tx("archive", &home.context, async |tx| tx.form_submissions().archive(unknown).await)
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.to_string(), format!("form_submission {unknown} does not exist"));
    }
}

/// What Rust refuses before the round trip, the database refuses with the same list; and it shows no values.
#[rstest]
#[tokio::test]
async fn both_give_the_same_list(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let names: Vec<String> = (0..150).map(|n| format!("name{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (name, required, expected) in [("tea", &names[..3], 2), ("long", &names[..], 100)] {
        let form = form(&db, &home, name, required).await;
        let data = json!({"name001": "a secret of mine"});
        let from_rust = violations(create(&db, &home, &form, &data, true).await.unwrap_err());
        let error = as_app(&db, &home).await.batch_execute(&insert(&form, "submitted", &data)).await.unwrap_err();
        assert!(error.to_string().ends_with(&format!("does not match form {name} version 1")), "{error}");
        let error = Error::from(error);
        assert!(!error.to_string().contains("secret"), "{error}");
        let from_database = violations(error);
        assert_eq!(from_database, from_rust);
        assert_eq!(from_rust.len(), expected);
        assert!(from_rust.is_sorted());
    }
}

/// The trigger is the last line of defence: each way around Rust, and what it meets.
#[rstest]
#[tokio::test]
async fn clients_that_write_sql_are_refused(#[future(awt)] db: TestDatabase) {
    const INVALID: &str = "the data does not match the form";
    let home = home(&db).await;
    let old = form(&db, &home, "tea", &["title"]).await;
    let archived = filled_in(&db, &home, &old, &json!({"title": "Tea"}), true).await.id;
    db.tenant_tx("archive", &home.context, async |tx| tx.form_submissions().archive(archived).await).await.unwrap();
    let form = form(&db, &home, "tea", &["title", "cups"]).await;
    let never = draft_form(&db, &home, "tea", &[]).await;
    let (tea, full) = (json!({"title": "Tea"}), json!({"title": "Tea", "cups": 2}));
    let submitted = filled_in(&db, &home, &form, &full, true).await.id;
    let draft = filled_in(&db, &home, &form, &tea, false).await.id;
    let set = |change: &str, id: FormSubmissionId| format!("UPDATE form_submissions SET {change} WHERE id = '{id}'");
    let mut system = connection(&db.url).await;
    execute(&mut system, "SET ROLE bedplate_system").await;
    let mut app = as_app(&db, &home).await;
    let rows = "SELECT md5(string_agg(to_jsonb(s)::text, '' ORDER BY id)) FROM form_submissions AS s";
    let before = texts(&mut system, rows).await;
    let both = [
        (insert(&form, "submitted", &tea), INVALID),
        (
            insert(&never, "draft", &tea),
            "form_definition_id is not allowed (form_submissions_form_definition_id_active)",
        ),
        (insert(&form, "lost", &full), "status is not allowed (form_submissions_status_check)"),
        (set("status = 'submitted'", draft), INVALID),
        (set("data = '{}'", submitted), INVALID),
        (set("data = '{\"title\": \"Tea\"}', status = 'submitted'", draft), INVALID),
        (set("data = '{\"title\": \"Other\"}'", archived), "data is not allowed (form_submissions_data_archived)"),
        (
            set(&format!("form_definition_id = '{}', form_version = 1", old.id), submitted),
            "form_definition_id is not allowed (form_submissions_form_definition_id_fixed)",
        ),
        (set("form_version = 1", submitted), "form_definition_id refers to a row that does not exist"),
        (
            set("form_definition_id = gen_random_uuid()", draft),
            "form_definition_id refers to a row that does not exist",
        ),
        (set("data = NULL", draft), "data is missing"),
        (set("form_definition_id = NULL", draft), "form_definition_id is missing"),
    ];
    for (sql, message) in &both {
        for client in [&mut app, &mut system] {
            let error = client.batch_execute(sql).await.map_err(Error::from).unwrap_err().to_string();
            assert!(error.starts_with(message), "{sql}: {error}");
        }
    }
    for (sql, message) in [
        (
            insert(&old, "submitted", &tea),
            "form_definition_id is not allowed (form_submissions_form_definition_id_active)",
        ),
        (insert(&form, "archived", &full), "status is not allowed (form_submissions_status_start)"),
        (set("status = 'draft'", submitted), "status is not allowed (form_submissions_status_transition)"),
        (set("status = 'submitted'", archived), "status is not allowed (form_submissions_status_transition)"),
        ("DELETE FROM form_submissions".into(), "not allowed: permission denied"),
        ("SELECT audit_log.* FROM audit_log, form_submissions FOR UPDATE".into(), "not allowed: permission denied"),
    ] {
        let error = app.batch_execute(&sql).await.map_err(Error::from).unwrap_err().to_string();
        assert!(error.starts_with(message), "{sql}: {error}");
    }
    assert_eq!(texts(&mut system, rows).await, before);
    for sql in
        [set("status = 'archived'", submitted), insert(&form, "draft", &json!({})), insert(&form, "submitted", &full)]
    {
        execute(&mut app, &sql).await;
    }
    // Seeds are loaded again after a form was archived.
    execute(&mut system, &insert(&old, "submitted", &tea)).await;
    let error = system.batch_execute(&insert(&old, "submitted", &json!({}))).await.map_err(Error::from).unwrap_err();
    assert_eq!(violations(error).len(), 1, "what is archived is checked too");
}

/// The size is that of the unpacked document, however well it packs, also of a draft.
#[rstest]
#[case(json!({"title": "x".repeat(1_048_000)}), true)]
#[case(json!({"title": "x".repeat(1_048_600)}), false)]
#[case(json!({"title": "\u{1}".repeat(1_048_600)}), false)]
#[case(json!({"title": "\u{1}".repeat(1_000_000)}), true)]
#[tokio::test]
async fn more_than_a_megabyte_is_refused(#[future(awt)] db: TestDatabase, #[case] data: Value, #[case] fits: bool) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &["title"]).await;
    let draft = filled_in(&db, &home, &form, &json!({"title": "Tea"}), false).await;
    let data = &data;
    let saved =
        db.tenant_tx("save", &home.context, async |tx| tx.form_submissions().save(draft.id, 0, data).await).await;
    for outcome in [create(&db, &home, &form, data, true).await, create(&db, &home, &form, data, false).await, saved] {
        if fits {
            assert_eq!(outcome.unwrap().title, None, "it is too long for a title");
        } else {
            let refused = violations(outcome.unwrap_err());
            assert_eq!((refused[0].keyword.as_str(), refused[0].message.as_str()), ("maxSize", "is larger than 1 MB"));
            assert_eq!(refused.len(), 1);
        }
    }
}

#[rstest]
#[tokio::test]
async fn many_are_created_in_order_or_none(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (tea, coffee) = (form(&db, &home, "tea", &["title"]).await, form(&db, &home, "coffee", &[]).await);
    let never = draft_form(&db, &home, "tea", &[]).await;
    let data: Vec<_> = (0..1500).map(|n| json!({"title": format!("Cup {n}")})).collect();
    let new = |form: &FormDefinition, data, submit| NewFormSubmission { form_definition_id: form.id, data, submit };
    let many: Vec<_> = data
        .iter()
        .enumerate()
        .map(|(n, data)| new(if n % 2 == 0 { &tea } else { &coffee }, data, n % 3 == 0))
        .collect();
    let create_many = async |many: &[NewFormSubmission<'_>]| {
        db.tenant_tx("many", &home.context, async |tx| tx.form_submissions().create_many(many).await).await
    };
    let created = create_many(&many).await.unwrap();
    assert_eq!(created.iter().map(|one| &one.data).collect::<Vec<_>>(), data.iter().collect::<Vec<_>>());
    assert!(created.iter().zip(&many).all(|(one, new)| one.form_definition_id == new.form_definition_id));
    assert!(created.iter().zip(&many).all(|(one, new)| (one.status == FormSubmissionStatus::Submitted) == new.submit));
    assert_eq!(create_many(&[]).await.unwrap(), []);

    let (empty, nul) = (json!({}), json!("\u{0}"));
    for (wrong, message) in [
        (new(&tea, &empty, true), "row 3: the data does not match the form: ".to_owned()),
        (
            new(&never, &empty, false),
            format!("row 3: form_definition {} is draft: fill in is not possible; ", never.id),
        ),
        (new(&tea, &nul, false), "row 3: data holds a NUL character; nothing was loaded".to_owned()),
    ] {
        let error = create_many(&[many[0], many[1], wrong, wrong]).await.unwrap_err();
        assert!(matches!(error, Error::Row { row: 3, .. }), "{error:?}");
        assert!(error.to_string().starts_with(&message), "{error}");
    }
    assert_eq!(number(&mut as_app(&db, &home).await, "SELECT count(*) FROM form_submissions").await, 1500);
}

/// Of another type or size, they are not there, and the submission is.
#[rstest]
#[case(json!({"title": "Tea", "priority": 3}), Some("Tea"), Some(3))]
#[case(json!({"title": "", "priority": -2_147_483_648_i64}), Some(""), Some(i32::MIN))]
#[case(json!({"title": 7, "priority": "3"}), None, None)]
#[case(json!({"title": ["Tea"], "priority": 2_147_483_648_i64}), None, None)]
#[case(json!({"title": "ü".repeat(255), "priority": 2.0}), Some("ü"), Some(2))]
#[case(json!({"title": "ü".repeat(256), "priority": 2.5}), None, None)]
#[case(json!({"title": null, "priority": 1e300}), None, None)]
#[case(json!([{"title": "Tea"}, 3]), None, None)]
#[case(json!("title"), None, None)]
#[tokio::test]
async fn title_and_priority_come_from_the_data(
    #[future(awt)] db: TestDatabase,
    #[case] data: Value,
    #[case] title: Option<&str>,
    #[case] priority: Option<i32>,
) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &[]).await;
    let there = filled_in(&db, &home, &form, &data, true).await;
    assert_eq!(
        there.title.as_deref().map(|title| title.get(..2).filter(|_| title.len() > 250).unwrap_or(title)),
        title
    );
    assert_eq!(there.priority, priority);
}
