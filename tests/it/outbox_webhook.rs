//! Webhooks, against a real HTTP server that takes, fails, hangs, answers late, redirects and hangs up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use bedplate::models::{RelayOptions, Relayed};
use bedplate::outbox::{Relay, Webhook, WebhookSecret};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::support::sinks::{Recorder, options, send};
use crate::support::{TestDatabase, connection, db, execute, home, number, texts};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What the receiver does with a request.
#[derive(Clone)]
pub enum Answer {
    Status(u16, &'static [(&'static str, &'static str)]),
    /// Never.
    Hang,
    /// When the test says so.
    Late,
}

#[derive(Clone, Default)]
pub struct Receiver {
    /// In this order; then 204.
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>,
    pub arrived: Arc<Notify>,
    pub go_on: Arc<Notify>,
}

impl Receiver {
    /// Serves until the test's runtime ends, and says where.
    pub async fn serve(answers: impl IntoIterator<Item = Answer>) -> (String, Self) {
        let receiver = Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() };
        let router = Router::new().fallback(any(receive)).with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, receiver)
    }

    /// The payloads' numbers.
    pub fn numbers(&self) -> Vec<i64> {
        let requests = self.requests.lock().unwrap();
        let body = |body: &Bytes| serde_json::from_slice::<Value>(body).unwrap()["data"]["n"].as_i64().unwrap();
        requests.iter().map(|(_, _, bytes)| body(bytes)).collect()
    }
}

async fn receive(State(receiver): State<Receiver>, uri: axum::http::Uri, headers: HeaderMap, body: Bytes) -> Response {
    receiver.requests.lock().unwrap().push((uri.path().to_owned(), headers, body));
    let answer = receiver.answers.lock().unwrap().pop_front().unwrap_or(Answer::Status(204, &[]));
    receiver.arrived.notify_one();
    match answer {
        Answer::Status(status, headers) => {
            let mut response = StatusCode::from_u16(status).unwrap().into_response();
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        }
        Answer::Hang => std::future::pending().await,
        Answer::Late => {
            receiver.go_on.notified().await;
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

fn webhook(url: &str) -> Arc<Webhook> {
    Arc::new(Webhook::new(url, SECRET.parse().unwrap()).unwrap())
}

async fn drain(db: &TestDatabase, url: &str, options: RelayOptions) -> Relayed {
    Relay::new(&db.database, webhook(url), options).drain(std::future::pending()).await.unwrap()
}

async fn errors(db: &TestDatabase) -> Vec<String> {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    texts(&mut owner, "SELECT coalesce(last_error, 'none') FROM outbox_events ORDER BY sequence").await
}

#[rstest]
#[tokio::test]
async fn a_message_arrives_signed(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (url, receiver) = Receiver::serve([]).await;
    let context = home.context.clone().correlation(uuid::Uuid::max());
    let event = send(&db, &context, &[("green", 7)]).await.remove(0);
    assert_eq!(drain(&db, &url, options("w")).await.published, 1);
    let (path, headers, body) = receiver.requests.lock().unwrap().remove(0);
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
    assert_eq!((path.as_str(), header("content-type")), ("/hooks", "application/json"));
    assert_eq!(header("webhook-id"), event.event_id.to_string());
    let secret: WebhookSecret = SECRET.parse().unwrap();
    let verify = |secret: &WebhookSecret, body: &[u8]| {
        secret.verify(header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), body)
    };
    verify(&secret, &body).unwrap();
    verify(&secret, b"{}").unwrap_err();
    verify(&"another secret of enough bytes".parse().unwrap(), &body).unwrap_err();
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        json!({
            "type": "tea.brewed", "timestamp": event.created_at, "data": {"n": 7}, "tenant_id": home.tenant,
            "entity_type": "pots", "entity_id": "green", "sequence": event.sequence, "correlation_id": uuid::Uuid::max(),
        })
    );
}

/// 1. The receiver fails in every way that another attempt may mend; the second message of the entity waits.
/// 2. It takes both, in their order.
#[rstest]
#[case::server_error(Answer::Status(500, &[]), "the receiver answered 500")]
#[case::unavailable(Answer::Status(503, &[("retry-after", "0")]), "the receiver answered 503")]
#[case::timeout(Answer::Status(408, &[]), "the receiver answered 408")]
#[case::too_early(Answer::Status(425, &[]), "the receiver answered 425")]
#[case::too_many(Answer::Status(429, &[]), "the receiver answered 429")]
#[case::redirect(Answer::Status(307, &[("location", "/elsewhere")]), "the receiver answered 307: redirects are not followed")]
#[case::hangs(Answer::Hang, "no answer within 500ms")]
#[tokio::test]
async fn a_receiver_that_fails_gets_it_again(
    #[future(awt)] db: TestDatabase,
    #[case] answer: Answer,
    #[case] expected: &str,
) {
    let home = home(&db).await;
    let (url, receiver) = Receiver::serve([answer]).await;
    send(&db, &home.context, &[("green", 1), ("green", 2)]).await;
    let options = RelayOptions { timeout: Duration::from_millis(500), ..options("w") };
    assert_eq!(drain(&db, &url, options).await, Relayed { published: 2, retried: 1, ..Relayed::default() });
    assert_eq!(receiver.numbers(), [1, 1, 2]);
    assert!(receiver.requests.lock().unwrap().iter().all(|(path, ..)| path == "/hooks"), "no redirect is followed");
    assert_eq!(errors(&db).await, [expected, "none"]);
}

#[rstest]
#[case(400)]
#[case(401)]
#[case(404)]
#[case(410)]
#[case(422)]
#[tokio::test]
async fn what_is_hopeless_is_dead_at_once(#[future(awt)] db: TestDatabase, #[case] status: u16) {
    let home = home(&db).await;
    let (url, receiver) = Receiver::serve([Answer::Status(status, &[])]).await;
    send(&db, &home.context, &[("green", 1), ("green", 2)]).await;
    assert_eq!(drain(&db, &url, options("w")).await, Relayed { published: 1, dead: 1, ..Relayed::default() });
    assert_eq!(receiver.numbers(), [1, 2]);
    assert_eq!(errors(&db).await[0], format!("the receiver answered {status}"));
}

#[rstest]
#[tokio::test]
async fn a_receiver_says_when_to_come_back(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (url, _) = Receiver::serve([Answer::Status(429, &[("retry-after", "600")])]).await;
    send(&db, &home.context, &[("green", 1)]).await;
    assert_eq!(drain(&db, &url, options("w")).await, Relayed { retried: 1, ..Relayed::default() });
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let later = "SELECT count(*) FROM outbox_events WHERE available_at BETWEEN now() + interval '9 min' AND now() + interval '10 min'";
    assert_eq!(number(&mut owner, later).await, 1);
}

/// Nobody listens, somebody hangs up, somebody speaks no TLS: each time there is no answer, and the text says why,
/// without the URL.
#[rstest]
#[case::nobody(false, "http", "Connection refused")]
#[case::hangs_up(true, "http", "connection closed before message completed|reset by peer")]
#[case::no_tls(true, "https", "")]
#[tokio::test]
async fn no_answer_is_a_failure(
    #[future(awt)] db: TestDatabase,
    #[case] accepts: bool,
    #[case] scheme: &str,
    #[case] expected: &str,
) {
    let home = home(&db).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}/hooks?token=hush", listener.local_addr().unwrap());
    if accepts {
        tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        });
    } else {
        drop(listener);
    }
    send(&db, &home.context, &[("green", 1)]).await;
    assert_eq!(drain(&db, &url, options("w")).await, Relayed { retried: 2, dead: 1, ..Relayed::default() });
    let error = errors(&db).await.remove(0);
    assert!(error.starts_with("no answer: ") && expected.split('|').any(|part| error.contains(part)), "{error}");
    assert!(!error.contains("hush") && !error.contains("127.0.0.1"), "{error}");
}

