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
use bedplate::Error;
use bedplate::models::{RelayOptions, Relayed, RetryPolicy};
use bedplate::outbox::{Relay, Webhook, WebhookSecret};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::support::sinks::{Recorder, options, send};
use crate::support::{TestDatabase, connection, db, execute, home, number, texts, until};

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

    /// Before the answers that are left.
    pub fn answer_next(&self, answer: Answer) {
        self.answers.lock().unwrap().push_front(answer);
    }

    /// Number of signatures of the first request.
    pub fn signatures(&self) -> usize {
        let requests = self.requests.lock().unwrap();
        requests[0].1.get("webhook-signature").unwrap().to_str().unwrap().split(' ').count()
    }

    /// The payloads' numbers.
    pub fn numbers(&self) -> Vec<i64> {
        let requests = self.requests.lock().unwrap();
        let body = |body: &Bytes| serde_json::from_slice::<Value>(body).unwrap()["data"]["n"].as_i64().unwrap();
        requests.iter().map(|(_, _, bytes)| body(bytes)).collect()
    }
}

async fn receive(State(receiver): State<Receiver>, uri: http::Uri, headers: HeaderMap, body: Bytes) -> Response {
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
#[case::bad_request(Answer::Status(400, &[]), "the receiver answered 400")]
#[case::unauthorized(Answer::Status(401, &[]), "the receiver answered 401")]
#[case::not_found(Answer::Status(404, &[]), "the receiver answered 404")]
#[case::conflict(Answer::Status(409, &[]), "the receiver answered 409")]
#[case::unprocessable(Answer::Status(422, &[]), "the receiver answered 422")]
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

/// 1. The receiver answers as every status but 2xx and 410: the message waits for its schedule, and no later one of its
///    entity goes out, in any number of passes.
/// 2. Its time comes: it goes out first.
#[rstest]
#[tokio::test]
async fn no_message_overtakes_one_that_is_tried_again(
    #[future(awt)] db: TestDatabase,
    #[values(300, 302, 400, 401, 403, 404, 405, 413, 422, 451, 499, 501, 599)] status: u16,
) {
    let home = home(&db).await;
    let (url, receiver) = Receiver::serve([Answer::Status(status, &[])]).await;
    send(&db, &home.context, &[("green", 1), ("green", 2)]).await;
    let days = || RelayOptions { retry: RetryPolicy::default(), ..options("w") };
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(drain(&db, &url, days()).await, Relayed { retried: 1, ..Relayed::default() });
    send(&db, &home.context, &[("green", 3)]).await;
    for failures in 1..4 {
        // The schedule: 5 seconds, 5 minutes, 30 minutes.
        let (least, most) = [("-1 min", "6 s"), ("3 min", "6 min"), ("23 min", "36 min")][failures - 1];
        let waits = format!(
            "SELECT count(*) FROM outbox_events WHERE retry_count = {failures} AND dead_at IS NULL \
                AND available_at BETWEEN now() + interval '{least}' AND now() + interval '{most}'"
        );
        assert_eq!(number(&mut owner, &waits).await, 1, "{failures}");
        // A slow test is not to reach its time.
        let put_off = "UPDATE outbox_events SET available_at = now() + interval '1 hour' WHERE retry_count > 0";
        execute(&mut owner, put_off).await;
        assert_eq!(drain(&db, &url, days()).await, Relayed::default(), "{failures}"); // 1
        if failures < 3 {
            execute(&mut owner, "UPDATE outbox_events SET available_at = now()").await;
            receiver.answer_next(Answer::Status(status, &[]));
            assert_eq!(drain(&db, &url, days()).await, Relayed { retried: 1, ..Relayed::default() });
        }
    }
    execute(&mut owner, "UPDATE outbox_events SET available_at = now()").await;
    assert_eq!(drain(&db, &url, days()).await, Relayed { published: 3, ..Relayed::default() }); // 2
    assert_eq!(receiver.numbers(), [1, 1, 1, 1, 2, 3]);
}

/// 1. One of many messages is answered with 410: what is not under way stays, of every entity, undamaged.
/// 2. No relay sends anything, however often it is started, until somebody starts the endpoint.
/// 3. Then all of them go out, in their order. Another endpoint was never stopped.
#[rstest]
#[tokio::test]
async fn an_endpoint_that_is_gone_is_stopped_until_it_is_started(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (url, receiver) = Receiver::serve([Answer::Status(410, &[])]).await;
    let names: Vec<_> = (0..20).map(|n| format!("pot-{n}")).collect();
    let messages: Vec<_> = (0..40).map(|n| (names[n % 20].as_str(), i64::try_from(n).unwrap())).collect();
    send(&db, &home.context, &messages).await;
    let one = || RelayOptions { in_flight: 1, ..options("w") };
    let stopped = |ended: Result<Relayed, Error>| match ended {
        Err(Error::EndpointStopped { endpoint, id, reason, .. }) => {
            assert_eq!(reason, "the receiver answered 410");
            assert!(url.starts_with(&endpoint) && !endpoint.contains("hooks"), "{endpoint}");
            id
        }
        other => panic!("{other:?}"),
    };
    let relay = || Relay::new(&db.database, webhook(&url), one());
    let id = stopped(relay().drain(std::future::pending()).await); // 1
    assert_eq!(receiver.numbers().len(), 1);
    let states = crate::support::sinks::states(&db).await;
    assert!(states.iter().all(|state| state.contains(" open 0")), "{states:?}");
    for _ in 0..3 {
        assert_eq!(stopped(relay().drain(std::future::pending()).await), id); // 2
    }
    assert_eq!(receiver.numbers().len(), 1);
    let (other_url, other) = Receiver::serve([Answer::Status(503, &[])]).await;
    let once = RelayOptions { retry: RetryPolicy { pauses: vec![].into(), max_attempts: 1 }, ..options("w") };
    send(&db, &home.context, &[("other", 100)]).await;
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    execute(&mut owner, "UPDATE outbox_events SET available_at = now() + interval '1 day' WHERE entity_id <> 'other'")
        .await;
    assert_eq!(drain(&db, &other_url, once).await.dead, 1);
    assert_eq!(other.numbers(), [100]);
    execute(&mut owner, "UPDATE outbox_events SET available_at = now()").await;

    let listed = db.system_tx("look", async |tx| tx.outbox_queue().stopped_endpoints().await).await.unwrap();
    assert_eq!(listed.iter().map(|endpoint| endpoint.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    let start =
        async |id: &str| db.system_tx("start", async |tx| tx.outbox_queue().start_endpoints(Some(id)).await).await;
    assert_eq!(start("0000000000000000").await.unwrap(), 0);
    assert_eq!(start(&id).await.unwrap(), 1);
    assert_eq!(relay().drain(std::future::pending()).await.unwrap().published, 40); // 3
    let numbers = receiver.numbers();
    let order = |entity: i64| numbers[1..].iter().copied().filter(|n| n % 20 == entity).collect::<Vec<_>>();
    assert!((0..20).all(|entity| order(entity) == [entity, entity + 20]), "{numbers:?}");
}

/// A relay that runs does not end with its endpoint: it waits for the start, and goes on.
#[rstest]
#[tokio::test]
async fn a_relay_goes_on_when_its_endpoint_is_started(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (url, receiver) = Receiver::serve([Answer::Status(410, &[])]).await;
    send(&db, &home.context, &[("green", 1)]).await;
    let relay = Relay::new(&db.database, webhook(&url), options("w"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let relay = tokio::spawn(async move { relay.run_until(async move { drop(stopped.await) }).await });
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    until(&mut owner, "SELECT count(*) FROM outbox_stopped_endpoints").await;
    send(&db, &home.context, &[("black", 2)]).await;
    assert_eq!(receiver.numbers(), [1]);
    // It listens before it looks whether the endpoint is stopped.
    let start = async || db.system_tx("start", async |tx| tx.outbox_queue().start_endpoints(None).await).await.unwrap();
    assert_eq!(start().await, 1);
    until(&mut owner, "SELECT (count(*) = 2)::int FROM outbox_events WHERE published_at IS NOT NULL").await;
    stop.send(()).unwrap();
    assert_eq!(relay.await.unwrap().unwrap().published, 2);
    assert_eq!(receiver.numbers().len(), 3);
}

/// While a secret is replaced: a receiver with either checks the message.
#[rstest]
#[tokio::test]
async fn several_secrets_sign_at_once(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (url, receiver) = Receiver::serve([]).await;
    send(&db, &home.context, &[("green", 1)]).await;
    let other = || "another secret of enough bytes".parse::<WebhookSecret>().unwrap();
    let sink = Arc::new(Webhook::new(&url, SECRET.parse().unwrap()).unwrap().also_sign_with(other()));
    Relay::new(&db.database, sink, options("w")).drain(std::future::pending()).await.unwrap();
    let (_, headers, body) = receiver.requests.lock().unwrap().remove(0);
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
    assert_eq!(headers.get_all("webhook-signature").iter().count(), 1);
    assert_eq!(header("webhook-signature").split(' ').filter(|part| part.starts_with("v1,")).count(), 2);
    let verify = |secrets: &[WebhookSecret]| {
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        WebhookSecret::verify_any(secrets, id, time, header("webhook-signature"), &body)
    };
    verify(&[SECRET.parse().unwrap()]).unwrap();
    verify(&[other()]).unwrap();
    verify(&["a third secret of enough bytes".parse().unwrap(), other()]).unwrap();
    verify(&["a third secret of enough bytes".parse().unwrap()]).unwrap_err();
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
