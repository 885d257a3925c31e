//! What the command line writes, and what it does where nobody reads it: the real binary, at pipes, full disks and
//! terminals.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bedplate::DatabaseUrl;
use nix::pty::openpty;
use rstest::rstest;
use serde_json::Value;

use crate::cli::{bedplate, error, out};
use crate::support::{Folder, TestDatabase, db, empty_db, home};

const ESCAPE: char = '\u{1b}';

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `bedplate` in this folder, with the streams yet to be chosen.
fn command(folder: &Path, vars: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    for name in ["DATABASE_URL", "DATABASE_URL_FILE", "DB_HOST", "DB_NAME", "APP_DATABASE_URL", "BEDPLATE_ENV"] {
        command.env_remove(name);
    }
    for name in ["RUST_LOG", "NO_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").current_dir(folder).args(arguments).envs(vars.iter().copied());
    command
}

/// A pipe that nobody reads any more.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A disk without space.
fn full_disk() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

const NEEDS_NOTHING: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["help", "migrate", "up"],
    &["events", "read", "--help"],
    &["completions", "bash"],
    &["migrate", "lint", "--all"],
    &["migrate", "lint", "--json"],
];

const NEEDS_A_DATABASE: &[&[&str]] = &[
    &["status"],
    &["status", "--json"],
    &["url"],
    &["doctor"],
    &["doctor", "--json"],
    &["migrate"],
    &["migrate", "status"],
    &["migrate", "status", "--json"],
    &["migrate", "history"],
    &["migrate", "plan"],
    &["outbox", "status"],
    &["events", "read", "--tenant", "TENANT"],
    &["events", "read", "--tenant", "TENANT", "--json", "--to-decide"],
    &["events", "tail", "--tenant", "TENANT"],
];

/// `bedplate … | head -1`, with a head that has gone already: the command ends as it does otherwise, and says nothing.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_every_command_quietly(#[future(awt)] db: TestDatabase) {
    let tenant = home(&db).await.tenant.to_string();
    let folder = tempfile::tempdir().unwrap();
    let append = ["events", "append", "--tenant", &tenant, "--type", "DoorOpened"];
    let appended = bedplate(folder.path(), &[("DATABASE_URL", db.url.reveal())], &append);
    assert!(appended.status.success(), "{}", err(&appended));
    for arguments in NEEDS_NOTHING.iter().chain(NEEDS_A_DATABASE) {
        let arguments: Vec<_> =
            arguments.iter().map(|argument| if *argument == "TENANT" { tenant.as_str() } else { argument }).collect();
        let mut command = command(folder.path(), &[("DATABASE_URL", db.url.reveal())], &arguments);
        let output = command.stdout(closed_pipe()).output().unwrap();
        assert_eq!(
            (output.status.code(), err(&output).contains("panicked")),
            (Some(0), false),
            "{arguments:?}: {output:?}"
        );
        assert!(!err(&output).contains("error"), "{arguments:?}: {output:?}");
    }
}

/// The exit code is that of the work: a finding is one also where nobody reads it.
#[test]
fn a_closed_pipe_hides_no_finding() {
    let bad = Folder::new(&[("2026-12-01-000000_a", "DROP TABLE t;", "SELECT;")]);
    let arguments = ["migrate", "lint", "--dir", bad.path().to_str().unwrap()];
    let output = command(Path::new("."), &[], &arguments).stdout(closed_pipe()).output().unwrap();
    assert!(error(&output, 5).starts_with("error: 1 found"));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error(#[future(awt)] db: TestDatabase) {
    let tenant = home(&db).await.tenant.to_string();
    let folder = tempfile::tempdir().unwrap();
    for arguments in NEEDS_NOTHING.iter().chain(NEEDS_A_DATABASE) {
        if arguments.starts_with(&["events"]) && !arguments.contains(&"--to-decide") && !arguments.contains(&"--help") {
            // Without events there is nothing to write, or no end.
            continue;
        }
        let arguments: Vec<_> =
            arguments.iter().map(|argument| if *argument == "TENANT" { tenant.as_str() } else { argument }).collect();
        let mut command = command(folder.path(), &[("DATABASE_URL", db.url.reveal())], &arguments);
        let output = command.stdout(full_disk()).output().unwrap();
        assert!(
            error(&output, 1).starts_with("error: writing to standard output: No space left on device"),
            "{arguments:?}: {output:?}"
        );
    }
}

/// Standard error that is closed or full changes nothing: what is told there is for people.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_standard_error_that_takes_nothing_changes_nothing(#[future(awt)] empty_db: DatabaseUrl) {
    let migrations = Folder::new(&[("2026-01-01-000000_a", "CREATE TABLE a (id int);", "DROP TABLE a;")]);
    let dir = migrations.path().to_str().unwrap();
    let run = |stream: fn() -> Stdio, arguments: &[&str]| {
        let vars = [("DATABASE_URL", empty_db.reveal()), ("RUST_LOG", "debug")];
        let mut command = command(Path::new("."), &vars, arguments);
        command.stderr(stream()).output().unwrap()
    };
    for stream in [closed_pipe, full_disk] {
        let up = run(stream, &["migrate", "--dir", dir]);
        assert_eq!((up.status.code(), out(&up).as_str()), (Some(0), "1 migration applied.\n"));
        let down = run(stream, &["migrate", "--dir", dir, "down"]);
        assert_eq!((down.status.code(), out(&down).as_str()), (Some(0), "1 migration reverted.\n"));
        assert_eq!(run(stream, &["migrate", "--dir", "nowhere"]).status.code(), Some(1));
        assert_eq!(run(stream, &["nonsense"]).status.code(), Some(2));
    }
}

