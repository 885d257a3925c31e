//! API keys: with what programs sign in.
//!
//! Always holds: a key is shown once, when it is issued or rotated, and stored nowhere; no struct that leaves
//! this module holds its hash.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Binary, Interval, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::api_key_secret::ApiKeySecret;
use super::organization::OrganizationId;
use super::tenant::TenantId;
use super::user::UserId;
use crate::database::TenantTx;
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::pagination::{Cursor, Page, PageRequest, older_than};
use crate::schema::api_keys;
use crate::sql::{cached, columns};
use crate::validation::Check;

/// The id of an API key.
pub type ApiKeyId = Id<ApiKey>;

/// A row of `api_keys`, without the hash.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = api_keys, check_for_backend(diesel::pg::Pg))]
pub struct ApiKey {
    /// The tenant that it opens.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: ApiKeyId,
    /// The organization that it belongs to; `None`: it belongs to its maker, and works while the maker is active.
    pub organization_id: Option<OrganizationId>,
    /// Who made it.
    pub user_id: UserId,
    /// What it is for.
    pub name: String,
    /// How it begins.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<Option<String>>,
    /// From then on it is refused.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The key that it was rotated into.
    pub replaced_by: Option<ApiKeyId>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for ApiKey {
    const NAME: &'static str = "api_key";
    const TABLE: &'static str = "api_keys";
}

impl ApiKey {
    /// Whether it has a scope: the scope itself, `*`, or, for `ideas:read`, `ideas:*`.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        let area = scope.split_once(':').map(|(area, _)| area);
        self.scopes
            .iter()
            .flatten()
            .any(|own| own == scope || own == "*" || (area.is_some() && own.strip_suffix(":*") == area))
    }

    /// # Errors
    /// [`Error::Forbidden`] where it does not have the scope.
    pub fn require_scope(&self, scope: &str) -> Result<()> {
        if self.has_scope(scope) {
            return Ok(());
        }
        Err(Error::Forbidden { message: format!("the API key {} does not have the scope {scope}", self.prefix) })
    }
}

/// A key to issue.
#[derive(Debug, Clone, Copy)]
pub struct NewApiKey<'a> {
    /// Who makes it.
    pub user_id: UserId,
    /// The organization that it belongs to; `None`: it belongs to its maker.
    pub organization_id: Option<OrganizationId>,
    /// 1 to 255 characters.
    pub name: &'a str,
    /// Words like `ideas:read`, or `ideas:*` for all of an area.
    pub scopes: &'a [&'a str],
    /// From then on it is refused; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Which keys to list.
#[derive(Debug, Clone, Default)]
pub struct ApiKeyFilter {
    /// Only those of this organization.
    pub organization_id: Option<OrganizationId>,
    /// Only those that this user made.
    pub user_id: Option<UserId>,
}

/// The tenant's API keys.
#[derive(Clone, Copy)]
pub struct ApiKeyRepository<'t> {
    pub(super) tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's API keys.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeyRepository<'_> {
        ApiKeyRepository { tx: self }
    }
}

