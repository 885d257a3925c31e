//! Appending: alone, under a condition, or to a stream, always in one round trip and in the caller's transaction.

use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::event::{NewEvent, to_json};
use super::query::EventQuery;
use crate::database::{Channel, Database, TenantContext, TenantTx};
use crate::error::{Error, Result};
use crate::sql::cached;
use crate::validation::Check;

/// What a transaction had seen when it decided: from [`EventRepository::read_to_decide`]. It may travel to a client
/// and back, but who changes it can switch its condition off: sign it where that client is not trusted. It is good for
/// its tenant, until the server is started anew, or another one takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventToken(pub(super) String);

impl EventToken {
    /// The text to hand to a client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a client's text; whether it is one of ours shows when it is used.
    pub fn from_client(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What must not have happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppendCondition {
    fail_if_events_match: EventQuery,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<EventToken>,
}

impl AppendCondition {
    /// No event that matches, ever.
    #[must_use]
    pub fn fail_if(query: EventQuery) -> Self {
        Self { fail_if_events_match: query, after: None }
    }

    /// No event that matches and that had not been seen.
    #[must_use]
    pub fn after(mut self, token: EventToken) -> Self {
        self.after = Some(token);
        self
    }
}

/// A stream: the events of one aggregate, numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream<'a> {
    /// Of which kind: `order`. A stream keeps its kind. 1 to 255 characters.
    pub aggregate_type: &'a str,
    /// Which one: unique among all streams of the tenant.
    pub aggregate_id: Uuid,
}

/// At which version a stream has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// At any.
    Any,
    /// It has no event.
    NoStream,
    /// Its last event has this version.
    Exact(i32),
}

/// What an append came up against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AppendConflict {
    /// An event that had not been seen.
    Event {
        /// Which item of the condition it matches, 0 for the first.
        item: usize,
        /// Its place.
        position: i64,
        /// Its id.
        id: Uuid,
        /// What it is.
        event_type: String,
    },
    /// The stream is at another version.
    Stream {
        /// Which stream.
        aggregate_id: Uuid,
        /// Where it was expected.
        expected: i32,
        /// Where it is.
        version: i32,
    },
    /// The token is from before the server was started, from another server, or of another tenant: what came between is
    /// not known.
    StaleToken {
        /// Always true.
        stale_token: bool,
    },
}

impl std::fmt::Display for AppendConflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event { item, position, event_type, .. } => {
                write!(f, "{event_type} at position {position} was not seen (item {item} of the condition)")
            }
            Self::Stream { aggregate_id, expected, version } => {
                write!(f, "stream {aggregate_id} is at version {version}, expected was {expected}")
            }
            Self::StaleToken { .. } => {
                f.write_str("the token is from before the server was started, or of another tenant")
            }
        }
    }
}

/// The tenant's events.
#[derive(Clone, Copy)]
pub struct EventRepository<'t> {
    pub(super) tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's events.
    #[must_use]
    pub fn events(&self) -> EventRepository<'_> {
        EventRepository { tx: self }
    }
}

#[derive(QueryableByName)]
struct Appended {
    #[diesel(sql_type = Array<BigInt>)]
    positions: Vec<i64>,
}

impl EventRepository<'_> {
    /// Appends 1 to 1,000 events, all or none of them, and answers their positions in the same order; subscribers
    /// are woken when the transaction has committed. Events that say nothing else are part of the context's request.
    ///
    /// Several appends of one transaction do not wait for what others hold out of order, but fail with
    /// [`Error::Contention`]; `tenant_tx` runs the transaction again then. Their tags add up to locks, of which the
    /// server has some thousands: append many events in few calls.
    ///
    /// # Errors
    /// [`Error::AppendConflict`] where the condition does not hold, [`Error::Conflict`] for an id that is there,
    /// [`Error::Invalid`] for a bad event or condition, or a tenant that does not exist. After each of them the
    /// transaction can do nothing more (but see [`TenantTx::savepoint`]).
    pub async fn append(&self, events: &[NewEvent], condition: Option<&AppendCondition>) -> Result<Vec<i64>> {
        let condition = match condition {
            Some(condition) => {
                condition.fail_if_events_match.check()?;
                Some(serde_json::to_value(condition).map_err(|error| Error::invalid("condition", error.to_string()))?)
            }
            None => None,
        };
        self.append_json(events, condition, None).await
    }

    /// Appends to a stream: the events get the versions that follow.
    ///
    /// # Errors
    /// [`Error::AppendConflict`] where the stream is not where it was expected; [`Error::Invalid`] for a stream of
    /// another kind; those of [`EventRepository::append`].
    pub async fn append_to_stream(
        &self,
        stream: Stream<'_>,
        expected: ExpectedVersion,
        events: &[NewEvent],
    ) -> Result<Vec<i64>> {
        let mut check = Check::default();
        check.text("aggregate_type", stream.aggregate_type, 1..=super::event::MAX_NAME);
        let expected = match expected {
            ExpectedVersion::Any => None,
            ExpectedVersion::NoStream => Some(0),
            ExpectedVersion::Exact(version) => Some(version),
        };
        if expected.is_some_and(|version| version < 0) {
            check.add("expected", "is negative".into());
        }
        check.finish()?;
        let stream = json!({
            "aggregate_type": stream.aggregate_type,
            "aggregate_id": stream.aggregate_id,
            "expected_version": expected,
        });
        self.append_json(events, None, Some(stream)).await
    }

    pub(super) fn user_id(self) -> Option<Uuid> {
        self.tx.context().user_id().map(crate::ids::Id::as_uuid)
    }

    async fn append_json(
        &self,
        events: &[NewEvent],
        condition: Option<Value>,
        stream: Option<Value>,
    ) -> Result<Vec<i64>> {
        let events = to_json(events, self.user_id())?;
        let append = sql_query("SELECT append_events($1, $2, $3) AS positions")
            .bind::<Jsonb, _>(events)
            .bind::<Nullable<Jsonb>, _>(condition)
            .bind::<Nullable<Jsonb>, _>(stream);
        let appended: Appended = cached(append).get_result(&mut self.tx.connection()).await?;
        self.tx.wake_on_commit(Channel::Events);
        Ok(appended.positions)
    }

    /// What is committed by now, as a condition wants it; [`EventRepository::read_to_decide`] has it with the events.
    ///
    /// # Errors
    /// What the database says.
    pub async fn token(&self) -> Result<EventToken> {
        let token = sql_query("SELECT event_token() AS token");
        let row: Token = cached(token).get_result(&mut self.tx.connection()).await?;
        Ok(EventToken(row.token))
    }
}

#[derive(QueryableByName)]
struct Token {
    #[diesel(sql_type = Text)]
    token: String,
}

impl Database {
    /// Appends in a transaction of its own: see [`EventRepository::append`].
    ///
    /// # Errors
    /// As there; [`Error::CommitUnknown`], after which an append of the same events, with their ids, tells: they were
    /// written if it ends with [`Error::Conflict`], or with [`AppendConflict::Event`] about the id of one of them.
    pub async fn append_events(
        &self,
        context: &TenantContext,
        events: &[NewEvent],
        condition: Option<&AppendCondition>,
    ) -> Result<Vec<i64>> {
        self.tenant_tx("events.append", context, async move |tx| tx.events().append(events, condition).await).await
    }
}
