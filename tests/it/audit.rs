//! The audit log: what is recorded, what is redacted, who can read it, and that nobody can rewrite it.

use std::collections::{BTreeMap, BTreeSet};

use bedplate::database::DatabaseName;
use bedplate::models::{
    AuditEntry, AuditFilter, AuditedEntity, NewApiKey, OrganizationRole, PageRequest, TenantId, UserChanges, UserId,
};
use bedplate::{Error, Result, TenantContext};
use chrono::Utc;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::server::server;
use crate::support::{Home, TestDatabase, connection, db, execute, home, migrated, number, organization, texts, user};

async fn entries(db: &TestDatabase, home: &Home, filter: AuditFilter) -> Vec<AuditEntry> {
    let page = PageRequest::first(200);
    db.tenant_tx("entries", &home.context, async |tx| tx.audit().list(&filter, &page).await).await.unwrap().items
}

fn about(entity: impl Into<AuditedEntity>) -> AuditFilter {
    AuditFilter { entity: Some(entity.into()), ..AuditFilter::default() }
}

/// Who, when, from where; and of an update the changed columns alone.
#[rstest]
#[tokio::test]
async fn a_change_is_recorded_with_who_and_from_where(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let ada = user(&db, &home, "ada").await;
    let correlation = Uuid::now_v7();
    let context = home
        .context
        .clone()
        .correlation(correlation)
        .ip_address("2001:db8::7".parse().unwrap())
        .user_agent("it's \\ \"quoted\"; DROP TABLE users; --");
    let before = Utc::now();
    let changes = UserChanges { name: Some("Ada Lovelace"), ..UserChanges::default() };
    db.tenant_tx("change", &context, async |tx| tx.users().update(ada, changes).await).await.unwrap();
    let mine = entries(&db, &home, about(ada)).await;
    let [update, insert] = mine.as_slice() else { panic!("{mine:?}") };
    assert_eq!((update.action.as_str(), update.user_id), ("update", Some(home.user)));
    assert_eq!(
        (update.correlation_id, update.ip_address.unwrap().to_string()),
        (Some(correlation), "2001:db8::7/128".into())
    );
    assert_eq!(update.user_agent.as_deref(), Some("it's \\ \"quoted\"; DROP TABLE users; --"));
    assert!(update.created_at >= before && update.created_at <= Utc::now());
    let keys = |value: &Option<Value>| value.as_ref().unwrap().as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (keys(&update.old_value), keys(&update.new_value)),
        (vec!["name".into(), "updated_at".into()], vec!["name".into(), "updated_at".into()])
    );
    assert_eq!(
        (&update.old_value.as_ref().unwrap()["name"], &update.new_value.as_ref().unwrap()["name"]),
        (&json!("ada"), &json!("Ada Lovelace"))
    );
    assert_eq!((insert.action.as_str(), &insert.old_value), ("insert", &None));
    assert_eq!(insert.new_value.as_ref().unwrap()["email"], "ada@example.com");
    assert_eq!((insert.correlation_id, insert.ip_address, &insert.user_agent), (None, None, &None));
    // The system has no user; a key of two columns is one text.
    let system = entries(&db, &home, about(home.tenant)).await;
    assert_eq!((system.len(), system[0].user_id, system[0].action.as_str()), (1, None, "insert"));
    let lab = organization(&db, &home, "lab").await.id;
    let member = db
        .tenant_tx("add", &home.context, async |tx| {
            let member = tx.memberships().add(lab, ada, OrganizationRole::Member).await?;
            tx.memberships().remove(lab, ada).await?;
            Ok(member)
        })
        .await
        .unwrap();
    let mine = entries(&db, &home, about(&member)).await;
    assert_eq!(mine.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["delete", "insert"]);
    assert_eq!(mine[0].old_value.as_ref().unwrap()["role"], "member");
}

