//! Form definitions: versions, drafts, lists, and what is refused, by Rust and to clients that write SQL. Their
//! states are in `idea_status::transitions`, publishing is in `form_publish`.

use bedplate::models::{
    FormDefinitionChanges, FormDefinitionFilter, FormDefinitionId, FormDefinitionStatus, NewFormDefinition, PageRequest,
};
use bedplate::{Error, TenantContext};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{TestDatabase, as_app, connection, db, draft_form, execute, filled_in, form, home, number, texts};

/// As the application's role, for a client that writes SQL.
async fn as_system(db: &TestDatabase) -> AsyncPgConnection {
    let mut system = connection(&db.url).await;
    execute(&mut system, "SET ROLE bedplate_system").await;
    system
}

async fn refused(connection: &mut AsyncPgConnection, sql: &str) -> String {
    connection.batch_execute(sql).await.map_err(Error::from).unwrap_err().to_string()
}

#[rstest]
#[tokio::test]
async fn versions_of_a_name_count_from_one(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let first = draft_form(&db, &home, "tea", &["title"]).await;
    let other = draft_form(&db, &home, "coffee", &[]).await;
    let second = draft_form(&db, &home, "tea", &["title", "cups"]).await;
    assert_eq!((first.version, other.version, second.version), (1, 1, 2));
    assert_eq!((first.status, first.published_at, first.lock_version), (FormDefinitionStatus::Draft, None, 0));
    assert_eq!((first.resources, first.assert_formats), (json!({}), false));
    let home = &home;
    db.tenant_tx("forms", &home.context, async |tx| {
        let forms = tx.form_definitions();
        let cloned = forms.clone_version(first.id).await?;
        assert_eq!((cloned.version, cloned.name.as_str(), &cloned.definition), (3, "tea", &first.definition));
        assert_eq!(forms.find(cloned.id).await?, cloned);
        assert_eq!(forms.find_by_name_and_version("tea", 3).await?, cloned);
        let newest = forms.list_versions("tea", &PageRequest::first(2)).await?;
        assert_eq!(newest.items.iter().map(|form| form.version).collect::<Vec<_>>(), [3, 2]);
        let rest = forms.list_versions("tea", &PageRequest { limit: 2, after: newest.next }).await?;
        assert_eq!((rest.items.len(), rest.items[0].id, rest.next), (1, first.id, None));
        forms.publish(second.id).await?;
        assert_eq!(forms.find_active("tea").await?.id, second.id);
        let mut all = Vec::new();
        let mut page = PageRequest::first(3);
        loop {
            let next = forms.list(&FormDefinitionFilter::default(), &page).await?;
            all.extend(next.items.into_iter().map(|form| format!("{} {}", form.name, form.version)));
            page.after = next.next;
            if page.after.is_none() {
                break;
            }
        }
        assert_eq!(all, ["coffee 1", "tea 1", "tea 2", "tea 3"]);
        let active = FormDefinitionFilter { status: Some(FormDefinitionStatus::Active) };
        let active = forms.list(&active, &PageRequest::default()).await?.items;
        assert_eq!(active.iter().map(|form| form.id).collect::<Vec<_>>(), [second.id]);
        Ok(())
    })
    .await
    .unwrap();
}

#[rstest]
#[case("  ", json!({}), None, "name is empty")]
#[case(&"n".repeat(101), json!({}), None, "name has 101 characters, allowed are 1 to 100")]
#[case("tea", json!("text"), None, "definition is no JSON object or boolean")]
#[case("tea", json!({"a\u{0}": 1}), None, "definition holds a NUL character")]
#[case("tea", json!({"a": "x".repeat(262_144)}), None, "definition is larger than 256 KB")]
#[case("tea", json!(true), Some(json!([])), "resources is no JSON object")]
#[case("tea", json!(true), Some(json!({"a": "x".repeat(524_288)})), "resources is larger than 512 KB")]
// Only with the spaces that the database writes.
#[case("tea", json!({"enum": (0..100_000).collect::<Vec<_>>().split_off(62_000)}), None, "definition is not allowed (form_definitions_definition_size)")]
#[tokio::test]
async fn what_is_no_form_is_refused(
    #[future(awt)] db: TestDatabase,
    #[case] name: &str,
    #[case] definition: Value,
    #[case] resources: Option<Value>,
    #[case] message: &str,
) {
    let home = home(&db).await;
    let new = NewFormDefinition { name, definition: &definition, resources: resources.as_ref(), assert_formats: true };
    let error =
        db.tenant_tx("create", &home.context, async |tx| tx.form_definitions().create(new).await).await.unwrap_err();
    assert_eq!(error.to_string(), message);
    let draft = draft_form(&db, &home, "tea", &[]).await;
    let changes =
        FormDefinitionChanges { definition: Some(&definition), resources: resources.as_ref(), assert_formats: None };
    let update = db
        .tenant_tx("update", &home.context, async |tx| tx.form_definitions().update(draft.id, 0, changes).await)
        .await;
    if message.starts_with("name") {
        update.unwrap();
    } else {
        assert_eq!(update.unwrap_err().to_string(), message);
    }
}

