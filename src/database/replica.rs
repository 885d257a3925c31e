//! Reads from standbys, for whoever asks for it: what is read may be older than what was written.
//!
//! ```text
//! write ──▶ primary ──log──▶ replica
//!   └─ wal_position() ─▶ replica().after(position) ── waits for the replica, then reads the primary instead
//! ```
//! Always holds: after a position, a read sees everything that was committed when the position was asked for; a read
//! that no replica can serve is served by the primary.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio::sync::{OnceCell, Semaphore};

use super::Database;
use super::config::Config;
use super::instrument::Watch;
use super::metrics::Shared;
use super::pool::Pool;
use super::tenant::{AllTenants, Begin, Scope, SystemTx, TenantContext, TenantTx, Tx};
use super::transaction;
use super::url::DatabaseUrl;
use crate::error::{Error, Fault, Result, WaitedFor};

/// A replica that failed is left alone for so long.
const LEAVE_ALONE: Duration = Duration::from_secs(1);

/// A replica that has not begun a transaction by then is read another time.
const BEGIN_WITHIN: Duration = Duration::from_millis(500);

/// A longer wait for a replica is cut: a moment that far ahead may not be representable.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// How often a replica that is behind is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// A place in the primary's log, from [`Database::wal_position`]: what was committed before is below it. Its text
/// (`0/3000148`) can go with a session or a message to where the next read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalPosition(u64);

impl WalPosition {
    /// How many bytes of the log are between an earlier position and this one; 0 where it is not earlier.
    #[must_use]
    pub fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl FromStr for WalPosition {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for what is no position.
    fn from_str(text: &str) -> Result<Self> {
        let part = |part: &str| u32::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+')).map(u64::from);
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(part(high)? << 32 | part(low)?)))
            .ok_or_else(|| Error::invalid("position", "is not of the form 0/3000148"))
    }
}

impl fmt::Display for WalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// The replicas of a database, which are read in turn.
#[derive(Clone)]
pub(super) struct Replicas {
    all: Arc<[Replica]>,
    next: Arc<AtomicUsize>,
}

/// One of them. Its pool is made when it is first read.
pub(super) struct Replica {
    /// Host and port: what metrics call it.
    name: String,
    config: Arc<Config>,
    watch: Arc<Watch>,
    pool: Arc<OnceCell<Pool>>,
    /// Of whoever makes the pool.
    making: Arc<Semaphore>,
    alone_until: Mutex<Option<Instant>>,
}

impl Replicas {
    pub(super) fn new(config: &Config, metrics: &Shared) -> Self {
        let all = config.replicas.iter().map(|url| Replica::new(config, url, metrics)).collect();
        Self { all, next: Arc::default() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.all.iter()
    }

    /// Those that were read already, with their names.
    pub(super) fn pools(&self) -> impl Iterator<Item = (String, &Pool)> {
        self.all.iter().filter_map(|replica| Some((format!("replica {}", replica.name), replica.pool.get()?)))
    }

    /// The next one in turn that has not just failed.
    fn pick(&self) -> Option<&Replica> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.all.len()).map(|n| &self.all[(first + n) % self.all.len()]).find(|replica| !replica.is_left_alone())
    }
}