/// Every table of the application, in both directions: audited, or exempt for a reason.
#[rstest]
// Events and messages are a log themselves, and where a subscriber stands changes with each batch.
#[case::main(
    DatabaseName::Main,
    &[
        "audit_log", "event_subscriptions", "event_tags", "events", "idempotency_keys", "outbox_events", "outbox_stopped_endpoints", "processed_events",
        "sessions",
    ],
    10
)]
#[case::rfq(DatabaseName::Rfq, &["audit_log", "outbox_events", "outbox_stopped_endpoints", "processed_events"], 2)]
#[tokio::test]
async fn every_business_table_is_audited(
    #[case] of: DatabaseName,
    #[case] exempt_tables: &[&str],
    #[case] least: usize,
) {
    let db = migrated(of).await;
    let mut owner = connection(&db.url).await;
    let tables: BTreeSet<_> = texts(
        &mut owner,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') \
            AND NOT relispartition AND NOT starts_with(relname, '__')",
    )
    .await
    .into_iter()
    .collect();
    let audited = texts(
        &mut owner,
        // INSERT, DELETE, UPDATE, each row, after: 4 + 8 + 16 + 1. Its first argument is the table's name.
        "SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'audit' AND tgtype = 29 AND tgenabled = 'O' \
            AND starts_with(encode(tgargs, 'escape'), tgrelid::regclass || '\\000')",
    )
    .await;
    let exempt: BTreeSet<_> = tables.difference(&audited.iter().cloned().collect()).cloned().collect();
    assert_eq!(exempt, exempt_tables.iter().map(|table| (*table).to_owned()).collect());
    assert!(audited.len() >= least);
}

#[rstest]
#[tokio::test]
async fn secrets_are_redacted_by_their_names(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let hash = bedplate::models::PasswordHash::new(&"another password".into()).await.unwrap();
    let new = NewApiKey { user_id: home.user, organization_id: None, name: "Key", scopes: &[], expires_at: None };
    let key = db
        .tenant_tx("secrets", &home.context, async |tx| {
            tx.users().set_password(home.user, &hash).await?;
            Ok(tx.api_keys().create(new).await?.0.id)
        })
        .await
        .unwrap();
    let password = entries(&db, &home, about(home.user)).await;
    let redacted = json!("[redacted]");
    assert_eq!(password[0].new_value.as_ref().unwrap()["password_hash"], redacted, "that it changed is told");
    assert_eq!(password[0].old_value.as_ref().unwrap()["password_hash"], redacted);
    assert_eq!(password[1].new_value.as_ref().unwrap()["password_hash"], redacted);
    assert_eq!(entries(&db, &home, about(key)).await[0].new_value.as_ref().unwrap()["key_hash"], redacted);
    let mut app = connection(&db.url).await;
    execute(&mut app, "SET ROLE bedplate_system").await;
    let names = "'{\"password\": 1, \"access_token\": 2, \"client_secret_2\": 3, \"key_hash\": 4, \"tokens\": 5, \
                   \"token_count_max\": 6, \"hashtag\": 7, \"secretary\": 8, \"api_token\": null, \"name\": 9}'";
    let kept =
        texts(&mut app, &format!("SELECT key FROM jsonb_each(redact({names})) WHERE value <> '\"[redacted]\"'")).await;
    assert_eq!(
        kept.into_iter().collect::<BTreeSet<_>>(),
        ["api_token", "hashtag", "name", "secretary"].map(str::to_owned).into()
    );
    let all = texts(&mut app, "SELECT l::text FROM audit_log AS l").await.concat();
    assert!(!all.contains("$argon2id$"));
}

