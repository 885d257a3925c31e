//! Tenants and who is in them: the tenant is the boundary of isolation, a user belongs to one tenant,
//! organizations group users inside it; what users and programs may do, and how they stay signed in.

pub mod api_key;
mod api_key_authentication;
pub mod api_key_secret;
pub mod entitlement;
pub mod membership;
pub mod organization;
pub mod password;
pub mod role;
pub mod session;
#[cfg(feature = "tower-sessions")]
pub mod session_store;
pub mod tenant;
pub mod user;

pub use api_key::{ApiKey, ApiKeyFilter, ApiKeyId, ApiKeyRepository, NewApiKey};
pub(crate) use api_key_authentication::UsesInFlight;
pub use api_key_secret::ApiKeySecret;
pub use entitlement::{EntitlementRepository, NewEntitlement, Order, Refusal, UserEntitlement, UserEntitlementId};
pub use membership::{Membership, MembershipRepository, OrganizationRole};
pub use organization::{NewOrganization, Organization, OrganizationChanges, OrganizationId, OrganizationRepository};
pub use password::PasswordHash;
pub use role::{RoleRepository, UserRole, UserRoleId};
pub use session::{Session, SessionData, SessionId, SessionRepository};
#[cfg(feature = "tower-sessions")]
pub use session_store::PostgresSessionStore;
pub use tenant::{NewTenant, Tenant, TenantId, TenantRepository, TenantStatus, TenantType};
pub use user::{NewUser, User, UserChanges, UserFilter, UserId, UserRepository, UserStatus};
