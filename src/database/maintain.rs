//! What is to be done from time to time, best every day, in each database: months of the audit log and days of
//! prices made ahead and dropped when they are old; sessions that are over, and what is old of idempotency keys,
//! published messages and marks of consumers, deleted.
//!
//! Always holds: it may run any number of times, also side by side, and while everything else runs.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use diesel::sql_types::{Integer, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use serde::Serialize;

use super::Database;
use super::config::Config;
use super::connect::connect;
use super::handles::RfqDatabase;
use super::metrics::Shared;
use super::name::DatabaseName;
use super::seed;
use super::url::DatabaseUrl;
use crate::error::{Error, Result, WaitedFor};

/// How many sessions one statement deletes.
const BATCH: u32 = 1000;

/// How many messages, marks or revoked ids one transaction deletes.
const MESSAGES: u16 = 5000;

/// How often a lock is tried for again.
const ATTEMPTS: usize = 5;

/// What to keep.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Months of the audit log that are made ahead of the present one.
    pub audit_months_ahead: u16,
    /// Months of the audit log before the present one that are kept; `None`: all.
    pub audit_months: Option<u16>,
    /// Days that the ids of revoked sessions are kept: no request of before is at work then.
    pub revoked_session_days: u16,
    /// Days that idempotency keys are kept.
    pub idempotency_days: u16,
    /// Days that messages of the outbox are kept after they were published.
    pub outbox_days: u16,
    /// Days that the marks of consumers are kept: what is delivered again later has its effect again.
    pub processed_days: u16,
    /// Days of prices that are made ahead of the present one.
    pub price_days_ahead: u16,
    /// Days of prices before the present one that are kept; `None`: all.
    pub price_days: Option<u16>,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            audit_months_ahead: 3,
            audit_months: None,
            revoked_session_days: 2,
            idempotency_days: 7,
            outbox_days: 7,
            processed_days: 30,
            price_days_ahead: 3,
            price_days: None,
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Maintained {
    /// Partitions of the audit log, or of prices, that were made.
    pub partitions_created: Vec<String>,
    /// Partitions that were dropped, with their rows.
    pub partitions_dropped: Vec<String>,
    /// Sessions that were over.
    pub sessions_pruned: usize,
    /// Ids of sessions that were revoked long ago.
    pub revoked_sessions_pruned: usize,
    /// Idempotency keys that were old.
    pub idempotency_keys_pruned: usize,
    /// Messages of the outbox that were published long ago, and dead letters of tenants that are gone.
    pub outbox_events_pruned: usize,
    /// Marks of consumers that were old.
    pub processed_events_pruned: usize,
}

/// Tables of which old rows are deleted.
const PRUNED: [&str; 4] =
    ["public.sessions", "public.idempotency_keys", "public.outbox_events", "public.processed_events"];

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Does what is to be done in the database `main`, with the owner's login for the partitions and the application's
/// for the rest. `step` is told what begins.
///
/// # Errors
/// [`Error::Timeout`] where a lock is not got in several attempts: none waits for longer than two seconds,
/// because whoever comes after would wait too. Those of [`connect`].
pub async fn run(config: &Config, keep: Keep, mut step: impl FnMut(&str)) -> Result<Maintained> {
    let mut done = Maintained::default();
    audit_log(&config.owner_url, keep, &mut done, &mut step).await?;
    let database = Database::connect(config.clone()).await?;
    step("sessions that are over");
    loop {
        let pruned = database.session_tx("maintain.sessions", async |tx| tx.sessions().prune(BATCH).await).await?;
        done.sessions_pruned += pruned;
        if pruned < BATCH as usize {
            break;
        }
    }
    step("old ids of revoked sessions");
    let days = keep.revoked_session_days;
    done.revoked_sessions_pruned = in_batches(|| {
        database.session_tx("maintain.revoked_sessions", async move |tx| {
            tx.sessions().prune_revoked(days, MESSAGES.into()).await
        })
    })
    .await?;
    step("old idempotency keys");
    let days = keep.idempotency_days;
    done.idempotency_keys_pruned =
        database.system_tx("maintain.idempotency_keys", async move |tx| tx.prune_idempotency_keys(days).await).await?;
    let (days, marks) = (keep.outbox_days, keep.processed_days);
    step("published messages");
    done.outbox_events_pruned = in_batches(|| {
        database.system_tx("maintain.outbox", async move |tx| tx.outbox_queue().prune(days, MESSAGES).await)
    })
    .await?;
    done.outbox_events_pruned += in_batches(|| {
        database.system_tx("maintain.outbox", async move |tx| tx.outbox_queue().prune_orphans(days, MESSAGES).await)
    })
    .await?;
    step("old marks of consumers");
    done.processed_events_pruned = in_batches(|| {
        database.system_tx("maintain.processed", async move |tx| tx.prune_processed_events(marks, MESSAGES).await)
    })
    .await?;
    Ok(done)
}

/// Until a batch is not full: a transaction each.
async fn in_batches<Fut: Future<Output = Result<usize>>>(batch: impl Fn() -> Fut) -> Result<usize> {
    let mut all = 0;
    loop {
        let some = batch().await?;
        all += some;
        if some < usize::from(MESSAGES) {
            return Ok(all);
        }
    }
}

