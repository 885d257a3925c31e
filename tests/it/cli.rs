//! The command line as a person uses it: the real binary, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bedplate::DatabaseUrl;
use rstest::rstest;

use crate::support::server::server;
use crate::support::{Folder, connection, empty_db, execute, number};

/// `bedplate` with exactly these variables, in this folder.
pub fn bedplate(folder: &Path, vars: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(env!("CARGO_BIN_EXE_bedplate"), folder, vars, arguments)
}

fn command(program: &str, folder: &Path, vars: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    for name in ["DATABASE_URL", "DATABASE_URL_FILE", "DB_HOST", "DB_NAME", "APP_DATABASE_URL", "BEDPLATE_ENV"] {
        command.env_remove(name);
    }
    command.current_dir(folder).args(arguments).envs(vars.iter().copied()).output().unwrap()
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One line on standard error beginning with `error: `, and nothing like a backtrace.
pub fn error(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((output.status.code(), lines.len()), (Some(code), 1), "{said}");
    lines[0].to_owned()
}

/// A folder whose private server is stopped and removed in the end.
struct Project(PathBuf);

impl Project {
    fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("bedplate-project-")
                .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
                .unwrap()
                .keep(),
        )
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        bedplate(&self.0, &[], &["down"]);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The tables that were printed, whatever the width of their columns.
fn rows(output: &Output) -> String {
    out(output).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn up_makes_a_seeded_database_from_nothing_and_a_second_up_changes_nothing() {
    let project = Project::new();
    let up = bedplate(&project.0, &[], &["up"]);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    for row in ["agent_results ┆ 25", "business_ideas ┆ 6", "evaluations ┆ 5", "users ┆ 3"] {
        assert!(rows(&up).contains(row), "{row}: {}", out(&up));
    }
    assert!(out(&up).contains("Try next") && !out(&up).contains("nothing was changed"));
    assert!(String::from_utf8_lossy(&up.stderr).contains("migration 1 of "), "progress is told");
    let again = bedplate(&project.0, &[], &["up"]);
    assert!(out(&again).contains("Everything was up to date: nothing was changed."), "{}", out(&again));

    // kill -9, and up again: the data is in place.
    let pid = std::fs::read_to_string(project.0.join(".bedplate/server/data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap();
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    error(&bedplate(&project.0, &[], &["status"]), 4);
    let back = bedplate(&project.0, &[], &["up"]);
    assert!(rows(&back).contains("agent_results ┆ 25"), "{}", out(&back));

    let status: serde_json::Value =
        serde_json::from_slice(&bedplate(&project.0, &[], &["status", "--json"]).stdout).unwrap();
    for (name, database) in [("main", "bedplate"), ("rfq", "bedplate_rfq"), ("marketdata", "bedplate_marketdata")] {
        let status = &status["databases"][name];
        assert_eq!(status["database"], database);
        let migrations = status["migrations"].as_array().unwrap();
        assert!(migrations.len() > 2 && migrations.iter().all(|m| m["state"] == "applied"), "{migrations:?}");
    }

    let url = |flag: &[&str]| out(&bedplate(&project.0, &[], &[&["url"], flag].concat())).trim().to_owned();
    assert!(url(&[]).starts_with("postgres://bedplate_owner:"));
    assert!(url(&["--app"]).starts_with("postgres://bedplate_login:"));
    assert!(url(&["--admin"]).starts_with("postgres://postgres:"));

    let seeded = command(env!("CARGO_BIN_EXE_seed"), &project.0, &[], &[]);
    assert!(out(&seeded).starts_with("21 files were already loaded; all consistency rules hold"), "{}", out(&seeded));

    assert!(out(&bedplate(&project.0, &[], &["down"])).contains("stopped; its data stays"));
    assert!(out(&bedplate(&project.0, &[], &["down"])).contains("was not running"));
}

#[rstest]
#[tokio::test]
async fn every_command_works_on_a_named_database(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| bedplate(folder.path(), &[("DATABASE_URL", empty_db.reveal())], arguments);
    assert!(out(&run(&["status"])).contains("There are no tables yet"));
    let all = std::fs::read_dir("migrations/main").unwrap().count();
    assert!(out(&run(&["migrate"])).starts_with(&format!("{all} migrations applied.")));
    assert_eq!(out(&run(&["migrate", "up"])), "Nothing to do.\n");
    assert!(out(&run(&["migrate", "status"])).contains("2026-11-20-100000_create_roles"));
    assert_eq!(out(&run(&["migrate", "redo"])), "1 migration reverted and applied again.\n");
    assert_eq!(out(&run(&["migrate", "down", "--count", "2"])), "2 migrations reverted.\n");
    let json: serde_json::Value = serde_json::from_slice(&run(&["migrate", "status", "--json"]).stdout).unwrap();
    assert_eq!(json["migrations"].as_array().unwrap().iter().filter(|m| m["state"] == "pending").count(), 2);
    assert!(rows(&run(&["up"])).contains("agent_results ┆ 25"));
    assert!(out(&run(&["seed"])).starts_with("21 files were already loaded"), "{}", out(&run(&["seed"])));
    assert!(out(&run(&["seed", "--set", "reference"])).starts_with("2 files were already loaded"));
    // Reverted and applied again, as often as anybody likes: the rows are back.
    assert_eq!(out(&run(&["migrate", "down", "--count", &all.to_string()])), format!("{all} migrations reverted.\n"));
    assert_eq!(out(&run(&["migrate"])), format!("{all} migrations applied.\n"));
    let restored = run(&["seed"]);
    assert!(out(&restored).starts_with("15 files were loaded, 6 files were already loaded; all consistency"));
    assert!(rows(&run(&["status"])).contains("agent_results ┆ 25"));
    assert!(out(&run(&["up"])).contains("Seeds: 21 files were already loaded; all consistency rules hold"));
    assert!(out(&run(&["seed", "--force", "--set", "development"])).starts_with("19 files were loaded;"));
    // A set is a folder, of any name.
    std::fs::create_dir_all(folder.path().join("seeds/demo/main")).unwrap();
    let sql = "UPDATE tenants SET name = 'Demo' WHERE slug = 'lumen'";
    std::fs::write(folder.path().join("seeds/demo/main/010_demo.sql"), sql).unwrap();
    assert!(
        out(&run(&["seed", "--set", "demo"])).starts_with("1 file was loaded; all consistency rules hold (set demo;")
    );
    let unknown = error(&run(&["seed", "--set", "../demo"]), 2);
    assert!(unknown.contains("the sets are demo, development, reference"), "{unknown}");
    let created = out(&run(&["migrate", "create", "add_phone_to_users"]));
    assert!(created.contains("_add_phone_to_users: write up.sql"), "{created}");
    assert_eq!(std::fs::read_dir(folder.path().join("migrations/main")).unwrap().count(), 1);
    let url = DatabaseUrl::with_database(&server().owner, "nowhere_here").unwrap();
    let elsewhere = run(&["migrate", "status", "--url", url.reveal()]);
    assert!(error(&elsewhere, 1).contains("there is no database \"nowhere_here\""));

    // reset: somebody's table and rows are gone, the seeds are back.
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, "CREATE TABLE mine (id int); INSERT INTO mine VALUES (1)").await;
    assert!(rows(&run(&["status"])).contains("mine ┆ 1"), "a table that only the owner may read");
    let reset = run(&["reset"]);
    assert!(rows(&reset).contains("agent_results ┆ 25"), "{}", String::from_utf8_lossy(&reset.stderr));
    assert_eq!(number(&mut owner, "SELECT count(*) FROM pg_class WHERE relname = 'mine'").await, 0);
    assert!(out(&run(&["migrate", "down", "--all"])).starts_with(&format!("{all} migrations reverted.")));
}

#[rstest]
#[tokio::test]
async fn production_is_protected(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        bedplate(folder.path(), &[("DATABASE_URL", empty_db.reveal()), ("BEDPLATE_ENV", "production")], arguments)
    };
    let up = run(&["up"]);
    assert!(rows(&up).contains("agent_results ┆ 0"), "no development seeds: {}", out(&up));
    assert!(error(&run(&["seed", "--set", "development"]), 3).contains("published passwords"));
    let refused = error(&run(&["reset"]), 3);
    assert!(refused.contains(&format!("--database {}", empty_db.database())), "{refused}");
    error(&run(&["reset", "--database", "another"]), 3);
    assert!(run(&["reset", "--database", empty_db.database()]).status.success());
}

#[rstest]
#[case::wrong_url(&[("DATABASE_URL", "mysql://root:hush@db/x")], &["up"], 1, "the database URL cannot be read")]
#[case::server_down(&[("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/x")], &["status"], 4, "is the server running?")]
#[case::not_ours(&[("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/x")], &["down"], 3, "did not start")]
#[case::no_admin(&[("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/x")], &["url", "--admin"], 3, "private server only")]
#[case::no_app(&[("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/x")], &["url", "--app"], 1, "APP_DATABASE_URL is not set")]
#[case::wrong_environment(&[("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/x"), ("BEDPLATE_ENV", "prod")], &["up"], 1, "development, staging or production")]
#[case::nothing_configured(&[], &["status"], 1, "no database is configured: set DATABASE_URL, or run `bedplate up`")]
#[case::no_server_yet(&[], &["url", "--admin"], 1, "run `bedplate up`")]
#[case::bad_name(&[], &["migrate", "create", "Bad Name"], 1, "write lower case with underscores")]
#[case::no_binaries(&[("PG_BIN", "/nowhere")], &["up"], 1, "or set DATABASE_URL to a server that runs elsewhere")]
#[case::no_such_folder(&[("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/x")], &["migrate", "--dir", "nowhere"], 4, "cannot be reached|is the server running")]
fn every_error_is_one_line_with_a_way_out(
    #[case] vars: &[(&str, &str)],
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] expected: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let output = bedplate(folder.path(), vars, arguments);
    let said = error(&output, code);
    assert!(expected.split('|').any(|part| said.contains(part)), "{said}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hush"), "{said}");
}

