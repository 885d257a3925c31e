//! Whose rows a transaction sees: one tenant's ([`TenantTx`]), all ([`SystemTx`]), or the sessions of
//! browsers and nothing else ([`SessionTx`]).
//!
//! Always holds: the role and the settings are those of one transaction (`SET LOCAL`), so nothing of
//! them is left on the connection, also behind a pooler.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::config::Timeouts;
use super::pool::Lease;
use super::trace::TraceParent;
use crate::forms::Validators;
use crate::sql::quote_literal;
use crate::tenancy::{TenantId, UserId};

/// The most characters of a user agent that are kept; what is longer is cut.
pub const MAX_USER_AGENT: usize = 512;

/// For whom a transaction works: the tenant, and for the audit log the user, the request, and where it came
/// from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantContext {
    tenant_id: TenantId,
    user_id: Option<UserId>,
    correlation_id: Option<Uuid>,
    ip_address: Option<IpAddr>,
    user_agent: Option<Arc<str>>,
    trace: Option<TraceParent>,
}

impl TenantContext {
    /// The context of a tenant, for nobody in particular.
    #[must_use]
    pub fn new(tenant_id: TenantId) -> Self {
        Self { tenant_id, user_id: None, correlation_id: None, ip_address: None, user_agent: None, trace: None }
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

    /// From this address.
    #[must_use]
    pub fn ip_address(mut self, ip_address: IpAddr) -> Self {
        self.ip_address = Some(ip_address);
        self
    }

    /// With this program, as it calls itself: any text. Cut to [`MAX_USER_AGENT`] characters.
    #[must_use]
    pub fn user_agent(mut self, user_agent: &str) -> Self {
        self.user_agent = Some(user_agent.chars().take(MAX_USER_AGENT).collect::<String>().into());
        self
    }

    /// As part of this trace: its id is in the transaction's span and, after the name, in `application_name`.
    #[must_use]
    pub fn trace(mut self, parent: TraceParent) -> Self {
        self.trace = Some(parent);
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

/// The scope of a [`SessionTx`].
#[derive(Debug, Clone, Copy)]
pub struct Sessions;

/// A transaction, for the closure that it was handed to. Repositories are handles on it: `tx.users()`,
/// `tx.business_ideas()`.
pub struct Tx<Scope> {
    pub(super) connection: Arc<Lease>,
    pub(super) scope: Scope,
    /// Savepoints that are set and not ended.
    pub(super) savepoints: Arc<AtomicUsize>,
    /// Who is woken after COMMIT: a bit each [`Channel`](super::wake::Channel).
    pub(super) wakes: Arc<AtomicU8>,
    /// Compiled forms, shared by all transactions of the pool.
    pub(crate) validators: Validators,
}

/// A transaction that sees the rows of one tenant.
pub type TenantTx = Tx<TenantContext>;

/// A transaction that sees every tenant: for relays, seeds, maintenance, and the tenants themselves.
pub type SystemTx = Tx<AllTenants>;

/// A transaction that sees the sessions of browsers, and no tenant.
pub type SessionTx = Tx<Sessions>;

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

    /// The trace that it is part of.
    fn trace(&self) -> Option<TraceParent> {
        None
    }
}

impl Scope for TenantContext {
    fn settings(&self) -> String {
        let text = |value: Option<String>| value.unwrap_or_default();
        format!(
            "SET LOCAL ROLE bedplate_app; SET LOCAL app.tenant_id = '{}'; SET LOCAL app.user_id = '{}'; \
             SET LOCAL app.correlation_id = '{}'; SET LOCAL app.ip_address = '{}'; SET LOCAL app.user_agent = {}",
            self.tenant_id,
            text(self.user_id.map(|id| id.to_string())),
            text(self.correlation_id.map(|id| id.to_string())),
            text(self.ip_address.map(|address| address.to_string())),
            quote_literal(self.user_agent.as_deref().unwrap_or_default()),
        )
    }

    fn trace(&self) -> Option<TraceParent> {
        self.trace
    }
}

/// The settings of a transaction that works for nobody.
pub(super) const NOBODY: &str = "SET LOCAL app.tenant_id = ''; SET LOCAL app.user_id = ''; SET LOCAL app.correlation_id = ''; \
                      SET LOCAL app.ip_address = ''; SET LOCAL app.user_agent = ''";

impl Scope for AllTenants {
    fn settings(&self) -> String {
        format!("SET LOCAL ROLE bedplate_system; {NOBODY}")
    }
}

impl Scope for Sessions {
    /// A `timestamp` without zone means another moment in another zone.
    fn settings(&self) -> String {
        format!("SET LOCAL ROLE bedplate_session; SET LOCAL TimeZone = 'UTC'; {NOBODY}")
    }
}

/// How a transaction begins: everything of it in one text, and so in one round trip.
pub(super) struct Begin {
    pub(super) name: &'static str,
    pub(super) sql: String,
    pub(super) read_only: bool,
    /// How long a statement may wait behind rows that are not read: as long as for a lock.
    pub(super) unread: Duration,
}

impl Begin {
    /// READ COMMITTED is named, because claims and the event store rely on it and a server's default can be another.
    pub(super) fn new(name: &'static str, scope: &impl Scope, timeouts: Timeouts) -> Self {
        let sql = begin_sql("", name, scope, timeouts);
        Self { name, sql, read_only: false, unread: timeouts.lock }
    }

    /// The same, for one that does not write: on a replica, or where it would have gone to one.
    pub(super) fn read_only(name: &'static str, scope: &impl Scope, timeouts: Timeouts) -> Self {
        let sql = begin_sql(" READ ONLY", name, scope, timeouts);
        Self { name, sql, read_only: true, unread: timeouts.lock }
    }
}

/// A server whose client is gone notices it so soon, in the middle of a query too
/// (<https://www.postgresql.org/docs/15/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL>; a
/// server on Windows cannot, and refuses the setting).
const CLIENT_CHECK_MS: u32 = 1_000;

/// `application_name` takes so many bytes.
const MAX_APPLICATION_NAME: usize = 63;

fn begin_sql(mode: &str, name: &str, scope: &impl Scope, timeouts: Timeouts) -> String {
    let mut sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED{mode}; {}", scope.settings());
    let application_name = match scope.trace() {
        // Of a long name the end is cut, never the trace's id.
        Some(trace) => {
            let id = trace.trace_id();
            let room = MAX_APPLICATION_NAME - id.len() - 1;
            format!("{} {id}", &name[..name.floor_char_boundary(room.min(name.len()))])
        }
        None => name.to_owned(),
    };
    // Writing to a String cannot fail.
    let _ = write!(
        sql,
        "; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = {}; \
         SET LOCAL client_connection_check_interval = {CLIENT_CHECK_MS}; SET LOCAL application_name = {}",
        timeouts.statement.as_millis(),
        timeouts.lock.as_millis(),
        timeouts.idle_in_transaction.as_millis(),
        quote_literal(&application_name)
    );
    sql
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        statement: Duration::from_secs(30),
        lock: Duration::from_secs(10),
        idle_in_transaction: Duration::from_mins(1),
    };

    #[test]
    fn a_transaction_begins_in_one_text_with_every_setting() {
        let tenant = TenantId::from(Uuid::nil());
        let context = TenantContext::new(tenant)
            .correlation(Uuid::max())
            .ip_address(std::net::Ipv6Addr::LOCALHOST.into())
            .user_agent("l'agent");
        let sql = Begin::new("it's", &context, TIMEOUTS).sql;
        assert_eq!(
            sql,
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL ROLE bedplate_app; \
             SET LOCAL app.tenant_id = '00000000-0000-0000-0000-000000000000'; SET LOCAL app.user_id = ''; \
             SET LOCAL app.correlation_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'; \
             SET LOCAL app.ip_address = '::1'; SET LOCAL app.user_agent = 'l''agent'; \
             SET LOCAL statement_timeout = 30000; SET LOCAL lock_timeout = 10000; \
             SET LOCAL idle_in_transaction_session_timeout = 60000; \
             SET LOCAL client_connection_check_interval = 1000; SET LOCAL application_name = 'it''s'"
        );
    }

    #[test]
    fn a_trace_follows_the_name_and_is_never_cut() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        let context = TenantContext::new(TenantId::from(Uuid::nil())).trace(trace);
        let sql = Begin::new("ideas.submit", &context, TIMEOUTS).sql;
        assert!(sql.ends_with("application_name = 'ideas.submit 4bf92f3577b34da6a3ce929d0e0e4736'"), "{sql}");
        let long = Begin::new("a.name.that.is.longer.than.it.öught.to.be", &context, TIMEOUTS).sql;
        let name = "a.name.that.is.longer.than.it. 4bf92f3577b34da6a3ce929d0e0e4736";
        assert!(long.ends_with(&format!("application_name = '{name}'")), "{long}");
        assert_eq!(name.len(), 63);
    }

    #[test]
    fn a_read_begins_read_only() {
        let begin = Begin::read_only("look", &AllTenants, TIMEOUTS);
        assert!(
            begin.sql.starts_with("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL ROLE"),
            "{}",
            begin.sql
        );
    }

    #[test]
    fn a_user_agent_is_cut() {
        let context = TenantContext::new(TenantId::from(Uuid::nil())).user_agent(&"ü".repeat(1000));
        assert_eq!(context.user_agent.unwrap().chars().count(), MAX_USER_AGENT);
    }
}
