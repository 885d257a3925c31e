//! A database that is made to try migrations on, and dropped when that is done.

use std::sync::atomic::{AtomicU32, Ordering};

use super::Options;
use super::session::Session;
use crate::database::connect::words;
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result};
use crate::sql::quote_literal;

const PREFIX: &str = "bedplate_scratch_";

/// An empty database of its own name. What a runner that was killed left is dropped by the next one.
pub(super) struct Scratch {
    pub(super) url: DatabaseUrl,
    server: DatabaseUrl,
}

impl Scratch {
    /// Made on the server of this URL, by its login, which needs CREATEDB there.
    pub(super) async fn make(server: &DatabaseUrl) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
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
        Ok(Self { url: server.with_database(&name)?, server: server.clone() })
    }

    /// Drops it. Where that fails, the next runner does it.
    pub(super) async fn drop(self) {
        let drop = async {
            let session = Session::open(&self.server, Options::default().lock_timeout).await?;
            session.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.url.database())).await
        };
        if let Err(error) = drop.await {
            tracing::warn!(%error, database = self.url.database(), "the scratch database could not be dropped");
        }
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