/// Every role, on the log and on each of its months: what is there stays as it is.
#[rstest]
#[tokio::test]
async fn nobody_changes_or_removes_an_entry(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut owner = connection(&db.url).await;
    let tables =
        texts(&mut owner, "SELECT relname FROM pg_class WHERE relname ~ '^audit_log' AND relkind IN ('r', 'p')").await;
    assert!(tables.len() >= 6, "{tables:?}");
    let checksum = "SELECT md5(string_agg(l::text, '' ORDER BY sequence)) FROM audit_log AS l";
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let before = texts(&mut owner, checksum).await;
    execute(&mut owner, "RESET ROLE").await;

    let mut sessions: Vec<(String, AsyncPgConnection)> = Vec::new();
    for role in ["none", "bedplate_app", "bedplate_system", "bedplate_session"] {
        for (login, url) in [("login", db.config().url()), ("owner", &db.url)] {
            let mut session = connection(url).await;
            execute(&mut session, &format!("SET ROLE {role}; SET app.tenant_id = '{}'", home.tenant)).await;
            sessions.push((format!("{login} as {role}"), session));
        }
    }
    // The owner lifts what it can by GRANT and by ALTER TABLE; then the trigger is left.
    let mut lifted = connection(&db.url).await;
    for table in &tables {
        execute(
            &mut lifted,
            &format!("GRANT ALL ON {table} TO CURRENT_USER; ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"),
        )
        .await;
    }
    sessions.push(("the owner with every right".into(), lifted));
    if let Some(admin) = &server().admin {
        let admin = admin.with_database(db.url.database()).unwrap();
        let mut definer = connection(&admin).await;
        execute(&mut definer, "SET ROLE bedplate_definer").await;
        sessions.push(("bedplate_definer".into(), definer));
        sessions.push(("a superuser".into(), connection(&admin).await));
        let mut replica = connection(&admin).await;
        execute(&mut replica, "SET session_replication_role = replica").await;
        sessions.push(("a superuser that replicates".into(), replica));
    }
    for (who, session) in &mut sessions {
        for table in &tables {
            for statement in [
                format!("UPDATE {table} SET user_id = NULL"),
                format!("UPDATE {table} SET user_id = NULL WHERE false"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table}"),
                format!("TRUNCATE {table} CASCADE"),
                format!(
                    "INSERT INTO {table} (tenant_id, action, entity_type, entity_id) VALUES ('{}', 'forged', 'users', '1') \
                         ON CONFLICT (tenant_id, created_at, sequence) DO UPDATE SET action = 'forged'",
                    home.tenant
                ),
            ] {
                let outcome = session.batch_execute(&statement).await.map_err(Error::from);
                assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{who}: {statement}: {outcome:?}");
            }
        }
    }
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(texts(&mut owner, checksum).await, before);
}

/// No role of the application writes an entry either, but by `record_audit`, which says who it was.
#[rstest]
#[tokio::test]
async fn an_entry_is_not_forged(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut app = connection(db.config().url()).await;
    for role in ["bedplate_app", "bedplate_system", "bedplate_session"] {
        execute(&mut app, &format!("SET ROLE {role}; SET app.tenant_id = '{}'", home.tenant)).await;
        let insert = format!(
            "INSERT INTO audit_log (tenant_id, action, entity_type, entity_id) VALUES ('{}', 'forged', 'users', '1')",
            home.tenant
        );
        assert!(
            matches!(app.batch_execute(&insert).await.map_err(Error::from), Err(Error::Forbidden { .. })),
            "{role}"
        );
    }
    let record = async |action: &'static str, details: Value| {
        db.tenant_tx("record", &home.context, async |tx| tx.audit().record(action, home.user, &details).await).await
    };
    record("users.exported", json!({"rows": 3})).await.unwrap();
    let entry = entries(&db, &home, about(home.user)).await.remove(0);
    assert_eq!(
        (entry.action.as_str(), entry.user_id, entry.details),
        ("users.exported", Some(home.user), json!({"rows": 3}))
    );
    for (action, details, message) in [
        ("insert", json!({}), "action is not allowed (audit_log_action_reserved)"),
        ("Not a word", json!({}), "action is not allowed (audit_log_action_check)"),
        ("", json!({}), "action is empty"),
        ("users.exported", json!([1]), "details is not allowed (audit_log_details_check)"),
    ] {
        assert_eq!(record(action, details).await.unwrap_err().to_string(), message);
    }
}

