//! `bedplate events` as a person uses it: what it says, and by which exit code.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use bedplate::events::NewEvent;
use bedplate::models::{NewTenant, TenantId, TenantType};
use bedplate::{DatabaseUrl, TenantContext};
use rstest::rstest;
use serde_json::{Value, json};

use crate::cli::{bedplate, error, out};
use crate::support::{TestDatabase, connection, db, execute, texts, until};

struct Cli {
    db: TestDatabase,
    folder: tempfile::TempDir,
    tenant: TenantId,
}

/// A tenant `lumen` without events.
async fn cli(db: TestDatabase) -> Cli {
    let new = NewTenant { slug: "lumen", name: "Lumen", tenant_type: TenantType::Standard };
    let tenant = db.system_tx("tenant", async |tx| tx.tenants().create(new).await).await.unwrap().id;
    Cli { db, folder: tempfile::tempdir().unwrap(), tenant }
}

impl Cli {
    fn urls(&self) -> [(&'static str, &str); 2] {
        let app: &DatabaseUrl = self.db.config().url();
        [("DATABASE_URL", self.db.url.reveal()), ("APP_DATABASE_URL", app.reveal())]
    }

    /// Of the tenant, by its slug.
    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        bedplate(self.folder.path(), &self.urls(), &[&["events", command, "--tenant", "lumen"], arguments].concat())
    }

    /// The position of an event that was appended.
    fn append(&self, arguments: &[&str]) -> i64 {
        let appended = self.run("append", &[arguments, &["--json"]].concat());
        assert!(appended.status.success(), "{appended:?}");
        let said: Value = serde_json::from_slice(&appended.stdout).unwrap();
        assert!(said["id"].as_str().is_some_and(|id| id.len() == 36), "{said}");
        said["positions"][0].as_i64().unwrap()
    }

