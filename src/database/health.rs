//! Whether an instance may be given work, and what there is to watch.
//!
//! Always holds: an answer about readiness comes within about [`HealthLimits::answer`], whatever is wrong with the
//! database; questions go beside the pool, which is asked for one connection, for a moment.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all, join3};
use serde::Serialize;
use tokio_postgres::SimpleQueryRow;

use super::Database;
use super::config::Environment;
use super::lag::{LagWatch, ReplicaState};
use super::metrics::{Connections, OfDatabase, OfPool, OfReplica, OfSubscription};
use super::migrate::Source;
use super::name::DatabaseName;
use super::probe::Probe;
use crate::error::{Error, Result};

/// When an instance is not ready.
#[derive(Debug, Clone, Copy)]
pub struct HealthLimits {
    /// A replica shows what is older.
    pub replica_lag: Duration,
    /// A message of the outbox is due for longer.
    pub outbox_age: Duration,
    /// The pool hands no connection out for so long.
    pub pool_wait: Duration,
    /// A question to the database takes longer.
    pub answer: Duration,
}

impl HealthLimits {
    /// The defaults of an environment: on a developer's machine, where nobody may be relaying, messages may wait.
    #[must_use]
    pub fn of(environment: Environment) -> Self {
        let outbox_age = match environment {
            Environment::Development => Duration::MAX,
            Environment::Staging | Environment::Production => Duration::from_mins(5),
        };
        Self {
            replica_lag: Duration::from_secs(10),
            outbox_age,
            pool_wait: Duration::from_millis(500),
            answer: Duration::from_secs(1),
        }
    }
}

/// Whether an instance may be given work.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Every check is passed.
    pub ready: bool,
    /// Each of them.
    pub checks: Vec<HealthCheck>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct HealthCheck {
    /// `database`, `migrations`, `pool`, `outbox` or `replica`.
    pub name: &'static str,
    /// Of which database, or which replica.
    pub of: String,
    /// Passed.
    pub ok: bool,
    /// What was found, for people.
    pub detail: String,
}

/// Looks after a [`Database`]. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    database: Database,
    limits: HealthLimits,
    /// For the checks, of each database.
    probes: Arc<[Probe; 3]>,
    /// For the levels, so that a slow one holds up no check.
    levels: Arc<Probe>,
    lag: Arc<LagWatch>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Health({:?}, {:?})", self.database, self.limits)
    }
}

const APPLIED: &str = "SELECT version FROM __diesel_schema_migrations";

/// How long the oldest message is due. By the index of what is open.
const OUTBOX_AGE: &str = "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(available_at)), 0) \
      FROM outbox_events WHERE published_at IS NULL AND dead_at IS NULL";

/// How many are open, and how many dead: an index each.
const OUTBOX: &str = "SELECT (SELECT count(*) FROM outbox_events WHERE published_at IS NULL AND dead_at IS NULL), \
      (SELECT count(*) FROM outbox_events WHERE dead_at IS NOT NULL)";

/// What the slowest share of each subscription has not seen; the nil UUID stands for all tenants.
const SUBSCRIPTIONS: &str = "SELECT name, max(greatest(0, head - position)) FROM ( \
        SELECT name, position, coalesce(CASE WHEN s.tenant_id = '00000000-0000-0000-0000-000000000000' \
               THEN (SELECT max(e.position) FROM events AS e) \
               ELSE (SELECT max(e.position) FROM events AS e WHERE e.tenant_id = s.tenant_id) END, 0) AS head \
          FROM event_subscriptions AS s) AS shares GROUP BY name";

impl Health {
    /// Begins to look after it. Where there are replicas, they are asked twice a second from now on.
    #[must_use]
    pub fn new(database: &Database, limits: HealthLimits) -> Self {
        Self {
            database: database.clone(),
            limits,
            probes: Arc::default(),
            levels: Arc::default(),
            lag: LagWatch::begin(database.clone(), limits.answer).into(),
        }
    }

    /// Asks about everything, side by side.
    pub async fn readiness(&self) -> Readiness {
        let databases = join_all(self.databases().map(|name| self.database_checks(name)));
        let (databases, pool, outbox) = join3(databases, self.pool_check(), self.outbox_check()).await;
        let mut checks: Vec<_> = databases.into_iter().flatten().collect();
        checks.push(pool);
        checks.push(outbox);
        checks.extend(self.lag.states().into_iter().map(|(name, state)| self.replica_check(name, &state)));
        Readiness { ready: checks.iter().all(|check| check.ok), checks }
    }

    /// Asks for the levels, and tells them with all that was counted, as Prometheus' text.
    pub async fn metrics(&self) -> String {
        let (up, ()) = join(self.ask(DatabaseName::Main, "SELECT 1"), self.read_levels()).await;
        let levels = &self.database.metrics.levels;
        levels.up.get_or_create(&OfDatabase { database: DatabaseName::Main.to_string() }).set(number(up.is_ok()));
        self.database.metrics.text()
    }

    fn databases(&self) -> impl Iterator<Item = DatabaseName> {
        self.database.config.databases.iter().copied()
    }

    async fn ask(&self, name: DatabaseName, sql: &str) -> Result<Vec<SimpleQueryRow>> {
        let config = match name {
            DatabaseName::Main => &*self.database.config,
            DatabaseName::Rfq => self.database.rfq.config(),
            DatabaseName::Marketdata => self.database.marketdata.config(),
        };
        self.probes[name as usize].ask(config.url(), sql, self.limits.answer).await
    }

    async fn level_rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>> {
        self.levels.ask(self.database.config.url(), sql, self.limits.answer).await
    }

