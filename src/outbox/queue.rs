//! The queue of a database's outbox, across tenants: what relays and operators do with it.

use crate::database::{AllTenants, OfRfq, RfqSystemTx, SystemTx, Tx};

/// All tenants' messages: claims and settlements of relays, status, replay, prune.
pub struct OutboxQueue<'t, Scope> {
    pub(super) tx: &'t Tx<Scope>,
}

impl SystemTx {
    /// All tenants' messages.
    #[must_use]
    pub fn outbox_queue(&self) -> OutboxQueue<'_, AllTenants> {
        OutboxQueue { tx: self }
    }
}

impl RfqSystemTx {
    /// All tenants' messages of this database.
    #[must_use]
    pub fn outbox_queue(&self) -> OutboxQueue<'_, OfRfq<AllTenants>> {
        OutboxQueue { tx: self }
    }
}