/// One entity's receiver hangs; the others' messages go on meanwhile, and what is written then, too.
#[rstest]
#[tokio::test]
async fn a_receiver_that_hangs_holds_up_one_entity(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (url, receiver) = Receiver::serve([Answer::Late]).await;
    send(&db, &home.context, &[("green", 1)]).await;
    let relay = Relay::new(&db.database, webhook(&url), options("w"));
    let relay = tokio::spawn(async move { relay.run_until(std::future::pending()).await });
    receiver.arrived.notified().await;
    for n in 2..=4 {
        send(&db, &home.context, &[("green", 10 + n), ("black", n)]).await;
        receiver.arrived.notified().await;
    }
    assert_eq!(receiver.numbers(), [1, 2, 3, 4]);
    receiver.go_on.notify_one();
    for _ in 0..3 {
        receiver.arrived.notified().await;
    }
    assert_eq!(receiver.numbers(), [1, 2, 3, 4, 12, 13, 14]);
    relay.abort();
}

/// 1. The receiver has a message and takes its time; the worker's lease ends.
/// 2. Another worker publishes it to somebody else.
/// 3. The first receiver answers: nothing changes.
#[rstest]
#[tokio::test]
async fn an_answer_after_the_lease_has_no_effect(#[future(awt)] db: TestDatabase) {
    let (home, sink) = (home(&db).await, Recorder::new());
    let (url, receiver) = Receiver::serve([Answer::Late]).await;
    send(&db, &home.context, &[("green", 1)]).await;
    let relay = Relay::new(&db.database, webhook(&url), options("late"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let late = tokio::spawn(async move { relay.run_until(async move { drop(stopped.await) }).await });
    receiver.arrived.notified().await; // 1
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system; UPDATE outbox_events SET lease_expires_at = now()").await;
    let other = Relay::new(&db.database, sink.clone(), options("other"));
    assert_eq!(other.drain(std::future::pending()).await.unwrap().published, 1); // 2
    stop.send(()).unwrap();
    receiver.go_on.notify_one();
    assert_eq!(late.await.unwrap().unwrap(), Relayed { published: 1, lost: 1, ..Relayed::default() }); // 3
    assert_eq!(texts(&mut owner, "SELECT claimed_by FROM outbox_events").await, ["other"]);
}
