//! The databases beside `main`: a handle of its own type each, so that a repository of one database cannot be
//! asked for in a transaction of another.
//!
//! Always holds: nothing is connected before a database is used, so what has none of these needs none; the
//! boundary is that of [`Database`](super::Database): the role and the settings are those of one transaction.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::config::Config;
use super::instrument::Watch;
use super::metrics::Shared;
use super::name::DatabaseName;
use super::pool::Pool;
use super::tenant::{AllTenants, Begin, NOBODY, Scope, TenantContext, Tx};
use super::trace::TraceParent;
use super::transaction;
use crate::error::{Error, Result};
use crate::tenancy::TenantId;

/// A pool that is made when it is first asked for.
#[derive(Clone)]
struct Beside {
    name: DatabaseName,
    config: Arc<Config>,
    metrics: Shared,
    pool: Arc<OnceCell<Pool>>,
}

impl Beside {
    fn new(main: &Config, name: DatabaseName, metrics: &Shared) -> Result<Self> {
        Ok(Self { name, config: main.for_database(name)?.into(), metrics: metrics.clone(), pool: Arc::default() })
    }

    /// Of several that ask first, one connects and the others wait; after a failure the next one tries again.
    async fn pool(&self) -> Result<&Pool> {
        let connected = async || {
            if !self.config.databases.contains(&self.name) {
                return Err(Error::configuration(format!(
                    "this deployment has no database {}: BEDPLATE_DATABASES leaves it out",
                    self.name
                )));
            }
            Pool::connect(&self.config, Watch::new(&self.config, self.metrics.clone(), self.name.as_str())).await
        };
        self.pool.get_or_try_init(connected).await
    }

    fn made_pool(&self) -> Option<&Pool> {
        self.pool.get()
    }

    async fn run<S, T, F, Fut>(&self, name: &'static str, scope: S, work: F) -> Result<T>
    where
        S: Scope,
        F: FnOnce(Tx<S>) -> Fut + Clone,
        Fut: Future<Output = Result<T>>,
    {
        let begin = Begin::new(name, &scope, self.config.timeouts);
        transaction::run(self.pool().await?, &begin, &scope, work).await
    }
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.config.url().fmt(f)
    }
}

/// The database `rfq`, from [`Database::rfq`](super::Database::rfq). Cheap to clone: clones share the pool.
#[derive(Debug, Clone)]
pub struct RfqDatabase(Beside);

/// The scope of an [`RfqTx`] and an [`RfqSystemTx`].
#[derive(Debug, Clone)]
pub struct OfRfq<Who>(Who);

/// A transaction of the database `rfq` that sees the rows of one tenant.
pub type RfqTx = Tx<OfRfq<TenantContext>>;

/// A transaction of the database `rfq` that sees every tenant.
pub type RfqSystemTx = Tx<OfRfq<AllTenants>>;

impl<Who: Scope> Scope for OfRfq<Who> {
    fn settings(&self) -> String {
        self.0.settings()
    }

    fn trace(&self) -> Option<TraceParent> {
        self.0.trace()
    }
}

impl RfqTx {
    /// The tenant whose rows are seen. Repositories put it into every query, beside the policies.
    #[must_use]
    pub fn tenant_id(&self) -> TenantId {
        self.scope.0.tenant_id()
    }

    /// For whom the transaction works.
    #[must_use]
    pub fn context(&self) -> &TenantContext {
        &self.scope.0
    }
}

impl RfqDatabase {
    pub(super) fn new(main: &Config, metrics: &Shared) -> Result<Self> {
        Beside::new(main, DatabaseName::Rfq, metrics).map(Self)
    }

    /// Where it was used already.
    pub(super) fn made_pool(&self) -> Option<&Pool> {
        self.0.made_pool()
    }

    /// Runs `work` in a transaction that sees the rows of one tenant, as `bedplate_app`: the only door to them.
    ///
    /// What [`Database::tenant_tx`](super::Database::tenant_tx) says of the closure holds here too: **it may run
    /// more than once**.
    ///
    /// # Errors
    /// As there; those of a first connection.
    pub fn tenant_tx<'a, T, F, Fut>(
        &'a self,
        name: &'static str,
        context: &'a TenantContext,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce(RfqTx) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        self.0.run(name, OfRfq(context.clone()), work)
    }

    /// Runs `work` in a transaction that sees every tenant, as `bedplate_system`.
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
        F: FnOnce(RfqSystemTx) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        self.0.run(name, OfRfq(AllTenants), work)
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }
}

/// The database `marketdata`, from [`Database::marketdata`](super::Database::marketdata). Cheap to clone: clones
/// share the pool.
#[derive(Debug, Clone)]
pub struct MarketdataDatabase(Beside);

/// The scope of a [`MarketdataTx`].
#[derive(Debug, Clone, Copy)]
pub struct Readers;

/// The scope of a [`MarketdataSystemTx`].
#[derive(Debug, Clone, Copy)]
pub struct Loaders;

/// A transaction that reads the database `marketdata`.
pub type MarketdataTx = Tx<Readers>;

/// A transaction that writes venues and instruments of the database `marketdata`.
pub type MarketdataSystemTx = Tx<Loaders>;

impl Scope for Readers {
    fn settings(&self) -> String {
        format!("SET LOCAL ROLE bedplate_app; {NOBODY}")
    }
}

impl Scope for Loaders {
    fn settings(&self) -> String {
        AllTenants.settings()
    }
}

impl MarketdataDatabase {
    pub(super) fn new(main: &Config, metrics: &Shared) -> Result<Self> {
        Beside::new(main, DatabaseName::Marketdata, metrics).map(Self)
    }

    /// Where it was used already.
    pub(super) fn made_pool(&self) -> Option<&Pool> {
        self.0.made_pool()
    }

    /// Runs `work` in a transaction that reads, as `bedplate_app`. There is no tenant: the data is everybody's.
    ///
    /// What [`Database::tenant_tx`](super::Database::tenant_tx) says of the closure holds here too: **it may run
    /// more than once**.
    ///
    /// # Errors
    /// As there; those of a first connection.
    pub fn read_tx<'a, T, F, Fut>(&'a self, name: &'static str, work: F) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce(MarketdataTx) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        self.0.run(name, Readers, work)
    }

    /// Runs `work` in a transaction that writes reference data, as `bedplate_system`.
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
        F: FnOnce(MarketdataSystemTx) -> Fut + Clone + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        self.0.run(name, Loaders, work)
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Whether it can be used: connects if nobody has.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.0.pool().await.map(|_| ())
    }
}
