//! One runner works at a time.
//!
//! Polls `pg_try_advisory_lock`: a runner that waits inside `pg_advisory_lock` holds a snapshot, which
//! `CREATE INDEX CONCURRENTLY` of the runner at work waits for, and that is a deadlock. The lock is the
//! session's: it ends with the connection, however the runner ends.

use std::time::{Duration, Instant};

use super::session::Session;
use super::{Event, Options, Watcher};
use crate::error::{Error, Result};

/// The key of the advisory lock: `bedplate` in ASCII. An advisory lock is one database's.
pub(super) const KEY: i64 = i64::from_be_bytes(*b"bedplate");

/// The statement that lets the lock go.
pub(super) fn release() -> String {
    format!("SELECT pg_advisory_unlock({KEY})")
}

/// The statement that takes the lock again, where a migration's statement let every lock of the session go.
pub(super) fn again() -> String {
    format!("SELECT pg_try_advisory_lock({KEY})::text")
}

const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn take(session: &Session, options: &Options, on_event: Watcher<'_>) -> Result<()> {
    let started = Instant::now();
    let mut told = None;
    loop {
        let taken = session.texts(&format!("SELECT pg_try_advisory_lock({KEY})::text")).await?;
        if taken.first().is_some_and(|taken| taken == "true") {
            return Ok(());
        }
        let holder = holder(session).await?;
        if started.elapsed() >= options.wait_for_runner {
            return Err(Error::configuration(format!(
                "another runner of migrations is at work for more than {} s ({holder}): wait for it, or end it with \
                 SELECT pg_terminate_backend",
                options.wait_for_runner.as_secs()
            )));
        }
        if told.as_ref() != Some(&holder) {
            on_event(Event::Waiting { runner: holder.clone() });
            told = Some(holder);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Who holds it, for the message.
async fn holder(session: &Session) -> Result<String> {
    let holder = session
        .texts(&format!(
            "SELECT 'pid ' || l.pid || coalesce(' from ' || host(a.client_addr), '') \
                    || coalesce(', since ' || to_char(a.backend_start, 'HH24:MI:SS'), '') \
               FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a USING (pid) \
              WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                AND (l.classid::bigint << 32) | l.objid::bigint = {KEY}"
        ))
        .await?;
    Ok(holder.into_iter().next().unwrap_or_else(|| "just ended".to_owned()))
}
