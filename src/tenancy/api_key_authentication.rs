//! Signing in with an API key: one read by primary key, inside the tenant that the key names.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{TimeDelta, Utc};
use diesel::dsl::{exists, now, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use secrecy::SecretString;

use super::api_key::{ApiKey, ApiKeyId, ApiKeyRepository};
use super::api_key_secret::ApiKeySecret;
use super::tenant::{TenantId, TenantStatus};
use super::user::UserStatus;
use crate::database::{Database, TenantContext};
use crate::error::{Error, Result};
use crate::schema::{api_keys, tenants, users};
use crate::sql::cached;

/// How often the use of a key is written down.
const PRECISION: TimeDelta = TimeDelta::minutes(1);

/// Keys whose use is being written by this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct UsesInFlight(Arc<Mutex<HashSet<(TenantId, ApiKeyId)>>>);

impl Database {
    /// Signs a program in by its key. The tenant to work for is in the answer: `TenantContext::new(key.tenant_id)`.
    ///
    /// A key that was mistyped or made up is refused by its checksum, without the database. That the key was
    /// used is written down at most once a minute, after the answer, by a task of its own.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for a key that is unknown, wrong, expired or revoked, whose tenant is not
    /// active, or whose maker is not (where it belongs to no organization): which, is not told.
    pub async fn authenticate_key(&self, key: &SecretString) -> Result<ApiKey> {
        let key = ApiKeySecret::parse(key)?;
        let context = TenantContext::new(key.tenant_id);
        let found =
            self.tenant_tx("api_keys.authenticate", &context, async |tx| tx.api_keys().valid(key.id).await).await?;
        let (found, hash) = found.ok_or(Error::Unauthenticated)?;
        if !key.is_hashed_as(&hash) {
            return Err(Error::Unauthenticated);
        }
        if found.last_used_at.is_none_or(|used| used < Utc::now() - PRECISION) {
            self.record_use(context.acting_as(found.user_id), found.id);
        }
        Ok(found)
    }

    /// One task a key and process: a burst of requests starts one.
    fn record_use(&self, context: TenantContext, id: ApiKeyId) {
        let (database, entry) = (self.clone(), (context.tenant_id(), id));
        if !self.uses_in_flight.lock().insert(entry) {
            return;
        }
        tokio::spawn(async move {
            let used = database
                .tenant_tx("api_keys.record_use", &context, async |tx| tx.api_keys().record_use(id).await)
                .await;
            if let Err(error) = used {
                tracing::warn!(%error, "the use of an API key was not written down");
            }
            database.uses_in_flight.lock().remove(&entry);
        });
    }
}

impl UsesInFlight {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(TenantId, ApiKeyId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiKeyRepository<'_> {
    /// Everything that is looked at is found by its primary key.
    async fn valid(&self, id: ApiKeyId) -> Result<Option<(ApiKey, Vec<u8>)>> {
        let tenant_id = self.tx.tenant_id();
        let active_tenant = tenants::table.find(tenant_id).filter(tenants::status.eq(TenantStatus::Active));
        let active_maker = users::table
            .filter(users::tenant_id.eq(tenant_id))
            .filter(users::id.eq(api_keys::user_id))
            .filter(users::status.eq(UserStatus::Active));
        let query = api_keys::table
            .find((tenant_id, id))
            .filter(api_keys::revoked_at.is_null())
            .filter(api_keys::expires_at.is_null().or(api_keys::expires_at.gt(now)))
            .filter(api_keys::organization_id.is_not_null().or(exists(active_maker)))
            .filter(exists(active_tenant))
            .select((ApiKey::as_select(), api_keys::key_hash));
        Ok(query.get_result(&mut self.tx.connection()).await.optional()?)
    }

    /// Asked again in the database, because another process may have written it meanwhile.
    async fn record_use(&self, id: ApiKeyId) -> Result<()> {
        let stale =
            api_keys::table
                .find((self.tx.tenant_id(), id))
                .filter(api_keys::last_used_at.is_null().or(sql::<Bool>("last_used_at < now() - interval '1 minute'")));
        let update = diesel::update(stale).set(api_keys::last_used_at.eq(now));
        cached(update).execute(&mut self.tx.connection()).await?;
        Ok(())
    }
}
