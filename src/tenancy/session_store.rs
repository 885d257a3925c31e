//! Sessions for axum and other tower services: a store for [tower-sessions](https://docs.rs/tower-sessions).
//!
//! ```rust,no_run
//! use bedplate::tenancy::PostgresSessionStore;
//! use tower_sessions::SessionManagerLayer;
//!
//! # fn example(app: axum::Router, db: bedplate::Database) -> axum::Router {
//! app.layer(SessionManagerLayer::new(PostgresSessionStore::new(db)))
//! # }
//! ```
//!
//! So that `revoke_user` finds the sessions of a user, the application inserts [`USER_ID`] and [`TENANT_ID`] at
//! the sign-in, and cycles the id then; at no other time, because to tower-sessions a cycled session is a new one,
//! also where the old one was revoked meanwhile.
//!
//! [`USER_ID`]: super::session::USER_ID
//! [`TENANT_ID`]: super::session::TENANT_ID

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use time::OffsetDateTime;
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error as StoreError, ExpiredDeletion, Result as StoreResult};

use super::session::{SessionData, SessionId};
use crate::database::Database;
use crate::error::Error;

/// How many sessions one statement of a prune deletes.
const BATCH: u32 = 1000;

/// A store for tower-sessions on the table `sessions`.
#[derive(Debug, Clone)]
pub struct PostgresSessionStore {
    database: Database,
}

impl PostgresSessionStore {
    /// A store on this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl SessionStore for PostgresSessionStore {
    /// A new id is drawn where one is taken.
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        loop {
            let (id, data, end) = parts(record)?;
            let (id, data) = (&id, &data);
            let created =
                self.database.session_tx("sessions.create", async |tx| tx.sessions().create(id, data, end).await).await;
            match created {
                Err(Error::Conflict { .. }) => record.id = Id::default(),
                other => return other.map_err(backend),
            }
        }
    }

    /// An error for a session that was revoked meanwhile: its request ends with status 500, and what it wanted
    /// to keep is not kept behind its back.
    async fn save(&self, record: &Record) -> StoreResult<()> {
        let (id, data, end) = parts(record)?;
        let (id, data) = (&id, &data);
        let saved = self.database.session_tx("sessions.save", async |tx| tx.sessions().save(id, data, end).await).await;
        saved.map_err(backend)
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        let sid = &SessionId::from_client(id.to_string());
        let session = match self.database.session_tx("sessions.find", async |tx| tx.sessions().find(sid).await).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(backend)?,
        };
        let nanos = i128::from(session.expires_at.timestamp_micros()) * 1000;
        let expiry_date =
            OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|error| StoreError::Decode(error.to_string()))?;
        Ok(Some(Record { id: *id, data: session.data.into_iter().collect(), expiry_date }))
    }

    async fn delete(&self, id: &Id) -> StoreResult<()> {
        let sid = &SessionId::from_client(id.to_string());
        let deleted = self.database.session_tx("sessions.delete", async |tx| tx.sessions().delete(sid).await).await;
        deleted.map_err(backend)
    }
}

#[async_trait]
impl ExpiredDeletion for PostgresSessionStore {
    async fn delete_expired(&self) -> StoreResult<()> {
        loop {
            let pruned = self.database.session_tx("sessions.prune", async |tx| tx.sessions().prune(BATCH).await).await;
            if pruned.map_err(backend)? < BATCH as usize {
                return Ok(());
            }
        }
    }
}

fn parts(record: &Record) -> StoreResult<(SessionId, SessionData, DateTime<Utc>)> {
    let micros = i64::try_from(record.expiry_date.unix_timestamp_nanos() / 1000)
        .ok()
        .and_then(DateTime::from_timestamp_micros)
        .ok_or_else(|| StoreError::Encode("the expiry is out of range".into()))?;
    let data = record.data.clone().into_iter().collect();
    Ok((SessionId::from_client(record.id.to_string()), data, micros))
}

/// Data that `jsonb` cannot hold is no fault of the backend: a NUL character in a text or name.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn backend(error: Error) -> StoreError {
    match error {
        Error::Invalid { .. } => StoreError::Encode(error.to_string()),
        _ => StoreError::Backend(error.to_string()),
    }
}
