//! Sessions of browsers, on a table that the session stores of other languages use too.
//!
//! Always holds: a save is an UPDATE, so a session that was revoked, deleted or pruned never comes back; that of
//! another language, which would insert it again, is kept from it by a trigger that remembers revoked ids for some days.
//! A session that is over is not found. Times are UTC, whatever zone the server has.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::{AsExprOf, AtTimeZone, now, sql};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use rand::RngExt as _;
use serde_json::{Map, Value};

use super::tenant::TenantId;
use super::user::UserId;
use crate::database::SessionTx;
use crate::error::{Error, Result};
use crate::schema::sessions;
use crate::sql::cached;
use crate::validation::Check;

/// Where a session's data says who is signed in: a text at the top. An index finds a user's sessions by both.
pub const USER_ID: &str = "user_id";

/// Where a session's data says in which tenant.
pub const TENANT_ID: &str = "tenant_id";

/// The id of a session: whoever has it has the session. Shown by no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(String);

impl SessionId {
    /// A new one, of 256 random bits of the operating system's generator.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default id would be a different one each time")]
    pub fn new() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; 32]>()))
    }

    /// Takes the id that a cookie holds; whether it is one shows when it is loaded.
    pub fn from_client(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text for the cookie.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// What a session holds: an object, with [`USER_ID`] and [`TENANT_ID`] where somebody is signed in.
pub type SessionData = Map<String, Value>;

/// Notes in a session's data who is signed in.
pub fn sign_in(data: &mut SessionData, tenant: TenantId, user: UserId) {
    data.insert(TENANT_ID.to_owned(), tenant.to_string().into());
    data.insert(USER_ID.to_owned(), user.to_string().into());
}

/// A session that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What it holds.
    pub data: SessionData,
    /// When it is over.
    pub expires_at: DateTime<Utc>,
}

/// The sessions of all browsers.
#[derive(Clone, Copy)]
pub struct SessionRepository<'t> {
    tx: &'t SessionTx,
}

impl SessionTx {
    /// The sessions of all browsers.
    #[must_use]
    pub fn sessions(&self) -> SessionRepository<'_> {
        SessionRepository { tx: self }
    }
}

