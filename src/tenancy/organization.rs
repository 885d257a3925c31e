//! Organizations: groups of users inside a tenant. Who is in one, and as what, is in `membership.rs`.
//!
//! Always holds: an organization has an owner, from its creation on.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

use super::tenant::TenantId;
use super::user::UserId;
use crate::database::TenantTx;
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::pagination::{Cursor, Page, PageRequest, older_than};
use crate::schema::organizations;
use crate::sql::{cached, columns};
use crate::validation::Check;

/// The id of an organization.
pub type OrganizationId = Id<Organization>;

/// A row of `organizations`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = organizations, check_for_backend(diesel::pg::Pg))]
pub struct Organization {
    /// The organization's tenant.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: OrganizationId,
    /// Name for people.
    pub name: String,
    /// Short name for URLs, unique inside the tenant.
    pub slug: String,
    /// Free settings, a JSON object.
    pub settings: Value,
    /// Free data of other systems, a JSON object.
    pub metadata: Value,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for Organization {
    const NAME: &'static str = "organization";
    const TABLE: &'static str = "organizations";
}

/// An organization to create.
#[derive(Debug, Clone, Copy)]
pub struct NewOrganization<'a> {
    /// 1 to 255 characters.
    pub name: &'a str,
    /// A DNS label: lower case, digits, hyphens; at most 63 characters.
    pub slug: &'a str,
    /// Its first owner, who is not deleted.
    pub owner: UserId,
}

/// What to change; `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, Default, AsChangeset)]
#[diesel(table_name = organizations)]
pub struct OrganizationChanges<'a> {
    /// 1 to 255 characters.
    pub name: Option<&'a str>,
    /// A DNS label.
    pub slug: Option<&'a str>,
    /// A JSON object.
    pub settings: Option<&'a Value>,
    /// A JSON object.
    pub metadata: Option<&'a Value>,
}

/// The tenant's organizations.
#[derive(Clone, Copy)]
pub struct OrganizationRepository<'t> {
    tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's organizations.
    #[must_use]
    pub fn organizations(&self) -> OrganizationRepository<'_> {
        OrganizationRepository { tx: self }
    }
}

impl OrganizationRepository<'_> {
    /// Creates an organization with its first owner, in one statement.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad name or slug, [`Error::Conflict`] for a slug that is taken,
    /// [`Error::NotFound`] for an owner who does not exist or is deleted.
    pub async fn create(&self, new: NewOrganization<'_>) -> Result<Organization> {
        Check::default().text("name", new.name, 1..=255).text("slug", new.slug, 1..=63).finish()?;
        let insert = sql_query(format!(
            "WITH owner AS (SELECT id FROM users WHERE tenant_id = $1 AND id = $5 AND deleted_at IS NULL FOR SHARE), \
                  organization AS (INSERT INTO organizations (tenant_id, id, name, slug) \
                                   SELECT $1, $2, $3, $4 FROM owner RETURNING {columns}), \
                  membership AS (INSERT INTO user_organizations (tenant_id, user_id, organization_id, role) \
                                 SELECT $1, owner.id, organization.id, 'owner' FROM owner, organization) \
             SELECT {columns} FROM organization",
            columns = columns::<Organization>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(OrganizationId::new())
        .bind::<Text, _>(new.name)
        .bind::<Text, _>(new.slug)
        .bind::<SqlUuid, _>(new.owner);
        let created = cached(insert).get_result(&mut self.tx.connection()).await.optional()?;
        created.ok_or_else(|| Error::not_found(new.owner))
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: OrganizationId) -> Result<Organization> {
        let query = organizations::table.find((self.tx.tenant_id(), id)).select(Organization::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find_by_slug(&self, slug: &str) -> Result<Organization> {
        let query = organizations::table
            .filter(organizations::tenant_id.eq(self.tx.tenant_id()))
            .filter(organizations::slug.eq(slug))
            .select(Organization::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: Organization::NAME, id: slug.to_owned() })
    }

    /// Organizations newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list(&self, page: &PageRequest) -> Result<Page<Organization>> {
        const ORDER: &str = "organizations";
        let mut query = organizations::table
            .filter(organizations::tenant_id.eq(self.tx.tenant_id()))
            .order((organizations::created_at.desc(), organizations::id.desc()))
            .limit(page.fetch()?)
            .select(Organization::as_select())
            .into_boxed();
        if let Some(after) = &page.after {
            let (created_at, id) = after.decode(ORDER)?;
            query = query.filter(older_than::<organizations::table>(created_at, id));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &Organization| Cursor::new(ORDER, &last.created_at, last.id.as_uuid())))
    }

    /// Changes what is given.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] (settings and metadata are objects), [`Error::Conflict`] for a
    /// slug that is taken.
    pub async fn update(&self, id: OrganizationId, changes: OrganizationChanges<'_>) -> Result<Organization> {
        let mut check = Check::default();
        for (field, text, longest) in [("name", changes.name, 255), ("slug", changes.slug, 63)] {
            if let Some(text) = text {
                check.text(field, text, 1..=longest);
            }
        }
        for (field, json) in [("settings", changes.settings), ("metadata", changes.metadata)] {
            if let Some(json) = json {
                check.object(field, json);
            }
        }
        check.finish()?;
        let OrganizationChanges { name: None, slug: None, settings: None, metadata: None } = changes else {
            let update = diesel::update(organizations::table.find((self.tx.tenant_id(), id)))
                .set(changes)
                .returning(Organization::as_returning());
            let found = cached(update).get_result(&mut self.tx.connection()).await.optional()?;
            return found.ok_or_else(|| Error::not_found(id));
        };
        self.find(id).await
    }

    /// Deletes it, with its memberships and API keys.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn delete(&self, id: OrganizationId) -> Result<()> {
        let delete = diesel::delete(organizations::table.find((self.tx.tenant_id(), id)));
        match cached(delete).execute(&mut self.tx.connection()).await? {
            0 => Err(Error::not_found(id)),
            _ => Ok(()),
        }
    }
}