const TALKS: &str = "\
DO $$ BEGIN
    RAISE NOTICE 'hush: a notice';
    RAISE INFO 'hush: an info';
    RAISE WARNING 'hush: a warning';
END $$;
CREATE TABLE IF NOT EXISTS a (id int);
CREATE TABLE IF NOT EXISTS a (id int);";

/// What the server says to its client is not what the program says to its user; who wants it asks for it.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_notices_are_shown_to_those_who_ask(#[future(awt)] empty_db: DatabaseUrl) {
    let migrations = Folder::new(&[("2026-01-01-000000_a", TALKS, "DROP TABLE a;")]);
    let run = |log: &[(&str, &str)], arguments: &[&str]| {
        let vars = [&[("DATABASE_URL", empty_db.reveal())], log].concat();
        let arguments = [&["migrate", "--dir", migrations.path().to_str().unwrap()], arguments].concat();
        let output = command(Path::new("."), &vars, &arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(!err(&output).contains(ESCAPE) && !out(&output).contains(ESCAPE), "{output:?}");
        err(&output)
    };
    for log in [&[][..], &[("RUST_LOG", "warn")], &[("CLICOLOR_FORCE", "1")]] {
        let silent = run(log, &[]);
        assert!(silent.contains("2026-01-01-000000_a ("), "progress is told: {silent}");
        for word in ["hush", "NOTICE", "INFO", "skipping"] {
            assert!(!silent.contains(word), "{word}: {silent}");
        }
        run(&[], &["down"]);
    }
    let asked = run(&[("RUST_LOG", "tokio_postgres=info")], &[]);
    assert!(asked.contains("hush: a notice") && asked.contains("already exists, skipping"), "{asked}");

    // At a terminal the log has colours, unless its user says no.
    let green = "\u{1b}[32m";
    for (no_color, coloured) in [("", true), ("1", false)] {
        run(&[], &["down"]);
        let vars = [("DATABASE_URL", empty_db.reveal()), ("RUST_LOG", "tokio_postgres=info"), ("NO_COLOR", no_color)];
        let arguments = ["migrate", "--dir", migrations.path().to_str().unwrap()];
        let (terminal, _) = at_a_terminal(command(Path::new("."), &vars, &arguments), "stderr");
        assert_eq!((terminal.contains("hush: a notice"), terminal.contains(green)), (true, coloured), "{terminal:?}");
    }
}

