//! Running a transaction: begin, the caller's closure, commit, and running it all again where that
//! can help.
//!
//! | what happens | what the caller gets |
//! |---|---|
//! | the connection was dead at BEGIN | another connection, at once: nothing has happened yet |
//! | a transient [`Fault`](crate::error::Fault) before COMMIT | the closure runs again, after a growing pause, within the budget |
//! | connection lost during COMMIT | [`Error::CommitUnknown`], never run again by itself |
//! | the closure swallowed a failed statement's error | [`Error::Aborted`]: COMMIT would be a silent ROLLBACK |
//! | the closure drops a [`savepoint`](Tx::savepoint) half-way | the same: COMMIT would keep the half |
//! | statements were sent together, and one failed | what the first error says, also where another one is polled first |
//! | a prepared statement returns other columns than before | new connections, and the closure runs again |
//! | the closure sends COMMIT or ROLLBACK itself | [`Error::TransactionEnded`] |
//! | a statement waits behind a stream that is not read | [`Error::Timeout`], after the time for a lock |
//! | the closure lets its handle out | [`Error::HandleEscaped`], nothing is written |
//! | the closure's future is dropped | its query is cancelled, rolled back; the pool discards the connection |

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::connection::{TransactionDepthChange, TransactionManagerStatus};
use diesel::result::DatabaseErrorInformation as _;
use diesel_async::pooled_connection::PoolableConnection as _;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, SimpleAsyncConnection as _, TransactionManager as _};
use tracing::{Instrument as _, Span};

use super::metrics::{Outcome, Shared};
use super::pool::{Lease, Pool};
use super::retry::Retries;
use super::tenant::{Begin, Scope, Tx};
use super::wire::{self, Wire};
use crate::error::{Error, Result, WaitedFor};

/// How long a dropped transaction may take to have its query cancelled.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn run<S, T, F, Fut>(pool: &Pool, begin: &Begin, scope: &S, work: F) -> Result<T>
where
    S: Scope,
    F: FnOnce(Tx<S>) -> Fut + Clone,
    Fut: Future<Output = Result<T>>,
{
    let span = tracing::info_span!(
        target: "bedplate::transaction", "transaction",
        otel.name = begin.name, otel.kind = "client", db.system.name = "postgresql",
        trace_id = scope.trace().map(|trace| tracing::field::display(trace.trace_id())),
        outcome = tracing::field::Empty,
    );
    let mut measured = Measured {
        metrics: pool.watch.metrics.clone(),
        name: begin.name,
        begun: Instant::now(),
        outcome: Outcome::Dropped,
        span: span.clone(),
    };
    let done = until_it_ends(pool, begin, scope, work).instrument(span).await;
    measured.outcome = match &done {
        Ok(_) => Outcome::Committed,
        Err(Error::CommitUnknown) => Outcome::CommitUnknown,
        Err(_) => Outcome::RolledBack,
    };
    done
}

/// Counts a transaction when it ends, also where its future is dropped.
struct Measured {
    metrics: Shared,
    name: &'static str,
    begun: Instant,
    outcome: Outcome,
    span: Span,
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.span.record("outcome", tracing::field::debug(self.outcome));
        self.metrics.transaction(self.name, self.outcome, self.begun.elapsed());
    }
}

async fn until_it_ends<S, T, F, Fut>(pool: &Pool, begin: &Begin, scope: &S, work: F) -> Result<T>
where
    S: Scope,
    F: FnOnce(Tx<S>) -> Fut + Clone,
    Fut: Future<Output = Result<T>>,
{
    let mut retries = Retries::within(pool.retry_budget, begin.read_only);
    loop {
        let attempted = match begun(pool, begin).await {
            Ok(connection) => attempt(pool, begin, connection, scope, work.clone()).await,
            Err(error) => Err(error),
        };
        let Err(error) = attempted else { return attempted };
        let Some(pause) = retries.next(&error) else { return Err(error) };
        tracing::info!(transaction = begin.name, %error, ?pause, "the transaction is run again");
        pool.watch.metrics.retried(begin.name, error.fault());
        tokio::time::sleep(pause).await;
    }
}

async fn attempt<S, T, F, Fut>(pool: &Pool, begin: &Begin, connection: Lease, scope: &S, work: F) -> Result<T>
where
    S: Scope,
    F: FnOnce(Tx<S>) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let wire = connection.wire().clone();
    let waiting = connection.current().waiting();
    let connection = Arc::new(connection);
    let mut in_flight = InFlight { connection: Some(connection.clone()), cancels: pool.cancels };
    let savepoints = Arc::new(AtomicUsize::new(0));
    let wakes = Arc::new(AtomicU8::new(0));
    let tx = Tx {
        connection,
        scope: scope.clone(),
        savepoints: savepoints.clone(),
        wakes: wakes.clone(),
        validators: pool.validators.clone(),
    };
    let outcome = tokio::select! {
        biased;
        outcome = wire.within(work(tx)) => outcome,
        () = wire.stuck(begin.unread, || waiting.load(Ordering::Relaxed) > 0) => {
            Err(Error::Timeout { waited_for: WaitedFor::Stream })
        }
    };
    // The handle has moved into the closure, and ends with it: the connection is ours again. If the closure
    // let it out, nothing is committed, and the pool discards the connection when the handle is dropped.
    let Some(mut connection) = in_flight.connection.take().and_then(Arc::into_inner) else {
        return Err(Error::HandleEscaped);
    };
    if wire.any(wire::Said::is_outdated) {
        pool.renew();
    }
    if wire.was_ended() {
        discard(&mut connection);
        return Err(Error::TransactionEnded);
    }
    wire.ends();
    let outcome = if savepoints.load(Ordering::Relaxed) == 0 { outcome } else { outcome.and(Err(Error::Aborted)) };
    match outcome {
        Ok(value) => {
            commit(&mut connection, &wire).await?;
            pool.waker.wake(pool, wakes.load(Ordering::Relaxed));
            Ok(value)
        }
        Err(error) => {
            let rolled_back = tokio::time::timeout(CANCEL_TIMEOUT, roll_back(&mut connection)).await;
            let error = match rolled_back {
                // Whatever the words were: the connection is gone.
                Ok(false) if matches!(error, Error::Database(_)) => Error::Unavailable { message: error.to_string() },
                Ok(_) => error,
                // The closure has given up a query that goes on.
                Err(_) => {
                    drop(InFlight { connection: Some(Arc::new(connection)), cancels: pool.cancels });
                    return Err(error);
                }
            };
            // Another server has to be looked for: this one has become a standby.
            if matches!(error, Error::ReadOnly { .. }) && !begin.read_only {
                discard(&mut connection);
            }
            Err(error)
        }
    }
}

