//! One share of a subscription: what there is to do, taking it, and writing how far it is done.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Double, Integer, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures_util::FutureExt as _;
use rand::RngExt as _;

use super::event::Event;
use super::handler::SubscriptionScope;
use super::query::{Range, of_all_tenants, of_tenant};
use super::stored::{Standing, missing, standings};
use super::subscriber::Subscriber;
use crate::database::Tx;
use crate::error::{Error, Result};
use crate::sql::cached;

/// Events that are none of a subscription's are gone through again until there are so many positions of them.
const REMEMBERED: i64 = 10_000;

/// A share that is where it was read, under the query it was read by, and that nobody is at: neither in a transaction,
/// nor by a lease.
const FREE: &str = "SELECT partition FROM event_subscriptions \
     WHERE tenant_id = $1 AND name = $2 AND partition = $3 AND position = $4 AND query = $5 \
       AND (lease_expires_at IS NULL OR lease_expires_at < now()) FOR UPDATE SKIP LOCKED";

/// What a worker has found to do.
pub(super) struct Found {
    pub(super) standing: Standing,
    pub(super) events: Vec<Event>,
    /// Where the share stands when they are done.
    pub(super) until: i64,
}

/// A worker's right to deliver.
pub(super) struct Claimed {
    pub(super) found: Found,
    pub(super) claim: i32,
}

#[derive(QueryableByName)]
struct Claim {
    #[diesel(sql_type = Integer)]
    claims: i32,
}

impl<S: SubscriptionScope> Subscriber<S> {
    /// Those that have something to do, in an order that is another one each time: workers come less in each other's
    /// way.
    pub(super) async fn standings(&self, tx: &Tx<S>) -> Result<(i64, Vec<Standing>)> {
        let (head, mut standings) = standings(tx.connection(), self.id(), &self.subscription).await?;
        standings.retain(|standing| standing.position < head);
        if standings.len() > 1 {
            let first = rand::rng().random_range(0..standings.len());
            standings.rotate_left(first);
        }
        Ok((head, standings))
    }

    pub(super) async fn find(&self, tx: &Tx<S>, standing: Standing, head: i64) -> Result<Option<Found>> {
        let limit = Some(i64::from(self.subscription.batch));
        let range = Range { until: head, limit, ..Range::after(standing.position) };
        let share = self.subscription.share(standing.partition);
        let query = match self.scope.tenant() {
            Some(tenant) => of_tenant(tenant, &self.subscription.query, range, Some(&share)),
            None => of_all_tenants(&self.subscription.query, range, Some(&share)),
        };
        let events: Vec<Event> = cached(query).load(&mut tx.connection()).await?;
        let full = events.len() == self.subscription.batch as usize;
        let until = events.last().filter(|_| full).map_or(head, |last| last.position);
        let found = Found { standing, events, until };
        if found.events.is_empty() {
            // Far behind the head: what was gone through for nothing is not gone through again.
            if head - found.standing.position > REMEMBERED {
                self.advance(tx, &found).await?;
            }
            return Ok(None);
        }
        Ok(Some(found))
    }

    /// Writes the share's place, if it is where it was read and nobody else is at it; whose lease has run out cannot
    /// write it any more.
    pub(super) async fn advance(&self, tx: &Tx<S>, found: &Found) -> Result<bool> {
        let advance = sql_query(format!(
            "WITH free AS ({FREE}) \
             UPDATE event_subscriptions AS s SET position = $6, claims = s.claims + 1, claimed_by = NULL, \
                    lease_expires_at = NULL FROM free \
              WHERE s.tenant_id = $1 AND s.name = $2 AND s.partition = free.partition"
        ))
        .bind::<SqlUuid, _>(self.id())
        .bind::<Text, _>(&self.subscription.name)
        .bind::<Integer, _>(found.standing.partition)
        .bind::<BigInt, _>(found.standing.position)
        .bind::<Jsonb, _>(self.subscription.stored_query()?)
        .bind::<BigInt, _>(found.until);
        Ok(cached(advance).execute(&mut tx.connection()).await? == 1)
    }

    /// Takes the share for as long as the lease; the fencing token.
    pub(super) async fn claim(&self, tx: &Tx<S>, found: &Found) -> Result<Option<i32>> {
        let claim = sql_query(format!(
            "WITH free AS ({FREE}) \
             UPDATE event_subscriptions AS s SET claimed_by = $6, claims = s.claims + 1, \
                    lease_expires_at = now() + $7 * interval '1 second' FROM free \
              WHERE s.tenant_id = $1 AND s.name = $2 AND s.partition = free.partition RETURNING s.claims"
        ))
        .bind::<SqlUuid, _>(self.id())
        .bind::<Text, _>(&self.subscription.name)
        .bind::<Integer, _>(found.standing.partition)
        .bind::<BigInt, _>(found.standing.position)
        .bind::<Jsonb, _>(self.subscription.stored_query()?)
        .bind::<Text, _>(&self.worker)
        .bind::<Double, _>(self.subscription.lease.as_secs_f64());
        let claim: Option<Claim> = cached(claim).get_result(&mut tx.connection()).await.optional()?;
        Ok(claim.map(|claim| claim.claims))
    }

    pub(super) async fn release(&self, claimed: &Claimed, position: i64) -> Result<()> {
        let released = self
            .scope
            .transact(&self.database, move |tx| async move {
                let release = sql_query(
                    "UPDATE event_subscriptions SET position = $5, claimed_by = NULL, lease_expires_at = NULL \
                      WHERE tenant_id = $1 AND name = $2 AND partition = $3 AND claims = $4 AND claimed_by IS NOT NULL",
                )
                .bind::<SqlUuid, _>(self.id())
                .bind::<Text, _>(&self.subscription.name)
                .bind::<Integer, _>(claimed.found.standing.partition)
                .bind::<Integer, _>(claimed.claim)
                .bind::<BigInt, _>(position);
                Ok(cached(release).execute(&mut tx.connection()).await?)
            })
            .boxed()
            .await?;
        if released == 1 {
            return Ok(());
        }
        let of = format!("subscription {}, share {}", self.subscription.name, claimed.found.standing.partition);
        Err(Error::LeaseLost { of })
    }

    /// For [`super::Projection`]: back to the start, whoever is at it, with `reset` in the same transaction.
    pub(super) async fn restart<F, Fut>(&self, reset: F) -> Result<()>
    where
        F: FnOnce(Tx<S>) -> Fut + Clone + Send,
        Fut: Future<Output = Result<Tx<S>>> + Send,
    {
        self.scope
            .transact(&self.database, move |tx| async move {
                let restart = sql_query(
                    "UPDATE event_subscriptions SET position = 0, claims = claims + 1, claimed_by = NULL, \
                            lease_expires_at = NULL WHERE tenant_id = $1 AND name = $2",
                )
                .bind::<SqlUuid, _>(self.id())
                .bind::<Text, _>(&self.subscription.name);
                if cached(restart).execute(&mut tx.connection()).await? == 0 {
                    return Err(missing(tx.connection(), self.id(), &self.subscription.name).await?);
                }
                reset(tx).await.map(drop)
            })
            .boxed()
            .await
    }
}