    /// Whether it answers, and whether it has every migration that this program was built with. One that is beside
    /// `main` may be missing.
    async fn database_checks(&self, name: DatabaseName) -> Vec<HealthCheck> {
        let of = name.to_string();
        let applied = match self.ask(name, APPLIED).await {
            Ok(rows) => rows,
            Err(Error::NoDatabase { .. }) if name != DatabaseName::Main => return Vec::new(),
            Err(error) => return vec![HealthCheck { name: "database", of, ok: false, detail: error.to_string() }],
        };
        let applied: Vec<_> = applied.iter().filter_map(|row| row.get(0)).collect();
        let pending = Source::Embedded(name).read().map(|all| {
            let pending = all.iter().filter(|migration| !applied.contains(&migration.version.as_str()));
            pending.map(|migration| migration.name.clone()).collect::<Vec<_>>()
        });
        let (ok, detail) = match pending {
            Ok(pending) if pending.is_empty() => (true, format!("{} applied", applied.len())),
            Ok(pending) => (false, format!("{} pending, from {}: run `bedplate migrate`", pending.len(), pending[0])),
            Err(error) => (false, error.to_string()),
        };
        let answers = HealthCheck { name: "database", of: of.clone(), ok: true, detail: "answers".to_owned() };
        vec![answers, HealthCheck { name: "migrations", of, ok, detail }]
    }

    /// Whether a connection can be had: takes one for a moment.
    async fn pool_check(&self) -> HealthCheck {
        let trouble = self.database.pool.trouble(self.limits.pool_wait).await;
        let (ok, detail) = trouble.map_or((true, "has a connection".to_owned()), |trouble| (false, trouble));
        HealthCheck { name: "pool", of: DatabaseName::Main.to_string(), ok, detail }
    }

    async fn outbox_check(&self) -> HealthCheck {
        let (ok, detail) = match self.ask(DatabaseName::Main, OUTBOX_AGE).await {
            Ok(rows) => {
                let age = Duration::try_from_secs_f64(level(&rows, 0).max(0.0)).unwrap_or_default();
                (age <= self.limits.outbox_age, format!("the oldest message is due for {age:.1?}"))
            }
            Err(error) => (false, error.to_string()),
        };
        HealthCheck { name: "outbox", of: DatabaseName::Main.to_string(), ok, detail }
    }

    /// One that does not answer is no reason to take an instance out: its reads go to the primary. One that shows what
    /// is too old answers them.
    fn replica_check(&self, of: String, state: &ReplicaState) -> HealthCheck {
        let (ok, detail) = match state {
            ReplicaState::Unknown => (true, "not asked yet".to_owned()),
            ReplicaState::Down(error) => (true, format!("does not answer, the primary is read instead: {error}")),
            ReplicaState::Up { lag, behind } => {
                (*lag <= self.limits.replica_lag, format!("{lag:.1?} and {behind} bytes behind"))
            }
        };
        HealthCheck { name: "replica", of, ok, detail }
    }

    async fn read_levels(&self) {
        let levels = &self.database.metrics.levels;
        let pools = std::iter::once(("main".to_owned(), &self.database.pool))
            .chain(self.database.rfq.made_pool().map(|pool| ("rfq".to_owned(), pool)))
            .chain(self.database.marketdata.made_pool().map(|pool| ("marketdata".to_owned(), pool)))
            .chain(self.database.replicas.pools());
        for (pool, made) in pools {
            let state = made.state();
            let in_use = f64::from(state.connections - state.idle_connections);
            for (state, count) in [("idle", f64::from(state.idle_connections)), ("in_use", in_use)] {
                levels.connections.get_or_create(&Connections { pool: pool.clone(), state }).set(count);
            }
            levels.connections_max.get_or_create(&OfPool { pool }).set(f64::from(made.max_size()));
        }
        for (replica, state) in self.lag.states() {
            let of = OfReplica { replica };
            levels.replica_up.get_or_create(&of).set(number(matches!(state, ReplicaState::Up { .. })));
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and nobody counts the bytes")]
            let (lag, behind) = match state {
                ReplicaState::Up { lag, behind } => (lag.as_secs_f64(), behind as f64),
                ReplicaState::Unknown | ReplicaState::Down(_) => (f64::NAN, f64::NAN),
            };
            levels.replica_lag.get_or_create(&of).set(lag);
            levels.replica_behind.get_or_create(&of).set(behind);
        }
        // What cannot be had is no number, and not the last one.
        let unknown =
            |rows: &Result<Vec<SimpleQueryRow>>, column| rows.as_ref().map_or(f64::NAN, |rows| level(rows, column));
        let counted = self.level_rows(OUTBOX).await;
        levels.outbox_pending.set(unknown(&counted, 0));
        levels.outbox_dead.set(unknown(&counted, 1));
        // The next one may be due in a while.
        let age = self.level_rows(OUTBOX_AGE).await;
        levels.outbox_age.set(unknown(&age, 0).clamp(0.0, f64::INFINITY));
        levels.subscription_lag.clear();
        for row in self.level_rows(SUBSCRIPTIONS).await.unwrap_or_default() {
            let of = OfSubscription { subscription: row.get(0).unwrap_or_default().to_owned() };
            levels.subscription_lag.get_or_create(&of).set(level(std::slice::from_ref(&row), 1));
        }
    }
}

fn number(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// A number of the first row.
fn level(rows: &[SimpleQueryRow], column: usize) -> f64 {
    rows.first().and_then(|row| row.get(column)).and_then(|text| text.parse().ok()).unwrap_or_default()
}
