//! Sessions: a store on a table that other languages use too.

use bedplate::models::{SessionData, SessionId};
use bedplate::tenancy::session::sign_in;
use bedplate::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;
use serde_json::json;

use crate::support::{TestDatabase, connection, db, execute, home, number, texts, user};

fn data(text: &str) -> SessionData {
    SessionData::from_iter([("note".to_owned(), json!(text))])
}

fn in_an_hour() -> DateTime<Utc> {
    // PostgreSQL keeps microseconds.
    DateTime::from_timestamp_micros((Utc::now() + TimeDelta::hours(1)).timestamp_micros()).unwrap()
}

async fn create(db: &TestDatabase, data: &SessionData, end: DateTime<Utc>) -> SessionId {
    let id = SessionId::new();
    db.session_tx("create", async |tx| tx.sessions().create(&id, data, end).await).await.unwrap();
    id
}

async fn load(db: &TestDatabase, id: &SessionId) -> Option<SessionData> {
    match db.session_tx("find", async |tx| tx.sessions().find(id).await).await {
        Err(Error::NotFound { .. }) => None,
        found => Some(found.unwrap().data),
    }
}

#[rstest]
#[tokio::test]
async fn a_session_is_created_loaded_saved_touched_and_deleted(#[future(awt)] db: TestDatabase) {
    let end = in_an_hour();
    let id = create(&db, &data("one"), end).await;
    let session = db.session_tx("find", async |tx| tx.sessions().find(&id).await).await.unwrap();
    assert_eq!((session.data, session.expires_at), (data("one"), end));
    let later = end + TimeDelta::hours(1);
    db.session_tx("save", async |tx| tx.sessions().save(&id, &data("two"), later).await).await.unwrap();
    let latest = later + TimeDelta::hours(1);
    db.session_tx("touch", async |tx| tx.sessions().touch(&id, latest).await).await.unwrap();
    let session = db.session_tx("find", async |tx| tx.sessions().find(&id).await).await.unwrap();
    assert_eq!((session.data, session.expires_at), (data("two"), latest));
    for _ in 0..2 {
        db.session_tx("delete", async |tx| tx.sessions().delete(&id).await).await.unwrap();
        assert_eq!(load(&db, &id).await, None);
    }
}

#[rstest]
#[tokio::test]
async fn a_cycled_session_is_found_by_its_new_id_alone(#[future(awt)] db: TestDatabase) {
    let old = create(&db, &data("kept"), in_an_hour()).await;
    let new = db.session_tx("cycle", async |tx| tx.sessions().cycle_id(&old).await).await.unwrap();
    assert_eq!((load(&db, &old).await, load(&db, &new).await), (None, Some(data("kept"))));
    assert_eq!(new.reveal().len(), 43, "256 bits");
    assert_eq!(format!("{new:?}"), "SessionId(…)");
}

/// Gone, or over: it is not found, and nothing brings it back.
#[rstest]
#[case::deleted("DELETE FROM sessions")]
#[case::over("UPDATE sessions SET expire = now() AT TIME ZONE 'UTC'")]
#[tokio::test]
async fn a_session_that_is_gone_stays_gone(#[future(awt)] db: TestDatabase, #[case] change: &str) {
    let id = create(&db, &data("one"), in_an_hour()).await;
    execute(&mut connection(&db.url).await, change).await;
    assert_eq!(load(&db, &id).await, None);
    let attempts: [Result<()>; 3] = [
        db.session_tx("save", async |tx| tx.sessions().save(&id, &data("two"), in_an_hour()).await).await,
        db.session_tx("touch", async |tx| tx.sessions().touch(&id, in_an_hour()).await).await,
        db.session_tx("cycle", async |tx| tx.sessions().cycle_id(&id).await.map(|_| ())).await,
    ];
    for attempt in attempts {
        let error = attempt.unwrap_err();
        assert!(matches!(error, Error::NotFound { entity: "session", .. }));
        assert!(!error.to_string().contains(id.reveal()), "the id is a secret");
    }
    assert_eq!(load(&db, &id).await, None);
}

#[rstest]
#[tokio::test]
async fn bad_input_is_refused(#[future(awt)] db: TestDatabase) {
    let id = create(&db, &data("one"), in_an_hour()).await;
    let again = db.session_tx("create", async |tx| tx.sessions().create(&id, &data("two"), in_an_hour()).await).await;
    assert!(matches!(&again, Err(Error::Conflict { field, .. }) if field == "id"), "{again:?}");
    let nul = db.session_tx("save", async |tx| tx.sessions().save(&id, &data("a\0b"), in_an_hour()).await).await;
    assert_eq!(nul.unwrap_err().to_string(), "sess holds a NUL character");
    for wrong in ["", "a\0b", "'; DROP TABLE sessions; --", &"x".repeat(10_000)] {
        assert_eq!(load(&db, &SessionId::from_client(wrong)).await, None);
    }
    assert_eq!(load(&db, &id).await, Some(data("one")));
}

