//! Roles of a user in the whole tenant: words of the application (`trader`, `compliance`), granted and revoked.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::tenant::TenantId;
use super::user::UserId;
use crate::database::TenantTx;
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::schema::user_roles;
use crate::sql::cached;
use crate::validation::Check;

/// The id of a granted role.
pub type UserRoleId = Id<UserRole>;

/// A row of `user_roles`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = user_roles, check_for_backend(diesel::pg::Pg))]
pub struct UserRole {
    /// The tenant of the user.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: UserRoleId,
    /// Who has it.
    pub user_id: UserId,
    /// The role.
    pub role: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

impl Entity for UserRole {
    const NAME: &'static str = "user_role";
    const TABLE: &'static str = "user_roles";
}

/// The roles of the tenant's users.
#[derive(Clone, Copy)]
pub struct RoleRepository<'t> {
    tx: &'t TenantTx,
}

impl TenantTx {
    /// The roles of the tenant's users.
    #[must_use]
    pub fn roles(&self) -> RoleRepository<'_> {
        RoleRepository { tx: self }
    }
}

impl RoleRepository<'_> {
    /// Grants a role. Granting it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a role that is no word in lower case of at most 50 characters, or a user who
    /// does not exist.
    pub async fn grant(&self, user: UserId, role: &str) -> Result<UserRole> {
        Check::default().text("role", role, 1..=50).finish()?;
        let insert = diesel::insert_into(user_roles::table)
            .values((
                user_roles::tenant_id.eq(self.tx.tenant_id()),
                user_roles::id.eq(UserRoleId::new()),
                user_roles::user_id.eq(user),
                user_roles::role.eq(role),
            ))
            .on_conflict((user_roles::tenant_id, user_roles::user_id, user_roles::role))
            .do_nothing();
        cached(insert).execute(&mut self.tx.connection()).await?;
        let query = self.of(user).filter(user_roles::role.eq(role)).select(UserRole::as_select());
        Ok(query.get_result(&mut self.tx.connection()).await?)
    }

    /// Takes a role away.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the user does not have it.
    pub async fn revoke(&self, user: UserId, role: &str) -> Result<()> {
        let delete = diesel::delete(self.of(user).filter(user_roles::role.eq(role)));
        match cached(delete).execute(&mut self.tx.connection()).await? {
            0 => Err(Error::NotFound { entity: UserRole::NAME, id: format!("{role} of {user}") }),
            _ => Ok(()),
        }
    }

    /// Whether the user has the role.
    ///
    /// # Errors
    /// What the database says.
    pub async fn has(&self, user: UserId, role: &str) -> Result<bool> {
        let query = diesel::select(diesel::dsl::exists(self.of(user).filter(user_roles::role.eq(role))));
        Ok(query.get_result(&mut self.tx.connection()).await?)
    }

    /// The roles of a user, in the order of the alphabet.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list(&self, user: UserId) -> Result<Vec<UserRole>> {
        let query = self.of(user).order(user_roles::role).select(UserRole::as_select());
        Ok(query.load(&mut self.tx.connection()).await?)
    }

    /// The users that have a role, by id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list_users(&self, role: &str) -> Result<Vec<UserId>> {
        let query = user_roles::table
            .filter(user_roles::tenant_id.eq(self.tx.tenant_id()))
            .filter(user_roles::role.eq(role))
            .order(user_roles::user_id)
            .select(user_roles::user_id);
        Ok(query.load(&mut self.tx.connection()).await?)
    }

    #[diesel::dsl::auto_type(no_type_alias)]
    fn of(self, user: UserId) -> _ {
        let tenant_id: TenantId = self.tx.tenant_id();
        user_roles::table.filter(user_roles::tenant_id.eq(tenant_id)).filter(user_roles::user_id.eq(user))
    }
}
