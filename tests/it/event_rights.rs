//! Events are appended by `append_events()`, for the transaction's tenant, and changed by nobody.

use bedplate::events::{AppendCondition, AppendConflict, EventId, ExpectedVersion, ReadFrom, Stream};
use bedplate::sql::quote_literal;
use bedplate::{Error, TenantContext};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::event_conditions::{append_sql, condition, event, query};
use crate::support::server::server;
use crate::support::{Home, TestDatabase, as_app, connection, db, execute, home, number, texts};

/// Everything of both tables.
async fn contents(db: &TestDatabase) -> Vec<String> {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let rows = "SELECT e::text FROM events AS e UNION ALL SELECT t::text FROM event_tags AS t ORDER BY 1";
    texts(&mut owner, rows).await
}

/// Each login as each role, the owner with every right that it can give itself, and a superuser that replicates,
/// which skips triggers. The definer alone deletes, for `delete_events_of_tenant()`; a superuser, and an owner that
/// lifts the policies, can also insert, for a restore has to.
#[rstest]
#[tokio::test]
async fn nobody_writes_past_the_function(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    db.append_events(&home.context, &[event("T x y")], None).await.unwrap();
    let before = contents(&db).await;
    let mut sessions: Vec<(String, AsyncPgConnection)> = Vec::new();
    for role in ["none", "bedplate_app", "bedplate_system", "bedplate_session"] {
        for (login, url) in [("login", db.config().url()), ("owner", &db.url)] {
            let mut session = connection(url).await;
            execute(&mut session, &format!("SET ROLE {role}; SET app.tenant_id = '{}'", home.tenant)).await;
            sessions.push((format!("{login} as {role}"), session));
        }
    }
    let tenant = home.tenant;
    let inserts = [
        format!("INSERT INTO events (tenant_id, event_type, event_data) VALUES ('{tenant}', 'T', '{{}}')"),
        format!("INSERT INTO event_tags (tenant_id, tag, position) VALUES ('{tenant}', 1, 1)"),
    ];
    let writes = [
        "UPDATE events SET event_type = 'U'",
        "UPDATE events SET event_type = 'U' WHERE false",
        "DELETE FROM events",
        "TRUNCATE events",
        "TRUNCATE events CASCADE",
        "UPDATE event_tags SET tag = 1",
        "DELETE FROM event_tags",
        "TRUNCATE event_tags, events",
        "INSERT INTO event_tags SELECT tenant_id, tag, position FROM event_tags \
            ON CONFLICT (tenant_id, tag, position) DO UPDATE SET tag = 1",
    ];
    for (who, session) in &mut sessions {
        for statement in writes.into_iter().chain(inserts.iter().map(String::as_str)) {
            let outcome = session.batch_execute(statement).await.map_err(Error::from);
            assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{who}: {statement}: {outcome:?}");
        }
    }
    let mut lifted = connection(&db.url).await;
    for table in ["events", "event_tags"] {
        let lift = format!("GRANT ALL ON {table} TO CURRENT_USER; ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY");
        execute(&mut lifted, &lift).await;
    }
    let mut sessions = vec![("the owner with every right", lifted)];
    if let Some(admin) = &server().admin {
        let admin = admin.with_database(db.url.database()).unwrap();
        sessions.push(("a superuser", connection(&admin).await));
        let mut replica = connection(&admin).await;
        execute(&mut replica, "SET session_replication_role = replica").await;
        sessions.push(("a superuser that replicates", replica));
    }
    for (who, session) in &mut sessions {
        for statement in writes {
            let outcome = session.batch_execute(statement).await.map_err(Error::from);
            assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{who}: {statement}: {outcome:?}");
        }
    }
    assert_eq!(contents(&db).await, before);
}

/// The function belongs to the application's role alone, and works for the tenant of the transaction.
#[rstest]
#[case::nobody("RESET ROLE", "permission denied for function append_events")]
#[case::system("SET ROLE bedplate_system", "permission denied for function append_events")]
#[case::session("SET ROLE bedplate_session", "permission denied for function append_events")]
#[case::without_a_tenant("SET ROLE bedplate_app", "permission denied: no tenant is set")]
#[case::with_an_empty_tenant("SET ROLE bedplate_app; SET app.tenant_id = ''", "permission denied: no tenant is set")]
#[tokio::test]
async fn appends_have_a_tenant(#[future(awt)] db: TestDatabase, #[case] role: &str, #[case] message: &str) {
    for condition in [None, condition("x")] {
        let mut login = connection(db.config().url()).await;
        execute(&mut login, role).await;
        let error = login.batch_execute(&append_sql(&[event("T x")], condition.as_ref())).await.map_err(Error::from);
        assert_eq!(error.unwrap_err().to_string(), format!("not allowed: {message}"));
    }
    assert_eq!(contents(&db).await, Vec::<String>::new());
}

