//! Lists for people and audits: newest first, by type, by request, by time.
//!
//! There is no index by cause: every append would pay for it, and who follows causes has a request at hand, whose
//! events ([`EventRepository::correlation_chain`]) name theirs.

use chrono::{DateTime, Utc};
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::append::EventRepository;
use super::event::{COLUMNS, Event};
use super::read::MAX_READ;
use crate::error::Result;
use crate::pagination::{Cursor, Page, PageRequest};
use crate::sql::cached;

/// Which events to list; all that are given hold.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of this type.
    pub event_type: Option<String>,
    /// Of this request.
    pub correlation_id: Option<Uuid>,
    /// Appended not before.
    pub from: Option<DateTime<Utc>>,
    /// Appended before.
    pub until: Option<DateTime<Utc>>,
}

impl EventFilter {
    /// `$1` is the tenant, `$2` where the page before ended, `$3` the limit.
    fn sql(&self) -> String {
        let mut conditions = String::new();
        if self.event_type.is_some() {
            conditions += " AND e.event_type = $4";
        }
        if self.correlation_id.is_some() {
            conditions += " AND e.correlation_id = $5";
        }
        let by_time = self.from.is_some() || self.until.is_some();
        let alone = by_time && self.event_type.is_none() && self.correlation_id.is_none();
        // What decides here: without values, the planner takes a range for narrow, and half of one for a third of all.
        let position = if alone { "e.position + 0" } else { "e.position" };
        if alone {
            // The events of the range are read, and sorted. In the order of an index it would be all events since the
            // range, or, where it is almost empty, all before it.
            conditions += " AND e.created_at >= coalesce($6, '-infinity') AND e.created_at < coalesce($7, 'infinity')";
        } else {
            // A third of all tenants' events would not be looked for by the tenant's index.
            conditions += " AND e.position > 0";
            if by_time {
                // In the order of the type's or the request's index.
                conditions += " AND ($6 IS NULL OR e.created_at >= $6) AND ($7 IS NULL OR e.created_at < $7)";
            }
        }
        format!(
            "SELECT {COLUMNS} FROM events AS e WHERE e.tenant_id = $1 AND {position} < $2{conditions} \
              ORDER BY {position} DESC LIMIT $3"
        )
    }
}

impl EventRepository<'_> {
    /// Events newest first. By time alone, each page reads all events of the range: a short one is quick.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a bad limit or cursor.
    pub async fn list(&self, filter: &EventFilter, page: &PageRequest) -> Result<Page<Event>> {
        const ORDER: &str = "events";
        let before = match &page.after {
            Some(after) => after.decode::<i64>(ORDER)?.0,
            None => i64::MAX,
        };
        let query = sql_query(filter.sql())
            .bind::<SqlUuid, _>(self.tx.tenant_id())
            .bind::<BigInt, _>(before)
            .bind::<BigInt, _>(page.fetch()?)
            .bind::<Nullable<Text>, _>(&filter.event_type)
            .bind::<Nullable<SqlUuid>, _>(filter.correlation_id)
            .bind::<Nullable<Timestamptz>, _>(filter.from)
            .bind::<Nullable<Timestamptz>, _>(filter.until);
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &Event| Cursor::new(ORDER, &last.position, last.id.as_uuid())))
    }

    /// What a request led to, in order, at most [`MAX_READ`] events. Each names its cause: together they are a tree.
    ///
    /// # Errors
    /// What the database says.
    pub async fn correlation_chain(&self, correlation_id: Uuid) -> Result<Vec<Event>> {
        let query = sql_query(format!(
            "SELECT {COLUMNS} FROM events AS e WHERE e.tenant_id = $1 AND e.correlation_id = $2 \
              ORDER BY e.position LIMIT $3"
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(correlation_id)
        .bind::<BigInt, _>(i64::from(MAX_READ));
        Ok(cached(query).load(&mut self.tx.connection()).await?)
    }
}
