//! The scripts, and the programs of PostgreSQL that bedplate starts, in an environment that was made for others: no
//! variable of libpq or of a server steers them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use bedplate::database::private_server::PrivateServer;
use rstest::rstest;

use crate::cli::{bedplate, out};
use crate::support::server::{server, watchdog};
use crate::support::{connection, number};

/// Every variable that libpq, its clients and a server read, each with what makes them fail or go elsewhere.
pub const NONSENSE: [(&str, &str); 42] = [
    ("PGHOST", "nowhere.invalid"),
    ("PGHOSTADDR", "192.0.2.1"),
    ("PGPORT", "nonsense"),
    ("PGDATABASE", "nonsense"),
    ("PGUSER", "nonsense"),
    ("PGPASSWORD", "nonsense"),
    ("PGPASSFILE", "/nowhere/pgpass"),
    ("PGREQUIREAUTH", "nonsense"),
    ("PGCHANNELBINDING", "require"),
    ("PGSERVICE", "nonsense"),
    ("PGSERVICEFILE", "/nowhere/services"),
    ("PGSYSCONFDIR", "/nowhere"),
    ("PGOPTIONS", "-c nonsense=1"),
    ("PGAPPNAME", "nonsense"),
    ("PGSSLMODE", "nonsense"),
    ("PGREQUIRESSL", "1"),
    ("PGSSLNEGOTIATION", "direct"),
    ("PGSSLCOMPRESSION", "nonsense"),
    ("PGSSLCERT", "/nowhere/cert"),
    ("PGSSLKEY", "/nowhere/key"),
    ("PGSSLCERTMODE", "require"),
    ("PGSSLROOTCERT", "/nowhere/root"),
    ("PGSSLCRL", "/nowhere/crl"),
    ("PGSSLCRLDIR", "/nowhere"),
    ("PGSSLSNI", "nonsense"),
    ("PGREQUIREPEER", "nonsense"),
    ("PGSSLMINPROTOCOLVERSION", "nonsense"),
    ("PGSSLMAXPROTOCOLVERSION", "nonsense"),
    ("PGGSSENCMODE", "require"),
    ("PGKRBSRVNAME", "nonsense"),
    ("PGGSSLIB", "nonsense"),
    ("PGGSSDELEGATION", "nonsense"),
    ("PGCONNECT_TIMEOUT", "nonsense"),
    ("PGCLIENTENCODING", "nonsense"),
    ("PGTARGETSESSIONATTRS", "standby"),
    ("PGLOADBALANCEHOSTS", "nonsense"),
    ("PGDATESTYLE", "nonsense"),
    ("PGTZ", "nonsense"),
    ("PGGEQO", "nonsense"),
    ("PGLOCALEDIR", "/nowhere"),
    ("PGDATA", "/nowhere/data"),
    ("PG_COLOR", "always"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The scripts by name, without what they share.
fn scripts() -> Vec<String> {
    let entries = fs::read_dir(root().join("scripts")).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<_> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 15, "{names:?}");
    names
}

/// Those that the other tests of this kind do not run: they only look for programs. `up` starts bedplate alone, which
/// reads some of the variables as docs/operations.md says.
const STARTS_NOTHING: [&str; 4] = ["check-compose", "install-pgbouncer", "install-postgresql", "up"];

/// Run by the test `backup::no_variable_of_libpq_steers_them`.
const RUN_AS_A_WHOLE: [&str; 3] = ["backup", "restore", "rehearse-restore"];

/// What each script starts first, and everything after it, finds none of the variables: `cargo` is one here that writes
/// them down and ends the script.
#[rstest]
#[tokio::test]
async fn no_variable_of_libpq_reaches_what_a_script_starts() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    for name in ["cargo", "cargo-tarpaulin", "diesel", "pgbouncer"] {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\nenv >'{}'\nexit 1\n", seen.display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let admin = server().admin.as_ref().unwrap_or(&server().owner);
    let version = "SELECT current_setting('server_version_num')::int / 10000";
    let version = number(&mut connection(admin).await, version).await.to_string();
    for name in scripts() {
        if RUN_AS_A_WHOLE.contains(&name.as_str()) || STARTS_NOTHING.contains(&name.as_str()) {
            continue;
        }
        let mut script = Command::new(root().join("scripts").join(&name));
        script.envs(NONSENSE).env("BEDPLATE_INSTALL", "no").env("PGBOUNCER_PORT", "6432");
        script.env("PATH", format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap()));
        if name == "test-matrix" {
            script.arg(&version);
        }
        let done = script.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let seen_by = fs::read_to_string(&seen).unwrap_or_else(|_| panic!("{name} started nothing: {said}"));
        let left: Vec<_> = seen_by
            .lines()
            .filter(|line| NONSENSE.iter().any(|(name, _)| line.starts_with(&format!("{name}="))))
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
        assert!(seen_by.lines().any(|line| line == "PGBOUNCER_PORT=6432"), "{name}");
        fs::remove_file(&seen).unwrap();
    }
}

/// A script that is new forgets them too.
#[test]
fn every_script_forgets_the_variables_of_libpq() {
    for name in scripts().iter().filter(|name| *name != "up") {
        let text = fs::read_to_string(root().join("scripts").join(name)).unwrap();
        let shared = text.contains("lib/environment.sh\n") || text.contains("lib/environment.sh\"\n");
        assert!(shared || text.contains("lib/backup.sh\"\n"), "{name}");
    }
}

/// What is private is reached, made, started and stopped, whatever the variables say.
#[test]
fn the_private_server_is_not_steered() {
    let home = tempfile::Builder::new().prefix("bedplate-steered-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = PrivateServer::at(home.path().join(".bedplate"));
    let run = |arguments: &[&str]| {
        let done = bedplate(home.path(), &NONSENSE, arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        done
    };
    let mut stopped_in_the_end = None;
    for _ in 0..2 {
        run(&["up"]);
        stopped_in_the_end
            .get_or_insert_with(|| watchdog(&server.folder().unwrap().unwrap(), &home.path().join("server")));
        for arguments in [&["status"][..], &["migrate", "status", "--all"], &["seed"], &["doctor"]] {
            run(arguments);
        }
        assert!(out(&run(&["url"])).starts_with("postgres://bedplate_owner:"));
        run(&["down"]);
        assert!(!server.is_running().unwrap());
    }
}
