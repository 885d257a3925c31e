//! Where a URL with a password comes from: the environment, a file, or what a command prints. What comes from the
//! last two is read again when the server refuses the login, so that a rotated password needs no restart.
//!
//! Always holds: nothing of what was read is in a log or an error.

use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};

use super::url::{DatabaseUrl, Libpq};
use crate::error::{Error, Result};

/// A source that has just been read is not asked again sooner: a wrong password would otherwise run a command for
/// each attempt to connect.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// How long a command may take when it is run again.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// What can be read more than once.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The path of a file.
    File(String),
    /// What `sh` is given.
    Command(String),
}

impl Source {
    pub(super) fn read(&self) -> Result<SecretString> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(SecretString::from)
                .map_err(|error| Error::configuration(format!("{path} cannot be read: {error}"))),
            Self::Command(command) => printed(shell(command).output()),
        }
    }
}

/// What it says on standard error goes to ours, for whoever runs this.
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    shell
}

/// Its standard output.
fn printed(done: std::io::Result<Output>) -> Result<SecretString> {
    let failed = |what: String| Error::configuration(format!("the command that prints the URL {what}: run it by hand"));
    let done = done.map_err(|error| failed(format!("cannot be run ({error})")))?;
    if !done.status.success() {
        return Err(failed(format!("failed ({})", done.status)));
    }
    String::from_utf8(done.stdout).map(SecretString::from).map_err(|_| failed("prints no text".to_owned()))
}

/// Where a URL was read, and what was read there last. Shared by the clones of the URL.
#[derive(Clone)]
pub(super) struct Origin {
    source: Source,
    /// Instead of the one that the source names.
    database: Option<String>,
    newest: Arc<Mutex<Option<DatabaseUrl>>>,
    /// When it was read again; held by who does so.
    read: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

impl Origin {
    pub(super) fn new(source: Source) -> Self {
        Self { source, database: None, newest: Arc::default(), read: Arc::default() }
    }

    pub(super) fn of_database(&self, database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..Self::new(self.source.clone()) }
    }

    /// What was read last, after the first time.
    pub(super) fn newest(&self) -> Option<DatabaseUrl> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads again, if somebody else has not just done so: another URL than the refused one, or nothing. Goes on where
    /// the caller does not wait for it, so that the next one finds what was read.
    pub(super) async fn renewed(&self, refused: &DatabaseUrl) -> Option<DatabaseUrl> {
        let (origin, refused) = (self.clone(), refused.clone());
        let libpq = refused.libpq().clone();
        let reading = tokio::spawn(async move {
            let mut last = origin.read.lock().await;
            let differs = |url: &DatabaseUrl| url.reveal() != refused.reveal();
            let known = origin.newest().filter(differs);
            if known.is_some() || last.is_some_and(|read| read.elapsed() < AT_MOST_EVERY) {
                return known;
            }
            let read = origin.read_again(&libpq).await;
            *last = Some(Instant::now());
            match read {
                Ok(url) => {
                    *origin.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(url.clone());
                    Some(url).filter(differs)
                }
                Err(error) => {
                    tracing::warn!(%error, "the login was refused, and its URL cannot be read again");
                    None
                }
            }
        });
        reading.await.ok().flatten()
    }

    async fn read_again(&self, libpq: &Libpq) -> Result<DatabaseUrl> {
        let late = |_| Error::configuration("the command that prints the URL takes too long: it was ended");
        let read = match &self.source {
            Source::File(_) => self.source.read()?,
            Source::Command(command) => {
                let output = tokio::process::Command::from(shell(command)).kill_on_drop(true).output();
                printed(tokio::time::timeout(COMMAND_TIMEOUT, output).await.map_err(late)?)?
            }
        };
        let url = DatabaseUrl::read(read.expose_secret(), libpq)?;
        self.database.as_ref().map_or(Ok(url.clone()), |database| url.with_database(database))
    }
}
