//! Users: who signs in. A user belongs to one tenant; e-mail and username are unique among its users that
//! are not deleted.
//!
//! Always holds: a password hash leaves this module in no struct.

use chrono::{DateTime, Utc};
use diesel::dsl::{exists, now};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use secrecy::SecretString;
use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;

use super::password::PasswordHash;
use super::tenant::{TenantId, TenantStatus};
use crate::database::{Database, TenantContext, TenantTx};
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::pagination::{Cursor, Page, PageRequest, older_than};
use crate::schema::{tenants, users};
use crate::sql::{cached, text_enum};
use crate::validation::{Check, shows_nothing};

/// The id of a user.
pub type UserId = Id<User>;

text_enum! {
    /// Whether a user can sign in.
    UserStatus {
        /// Yes.
        Active = "active",
        /// Not yet.
        Invited = "invited",
        /// Not at the moment.
        Suspended = "suspended",
        /// No longer.
        Deactivated = "deactivated",
    }
}

/// A row of `users`, without the password's hash.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
pub struct User {
    /// The user's tenant.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: UserId,
    /// In lower case.
    pub email: String,
    /// Login name.
    pub username: String,
    /// Full name.
    pub name: String,
    /// Name to show; `None`: the full name is shown.
    pub display_name: Option<String>,
    /// Whether the user can sign in.
    pub status: UserStatus,
    /// Last successful sign-in.
    pub last_login_at: Option<DateTime<Utc>>,
    /// When the user was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for User {
    const NAME: &'static str = "user";
    const TABLE: &'static str = "users";
}

/// A user to create.
#[derive(Debug, Clone, Copy)]
pub struct NewUser<'a> {
    /// Taken in any case, stored in lower case.
    pub email: &'a str,
    /// 1 to 255 characters.
    pub username: &'a str,
    /// 1 to 255 characters.
    pub name: &'a str,
    /// 1 to 255 characters.
    pub display_name: Option<&'a str>,
    /// Made before the transaction: it takes a while.
    pub password_hash: &'a PasswordHash,
}

/// What to change; `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, Default, AsChangeset)]
#[diesel(table_name = users)]
pub struct UserChanges<'a> {
    /// 1 to 255 characters.
    pub username: Option<&'a str>,
    /// 1 to 255 characters.
    pub name: Option<&'a str>,
    /// `Some(None)` removes it.
    pub display_name: Option<Option<&'a str>>,
    /// Active, invited or suspended; [`UserRepository::delete`] deactivates.
    pub status: Option<UserStatus>,
}

/// Which users to list.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Only those of this status.
    pub status: Option<UserStatus>,
}

/// The tenant's users.
#[derive(Clone, Copy)]
pub struct UserRepository<'t> {
    tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's users.
    #[must_use]
    pub fn users(&self) -> UserRepository<'_> {
        UserRepository { tx: self }
    }
}

impl Database {
    /// Signs a user in by e-mail and password. The password is checked between two transactions, so that no
    /// connection is held meanwhile; an unknown e-mail takes as long as a wrong password.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for an unknown e-mail, a wrong password, a user or a tenant that is
    /// not active: which, is not told.
    pub async fn authenticate(&self, context: &TenantContext, email: &str, password: &SecretString) -> Result<User> {
        let email = normalised(email);
        let found =
            self.tenant_tx("users.authenticate", context, async |tx| tx.users().credentials(&email).await).await?;
        let (user_id, hash) = found.unzip();
        let verified = PasswordHash::verify(hash.map(PasswordHash::stored), password).await?;
        let user_id = user_id.filter(|_| verified).ok_or(Error::Unauthenticated)?;
        self.tenant_tx("users.record_login", context, async |tx| tx.users().record_login(user_id).await).await
    }
}

