//! Publishing forms: what becomes of the version before, what is refused, and that a compiled form which was rolled
//! back is not kept.

use bedplate::Error;
use bedplate::models::{FormDefinitionChanges, FormDefinitionStatus, NewFormSubmission};
use rstest::rstest;
use serde_json::json;

use crate::boundary::run;
use crate::support::{TestDatabase, connection, db, draft_form, execute, filled_in, form, home, texts};

#[rstest]
#[tokio::test]
async fn the_version_before_is_archived(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let other = form(&db, &home, "coffee", &[]).await;
    let first = form(&db, &home, "tea", &["title"]).await;
    assert_eq!((first.status, first.lock_version), (FormDefinitionStatus::Active, 1));
    assert!(first.published_at.is_some());
    let second = form(&db, &home, "tea", &["cups"]).await;
    let home = &home;
    db.tenant_tx("look", &home.context, async |tx| {
        let forms = tx.form_definitions();
        assert_eq!(forms.find(first.id).await?.status, FormDefinitionStatus::Archived);
        assert_eq!(forms.find_active("tea").await?.id, second.id);
        assert_eq!(forms.find(other.id).await?.status, FormDefinitionStatus::Active);
        assert_eq!(forms.archive(second.id).await?.status, FormDefinitionStatus::Archived);
        assert_eq!(forms.find_active("tea").await.unwrap_err().to_string(), "form_definition tea does not exist");
        let error = forms.archive(second.id).await.unwrap_err();
        assert_eq!(error.to_string(), format!("form_definition {} is archived: archive is not possible", second.id));
        let error = forms.publish(second.id).await.unwrap_err();
        assert_eq!(error.to_string(), format!("form_definition {} is archived: publish is not possible", second.id));
        Ok(())
    })
    .await
    .unwrap();
    // What the database runs is there, for what was published alone.
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let programs = "SELECT DISTINCT status || ' ' || (program IS NOT NULL) FROM form_definitions ORDER BY 1";
    assert_eq!(texts(&mut owner, programs).await, ["active true", "archived true"]);
}

/// A draft may be no schema yet; what is published is one, and nothing happens otherwise.
#[rstest]
#[tokio::test]
async fn what_is_no_schema_is_not_published(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let active = form(&db, &home, "tea", &["title"]).await;
    let draft = draft_form(&db, &home, "tea", &[]).await;
    let wrong = json!({"required": "title"});
    let changes = FormDefinitionChanges { definition: Some(&wrong), ..FormDefinitionChanges::default() };
    db.tenant_tx("edit", &home.context, async |tx| tx.form_definitions().update(draft.id, 0, changes).await)
        .await
        .unwrap();
    let publish =
        async || db.tenant_tx("publish", &home.context, async |tx| tx.form_definitions().publish(draft.id).await).await;
    match publish().await.unwrap_err() {
        Error::Invalid { violations } => assert!(violations[0].field.starts_with("definition"), "{violations:?}"),
        other => panic!("{other:?}"),
    }
    let there = db.tenant_tx("find", &home.context, async |tx| tx.form_definitions().find_active("tea").await).await;
    assert_eq!(there.unwrap(), active);

    // A number that Rust cannot hold: what is compiled would not be what is stored. So the database does not take it.
    let inexact = format!(
        "UPDATE form_definitions SET definition = '{{\"minimum\": 12345678901234567890.5}}' WHERE id = '{}'",
        draft.id
    );
    let refused = db.tenant_tx("sql", &home.context, async |tx| run(tx.connection(), &inexact).await).await;
    assert!(
        matches!(&refused, Err(Error::Invalid { violations }) if violations[0].field == "definition"),
        "{refused:?}"
    );
    let there = db.tenant_tx("find", &home.context, async |tx| tx.form_definitions().find_active("tea").await).await;
    assert_eq!(there.unwrap(), active);
}

/// 1. A transaction publishes a form that asks for a title, fills it in, and is rolled back.
/// 2. The draft is changed, asks for cups, and is published.
/// 3. Cups alone are taken, and a title alone is not: what was compiled in the first step is forgotten.
#[rstest]
#[tokio::test]
async fn what_was_rolled_back_is_not_kept(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let draft = draft_form(&db, &home, "tea", &["title"]).await;
    let (title, cups) = (json!({"title": "Tea"}), json!({"cups": 2}));
    let (id, title, cups) = (draft.id, &title, &cups);
    let new = |data| NewFormSubmission { form_definition_id: id, data, submit: true };
    // 1
    let undone = db
        .tenant_tx("undone", &home.context, async |tx| {
            tx.form_definitions().publish(id).await?;
            tx.form_submissions().create(new(title)).await?;
            Err::<(), _>(Error::invalid("everything", "is undone"))
        })
        .await;
    assert_eq!(undone.unwrap_err().to_string(), "everything is undone");
    // 2
    let schema = json!({"required": ["cups"]});
    let changes = FormDefinitionChanges { definition: Some(&schema), ..FormDefinitionChanges::default() };
    db.tenant_tx("publish", &home.context, async |tx| {
        tx.form_definitions().update(id, 0, changes).await?;
        tx.form_definitions().publish(id).await
    })
    .await
    .unwrap();
    // 3
    let create = async |data| {
        db.tenant_tx("create", &home.context, async |tx| tx.form_submissions().create(new(data)).await).await
    };
    create(cups).await.unwrap();
    assert!(matches!(create(title).await, Err(Error::DataInvalid { .. })));
}

/// 1. A form is filled in, so that it is kept compiled.
/// 2. The tenant is deleted and made anew, with a form of the same id that asks for something else.
/// 3. What matches the new form is taken.
#[rstest]
#[tokio::test]
async fn what_is_kept_refuses_nobody_by_itself(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &["title"]).await;
    // 1
    filled_in(&db, &home, &form, &json!({"title": "Tea"}), true).await;
    // 2
    let mut system = connection(&db.url).await;
    execute(
        &mut system,
        &format!(
            "SET ROLE bedplate_system; DELETE FROM tenants WHERE id = '{tenant}'; \
             INSERT INTO tenants (id, slug, name) VALUES ('{tenant}', 'again', 'Again'); \
             INSERT INTO form_definitions (tenant_id, id, name, definition) \
             VALUES ('{tenant}', '{form}', 'tea', '{{\"required\": [\"cups\"]}}')",
            tenant = home.tenant,
            form = form.id
        ),
    )
    .await;
    db.tenant_tx("publish", &home.context, async |tx| tx.form_definitions().publish(form.id).await).await.unwrap();
    // 3
    filled_in(&db, &home, &form, &json!({"cups": 2}), true).await;
    let (tea, context) = (json!({"title": "Tea"}), &home.context);
    let new = NewFormSubmission { form_definition_id: form.id, data: &tea, submit: true };
    let error = db.tenant_tx("create", context, async |tx| tx.form_submissions().create(new).await).await.unwrap_err();
    assert!(matches!(&error, Error::DataInvalid { violations } if violations.len() == 1), "{error:?}");
}