/// The parts of `append_events()` are nobody's to call.
#[rstest]
#[case("append_any_events('[]', NULL, NULL)")]
#[case("check_event_condition(gen_random_uuid(), '{}', NULL)")]
#[case("check_event_stream(gen_random_uuid(), '{}')")]
#[case("event_was_seen('1', 1, NULL)")]
#[tokio::test]
async fn its_parts_are_closed(#[future(awt)] db: TestDatabase, #[case] call: &str) {
    let home = home(&db).await;
    let error = as_app(&db, &home).await.batch_execute(&format!("SELECT {call}")).await.map_err(Error::from);
    assert!(matches!(error, Err(Error::Forbidden { .. })), "{error:?}");
}

/// An event cannot say its own tenant, position, time, transaction or place in a stream.
#[rstest]
#[tokio::test]
async fn an_event_is_not_forged(#[future(awt)] db: TestDatabase) {
    let (here, there) = (home(&db).await, home(&db).await);
    let forged = [
        ("tenant_id", json!(there.tenant)),
        ("position", json!(7000)),
        ("created_at", json!("2001-01-01")),
        ("transaction_id", json!("3")),
        ("event_version", json!(9)),
        ("aggregate_id", json!(Uuid::now_v7())),
        ("aggregate_type", json!("order")),
    ];
    let mut app = as_app(&db, &here).await;
    for (key, value) in forged {
        let mut event = json!({"event_type": "T", "event_data": 1, "tags": ["t:x"]});
        event[key] = value;
        let append = format!("SELECT append_events({})", quote_literal(&json!([event]).to_string()));
        let error = app.batch_execute(&append).await.map_err(Error::from).expect_err(key);
        assert!(matches!(error, Error::Invalid { .. }), "{key}: {error:?}");
    }
    for home in [&here, &there] {
        assert_eq!(number(&mut as_app(&db, home).await, "SELECT count(*) FROM events").await, 0);
    }
}

/// The same tags, types, ids and streams in two tenants: neither sees the other's events, nor has them in its way.
#[rstest]
#[tokio::test]
async fn a_tenant_meets_no_events_of_another(#[future(awt)] db: TestDatabase) {
    let (here, there) = (home(&db).await, home(&db).await);
    let (id, stream) = (EventId::new(), Stream { aggregate_type: "order", aggregate_id: Uuid::now_v7() });
    let append = async |home: &Home| {
        db.tenant_tx("append", &home.context, async |tx| {
            tx.events().append(&[event("T x").id(id)], condition("T x | x | *").as_ref()).await?;
            tx.events().append_to_stream(stream, ExpectedVersion::NoStream, &[event("T x")]).await
        })
        .await
        .unwrap();
    };
    append(&here).await;
    assert_eq!(read_all(&db, &there).await, 0);
    append(&there).await;
    for home in [&here, &there] {
        assert_eq!(read_all(&db, home).await, 4, "two of each query");
        let found = db.tenant_tx("find", &home.context, async |tx| tx.events().find(id).await).await.unwrap();
        assert_eq!(found.tenant_id, home.tenant);
    }
    let stranger = TenantContext::new(bedplate::models::TenantId::new());
    let refused = db.append_events(&stranger, &[event("T x")], None).await.unwrap_err();
    assert_eq!(refused.to_string(), "tenant_id refers to a row that does not exist");
    // A token says nothing of another tenant either, where nothing can be appended with it.
    let token = db.tenant_tx("token", &here.context, async |tx| tx.events().token().await).await.unwrap();
    db.append_events(&there.context, &[event("T x")], None).await.unwrap();
    let elsewhere = AppendCondition::fail_if(query("x")).after(token);
    assert!(matches!(
        db.append_events(&there.context, &[event("T x")], Some(&elsewhere)).await,
        Err(Error::AppendConflict { conflict: AppendConflict::StaleToken { .. } })
    ));
    db.append_events(&here.context, &[event("T x")], Some(&elsewhere)).await.unwrap();
}

/// How many events two queries find.
async fn read_all(db: &TestDatabase, home: &Home) -> usize {
    db.tenant_tx("read", &home.context, async |tx| {
        let all = tx.events().read(&query("*"), ReadFrom::Start, 100).await?;
        Ok(all.len() + tx.events().read(&query("T x"), ReadFrom::End, 100).await?.len())
    })
    .await
    .unwrap()
}
