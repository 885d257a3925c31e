//! Other programs, as processes: how long, and with how much memory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bedplate::{DatabaseUrl, Error};

use crate::table::Measured;
use crate::{Bench, failed, io};

/// Whether the program is installed.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Debian's psql on PATH is a script that looks for the real one, which takes longer than what is measured here.
fn psql_program() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let real = versions.map(|version| version.path().join("bin/psql")).filter(|psql| psql.is_file()).max();
    real.unwrap_or_else(|| "psql".into())
}

impl Bench {
    /// One psql with this file.
    pub(crate) fn psql(&self, url: &DatabaseUrl, file: &Path) -> Command {
        let mut psql = self.program(psql_program());
        psql.args(["--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file).arg(url.reveal());
        psql
    }

    pub(crate) fn psql_select(&self, url: &DatabaseUrl) -> Command {
        let mut psql = self.program(psql_program());
        psql.args(["--no-psqlrc", "-q", "-c", "SELECT 1"]).arg(url.reveal());
        psql
    }

    pub(crate) fn bedplate(&self, url: &DatabaseUrl, folder: &Path) -> Command {
        let mut bedplate = self.program(env!("CARGO_BIN_EXE_bedplate"));
        bedplate.args(["migrate", "--url", url.reveal(), "--dir"]).arg(folder);
        bedplate
    }

    pub(crate) fn diesel(&self, url: &DatabaseUrl, folder: &Path) -> Command {
        let mut diesel = self.program("diesel");
        diesel.env("DATABASE_URL", url.reveal()).args(["migration", "run", "--migration-dir"]).arg(folder);
        diesel
    }

    fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Result<Measured, Error> {
    let started = Instant::now();
    let output = command.output().map_err(io)?;
    let took = started.elapsed();
    if output.status.success() { Ok(took.into()) } else { Err(failed(&String::from_utf8_lossy(&output.stderr))) }
}

/// The same for one that runs for seconds, with its memory: the kernel's high-water mark, asked again and again,
/// for it is gone with the process. Linux alone has it there.
pub(crate) fn run_watched(command: &mut Command) -> Result<Measured, Error> {
    const PAUSE: Duration = Duration::from_millis(5);
    let started = Instant::now();
    let mut child = command.spawn().map_err(io)?;
    let mut peak = None;
    while child.try_wait().map_err(io)?.is_none() {
        peak = high_water_mark(child.id()).or(peak);
        std::thread::sleep(PAUSE);
    }
    let took = started.elapsed();
    let output = child.wait_with_output().map_err(io)?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(Measured { took, peak, longest: None })
}

fn high_water_mark(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