impl SessionRepository<'_> {
    /// Creates a session.
    ///
    /// # Errors
    /// [`Error::Conflict`] for an id that is there or was revoked, [`Error::Invalid`] for data with a NUL character.
    pub async fn create(&self, id: &SessionId, data: &SessionData, expires_at: DateTime<Utc>) -> Result<()> {
        Check::default().text("sid", &id.0, 1..=255).finish()?;
        let insert = diesel::insert_into(sessions::table).values((
            sessions::sid.eq(&id.0),
            sessions::sess.eq(json(data)?),
            sessions::expire.eq(expires_at.naive_utc()),
        ));
        match cached(insert).execute(&mut self.tx.connection()).await? {
            0 => Err(Error::Conflict { constraint: "sessions_sid_revoked".into(), field: "id".into() }),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none, or it is over.
    pub async fn find(&self, id: &SessionId) -> Result<Session> {
        if id.0.contains('\0') {
            return Err(not_found());
        }
        let query = sessions::table
            .find(&id.0)
            .filter(sessions::expire.gt(utc_now()))
            .select((sessions::sess, sessions::expire));
        let found: Option<(Value, NaiveDateTime)> = query.get_result(&mut self.tx.connection()).await.optional()?;
        let (data, expire) = found.ok_or_else(not_found)?;
        let data = if let Value::Object(data) = data { data } else { Map::new() };
        Ok(Session { data, expires_at: expire.and_utc() })
    }

    /// Saves what it holds, and when it is over.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one that was revoked, deleted or is over: it does not come back.
    pub async fn save(&self, id: &SessionId, data: &SessionData, expires_at: DateTime<Utc>) -> Result<()> {
        let living = sessions::table.find(&id.0).filter(sessions::expire.gt(utc_now()));
        let update =
            diesel::update(living).set((sessions::sess.eq(json(data)?), sessions::expire.eq(expires_at.naive_utc())));
        found(cached(update).execute(&mut self.tx.connection()).await?)
    }

    /// Puts off its end, and leaves what it holds.
    ///
    /// # Errors
    /// [`Error::NotFound`], as [`save`](Self::save).
    pub async fn touch(&self, id: &SessionId, expires_at: DateTime<Utc>) -> Result<()> {
        let living = sessions::table.find(&id.0).filter(sessions::expire.gt(utc_now()));
        let update = diesel::update(living).set(sessions::expire.eq(expires_at.naive_utc()));
        found(cached(update).execute(&mut self.tx.connection()).await?)
    }

    /// Gives it a new id, and keeps what it holds: at a sign-in, so that nobody who knew the id before has the
    /// session after it ([session fixation](https://owasp.org/www-community/attacks/Session_fixation)).
    ///
    /// # Errors
    /// [`Error::NotFound`], as [`save`](Self::save).
    pub async fn cycle_id(&self, id: &SessionId) -> Result<SessionId> {
        let new = SessionId::new();
        let living = sessions::table.find(&id.0).filter(sessions::expire.gt(utc_now()));
        let update = diesel::update(living).set(sessions::sid.eq(&new.0));
        found(cached(update).execute(&mut self.tx.connection()).await?)?;
        Ok(new)
    }

    /// Deletes it. Deleting it again changes nothing.
    ///
    /// # Errors
    /// What the database says.
    pub async fn delete(&self, id: &SessionId) -> Result<()> {
        let delete = diesel::delete(sessions::table.find(&id.0));
        cached(delete).execute(&mut self.tx.connection()).await?;
        Ok(())
    }

    /// Revokes every session of a user, and says how many there were.
    ///
    /// # Errors
    /// What the database says.
    pub async fn revoke_user(&self, tenant: TenantId, user: UserId) -> Result<usize> {
        let theirs = sessions::table
            .filter(sql::<Nullable<Text>>("(sess ->> 'tenant_id')").eq(tenant.to_string()))
            .filter(sql::<Nullable<Text>>("(sess ->> 'user_id')").eq(user.to_string()));
        Ok(cached(diesel::delete(theirs)).execute(&mut self.tx.connection()).await?)
    }

    /// Deletes at most `limit` sessions that are over, and says how many. Who prunes at the same time takes
    /// others; one that is touched meanwhile stays.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune(&self, limit: u32) -> Result<usize> {
        let delete = sql_query(
            "DELETE FROM sessions WHERE sid IN (SELECT sid FROM sessions WHERE expire <= now() AT TIME ZONE 'UTC' \
                                                 ORDER BY expire LIMIT $1 FOR UPDATE SKIP LOCKED)",
        )
        .bind::<BigInt, _>(i64::from(limit));
        Ok(cached(delete).execute(&mut self.tx.connection()).await?)
    }

    /// Forgets ids that were revoked more than `days` ago, at most `limit`, and returns how many it forgot. A request that began before its
    /// session was revoked may bring it back then.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune_revoked(&self, days: u16, limit: u32) -> Result<usize> {
        let delete = sql_query(
            "DELETE FROM __bedplate_revoked_sessions WHERE sid_hash IN ( \
                 SELECT sid_hash FROM __bedplate_revoked_sessions WHERE revoked_at < now() - make_interval(days => $1) \
                  ORDER BY revoked_at LIMIT $2)",
        )
        .bind::<Integer, _>(i32::from(days))
        .bind::<BigInt, _>(i64::from(limit));
        Ok(cached(delete).execute(&mut self.tx.connection()).await?)
    }
}

fn utc_now() -> AtTimeZone<AsExprOf<now, Timestamptz>, &'static str> {
    now.into_sql::<Timestamptz>().at_time_zone("UTC")
}

fn json(data: &SessionData) -> Result<Value> {
    let data = Value::Object(data.clone());
    Check::default().json("sess", &data).finish()?;
    Ok(data)
}

fn found(rows: usize) -> Result<()> {
    match rows {
        0 => Err(not_found()),
        _ => Ok(()),
    }
}

/// The id is a secret: it is not told.
fn not_found() -> Error {
    Error::NotFound { entity: "session", id: "(revoked or over)".into() }
}
