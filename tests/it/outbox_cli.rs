//! `bedplate outbox`: status, replay and relay, as a person uses them.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bedplate::database::DatabaseName;
use rstest::rstest;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cli::{bedplate, error, out};
use crate::outbox_webhook::{Answer, Receiver, SECRET};
use crate::support::sinks::send;
use crate::support::{TestDatabase, connection, db, execute, home, migrated, number};

async fn run(db: &TestDatabase, arguments: &[&str]) -> Output {
    run_with(db, None, arguments).await
}

/// In a thread of its own: the receiver answers from this runtime.
async fn run_with(db: &TestDatabase, proxy: Option<String>, arguments: &[&str]) -> Output {
    let (url, arguments) = (db.url.reveal().to_owned(), arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let task = tokio::task::spawn_blocking(move || {
        let arguments: Vec<_> = std::iter::once("outbox").chain(arguments.iter().map(String::as_str)).collect();
        let vars = [("DATABASE_URL", url.as_str()), ("RFQ_DATABASE_URL", &url), ("BEDPLATE_WEBHOOK_SECRET", SECRET)];
        let proxy = proxy.as_deref().map(|proxy| [("HTTP_PROXY", proxy), ("HTTPS_PROXY", proxy)]);
        let vars: Vec<_> = vars.into_iter().chain(proxy.into_iter().flatten()).collect();
        bedplate(Path::new("."), &vars, &arguments)
    });
    task.await.unwrap()
}

async fn status(db: &TestDatabase) -> Value {
    let output = run(db, &["status", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// 1. Messages of two types wait; the receiver fails for all of them, and one attempt is all that they have.
/// 2. The status tells of both, and of the dead letters.
/// 3. They are brought back by id, by type, all, and go out.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn status_replay_and_relay(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let events = send(&db, &home.context, &[("green", 1), ("black", 2), ("white", 3)]).await;
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "SET ROLE bedplate_system; UPDATE outbox_events SET event_type = 'tea.spilled' WHERE entity_id = 'white'",
    )
    .await;
    let before = status(&db).await;
    assert_eq!((&before["all"]["pending"], &before["all"]["due"]), (&3.into(), &3.into()));
    assert!(before["all"]["oldest_due_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (&before["by_event_type"][1]["event_type"], &before["by_event_type"][1]["pending"]),
        (&"tea.spilled".into(), &1.into())
    );

    let fails = || Answer::Status(404, &[]);
    let (url, receiver) = Receiver::serve([fails(), fails(), fails()]).await;
    let relay = run(&db, &["relay", "--webhook", &url, "--once", "--workers", "2", "--max-attempts", "1"]).await; // 1
    assert_eq!(
        out(&relay),
        "0 published, 0 failures to try again, 3 given up, 0 settled too late.\n",
        "{}",
        String::from_utf8_lossy(&relay.stderr)
    );
    let after = status(&db).await; // 2
    assert_eq!((&after["all"]["pending"], &after["all"]["dead"]), (&0.into(), &3.into()));
    assert_eq!(after["dead_letters"].as_array().unwrap().len(), 3);
    let table = out(&run(&db, &["status", "--dead-letters", "1"]).await);
    assert!(table.contains("tea.spilled") && table.contains("the receiver answered 404"), "{table}");
    assert_eq!(table.matches("the receiver answered 404").count(), 1, "{table}");

    let id = events[0].event_id.to_string(); // 3
    assert_eq!(out(&run(&db, &["replay", "--id", &id]).await), "1 dead letter will be tried again.\n");
    assert_eq!(error(&run(&db, &["replay", "--id", &id]).await, 1), format!("error: dead letter {id} does not exist"));
    assert_eq!(out(&run(&db, &["replay", "--type", "tea.spilled"]).await), "1 dead letter will be tried again.\n");
    assert_eq!(out(&run(&db, &["replay", "--all"]).await), "1 dead letter will be tried again.\n");
    assert_eq!(out(&run(&db, &["replay", "--all"]).await), "0 dead letters will be tried again.\n");
    let relay = run(&db, &["relay", "--webhook", &url, "--once"]).await;
    assert!(out(&relay).starts_with("3 published"), "{}", out(&relay));
    assert_eq!(receiver.numbers().len(), 6);
    assert_eq!(status(&db).await["all"]["published_last_hour"], 3);
}

/// 1. The endpoint answers 410: the command ends with exit code 3 and says what to do. Nothing more is sent.
/// 2. The status shows the endpoint, without its path.
/// 3. It is started again, and the messages go out.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_seen_and_started(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1), ("green", 2)]).await;
    let (url, receiver) = Receiver::serve([Answer::Status(410, &[])]).await;
    let relay = ["relay", "--webhook", &url, "--once"];
    let said = error(&run(&db, &relay).await, 3); // 1
    assert!(said.contains("410") && said.contains("bedplate outbox start --id "), "{said}");
    assert_eq!(error(&run(&db, &relay).await, 3), said);
    assert_eq!(receiver.numbers(), [1]);
    let status = status(&db).await; // 2
    assert_eq!((&status["all"]["pending"], &status["all"]["dead"]), (&2.into(), &0.into()));
    let stopped = &status["stopped_endpoints"];
    assert_eq!((stopped.as_array().unwrap().len(), url.strip_suffix("/hooks")), (1, stopped[0]["name"].as_str()));
    let id = stopped[0]["id"].as_str().unwrap();
    let table = out(&run(&db, &["status"]).await);
    assert!(table.contains(id) && !table.contains("hooks"), "{table}");
    let unknown = error(&run(&db, &["start", "--id", "0000000000000000"]).await, 1); // 3
    assert_eq!(unknown, "error: stopped endpoint 0000000000000000 does not exist");
    assert_eq!(run(&db, &["start"]).await.status.code(), Some(2));
    assert_eq!(out(&run(&db, &["start", "--id", id]).await), "1 endpoint is started.\n");
    assert_eq!(out(&run(&db, &["start", "--all"]).await), "0 endpoints are started.\n");
    assert!(out(&run(&db, &relay).await).starts_with("2 published"));
    assert_eq!(receiver.numbers(), [1, 1, 2]);
}

/// The proxy of the environment is asked for a tunnel, with its login; an answer of its own is no answer of the receiver.
#[rstest]
#[case("http://receiver.invalid/hooks", "CONNECT receiver.invalid:80 HTTP/1.1")]
#[case("https://receiver.invalid/hooks", "CONNECT receiver.invalid:443 HTTP/1.1")]
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_gone_through(#[future(awt)] db: TestDatabase, #[case] url: &str, #[case] expected: &str) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1)]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://Aladdin:opensesame@{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let relay = run_with(&db, Some(proxy), &["relay", "--webhook", url, "--once"]).await;
    assert!(out(&relay).starts_with("0 published, 1 failures to try again"), "{relay:?}");
    let asked = asked.await.unwrap();
    assert!(asked.starts_with(expected) && asked.contains("Basic QWxhZGRpbjpvcGVuc2VzYW1l"), "{asked}");
    let states = crate::support::sinks::states(&db).await;
    assert!(states[0].starts_with("1 open 1 no answer: ") && !states[0].contains("opensesame"), "{states:?}");
}

/// A file may end with a line break, and holds nothing else beside the secret. Two files sign twice.
#[rstest]
#[case::as_it_is(SECRET, "")]
#[case::line(&format!("{SECRET}\n"), "")]
#[case::line_of_windows(&format!("{SECRET}\r\n"), "")]
#[case::two_lines(&format!("{SECRET}\n\n"), "holds a blank at its begin or end")]
#[case::blank(&format!(" {SECRET}"), "holds a blank at its begin or end")]
#[case::mark(&format!("\u{feff}{SECRET}"), "a byte order mark")]
#[case::named(&format!("SECRET={SECRET}"), "contains whsec_ and does not begin with it")]
#[case::empty("", "has 0 bytes, allowed are 24 to 64")]
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_the_whole_file(#[future(awt)] db: TestDatabase, #[case] text: &str, #[case] expected: &str) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1)]).await;
    let (url, receiver) = Receiver::serve([]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (one, two) = (file("one.txt", text), file("two.txt", "another secret of enough bytes"));
    let output = run(&db, &["relay", "--webhook", &url, "--once", "--secret-file", &two, "--secret-file", &one]).await;
    if expected.is_empty() {
        assert!(out(&output).starts_with("1 published"), "{output:?}");
        assert_eq!(receiver.signatures(), 2);
        return;
    }
    let said = error(&output, 1);
    assert!(said.contains(expected) && said.contains("one.txt") && !said.contains("MfKQ"), "{said}");
    assert_eq!(receiver.numbers(), Vec::<i64>::new());
}

/// 1. The relay is at work, and the receiver takes its time over the first message of two.
/// 2. Ctrl-C (or what stops a container): the relay waits for the first one, lets the second go, and ends well.
#[rstest]
#[case("-INT")]
#[case("-TERM")]
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_told(#[future(awt)] db: TestDatabase, #[case] signal: &str) {
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1), ("green", 2)]).await;
    let (url, receiver) = Receiver::serve([Answer::Late]).await;
    let mut relay = Command::new(env!("CARGO_BIN_EXE_bedplate"))
        .args(["outbox", "relay", "--webhook", &url])
        .envs([("DATABASE_URL", db.url.reveal()), ("BEDPLATE_WEBHOOK_SECRET", SECRET)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    receiver.arrived.notified().await; // 1
    assert!(Command::new("kill").args([signal, &relay.id().to_string()]).status().unwrap().success());
    // It says so when it has heard.
    let mut heard = String::new();
    let mut stderr = relay.stderr.take().unwrap();
    while !heard.contains("ending") {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{heard}");
        heard.push(char::from(byte[0]));
    }
    receiver.go_on.notify_one();
    let output = tokio::task::spawn_blocking(move || relay.wait_with_output().unwrap()).await.unwrap(); // 2
    assert!(output.status.success());
    assert!(out(&output).starts_with("1 published"), "{}", out(&output));
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let open = "SELECT count(*) FROM outbox_events WHERE published_at IS NULL AND claim_id IS NULL AND retry_count = 0";
    assert_eq!((receiver.numbers().len(), number(&mut owner, open).await), (1, 1));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rfq_has_one_of_its_own() {
    let db = migrated(DatabaseName::Rfq).await;
    let seeds = bedplate::database::seed::Set::Development;
    bedplate::database::seed::load(&db.url, DatabaseName::Rfq, bedplate::Environment::Development, &[seeds])
        .await
        .unwrap();
    let output = run(&db, &["status", "--json", "--database", "rfq"]).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&status["all"]["pending"], &status["all"]["due"]), (&1.into(), &0.into()));
    let output = run(&db, &["replay", "--all", "--database", "rfq"]).await;
    assert_eq!(out(&output), "0 dead letters will be tried again.\n");
}

#[rstest]
#[case::no_secret(&["relay", "--webhook", "http://localhost:1", "--secret-env", "NOT_SET"], 1, "NOT_SET is not set")]
#[case::no_file(&["relay", "--webhook", "http://localhost:1", "--secret-file", "nowhere.txt"], 1, "reading nowhere.txt")]
#[case::no_url(&["relay", "--webhook", "hooks"], 1, "the webhook's URL is none of http or https")]
#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told(
    #[future(awt)] db: TestDatabase,
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] expected: &str,
) {
    let said = error(&run(&db, arguments).await, code);
    assert!(said.contains(expected), "{said}");
    let usage = run(&db, &["status", "--database", "marketdata"]).await;
    assert_eq!(usage.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&usage.stderr).contains("two databases have an outbox: main, rfq"));
    assert_eq!(run(&db, &["replay"]).await.status.code(), Some(2));
}
