//! What is seen of a query: a span, and a line in the log where it is slow, with its plan where that is asked for.
//!
//! Always holds: no value that was bound is shown, in no span, no log and no plan.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;
use tracing::{Instrument as _, Span};

use super::config::{Config, SlowQueries};
use super::connect::{connect_plainly, words};
use super::metrics::{PoolMetrics, Shared};
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// So much of a query is shown.
const MAX_SQL: usize = 4_000;

/// A plan may take so long.
const PLAN_TIMEOUT: Duration = Duration::from_secs(10);

/// A query's plan is asked for once in this time.
const PLAN_AGAIN: Duration = Duration::from_mins(10);

/// What watches the connections of a pool.
pub(crate) struct Watch {
    pub(super) metrics: Shared,
    pub(super) pool: Arc<PoolMetrics>,
    slow: SlowQueries,
    url: DatabaseUrl,
    explained: Mutex<LruCache<String, Instant>>,
    explaining: Arc<Semaphore>,
}

/// Which transaction a connection is in, and what it does.
pub(super) struct Current {
    name: Arc<Mutex<&'static str>>,
    waiting: Arc<AtomicUsize>,
}

impl Current {
    pub(super) fn set(&self, name: &'static str) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// How many statements wait for their first row.
    pub(super) fn waiting(&self) -> Arc<AtomicUsize> {
        self.waiting.clone()
    }
}

impl Watch {
    /// `pool` is what metrics call it.
    pub(super) fn new(config: &Config, metrics: Shared, pool: &str) -> Arc<Self> {
        Arc::new(Self {
            pool: metrics.pool(pool).into(),
            metrics,
            slow: config.slow_queries,
            // A pooler's connections would keep what is prepared here.
            url: config.listen_url().clone(),
            explained: Mutex::new(LruCache::new(NonZeroUsize::MIN.saturating_add(255))),
            explaining: Arc::new(Semaphore::new(1)),
        })
    }

    pub(super) fn connection(self: &Arc<Self>, connection: &mut AsyncPgConnection) -> Current {
        let name = Arc::new(Mutex::new("none"));
        let waiting = Arc::new(AtomicUsize::new(0));
        connection.set_instrumentation(Queries {
            watch: self.clone(),
            transaction: name.clone(),
            running: VecDeque::new(),
            waiting: waiting.clone(),
        });
        Current { name, waiting }
    }

    fn slow(&self, transaction: &'static str, sql: &str, took: Duration) {
        self.metrics.slow_query(transaction);
        let cut: String = sql.chars().take(MAX_SQL).collect();
        let Some(turn) = self.turn_to_explain(sql) else {
            tracing::warn!(target: "bedplate::slow_query", transaction, ?took, sql = cut, "slow query");
            return;
        };
        let (url, sql) = (self.url.clone(), sql.to_owned());
        let explained = async move {
            let planned = timeout(PLAN_TIMEOUT, plan(&url, &sql)).await;
            drop(turn);
            let plan = match planned {
                Ok(Ok(plan)) => plan,
                Ok(Err(error)) => format!("not to be had: {error}"),
                Err(_) => "not to be had in time".to_owned(),
            };
            tracing::warn!(target: "bedplate::slow_query", transaction, ?took, sql = cut, plan, "slow query");
        };
        tokio::spawn(explained.in_current_span());
    }

    /// One plan at a time, and none where several statements were sent as one text.
    fn turn_to_explain(&self, sql: &str) -> Option<OwnedSemaphorePermit> {
        let verb = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if !self.slow.plan || !["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&verb.as_str()) {
            return None;
        }
        let turn = self.explaining.clone().try_acquire_owned().ok()?;
        let mut explained = self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        if explained.get(sql).is_some_and(|at| at.elapsed() < PLAN_AGAIN) {
            return None;
        }
        explained.put(sql.to_owned(), Instant::now());
        Some(turn)
    }
}

/// The queries of one connection. Their answers come in the order in which they were sent.
struct Queries {
    watch: Arc<Watch>,
    transaction: Arc<Mutex<&'static str>>,
    running: VecDeque<(Instant, Span)>,
    waiting: Arc<AtomicUsize>,
}

impl Instrumentation for Queries {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        self.note(&event);
        self.waiting.store(self.running.len(), Ordering::Relaxed);
    }
}

impl Queries {
    fn note(&mut self, event: &InstrumentationEvent<'_>) {
        match event {
            // Its text has the bound values in it, that of the end has not.
            InstrumentationEvent::StartQuery { .. } => {
                let span = tracing::debug_span!(target: "bedplate::query", "query", otel.kind = "client", sql = tracing::field::Empty);
                self.running.push_back((Instant::now(), span));
            }
            InstrumentationEvent::FinishQuery { query, .. } => {
                let Some((begun, span)) = self.running.pop_front() else { return };
                let took = begun.elapsed();
                let slow = took >= self.watch.slow.threshold;
                if span.is_disabled() && !slow {
                    return;
                }
                let sql = shown(query.to_string());
                span.record("sql", &sql);
                if slow {
                    let transaction = *self.transaction.lock().unwrap_or_else(PoisonError::into_inner);
                    self.watch.slow(transaction, &sql, took);
                }
            }
            // Of queries whose futures were dropped nothing is heard any more.
            InstrumentationEvent::BeginTransaction { .. } => self.running.clear(),
            _ => {}
        }
    }
}

/// The begin of a transaction has the user and their address in it, as literals.
fn shown(sql: String) -> String {
    if sql.starts_with("BEGIN") { "BEGIN".to_owned() } else { sql }
}

/// The plan for any values: as PostgreSQL would make it for a prepared statement that it does not plan anew each time
/// (<https://www.postgresql.org/docs/15/sql-prepare.html#id-1.9.3.160.6>). It is not run.
async fn plan(url: &DatabaseUrl, sql: &str) -> Result<String> {
    let said = |error: tokio_postgres::Error| Error::Unavailable { message: words(&error) };
    let (client, connection) = connect_plainly(url).await?;
    tokio::spawn(connection);
    let name = format!("slow_{:016x}", rand::random::<u64>());
    let mut last = Error::Unavailable { message: "no role may run it".to_owned() };
    for role in ["bedplate_app", "bedplate_system", "bedplate_session"] {
        let begin = format!(
            "BEGIN READ ONLY; SET LOCAL ROLE {role}; SET LOCAL statement_timeout = 5000; SET LOCAL lock_timeout = 1000; \
             SET LOCAL app.tenant_id = '{}'; SET LOCAL plan_cache_mode = force_generic_plan",
            uuid::Uuid::nil()
        );
        let explained = async {
            client.batch_execute(&begin).await?;
            // Where it is several statements, or none that can be prepared, this is an error, and nothing else is sent.
            let parameters = client.prepare(sql).await?.params().len();
            let nulls = vec!["NULL"; parameters].join(", ");
            let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
            client.batch_execute(&format!("PREPARE {name} AS {sql}")).await?;
            let rows = client.simple_query(&format!("EXPLAIN EXECUTE {name} {arguments}; DEALLOCATE {name}")).await?;
            let lines = rows.iter().filter_map(|row| match row {
                SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            Ok(lines.collect::<Vec<_>>().join("\n"))
        };
        match explained.await {
            Ok(plan) => return Ok(plan),
            Err(error) => last = said(error),
        }
        client.batch_execute("ROLLBACK").await.map_err(said)?;
    }
    Err(last)
}
