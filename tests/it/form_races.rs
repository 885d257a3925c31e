//! Two at once, on forms. Each test tells its scenario in numbered steps, and holds them with locks: no sleeps.

use std::sync::Arc;

use bedplate::models::{
    FormDefinition, FormDefinitionChanges, FormDefinitionId, FormDefinitionStatus, NewFormDefinition, NewFormSubmission,
};
use bedplate::{Error, Result};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::{
    Home, TestDatabase, connection, db, draft_form, execute, filled_in, form, home, number, waits_for_lock,
};

/// Publishes when it is told to, as the transaction `b.publish`.
fn publisher(
    db: &TestDatabase,
    home: &Home,
    id: FormDefinitionId,
    start: &Arc<Notify>,
) -> JoinHandle<Result<FormDefinition>> {
    let (database, context, start) = (db.database.clone(), home.context.clone(), start.clone());
    tokio::spawn(async move {
        start.notified().await;
        let publish =
            database.tenant_tx("b.publish", &context, async move |tx| tx.form_definitions().publish(id).await);
        publish.await.map(|published| published.definition)
    })
}

async fn active(db: &TestDatabase, home: &Home) -> FormDefinitionId {
    db.tenant_tx("active", &home.context, async |tx| tx.form_definitions().find_active("tea").await).await.unwrap().id
}