#[rstest]
#[tokio::test]
async fn entries_are_found_by_row_user_request_and_time(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (ada, request) = (user(&db, &home, "ada").await, Uuid::now_v7());
    let as_ada = TenantContext::new(home.tenant).acting_as(ada).correlation(request);
    let start = Utc::now();
    for n in 0..5 {
        let name = format!("Name {n}");
        let changes = UserChanges { name: Some(&name), ..UserChanges::default() };
        db.tenant_tx("change", &as_ada, async |tx| tx.users().update(home.user, changes).await).await.unwrap();
    }
    let all = entries(&db, &home, AuditFilter::default()).await;
    assert!(all.is_sorted_by(|a, b| (a.created_at, a.sequence) > (b.created_at, b.sequence)), "newest first");
    let by = AuditFilter::default;
    assert_eq!(entries(&db, &home, AuditFilter { user_id: Some(ada), ..by() }).await.len(), 5);
    assert_eq!(entries(&db, &home, AuditFilter { correlation_id: Some(request), ..by() }).await.len(), 5);
    assert_eq!(
        entries(&db, &home, AuditFilter { user_id: Some(home.user), correlation_id: Some(request), ..by() }).await,
        []
    );
    assert_eq!(entries(&db, &home, about(home.user)).await.len(), 6);
    assert_eq!(entries(&db, &home, AuditFilter { from: Some(start), ..by() }).await.len(), 5);
    assert_eq!(entries(&db, &home, AuditFilter { until: Some(start), ..by() }).await.len(), all.len() - 5);
    let (mut paged, mut page) = (Vec::new(), PageRequest::first(2));
    loop {
        let next = db.tenant_tx("page", &home.context, async |tx| tx.audit().list(&by(), &page).await).await.unwrap();
        paged.extend(next.items);
        let Some(after) = next.next else { break };
        page.after = Some(after);
    }
    assert_eq!(paged, all);
    let neighbour = crate::support::home(&db).await;
    assert_eq!(entries(&db, &neighbour, about(home.user)).await, []);
}

