//! Kinds of files and of accidents that other migration tools were reported for, through the command line. Each has
//! several inputs: a fix for one input is not a fix.

mod down;
mod other_sessions;
mod session;
mod text;

use std::path::Path;
use std::process::{Command, Stdio};

use bedplate::DatabaseUrl;
use serde_json::Value;

/// The answer of one command.
struct Answer {
    well: bool,
    /// Both streams.
    said: String,
}

impl Answer {
    /// The same, where it had to work.
    #[track_caller]
    fn well(self) -> Self {
        assert!(self.well, "{}", self.said);
        self
    }

    /// The same, where it had to be refused.
    #[track_caller]
    fn refused(self) -> Self {
        assert!(!self.well, "it is not refused: {}", self.said);
        self
    }
}

fn command(folder: &Path, url: &DatabaseUrl, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    command.args(["migrate", "--url", url.reveal(), "--dir"]).arg(folder).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn migrate(folder: &Path, url: &DatabaseUrl, arguments: &[&str]) -> Answer {
    answer(command(folder, url, arguments).output().unwrap())
}

fn answer(done: std::process::Output) -> Answer {
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Answer { well: done.status.success(), said }
}

/// The migrations of `status --json`.
fn status(folder: &Path, url: &DatabaseUrl) -> Vec<Value> {
    let done = migrate(folder, url, &["status", "--json"]).well();
    let json = &done.said[done.said.find('{').unwrap()..];
    let status: Value = serde_json::from_str(json.trim()).unwrap_or_else(|error| panic!("{error}: {json}"));
    status["migrations"].as_array().unwrap().clone()
}
