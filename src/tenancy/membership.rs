//! Memberships: which user is in which organization, and as what.
//!
//! Always holds: an organization that has an owner keeps one (a trigger sees to it, also for two who leave
//! together); a user who is deleted is a member of nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::organization::{Organization, OrganizationId};
use super::tenant::TenantId;
use super::user::{User, UserId};
use crate::audit::AuditedEntity;
use crate::database::{TenantTx, in_chunks};
use crate::error::{Error, Result};
use crate::pagination::{Cursor, Page, PageRequest};
use crate::schema::{organizations, user_organizations, users};
use crate::sql::{cached, columns, text_enum};

text_enum! {
    /// What a member may do in an organization.
    OrganizationRole {
        /// Everything, and decide who else may.
        Owner = "owner",
        /// Manage members and settings.
        Admin = "admin",
        /// Work in it.
        Member = "member",
        /// Look at it.
        Viewer = "viewer",
    }
}

/// A row of `user_organizations`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = user_organizations, check_for_backend(diesel::pg::Pg))]
pub struct Membership {
    /// The tenant of both.
    pub tenant_id: TenantId,
    /// The member.
    pub user_id: UserId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// As what.
    pub role: OrganizationRole,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

impl From<&Membership> for AuditedEntity {
    fn from(membership: &Membership) -> Self {
        Self {
            entity_type: "user_organizations".into(),
            entity_id: format!("{}:{}", membership.user_id, membership.organization_id),
        }
    }
}

/// Who is in which organization.
#[derive(Clone, Copy)]
pub struct MembershipRepository<'t> {
    tx: &'t TenantTx,
}

impl TenantTx {
    /// Who is in which organization.
    #[must_use]
    pub fn memberships(&self) -> MembershipRepository<'_> {
        MembershipRepository { tx: self }
    }
}

