//! A database that is made to try migrations on, and dropped when that is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::folder::Source;
use super::guard::{Guard, Skipped};
use super::run::run_guarded;
use super::session::Session;
use super::{Direction, Options};
use crate::database::connect::words;
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result};
use crate::sql::quote_literal;

const PREFIX: &str = "bedplate_scratch_";

/// Where a scratch database is made.
#[derive(Debug, Clone)]
pub struct ScratchServer {
    url: DatabaseUrl,
    throwaway: bool,
}

impl ScratchServer {
    /// A server that is thrown away afterwards: statements that change the server are executed there.
    #[must_use]
    pub fn throwaway(url: DatabaseUrl) -> Self {
        Self { url, throwaway: true }
    }
}

/// A server that others use: statements that change the server are not executed.
impl From<&DatabaseUrl> for ScratchServer {
    fn from(url: &DatabaseUrl) -> Self {
        Self { url: url.clone(), throwaway: false }
    }
}

/// An empty database of its own name. Dropped with [`Scratch::end`], or with the value where its future is dropped.
/// What a runner that was killed left is dropped by the next one.
pub(super) struct Scratch {
    pub(super) url: DatabaseUrl,
    /// `None` on a server that is thrown away.
    pub(super) guard: Option<Arc<Guard>>,
    server: DatabaseUrl,
    dropped: bool,
}

impl Scratch {
    /// Made on the server of this URL, by its login, which needs CREATEDB there.
    pub(super) async fn make(server: &ScratchServer) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let ScratchServer { url: server, throwaway } = server;
        let session = Session::open(server, Options::default().lock_timeout).await?;
        sweep(&session).await?;
        let name = format!("{PREFIX}{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // template0: what an administrator put into template1 is none of the migrations' business.
        session.run(&format!("CREATE DATABASE {name} TEMPLATE template0")).await.map_err(|error| match error {
            Error::Forbidden { message } => Error::Forbidden {
                message: format!(
                    "{message}: this needs a scratch database; give --scratch the URL of a server where the login has \
                     CREATEDB (`bedplate up` runs a private one)"
                ),
            },
            other => other,
        })?;
        let mut scratch =
            Self { url: server.with_database(&name)?, guard: None, server: server.clone(), dropped: false };
        if !throwaway {
            scratch.guard = Some(Guard::open(&scratch.url).await?);
        }
        Ok(scratch)
    }

    /// A session of its own, as a migration begins with.
    pub(super) async fn session(&self) -> Result<Session> {
        let mut session = Session::open(&self.url, Options::default().lock_timeout).await?;
        session.guard.clone_from(&self.guard);
        Ok(session)
    }

    /// Applies or reverts here.
    pub(super) async fn run(&self, source: &Source, direction: Direction) -> Result<Vec<String>> {
        let ran =
            run_guarded(&self.url, source, direction, &Options::default(), self.guard.as_ref(), &mut |_| {}).await;
        ran.map_err(|error| self.explain(error))
    }

    /// The error with its cause, where a statement was not executed.
    pub(super) fn explain(&self, error: Error) -> Error {
        match &self.guard {
            Some(guard) => guard.explain(error),
            None => error,
        }
    }

    /// The statements that were not executed since the last call.
    pub(super) fn skipped(&self) -> Vec<Skipped> {
        self.guard.as_ref().map(|guard| guard.take()).unwrap_or_default()
    }

    /// Drops it. Where that fails, the next runner does it.
    pub(super) async fn end(mut self) {
        self.dropped = true;
        drop_database(&self.server, self.url.database()).await;
    }
}

/// On a runtime of its own: the future that had it is gone, and nobody waits for a task.
impl Drop for Scratch {
    fn drop(&mut self) {
        if self.dropped {
            return;
        }
        let (server, name) = (self.server.clone(), self.url.database().to_owned());
        let dropping =
            std::thread::spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(drop_database(&server, &name)),
                Err(error) => tracing::warn!(%error, database = name, "the scratch database could not be dropped"),
            });
        // The process may end behind this.
        if dropping.join().is_err() {
            tracing::warn!("the scratch database could not be dropped");
        }
    }
}

async fn drop_database(server: &DatabaseUrl, name: &str) {
    let drop = async {
        let session = Session::open(server, Options::default().lock_timeout).await?;
        session.run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
    };
    if let Err(error) = drop.await {
        tracing::warn!(%error, database = name, "the scratch database could not be dropped");
    }
}

/// Those that nobody is connected to, and whose maker is not at work: its process id is in the name.
async fn sweep(session: &Session) -> Result<()> {
    let mine = format!("{PREFIX}{}_", std::process::id());
    let left = session
        .texts(&format!(
            "SELECT quote_ident(datname) FROM pg_database AS d WHERE starts_with(datname, '{PREFIX}') \
                AND NOT starts_with(datname, {}) AND pg_has_role(datdba, 'USAGE') \
                AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datid = d.oid)",
            quote_literal(&mine)
        ))
        .await?;
    for name in left {
        let alive = name.trim_start_matches(PREFIX).split('_').next().is_some_and(is_alive);
        if !alive {
            // Somebody else may be doing the same.
            if let Err(error) = session.send(&format!("DROP DATABASE IF EXISTS {name}")).await {
                tracing::debug!(error = words(&error), "a scratch database was left");
            }
        }
    }
    Ok(())
}

/// Whether a process of this machine has the id. One of another machine looks dead: its database is in use while it
/// is at work, except for moments.
fn is_alive(pid: &str) -> bool {
    let Ok(pid) = pid.parse() else { return true };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}