/// The time of an entry goes on inside a transaction, and the sequence orders what one clock tick holds.
#[rstest]
#[tokio::test]
async fn changes_of_one_transaction_are_in_order(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    db.tenant_tx("many", &home.context, async |tx| {
        for n in 0..20 {
            let name = format!("Name {n}");
            let changes = UserChanges { name: Some(&name), ..UserChanges::default() };
            tx.users().update(home.user, changes).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let names: Vec<_> = entries(&db, &home, about(home.user))
        .await
        .into_iter()
        .rev()
        .map(|entry| entry.new_value.unwrap()["name"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<_> = std::iter::once("Owner".to_owned()).chain((0..20).map(|n| format!("Name {n}"))).collect();
    assert_eq!(names, expected);
}

#[rstest]
#[tokio::test]
async fn a_row_that_was_not_there_is_none_and_a_table_that_is_not_audited_is_an_error(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let before = Utc::now();
    let ada = user(&db, &home, "ada").await;
    let as_of = async |context: &TenantContext, entity: AuditedEntity, time| -> Result<Option<Value>> {
        db.tenant_tx("as_of", context, async |tx| tx.audit().as_of(entity.clone(), time).await).await
    };
    assert_eq!(as_of(&home.context, ada.into(), before).await.unwrap(), None);
    assert_eq!(as_of(&home.context, ada.into(), Utc::now()).await.unwrap().unwrap()["username"], "ada");
    assert_eq!(as_of(&home.context, UserId::new().into(), Utc::now()).await.unwrap(), None);
    let neighbour = crate::support::home(&db).await;
    assert_eq!(as_of(&neighbour.context, ada.into(), Utc::now()).await.unwrap(), None, "another tenant's");
    for wrong in ["sessions", "audit_log", "users; DROP TABLE users", ""] {
        let entity = AuditedEntity { entity_type: wrong.into(), entity_id: ada.to_string() };
        assert_eq!(
            as_of(&home.context, entity, Utc::now()).await.unwrap_err().to_string(),
            "entity_type is not allowed (audit_log_entity_type_audited)"
        );
    }
}

/// 1. A database has rows, and no audit log yet.
/// 2. The migrations begin one: each row is in it, as it was.
/// 3. The log answers for every time from then on, and says that it does not for those before.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_log_begins_with_the_rows_that_are_there(#[future(awt)] db: TestDatabase) {
    use bedplate::database::migrate::{self, Direction, Source};
    // 1
    migrate::run(&db.url, &Source::Embedded(DatabaseName::Main), Direction::DownTo("2026-11-20-101400".into()), |_| {})
        .await
        .unwrap();
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await;
    let before = Utc::now();
    // 2
    migrate::run(&db.url, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await.unwrap();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let baseline = texts(&mut owner, "SELECT entity_type || ' ' || action FROM audit_log ORDER BY 1").await;
    assert_eq!(
        baseline,
        ["organizations baseline", "tenants baseline", "user_organizations baseline", "users baseline"]
    );
    assert!(!texts(&mut owner, "SELECT l::text FROM audit_log AS l").await.concat().contains("$argon2id$"));
    // The right to write it was lent.
    assert_eq!(number(&mut owner, "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE relname = 'audit_log' AND grantee = 'bedplate_system'::regrole AND privilege_type = 'INSERT'").await, 0);
    // 3
    let now = Utc::now();
    let as_of =
        async |time| db.tenant_tx("as_of", &home.context, async |tx| tx.audit().as_of(lab.id, time).await).await;
    assert_eq!(as_of(now).await.unwrap().unwrap()["slug"], "lab");
    let error = as_of(before).await.unwrap_err();
    assert_eq!(error.to_string(), "created_at is not allowed (audit_log_created_at_reach)");
    // What is gone since is still answered for.
    db.tenant_tx("delete", &home.context, async |tx| tx.organizations().delete(lab.id).await).await.unwrap();
    assert_eq!(
        (as_of(now).await.unwrap().unwrap()["slug"].as_str(), as_of(Utc::now()).await.unwrap()),
        (Some("lab"), None)
    );
}

/// A trigger's settings for a client of another language that sets none, or nonsense.
#[rstest]
#[tokio::test]
async fn a_client_without_context_is_recorded_too(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut app = connection(db.config().url()).await;
    execute(
        &mut app,
        &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'; UPDATE users SET name = 'Other'", home.tenant),
    )
    .await;
    let last = entries(&db, &home, about(home.user)).await.remove(0);
    assert_eq!((last.action.as_str(), last.user_id, last.correlation_id), ("update", None, None));
    // An update that changes nothing leaves nothing, where no trigger changes the time either.
    execute(
        &mut app,
        &format!(
            "INSERT INTO user_roles (tenant_id, user_id, role) VALUES ('{}', '{}', 'trader')",
            home.tenant, home.user
        ),
    )
    .await;
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system; UPDATE user_roles SET role = role").await;
    let actions = texts(&mut owner, "SELECT action FROM audit_log WHERE entity_type = 'user_roles'").await;
    assert_eq!(actions, ["insert"]);
    execute(&mut app, "SET app.user_id = 'nobody'").await;
    assert!(app.batch_execute("UPDATE users SET name = 'Third'").await.is_err(), "an actor that is none is refused");
}

/// The tenant of an entry is the row's, whoever changes it: one transaction of the system over two tenants.
#[rstest]
#[tokio::test]
async fn each_tenant_has_its_own_entries(#[future(awt)] db: TestDatabase) {
    let homes = [home(&db).await, home(&db).await];
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system; UPDATE users SET name = 'Renamed'").await;
    let mut seen = BTreeMap::<TenantId, usize>::new();
    for home in &homes {
        let renamed = entries(&db, home, about(home.user)).await;
        assert!(renamed.iter().all(|entry| entry.tenant_id == home.tenant));
        seen.insert(home.tenant, renamed.len());
    }
    assert_eq!(seen.values().copied().collect::<Vec<_>>(), [2, 2]);
}
