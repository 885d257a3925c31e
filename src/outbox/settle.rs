//! Settling claimed messages: published, tried again later, dead, or let go.

use std::time::Duration;

use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Double, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::endpoint::{Endpoint, stop};
use super::message::{OutboxEvent, OutboxEventId};
use super::queue::OutboxQueue;
use crate::error::Result;
use crate::sql::cached;
use crate::tenancy::TenantId;

/// So much of an error is kept.
pub(super) const MAX_ERROR: usize = 2000;

/// What became of a claimed message.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The sink took it.
    Published,
    /// It failed, and is tried again.
    Retry {
        /// What the sink said.
        error: String,
        /// After this pause.
        pause: Duration,
    },
    /// It is given up.
    Dead {
        /// What the sink said.
        error: String,
    },
    /// Its endpoint wants no messages any more: it is stopped, and the message stays as it was.
    Stopped {
        /// The endpoint.
        endpoint: Endpoint,
        /// What the sink said.
        error: String,
    },
    /// It was not tried: another worker may claim it at once.
    Released,
}

/// A claimed message and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub id: OutboxEventId,
    /// The fencing token: the claim under which it was tried.
    pub claim_id: Uuid,
    /// What became of it.
    pub outcome: Outcome,
}

impl Settlement {
    /// What became of a message that was claimed.
    #[must_use]
    pub fn new(message: &OutboxEvent, claim_id: Uuid, outcome: Outcome) -> Self {
        Self { tenant_id: message.tenant_id, id: message.id, claim_id, outcome }
    }
}

impl<Scope> OutboxQueue<'_, Scope> {
    /// Records what became of claimed messages, and says how many it was. Those that were claimed again since are left
    /// alone: their lease was over.
    ///
    /// # Errors
    /// What the database says.
    pub async fn settle(&self, settled: &[Settlement]) -> Result<usize> {
        let (published, others): (Vec<_>, Vec<_>) =
            settled.iter().partition(|settlement| settlement.outcome == Outcome::Published);
        for settlement in settled {
            if let Outcome::Stopped { endpoint, error } = &settlement.outcome {
                stop(self.tx.connection(), endpoint, error).await?;
            }
        }
        Ok(publish(self.tx.connection(), &published).await? + give_back(self.tx.connection(), &others).await?)
    }
}

async fn publish(mut connection: &AsyncPgConnection, published: &[&Settlement]) -> Result<usize> {
    if published.is_empty() {
        return Ok(0);
    }
    let update = sql_query(
        "UPDATE outbox_events AS o SET published_at = now(), claim_id = NULL, lease_expires_at = NULL \
           FROM unnest($1, $2, $3) AS settled (tenant_id, id, claim_id) \
          WHERE o.tenant_id = settled.tenant_id AND o.id = settled.id AND o.claim_id = settled.claim_id",
    )
    .bind::<Array<SqlUuid>, _>(published.iter().map(|one| one.tenant_id).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(published.iter().map(|one| one.id).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(published.iter().map(|one| one.claim_id).collect::<Vec<_>>());
    Ok(cached(update).execute(&mut connection).await?)
}

async fn give_back(mut connection: &AsyncPgConnection, others: &[&Settlement]) -> Result<usize> {
    if others.is_empty() {
        return Ok(0);
    }
    let told = others.iter().map(|one| match &one.outcome {
        Outcome::Retry { error, pause } => (Some(cut(error)), Some(pause.as_secs_f64()), false, true),
        Outcome::Dead { error } => (Some(cut(error)), None, true, true),
        Outcome::Stopped { error, .. } => (Some(cut(error)), None, false, false),
        Outcome::Published | Outcome::Released => (None, None, false, false),
    });
    let (mut errors, mut pauses, mut dead, mut failed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (error, pause, is_dead, has_failed) in told {
        errors.push(error);
        pauses.push(pause);
        dead.push(is_dead);
        failed.push(has_failed);
    }
    let update = sql_query(
        "UPDATE outbox_events AS o SET claim_id = NULL, lease_expires_at = NULL, \
                retry_count = o.retry_count + settled.failed::int, \
                last_error = coalesce(settled.error, o.last_error), \
                available_at = coalesce(now() + settled.pause * interval '1 s', o.available_at), \
                dead_at = CASE WHEN settled.dead THEN now() END \
           FROM unnest($1, $2, $3, $4, $5, $6, $7) AS settled (tenant_id, id, claim_id, error, pause, dead, failed) \
          WHERE o.tenant_id = settled.tenant_id AND o.id = settled.id AND o.claim_id = settled.claim_id",
    )
    .bind::<Array<SqlUuid>, _>(others.iter().map(|one| one.tenant_id).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(others.iter().map(|one| one.id).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(others.iter().map(|one| one.claim_id).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(errors)
    .bind::<Array<Nullable<Double>>, _>(pauses)
    .bind::<Array<Bool>, _>(dead)
    .bind::<Array<Bool>, _>(failed);
    Ok(cached(update).execute(&mut connection).await?)
}

/// PostgreSQL stores no NUL.
pub(super) fn cut(error: &str) -> String {
    error.chars().filter(|c| *c != '\0').take(MAX_ERROR).collect()
}