#[rstest]
#[tokio::test]
async fn every_session_of_a_user_is_revoked_and_no_other(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let other_home = crate::support::home(&db).await;
    let ada = user(&db, &home, "ada").await;
    let signed_in = |tenant, user| {
        let mut data = data("signed in");
        sign_in(&mut data, tenant, user);
        data
    };
    let mine = [
        create(&db, &signed_in(home.tenant, home.user), in_an_hour()).await,
        create(&db, &signed_in(home.tenant, home.user), in_an_hour()).await,
    ];
    let others = [
        create(&db, &signed_in(home.tenant, ada), in_an_hour()).await,
        // An id is unique in its tenant alone.
        create(&db, &signed_in(other_home.tenant, home.user), in_an_hour()).await,
        create(&db, &data("nobody"), in_an_hour()).await,
    ];
    let revoke = async || {
        db.session_tx("revoke", async |tx| tx.sessions().revoke_user(home.tenant, home.user).await).await.unwrap()
    };
    assert_eq!((revoke().await, revoke().await), (2, 0));
    for id in &mine {
        assert_eq!(load(&db, id).await, None);
    }
    for id in &others {
        assert!(load(&db, id).await.is_some());
    }
}

#[rstest]
#[tokio::test]
async fn a_prune_deletes_what_is_over_in_batches(#[future(awt)] db: TestDatabase) {
    let living = create(&db, &data("living"), in_an_hour()).await;
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "INSERT INTO sessions SELECT 'over-' || n, '{}', now() AT TIME ZONE 'UTC' - n * interval '1 s' FROM generate_series(1, 25) AS n").await;
    let prune = async || db.session_tx("prune", async |tx| tx.sessions().prune(10).await).await.unwrap();
    assert_eq!([prune().await, prune().await, prune().await, prune().await], [10, 10, 5, 0]);
    assert!(load(&db, &living).await.is_some());
}