impl Replica {
    fn new(main: &Config, url: &DatabaseUrl, metrics: &Shared) -> Self {
        let mut config = main.clone();
        config.app_url = Some(url.clone().for_reading());
        // The primary is there for whoever waits too long, or for what fails.
        config.pool.wait = BEGIN_WITHIN;
        config.retry_budget = Duration::ZERO;
        let name = url.hosts();
        let watch = Watch::new(&config, metrics.clone(), &format!("replica {name}"));
        Self {
            name,
            config: config.into(),
            watch,
            pool: Arc::default(),
            making: Semaphore::new(1).into(),
            alone_until: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn url(&self) -> &DatabaseUrl {
        self.config.url()
    }

    /// Made in the background, by the first that asks: the others read the primary meanwhile, and so does the first when
    /// it takes too long.
    async fn pool(&self) -> Result<&Pool> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let Ok(turn) = self.making.clone().try_acquire_owned() else {
            return Err(Error::Timeout { waited_for: WaitedFor::Replica });
        };
        let (pool, config, watch) = (self.pool.clone(), self.config.clone(), self.watch.clone());
        let making = tokio::spawn(async move {
            let made = pool.get_or_try_init(|| Pool::connect(&config, watch)).await.map(|_| ());
            drop(turn);
            made
        });
        match tokio::time::timeout(BEGIN_WITHIN, making).await {
            Ok(Ok(made)) => made?,
            Ok(Err(_)) | Err(_) => return Err(no_answer()),
        }
        self.pool.get().ok_or_else(no_answer)
    }

    fn is_left_alone(&self) -> bool {
        let until = *self.alone_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn leave_alone(&self) {
        *self.alone_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + LEAVE_ALONE);
    }

    /// A replica that hangs is given up when it should have begun: what it does then takes as long as it takes.
    async fn read<S, T, F, Fut>(&self, begin: &Begin, scope: &S, wait: &Wait, work: F) -> Result<T>
    where
        S: Scope,
        F: FnOnce(Tx<S>) -> Fut + Clone,
        Fut: Future<Output = Result<T>>,
    {
        let pool = self.pool().await?;
        let (at_work, reached) = (&AtomicBool::new(false), &AtomicBool::new(false));
        let reading = transaction::run(pool, begin, scope, move |tx: Tx<S>| async move {
            at_work.store(true, Ordering::Relaxed);
            wait.until_reached(tx.connection()).await?;
            reached.store(true, Ordering::Relaxed);
            work(tx).await
        });
        let hangs = async {
            for (at_most, done) in [(BEGIN_WITHIN, at_work), (wait.at_most + BEGIN_WITHIN, reached)] {
                tokio::time::sleep(at_most).await;
                if !done.load(Ordering::Relaxed) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            read = reading => read,
            () = hangs => Err(no_answer()),
        }
    }
}

fn no_answer() -> Error {
    Error::Unavailable { message: "the replica does not answer in time".to_owned() }
}

/// NULL on a primary.
pub(super) const REPLAYED: &str = "SELECT coalesce(pg_last_wal_replay_lsn()::text, '') AS position";

/// On disk: what is inserted and not flushed may be lost.
pub(super) const FLUSHED: &str = "SELECT pg_current_wal_flush_lsn()::text AS position";

#[derive(QueryableByName)]
struct Reached {
    #[diesel(sql_type = Text)]
    position: String,
}

/// What a read waits for.
struct Wait {
    after: Option<WalPosition>,
    at_most: Duration,
}

impl Wait {
    /// Each statement of the transaction sees what was replayed when it begins: it is READ COMMITTED. One that has
    /// become a primary has a log of its own, in which the position may be another: it is not waited for.
    async fn until_reached(&self, connection: &AsyncPgConnection) -> Result<()> {
        let Some(after) = self.after else { return Ok(()) };
        let until = Instant::now() + self.at_most.min(LONGEST_WAIT);
        loop {
            let reached: Reached = sql_query(REPLAYED).get_result(&mut &*connection).await?;
            let position = reached.position.parse::<WalPosition>();
            if position.as_ref().is_ok_and(|position| *position >= after) {
                return Ok(());
            }
            if position.is_err() || Instant::now() + ASK_AGAIN > until {
                return Err(Error::Timeout { waited_for: WaitedFor::Replica });
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// Reads that may go to a replica, from [`Database::replica`].
pub struct ReplicaReads<'d> {
    database: &'d Database,
    wait: Wait,
}

impl fmt::Debug for ReplicaReads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplicaReads(after {:?})", self.wait.after)
    }
}

impl ReplicaReads<'_> {
    /// Reads see everything that was committed when the position was asked for.
    #[must_use]
    pub fn after(mut self, position: WalPosition) -> Self {
        self.wait.after = Some(position);
        self
    }

    /// Waits so long for a replica that is behind, instead of [`Config::replica_wait`](super::Config::replica_wait).
    #[must_use]
    pub fn wait_at_most(mut self, time: Duration) -> Self {
        self.wait.at_most = time;
        self
    }

    /// Runs `work` in a read-only transaction that sees the rows of one tenant: on a replica, or on the primary where
    /// there is none, none answers, or none has come far enough in time.
    ///
    /// What [`Database::tenant_tx`] says of the closure holds here too: **it may run more than once**, also on the
    /// replica first and then on the primary.
    ///
    /// # Errors
    /// Whatever the closure returns; [`Error::ReadOnly`] where it writes.
    pub async fn tenant_read<T, F, Fut>(self, name: &'static str, context: &TenantContext, work: F) -> Result<T>
    where
        T: Send,
        F: FnOnce(TenantTx) -> Fut + Clone + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        self.read(name, context, work).await
    }

    /// The same for one that sees every tenant.
    ///
    /// # Errors
    /// As there.
    pub async fn system_read<T, F, Fut>(self, name: &'static str, work: F) -> Result<T>
    where
        T: Send,
        F: FnOnce(SystemTx) -> Fut + Clone + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        self.read(name, &AllTenants, work).await
    }

    async fn read<S, T, F, Fut>(&self, name: &'static str, scope: &S, work: F) -> Result<T>
    where
        S: Scope,
        F: FnOnce(Tx<S>) -> Fut + Clone,
        Fut: Future<Output = Result<T>>,
    {
        let begin = Begin::read_only(name, scope, self.database.config.timeouts);
        if let Some(replica) = self.database.replicas.pick() {
            match replica.read(&begin, scope, &self.wait, work.clone()).await {
                Err(error) if is_of_the_replica(&error) => {
                    let is_behind = matches!(error, Error::Timeout { waited_for: WaitedFor::Replica });
                    if matches!(error, Error::Configuration { .. } | Error::NoDatabase { .. }) {
                        tracing::warn!(replica = replica.name, %error, "the primary is read instead");
                    } else {
                        tracing::debug!(replica = replica.name, %error, "the primary is read instead");
                    }
                    let is_busy = error.fault() == Some(Fault::PoolExhausted);
                    if !is_behind && !is_busy && !matches!(error, Error::Contention { .. } | Error::Database(_)) {
                        replica.leave_alone();
                    }
                }
                done => return done,
            }
        }
        transaction::run(&self.database.pool, &begin, scope, work).await
    }
}

/// Whether the primary may do better. A standby also cancels queries that are in the way of what it replays, as a
/// serialization failure (<https://www.postgresql.org/docs/15/hot-standby.html#HOT-STANDBY-CONFLICT>), and does not
/// know the table or the column that a migration has just made.
fn is_of_the_replica(error: &Error) -> bool {
    let configured = matches!(error, Error::Configuration { .. } | Error::NoDatabase { .. } | Error::Database(_));
    let late = matches!(error, Error::Timeout { waited_for: WaitedFor::Replica });
    let fault = error.fault().is_some_and(|fault| {
        matches!(fault, Fault::PoolExhausted) || (fault.is_transient() && fault != Fault::ReadOnly)
    });
    configured || late || fault
}

impl Database {
    /// Reads that may go to a replica: `db.replica().after(position).tenant_read(…)`. What they see is as old as the
    /// replica is behind, unless they are given a position.
    #[must_use]
    pub fn replica(&self) -> ReplicaReads<'_> {
        ReplicaReads { database: self, wait: Wait { after: None, at_most: self.config.replica_wait } }
    }

    /// How far the primary's log is on disk: everything that was acknowledged before this call is below it, except
    /// what was committed with `synchronous_commit = off`.
    ///
    /// # Errors
    /// Those of [`Database::system_tx`].
    pub async fn wal_position(&self) -> Result<WalPosition> {
        self.system_tx("wal.position", async |tx| {
            let reached: Reached = sql_query(FLUSHED).get_result(&mut tx.connection()).await?;
            reached.position.parse()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_position_is_read_and_written_as_postgresql_has_it() {
        let position: WalPosition = "16/B374D848".parse().unwrap();
        assert_eq!(position.to_string(), "16/B374D848");
        assert!(position > "15/FFFFFFFF".parse().unwrap());
        assert_eq!(position.bytes_since("16/B374D840".parse().unwrap()), 8);
    }

    #[rstest]
    #[case("")]
    #[case("0")]
    #[case("0/")]
    #[case("0/1/2")]
    #[case("+0/1")]
    #[case("0/100000000")]
    #[case("g/1")]
    fn what_is_no_position_is_refused(#[case] text: &str) {
        assert!(text.parse::<WalPosition>().is_err());
    }
}