#[rstest]
#[tokio::test]
async fn a_migration_that_fails_is_one_line(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = tempfile::tempdir().unwrap();
    let migration = folder.path().join("bad/2026-01-01-000000_bad");
    std::fs::create_dir_all(&migration).unwrap();
    std::fs::write(migration.join("up.sql"), "CREATE TABLE half (id int);\nSELECT 1 / 0;").unwrap();
    std::fs::write(migration.join("down.sql"), "DROP TABLE half;").unwrap();
    let run = bedplate(folder.path(), &[("DATABASE_URL", empty_db.reveal())], &["migrate", "--dir", "bad"]);
    let said = error(&run, 1);
    assert_eq!(
        said,
        "error: migration 2026-01-01-000000_bad failed: up.sql line 2, statement 2 of 2 (SELECT 1 / 0): division by zero; mend it and run `bedplate migrate` again"
    );
    assert_eq!(
        number(&mut connection(&empty_db).await, "SELECT count(*) FROM pg_class WHERE relname = 'half'").await,
        0
    );
}

/// An edit is refused: the diff first, then one line with the way out, and an exit code of its own.
#[rstest]
#[tokio::test]
async fn an_edited_migration_is_refused_with_its_diff(#[future(awt)] empty_db: DatabaseUrl) {
    let migrations = Folder::new(&[("2026-01-01-000000_a", "CREATE TABLE a (id int);\n", "DROP TABLE a")]);
    let folder = migrations.path().parent().unwrap();
    let dir = migrations.path().to_str().unwrap();
    let run = |arguments: &[&str]| {
        bedplate(folder, &[("DATABASE_URL", empty_db.reveal())], &[&["migrate", "--dir", dir], arguments].concat())
    };
    assert_eq!(out(&run(&["--json"])), "{\"done\":[\"2026-01-01-000000_a\"]}\n");
    migrations.write("2026-01-01-000000_a", "up.sql", "CREATE TABLE a (id bigint);\n");
    let refused = run(&[]);
    let said = String::from_utf8(refused.stderr.clone()).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(
        said.contains("-CREATE TABLE a (id int);\n+CREATE TABLE a (id bigint);\nerror: migration 2026-01-01"),
        "{said}"
    );
    assert!(out(&run(&["status"])).contains("applied, changed"));
    let status: serde_json::Value = serde_json::from_slice(&run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["migrations"][0]["problems"][0]["difference"], "edited");
    assert!(out(&run(&["repair", "--accept", "2026-01-01-000000"])).contains("is applied, as its files say now"));
    assert_eq!(out(&run(&[])), "Nothing to do.\n");
    assert!(out(&run(&["history"])).contains("repair"));
    assert!(out(&run(&["plan"])).contains("Nothing is pending."));
}

