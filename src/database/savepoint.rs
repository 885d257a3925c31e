//! Savepoints: a part of a transaction that may fail without the rest.

use std::sync::atomic::Ordering;

use diesel_async::SimpleAsyncConnection as _;

use super::tenant::Tx;
use super::wire::is_aborted;
use crate::error::{Error, Result};

/// One name for all: an inner savepoint hides an outer one of the same name until it ends
/// (<https://www.postgresql.org/docs/15/sql-savepoint.html>).
const SET: &str = "SAVEPOINT bedplate";
const KEEP: &str = "RELEASE SAVEPOINT bedplate";
const UNDO: &str = "ROLLBACK TO SAVEPOINT bedplate; RELEASE SAVEPOINT bedplate";

impl<Scope> Tx<Scope> {
    /// Awaits `work`, and undoes what it wrote if it fails: the transaction goes on without it. May be nested.
    ///
    /// Run nothing else on the transaction meanwhile (no `join!` with it): it would be undone too. Where the
    /// future is dropped half-way, by a timeout for example, the transaction ends as
    /// [`Error::Aborted`](crate::Error::Aborted).
    ///
    /// ```rust,no_run
    /// # async fn example(tx: &bedplate::TenantTx, new: bedplate::models::NewUser<'_>) -> bedplate::Result<()> {
    /// match tx.savepoint(tx.users().create(new)).await {
    ///     Err(bedplate::Error::Conflict { .. }) => tx.users().find_by_email(new.email).await?,
    ///     created => created?,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` returns; [`Error::Aborted`](crate::Error::Aborted) where it swallowed the error of a
    /// statement.
    pub async fn savepoint<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut connection = self.connection();
        // Counted from before it is set until after it is ended: whoever drops this future leaves the count.
        self.savepoints.fetch_add(1, Ordering::Relaxed);
        connection.batch_execute(SET).await?;
        let mut outcome = work.await;
        if outcome.is_ok()
            && let Err(error) = connection.batch_execute(KEEP).await
        {
            outcome = Err(if is_aborted(&error) { Error::Aborted } else { error.into() });
        }
        // Also where a statement of `work` failed and its error was swallowed: then RELEASE has failed.
        if outcome.is_err() && connection.batch_execute(UNDO).await.is_err() {
            // The connection is gone. Its count stays, so that nothing is committed.
            return outcome;
        }
        self.savepoints.fetch_sub(1, Ordering::Relaxed);
        outcome
    }
}
