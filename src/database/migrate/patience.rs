//! What follows a failure: a pause and another try where a lock was not to be had, else the end with a record of it.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};

use super::history::Outcome;
use super::observe::Blocked;
use super::record;
use super::resume;
use super::send::{Failure, Place};
use super::work::{AS_LOGIN, Work};
use super::{Event, Watcher};
use crate::error::{Error, Result};

pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A look at whether a lock was let go lasts no longer, for it may have been let go without its transaction's end.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Tries after which statements wait longer for a lock, and the milliseconds that they wait at most.
const BRIEF_TRIES: u32 = 3;
const LONGEST_ASK: u64 = 2000;

pub(super) fn pauses() -> impl Iterator<Item = Duration> + Send {
    let exponential = ExponentialBuilder::default().with_min_delay(Duration::from_millis(250));
    exponential.with_max_delay(LONGEST_PAUSE).without_max_times().with_jitter().build()
}

/// How long a migration is tried already, over all its sessions.
pub(super) struct Patience {
    pub(super) started: Instant,
    pub(super) tries: u32,
    pub(super) pauses: Box<dyn Iterator<Item = Duration> + Send>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { started: Instant::now(), tries: 0, pauses: Box::new(pauses()) }
    }
}

impl Work<'_> {
    /// A pause before the next try, or the end with a record of it.
    pub(super) async fn wait_or_fail(
        &mut self,
        failure: Failure,
        id: Option<i64>,
        on_event: Watcher<'_>,
    ) -> Result<()> {
        let blocked = self.observer.blocked.take();
        let about_locks = failure.is_about_locks() && !failure.keeps_sent;
        if about_locks && self.patience.started.elapsed() < self.options.retry_for {
            self.wait(&failure, blocked.as_ref(), on_event).await;
            return Ok(());
        }
        let migration = self.record.migration;
        let transaction = migration.metadata.run_in_transaction;
        let mut message = failure.explain(self.script.file, self.checked.statements, transaction);
        if let Some(blocked) = blocked.filter(|_| about_locks) {
            message = format!("{message}; it was held by {}", blocked.by);
        }
        if let Some(line) = self.checked.left_out.filter(|_| transaction) {
            message = format!("{message}; {}", left_out(self.script.file, line));
        }
        if failure.keeps_sent {
            message = format!("{message}; this statement may have run: {}", resume::what_to_do(&migration.name));
        } else if failure.is_lost_on_its_way() {
            message = format!("{message}; this statement may have run: the next run finds out, or asks");
        }
        self.record_failure(&message, id, failure.keeps_sent).await;
        let done = self.progress.done;
        if done > 0 {
            message =
                format!("{message}; statements 1 to {done} are in the database, the next run goes on behind them");
        }
        Err(Error::Migration { name: migration.name.clone(), message })
    }

    /// Waits until it is worth to ask again for a lock: nobody waits behind the runner meanwhile.
    pub(super) async fn wait(&mut self, failure: &Failure, blocked: Option<&Blocked>, on_event: Watcher<'_>) {
        let by = format!(
            "{} waited for {}",
            failure.at.as_ref().map_or("the history", Place::excerpt),
            blocked.map_or("a lock", |blocked| blocked.by.as_str())
        );
        on_event(Event::Blocked { by });
        let remaining = self.options.retry_for.saturating_sub(self.patience.started.elapsed()).min(LONGEST_LOOK);
        let looked = if let Some(blocked) = blocked {
            self.observer.until_let_go(blocked, remaining).await
        } else {
            // Who holds it is only seen while a statement waits: the next one is looked at in time.
            self.observer.connect().await;
            false
        };
        if !looked {
            tokio::time::sleep(self.patience.pauses.next().unwrap_or(LONGEST_PAUSE)).await;
        }
        self.patience.tries += 1;
        if self.patience.tries > BRIEF_TRIES {
            // Where it fails the connection is gone, and the next try says so.
            let _ = self.session.ask_longer(LONGEST_ASK).await;
        }
    }

    /// Best effort: the error itself is told in any case.
    async fn record_failure(&mut self, message: &str, id: Option<i64>, keeps_sent: bool) {
        let (schema, took) = (self.session.schema(), self.patience.started.elapsed());
        let write = match id {
            Some(id) if keeps_sent => Ok(record::failed(schema, id, message)),
            Some(id) => Ok(self.progress.update(schema, id, Outcome::Failed, took, Some(message))),
            None => self.record.insert(schema, Outcome::Failed, &self.progress, took, Some(message)),
        };
        let Ok(write) = write else { return };
        let sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {AS_LOGIN}; {write}; COMMIT");
        if let Err(error) = self.session.send(&sql).await {
            tracing::debug!(%error, "the failure could not be recorded");
            // Where that fails too the connection is gone.
            let _ = self.session.send("ROLLBACK").await;
        }
    }
}

pub(super) fn left_out(file: &str, line: usize) -> String {
    format!(
        "the COMMIT in {file} line {line} is left out, because the migration is one transaction: for several, say \
         `run_in_transaction = false` in metadata.toml"
    )
}
