//! Tenants and who is in them: the tenant is the boundary of isolation, a user belongs to one tenant.

pub mod password;
pub mod tenant;
pub mod user;

pub use password::PasswordHash;
pub use tenant::{NewTenant, Tenant, TenantId, TenantRepository, TenantStatus, TenantType};
pub use user::{NewUser, User, UserChanges, UserFilter, UserId, UserRepository, UserStatus};
