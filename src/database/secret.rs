//! Where a URL with a password comes from: the environment, a file, or what a command prints. What comes from the
//! last two is read again when the server refuses the login, so that a rotated password needs no restart.
//!
//! Always holds: nothing of what was read is in a log or an error.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::url::DatabaseUrl;
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
            Self::Command(command) => output(command),
        }
    }
}

/// Its standard output. What it says on standard error goes to ours, for whoever runs this.
fn output(command: &str) -> Result<SecretString> {
    let failed = |what: String| Error::configuration(format!("the command that prints the URL {what}: run it by hand"));
    let mut shell = Command::new("sh");
    let done = shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
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
    newest: Arc<Mutex<Newest>>,
}

#[derive(Default)]
struct Newest {
    url: Option<DatabaseUrl>,
    read: Option<Instant>,
}

impl Origin {
    pub(super) fn new(source: Source) -> Self {
        Self { source, database: None, newest: Arc::default() }
    }

    pub(super) fn of_database(&self, database: &str) -> Self {
        Self { source: self.source.clone(), database: Some(database.to_owned()), newest: Arc::default() }
    }

    /// What was read last, after the first time.
    pub(super) async fn newest(&self) -> Option<DatabaseUrl> {
        self.newest.lock().await.url.clone()
    }

    /// Reads again, if somebody else has not just done so: another URL than the refused one, or nothing. Goes on where
    /// the caller does not wait for it, so that the next one finds what was read.
    pub(super) async fn renewed(&self, refused: &DatabaseUrl) -> Option<DatabaseUrl> {
        let (origin, refused) = (self.clone(), refused.clone());
        let reading = tokio::spawn(async move {
            let mut newest = origin.newest.lock().await;
            let differs = |url: &DatabaseUrl| url.reveal() != refused.reveal();
            let known = newest.url.clone().filter(differs);
            if known.is_some() || newest.read.is_some_and(|read| read.elapsed() < AT_MOST_EVERY) {
                return known;
            }
            let read = origin.read().await;
            newest.read = Some(Instant::now());
            match read {
                Ok(url) => {
                    newest.url = Some(url.clone());
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

    async fn read(&self) -> Result<DatabaseUrl> {
        let source = self.source.clone();
        let reading = tokio::task::spawn_blocking(move || source.read());
        let late = |_| Error::configuration("the command that prints the URL takes too long");
        let read = tokio::time::timeout(COMMAND_TIMEOUT, reading).await.map_err(late)?;
        let read = read.map_err(|_| Error::configuration("reading the URL again was cut off"))??;
        let url: DatabaseUrl = read.expose_secret().parse()?;
        self.database.as_ref().map_or(Ok(url.clone()), |database| url.with_database(database))
    }
}
