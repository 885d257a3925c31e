//! Consumers that do once what an event asks for, however often it is delivered.
//!
//! Always holds: the effect and its mark are written in one transaction, so there is neither without the other; of
//! several deliveries at a time one has the effect, and the others wait for its commit. Where it rolls back, the next
//! one has it (the tests `processed::`).

use diesel::sql_query;
use diesel::sql_types::{Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::database::{RfqSystemTx, RfqTx, SystemTx, TenantTx, Tx};
use crate::error::Result;
use crate::sql::cached;
use crate::tenancy::TenantId;
use crate::validation::Check;

/// What [`process_once`](TenantTx::process_once) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Processed<T> {
    /// The effect, now.
    Now(T),
    /// Nothing: this group had processed the event before.
    Before,
}

impl<T> Processed<T> {
    /// What the effect returned; `None`: it was there before.
    pub fn now(self) -> Option<T> {
        match self {
            Self::Now(value) => Some(value),
            Self::Before => None,
        }
    }
}

impl TenantTx {
    /// Awaits `effect`, unless this consumer group has processed the event: then it is dropped.
    ///
    /// A delivery that comes while another one is at work waits until that one has committed or rolled back. Marks are
    /// kept for as long as `bedplate maintain` says, 30 days by default: a delivery that comes later has the effect
    /// again. What the effect does outside of this transaction is not undone where it fails.
    ///
    /// ```rust,no_run
    /// # async fn example(tx: &bedplate::TenantTx, event: &bedplate::models::OutboxEvent, user: bedplate::models::UserId) -> bedplate::Result<()> {
    /// let granted = tx.process_once("billing", event.event_id, &event.event_type, async {
    ///     tx.roles().grant(user, "paying").await
    /// }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `effect` returns: then the event is not marked. [`Error::Invalid`](crate::Error::Invalid) for a group or a
    /// type that is empty or longer than 255 characters.
    pub async fn process_once<T>(
        &self,
        consumer_group: &str,
        event_id: Uuid,
        event_type: &str,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<Processed<T>> {
        once(self, self.tenant_id(), consumer_group, event_id, event_type, effect).await
    }
}

impl RfqTx {
    /// As [`TenantTx::process_once`], in this database.
    ///
    /// # Errors
    /// As there.
    pub async fn process_once<T>(
        &self,
        consumer_group: &str,
        event_id: Uuid,
        event_type: &str,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<Processed<T>> {
        once(self, self.tenant_id(), consumer_group, event_id, event_type, effect).await
    }
}

async fn once<Scope, T>(
    tx: &Tx<Scope>,
    tenant_id: TenantId,
    consumer_group: &str,
    event_id: Uuid,
    event_type: &str,
    effect: impl Future<Output = Result<T>>,
) -> Result<Processed<T>> {
    Check::default()
        .text("consumer_group", consumer_group, 1..=255)
        .text("event_type", event_type, 1..=255)
        .finish()?;
    tx.savepoint(async {
        // Who has the same event waits here, until the first one commits or rolls back.
        let insert = sql_query(
            "INSERT INTO processed_events (tenant_id, id, consumer_group, event_id, event_type) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, consumer_group, event_id) DO NOTHING",
        )
        .bind::<SqlUuid, _>(tenant_id)
        .bind::<SqlUuid, _>(Uuid::now_v7())
        .bind::<Text, _>(consumer_group)
        .bind::<SqlUuid, _>(event_id)
        .bind::<Text, _>(event_type);
        match cached(insert).execute(&mut tx.connection()).await? {
            0 => Ok(Processed::Before),
            _ => effect.await.map(Processed::Now),
        }
    })
    .await
}

impl SystemTx {
    /// Deletes at most `batch` marks of all tenants that are older than `days`, and says how many.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune_processed_events(&self, days: u16, batch: u16) -> Result<usize> {
        prune(self, days, batch).await
    }
}

impl RfqSystemTx {
    /// As [`SystemTx::prune_processed_events`], in this database.
    ///
    /// # Errors
    /// As there.
    pub async fn prune_processed_events(&self, days: u16, batch: u16) -> Result<usize> {
        prune(self, days, batch).await
    }
}

async fn prune<Scope>(tx: &Tx<Scope>, days: u16, batch: u16) -> Result<usize> {
    let delete = sql_query(
        "DELETE FROM processed_events WHERE (tenant_id, id) IN ( \
             SELECT tenant_id, id FROM processed_events WHERE processed_at < now() - make_interval(days => $1) \
              ORDER BY processed_at LIMIT $2)",
    )
    .bind::<Integer, _>(i32::from(days))
    .bind::<Integer, _>(i32::from(batch));
    Ok(cached(delete).execute(&mut tx.connection()).await?)
}