/// A transaction at work. Where its future is dropped, the server goes on with the query that was sent: it is told to
/// stop. Otherwise it would notice within a second that its client is gone ([`Begin`] sets that), as it does where
/// this process is killed, and behind a pooler: PgBouncer has had versions that a client which cancels and goes brings
/// down (<https://github.com/pgbouncer/pgbouncer/pull/846>).
struct InFlight {
    connection: Option<Arc<Lease>>,
    cancels: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take().filter(|_| self.cancels) else { return };
        // Without a runtime nothing can be sent any more, and the connection is closed all the same.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (token, canceller) = (connection.cancel_token(), connection.canceller());
        runtime.spawn(async move {
            let asked = tokio::time::timeout(CANCEL_TIMEOUT, canceller.cancel(token)).await;
            tracing::debug!(?asked, "a transaction was dropped");
            drop(connection);
        });
    }
}

/// A connection with the transaction begun. After a restart of the server every connection of the pool
/// is dead, so there are as many attempts as it can hold connections, and one.
async fn begun(pool: &Pool, begin: &Begin) -> Result<Lease> {
    let (mut dead, asked) = (0, Instant::now());
    loop {
        // Behind a pooler a dead server takes its time to show, each time.
        let may_go_on = dead < pool.max_size() && asked.elapsed() < pool.wait;
        let mut connection = pool.get().await?;
        connection.current().set(begin.name);
        let wire = connection.wire().clone();
        let Err(error) = AnsiTransactionManager::begin_transaction_sql(&mut *connection, &begin.sql).await else {
            wire.begins();
            return Ok(connection);
        };
        let is_closed = connection.is_broken();
        // Some of BEGIN's statements may have been carried out: the pool must not keep the connection.
        discard(&mut connection);
        if let Some(message) = not_migrated(&wire) {
            return Err(Error::Configuration { message });
        }
        match wire.classify(error) {
            Error::Database(said) if is_closed && may_go_on => {
                tracing::debug!(%said, "a connection was closed at BEGIN");
                dead += 1;
            }
            Error::Unavailable { .. } if may_go_on => dead += 1,
            error => return Err(error),
        }
    }
}

/// What is sent at BEGIN fails like this where a role is missing, or the login may not take it.
fn not_migrated(wire: &Wire) -> Option<String> {
    let said = wire.root()?;
    match said.code() {
        "22023" => Some(format!("{}: run `bedplate migrate`", said.message())),
        "42501" => Some(format!("{}: run `bedplate migrate`, which grants it", said.message())),
        _ => None,
    }
}

/// SELECT before COMMIT, in one round trip: in a transaction with a failed statement it fails too, and
/// COMMIT, which would roll back and answer as if it had committed, is not reached.
async fn commit(connection: &mut AsyncPgConnection, wire: &Wire) -> Result<()> {
    match connection.batch_execute("SELECT 1; COMMIT").await {
        Ok(()) => {
            // It is committed, whatever the bookkeeping says.
            if ended(connection).is_err() {
                discard(connection);
            }
            Ok(())
        }
        Err(error) => {
            // Where ROLLBACK does not come through either, the connection is gone, in whatever words and language
            // the error said so: then nobody knows.
            let answers = roll_back(connection).await;
            // The cause of this one was swallowed.
            let error = if wire::is_aborted(&error) { Error::Aborted } else { wire.classify(error) };
            match error {
                Error::Unavailable { .. } => Err(Error::CommitUnknown),
                _ if !answers => Err(Error::CommitUnknown),
                error => Err(error),
            }
        }
    }
}

/// Tells the transaction manager that its transaction is over: COMMIT did not go through it.
fn ended(connection: &mut AsyncPgConnection) -> QueryResult<()> {
    match AnsiTransactionManager::transaction_manager_status_mut(connection) {
        TransactionManagerStatus::Valid(status) => {
            status.change_transaction_depth(TransactionDepthChange::DecreaseDepth)
        }
        TransactionManagerStatus::InError => Err(diesel::result::Error::BrokenTransactionManager),
    }
}

/// Whether the server answered. Its error is of no other interest: the transaction's own is the news, and the
/// connection is discarded.
async fn roll_back(connection: &mut AsyncPgConnection) -> bool {
    let rolled_back = AnsiTransactionManager::rollback_transaction(connection).await;
    if let Err(error) = &rolled_back {
        tracing::debug!(%error, "ROLLBACK failed");
        discard(connection);
    }
    rolled_back.is_ok()
}

/// Makes the pool drop the connection instead of handing it out again.
fn discard(connection: &mut AsyncPgConnection) {
    AnsiTransactionManager::transaction_manager_status_mut(connection).set_in_error();
}
