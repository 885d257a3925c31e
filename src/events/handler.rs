//! Whose events a subscriber reads, and what it does with them.

use crate::database::{AllTenants, Database, TenantContext, Tx};
use crate::error::Result;
use crate::events::Event;
use crate::tenancy::TenantId;

/// Whose events a subscription reads: of a tenant ([`TenantContext`]), or of all ([`AllTenants`]).
pub trait SubscriptionScope: Clone + Send + Sync + 'static {
    #[doc(hidden)]
    fn tenant(&self) -> Option<TenantId>;

    #[doc(hidden)]
    fn transact<'a, T, F, Fut>(
        &'a self,
        database: &'a Database,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce(Tx<Self>) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a;
}

impl SubscriptionScope for TenantContext {
    fn tenant(&self) -> Option<TenantId> {
        Some(self.tenant_id())
    }

    fn transact<'a, T, F, Fut>(&'a self, database: &'a Database, work: F) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce(Tx<Self>) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        database.tenant_tx("events.subscriber", self, work)
    }
}

impl SubscriptionScope for AllTenants {
    fn tenant(&self) -> Option<TenantId> {
        None
    }

    fn transact<'a, T, F, Fut>(&'a self, database: &'a Database, work: F) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce(Tx<Self>) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        database.system_tx("events.subscriber", work)
    }
}

/// What is done with events, in the database.
pub trait EventHandler<S>: Sync {
    /// Does it, through `tx`: it is committed together with the place in the order, once for each event. It may run
    /// more than once until then.
    ///
    /// # Errors
    /// Nothing is written then, and the events come again.
    fn handle(&self, tx: &Tx<S>, events: &[Event]) -> impl Future<Output = Result<()>> + Send;
}

/// What is done with events, outside the database.
pub trait EventSink: Sync {
    /// Does it. The events can come again, after a crash or when it took longer than the lease.
    ///
    /// # Errors
    /// The events come again.
    fn deliver(&self, events: &[Event]) -> impl Future<Output = Result<()>> + Send;
}
