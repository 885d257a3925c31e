//! What to connect to and how. [`Config::from_env`] reads it from the environment.
//!
//! Always holds: a password is in no `Debug`, no error and no log.

mod vars;

use std::collections::BTreeMap;
use std::time::Duration;

use super::name::DatabaseName;
use super::url::DatabaseUrl;
use crate::error::Result;
use crate::sql::text_enum;
#[cfg(feature = "cli")]
pub(crate) use vars::{env_vars, names_a_database};

text_enum! {
    /// Where this runs (`BEDPLATE_ENV`).
    Environment {
        /// A developer's machine: small pool, seeds for development allowed, warnings instead of refusals.
        Development = "development",
        /// Like production, with data that may be lost.
        Staging = "staging",
        /// The real thing: no development seeds, no superuser, no reset without the database's name.
        Production = "production",
    }
}

/// How many connections, and for how long.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// At most so many connections.
    pub max_size: u32,
    /// So many are kept even when idle.
    pub min_idle: u32,
    /// How long to wait for a free connection before [`Error::Timeout`](crate::Error::Timeout).
    pub wait: Duration,
    /// An idle connection is closed after this time.
    pub idle_timeout: Duration,
    /// A connection is closed at this age or up to a fifth earlier, so that those which were made together do not end
    /// together.
    pub max_lifetime: Duration,
}

text_enum! {
    /// Whether a connection keeps the statements that it has prepared.
    StatementCache {
        /// Where no pooler is in between.
        Auto = "auto",
        /// Always: for a pooler that keeps prepared statements itself (PgBouncer from 1.21 on,
        /// `max_prepared_statements`).
        On = "on",
        /// Never.
        Off = "off",
    }
}

/// When the server ends what takes too long. Zero: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Of one statement.
    pub statement: Duration,
    /// Of the wait for one lock.
    pub lock: Duration,
    /// Of a transaction that its client has forgotten: its connection is ended too.
    pub idle_in_transaction: Duration,
}

impl Timeouts {
    /// For a load, which takes as long as its rows do.
    pub(crate) const NONE: Self =
        Self { statement: Duration::ZERO, lock: Duration::ZERO, idle_in_transaction: Duration::ZERO };
}

/// Which queries are logged, with the target `bedplate::slow_query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowQueries {
    /// Those whose answer begins after at least so long: of a long result, the first rows count.
    pub threshold: Duration,
    /// With their plan, which takes a connection and a moment; once in ten minutes for the same query.
    pub plan: bool,
}

/// Everything that [`crate::Database`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The owner's URL (`DATABASE_URL`): migrations and seeds; the application too, when `app_url` is not set.
    pub owner_url: DatabaseUrl,
    /// The application's login (`APP_DATABASE_URL`).
    pub app_url: Option<DatabaseUrl>,
    /// The databases beside `main` that are somewhere else than their default: see [`Config::for_database`].
    pub elsewhere: BTreeMap<DatabaseName, Logins>,
    /// The databases that this deployment has (`BEDPLATE_DATABASES`): by default all.
    pub databases: Vec<DatabaseName>,
    /// Where this runs.
    pub environment: Environment,
    /// The pool's limits.
    pub pool: PoolConfig,
    /// The application's login without the pooler (`APP_DATABASE_DIRECT_URL`), for LISTEN: where [`Config::url`] leads
    /// to PgBouncer in transaction mode, nothing is heard there.
    pub direct_url: Option<DatabaseUrl>,
    /// Standbys that reads may go to (`APP_REPLICA_URL`, `APP_REPLICA_2_URL` and so on): see
    /// [`Database::replica`](super::Database::replica).
    pub replicas: Vec<DatabaseUrl>,
    /// How long a read waits for a replica that is behind, before it goes to the primary.
    pub replica_wait: Duration,
    /// When the server ends what takes too long.
    pub timeouts: Timeouts,
    /// For so long a transaction is run again, after what may be over soon; nothing is begun afterwards.
    pub retry_budget: Duration,
    /// Whether statements stay prepared.
    pub statement_cache: StatementCache,
    /// Which queries are logged.
    pub slow_queries: SlowQueries,
}

/// The URLs of one database: its owner's (`RFQ_DATABASE_URL`) and its application's (`RFQ_APP_DATABASE_URL`).
#[derive(Debug, Clone)]
pub struct Logins {
    /// The login that owns the tables.
    pub owner: DatabaseUrl,
    /// The application's.
    pub app: Option<DatabaseUrl>,
}

impl Config {
    /// The defaults of an environment, for one URL.
    #[must_use]
    pub fn new(owner_url: DatabaseUrl, environment: Environment) -> Self {
        // Where deployments overlap, two pools of each instance are open at a time; in production some connections are
        // kept for the first requests after a quiet time.
        let (max_size, min_idle) = match environment {
            Environment::Development => (10, 0),
            Environment::Staging => (20, 0),
            Environment::Production => (20, 2),
        };
        let pool = PoolConfig {
            max_size,
            min_idle,
            wait: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(10),
            max_lifetime: Duration::from_mins(30),
        };
        Self {
            owner_url,
            app_url: None,
            elsewhere: BTreeMap::new(),
            databases: DatabaseName::ALL.to_vec(),
            environment,
            pool,
            direct_url: None,
            replicas: Vec::new(),
            replica_wait: Duration::from_millis(500),
            timeouts: Timeouts {
                statement: Duration::from_secs(30),
                lock: Duration::from_secs(10),
                idle_in_transaction: Duration::from_mins(1),
            },
            retry_budget: Duration::from_secs(5),
            statement_cache: StatementCache::Auto,
            slow_queries: SlowQueries { threshold: Duration::from_secs(1), plan: false },
        }
    }

    /// The same for another database. Where no URL of its own is set (`RFQ_DATABASE_URL`), it is beside `main`:
    /// same server, same logins, named `<main>_rfq`.
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) for a URL whose database cannot be replaced.
    pub fn for_database(&self, name: DatabaseName) -> Result<Self> {
        let logins = match (name, self.elsewhere.get(&name)) {
            (DatabaseName::Main, _) => return Ok(self.clone()),
            (_, Some(logins)) => logins.clone(),
            (_, None) => {
                let beside = format!("{}_{name}", self.owner_url.database());
                let app = self.app_url.as_ref().map(|app| app.with_database(&beside)).transpose()?;
                Logins { owner: self.owner_url.with_database(&beside)?, app }
            }
        };
        // Replicas are those of main; a direct way is known for main alone.
        Ok(Self {
            owner_url: logins.owner,
            app_url: logins.app,
            direct_url: None,
            replicas: Vec::new(),
            ..self.clone()
        })
    }

    /// What the application connects as.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        self.app_url.as_ref().unwrap_or(&self.owner_url)
    }

    /// What LISTEN connects to.
    #[must_use]
    pub fn listen_url(&self) -> &DatabaseUrl {
        self.direct_url.as_ref().unwrap_or_else(|| self.url())
    }
}