/// Does what is to be done in the database `rfq` beside `main`, whose configuration is given: its audit log, its
/// messages and marks.
///
/// # Errors
/// As for [`run`].
pub async fn run_rfq(main: &Config, keep: Keep, mut step: impl FnMut(&str)) -> Result<Maintained> {
    let mut done = Maintained::default();
    audit_log(&main.for_database(DatabaseName::Rfq)?.owner_url, keep, &mut done, &mut step).await?;
    let (database, days, marks) = (RfqDatabase::new(main, &Shared::default())?, keep.outbox_days, keep.processed_days);
    step("published messages");
    done.outbox_events_pruned = in_batches(|| {
        database.system_tx("maintain.outbox", async move |tx| tx.outbox_queue().prune(days, MESSAGES).await)
    })
    .await?;
    step("old marks of consumers");
    done.processed_events_pruned = in_batches(|| {
        database.system_tx("maintain.processed", async move |tx| tx.prune_processed_events(marks, MESSAGES).await)
    })
    .await?;
    Ok(done)
}

/// Does what is to be done in the database `marketdata` beside `main`, whose configuration is given: the prices.
///
/// # Errors
/// As for [`run`].
pub async fn run_marketdata(main: &Config, keep: Keep, mut step: impl FnMut(&str)) -> Result<Maintained> {
    let mut done = Maintained::default();
    let mut owner = owner(&main.for_database(DatabaseName::Marketdata)?.owner_url).await?;
    let ahead = i32::from(keep.price_days_ahead);
    for day in days(&mut owner, PRICE_DAYS, ahead).await? {
        step(&format!("partition of prices for {day}"));
        let create = "SELECT 'price_ticks_' || to_char($1::date, 'YYYY_MM_DD') AS name \
                       WHERE create_price_tick_partition($1::date)";
        done.partitions_created.append(&mut patiently(&mut owner, create, &day).await?);
    }
    if let Some(days) = keep.price_days {
        step("old days of prices");
        let drop = "SELECT drop_price_tick_partitions((now() AT TIME ZONE 'UTC')::date - $1::int) AS name";
        done.partitions_dropped = patiently(&mut owner, drop, &days.to_string()).await?;
    }
    Ok(done)
}

/// Locks are waited for shortly: whoever comes after waits too.
async fn owner(url: &DatabaseUrl) -> Result<AsyncPgConnection> {
    let mut owner = connect(url).await?;
    owner.batch_execute("SET lock_timeout = '2s'").await?;
    Ok(owner)
}

async fn audit_log(url: &DatabaseUrl, keep: Keep, done: &mut Maintained, step: &mut impl FnMut(&str)) -> Result<()> {
    let mut owner = owner(url).await?;
    seed::let_go(&mut owner, &PRUNED).await?;
    for month in days(&mut owner, AUDIT_MONTHS, i32::from(keep.audit_months_ahead)).await? {
        step(&format!("partition of the audit log for {}", &month[..7]));
        let create =
            "SELECT 'audit_log_' || to_char($1::date, 'YYYY_MM') AS name WHERE create_audit_partition($1::date)";
        done.partitions_created.append(&mut patiently(&mut owner, create, &month).await?);
    }
    if let Some(months) = keep.audit_months {
        step("old months of the audit log");
        let drop = "SELECT drop_audit_partitions((date_trunc('month', now() AT TIME ZONE 'UTC') \
                                                  - make_interval(months => $1::int))::date) AS name";
        done.partitions_dropped = patiently(&mut owner, drop, &months.to_string()).await?;
    }
    Ok(())
}

/// The names that a statement answers with, after as many attempts as it takes to get its locks.
async fn patiently(owner: &mut AsyncPgConnection, sql: &str, parameter: &str) -> Result<Vec<String>> {
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_times(ATTEMPTS)
        .with_jitter()
        .build();
    loop {
        let names: Result<Vec<Name>, _> = sql_query(sql).bind::<Text, _>(parameter).load(owner).await;
        match names.map_err(Error::from) {
            Ok(names) => return Ok(names.into_iter().map(|row| row.name).collect()),
            Err(error) => {
                let waited = matches!(error, Error::Timeout { waited_for: WaitedFor::Lock } | Error::Contention { .. });
                let Some(pause) = pauses.next().filter(|_| waited) else { return Err(error) };
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// The first day of each month from the present one on, and of those that the default partition caught entries of.
const AUDIT_MONTHS: &str = "SELECT to_char(month, 'YYYY-MM-DD') AS name FROM ( \
         SELECT date_trunc('month', now()) + n * interval '1 month' FROM generate_series(0, $1) AS n \
         UNION SELECT date_trunc('month', created_at) FROM audit_log \
                WHERE tableoid = 'audit_log_default'::regclass) AS months (month) ORDER BY month";

/// Each day from the present one on, and those that the default partition caught prices of.
const PRICE_DAYS: &str = "SELECT to_char(day, 'YYYY-MM-DD') AS name FROM ( \
         SELECT date_trunc('day', now()) + n * interval '1 day' FROM generate_series(0, $1) AS n \
         UNION SELECT date_trunc('day', ts) FROM price_ticks \
                WHERE tableoid = 'price_ticks_default'::regclass) AS days (day) ORDER BY day";

/// Asked as `bedplate_system`: the owner sees no entry of an audit log.
async fn days(owner: &mut AsyncPgConnection, sql: &str, ahead: i32) -> Result<Vec<String>> {
    let days: Vec<Name> = owner
        .transaction::<_, Error, _>(async |owner| {
            owner.batch_execute("SET LOCAL ROLE bedplate_system; SET LOCAL TimeZone = 'UTC'").await?;
            Ok(sql_query(sql).bind::<Integer, _>(ahead).load(owner).await?)
        })
        .await?;
    Ok(days.into_iter().map(|row| row.name).collect())
}