#[rstest]
#[tokio::test]
async fn only_a_draft_is_edited_or_deleted(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let draft = draft_form(&db, &home, "tea", &["title"]).await;
    let (id, schema) = (draft.id, json!({"required": ["cups"]}));
    let update = async |read, definition| {
        let changes = FormDefinitionChanges { definition, ..FormDefinitionChanges::default() };
        db.tenant_tx("update", &home.context, async |tx| tx.form_definitions().update(id, read, changes).await).await
    };
    let updated = update(0, Some(&schema)).await.unwrap();
    assert_eq!((updated.lock_version, &updated.definition), (1, &schema));
    assert!(matches!(update(0, Some(&schema)).await, Err(Error::StaleVersion { expected: 0, found: 1, .. })));
    assert_eq!(update(1, None).await.unwrap(), updated, "nothing to change");
    let resources = json!({"https://example.com/cup": {"type": "integer"}});
    let both = FormDefinitionChanges { resources: Some(&resources), assert_formats: Some(true), definition: None };
    let updated = db
        .tenant_tx("update", &home.context, async |tx| tx.form_definitions().update(id, 1, both).await)
        .await
        .unwrap();
    assert_eq!((updated.resources, updated.assert_formats), (resources, true));

    let published =
        db.tenant_tx("publish", &home.context, async |tx| tx.form_definitions().publish(id).await).await.unwrap();
    let published = published.definition;
    let error = update(published.lock_version, Some(&schema)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("form_definition {id} is active: edit is not possible"));
    let delete =
        async |id| db.tenant_tx("delete", &home.context, async |tx| tx.form_definitions().delete(id).await).await;
    let error = delete(id).await.unwrap_err();
    assert_eq!(error.to_string(), format!("form_definition {id} is active: delete is not possible"));
    let other = draft_form(&db, &home, "tea", &[]).await;
    assert_eq!(delete(other.id).await.unwrap().id, other.id);
    assert!(matches!(delete(other.id).await, Err(Error::NotFound { .. })));
}

/// A form of another tenant is as absent as one that never was.
#[rstest]
#[tokio::test]
async fn another_tenant_has_none_of_it(#[future(awt)] db: TestDatabase) {
    let (mine, other) = (home(&db).await, home(&db).await);
    let draft = draft_form(&db, &other, "tea", &["title"]).await;
    let active = form(&db, &other, "coffee", &[]).await;
    let published = filled_in(&db, &other, &active, &json!({"title": "Tea"}), true).await;
    let changes = FormDefinitionChanges { assert_formats: Some(true), ..FormDefinitionChanges::default() };
    for id in [draft.id, active.id, FormDefinitionId::new()] {
        let absent = |error: Error| assert_eq!(error.to_string(), format!("form_definition {id} does not exist"));
        let mine = &mine.context;
        absent(db.tenant_tx("find", mine, async |tx| tx.form_definitions().find(id).await).await.unwrap_err());
        absent(
            db.tenant_tx("edit", mine, async |tx| tx.form_definitions().update(id, 0, changes).await)
                .await
                .unwrap_err(),
        );
        absent(db.tenant_tx("publish", mine, async |tx| tx.form_definitions().publish(id).await).await.unwrap_err());
        absent(db.tenant_tx("archive", mine, async |tx| tx.form_definitions().archive(id).await).await.unwrap_err());
        absent(db.tenant_tx("delete", mine, async |tx| tx.form_definitions().delete(id).await).await.unwrap_err());
        absent(
            db.tenant_tx("clone", mine, async |tx| tx.form_definitions().clone_version(id).await).await.unwrap_err(),
        );
    }
    let mut app = as_app(&db, &mine).await;
    assert_eq!(number(&mut app, "SELECT count(*) FROM form_definitions").await, 0);
    let insert = |tenant| {
        format!(
            "INSERT INTO form_submissions (tenant_id, form_definition_id, form_version, data) VALUES ('{tenant}', '{}', 1, '{{}}')",
            active.id
        )
    };
    assert_eq!(refused(&mut app, &insert(mine.tenant)).await, "form_definition_id refers to a row that does not exist");
    assert!(refused(&mut app, &insert(other.tenant)).await.starts_with("not allowed: new row violates row-level"));
    let give = format!("UPDATE form_submissions SET data = '{{}}' WHERE id = '{}'", published.id);
    app.batch_execute(&give).await.unwrap();
    let there = db.tenant_tx("find", &other.context, async |tx| tx.form_submissions().find(published.id).await).await;
    assert_eq!(there.unwrap(), published);
}

