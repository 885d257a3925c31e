//! The runner as a process, and what it says about the database.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bedplate::DatabaseUrl;
use serde_json::Value;
use tokio::process::{Child, Command};

/// A process that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(90);

/// The command line on one folder and one database.
pub struct Runner {
    pub folder: PathBuf,
    pub url: DatabaseUrl,
    output: PathBuf,
}

impl Runner {
    pub fn new(folder: &Path, output: &Path, url: &DatabaseUrl) -> Self {
        Self { folder: folder.into(), url: url.clone(), output: output.join("output") }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
        for name in ["DATABASE_URL", "DATABASE_URL_FILE", "APP_DATABASE_URL", "BEDPLATE_ENV"] {
            command.env_remove(name);
        }
        command.args(["migrate", "--url", self.url.reveal(), "--dir"]).arg(&self.folder).args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts `up`, which tries again at once where a lock was not to be had.
    pub fn up(&self) -> Child {
        let output = File::create(&self.output).unwrap();
        let errors = output.try_clone().unwrap();
        let mut command = self.command(&["up", "--lock-timeout", "60", "--retry", "60"]);
        command.stdout(output).stderr(errors).spawn().unwrap()
    }

    /// What the last `up` said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// The part of it that says why it failed; empty where the runner was killed before it said so.
    pub fn reason(&self) -> String {
        let said = self.said();
        said.rfind("error:").map(|start| said[start..].trim().to_owned()).unwrap_or_default()
    }

    /// Whether it ended well.
    pub async fn end(&self, child: &mut Child) -> Result<bool, String> {
        match tokio::time::timeout(LONGEST, child.wait()).await {
            Ok(status) => Ok(status.unwrap().success()),
            Err(_) => Err(format!("`up` hangs; it said: {}", self.said())),
        }
    }

    async fn answer(&self, arguments: &[&str]) -> Result<String, String> {
        let done = self.command(arguments).output().await.unwrap();
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        Err(format!("{arguments:?} failed: {}", String::from_utf8_lossy(&done.stderr)))
    }

    async fn json(&self, what: &str, key: &str) -> Result<Vec<Value>, String> {
        let answer = self.answer(&[what, "--json"]).await?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| format!("{what}: {error}: {answer}"))?;
        answer[key].as_array().cloned().ok_or_else(|| format!("{what} has no {key}: {answer}"))
    }

    /// (name, state), oldest first.
    pub async fn status(&self) -> Result<Vec<(String, String)>, String> {
        let all = self.json("status", "migrations").await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(all.iter().map(|one| (text(&one["name"]), text(&one["state"]))).collect())
    }

    /// Number of statements in the database, by the last run of this version.
    pub async fn statements_done(&self, version: &str) -> Result<Option<usize>, String> {
        let runs = self.json("history", "runs").await?;
        let last = runs.iter().rev().find(|run| run["version"] == version);
        Ok(last.and_then(|run| run["statements_done"].as_u64()).map(|done| usize::try_from(done).unwrap()))
    }

    /// Tells the engine what a person found: `--ran`, `--not-run` or `--accept`.
    pub async fn repair(&self, answer: &str, name: &str) -> Result<(), String> {
        self.answer(&["repair", answer, name]).await.map(drop)
    }
}