/// Below `info` the driver logs each query with its values: nothing in `RUST_LOG` brings that about.
#[rstest]
#[case("tokio_postgres=trace")]
#[case("tokio_postgres::query=trace")]
#[case("trace,tokio_postgres::prepare=debug")]
#[case("warn,tokio_postgres::simple_query=debug")]
#[tokio::test(flavor = "multi_thread")]
async fn no_log_shows_a_query(#[case] log: &str, #[future(awt)] db: TestDatabase) {
    let tenant = home(&db).await.tenant.to_string();
    let vars = [("DATABASE_URL", db.url.reveal()), ("RUST_LOG", log)];
    let append = ["events", "append", "--tenant", &tenant, "--type", "DoorOpened", "--data", r#"{"pin": "hush-4711"}"#];
    let output = command(Path::new("."), &vars, &append).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    for word in ["hush-4711", "executing", "preparing query"] {
        assert!(!err(&output).contains(word), "{word}: {}", err(&output));
    }
}

/// Runs with standard error (or output) at a terminal, and the other at a pipe: (what the terminal got, the rest).
fn at_a_terminal(mut command: Command, stream: &str) -> (String, Output) {
    let pty = openpty(None, None).unwrap();
    let reader = std::thread::spawn(move || {
        let (mut master, mut text, mut buffer) = (File::from(pty.master), Vec::new(), [0; 4096]);
        // The terminal's end is an error: its last writer has gone.
        while let Ok(read @ 1..) = master.read(&mut buffer) {
            text.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match stream {
        "stdout" => command.stdout(pty.slave),
        _ => command.stderr(pty.slave),
    };
    let child = command.spawn().unwrap();
    drop(command);
    let output = child.wait_with_output().unwrap();
    (reader.join().unwrap(), output)
}

/// Each stream is judged by itself, and `NO_COLOR` is heard.
#[rstest]
#[case::help("stdout", &["--help"])]
#[case::wrong_usage("stderr", &["nonsense"])]
fn colours_are_for_terminals(#[case] stream: &str, #[case] arguments: &[&str]) {
    let vars = [("DATABASE_URL", "postgres://u@127.0.0.1:1/x"), ("RUST_LOG", "debug")];
    let run = |more: &[(&str, &str)], stream: &str| {
        at_a_terminal(command(Path::new("."), &[&vars, more].concat(), arguments), stream)
    };
    let other = if stream == "stdout" { "stderr" } else { "stdout" };
    let (terminal, rest) = run(&[], stream);
    assert!(terminal.contains(ESCAPE), "{terminal:?}");
    assert!(!out(&rest).contains(ESCAPE) && !err(&rest).contains(ESCAPE), "{rest:?}");
    let (terminal, rest) = run(&[], other);
    assert!(!terminal.contains(ESCAPE) && !out(&rest).contains(ESCAPE) && !err(&rest).contains(ESCAPE), "{rest:?}");
    assert!(!out(&rest).is_empty() || !err(&rest).is_empty(), "it said something");
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (terminal, _) = run(&[plain], stream);
        assert!(!terminal.is_empty() && !terminal.contains(ESCAPE), "{terminal:?}");
    }
}

/// Where a spinner turns, standard output has none of it.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_spinner_turns_at_a_terminal_alone(#[future(awt)] empty_db: DatabaseUrl) {
    let migrations = Folder::new(&[("2026-01-01-000000_a", "CREATE TABLE a (id int);", "DROP TABLE a;")]);
    let arguments = ["migrate", "redo", "--dir", migrations.path().to_str().unwrap()];
    let vars = [("DATABASE_URL", empty_db.reveal())];
    migrations.up(&empty_db).await.unwrap();
    let (terminal, rest) = at_a_terminal(command(Path::new("."), &vars, &arguments), "stderr");
    assert!(terminal.contains(ESCAPE), "{terminal:?}");
    assert_eq!(out(&rest), "1 migration reverted and applied again.\n");
    let (terminal, rest) = at_a_terminal(command(Path::new("."), &vars, &arguments), "stdout");
    assert_eq!(terminal, "1 migration reverted and applied again.\r\n");
    assert!(!err(&rest).is_empty() && !err(&rest).contains([ESCAPE, '\r']), "{rest:?}");
}

/// A project of somebody else's: no folder, or another one than ours.
#[test]
fn the_lint_says_which_folder_it_looked_at() {
    let lint = |folder: &Path, arguments: &[&str]| bedplate(folder, &[], &[&["migrate", "lint"], arguments].concat());
    let json = |folder: &Path, arguments: &[&str]| -> Value {
        serde_json::from_slice(&lint(folder, &[arguments, &["--json"]].concat()).stdout).unwrap()
    };
    let compiled_in = "the migrations that are compiled in (main)";

    let stranger = tempfile::tempdir().unwrap();
    let own = lint(stranger.path(), &[]);
    assert!(out(&own).starts_with(&format!("{compiled_in}: ")), "{}", out(&own));
    assert!(err(&own).contains("nothing of this folder was looked at"), "{}", err(&own));
    assert!(err(&own).contains("bedplate migrate lint --dir PATH"), "{}", err(&own));
    assert_eq!(json(stranger.path(), &[])["folder"], compiled_in);

    // Migrations as the diesel CLI has them, straight in `migrations`.
    let good = "SELECT;";
    let make = |path: &Path| {
        std::fs::create_dir_all(path.join("2026-01-01-000000_a")).unwrap();
        for (file, text) in
            [("up.sql", good), ("down.sql", "SELECT;"), ("metadata.toml", "run_in_transaction = true\n")]
        {
            std::fs::write(path.join("2026-01-01-000000_a").join(file), text).unwrap();
        }
    };
    make(&stranger.path().join("migrations"));
    let own = lint(stranger.path(), &[]);
    assert!(out(&own).starts_with(&format!("{compiled_in}: ")), "{}", out(&own));
    assert!(err(&own).contains("bedplate migrate lint --dir migrations"), "{}", err(&own));
    let named = lint(stranger.path(), &["--dir", "migrations"]);
    assert_eq!((out(&named).as_str(), err(&named).as_str()), ("migrations: 1 migration, nothing found.\n", ""));
    assert_eq!(json(stranger.path(), &["--dir", "migrations"])["folder"], "migrations");

    // A clone of bedplate, with one of its databases.
    let clone = tempfile::tempdir().unwrap();
    make(&clone.path().join("migrations/rfq"));
    let rfq = lint(clone.path(), &["--database", "rfq"]);
    assert!(out(&rfq).starts_with("migrations/rfq: 1 migration"), "{}", out(&rfq));
    assert_eq!(err(&rfq), "");
    let all = lint(clone.path(), &["--all"]);
    assert_eq!(out(&all).lines().filter(|line| line.starts_with("the migrations that are compiled in (")).count(), 2);
    assert_eq!(out(&all).lines().filter(|line| line.starts_with("migrations/rfq: ")).count(), 1);
    assert!(err(&all).contains("main, marketdata"), "{}", err(&all));
    let all = json(clone.path(), &["--all"]);
    assert_eq!(all["databases"]["rfq"]["folder"], "migrations/rfq");
    assert_eq!(all["databases"]["main"]["folder"], compiled_in);

    // A folder without a migration is no success.
    let empty = tempfile::tempdir().unwrap();
    let nothing = lint(empty.path(), &["--dir", "."]);
    assert!(error(&nothing, 1).contains("holds no migrations"), "{nothing:?}");
}

/// In a folder with migrations of its own, every command that takes those that are compiled in says so.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_leaves_the_folder_here_aside_says_so(#[future(awt)] empty_db: DatabaseUrl) {
    let run = |folder: &Path, arguments: &[&str]| bedplate(folder, &[("DATABASE_URL", empty_db.reveal())], arguments);
    let stranger = tempfile::tempdir().unwrap();
    let write = |path: &str| {
        let path = stranger.path().join(path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("up.sql"), "SELECT 1;").unwrap();
    };
    let quiet = run(stranger.path(), &["migrate", "status"]);
    assert!(!err(&quiet).contains("note: "), "nothing of the caller's is here: {}", err(&quiet));

    write("migrations/2026-01-01-000000_a");
    let commands: [&[&str]; 6] =
        [&["migrate", "status"], &["migrate"], &["migrate", "plan"], &["status"], &["migrate", "redo"], &["up"]];
    for arguments in commands {
        let output = run(stranger.path(), arguments);
        let note = "note: these are the migrations that are compiled in (main";
        let way = "); your own: bedplate migrate --dir migrations\n";
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert_eq!(err(&output).matches(note).count(), 1, "{arguments:?}: {}", err(&output));
        assert_eq!(err(&output).matches(way).count(), 1, "{arguments:?}: {}", err(&output));
        assert!(!out(&output).contains("note: "), "{output:?}");
    }
    let named = run(stranger.path(), &["migrate", "plan", "--dir", "migrations"]);
    assert!(!err(&named).contains("note: "), "{}", err(&named));
    let status: Value = serde_json::from_slice(&run(stranger.path(), &["migrate", "status", "--json"]).stdout).unwrap();
    assert_eq!(status["folder"], "the migrations that are compiled in (main)");
    let refused = error(&run(stranger.path(), &["migrate", "create", "add_phone_to_users"]), 1);
    assert!(refused.contains("--dir migrations"), "{refused}");
    assert!(!stranger.path().join("migrations/main").exists(), "nothing was made");

    std::fs::remove_dir_all(stranger.path().join("migrations")).unwrap();
    write("migrations/main/2026-01-01-000000_a");
    write("migrations/main/2026-01-01-000001_b");
    let output = run(stranger.path(), &["migrate", "status"]);
    let note = "note: migrations/main has 2 migrations that this program was not built with, the first \
                2026-01-01-000000_a; build it again, or name the folder: --dir migrations/main";
    assert!(err(&output).contains(note), "{}", err(&output));
}