/// The doctor's answer is for people, for programs, and, by its exit code, for CI.
#[rstest]
#[tokio::test]
async fn the_doctor_and_the_maintenance_answer_people_and_programs(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| bedplate(folder.path(), &[("DATABASE_URL", empty_db.reveal())], arguments);
    assert!(error(&run(&["doctor"]), 1).contains("run `bedplate migrate`"));
    run(&["migrate"]);
    assert!(out(&run(&["doctor"])).ends_with("checks, nothing found.\n"));
    let json = |arguments: &[&str]| -> serde_json::Value { serde_json::from_slice(&run(arguments).stdout).unwrap() };
    assert_eq!(json(&["doctor", "--json"])["findings"], serde_json::json!([]));

    execute(&mut connection(&empty_db).await, "ALTER TABLE users NO FORCE ROW LEVEL SECURITY").await;
    let found = run(&["doctor"]);
    assert_eq!(error(&found, 5), "error: 1 found: run the SQL behind the arrows, and the doctor again");
    assert_eq!(
        out(&found),
        "rls-not-forced: users: its owner sees and changes the rows of every tenant  →  \
         ALTER TABLE users FORCE ROW LEVEL SECURITY;\n"
    );
    let fix = json(&["doctor", "--json"])["findings"][0]["fix"].as_str().unwrap().to_owned();
    execute(&mut connection(&empty_db).await, &fix).await;
    assert!(run(&["doctor"]).status.success());

    run(&["migrate", "--all"]);
    assert!(out(&run(&["doctor"])).ends_with("checks, nothing found.\n"));
    assert!(out(&run(&["maintain"])).contains("│ main       ┆ none"), "{}", out(&run(&["maintain"])));
    let made = &json(&["maintain", "--audit-months-ahead", "4", "--json"])["databases"];
    for name in ["main", "rfq"] {
        assert_eq!(made[name]["partitions_created"].as_array().unwrap().len(), 1, "{made}");
    }
    assert_eq!(made["main"]["sessions_pruned"], 0);
    assert_eq!(run(&["maintain", "--audit-months-ahead", "-1"]).status.code(), Some(2));
}

