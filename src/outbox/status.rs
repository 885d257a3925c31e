//! How an outbox stands: what waits, for how long, and what has died.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Double, Nullable, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::message::OutboxEvent;
use super::queue::OutboxQueue;
use crate::error::Result;
use crate::schema::outbox_events;
use crate::sql::cached;

/// How an outbox stands, or the part of it that is of one event type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, QueryableByName)]
pub struct OutboxStatus {
    /// `None`: all of them.
    #[diesel(sql_type = Nullable<Text>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Neither published nor dead.
    #[diesel(sql_type = BigInt)]
    pub pending: i64,
    /// Of these, those whose time has come and that nobody has claimed.
    #[diesel(sql_type = BigInt)]
    pub due: i64,
    /// Of the pending ones, those that have failed.
    #[diesel(sql_type = BigInt)]
    pub retrying: i64,
    /// Of the pending ones, those that a worker holds.
    #[diesel(sql_type = BigInt)]
    pub leased: i64,
    /// Given up.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
    /// Published in the last hour.
    #[diesel(sql_type = BigInt)]
    pub published_last_hour: i64,
    /// For so long the oldest one is due.
    #[diesel(sql_type = Nullable<Double>)]
    pub oldest_due_seconds: Option<f64>,
}

impl<Scope> OutboxQueue<'_, Scope> {
    /// How the outbox stands: first all, then each event type.
    ///
    /// # Errors
    /// What the database says.
    pub async fn status(&self) -> Result<Vec<OutboxStatus>> {
        let query = sql_query(
            "SELECT event_type, coalesce(sum(pending), 0)::bigint AS pending, coalesce(sum(due), 0)::bigint AS due, \
                    coalesce(sum(retrying), 0)::bigint AS retrying, coalesce(sum(leased), 0)::bigint AS leased, \
                    coalesce(sum(dead), 0)::bigint AS dead, coalesce(sum(published), 0)::bigint AS published_last_hour, \
                    max(age) AS oldest_due_seconds \
               FROM ( \
                 SELECT event_type, count(*) AS pending, count(*) FILTER (WHERE is_due) AS due, \
                        count(*) FILTER (WHERE retry_count > 0) AS retrying, count(*) FILTER (WHERE is_leased) AS leased, \
                        0 AS dead, 0 AS published, \
                        extract(epoch FROM now() - min(available_at) FILTER (WHERE is_due))::float8 AS age \
                   FROM (SELECT event_type, retry_count, available_at, available_at <= now() AND NOT coalesce(lease_expires_at > now(), false) AS is_due, \
                                coalesce(lease_expires_at > now(), false) AS is_leased \
                           FROM outbox_events WHERE published_at IS NULL AND dead_at IS NULL) AS open GROUP BY event_type \
                 UNION ALL SELECT event_type, 0, 0, 0, 0, count(*), 0, NULL FROM outbox_events \
                            WHERE dead_at IS NOT NULL GROUP BY event_type \
                 UNION ALL SELECT event_type, 0, 0, 0, 0, 0, count(*), NULL FROM outbox_events \
                            WHERE published_at > now() - interval '1 hour' GROUP BY event_type) AS counted \
              GROUP BY GROUPING SETS ((), (event_type)) ORDER BY event_type NULLS FIRST",
        );
        Ok(cached(query).load(&mut self.tx.connection()).await?)
    }

    /// At most so many dead letters, those first that died last.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list_dead(&self, limit: u16) -> Result<Vec<OutboxEvent>> {
        let query = outbox_events::table
            .filter(outbox_events::dead_at.is_not_null())
            .order((outbox_events::dead_at.desc(), outbox_events::sequence.desc()))
            .limit(i64::from(limit))
            .select(OutboxEvent::as_select());
        Ok(query.load(&mut self.tx.connection()).await?)
    }
}
