//! Whose rows a transaction sees: one tenant's ([`TenantTx`]), or all ([`SystemTx`]).
//!
//! Always holds: the role and the settings are those of one transaction (`SET LOCAL`), so nothing of
//! them is left on the connection, also behind a pooler.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::pool::PooledConnection;
use crate::sql::quote_literal;
use crate::tenancy::{TenantId, UserId};

/// For whom a transaction works: the tenant, and for its traces the user and the request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "they are the names of the settings that triggers and policies read")]
pub struct TenantContext {
    tenant_id: TenantId,
    user_id: Option<UserId>,
    correlation_id: Option<Uuid>,
}

impl TenantContext {
    /// The context of a tenant, for nobody in particular.
    #[must_use]
    pub fn new(tenant_id: TenantId) -> Self {
        Self { tenant_id, user_id: None, correlation_id: None }
    }

    /// On behalf of this user.
    #[must_use]
    pub fn acting_as(mut self, user_id: UserId) -> Self {
        self.user_id = Some(user_id);
        self
    }

    /// As part of this request.
    #[must_use]
    pub fn correlation(mut self, correlation_id: Uuid) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// The tenant.
    #[must_use]
    pub fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// The user, if there is one.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        self.user_id
    }
}

/// The scope of a [`SystemTx`].
#[derive(Debug, Clone, Copy)]
pub struct AllTenants;

/// A transaction, for the closure that it was handed to. Repositories are handles on it: `tx.users()`,
/// `tx.business_ideas()`.
pub struct Tx<Scope> {
    pub(super) connection: Arc<PooledConnection>,
    pub(super) scope: Scope,
}

/// A transaction that sees the rows of one tenant.
pub type TenantTx = Tx<TenantContext>;

/// A transaction that sees every tenant: for relays, seeds, maintenance, and the tenants themselves.
pub type SystemTx = Tx<AllTenants>;

impl<Scope> Tx<Scope> {
    /// The connection, for queries that no repository has. It is shared, so that independent queries can
    /// be sent without waiting for each other (`tokio::try_join!`): write `query.load(&mut tx.connection())`.
    #[must_use]
    pub fn connection(&self) -> &AsyncPgConnection {
        &self.connection
    }
}

impl TenantTx {
    /// The tenant whose rows are seen. Repositories put it into every query, beside the policies.
    #[must_use]
    pub fn tenant_id(&self) -> TenantId {
        self.scope.tenant_id
    }

    /// For whom the transaction works.
    #[must_use]
    pub fn context(&self) -> &TenantContext {
        &self.scope
    }
}

/// What a scope says at the begin of its transactions.
pub(super) trait Scope: Clone {
    /// The role, and the settings that policies and triggers read. Literals, not `set_config`: Citus hands
    /// SET LOCAL on to its workers. Each is set every time, so that nothing of a session shows through.
    fn settings(&self) -> String;
}

impl Scope for TenantContext {
    fn settings(&self) -> String {
        let user = self.user_id.map(|id| id.to_string()).unwrap_or_default();
        let correlation = self.correlation_id.map(|id| id.to_string()).unwrap_or_default();
        format!(
            "SET LOCAL ROLE bedplate_app; SET LOCAL app.tenant_id = '{}'; \
             SET LOCAL app.user_id = '{user}'; SET LOCAL app.correlation_id = '{correlation}'",
            self.tenant_id
        )
    }
}

impl Scope for AllTenants {
    fn settings(&self) -> String {
        "SET LOCAL ROLE bedplate_system; SET LOCAL app.tenant_id = ''; \
         SET LOCAL app.user_id = ''; SET LOCAL app.correlation_id = ''"
            .to_owned()
    }
}

/// Everything of a transaction's begin, in one text and so in one round trip. READ COMMITTED is named,
/// because claims and the event store rely on it and a server's default can be another.
pub(super) fn begin_sql(name: &str, scope: &impl Scope, statement_timeout: Duration) -> String {
    let mut sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}", scope.settings());
    // Writing to a String cannot fail.
    let _ = write!(
        sql,
        "; SET LOCAL statement_timeout = {}; SET LOCAL application_name = {}",
        statement_timeout.as_millis(),
        quote_literal(name)
    );
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_begins_in_one_text_with_every_setting() {
        let tenant = TenantId::from(Uuid::nil());
        let context = TenantContext::new(tenant).correlation(Uuid::max());
        let sql = begin_sql("it's", &context, Duration::from_secs(30));
        assert_eq!(
            sql,
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL ROLE bedplate_app; \
             SET LOCAL app.tenant_id = '00000000-0000-0000-0000-000000000000'; SET LOCAL app.user_id = ''; \
             SET LOCAL app.correlation_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'; \
             SET LOCAL statement_timeout = 30000; SET LOCAL application_name = 'it''s'"
        );
    }
}
