//! The store for tower-sessions, in an axum application that answers real HTTP requests.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, response::IntoResponse};
use bedplate::Database;
use bedplate::tenancy::PostgresSessionStore;
use bedplate::tenancy::session::{TENANT_ID, USER_ID};
use reqwest::Client;
use rstest::rstest;
use tokio::sync::Notify;
use tower_sessions::cookie::time::{Duration, OffsetDateTime};
use tower_sessions::{ExpiredDeletion as _, Expiry, Session, SessionManagerLayer, SessionStore as _};

use crate::support::{Home, TestDatabase, connection, db, execute, home, number};

#[derive(Clone)]
struct App {
    home: Arc<Home>,
    loaded: Arc<Notify>,
    go_on: Arc<Notify>,
}

/// Serves until the test's runtime ends, and says where.
async fn serve(db: &Database, home: Home) -> (String, App) {
    let app = App { home: Arc::new(home), loaded: Arc::default(), go_on: Arc::default() };
    let sessions = SessionManagerLayer::new(PostgresSessionStore::new(db.clone()))
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::hours(1)));
    let router = Router::new()
        .route("/count", get(count))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(async |session: Session| session.flush().await.unwrap()))
        .route("/slow", post(slow))
        .route("/nul", post(async |session: Session| session.insert("text", "a\0b").await.unwrap()))
        .layer(sessions)
        .with_state(app.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, app)
}

async fn count(session: Session) -> impl IntoResponse {
    let count = session.get::<u32>("count").await.unwrap().unwrap_or_default() + 1;
    session.insert("count", count).await.unwrap();
    count.to_string()
}

async fn sign_in(State(app): State<App>, session: Session) {
    session.cycle_id().await.unwrap();
    session.insert(TENANT_ID, app.home.tenant).await.unwrap();
    session.insert(USER_ID, app.home.user).await.unwrap();
}

/// Loads its session, and saves it when the test says so.
async fn slow(State(app): State<App>, session: Session) -> impl IntoResponse {
    session.get::<u32>("count").await.unwrap();
    app.loaded.notify_one();
    app.go_on.notified().await;
    session.insert("count", 100).await.unwrap();
}

fn browser() -> Client {
    Client::builder().cookie_store(true).no_proxy().build().unwrap()
}

async fn visit(browser: &Client, url: &str) -> String {
    browser.get(format!("{url}/count")).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
}

#[rstest]
#[tokio::test]
async fn a_browser_keeps_its_session(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (url, _) = serve(&db, home).await;
    let (one, two) = (browser(), browser());
    let visits = [visit(&one, &url).await, visit(&one, &url).await, visit(&two, &url).await, visit(&one, &url).await];
    assert_eq!(visits, ["1", "2", "1", "3"]);
    let mut owner = connection(&db.url).await;
    assert_eq!(
        number(&mut owner, "SELECT count(*) FROM sessions WHERE expire > now() AT TIME ZONE 'UTC' + interval '59 min'")
            .await,
        2
    );
    // Signing in gives a new id and keeps what was there; signing out ends the session.
    one.post(format!("{url}/sign-in")).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(visit(&one, &url).await, "4");
    assert_eq!(number(&mut owner, "SELECT count(*) FROM sessions").await, 2);
    one.post(format!("{url}/sign-out")).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(visit(&one, &url).await, "1");
    // A session that is over is a new one, and the store deletes it.
    execute(&mut owner, "UPDATE sessions SET expire = now() AT TIME ZONE 'UTC' - interval '1 second'").await;
    PostgresSessionStore::new(db.database.clone()).delete_expired().await.unwrap();
    assert_eq!(number(&mut owner, "SELECT count(*) FROM sessions").await, 0);
    assert_eq!(visit(&two, &url).await, "1");
}

/// 1. A request loads the session of a user who is signed in, and takes its time.
/// 2. Meanwhile all sessions of the user are revoked.
/// 3. The request saves: it ends with an error, and the session is not back.
/// 4. The browser's next request has a new session, in which nobody is signed in.
#[rstest]
#[tokio::test]
async fn a_late_save_does_not_bring_a_revoked_session_back(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (url, app) = serve(&db, home.clone()).await;
    let browser = browser();
    assert_eq!(visit(&browser, &url).await, "1");
    browser.post(format!("{url}/sign-in")).send().await.unwrap().error_for_status().unwrap();
    // 1
    let late = tokio::spawn({
        let (browser, url) = (browser.clone(), url.clone());
        async move { browser.post(format!("{url}/slow")).send().await.unwrap() }
    });
    app.loaded.notified().await;
    // 2
    let revoked = db.session_tx("revoke", async |tx| tx.sessions().revoke_user(home.tenant, home.user).await).await;
    assert_eq!(revoked.unwrap(), 1);
    app.go_on.notify_one();
    // 3
    assert_eq!(late.await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    let mut owner = connection(&db.url).await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM sessions").await, 0);
    // 4
    assert_eq!(visit(&browser, &url).await, "1");
    assert_eq!(number(&mut owner, "SELECT count(*) FROM sessions WHERE sess ? 'user_id'").await, 0);
}

/// What `jsonb` cannot hold is not saved: an error of the encoding and not of the backend, and the session stays as it
/// was.
#[rstest]
#[tokio::test]
async fn a_text_with_a_nul_is_an_error_of_its_own(#[future(awt)] db: TestDatabase) {
    use tower_sessions::session::{Id, Record};
    use tower_sessions::session_store::Error as StoreError;
    let (url, _) = serve(&db, home(&db).await).await;
    let browser = browser();
    assert_eq!(visit(&browser, &url).await, "1");
    let refused = browser.post(format!("{url}/nul")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(visit(&browser, &url).await, "2");
    let store = PostgresSessionStore::new(db.database.clone());
    for (name, value) in [("text", "a\0b"), ("na\0me", "text")] {
        let data = [(name.to_owned(), serde_json::json!([{ "inside": value }]))].into();
        let mut record =
            Record { id: Id::default(), data, expiry_date: OffsetDateTime::now_utc() + Duration::hours(1) };
        for refused in [store.create(&mut record).await, store.save(&record).await] {
            let expected = StoreError::Encode("sess holds a NUL character".into());
            assert_eq!(refused.unwrap_err().to_string(), expected.to_string());
        }
    }
    assert_eq!(number(&mut connection(&db.url).await, "SELECT count(*) FROM sessions").await, 1);
}
