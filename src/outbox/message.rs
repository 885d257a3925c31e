//! Messages: written in the transaction of what they tell, as a tenant.
//!
//! Always holds: a message is there if and only if its transaction committed, and relays are woken then. It cannot be
//! changed or taken back; only a relay says what became of it.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::database::{Channel, RfqTx, TenantTx, Tx, in_chunks};
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::schema::outbox_events;
use crate::sql::{cached, columns};
use crate::tenancy::TenantId;
use crate::validation::Check;

/// The id of a message.
pub type OutboxEventId = Id<OutboxEvent>;

/// A row of `outbox_events`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = outbox_events, check_for_backend(Pg))]
pub struct OutboxEvent {
    /// The tenant that it is about.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: OutboxEventId,
    /// Orders the messages of one entity.
    pub sequence: i64,
    /// What happened.
    pub event_type: String,
    /// What receivers know it by.
    pub event_id: Uuid,
    /// The request it was part of.
    pub correlation_id: Option<Uuid>,
    /// What it happened to.
    pub entity_type: String,
    /// To which.
    pub entity_id: String,
    /// What is sent.
    pub payload: Value,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Not published before.
    pub available_at: DateTime<Utc>,
    /// The relay worker that claimed it last.
    pub claimed_by: Option<String>,
    /// The claim that holds it.
    pub claim_id: Option<Uuid>,
    /// From then on another worker may take it over.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// How often it failed.
    pub retry_count: i32,
    /// What the sink said when it failed last.
    pub last_error: Option<String>,
    /// When the sink took it.
    pub published_at: Option<DateTime<Utc>>,
    /// When the relay gave it up.
    pub dead_at: Option<DateTime<Utc>>,
}

impl Entity for OutboxEvent {
    const NAME: &'static str = "outbox_event";
    const TABLE: &'static str = "outbox_events";
}

/// A message to write.
#[derive(Debug, Clone, Copy)]
pub struct NewOutboxEvent<'a> {
    /// What happened: `business_idea.submitted`. 1 to 255 characters.
    pub event_type: &'a str,
    /// What receivers know it by, where it has an id already; by default a new one.
    pub event_id: Option<Uuid>,
    /// What it happened to, usually a table: 1 to 100 characters.
    pub entity_type: &'a str,
    /// To which: 1 to 255 characters. Messages of one entity go out in their order.
    pub entity_id: &'a str,
    /// What is sent.
    pub payload: &'a Value,
    /// Not before; by default at once. Later messages of the entity wait for it.
    pub available_at: Option<DateTime<Utc>>,
}

impl<'a> NewOutboxEvent<'a> {
    /// A message that goes out at once, under an id of its own.
    #[must_use]
    pub fn new(event_type: &'a str, entity_type: &'a str, entity_id: &'a str, payload: &'a Value) -> Self {
        Self { event_type, event_id: None, entity_type, entity_id, payload, available_at: None }
    }

    fn check(&self) -> Result<()> {
        Check::default()
            .text("event_type", self.event_type, 1..=255)
            .text("entity_type", self.entity_type, 1..=100)
            .text("entity_id", self.entity_id, 1..=255)
            .json("payload", self.payload)
            .finish()
    }
}

/// The tenant's messages. Each database with tenants has an outbox, of the same shape (the test
/// `catalogue::what_is_shared_is_equal`).
pub struct OutboxRepository<'t, Scope> {
    tenant_id: TenantId,
    tx: &'t Tx<Scope>,
}

impl TenantTx {
    /// The tenant's messages to the outside.
    #[must_use]
    pub fn outbox(&self) -> OutboxRepository<'_, crate::database::TenantContext> {
        OutboxRepository { tenant_id: self.tenant_id(), tx: self }
    }
}

impl RfqTx {
    /// The tenant's messages to the outside, of this database.
    #[must_use]
    pub fn outbox(&self) -> OutboxRepository<'_, crate::database::OfRfq<crate::database::TenantContext>> {
        OutboxRepository { tenant_id: self.tenant_id(), tx: self }
    }
}

impl<Scope> OutboxRepository<'_, Scope> {
    /// Writes a message; the correlation id is the transaction's. It goes out after the commit.
    ///
    /// Of two messages of an entity the one goes out first that was written first. Transactions that run side by side
    /// have an order where both lock something before they write: the entity's row, which an UPDATE does.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every rule that the input breaks, [`Error::Conflict`] for an event id that is there.
    pub async fn create(&self, new: NewOutboxEvent<'_>) -> Result<OutboxEvent> {
        let mut created = self.create_many(&[new]).await?;
        created.pop().ok_or(Error::Aborted)
    }

    /// Writes any number of messages, all or none, in the order given.
    ///
    /// # Errors
    /// As for [`Self::create`], for the first that is wrong.
    pub async fn create_many(&self, new: &[NewOutboxEvent<'_>]) -> Result<Vec<OutboxEvent>> {
        new.iter().try_for_each(NewOutboxEvent::check)?;
        let created = in_chunks(new, async |chunk| {
            let insert = sql_query(format!("INSERT INTO outbox_events (tenant_id, id, event_type, event_id, entity_type, entity_id, payload, available_at) \
                 SELECT $1, id, event_type, event_id, entity_type, entity_id, payload, coalesce(available_at, now()) \
                   FROM unnest($2, $3, $4, $5, $6, $7, $8) \
                        AS new (id, event_type, event_id, entity_type, entity_id, payload, available_at) RETURNING {columns}",
 columns = columns::<OutboxEvent>("")))
            .bind::<SqlUuid, _>(self.tenant_id)
            .bind::<Array<SqlUuid>, _>(chunk.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(chunk.iter().map(|new| new.event_type).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(
                chunk.iter().map(|new| new.event_id.unwrap_or_else(Uuid::now_v7)).collect::<Vec<_>>(),
            )
            .bind::<Array<Text>, _>(chunk.iter().map(|new| new.entity_type).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(chunk.iter().map(|new| new.entity_id).collect::<Vec<_>>())
            .bind::<Array<Jsonb>, _>(chunk.iter().map(|new| new.payload).collect::<Vec<_>>())
            .bind::<Array<Nullable<Timestamptz>>, _>(chunk.iter().map(|new| new.available_at).collect::<Vec<_>>());
            let mut rows: Vec<OutboxEvent> = cached(insert).load(&mut self.tx.connection()).await?;
            // RETURNING promises no order.
            rows.sort_by_key(|event| event.sequence);
            Ok(rows)
        })
        .await?;
        if !created.is_empty() {
            self.tx.wake_on_commit(Channel::Outbox);
        }
        Ok(created)
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none, or it was published so long ago that it was deleted.
    pub async fn find(&self, id: OutboxEventId) -> Result<OutboxEvent> {
        let query = outbox_events::table.find((self.tenant_id, id)).select(OutboxEvent::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// The message of an event.
    ///
    /// # Errors
    /// As for [`Self::find`].
    pub async fn find_by_event_id(&self, event_id: Uuid) -> Result<OutboxEvent> {
        let query = outbox_events::table
            .filter(outbox_events::tenant_id.eq(self.tenant_id))
            .filter(outbox_events::event_id.eq(event_id))
            .select(OutboxEvent::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: OutboxEvent::NAME, id: event_id.to_string() })
    }
}
