//! A turn of a relay: one transaction that settles what the sink has answered and claims what is due. It does not wait
//! for the disk (`synchronous_commit`): what a crash of the server takes back is published once more.

use diesel_async::SimpleAsyncConnection as _;

use super::claim::{OutboxClaim, OutboxClaimed};
use super::endpoint::{Endpoint, StoppedEndpoint, find_stopped};
use super::queue::OutboxQueue;
use super::settle::Settlement;
use crate::database::{Config, Database, RfqDatabase, RfqSystemTx, SystemTx};
use crate::error::Result;

/// Whose outbox.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Main(Database),
    Rfq(RfqDatabase),
}

impl Source {
    pub(super) fn config(&self) -> &Config {
        match self {
            Self::Main(database) => database.config(),
            Self::Rfq(database) => database.config(),
        }
    }

    pub(super) async fn turn(
        &self,
        settled: &[Settlement],
        claim: Option<OutboxClaim<'_>>,
        endpoint: Option<&Endpoint>,
    ) -> Result<Turned> {
        match self {
            Self::Main(database) => {
                let turn = async |tx: SystemTx| turn(tx.outbox_queue(), settled, claim, endpoint).await;
                database.system_tx("outbox.relay", turn).await
            }
            Self::Rfq(database) => {
                let turn = async |tx: RfqSystemTx| turn(tx.outbox_queue(), settled, claim, endpoint).await;
                database.system_tx("outbox.relay", turn).await
            }
        }
    }

    pub(super) async fn find_stopped(&self, endpoint: &Endpoint) -> Result<Option<StoppedEndpoint>> {
        match self {
            Self::Main(database) => {
                let find = async |tx: SystemTx| find_stopped(tx.connection(), endpoint).await;
                database.system_tx("outbox.endpoint", find).await
            }
            Self::Rfq(database) => {
                let find = async |tx: RfqSystemTx| find_stopped(tx.connection(), endpoint).await;
                database.system_tx("outbox.endpoint", find).await
            }
        }
    }
}

/// What a turn came to.
pub(super) struct Turned {
    /// Number of messages whose outcome was recorded.
    pub(super) recorded: usize,
    pub(super) claimed: Option<OutboxClaimed>,
    /// Nothing was claimed, for the endpoint is stopped.
    pub(super) stopped: bool,
}

async fn turn<Scope>(
    queue: OutboxQueue<'_, Scope>,
    settled: &[Settlement],
    claim: Option<OutboxClaim<'_>>,
    endpoint: Option<&Endpoint>,
) -> Result<Turned> {
    queue.tx.connection().batch_execute("SET LOCAL synchronous_commit = off").await?;
    let recorded = queue.settle(settled).await?;
    let stopped = match (endpoint, claim) {
        (Some(endpoint), Some(_)) => find_stopped(queue.tx.connection(), endpoint).await?.is_some(),
        _ => false,
    };
    let claimed = match claim {
        Some(claim) if !stopped => Some(queue.claim(claim).await?),
        _ => None,
    };
    Ok(Turned { recorded, claimed, stopped })
}