/// Whoever has no business with sessions sees none, and the session role sees nothing else.
#[rstest]
#[tokio::test]
async fn sessions_have_their_own_role(#[future(awt)] db: TestDatabase) {
    use diesel_async::SimpleAsyncConnection as _;
    home(&db).await;
    create(&db, &data("one"), in_an_hour()).await;
    let mut app = connection(db.config().url()).await;
    for role in ["bedplate_app", "bedplate_system", "bedplate_login"] {
        if role == "bedplate_login" && db.config().url().to_string() == db.url.to_string() {
            continue;
        }
        execute(&mut app, &format!("RESET ROLE; SET ROLE {role}")).await;
        let error = Error::from(app.batch_execute("SELECT sid FROM sessions").await.unwrap_err());
        assert!(matches!(error, Error::Forbidden { .. }), "{role}: {error:?}");
    }
    execute(&mut app, "SET ROLE bedplate_session").await;
    let mut owner = connection(&db.url).await;
    let others = texts(&mut owner, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname NOT IN ('sessions', '__bedplate_revoked_sessions')").await;
    assert!(others.len() > 10);
    for table in others {
        assert!(app.batch_execute(&format!("SELECT FROM {table}")).await.is_err(), "{table}");
    }
}

/// What connect-pg-simple sends (see its `index.js`), with its clock and not the server's, beside ours.
#[rstest]
#[case("UTC")]
#[case("Pacific/Auckland")]
#[tokio::test]
async fn the_statements_of_another_language_work_beside(#[future(awt)] db: TestDatabase, #[case] server_zone: &str) {
    let mut owner = connection(&db.url).await;
    // Whatever the server's zone is: that of the logins is pinned.
    execute(&mut owner, &format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''{server_zone}''', current_database()); END $$")).await;
    let mut node = connection(db.config().url()).await;
    // diesel-async sets the zone of its connections; other clients have what the server gives them.
    execute(&mut node, "RESET TimeZone; SET ROLE bedplate_session").await;
    if db.config().url().to_string() == db.url.to_string() {
        return; // One login for everything, and it is not ours to pin: `bedplate doctor` tells.
    }
    let end = Utc::now().timestamp() + 3600;
    let set = format!(
        "INSERT INTO \"sessions\" (sess, expire, sid) SELECT '{{\"cookie\":{{}},\"note\":\"node\"}}', to_timestamp({end}), 'from-node' \
         ON CONFLICT (sid) DO UPDATE SET sess = excluded.sess, expire = excluded.expire RETURNING sid"
    );
    assert_eq!(texts(&mut node, "SELECT sid FROM sessions").await, Vec::<String>::new());
    execute(&mut node, &set).await;
    execute(&mut node, &set).await;
    let session =
        db.session_tx("find", async |tx| tx.sessions().find(&SessionId::from_client("from-node")).await).await.unwrap();
    assert_eq!((session.data["note"].as_str(), session.expires_at.timestamp()), (Some("node"), end));
    let ours = create(&db, &data("rust"), in_an_hour()).await;
    let get = |now: i64| {
        format!(
            "SELECT sess ->> 'note' FROM \"sessions\" WHERE sid = '{}' AND expire >= to_timestamp({now})",
            ours.reveal()
        )
    };
    assert_eq!(texts(&mut node, &get(Utc::now().timestamp() + 3500)).await, ["rust"]);
    assert_eq!(texts(&mut node, &get(Utc::now().timestamp() + 3700)).await, Vec::<String>::new());
    assert_eq!(number(&mut node, "SELECT count(*) FROM sessions").await, 2);
}

/// What connect-pg-simple sends to save a session: its `set` (see its `index.js`).
fn set(sid: &str, note: &str) -> String {
    let end = Utc::now().timestamp() + 3600;
    format!(
        "INSERT INTO \"sessions\" (sess, expire, sid) SELECT '{{\"cookie\":{{}},\"note\":\"{note}\"}}', to_timestamp({end}), '{sid}' \
         ON CONFLICT (sid) DO UPDATE SET sess = excluded.sess, expire = excluded.expire RETURNING sid"
    )
}

/// However a session ends before its time, or within an hour afterwards: the save of a client that inserts writes nothing, and fails for nobody.
#[rstest]
#[case::deleted("DELETE FROM sessions WHERE sid = '{sid}'", true)]
#[case::of_a_user("DELETE FROM sessions WHERE sess ->> 'note' = 'one'", true)]
#[case::truncated("TRUNCATE sessions", true)]
#[case::cycled("UPDATE sessions SET sid = 'another' WHERE sid = '{sid}'", true)]
#[case::just_over(
    "UPDATE sessions SET expire = now() AT TIME ZONE 'UTC' - interval '59 min'; DELETE FROM sessions",
    true
)]
#[case::long_over(
    "UPDATE sessions SET expire = now() AT TIME ZONE 'UTC' - interval '61 min'; DELETE FROM sessions",
    false
)]
#[case::changed("UPDATE sessions SET sess = '{}'", false)]
#[tokio::test]
async fn a_revoked_id_stays_revoked_for_every_client(
    #[future(awt)] db: TestDatabase,
    #[case] change: &str,
    #[case] revoked: bool,
) {
    let mut node = connection(db.config().url()).await;
    execute(&mut node, "RESET TimeZone; SET ROLE bedplate_session").await;
    execute(&mut node, &set("from-node", "one")).await;
    execute(&mut connection(&db.url).await, &change.replace("{sid}", "from-node")).await;
    execute(&mut node, &set("from-node", "late")).await;
    execute(&mut node, &set("from-node", "later")).await;
    execute(&mut node, &set("of-another-browser", "one")).await;
    let id = SessionId::from_client("from-node");
    assert_eq!(load(&db, &id).await.map(|data| data["note"].clone()), (!revoked).then(|| json!("later")));
    assert!(load(&db, &SessionId::from_client("of-another-browser")).await.is_some());
    let created =
        db.session_tx("create", async |tx| tx.sessions().create(&id, &data("ours"), in_an_hour()).await).await;
    assert!(matches!(&created, Err(Error::Conflict { field, .. }) if field == "id"), "{created:?}");
}

/// 1. A transaction revokes a session, and does not commit yet.
/// 2. Another client saves that session, and waits for it.
/// 3. The first one commits: the session is gone all the same.
#[rstest]
#[tokio::test]
async fn a_save_that_waits_for_the_revoker_writes_nothing(#[future(awt)] db: TestDatabase) {
    let mut node = connection(db.config().url()).await;
    execute(&mut node, "SET ROLE bedplate_session; SET application_name = 'late save'").await;
    execute(&mut node, &set("from-node", "one")).await;
    let mut revoker = connection(&db.url).await;
    // 1
    execute(&mut revoker, "BEGIN; DELETE FROM sessions").await;
    // 2
    let late = tokio::spawn(async move { execute(&mut node, &set("from-node", "late")).await });
    crate::support::waits_for_lock(&db, "late save").await;
    // 3
    execute(&mut revoker, "COMMIT").await;
    late.await.unwrap();
    assert_eq!(number(&mut revoker, "SELECT count(*) FROM sessions").await, 0);
}

/// Remembered for some days, as a hash, and only for sessions that were over for less than an hour.
#[rstest]
#[tokio::test]
async fn revoked_ids_are_forgotten_in_time(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "INSERT INTO sessions SELECT 'session-' || n, '{}', now() AT TIME ZONE 'UTC' + (n - 10) * interval '1 h' FROM generate_series(1, 25) AS n; \
         DELETE FROM sessions",
    )
    .await;
    let remembered = "SELECT count(*) FROM __bedplate_revoked_sessions";
    assert_eq!(number(&mut owner, remembered).await, 16);
    assert!(
        !texts(&mut owner, "SELECT r::text FROM __bedplate_revoked_sessions AS r").await.concat().contains("session")
    );
    let prune = async || db.session_tx("prune", async |tx| tx.sessions().prune_revoked(2, 10).await).await.unwrap();
    assert_eq!(prune().await, 0);
    execute(&mut owner, "UPDATE __bedplate_revoked_sessions SET revoked_at = now() - interval '49 h'").await;
    assert_eq!([prune().await, prune().await, prune().await], [10, 6, 0]);
}
