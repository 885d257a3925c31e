//! What the server says on a connection of the pool: each error with its SQLSTATE, and how each statement left the
//! transaction.
//!
//! The driver hands an error to the future that asked, without its SQLSTATE, and to nobody where that future was dropped:
//! of statements that were sent together, the one that is polled first decides then, and that may be one that failed
//! only because another one had failed before. So the stream beneath the driver is listened to: it has the errors in
//! the order in which they happened, whoever asks.
//!
//! Always holds: nothing is changed on the way, and no value of a row is looked at.

mod frames;
mod handshake;
mod heard;
mod stream;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::result::DatabaseErrorInformation;

use crate::error::Error;
use handshake::Listener;
pub(super) use heard::{Canceller, Heard, Opened};
use stream::Listening;

/// Errors that are kept of one transaction: what follows the first is mostly "the transaction is aborted".
const MAX_ERRORS: usize = 32;

/// What PostgreSQL answers to each statement behind a failed one.
const ABORTED: &str = "25P02";

tokio::task_local! {
    /// The connection of the transaction that this task is in.
    static CURRENT: Wire;
}

/// What was heard on a connection. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    /// Since the transaction began.
    errors: VecDeque<Arc<Said>>,
    /// The error that made the transaction fail: every statement behind it fails too.
    root: Option<Arc<Said>>,
    in_transaction: bool,
    /// The transaction ended, and not by [`Wire::ends`].
    ended: bool,
    /// When the driver stopped reading although there may be more, because a stream of rows is not read.
    unread: Option<Instant>,
}

/// One error, as the server said it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    table: Option<String>,
    column: Option<String>,
    constraint: Option<String>,
    position: Option<i32>,
}

impl Said {
    /// The SQLSTATE.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// A statement was prepared before a migration, and returns other columns now. PostgreSQL has no SQLSTATE for it.
    pub(super) fn is_outdated(&self) -> bool {
        self.code == "0A000" && self.message.starts_with("cached plan must not change result type")
    }
}

impl DatabaseErrorInformation for Said {
    fn message(&self) -> &str {
        &self.message
    }

    fn details(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn table_name(&self) -> Option<&str> {
        self.table.as_deref()
    }

    fn column_name(&self) -> Option<&str> {
        self.column.as_deref()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.constraint.as_deref()
    }

    fn statement_position(&self) -> Option<i32> {
        self.position
    }
}

/// The state that PostgreSQL reports behind each statement
/// (<https://www.postgresql.org/docs/15/protocol-message-formats.html>, `ReadyForQuery`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    InTransaction,
    Failed,
}

impl Wire {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction has begun: what was heard before is another one's.
    pub(super) fn begins(&self) {
        let mut record = self.record();
        *record = Record { in_transaction: true, unread: record.unread, ..Record::default() };
    }

    /// COMMIT or ROLLBACK comes next, from the one that may send it.
    pub(super) fn ends(&self) {
        self.record().in_transaction = false;
    }

    /// Whether the transaction was ended by a statement of its own.
    pub(super) fn was_ended(&self) -> bool {
        self.record().ended
    }

    /// The error that made the transaction fail.
    pub(super) fn root(&self) -> Option<Arc<Said>> {
        self.record().root.clone()
    }

    /// Whether one of the transaction's statements failed like this.
    pub(super) fn any(&self, is: impl Fn(&Said) -> bool) -> bool {
        self.record().errors.iter().any(|said| is(said))
    }

    /// Returns when the transaction waits for itself: for `limit` something was there to be read and the driver did not
    /// ask for it, as somebody does not take their rows, while a statement `is_waiting` behind.
    pub(super) async fn stuck(&self, limit: Duration, is_waiting: impl Fn() -> bool) {
        if limit.is_zero() {
            return std::future::pending().await;
        }
        let mut seen: Option<(Instant, Instant)> = None;
        loop {
            tokio::time::sleep(limit / 4).await;
            let unread = self.record().unread.filter(|_| is_waiting());
            seen = unread.map(|unread| match seen {
                Some((same, since)) if same == unread => (same, since),
                _ => (unread, Instant::now()),
            });
            if seen.is_some_and(|(_, since)| since.elapsed() >= limit) {
                return;
            }
        }
    }

    /// Awaits `work` as a part of the transaction on this connection: [`said`] finds its errors.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), work).await
    }

    /// Of an error that came outside of [`Wire::within`].
    pub(super) fn classify(&self, error: diesel::result::Error) -> Error {
        CURRENT.sync_scope(self.clone(), || error.into())
    }

    fn fails(&self, said: Said) {
        let said = Arc::new(said);
        let mut record = self.record();
        if record.root.is_none() {
            record.root = Some(said.clone());
        }
        if record.errors.len() < MAX_ERRORS {
            record.errors.push_back(said);
        }
    }

    fn is(&self, state: State) {
        let mut record = self.record();
        if state != State::Failed {
            record.root = None;
        }
        if state == State::Idle && record.in_transaction {
            record.ended = true;
        }
    }

    /// COMMIT or BEGIN went through: where both were sent as one text, the state behind them shows nothing.
    fn turned(&self) {
        let mut record = self.record();
        record.ended |= record.in_transaction;
    }

    /// `more`: the driver got something, and has not yet asked whether that was all.
    fn reads(&self, more: bool) {
        self.record().unread = more.then(Instant::now);
    }
}

/// What the server said of this error of a statement, in the transaction that the current task is in: of one that failed
/// behind another, what it said of the first.
pub(crate) fn said(error: &(dyn DatabaseErrorInformation + Send + Sync)) -> Option<Arc<Said>> {
    let said = same(error)?;
    if said.code != ABORTED {
        return Some(said);
    }
    let root = CURRENT.try_with(Wire::root).ok().flatten();
    root.or(Some(said))
}

/// Whether the statement failed only because one before it had.
pub(super) fn is_aborted(error: &diesel::result::Error) -> bool {
    let diesel::result::Error::DatabaseError(_, said) = error else { return false };
    same(&**said)
        .map_or_else(|| said.message().starts_with("current transaction is aborted"), |said| said.code == ABORTED)
}

fn same(error: &(dyn DatabaseErrorInformation + Send + Sync)) -> Option<Arc<Said>> {
    let find = |wire: &Wire| {
        let record = wire.record();
        let same = |said: &&Arc<Said>| said.message == error.message() && said.details() == error.details();
        record.errors.iter().find(same).cloned()
    };
    CURRENT.try_with(find).ok().flatten()
}
