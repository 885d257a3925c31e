//! The boundary that everything goes through: configuration, connections, transactions, migrations,
//! seeds, and the private server of `bedplate up`.

mod chunks;
pub mod config;
mod connect;
mod copy;
mod create;
pub mod doctor;
mod handles;
mod health;
mod idempotency;
mod instrument;
mod lag;
pub mod maintain;
mod metrics;
pub mod migrate;
mod name;
mod other_service;
mod pool;
pub mod private_server;
mod probe;
mod programs;
mod refusal;
mod replica;
pub mod reset;
mod retry;
mod savepoint;
pub mod schema_docs;
mod secret;
pub mod seed;
mod session_attrs;
pub mod status;
mod tenant;
mod tls;
mod trace;
mod transaction;
mod url;
mod wake;
pub(crate) mod wire;

use std::sync::Arc;

pub(crate) use chunks::in_chunks;
pub use config::{Config, Environment, PoolConfig, SlowQueries, StatementCache, Timeouts};
pub use connect::connect;
pub(crate) use copy::CopyIn;
pub use create::create_beside;
pub use handles::{
    Loaders, MarketdataDatabase, MarketdataSystemTx, MarketdataTx, OfRfq, Readers, RfqDatabase, RfqSystemTx, RfqTx,
};
pub use health::{Health, HealthCheck, HealthLimits, Readiness};
pub use metrics::Metrics;
pub use name::DatabaseName;
pub use replica::{ReplicaReads, WalPosition};
pub use tenant::{AllTenants, MAX_USER_AGENT, SessionTx, Sessions, SystemTx, TenantContext, TenantTx, Tx};
#[cfg(feature = "webhook")]
pub(crate) use tls::{roots_of_system, tls_provider};
pub use trace::TraceParent;
pub use url::DatabaseUrl;
pub(crate) use wake::{Channel, Wakeups};

use crate::error::Result;
use crate::tenancy::UsesInFlight;
use instrument::Watch;
use metrics::Shared;
use pool::Pool;
use replica::Replicas;
use tenant::Begin;

/// The database `main`, for the application, and the way to the databases beside it. Cheap to clone: clones share
/// the pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    config: Arc<Config>,
    metrics: Shared,
    replicas: Replicas,
    rfq: RfqDatabase,
    marketdata: MarketdataDatabase,
    pub(crate) uses_in_flight: UsesInFlight,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.config.url())
    }
}

impl Database {
    /// Connects once, to know that it works, and makes the pool. The databases beside `main` are connected when
    /// they are first used.
    ///
    /// A login that no policy binds (superuser, BYPASSRLS) is warned about, and refused in production.
    ///
    /// # Errors
    /// [`Error::NoDatabase`](crate::Error::NoDatabase) for an unknown database;
    /// [`Error::Configuration`](crate::Error::Configuration) for a wrong password, a refused login;
    /// [`Error::Unavailable`](crate::Error::Unavailable) where nothing answers.
    pub async fn connect(config: Config) -> Result<Self> {
        let metrics = Arc::new(Metrics::default());
        let pool = Pool::connect(&config, Watch::new(&config, metrics.clone(), DatabaseName::Main.as_str())).await?;
        Ok(Self {
            pool,
            rfq: RfqDatabase::new(&config, &metrics)?,
            marketdata: MarketdataDatabase::new(&config, &metrics)?,
            replicas: Replicas::new(&config, &metrics),
            metrics,
            config: config.into(),
            uses_in_flight: UsesInFlight::default(),
        })
    }

    /// Runs `work` in a transaction that sees the rows of one tenant, as `bedplate_app`. The only door to a
    /// tenant's rows.
    ///
    /// `name` is what `pg_stat_activity` shows as the application's name, for example `ideas.submit`; metrics and spans
    /// have it too.
    ///
    /// **The closure may run more than once**: after a serialization failure, a deadlock, a connection that is lost
    /// before COMMIT, or another transient [`Fault`](crate::error::Fault), it is run again, after pauses that grow to
    /// half a second, for as long as [`Config::retry_budget`] says. So it does nothing that cannot be repeated, except
    /// through the transaction.
    ///
    /// The closure is cloned for each run, so what it captures is cloned too: capture ids, references, or
    /// texts that are cheap to clone. It gets the handle by value and not by reference: with a reference in its
    /// arguments, a closure that borrows could not be spawned
    /// (<https://github.com/rust-lang/rust/issues/110338>); so it can (the test
    /// `boundary::futures_can_be_spawned`).
    ///
    /// # Errors
    /// Whatever the closure returns; then nothing is written. [`Error::CommitUnknown`](crate::Error::CommitUnknown) if
    /// the connection is lost during COMMIT. [`Error::Unavailable`](crate::Error::Unavailable),
    /// [`Error::ReadOnly`](crate::Error::ReadOnly) or [`Error::Contention`](crate::Error::Contention) where the budget
    /// is used up; [`Error::Timeout`](crate::Error::Timeout). [`Error::Aborted`](crate::Error::Aborted) if the closure
    /// swallowed the error of a statement, [`Error::HandleEscaped`](crate::Error::HandleEscaped) if it let its handle
    /// out.
    pub fn tenant_tx<'a, T, F, Fut>(
        &'a self,
        name: &'static str,
        context: &'a TenantContext,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce(TenantTx) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        let begin = Begin::new(name, context, self.config.timeouts);
        async move { transaction::run(&self.pool, &begin, context, work).await }
    }

    /// Runs `work` in a transaction that sees every tenant, as `bedplate_system`. For maintenance and for
    /// tenants themselves; what serves a request belongs into [`Database::tenant_tx`].
    ///
    /// The closure may run more than once, as there.
    ///
    /// # Errors
    /// As there.
    pub fn system_tx<'a, T, F, Fut>(
        &'a self,
        name: &'static str,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce(SystemTx) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        let begin = Begin::new(name, &AllTenants, self.config.timeouts);
        async move { transaction::run(&self.pool, &begin, &AllTenants, work).await }
    }

    /// Runs `work` in a transaction that sees the sessions of browsers, as `bedplate_session`.
    ///
    /// The closure may run more than once, as there.
    ///
    /// # Errors
    /// As there.
    pub fn session_tx<'a, T, F, Fut>(
        &'a self,
        name: &'static str,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce(SessionTx) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        let begin = Begin::new(name, &Sessions, self.config.timeouts);
        async move { transaction::run(&self.pool, &begin, &Sessions, work).await }
    }

    /// The database `rfq`: requests for quotes, by tenant.
    #[must_use]
    pub fn rfq(&self) -> &RfqDatabase {
        &self.rfq
    }

    /// The database `marketdata`: venues, instruments, prices.
    #[must_use]
    pub fn marketdata(&self) -> &MarketdataDatabase {
        &self.marketdata
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted, by this handle and its clones.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many connections there are, and how many of them are idle.
    #[must_use]
    pub fn pool_state(&self) -> bb8::State {
        self.pool.state()
    }
}
