//! Projections: read models that a subscription keeps in step with the events.

use super::handler::{EventHandler, SubscriptionScope};
use super::subscriber::Subscriber;
use crate::database::Tx;
use crate::error::Result;

/// A read model: what handles its events, and how it is emptied. Kept in step by [`Subscriber::run_until`].
pub trait Projection<S>: EventHandler<S> {
    /// Empties the read model.
    ///
    /// # Errors
    /// Nothing is written then.
    fn reset(&self, tx: &Tx<S>) -> impl Future<Output = Result<()>> + Send;
}

impl<S: SubscriptionScope> Subscriber<S> {
    /// Empties the read model and makes it anew from the first event; how many events it took. Readers see the empty
    /// one, and then how it grows. Workers that are at it go on behind the reset: what they had begun is undone.
    ///
    /// # Errors
    /// What the projection returns.
    pub async fn rebuild<P: Projection<S>>(&self, projection: &P) -> Result<u64> {
        self.restart(move |tx| async move {
            projection.reset(&tx).await?;
            Ok(tx)
        })
        .await?;
        self.catch_up(projection).await
    }
}