impl MembershipRepository<'_> {
    /// Adds a member.
    ///
    /// # Errors
    /// [`Error::Conflict`] for one who is a member already, [`Error::NotFound`] for a user who does not exist
    /// or is deleted, [`Error::Invalid`] for an organization that does not exist.
    pub async fn add(&self, organization: OrganizationId, user: UserId, role: OrganizationRole) -> Result<Membership> {
        let added = self.add_many(organization, &[(user, role)]).await?;
        added.into_iter().next().ok_or_else(|| Error::not_found(user))
    }

    /// Adds members, all or none.
    ///
    /// # Errors
    /// Those of [`add`](Self::add).
    pub async fn add_many(
        &self,
        organization: OrganizationId,
        members: &[(UserId, OrganizationRole)],
    ) -> Result<Vec<Membership>> {
        in_chunks(members, async |chunk| {
            // SHARE keeps the users from being deleted meanwhile: a deleted user is a member of nothing.
            let insert = sql_query(format!(
                "WITH living AS (SELECT users.id, new.role FROM unnest($3, $4) AS new (id, role) \
                      JOIN users ON users.tenant_id = $1 AND users.id = new.id \
                     WHERE users.deleted_at IS NULL ORDER BY users.id FOR SHARE OF users) \
                 INSERT INTO user_organizations (tenant_id, organization_id, user_id, role) \
                 SELECT $1, $2, id, role FROM living RETURNING {columns}",
                columns = columns::<Membership>("")
            ))
            .bind::<SqlUuid, _>(self.tx.tenant_id())
            .bind::<SqlUuid, _>(organization)
            .bind::<Array<SqlUuid>, _>(chunk.iter().map(|(user, _)| *user).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(chunk.iter().map(|(_, role)| *role).collect::<Vec<_>>());
            let added: Vec<Membership> = cached(insert).load(&mut self.tx.connection()).await?;
            let there: BTreeSet<_> = added.iter().map(|membership| membership.user_id).collect();
            match chunk.iter().find(|(user, _)| !there.contains(user)) {
                Some((missing, _)) => Err(Error::not_found(*missing)),
                None => Ok(added),
            }
        })
        .await
    }

    /// # Errors
    /// [`Error::NotFound`] for one who is no member.
    pub async fn find(&self, organization: OrganizationId, user: UserId) -> Result<Membership> {
        let query =
            user_organizations::table.find((self.tx.tenant_id(), user, organization)).select(Membership::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| no_member(organization, user))
    }

    /// Changes what a member is.
    ///
    /// # Errors
    /// [`Error::LastOwner`] for the last owner, [`Error::NotFound`] for one who is no member.
    pub async fn set_role(
        &self,
        organization: OrganizationId,
        user: UserId,
        role: OrganizationRole,
    ) -> Result<Membership> {
        let update = diesel::update(user_organizations::table.find((self.tx.tenant_id(), user, organization)))
            .set(user_organizations::role.eq(role))
            .returning(Membership::as_returning());
        let found = cached(update).get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| no_member(organization, user))
    }

    /// Removes a member, or lets one leave.
    ///
    /// # Errors
    /// [`Error::LastOwner`] for the last owner, [`Error::NotFound`] for one who is no member.
    pub async fn remove(&self, organization: OrganizationId, user: UserId) -> Result<()> {
        let delete = diesel::delete(user_organizations::table.find((self.tx.tenant_id(), user, organization)));
        match cached(delete).execute(&mut self.tx.connection()).await? {
            0 => Err(no_member(organization, user)),
            _ => Ok(()),
        }
    }

    /// Makes a member owner in place of an owner, who becomes an admin: in one statement, so that there is
    /// always one.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the first is no owner or the second no member; nothing is changed then.
    pub async fn transfer_ownership(&self, organization: OrganizationId, from: UserId, to: UserId) -> Result<()> {
        if from == to {
            return Err(Error::invalid("to", "is the owner already"));
        }
        // Locked in one order, so that two transfers do not wait for each other.
        let update = sql_query(
            "WITH pair AS (SELECT user_id, role FROM user_organizations \
                            WHERE tenant_id = $1 AND organization_id = $2 AND user_id IN ($3, $4) \
                            ORDER BY user_id FOR UPDATE), \
                  agreed AS (SELECT count(*) = 2 AND bool_or(user_id = $3 AND role = 'owner') AS agreed FROM pair) \
             UPDATE user_organizations AS m SET role = CASE m.user_id WHEN $3 THEN 'admin' ELSE 'owner' END \
               FROM agreed WHERE agreed AND m.tenant_id = $1 AND m.organization_id = $2 AND m.user_id IN ($3, $4)",
        )
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(organization)
        .bind::<SqlUuid, _>(from)
        .bind::<SqlUuid, _>(to);
        if cached(update).execute(&mut self.tx.connection()).await? == 2 {
            return Ok(());
        }
        let owner = self.find(organization, from).await?;
        self.find(organization, to).await?;
        Err(Error::NotFound { entity: "owner", id: owner.user_id.to_string() })
    }

    /// Members of an organization with their users, in the order in which they joined.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list_members(
        &self,
        organization: OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<(Membership, User)>> {
        const ORDER: &str = "members";
        let mut query =
            user_organizations::table
                .inner_join(users::table.on(
                    users::tenant_id.eq(user_organizations::tenant_id).and(users::id.eq(user_organizations::user_id)),
                ))
                .filter(user_organizations::tenant_id.eq(self.tx.tenant_id()))
                .filter(user_organizations::organization_id.eq(organization))
                .order((user_organizations::created_at, user_organizations::user_id))
                .limit(page.fetch()?)
                .select((Membership::as_select(), User::as_select()))
                .into_boxed();
        if let Some(after) = &page.after {
            let (created_at, user) = after.decode::<DateTime<Utc>>(ORDER)?;
            query = query.filter(
                sql::<Bool>("(user_organizations.created_at, user_organizations.user_id) > (")
                    .bind::<Timestamptz, _>(created_at)
                    .sql(", ")
                    .bind::<SqlUuid, _>(user)
                    .sql(")"),
            );
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |(last, _): &(Membership, User)| {
            Cursor::new(ORDER, &last.created_at, last.user_id.as_uuid())
        }))
    }

    /// Organizations that a user is in, with the membership, by the organization's id (that is, oldest first).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list_organizations(
        &self,
        user: UserId,
        page: &PageRequest,
    ) -> Result<Page<(Membership, Organization)>> {
        const ORDER: &str = "organizations_of_user";
        let mut query = user_organizations::table
            .inner_join(
                organizations::table.on(organizations::tenant_id
                    .eq(user_organizations::tenant_id)
                    .and(organizations::id.eq(user_organizations::organization_id))),
            )
            .filter(user_organizations::tenant_id.eq(self.tx.tenant_id()))
            .filter(user_organizations::user_id.eq(user))
            .order(user_organizations::organization_id)
            .limit(page.fetch()?)
            .select((Membership::as_select(), Organization::as_select()))
            .into_boxed();
        if let Some(after) = &page.after {
            let ((), last): ((), Uuid) = after.decode(ORDER)?;
            query = query.filter(user_organizations::organization_id.gt(OrganizationId::from(last)));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |(last, _): &(Membership, Organization)| {
            Cursor::new(ORDER, &(), last.organization_id.as_uuid())
        }))
    }
}

fn no_member(organization: OrganizationId, user: UserId) -> Error {
    Error::NotFound { entity: "membership", id: format!("{user}:{organization}") }
}