/// What was published stays, whoever writes the SQL; each column is tried.
#[rstest]
#[tokio::test]
async fn a_published_version_never_changes(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &["title"]).await;
    let (mut app, mut system) = (as_app(&db, &home).await, as_system(&db).await);
    let rows = "SELECT md5(string_agg(to_jsonb(f)::text, '' ORDER BY id)) FROM form_definitions AS f";
    let before = texts(&mut system, rows).await;
    for change in [
        "id = gen_random_uuid()",
        "name = 'other'",
        "version = 7",
        "definition = '{}'",
        "definition = 'true'",
        "resources = '{\"a\": true}'",
        "assert_formats = true",
        "program = '{}'",
        "published_at = now() + interval '1 s'",
        "status = 'archived', definition = '{}'",
    ] {
        for client in [&mut app, &mut system] {
            let error = refused(client, &format!("UPDATE form_definitions SET {change}")).await;
            assert_eq!(error, "definition is not allowed (form_definitions_definition_published)", "{change}");
        }
    }
    for (change, error) in [
        ("status = 'draft'", "status is not allowed (form_definitions_status_transition)"),
        ("program = NULL", "program is not allowed (form_definitions_program_check)"),
        ("published_at = NULL", "published_at is not allowed (form_definitions_published_at_check)"),
    ] {
        assert_eq!(refused(&mut app, &format!("UPDATE form_definitions SET {change}")).await, error, "{change}");
    }
    // The system may set any status, and still makes no draft of what was published.
    let undo =
        "UPDATE form_definitions SET status = 'draft', program = NULL, compiled_bytes = NULL, published_at = NULL";
    assert!(refused(&mut system, undo).await.contains("form_definitions_definition_published"));
    let delete = "DELETE FROM form_definitions";
    assert_eq!(refused(&mut app, delete).await, "status is not allowed (form_definitions_status_keep)");
    assert!(refused(&mut system, delete).await.starts_with("not allowed"));
    assert_eq!(texts(&mut system, rows).await, before);
    let archived =
        db.tenant_tx("archive", &home.context, async |tx| tx.form_definitions().archive(form.id).await).await;
    assert_eq!(archived.unwrap().status, FormDefinitionStatus::Archived);
    assert!(refused(&mut app, "UPDATE form_definitions SET name = 'other'").await.contains("definition_published"));
    assert!(refused(&mut app, delete).await.contains("form_definitions_status_keep"));
}

/// Clients that write SQL begin with a draft as well, and keep one active version a name.
#[rstest]
#[case("'draft', NULL, now()", "published_at is not allowed (form_definitions_published_at_check)")]
#[case("'draft', '{}', NULL", "program is not allowed (form_definitions_program_check)")]
#[case("'active', '{}', now()", "status is not allowed (form_definitions_status_start)")]
#[case("'archived', '{}', now()", "status is not allowed (form_definitions_status_start)")]
#[case("'active', NULL, now()", "program is not allowed (form_definitions_program_check)")]
#[case("'published', '{}', now()", "status is not allowed (form_definitions_status_check)")]
#[tokio::test]
async fn a_form_starts_as_a_draft(#[future(awt)] db: TestDatabase, #[case] values: &str, #[case] message: &str) {
    let home = home(&db).await;
    let insert = format!(
        "INSERT INTO form_definitions (tenant_id, name, definition, status, program, published_at) VALUES ('{}', 'tea', '{{}}', {values})",
        home.tenant
    );
    assert_eq!(refused(&mut as_app(&db, &home).await, &insert).await, message);
    // The seeds alone publish at once, and one version a name.
    let mut system = as_system(&db).await;
    let seeded = system.batch_execute(&insert).await;
    assert_eq!(seeded.is_ok(), message.contains("_start"));
    if values.starts_with("'active', '{}'") {
        let second = insert.replace("(tenant_id,", "(version, tenant_id,").replace("VALUES (", "VALUES (2, ");
        let error = refused(&mut system, &second).await;
        assert_eq!(error, "name is in conflict with another row (form_definitions_name_active)");
    }
}

/// Its forms and what was filled in go with a tenant, published or not; those of others stay.
#[rstest]
#[tokio::test]
async fn a_tenant_takes_its_forms_along(#[future(awt)] db: TestDatabase) {
    let (leaving, staying) = (home(&db).await, home(&db).await);
    for home in [&leaving, &staying] {
        let form = form(&db, home, "tea", &["title"]).await;
        draft_form(&db, home, "tea", &["title"]).await;
        filled_in(&db, home, &form, &json!({"title": "Tea"}), true).await;
    }
    let mut system = as_system(&db).await;
    execute(&mut system, &format!("DELETE FROM tenants WHERE id = '{}'", leaving.tenant)).await;
    for (table, rows) in [("form_definitions", 2), ("form_submissions", 1)] {
        assert_eq!(number(&mut system, &format!("SELECT count(*) FROM {table}")).await, rows);
        let left = format!("SELECT count(*) FROM {table} WHERE tenant_id = '{}'", staying.tenant);
        assert_eq!(number(&mut system, &left).await, rows);
    }
    let context = TenantContext::new(staying.tenant);
    db.tenant_tx("find", &context, async |tx| tx.form_definitions().find_active("tea").await).await.unwrap();
}
