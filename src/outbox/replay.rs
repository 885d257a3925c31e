//! Dead letters brought back, and published messages that are old deleted.

use chrono::{DateTime, Utc};
use diesel::sql_query;
use diesel::sql_types::{Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::queue::OutboxQueue;
use crate::database::{AllTenants, Channel};
use crate::error::Result;
use crate::sql::cached;

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// All of them.
    All,
    /// The one with this event id, or this id.
    Id(Uuid),
    /// Those of an event type.
    EventType(String),
}

impl<Scope> OutboxQueue<'_, Scope> {
    /// Brings at most `limit` dead letters back that died before `until`, those first that died first, with as many
    /// attempts before them as new ones; says how many. Later messages of their entities may have gone out meanwhile,
    /// or are at the sink.
    ///
    /// # Errors
    /// What the database says.
    pub async fn replay(&self, which: &Replay, until: DateTime<Utc>, limit: u16) -> Result<usize> {
        let (id, event_type) = match which {
            Replay::All => (None, None),
            Replay::Id(id) => (Some(*id), None),
            Replay::EventType(event_type) => (None, Some(event_type.as_str())),
        };
        let update = sql_query(
            "UPDATE outbox_events AS o SET dead_at = NULL, retry_count = 0, available_at = now() \
               FROM (SELECT tenant_id, id FROM outbox_events \
                      WHERE dead_at <= $4 AND ($1 IS NULL OR $1 IN (event_id, id)) \
                        AND ($2 IS NULL OR event_type = $2) \
                      ORDER BY dead_at, sequence LIMIT $3 FOR NO KEY UPDATE) AS dead \
              WHERE o.tenant_id = dead.tenant_id AND o.id = dead.id",
        )
        .bind::<Nullable<SqlUuid>, _>(id)
        .bind::<Nullable<Text>, _>(event_type)
        .bind::<Integer, _>(i32::from(limit))
        .bind::<Timestamptz, _>(until);
        let replayed = cached(update).execute(&mut self.tx.connection()).await?;
        if replayed > 0 {
            self.tx.wake_on_commit(Channel::Outbox);
        }
        Ok(replayed)
    }

    /// Deletes at most `batch` messages that were published more than `days` ago, and says how many.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune(&self, days: u16, batch: u16) -> Result<usize> {
        self.delete(days, batch, false).await
    }

    async fn delete(&self, days: u16, batch: u16, orphans: bool) -> Result<usize> {
        let which = if orphans {
            "dead_at < now() - make_interval(days => $1) AND NOT EXISTS (SELECT FROM tenants AS t WHERE t.id = o.tenant_id)"
        } else {
            "published_at < now() - make_interval(days => $1)"
        };
        let delete = sql_query(format!(
            "DELETE FROM outbox_events WHERE (tenant_id, id) IN ( \
                 SELECT tenant_id, id FROM outbox_events AS o WHERE {which} LIMIT $2 FOR UPDATE SKIP LOCKED)"
        ))
        .bind::<Integer, _>(i32::from(days))
        .bind::<Integer, _>(i32::from(batch));
        Ok(cached(delete).execute(&mut self.tx.connection()).await?)
    }
}

impl OutboxQueue<'_, AllTenants> {
    /// Deletes at most `batch` dead letters of tenants that are gone, for which nobody will replay them.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune_orphans(&self, days: u16, batch: u16) -> Result<usize> {
        self.delete(days, batch, true).await
    }
}