#[test]
fn a_dot_env_file_is_read_and_a_broken_one_is_told_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "DATABASE_URL=postgres://u:hush@127.0.0.1:1/from_env_file\n").unwrap();
    let read = error(&bedplate(folder.path(), &[], &["status"]), 4);
    assert!(read.contains("from_env_file") && !read.contains("hush"), "{read}");
    std::fs::write(folder.path().join(".env"), "PASSWORD=hush hush\n").unwrap();
    let broken = error(&bedplate(folder.path(), &[], &["status"]), 1);
    assert!(broken.contains(".env cannot be read") && !broken.contains("hush"), "{broken}");
}

#[rstest]
#[case("bash")]
#[case("zsh")]
#[case("fish")]
fn completions_are_printed(#[case] shell: &str) {
    let folder = tempfile::tempdir().unwrap();
    let script = bedplate(folder.path(), &[], &["completions", shell]);
    assert!(script.status.success() && out(&script).contains("migrate"));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let help = out(&bedplate(folder.path(), &[], &["--help"]));
    assert!(help.contains("Exit codes:") && help.contains("Bring everything up"), "{help}");
    assert!(out(&bedplate(folder.path(), &[], &["migrate", "--help"])).contains("Examples:"));
    assert_eq!(bedplate(folder.path(), &[], &["nonsense"]).status.code(), Some(2));
}
