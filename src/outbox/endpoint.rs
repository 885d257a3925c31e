//! Endpoints: where a sink's messages go. One that asks for no more is stopped for all relays, until somebody starts it
//! again; its messages stay open meanwhile.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::queue::OutboxQueue;
use super::settle::cut;
use crate::database::Channel;
use crate::error::Result;
use crate::sql::cached;

/// Longest name of an endpoint.
const MAX_NAME: usize = 300;

/// Where a sink's messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The same for each relay with this endpoint, and no secret.
    pub(super) id: String,
    /// For people.
    pub(super) name: String,
}

impl Endpoint {
    /// `address` tells endpoints from each other; it may hold a secret, for a hash alone is stored. `name` is shown to
    /// people.
    #[must_use]
    pub fn new(address: &str, name: &str) -> Self {
        let hash = Sha256::digest(address.as_bytes());
        let first = hash.iter().take(8).fold(0_u64, |first, byte| first << 8 | u64::from(*byte));
        Self { id: format!("{first:016x}"), name: name.chars().take(MAX_NAME).collect() }
    }

    /// What `bedplate outbox start --id` takes.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// An endpoint that gets nothing until it is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, QueryableByName)]
pub struct StoppedEndpoint {
    /// What it is started by.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// For people.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// What it answered.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub stopped_at: DateTime<Utc>,
}

impl<Scope> OutboxQueue<'_, Scope> {
    /// The endpoints that are stopped, the last one first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn stopped_endpoints(&self) -> Result<Vec<StoppedEndpoint>> {
        let query = sql_query(
            "SELECT id, name, reason, stopped_at FROM outbox_stopped_endpoints ORDER BY stopped_at DESC, id LIMIT 1000",
        );
        Ok(cached(query).load(&mut self.tx.connection()).await?)
    }

    /// Starts a stopped endpoint again, or all of them, and says how many it was.
    ///
    /// # Errors
    /// What the database says.
    pub async fn start_endpoints(&self, id: Option<&str>) -> Result<usize> {
        let delete =
            sql_query("DELETE FROM outbox_stopped_endpoints WHERE $1 IS NULL OR id = $1").bind::<Nullable<Text>, _>(id);
        let started = cached(delete).execute(&mut self.tx.connection()).await?;
        if started > 0 {
            self.tx.wake_on_commit(Channel::Outbox);
        }
        Ok(started)
    }
}

pub(super) async fn stop(mut connection: &AsyncPgConnection, endpoint: &Endpoint, reason: &str) -> Result<()> {
    let insert = sql_query(
        "INSERT INTO outbox_stopped_endpoints (id, name, reason) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
    )
    .bind::<Text, _>(&endpoint.id)
    .bind::<Text, _>(&endpoint.name)
    .bind::<Text, _>(cut(reason));
    cached(insert).execute(&mut connection).await?;
    Ok(())
}

pub(super) async fn find_stopped(
    mut connection: &AsyncPgConnection,
    endpoint: &Endpoint,
) -> Result<Option<StoppedEndpoint>> {
    let query = sql_query("SELECT id, name, reason, stopped_at FROM outbox_stopped_endpoints WHERE id = $1")
        .bind::<Text, _>(&endpoint.id);
    Ok(cached(query).get_result(&mut connection).await.optional()?)
}
