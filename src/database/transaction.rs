//! Running a transaction: begin, the caller's closure, commit, and running it all again where that
//! can help.
//!
//! | what happens | what the caller gets |
//! |---|---|
//! | the connection was dead at BEGIN | another connection, at once: nothing has happened yet |
//! | serialization failure, deadlock, connection lost before COMMIT | the closure runs again, after a growing pause |
//! | connection lost during COMMIT | [`Error::CommitUnknown`], never run again by itself |
//! | the closure swallowed a failed statement's error | [`Error::Aborted`]: COMMIT would be a silent ROLLBACK |
//! | the closure drops a [`savepoint`](Tx::savepoint) half-way | the same: COMMIT would keep the half |
//! | the closure lets its handle out | [`Error::HandleEscaped`], nothing is written |
//! | the closure's future is dropped | rolled back; the pool discards the connection |

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use diesel::QueryResult;
use diesel::connection::{TransactionDepthChange, TransactionManagerStatus};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, SimpleAsyncConnection as _, TransactionManager as _};

use super::pool::{Pool, PooledConnection};
use super::tenant::{Scope, Tx};
use crate::error::{Error, Result};

/// How often a transaction is run again. With pauses from 20 ms to 1 s, jittered, that is 1 to 3 seconds.
const RETRIES: usize = 6;

pub(super) async fn run<S, T, F, Fut>(pool: &Pool, name: &'static str, begin: &str, scope: &S, work: F) -> Result<T>
where
    S: Scope,
    F: FnOnce(Tx<S>) -> Fut + Clone,
    Fut: Future<Output = Result<T>>,
{
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(1))
        .with_max_times(RETRIES)
        .with_jitter()
        .build();
    loop {
        // An error here is final: getting a connection has waited for the server already.
        let connection = begun(pool, begin).await?;
        let error = match attempt(pool, connection, scope, work.clone()).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(pause) = pauses.next().filter(|_| error.is_transient()) else {
            return Err(error);
        };
        tracing::info!(transaction = name, %error, ?pause, "the transaction is run again");
        tokio::time::sleep(pause).await;
    }
}

async fn attempt<S, T, F, Fut>(pool: &Pool, connection: PooledConnection, scope: &S, work: F) -> Result<T>
where
    S: Scope,
    F: FnOnce(Tx<S>) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let connection = Arc::new(connection);
    let savepoints = Arc::new(AtomicUsize::new(0));
    let wakes = Arc::new(AtomicU8::new(0));
    let tx = Tx {
        connection: connection.clone(),
        scope: scope.clone(),
        savepoints: savepoints.clone(),
        wakes: wakes.clone(),
        validators: pool.validators.clone(),
    };
    let outcome = work(tx).await;
    // The handle has moved into the closure, and ends with it: the connection is ours again. If the closure
    // let it out, nothing is committed, and the pool discards the connection when the handle is dropped.
    let Some(mut connection) = Arc::into_inner(connection) else { return Err(Error::HandleEscaped) };
    let outcome = if savepoints.load(Ordering::Relaxed) == 0 { outcome } else { outcome.and(Err(Error::Aborted)) };
    match outcome {
        Ok(value) => {
            commit(&mut connection).await?;
            pool.waker.wake(pool, wakes.load(Ordering::Relaxed));
            Ok(value)
        }
        Err(error) => {
            roll_back(&mut connection).await;
            Err(error)
        }
    }
}

/// A connection with the transaction begun. After a restart of the server every connection of the pool
/// is dead, so there are as many attempts as it can hold connections, and one.
async fn begun(pool: &Pool, begin: &str) -> Result<PooledConnection> {
    let mut dead = 0;
    loop {
        let mut connection = pool.get().await?;
        let Err(error) = AnsiTransactionManager::begin_transaction_sql(&mut *connection, begin).await else {
            return Ok(connection);
        };
        // Some of BEGIN's statements may have been carried out: the pool must not keep the connection.
        discard(&mut connection);
        match Error::from(error) {
            Error::Unavailable { .. } if dead < pool.max_size() => dead += 1,
            error => return Err(not_migrated(error)),
        }
    }
}

fn not_migrated(error: Error) -> Error {
    match error {
        Error::Database(said) if said.to_string().starts_with("role \"bedplate_") => {
            Error::configuration(format!("{said}: run `bedplate migrate`"))
        }
        Error::Forbidden { message } if message.starts_with("permission denied to set role") => {
            Error::configuration(format!("{message}: run `bedplate migrate`, which grants it"))
        }
        other => other,
    }
}

/// SELECT before COMMIT, in one round trip: in a transaction with a failed statement it fails too, and
/// COMMIT, which would roll back and answer as if it had committed, is not reached.
async fn commit(connection: &mut AsyncPgConnection) -> Result<()> {
    match connection.batch_execute("SELECT 1; COMMIT").await {
        Ok(()) => Ok(ended(connection)?),
        Err(error) => {
            // Where ROLLBACK does not come through either, the connection is gone, in whatever words and language
            // the error said so: then nobody knows.
            let answers = roll_back(connection).await;
            match Error::from(error) {
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
