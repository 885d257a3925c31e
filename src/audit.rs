//! The audit log: who did what, and how a row looked at a time.
//!
//! Always holds: every insert, update and delete of a business table is there, written by a trigger in the
//! transaction that made it; no role can change or remove an entry (the tests `audit::`). What has the name of
//! a secret is redacted; what JSON columns hold inside is not looked at. A number that no `f64` holds is given as text.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::database::{RfqTx, TenantTx};
use crate::error::{Error, Result};
use crate::exact_json::{Exact, ExactOrNull};
use crate::ids::{Entity, Id};
use crate::pagination::{Cursor, Page, PageRequest};
use crate::schema::audit_log;
use crate::sql::cached;
use crate::tenancy::{TenantId, UserId};
use crate::validation::Check;

/// A row of `audit_log`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = audit_log, check_for_backend(Pg))]
pub struct AuditEntry {
    /// The tenant whose row it was.
    pub tenant_id: TenantId,
    /// The entry's own id.
    pub id: Uuid,
    /// Orders the changes of one row.
    pub sequence: i64,
    /// Who did it; `None`: the system.
    pub user_id: Option<UserId>,
    /// `insert`, `update`, `delete`, `baseline` (the row was there when the log began), or what
    /// [`AuditRepository::record`] was given.
    pub action: String,
    /// The table.
    pub entity_type: String,
    /// The row's key.
    pub entity_id: String,
    /// The changed columns before; of a deleted row all.
    #[diesel(deserialize_as = ExactOrNull)]
    pub old_value: Option<Value>,
    /// The changed columns after; of a new row all.
    #[diesel(deserialize_as = ExactOrNull)]
    pub new_value: Option<Value>,
    /// What an action of the application tells.
    #[diesel(deserialize_as = Exact)]
    pub details: Value,
    /// The request.
    pub correlation_id: Option<Uuid>,
    /// Where it came from.
    pub ip_address: Option<IpNet>,
    /// With which program.
    pub user_agent: Option<String>,
    /// When, by the server's clock.
    pub created_at: DateTime<Utc>,
}

/// A row that entries are about: `idea.id.into()`, or any table and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedEntity {
    /// The table: `business_ideas`.
    pub entity_type: String,
    /// The key beside the tenant; of two columns `first:second`.
    pub entity_id: String,
}

impl<E: Entity> From<Id<E>> for AuditedEntity {
    fn from(id: Id<E>) -> Self {
        Self { entity_type: E::TABLE.to_owned(), entity_id: id.to_string() }
    }
}

/// Which entries to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// About this row.
    pub entity: Option<AuditedEntity>,
    /// Done by this user.
    pub user_id: Option<UserId>,
    /// Part of this request.
    pub correlation_id: Option<Uuid>,
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub until: Option<DateTime<Utc>>,
}

/// The tenant's audit log. Each database with tenants has one, of the same shape (the test
/// `catalogue::what_is_shared_is_equal`).
#[derive(Clone, Copy)]
pub struct AuditRepository<'t> {
    tenant_id: TenantId,
    connection: &'t AsyncPgConnection,
}

impl TenantTx {
    /// The tenant's audit log.
    #[must_use]
    pub fn audit(&self) -> AuditRepository<'_> {
        AuditRepository { tenant_id: self.tenant_id(), connection: self.connection() }
    }
}

impl RfqTx {
    /// The tenant's audit log of this database.
    #[must_use]
    pub fn audit(&self) -> AuditRepository<'_> {
        AuditRepository { tenant_id: self.tenant_id(), connection: self.connection() }
    }
}

#[derive(QueryableByName)]
struct State {
    #[diesel(sql_type = Nullable<Jsonb>)]
    state: ExactOrNull,
}

