//! Tenants. They are made and removed by [`SystemTx`]; a [`TenantTx`] sees its own row and cannot change it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

use crate::database::{SystemTx, TenantTx};
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::schema::tenants;
use crate::sql::{cached, text_enum};
use crate::validation::Check;

/// The id of a tenant.
pub type TenantId = Id<Tenant>;

text_enum! {
    /// What a tenant has bought.
    TenantType {
        /// The ordinary one.
        Standard = "standard",
        /// A better one.
        Premium = "premium",
        /// The best one.
        Enterprise = "enterprise",
        /// The operator's own.
        Internal = "internal",
    }
}

text_enum! {
    /// Whether a tenant is served.
    TenantStatus {
        /// It is.
        Active = "active",
        /// Not at the moment.
        Suspended = "suspended",
        /// No longer: it can be deleted.
        Closed = "closed",
    }
}

/// A row of `tenants`.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = tenants, check_for_backend(diesel::pg::Pg))]
pub struct Tenant {
    /// What every other table's `tenant_id` refers to.
    pub id: TenantId,
    /// Short name for URLs, unique among all tenants.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// What it has bought.
    #[diesel(column_name = type_)]
    #[serde(rename = "type")]
    pub tenant_type: TenantType,
    /// Whether it is served.
    pub status: TenantStatus,
    /// Free settings, a JSON object.
    pub settings: Value,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for Tenant {
    const NAME: &'static str = "tenant";
    const TABLE: &'static str = "tenants";
}

/// A tenant to create.
#[derive(Debug, Clone, Copy)]
pub struct NewTenant<'a> {
    /// A DNS label: lower case, digits, hyphens; at most 63 characters.
    pub slug: &'a str,
    /// 1 to 255 characters.
    pub name: &'a str,
    /// What it has bought.
    pub tenant_type: TenantType,
}

/// The tenants, for [`SystemTx`].
#[derive(Clone, Copy)]
pub struct TenantRepository<'t> {
    tx: &'t SystemTx,
}

impl SystemTx {
    /// The tenants.
    #[must_use]
    pub fn tenants(&self) -> TenantRepository<'_> {
        TenantRepository { tx: self }
    }
}

impl TenantTx {
    /// The tenant of this transaction, as it sees itself.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it does not exist.
    pub async fn tenant(&self) -> Result<Tenant> {
        let query = tenants::table.find(self.tenant_id()).select(Tenant::as_select());
        let found = query.get_result(&mut self.connection()).await.optional()?;
        found.ok_or_else(|| Error::not_found(self.tenant_id()))
    }
}

impl TenantRepository<'_> {
    /// Creates an active tenant.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad slug or name, [`Error::Conflict`] for a slug that is taken.
    pub async fn create(&self, new: NewTenant<'_>) -> Result<Tenant> {
        Check::default().text("slug", new.slug, 1..=63).text("name", new.name, 1..=255).finish()?;
        let insert = diesel::insert_into(tenants::table)
            .values((
                tenants::id.eq(TenantId::new()),
                tenants::slug.eq(new.slug),
                tenants::name.eq(new.name),
                tenants::type_.eq(new.tenant_type),
            ))
            .returning(Tenant::as_returning());
        Ok(cached(insert).get_result(&mut self.tx.connection()).await?)
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: TenantId) -> Result<Tenant> {
        let query = tenants::table.find(id).select(Tenant::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find_by_slug(&self, slug: &str) -> Result<Tenant> {
        let query = tenants::table.filter(tenants::slug.eq(slug)).select(Tenant::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: Tenant::NAME, id: slug.to_owned() })
    }

    /// Those of a status, by slug.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list(&self, status: TenantStatus) -> Result<Vec<Tenant>> {
        let query = tenants::table.filter(tenants::status.eq(status)).order(tenants::slug).select(Tenant::as_select());
        Ok(query.load(&mut self.tx.connection()).await?)
    }

    /// Activates, suspends or closes it.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn set_status(&self, id: TenantId, status: TenantStatus) -> Result<Tenant> {
        let update =
            diesel::update(tenants::table.find(id)).set(tenants::status.eq(status)).returning(Tenant::as_returning());
        let found = cached(update).get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::not_found(id))
    }

    /// Deletes a closed tenant **with everything that it has**.
    ///
    /// # Errors
    /// [`Error::WrongState`] for one that is not closed, [`Error::NotFound`] where there is none.
    pub async fn delete(&self, id: TenantId) -> Result<()> {
        let closed = tenants::table.find(id).filter(tenants::status.eq(TenantStatus::Closed));
        if diesel::delete(closed).execute(&mut self.tx.connection()).await? == 1 {
            return Ok(());
        }
        let tenant = self.find(id).await?;
        Err(Error::wrong_state(id, tenant.status, "delete"))
    }
}