impl UserRepository<'_> {
    /// Creates an active user.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every rule that the input breaks; [`Error::Conflict`] for an e-mail or a
    /// username that is taken.
    pub async fn create(&self, new: NewUser<'_>) -> Result<User> {
        let email = normalised(new.email);
        let mut check = Check::default();
        check.text("email", &email, 3..=255).text("username", new.username, 1..=255).text("name", new.name, 1..=255);
        check.unmistakable("username", new.username);
        if let Some(display_name) = new.display_name {
            check.text("display_name", display_name, 1..=255);
        }
        if !is_address(&email) {
            check.add("email", "is no e-mail address".into());
        }
        check.finish()?;
        let insert = diesel::insert_into(users::table)
            .values((
                users::tenant_id.eq(self.tx.tenant_id()),
                users::id.eq(UserId::new()),
                users::email.eq(&email),
                users::username.eq(new.username),
                users::name.eq(new.name),
                users::display_name.eq(new.display_name),
                users::password_hash.eq(new.password_hash.as_str()),
            ))
            .returning(User::as_returning());
        Ok(cached(insert).get_result(&mut self.tx.connection()).await?)
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none, or it is deleted.
    pub async fn find(&self, id: UserId) -> Result<User> {
        let query =
            users::table.find((self.tx.tenant_id(), id)).filter(users::deleted_at.is_null()).select(User::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// By e-mail, in any case.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, or it is deleted.
    pub async fn find_by_email(&self, email: &str) -> Result<User> {
        let email = normalised(email);
        let query = users::table
            .filter(users::tenant_id.eq(self.tx.tenant_id()))
            .filter(users::email.eq(&email))
            .filter(users::deleted_at.is_null())
            .select(User::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or(Error::NotFound { entity: User::NAME, id: email })
    }

    /// By username, as it was written.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, or it is deleted.
    pub async fn find_by_username(&self, username: &str) -> Result<User> {
        let query = users::table
            .filter(users::tenant_id.eq(self.tx.tenant_id()))
            .filter(users::username.eq(username))
            .filter(users::deleted_at.is_null())
            .select(User::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: User::NAME, id: username.to_owned() })
    }

    /// Users newest first, without the deleted.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list(&self, filter: &UserFilter, page: &PageRequest) -> Result<Page<User>> {
        const ORDER: &str = "users";
        let mut query = users::table
            .filter(users::tenant_id.eq(self.tx.tenant_id()))
            .filter(users::deleted_at.is_null())
            .order((users::created_at.desc(), users::id.desc()))
            .limit(page.fetch()?)
            .select(User::as_select())
            .into_boxed::<diesel::pg::Pg>();
        if let Some(status) = filter.status {
            query = query.filter(users::status.eq(status));
        }
        if let Some(after) = &page.after {
            let (created_at, id) = after.decode(ORDER)?;
            query = query.filter(older_than::<users::table>(created_at, id));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &User| Cursor::new(ORDER, &last.created_at, last.id.as_uuid())))
    }

    /// Changes what `changes` names; with nothing named, returns the user as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Conflict`] for a username that is taken.
    pub async fn update(&self, id: UserId, changes: UserChanges<'_>) -> Result<User> {
        let mut check = Check::default();
        let texts =
            [("username", changes.username), ("name", changes.name), ("display_name", changes.display_name.flatten())];
        for (field, text) in texts {
            if let Some(text) = text {
                check.text(field, text, 1..=255);
            }
        }
        if let Some(username) = changes.username {
            check.unmistakable("username", username);
        }
        if changes.status == Some(UserStatus::Deactivated) {
            check.add("status", "cannot be set to deactivated: delete the user".into());
        }
        check.finish()?;
        let UserChanges { username: None, name: None, display_name: None, status: None } = changes else {
            let living = users::table.find((self.tx.tenant_id(), id)).filter(users::deleted_at.is_null());
            let update = diesel::update(living).set(changes).returning(User::as_returning());
            let found = cached(update).get_result(&mut self.tx.connection()).await.optional()?;
            return found.ok_or_else(|| Error::not_found(id));
        };
        self.find(id).await
    }

    /// Sets a new password.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, or it is deleted.
    pub async fn set_password(&self, id: UserId, hash: &PasswordHash) -> Result<User> {
        let living = users::table.find((self.tx.tenant_id(), id)).filter(users::deleted_at.is_null());
        let update = diesel::update(living).set(users::password_hash.eq(hash.as_str())).returning(User::as_returning());
        let found = cached(update).get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::not_found(id))
    }

    /// Deletes softly: the row stays, for what refers to it; e-mail and username are free again.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, or it is deleted.
    pub async fn delete(&self, id: UserId) -> Result<User> {
        let living = users::table.find((self.tx.tenant_id(), id)).filter(users::deleted_at.is_null());
        let update = diesel::update(living)
            .set((users::deleted_at.eq(now), users::status.eq(UserStatus::Deactivated)))
            .returning(User::as_returning());
        let found = cached(update).get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::not_found(id))
    }

    /// Id and hash of an active user of an active tenant.
    async fn credentials(&self, email: &str) -> Result<Option<(UserId, String)>> {
        let query = users::table
            .filter(users::tenant_id.eq(self.tx.tenant_id()))
            .filter(users::email.eq(email))
            .filter(users::deleted_at.is_null())
            .filter(users::status.eq(UserStatus::Active))
            .filter(exists(tenants::table.find(self.tx.tenant_id()).filter(tenants::status.eq(TenantStatus::Active))))
            .select((users::id, users::password_hash));
        Ok(query.get_result(&mut self.tx.connection()).await.optional()?)
    }

    /// Not found means that the user was suspended or deleted while the password was checked.
    async fn record_login(&self, id: UserId) -> Result<User> {
        let active = users::table
            .find((self.tx.tenant_id(), id))
            .filter(users::deleted_at.is_null())
            .filter(users::status.eq(UserStatus::Active));
        let update = diesel::update(active).set(users::last_login_at.eq(now)).returning(User::as_returning());
        let found = cached(update).get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or(Error::Unauthenticated)
    }
}

/// As it is stored and compared: two addresses that look alike are the same one.
fn normalised(email: &str) -> String {
    let visible = email.trim().chars().filter(|character| character.is_whitespace() || !shows_nothing(*character));
    let lower = visible.collect::<String>().to_lowercase();
    lower.nfc().collect()
}

/// Something, one @, something, and no white space: whether it exists, only a message can tell.
fn is_address(email: &str) -> bool {
    let halves = email.split_once('@');
    halves.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
        && !email.chars().any(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ada@example.com", true)]
    #[case("ada", false)]
    #[case("@example.com", false)]
    #[case("ada@", false)]
    #[case("a@b@c", false)]
    #[case("a b@c", false)]
    fn an_address_has_two_halves(#[case] email: &str, #[case] good: bool) {
        assert_eq!(is_address(email), good);
    }

    #[rstest]
    #[case("ada@example.com", " Ada@Example.com\u{feff}")]
    #[case("zo\u{eb}@example.com", "zoe\u{308}@example.com")]
    #[case("ada@example.com", "a\u{200b}d\u{ad}a@example.com")]
    #[case("\u{3b1}\u{3b2}@example.com", "\u{391}\u{392}@example.com")]
    fn what_looks_alike_is_one_address(#[case] stored: &str, #[case] given: &str) {
        assert_eq!(normalised(given), stored);
        assert_eq!(normalised(&normalised(given)), stored);
    }
}