impl AuditRepository<'_> {
    /// One page of entries, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>> {
        const ORDER: &str = "audit";
        let mut query = audit_log::table
            .filter(audit_log::tenant_id.eq(self.tenant_id))
            .order((audit_log::created_at.desc(), audit_log::sequence.desc()))
            .limit(page.fetch()?)
            .select(AuditEntry::as_select())
            .into_boxed::<Pg>();
        if let Some(entity) = &filter.entity {
            query = query
                .filter(audit_log::entity_type.eq(&entity.entity_type))
                .filter(audit_log::entity_id.eq(&entity.entity_id));
        }
        if let Some(user_id) = filter.user_id {
            query = query.filter(audit_log::user_id.eq(user_id));
        }
        if let Some(correlation_id) = filter.correlation_id {
            query = query.filter(audit_log::correlation_id.eq(correlation_id));
        }
        if let Some(from) = filter.from {
            query = query.filter(audit_log::created_at.ge(from));
        }
        if let Some(until) = filter.until {
            query = query.filter(audit_log::created_at.lt(until));
        }
        if let Some(after) = &page.after {
            let ((created_at, sequence), _) = after.decode::<(DateTime<Utc>, i64)>(ORDER)?;
            // The first bound alone keeps the months after it from being looked at.
            query = query.filter(audit_log::created_at.le(created_at)).filter(
                sql::<Bool>("(created_at, sequence) < (")
                    .bind::<Timestamptz, _>(created_at)
                    .sql(", ")
                    .bind::<BigInt, _>(sequence)
                    .sql(")"),
            );
        }
        let rows = cached(query).load(&mut { self.connection }).await?;
        Ok(Page::new(rows, page, |last: &AuditEntry| Cursor::new(ORDER, &(last.created_at, last.sequence), last.id)))
    }

    /// The row as it was at a time, as a JSON object with every column of then; `None`: it did not exist. Exact to the
    /// statement, also inside a transaction, except for redacted columns (`"[redacted]"`). A number that no `f64` holds
    /// is a text.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a table that is not audited, for a time that the log does not
    /// reach back to, and where the columns changed since in a way that the log cannot tell: between the last write
    /// before the change and the first one after it, or where a column is gone that no entry tells of. Also where rows
    /// were written past the log, by TRUNCATE or with its trigger disabled. `ALTER TABLE … USING` that keeps a
    /// column's type changes its values without an entry: the log does not notice that.
    pub async fn as_of(&self, entity: impl Into<AuditedEntity>, time: DateTime<Utc>) -> Result<Option<Value>> {
        let entity = entity.into();
        let query = sql_query("SELECT audit_as_of($1, $2, $3) AS state")
            .bind::<Text, _>(entity.entity_type)
            .bind::<Text, _>(entity.entity_id)
            .bind::<Timestamptz, _>(time);
        match cached(query).get_result::<State>(&mut { self.connection }).await {
            Err(diesel::result::Error::DatabaseError(_, info))
                if matches!(info.constraint_name(), Some("audit_log_columns_known" | "audit_log_complete")) =>
            {
                Err(Error::invalid("time", format!("is not answered for: {}", info.message())))
            }
            found => Ok(found?.state.into()),
        }
    }

    /// Records what no row shows: a sign-in, an export, a look at something confidential. Who, when and where
    /// from are the transaction's.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an action that is no word in lower case (with dots:
    /// `users.sign_in`) of at most 100 characters, or is one of the trigger's own; for details that are no
    /// object.
    pub async fn record(&self, action: &str, entity: impl Into<AuditedEntity>, details: &Value) -> Result<()> {
        let entity = entity.into();
        Check::default()
            .text("action", action, 1..=100)
            .text("entity_type", &entity.entity_type, 1..=100)
            .text("entity_id", &entity.entity_id, 1..=255)
            .json("details", details)
            .finish()?;
        let query = sql_query("SELECT record_audit($1, $2, $3, $4)")
            .bind::<Text, _>(action)
            .bind::<Text, _>(entity.entity_type)
            .bind::<Text, _>(entity.entity_id)
            .bind::<Jsonb, _>(details);
        cached(query).execute(&mut { self.connection }).await?;
        Ok(())
    }
}
