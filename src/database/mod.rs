//! The boundary that everything goes through: configuration, connections, transactions, migrations,
//! seeds, and the private server of `bedplate up`.

mod chunks;
pub mod config;
mod copy;
mod create;
pub mod doctor;
mod handles;
mod idempotency;
pub mod maintain;
pub mod migrate;
mod name;
mod pool;
pub mod private_server;
pub mod reset;
mod savepoint;
pub mod schema_docs;
pub mod seed;
pub mod status;
mod tenant;
mod transaction;
mod url;
mod wake;

use diesel::sql_types::{Bool, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

pub(crate) use chunks::in_chunks;
pub use config::{Config, Environment, PoolConfig};
pub(crate) use copy::CopyIn;
pub use create::create_beside;
pub use handles::{
    Loaders, MarketdataDatabase, MarketdataSystemTx, MarketdataTx, OfRfq, Readers, RfqDatabase, RfqSystemTx, RfqTx,
};
pub use name::DatabaseName;
pub use pool::connect;
pub use tenant::{AllTenants, MAX_USER_AGENT, SessionTx, Sessions, SystemTx, TenantContext, TenantTx, Tx};
pub use url::DatabaseUrl;
pub(crate) use wake::{Channel, Wakeups};

use crate::error::{Error, Result};
use crate::tenancy::UsesInFlight;
use pool::Pool;

/// The database `main`, for the application, and the way to the databases beside it. Cheap to clone: clones share
/// the pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    config: std::sync::Arc<Config>,
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
    /// [`Error::NoDatabase`] for an unknown database; [`Error::Configuration`] for a wrong password, a refused login;
    /// [`Error::Unavailable`] where nothing answers.
    pub async fn connect(config: Config) -> Result<Self> {
        let mut connection = connect(config.url()).await?;
        check_login(&mut connection, &config).await?;
        let pool = Pool::new(&config, connection);
        let (rfq, marketdata) = (RfqDatabase::new(&config)?, MarketdataDatabase::new(&config)?);
        Ok(Self { pool, config: config.into(), rfq, marketdata, uses_in_flight: UsesInFlight::default() })
    }

    /// Runs `work` in a transaction that sees the rows of one tenant, as `bedplate_app`. The only door to a
    /// tenant's rows.
    ///
    /// `name` is what `pg_stat_activity` shows as the application's name, for example `ideas.submit`.
    ///
    /// **The closure may run more than once**: after a serialization failure, a deadlock, or a connection
    /// that is lost before COMMIT, it is run again, up to six times, after pauses that grow to a second.
    /// So it does nothing that cannot be repeated, except through the transaction.
    ///
    /// The closure is cloned for each run, so what it captures is cloned too: capture ids, references, or
    /// texts that are cheap to clone. It gets the handle by value and not by reference: with a reference in its
    /// arguments, a closure that borrows could not be spawned
    /// (<https://github.com/rust-lang/rust/issues/110338>); so it can (the test
    /// `boundary::futures_can_be_spawned`).
    ///
    /// # Errors
    /// Whatever the closure returns; then nothing is written. [`Error::CommitUnknown`] if the connection is
    /// lost during COMMIT. [`Error::Aborted`] if the closure swallowed the error of a statement,
    /// [`Error::HandleEscaped`] if it let its handle out.
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
        let begin = tenant::begin_sql(name, context, self.config.statement_timeout);
        async move { transaction::run(&self.pool, name, &begin, context, work).await }
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
        let begin = tenant::begin_sql(name, &AllTenants, self.config.statement_timeout);
        async move { transaction::run(&self.pool, name, &begin, &AllTenants, work).await }
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
        let begin = tenant::begin_sql(name, &Sessions, self.config.statement_timeout);
        async move { transaction::run(&self.pool, name, &begin, &Sessions, work).await }
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

    /// How many connections there are, and how many of them are idle.
    #[must_use]
    pub fn pool_state(&self) -> bb8::State {
        self.pool.state()
    }
}

#[derive(QueryableByName)]
struct Login {
    #[diesel(sql_type = Bool)]
    bypasses_policies: bool,
    #[diesel(sql_type = Text)]
    messages: String,
}

async fn check_login(connection: &mut AsyncPgConnection, config: &Config) -> Result<()> {
    let login: Login = sql_query(
        "SELECT rolsuper OR rolbypassrls AS bypasses_policies, current_setting('lc_messages') AS messages \
           FROM pg_roles WHERE rolname = current_user",
    )
    .get_result(connection)
    .await?;
    if login.bypasses_policies {
        let advice = "the login is a superuser or has BYPASSRLS, so row-level security does not bind it; \
                      use an ordinary login (`.env.example` shows one)";
        if config.environment == Environment::Production {
            return Err(Error::configuration(format!("{}: {advice}", config.url())));
        }
        tracing::warn!(url = %config.url(), "{advice}");
    }
    if !["C", "POSIX", "en"].iter().any(|english| login.messages.starts_with(english)) && !login.messages.is_empty() {
        tracing::warn!(
            lc_messages = login.messages,
            "the server speaks another language than English, so some errors cannot be told apart; \
             run ALTER DATABASE … SET lc_messages = 'C' as a superuser"
        );
    }
    Ok(())
}
