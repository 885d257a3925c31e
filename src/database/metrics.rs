//! What is counted: connections, transactions, slow queries, and how the outbox, the subscriptions and the replicas
//! stand. In Prometheus' text format, by the project's own crate.
//!
//! Always holds: a label is a name out of the code or the configuration: a transaction's, a pool's, a subscription's.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::error::Fault;

/// A gauge of seconds, bytes or messages.
pub(crate) type Level = Gauge<f64, AtomicU64>;

/// Everything that is counted for one [`Database`](super::Database) and its clones.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pools: Pools,
    transactions: Family<Transaction, Histogram>,
    retries: Family<Retry, Counter>,
    slow_queries: Family<OfTransaction, Counter>,
    pub(crate) levels: Levels,
}

#[derive(Debug)]
struct Pools {
    waiting: Family<OfPool, Gauge>,
    wait: Family<OfPool, Histogram>,
    hold: Family<OfPool, Histogram>,
}

/// What is asked for when metrics are read.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    pub(crate) up: Family<OfDatabase, Level>,
    pub(crate) connections: Family<Connections, Level>,
    pub(crate) connections_max: Family<OfPool, Level>,
    pub(crate) outbox_pending: Level,
    pub(crate) outbox_dead: Level,
    pub(crate) outbox_age: Level,
    pub(crate) subscription_lag: Family<OfSubscription, Level>,
    pub(crate) replica_up: Family<OfReplica, Level>,
    pub(crate) replica_lag: Family<OfReplica, Level>,
    pub(crate) replica_behind: Family<OfReplica, Level>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfDatabase {
    pub(crate) database: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfPool {
    pub(crate) pool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Connections {
    pub(crate) pool: String,
    pub(crate) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfReplica {
    pub(crate) replica: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfSubscription {
    pub(crate) subscription: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transaction {
    name: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Retry {
    name: &'static str,
    fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTransaction {
    name: &'static str,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Committed,
    RolledBack,
    CommitUnknown,
    /// Its future was dropped.
    Dropped,
}

/// From a point read to a timeout.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bedplate");
        let pools = Pools {
            waiting: Family::default(),
            wait: Family::new_with_constructor(histogram),
            hold: Family::new_with_constructor(histogram),
        };
        let transactions = Family::<_, Histogram>::new_with_constructor(histogram);
        let (retries, slow_queries, levels) = (Family::default(), Family::default(), Levels::default());
        let seconds = || Unit::Seconds;
        registry.register("up", "Whether the database answers", levels.up.clone());
        registry.register("pool_connections", "Connections of the pool, by state", levels.connections.clone());
        registry.register("pool_connections_max", "Connections that the pool may have", levels.connections_max.clone());
        registry.register("pool_waiting", "Who waits for a connection of the pool", pools.waiting.clone());
        registry.register_with_unit("pool_wait", "Wait for a connection of the pool", seconds(), pools.wait.clone());
        registry.register_with_unit("pool_hold", "Connections in somebody's hands", seconds(), pools.hold.clone());
        let help = "Transactions by their names, with all their attempts and the wait for a connection";
        registry.register_with_unit("transaction", help, seconds(), transactions.clone());
        registry.register("transaction_retries", "Transactions that were run again", retries.clone());
        registry.register("slow_queries", "Queries above the threshold of the slow-query log", slow_queries.clone());
        registry.register("outbox_pending", "Messages neither published nor dead", levels.outbox_pending.clone());
        registry.register("outbox_dead", "Messages given up", levels.outbox_dead.clone());
        let help = "For how long the oldest message is due";
        registry.register_with_unit("outbox_oldest_due", help, seconds(), levels.outbox_age.clone());
        let help = "Events that a subscription has not seen, at most";
        registry.register("subscription_lag_events", help, levels.subscription_lag.clone());
        registry.register("replica_up", "Whether the replica answers", levels.replica_up.clone());
        registry.register_with_unit(
            "replica_lag",
            "Age of what a replica shows",
            seconds(),
            levels.replica_lag.clone(),
        );
        let help = "Log that a replica has not replayed";
        registry.register_with_unit("replica_behind", help, Unit::Bytes, levels.replica_behind.clone());
        Self { registry, pools, transactions, retries, slow_queries, levels }
    }
}

impl Metrics {
    /// All of it, as text: `application/openmetrics-text; version=1.0.0`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(super) fn pool(&self, name: &str) -> PoolMetrics {
        let label = OfPool { pool: name.to_owned() };
        PoolMetrics {
            waiting: self.pools.waiting.get_or_create_owned(&label),
            wait: self.pools.wait.get_or_create_owned(&label),
            hold: self.pools.hold.get_or_create_owned(&label),
        }
    }

    pub(super) fn transaction(&self, name: &'static str, outcome: Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Committed => "committed",
            Outcome::RolledBack => "rolled_back",
            Outcome::CommitUnknown => "commit_unknown",
            Outcome::Dropped => "dropped",
        };
        self.transactions.get_or_create(&Transaction { name, outcome }).observe(took.as_secs_f64());
    }

    pub(super) fn retried(&self, name: &'static str, fault: Option<Fault>) {
        let fault = fault.map_or("other", Fault::as_str);
        self.retries.get_or_create(&Retry { name, fault }).inc();
    }

    pub(super) fn slow_query(&self, name: &'static str) {
        self.slow_queries.get_or_create(&OfTransaction { name }).inc();
    }
}

/// Those of one pool.
pub(super) struct PoolMetrics {
    waiting: Gauge,
    wait: Histogram,
    hold: Histogram,
}

impl PoolMetrics {
    /// Counts who waits until it is dropped.
    pub(super) fn waits(&self) -> Waiting<'_> {
        self.waiting.inc();
        Waiting(&self.waiting)
    }

    pub(super) fn waited(&self, time: Duration) {
        self.wait.observe(time.as_secs_f64());
    }

    pub(super) fn held(&self, time: Duration) {
        self.hold.observe(time.as_secs_f64());
    }
}

pub(super) struct Waiting<'a>(&'a Gauge);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Shared by the pools of a database.
pub(super) type Shared = Arc<Metrics>;