/// 1. There are two drafts of a form; in the second case a version of it is active.
/// 2. A publishes the one, and does not commit yet.
/// 3. B publishes the other, and waits.
/// 4. A commits.
/// 5. B is told of the conflict; A's version is the active one, and the only one.
#[rstest]
#[case::first(false)]
#[case::next(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_publishers_one_wins(#[future(awt)] db: TestDatabase, #[case] earlier: bool) {
    let home = home(&db).await;
    // 1
    if earlier {
        form(&db, &home, "tea", &[]).await;
    }
    let (one, other) = (draft_form(&db, &home, "tea", &[]).await.id, draft_form(&db, &home, "tea", &[]).await.id);
    let published = Arc::new(Notify::new());
    let b = publisher(&db, &home, other, &published);
    db.tenant_tx("a.publish", &home.context, async |tx| {
        tx.form_definitions().publish(one).await?; // 2
        published.notify_one();
        waits_for_lock(&db, "b.publish").await; // 3
        Ok(()) // 4
    })
    .await
    .unwrap();
    // 5
    match b.await.unwrap().unwrap_err() {
        Error::Conflict { constraint, field } => {
            assert_eq!((constraint.as_str(), field.as_str()), ("form_definitions_name_active", "name"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(active(&db, &home).await, one);
    let loser = db.tenant_tx("find", &home.context, async |tx| tx.form_definitions().find(other).await).await.unwrap();
    assert_eq!(loser.status, FormDefinitionStatus::Draft);
}

/// 1. A publishes a draft, and does not commit yet.
/// 2. B publishes the same, and waits for the row.
/// 3. A commits; B is told that it is active already.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_published_once(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let draft = draft_form(&db, &home, "tea", &[]).await.id;
    let published = Arc::new(Notify::new());
    let b = publisher(&db, &home, draft, &published);
    db.tenant_tx("a.publish", &home.context, async |tx| {
        tx.form_definitions().publish(draft).await?; // 1
        published.notify_one();
        waits_for_lock(&db, "b.publish").await; // 2
        Ok(())
    })
    .await
    .unwrap();
    // 3
    let error = b.await.unwrap().unwrap_err().to_string();
    assert_eq!(error, format!("form_definition {draft} is active: publish is not possible"));
}

/// 1. A publishes version 2, and does not commit yet.
/// 2. B fills in version 1, does not wait, and commits: it came before.
/// 3. B guesses the id of version 2, writes SQL, and is told that there is none: nothing gets in unchecked.
/// 4. A commits.
/// 5. Version 1 takes nothing new, by Rust or SQL; what B filled in is there.
#[rstest]
#[tokio::test]
async fn a_form_is_filled_in_while_the_next_version_is_published(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let first = form(&db, &home, "tea", &["title"]).await;
    let second = draft_form(&db, &home, "tea", &["cups"]).await;
    let (home, tea) = (&home, &json!({"title": "Tea"}));
    let insert = |form: &FormDefinition| {
        format!(
            "INSERT INTO form_submissions (tenant_id, form_definition_id, form_version, status, data) \
             VALUES ('{}', '{}', {}, 'submitted', '{tea}')",
            form.tenant_id, form.id, form.version
        )
    };
    let mut app = connection(db.config().url()).await;
    execute(&mut app, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", home.tenant)).await;
    let app = tokio::sync::Mutex::new(app);
    let b = db
        .tenant_tx("a.publish", &home.context, async |tx| {
            let third = tx.form_definitions().clone_version(second.id).await?;
            tx.form_definitions().publish(third.id).await?; // 1
            let b = filled_in(&db, home, &first, tea, true).await; // 2
            // 3
            let error = app.lock().await.batch_execute(&insert(&third)).await.map_err(Error::from).unwrap_err();
            assert_eq!(error.to_string(), "form_definition_id refers to a row that does not exist");
            Ok(b) // 4
        })
        .await
        .unwrap();
    // 5
    let new = NewFormSubmission { form_definition_id: first.id, data: tea, submit: true };
    let error = db.tenant_tx("late", &home.context, async |tx| tx.form_submissions().create(new).await).await;
    assert!(matches!(error, Err(Error::WrongState { state, .. }) if state == "archived"));
    let error = app.lock().await.batch_execute(&insert(&first)).await.map_err(Error::from).unwrap_err();
    assert!(error.to_string().contains("form_submissions_form_definition_id_active"), "{error}");
    let mut app = app.into_inner();
    assert_eq!(number(&mut app, &format!("SELECT count(*) FROM form_submissions WHERE id = '{}'", b.id)).await, 1);
    assert_eq!(number(&mut app, "SELECT count(*) FROM form_submissions").await, 1);
}

/// 1. A and B read a draft, and what was filled into another form.
/// 2. A changes both, and does not commit yet.
/// 3. B changes one of them too, and waits for the row.
/// 4. A commits; B is told that its version is stale.
#[rstest]
#[case::definition(true)]
#[case::submission(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_editors_one_reads_again(#[future(awt)] db: TestDatabase, #[case] definition: bool) {
    let home = home(&db).await;
    let draft = draft_form(&db, &home, "tea", &[]).await.id; // 1
    let other = form(&db, &home, "coffee", &[]).await;
    let filled = filled_in(&db, &home, &other, &json!({}), false).await.id;
    let changed = Arc::new(Notify::new());
    let changes = FormDefinitionChanges { assert_formats: Some(true), ..FormDefinitionChanges::default() };
    let b = {
        let (database, context, changed) = (db.database.clone(), home.context.clone(), changed.clone());
        tokio::spawn(async move {
            changed.notified().await;
            // 3
            database
                .tenant_tx("b.edit", &context, async move |tx| {
                    if definition {
                        tx.form_definitions().update(draft, 0, changes).await.map(|_| ())
                    } else {
                        tx.form_submissions().save(filled, 0, &json!({"b": 1})).await.map(|_| ())
                    }
                })
                .await
        })
    };
    db.tenant_tx("a.edit", &home.context, async |tx| {
        tx.form_definitions().update(draft, 0, changes).await?; // 2
        tx.form_submissions().save(filled, 0, &json!({"a": 1})).await?;
        changed.notify_one();
        waits_for_lock(&db, "b.edit").await;
        Ok(()) // 4
    })
    .await
    .unwrap();
    assert!(matches!(b.await.unwrap(), Err(Error::StaleVersion { expected: 0, found: 1, .. })));
    let there = db.tenant_tx("find", &home.context, async |tx| tx.form_submissions().find(filled).await).await.unwrap();
    assert_eq!((there.data, there.lock_version), (json!({"a": 1}), 1));
}

/// 1. A makes a version of a name, and does not commit yet.
/// 2. B makes one of the same name, and waits.
/// 3. A commits; B is told of the conflict, and gets the next number when it tries again.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_never_get_the_same_number(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let made = Arc::new(Notify::new());
    let b = {
        let (database, context, made) = (db.database.clone(), home.context.clone(), made.clone());
        tokio::spawn(async move {
            made.notified().await;
            // 2
            database
                .tenant_tx("b.create", &context, async move |tx| {
                    let new = NewFormDefinition {
                        name: "tea",
                        definition: &json!({}),
                        resources: None,
                        assert_formats: false,
                    };
                    tx.form_definitions().create(new).await
                })
                .await
        })
    };
    db.tenant_tx("a.create", &home.context, async |tx| {
        let new = NewFormDefinition { name: "tea", definition: &json!({}), resources: None, assert_formats: false };
        tx.form_definitions().create(new).await?; // 1
        made.notify_one();
        waits_for_lock(&db, "b.create").await;
        Ok(())
    })
    .await
    .unwrap();
    // 3
    match b.await.unwrap().unwrap_err() {
        Error::Conflict { constraint, field } => {
            assert_eq!((constraint.as_str(), field.as_str()), ("form_definitions_name_key", "name"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(draft_form(&db, &home, "tea", &[]).await.version, 2);
}
