//! Reading: by query, forwards or backwards, by id, to decide on.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::append::{EventRepository, EventToken, Stream};
use super::event::{COLUMNS, Event, EventId};
use super::query::{EventQuery, Range, of_tenant};
use crate::error::{Error, Result};
use crate::sql::cached;

/// The most events that one read answers with.
pub const MAX_READ: u32 = 100_000;

/// From where to read, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// Forwards from the first event.
    Start,
    /// Forwards from the event after this position.
    After(i64),
    /// Backwards from the last event.
    End,
    /// Backwards from the event before this position.
    Before(i64),
}

impl ReadFrom {
    fn range(self) -> Range {
        match self {
            Self::Start => Range::after(0),
            Self::After(position) => Range::after(position),
            Self::End => Range { backwards: true, ..Range::after(0) },
            Self::Before(position) => Range { backwards: true, until: position.saturating_sub(1), ..Range::after(0) },
        }
    }
}

/// Events to decide on, and what makes sure that no others come in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// All that match, in their order.
    pub events: Vec<Event>,
    /// For [`AppendCondition::after`](super::AppendCondition::after).
    pub token: EventToken,
}

#[derive(QueryableByName)]
pub(super) struct Head {
    #[diesel(sql_type = BigInt)]
    pub(super) head: i64,
}

impl<'t> EventRepository<'t> {
    /// At most `limit` of the events that match, in their order: those that are committed. An append that is under
    /// way may still commit an event with a lower position than the last one of these: who must not miss any reads
    /// up to [`EventRepository::head`], as subscriptions do.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad query or limit (1 to [`MAX_READ`]).
    pub async fn read(&self, query: &EventQuery, from: ReadFrom, limit: u32) -> Result<Vec<Event>> {
        query.check()?;
        if !(1..=MAX_READ).contains(&limit) {
            return Err(Error::invalid("limit", format!("is {limit}, allowed are 1 to {MAX_READ}")));
        }
        self.load(query, Range { limit: Some(i64::from(limit)), ..from.range() }).await
    }

    /// All events that match, in their order, one after the other as the server sends them: however many there are,
    /// few are in memory. One statement, and so what was committed when it began; as [`EventRepository::read`] else.
    ///
    /// Read it to its end, or drop it, before the next statement of the transaction, which would wait for it; COMMIT is
    /// one too.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad query; an item is an error where the connection is lost on the way.
    pub async fn stream(&self, query: &EventQuery, from: ReadFrom) -> Result<BoxStream<'t, Result<Event>>> {
        query.check()?;
        let query = of_tenant(self.tx.tenant_id(), query, from.range(), None);
        let events = cached(query).load_stream::<Event>(&mut self.tx.connection()).await?;
        Ok(events.map_err(Error::from).boxed())
    }

    async fn load(&self, query: &EventQuery, range: Range) -> Result<Vec<Event>> {
        let query = of_tenant(self.tx.tenant_id(), query, range, None);
        Ok(cached(query).load(&mut self.tx.connection()).await?)
    }

    /// All events that match, with the token for the condition under which to append what is decided. Two round
    /// trips.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad query.
    pub async fn read_to_decide(&self, query: &EventQuery) -> Result<Seen> {
        query.check()?;
        // Not sent together: a statement that the connection has prepared overtakes one that it has not, and events
        // that were committed between the two would be covered by the token and not be read.
        let token = self.token().await?;
        let events = self.load(query, Range::after(0)).await?;
        Ok(Seen { events, token })
    }

    /// The event with this id.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: EventId) -> Result<Event> {
        let query = sql_query(format!("SELECT {COLUMNS} FROM events AS e WHERE e.tenant_id = $1 AND e.id = $2"))
            .bind::<SqlUuid, _>(self.tx.tenant_id())
            .bind::<SqlUuid, _>(id);
        let found = cached(query).get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::not_found(id))
    }

    /// The events of a stream after a version (0: from the first), in their order.
    ///
    /// # Errors
    /// What the database says.
    pub async fn read_stream(&self, stream: Stream<'_>, after_version: i32) -> Result<Vec<Event>> {
        let query = sql_query(format!(
            "SELECT {COLUMNS} FROM events AS e \
              WHERE e.tenant_id = $1 AND e.aggregate_id = $2 AND e.event_version > $3 AND e.aggregate_type = $4 \
              ORDER BY e.event_version"
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(stream.aggregate_id)
        .bind::<diesel::sql_types::Integer, _>(after_version)
        .bind::<diesel::sql_types::Text, _>(stream.aggregate_type);
        Ok(cached(query).load(&mut self.tx.connection()).await?)
    }

    /// The position up to which every event of the tenant is there that ever will be. Read in a later statement.
    ///
    /// # Errors
    /// What the database says.
    pub async fn head(&self) -> Result<i64> {
        let query = sql_query("SELECT event_head() AS head");
        let row: Head = cached(query).get_result(&mut self.tx.connection()).await?;
        Ok(row.head)
    }
}