impl ApiKeyRepository<'_> {
    /// Issues a key. Show the secret to its holder now: nobody can see it again. Where the closure of the
    /// transaction runs again, another key is made, and only the last one's secret counts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad name or scope, an end in the past, a user or organization that does not
    /// exist.
    pub async fn create(&self, new: NewApiKey<'_>) -> Result<(ApiKey, ApiKeySecret)> {
        let mut check = Check::default();
        check.text("name", new.name, 1..=255);
        for scope in new.scopes {
            check.text("scopes", scope, 1..=100);
            if scope.chars().any(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.:*".contains(c))) {
                check.add("scopes", format!("cannot be {scope:?}: write ideas:read"));
            }
        }
        if new.expires_at.is_some_and(|end| end <= Utc::now()) {
            check.add("expires_at", "is in the past".into());
        }
        check.finish()?;
        let secret = ApiKeySecret::new(self.tx.tenant_id());
        let insert = diesel::insert_into(api_keys::table)
            .values((
                api_keys::tenant_id.eq(self.tx.tenant_id()),
                api_keys::id.eq(secret.id),
                api_keys::organization_id.eq(new.organization_id),
                api_keys::user_id.eq(new.user_id),
                api_keys::name.eq(new.name),
                api_keys::prefix.eq(secret.prefix()),
                api_keys::key_hash.eq(secret.hash()),
                api_keys::scopes.eq(new.scopes),
                api_keys::expires_at.eq(new.expires_at),
            ))
            .returning(ApiKey::as_returning());
        Ok((cached(insert).get_result(&mut self.tx.connection()).await?, secret))
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: ApiKeyId) -> Result<ApiKey> {
        let query = api_keys::table.find((self.tx.tenant_id(), id)).select(ApiKey::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// Keys newest first, revoked and expired ones too, none with its secret.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list(&self, filter: &ApiKeyFilter, page: &PageRequest) -> Result<Page<ApiKey>> {
        const ORDER: &str = "api_keys";
        let mut query = api_keys::table
            .filter(api_keys::tenant_id.eq(self.tx.tenant_id()))
            .order((api_keys::created_at.desc(), api_keys::id.desc()))
            .limit(page.fetch()?)
            .select(ApiKey::as_select())
            .into_boxed();
        if let Some(organization) = filter.organization_id {
            query = query.filter(api_keys::organization_id.eq(organization));
        }
        if let Some(user) = filter.user_id {
            query = query.filter(api_keys::user_id.eq(user));
        }
        if let Some(after) = &page.after {
            let (created_at, id) = after.decode(ORDER)?;
            query = query.filter(older_than::<api_keys::table>(created_at, id));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &ApiKey| Cursor::new(ORDER, &last.created_at, last.id.as_uuid())))
    }

    /// Revokes a key, at once and for good. A second time changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn revoke(&self, id: ApiKeyId) -> Result<ApiKey> {
        let valid = api_keys::table.find((self.tx.tenant_id(), id)).filter(api_keys::revoked_at.is_null());
        let update = diesel::update(valid).set(api_keys::revoked_at.eq(now)).returning(ApiKey::as_returning());
        match cached(update).get_result(&mut self.tx.connection()).await.optional()? {
            Some(revoked) => Ok(revoked),
            None => self.find(id).await,
        }
    }

    /// Issues a key in place of another, which goes on working for `grace`. The new one has the name, the
    /// scopes, the organization and the end of the old one. A key is rotated once: of two who rotate it
    /// together, one gets the new key.
    ///
    /// # Errors
    /// [`Error::WrongState`] for a key that was rotated, revoked or has expired; [`Error::NotFound`].
    pub async fn rotate(&self, id: ApiKeyId, grace: Duration) -> Result<(ApiKey, ApiKeySecret)> {
        let secret = ApiKeySecret::new(self.tx.tenant_id());
        let grace = i64::try_from(grace.as_micros()).map_err(|_| Error::invalid("grace", "is too long"))?;
        // The lock is taken first: of two, the second waits, and then finds the key rotated.
        let rotate = sql_query(format!("WITH old AS (SELECT id, organization_id, user_id, name, scopes, expires_at FROM api_keys WHERE tenant_id = $1 AND id = $2 AND replaced_by IS NULL \
                             AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) FOR UPDATE), \
                  new AS (INSERT INTO api_keys (tenant_id, id, organization_id, user_id, name, prefix, key_hash, \
                                                scopes, expires_at) \
                          SELECT $1, $3, organization_id, user_id, name, $4, $5, scopes, expires_at FROM old \
                          RETURNING {columns}), \
                  replaced AS (UPDATE api_keys AS k \
                                  SET replaced_by = new.id, expires_at = least(k.expires_at, now() + $6) \
                                 FROM new WHERE k.tenant_id = $1 AND k.id = $2) \
             SELECT {columns} FROM new",
 columns = columns::<ApiKey>("")))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(id)
        .bind::<SqlUuid, _>(secret.id)
        .bind::<Text, _>(secret.prefix())
        .bind::<Binary, _>(secret.hash())
        .bind::<Interval, _>(diesel::data_types::PgInterval::from_microseconds(grace));
        let rotated: Option<ApiKey> = cached(rotate).get_result(&mut self.tx.connection()).await.optional()?;
        if let Some(new) = rotated {
            return Ok((new, secret));
        }
        let old = self.find(id).await?;
        let state = match (old.revoked_at, old.replaced_by) {
            (Some(_), _) => "revoked",
            (None, Some(_)) => "rotated",
            (None, None) => "expired",
        };
        Err(Error::wrong_state(id, state, "rotate"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use uuid::Uuid;

    use super::*;

    #[rstest]
    #[case(&["ideas:read"], "ideas:read", true)]
    #[case(&["ideas:read"], "ideas:write", false)]
    #[case(&["ideas:*"], "ideas:write", true)]
    #[case(&["ideas:*"], "ideas", false)]
    #[case(&["ideas:*"], "ideasandmore:write", false)]
    #[case(&["*"], "ideas:write", true)]
    #[case(&["ideas:read"], "ideas:*", false)]
    #[case(&[":*"], "x", false)]
    #[case(&[], "ideas:read", false)]
    fn a_scope_is_had_or_not(#[case] own: &[&str], #[case] scope: &str, #[case] has: bool) {
        let key = ApiKey {
            tenant_id: Uuid::nil().into(),
            id: Uuid::nil().into(),
            organization_id: None,
            user_id: Uuid::nil().into(),
            name: String::new(),
            prefix: "bp_1".into(),
            scopes: own.iter().map(|scope| Some((*scope).to_owned())).collect(),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
            replaced_by: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        };
        assert_eq!(key.has_scope(scope), has);
        assert_eq!(key.require_scope(scope).is_ok(), has);
    }
}
