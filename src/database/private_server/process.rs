//! The server's process: made by initdb, started and stopped by `pg_ctl`, which detaches it from the
//! terminal, so that Ctrl-C does not reach it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::account::Account;
use super::binaries::Binaries;
use super::{State, free_port};
use crate::error::{Error, Result};

/// initdb works beside and is renamed when it is done, so that Ctrl-C leaves nothing half made.
pub(super) fn initialise(binaries: &Binaries, account: &Account, state: &State) -> Result<()> {
    let beside = state.folder.join("data.new");
    if beside.exists() {
        fs::remove_dir_all(&beside).map_err(Error::io(format!("removing {}", beside.display())))?;
    }
    let password = account.secret_file(&state.folder.join("password"), &state.admin_password)?;
    let mut initdb = account.command(&binaries.program("initdb"));
    initdb
        .arg("--pgdata")
        .arg(&beside)
        .args(["--username", super::ADMIN, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-instructions"])
        // Byte order for text, so that an index serves comparisons in any language; letters by Unicode.
        .args(["--locale=C", if cfg!(target_os = "macos") { "--lc-ctype=UTF-8" } else { "--lc-ctype=C.UTF-8" }])
        .arg("--pwfile")
        .arg(&password);
    let made = output(&mut initdb, "initdb");
    fs::remove_file(&password).map_err(Error::io(format!("removing {}", password.display())))?;
    made?;
    fs::rename(&beside, state.data()).map_err(Error::io(format!("renaming {}", beside.display())))
}

/// Starts the server and waits for it; on another port where its own is taken.
pub(super) async fn start(binaries: &Binaries, account: &Account, state: &mut State, options: &[String]) -> Result<()> {
    remove_stale_pid_file(state)?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut settings = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c lc_messages=C -c max_connections=200",
            state.port
        );
        for option in options {
            settings.push_str(" -c ");
            settings.push_str(option);
        }
        // Each start has a log of its own, so that what is read below is of this start. The account makes it.
        remove_if_there(&state.log())?;
        let mut start = account.command(&binaries.program("pg_ctl"));
        start.args(["start", "-w", "-t", "60", "-o", &settings, "-D"]).arg(state.data()).arg("-l").arg(state.log());
        let Err(error) = output(&mut start, "pg_ctl start") else {
            return Ok(());
        };
        let log = fs::read_to_string(state.log()).unwrap_or_default();
        if attempts >= 20 {
            return Err(with_log(&error, &log));
        }
        if log.contains("could not bind") {
            let taken = std::mem::replace(&mut state.port, free_port()?);
            tracing::warn!(taken, port = state.port, "another program has the port");
        } else if log.contains("is still in use") || log.contains("already exists") {
            // Children of a killed server are ending: they notice within moments.
            tokio::time::sleep(Duration::from_millis(250)).await;
        } else {
            return Err(with_log(&error, &log));
        }
    }
}

pub(super) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

fn with_log(error: &Error, log: &str) -> Error {
    let last = log.lines().rev().find(|line| line.contains("FATAL") || line.contains("HINT")).unwrap_or_default();
    Error::Io { doing: error.to_string(), source: std::io::Error::other(last.to_owned()) }
}

/// Whether it accepts connections, or is about to: its process lives and is a server.
pub(super) fn is_running(binaries: &Binaries, account: &Account, state: &State) -> Result<bool> {
    let mut status = account.command(&binaries.program("pg_ctl"));
    let running = status.arg("status").arg("-D").arg(state.data()).output();
    let running = running.map_err(Error::io("asking pg_ctl for the status"))?.status.success();
    Ok(running && is_postgres(state))
}

pub(super) fn stop(binaries: &Binaries, account: &Account, state: &State) -> Result<()> {
    let mut stop = account.command(&binaries.program("pg_ctl"));
    stop.args(["stop", "-w", "-t", "60", "-m", "fast", "-D"]).arg(state.data());
    output(&mut stop, "pg_ctl stop").map(|_| ())
}

/// The first line of `postmaster.pid`.
pub(super) fn process_id(state: &State) -> Option<i32> {
    fs::read_to_string(state.data().join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

/// After a crash of the machine another program can have the process id of the file; PostgreSQL would
/// take it for a server and refuse to start.
fn remove_stale_pid_file(state: &State) -> Result<()> {
    let path = state.data().join("postmaster.pid");
    if is_postgres(state) { Ok(()) } else { remove_if_there(&path) }
}

/// Whether the process of the file lives and is a server. A killed one can stay a zombie for as long as
/// its parent does not look (the first process of a container often never does): that is not living.
fn is_postgres(state: &State) -> bool {
    let Some(pid) = process_id(state) else {
        return false;
    };
    let columns = ["-o", "stat=,comm=", "-p"];
    let Ok(ps) = Command::new("ps").args(columns).arg(pid.to_string()).output() else {
        return linux_process(pid).is_some_and(|(state, name)| state != "Z" && name.contains("postgres"));
    };
    let said = String::from_utf8_lossy(&ps.stdout);
    said.trim()
        .split_once(char::is_whitespace)
        .is_some_and(|(state, name)| !state.starts_with('Z') && name.contains("postgres"))
}

/// State and name, where `ps` is not installed: `4242 (postgres) S 1 …`.
fn linux_process(pid: i32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    Some((tail.split_whitespace().next()?.to_owned(), head.split_once('(')?.1.to_owned()))
}

fn output(command: &mut Command, doing: &str) -> Result<Output> {
    let output = command.output().map_err(Error::io(doing))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed").to_owned();
    Err(Error::Io { doing: doing.to_owned(), source: std::io::Error::other(last) })
}