    fn read(&self, arguments: &[&str]) -> Vec<Value> {
        let read = self.run("read", &[arguments, &["--json"]].concat());
        assert!(read.status.success(), "{read:?}");
        out(&read).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn positions(&self, arguments: &[&str]) -> Vec<i64> {
        self.read(arguments).iter().map(|event| event["position"].as_i64().unwrap()).collect()
    }
}

#[rstest]
#[tokio::test]
async fn what_is_appended_is_read(#[future(awt)] db: TestDatabase) {
    let cli = cli(db).await;
    std::fs::write(cli.folder.path().join("data.json"), r#"{"by": "Ada"}"#).unwrap();
    let first = cli.append(&["--type", "DoorOpened", "--tag", "door:3", "--tag", "hall:1", "--data", "@data.json"]);
    let second = cli.append(&["--type", "DoorClosed", "--tag", "door:3"]);
    let third = cli.append(&["--type", "DoorOpened", "--tag", "door:4", "--data", "-7"]);
    let plain = cli.run("append", &["--type", "Rang"]);
    assert!(out(&plain).starts_with(&format!("position {}, id ", third + 1)), "{}", out(&plain));

    let all = cli.read(&[]);
    assert_eq!(all.len(), 4);
    assert_eq!(all[0]["event_data"], json!({"by": "Ada"}));
    assert_eq!(all[0]["tags"], json!(["door:3", "hall:1"]));
    assert_eq!((&all[1]["event_data"], &all[2]["event_data"]), (&json!({}), &json!(-7)));
    assert_eq!(cli.positions(&["--type", "DoorOpened"]), [first, third]);
    assert_eq!(cli.positions(&["--type", "DoorOpened", "--type", "DoorClosed", "--tag", "door:3"]), [first, second]);
    assert_eq!(cli.positions(&["--tag", "door:3", "--tag", "hall:1"]), [first]);
    assert_eq!(cli.positions(&["--after", &first.to_string(), "--limit", "1"]), [second]);
    assert_eq!(cli.positions(&["--backwards", "--limit", "2"]), [third + 1, third]);

    let table = out(&cli.run("read", &["--tag", "door:3"]));
    for part in ["position", "DoorOpened", "door:3 hall:1", r#"{"by":"Ada"}"#, "DoorClosed"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    // By its id too.
    let id = cli.tenant.to_string();
    let by_id = bedplate(cli.folder.path(), &cli.urls(), &["events", "read", "--tenant", &id, "--json"]);
    assert_eq!(out(&by_id).lines().count(), 4);
}

/// Data from standard input.
#[rstest]
#[tokio::test]
async fn data_come_through_a_pipe(#[future(awt)] db: TestDatabase) {
    let cli = cli(db).await;
    let mut child = spawn(&cli, &["append", "--tenant", "lumen", "--type", "Imported", "--data", "-"]);
    child.stdin.take().unwrap().write_all(br#"{"rows": 7}"#).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(cli.read(&[])[0]["event_data"], json!({"rows": 7}));
}

/// 1. Nothing has the tag: the first one is appended, a second one is a conflict, with exit code 3.
/// 2. Read to decide, with the token: appended; the same token again is a conflict.
#[rstest]
#[tokio::test]
async fn a_condition_holds_or_is_told(#[future(awt)] db: TestDatabase) {
    let cli = cli(db).await;
    let once = ["--type", "CourseDefined", "--tag", "course:7", "--if-none-match-tag", "course:7"];
    cli.append(&once); // 1
    let conflict = error(&cli.run("append", &once), 3);
    assert_eq!(
        conflict,
        "error: append condition failed: CourseDefined at position 1 was not seen (item 0 of the condition)"
    );
    let seen = cli.read(&["--tag", "course:7", "--to-decide"]);
    let token = seen.last().unwrap()["token"].as_str().unwrap();
    assert!(out(&cli.run("read", &["--tag", "course:7", "--to-decide"])).contains("\ntoken "));
    let decided = [&once[..], &["--after", token]].concat();
    cli.append(&decided); // 2
    error(&cli.run("append", &decided), 3);
    let unknown = error(&cli.run("append", &[&once[..], &["--after", "17"]].concat()), 1);
    assert!(unknown.contains("after is not allowed"), "{unknown}");
    assert_eq!(cli.read(&[]).len(), 2);
}

#[rstest]
#[case::tenant(&["read", "--tenant", "nobody"], 1, "tenant nobody does not exist")]
#[case::tenant_by_id(&["tail", "--tenant", "01900000-0000-7000-8000-0000000000ff"], 1, "tenant 01900000-0000-7000-8000-0000000000ff does not exist")]
#[case::tenant_to_append(&["append", "--tenant", "nobody", "--type", "A"], 1, "tenant nobody does not exist")]
#[case::no_json(&["append", "--tenant", "lumen", "--type", "A", "--data", "{"], 1, "--data: the document is no JSON")]
#[case::another_number(&["append", "--tenant", "lumen", "--type", "A", "--data", "{\"n\": 12345678901234567890123}"], 1, "--data: /n is 12345678901234567890123, which 64 bits do not hold exactly")]
#[case::no_file(&["append", "--tenant", "lumen", "--type", "A", "--data", "@missing.json"], 1, "reading missing.json")]
#[case::bad_tag(&["append", "--tenant", "lumen", "--type", "A", "--tag", "door"], 1, "tags cannot hold \"door\"")]
#[case::empty_type(&["append", "--tenant", "lumen", "--type", ""], 1, "event_type is empty")]
#[case::bad_tag_to_read(&["read", "--tenant", "lumen", "--tag", "door"], 1, "tags cannot hold \"door\"")]
#[case::limit(&["read", "--tenant", "lumen", "--limit", "0"], 1, "limit is 0")]
#[tokio::test]
async fn what_cannot_be_done_is_one_line(
    #[future(awt)] db: TestDatabase,
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] reason: &str,
) {
    let cli = cli(db).await;
    let said = error(&bedplate(cli.folder.path(), &cli.urls(), &[&["events"], arguments].concat()), code);
    assert!(said.contains(reason), "{said}");
    assert_eq!(cli.read(&[]), Vec::<Value>::new());
}

#[rstest]
#[case::no_tenant(&["read"])]
#[case::two_directions(&["read", "--tenant", "lumen", "--after", "1", "--backwards"])]
#[case::no_type(&["append", "--tenant", "lumen"])]
#[case::token_without_tags(&["append", "--tenant", "lumen", "--type", "A", "--after", "x"])]
#[case::all_and_some(&["read", "--tenant", "lumen", "--to-decide", "--limit", "3"])]
fn wrong_usage_is_told(#[case] arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(bedplate(folder.path(), &[], &[&["events"], arguments].concat()).status.code(), Some(2));
}

#[rstest]
#[case("read")]
#[case("append")]
#[case("tail")]
fn help_has_examples(#[case] command: &str) {
    let folder = tempfile::tempdir().unwrap();
    let help = out(&bedplate(folder.path(), &[], &["events", command, "--help"]));
    assert!(help.contains(&format!("Examples:\n  bedplate events {command} --tenant")), "{help}");
}

fn spawn(cli: &Cli, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    command.current_dir(cli.folder.path()).arg("events").args(arguments).envs(cli.urls());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn new(cli: &Cli, arguments: &[&str]) -> Self {
        let mut child = spawn(cli, &[&["tail", "--tenant", "lumen"], arguments].concat());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for the next line.
    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// As Ctrl-C does.
    fn interrupt(mut self) -> (Option<i32>, usize) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let rest = self.lines.count();
        (self.child.wait().unwrap().code(), rest)
    }
}

/// 1. There are three events: the tail begins with the last two that it is asked for.
/// 2. Two transactions append; the one with the lower position commits last. The tail looks meanwhile, shows nothing
///    beyond it, and then both, in their order.
/// 3. Of another type nothing is shown.
/// 4. Ctrl-C ends it well, and nothing more was shown.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_shows_every_event_once(#[future(awt)] db: TestDatabase) {
    let cli = cli(db).await;
    let context = TenantContext::new(cli.tenant);
    let event = |n: u32| NewEvent::new("T", json!(n));
    cli.db.append_events(&context, &[event(1), event(2), event(3)], None).await.unwrap();
    let mut tail = Tail::new(&cli, &["--type", "T", "--last", "2", "--json"]);
    assert_eq!((tail.next()["event_data"].clone(), tail.next()["event_data"].clone()), (json!(2), json!(3))); // 1
    let other = TenantContext::new(cli.tenant);
    cli.db
        .tenant_tx("first", &context, async |tx| {
            tx.events().append(&[event(4)], None).await?;
            cli.db.append_events(&other, &[event(5), NewEvent::new("U", json!(0))], None).await?; // 2, 3
            // The look that was under way when it was committed, and one that began after that.
            looked(&cli).await;
            looked(&cli).await;
            Ok(())
        })
        .await
        .unwrap();
    cli.db.append_events(&context, &[event(6)], None).await.unwrap();
    let mut shown = Vec::new();
    while shown.last() != Some(&json!(6)) {
        shown.push(tail.next()["event_data"].clone());
    }
    assert_eq!(shown, [json!(4), json!(5), json!(6)]);
    assert_eq!(tail.interrupt(), (Some(0), 0)); // 4
}

/// Returns when the tail has ended a transaction, the only one that anybody ends at that time.
async fn looked(cli: &Cli) {
    let mut app = connection(cli.db.config().url()).await;
    let now = texts(&mut app, "SELECT clock_timestamp()").await.remove(0);
    let ended = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' \
            AND query LIKE '%COMMIT' AND state_change > '{now}'"
    );
    until(&mut app, &ended).await;
}

/// 1. It begins with none of those that are there.
/// 2. An event that another process appends is shown, in a line for people.
/// 3. Whoever reads goes away: it ends well.
#[rstest]
#[tokio::test]
async fn the_tail_ends_with_its_reader(#[future(awt)] db: TestDatabase) {
    let cli = cli(db).await;
    cli.append(&["--type", "Old"]);
    let mut tail = Tail::new(&cli, &["--last", "0"]);
    // It looks for where it begins before it shows anything: several, until one is new to it.
    let (mut n, mut lines) = (0, tail.lines);
    let line = std::thread::spawn(move || (lines.next().unwrap().unwrap(), lines));
    while !line.is_finished() {
        cli.append(&["--type", "New", "--tag", "n:1", "--data", "{\"a\": 1}"]);
        n += 1;
    }
    let (line, lines) = line.join().unwrap();
    assert!(n > 0 && line.ends_with("  New  n:1  {\"a\":1}"), "{line}"); // 1, 2
    drop(lines);
    while tail.child.try_wait().unwrap().is_none() {
        cli.append(&["--type", "Last"]);
    }
    assert_eq!(tail.child.wait().unwrap().code(), Some(0)); // 3
}

/// Some writers and readers for a second; the last line is the verdict, and the tenants are gone afterwards.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn stress_finds_nothing(#[future(awt)] db: TestDatabase) {
    let cli = cli(db).await;
    let arguments = ["events", "stress", "--writers", "4", "--readers", "3", "--seconds", "1"];
    let run = bedplate(cli.folder.path(), &cli.urls(), &arguments);
    assert!(run.status.success(), "{run:?}");
    let out = out(&run);
    assert!(out.trim_end().lines().last().unwrap().ends_with(", lost 0, doubled 0, violations 0"), "{out}");
    assert!(!out.contains("appended 0,"), "{out}");
}

/// Waits for its tenants and some of their events, then presses Ctrl-C, an hour too early.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_stress_still_looks_and_cleans_up(#[future(awt)] db: TestDatabase) {
    let cli = cli(db).await;
    let stress = spawn(&cli, &["stress", "--writers", "2", "--readers", "3", "--seconds", "3600"]);
    let mut system = connection(cli.db.config().url()).await;
    execute(&mut system, "SET ROLE bedplate_system").await;
    until(
        &mut system,
        "SELECT count(*) FROM (SELECT WHERE pg_sequence_last_value('events_position_seq') > 20) AS enough",
    )
    .await;
    assert!(Command::new("kill").args(["-INT", &stress.id().to_string()]).status().unwrap().success());
    let run = stress.wait_with_output().unwrap();
    assert!(run.status.success(), "{run:?}");
    let out = String::from_utf8(run.stdout).unwrap();
    assert!(out.trim_end().ends_with(", lost 0, doubled 0, violations 0") && !out.contains("appended 0,"), "{out}");
    assert_eq!(texts(&mut system, "SELECT slug::text FROM tenants").await, ["lumen"]);
}
