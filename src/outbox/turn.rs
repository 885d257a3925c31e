//! A turn of a relay: one transaction that settles what the sink has answered and claims what is due. It does not wait
//! for the disk (`synchronous_commit`): what a crash of the server takes back is published once more.

use diesel_async::SimpleAsyncConnection as _;

use super::claim::{OutboxClaim, OutboxClaimed};
use super::queue::OutboxQueue;
use super::settle::Settlement;
use crate::database::{Config, Database, RfqDatabase};
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
    ) -> Result<(usize, Option<OutboxClaimed>)> {
        match self {
            Self::Main(database) => {
                database.system_tx("outbox.relay", async |tx| turn(tx.outbox_queue(), settled, claim).await).await
            }
            Self::Rfq(database) => {
                database.system_tx("outbox.relay", async |tx| turn(tx.outbox_queue(), settled, claim).await).await
            }
        }
    }
}

async fn turn<Scope>(
    queue: OutboxQueue<'_, Scope>,
    settled: &[Settlement],
    claim: Option<OutboxClaim<'_>>,
) -> Result<(usize, Option<OutboxClaimed>)> {
    queue.tx.connection().batch_execute("SET LOCAL synchronous_commit = off").await?;
    let recorded = queue.settle(settled).await?;
    let claimed = match claim {
        Some(claim) => Some(queue.claim(claim).await?),
        None => None,
    };
    Ok((recorded, claimed))
}
