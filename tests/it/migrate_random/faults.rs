//! What happens around a runner: it is killed, its connections are cut, somebody locks what it needs.

use std::time::{Duration, Instant};

use bedplate::DatabaseUrl;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::process::Child;

use super::generate::{Proof, Random};
use super::runner::Runner;
use crate::support::{connection, execute, number};

/// How the harness's own sessions are told from the runner's.
pub const HARNESS: &str = "SET application_name = 'harness'";

const OTHERS: &str =
    "datname = current_database() AND backend_type = 'client backend' AND application_name <> 'harness'";

/// When.
#[derive(Debug, Clone)]
enum Moment {
    /// A lock: before the runner starts. Anything else: at once.
    Before,
    /// So many microseconds after the start; nothing can be observed there.
    After(u64),
    /// When the ledger has so many rows.
    Rows(usize),
    /// When the server works on a text that begins so.
    Statement(String),
    /// When the runner writes its history.
    History,
}

/// What.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// SIGKILL.
    Kill,
    /// Each session of the runner, or the one that works.
    Cut { all: bool },
    /// A lock for a while; `kill`: the runner is killed while it waits.
    Lock { sql: &'static str, hold_ms: u64, kill: bool },
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Fault {
    moment: Moment,
    act: Act,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Struck {
    /// The runner ended before.
    Nothing,
    Killed,
    Cut,
    Locked,
}

/// Tables that the runner wants, and rows. The history is locked most often.
const LOCKS: [&str; 10] = [
    "LOCK TABLE public.__bedplate_migrations IN SHARE MODE",
    "LOCK TABLE public.__bedplate_migrations IN SHARE MODE",
    "LOCK TABLE public.__bedplate_migrations IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE public.__diesel_schema_migrations IN SHARE MODE",
    "LOCK TABLE public.__diesel_schema_migrations IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE public.ledger IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE public.ledger IN SHARE MODE",
    "LOCK TABLE public.base IN ACCESS SHARE MODE",
    "LOCK TABLE public.parts, public.guarded IN ACCESS EXCLUSIVE MODE",
    "SELECT FROM public.base WHERE id = 7 FOR UPDATE",
];

impl Fault {
    pub fn random(random: &mut StdRng, migrations: &[Random]) -> Self {
        let steps: Vec<_> = migrations.iter().flat_map(|migration| &migration.steps).collect();
        let noted = steps.iter().filter(|step| matches!(step.proof, Proof::Ledger(_))).count();
        let moment = match random.random_range(0..10) {
            0 | 1 => Moment::After(random.random_range(5_000..150_000)),
            2 => Moment::History,
            3 | 4 => Moment::Rows(random.random_range(1..=noted.max(1))),
            5 | 6 => Moment::Before,
            _ => {
                let sql = &steps[random.random_range(0..steps.len())].sql;
                Moment::Statement(sql.chars().take(45).collect())
            }
        };
        let act = match random.random_range(0..10) {
            0..=3 if !matches!(moment, Moment::Before) => Act::Kill,
            4 | 5 if !matches!(moment, Moment::Before) => Act::Cut { all: random.random_bool(0.5) },
            _ => Act::Lock {
                sql: LOCKS[random.random_range(0..LOCKS.len())],
                hold_ms: random.random_range(20..300),
                kill: random.random_bool(0.4),
            },
        };
        Self { moment, act }
    }

    /// Starts the runner, waits for the moment, strikes, and returns when the fault is over.
    pub async fn strike(&self, runner: &Runner, watcher: &mut AsyncPgConnection) -> (Child, Struck) {
        let mut locker = harness(&runner.url).await;
        let before = matches!(self.moment, Moment::Before) && self.lock(&mut locker).await;
        let mut child = runner.up();
        if !before && !self.has_come(watcher, &mut child).await {
            return (child, Struck::Nothing);
        }
        let struck = match self.act {
            Act::Kill => kill(&mut child),
            Act::Cut { all } => {
                let at_most = if all { "ALL" } else { "1" };
                let cut = format!(
                    "SELECT count(pg_terminate_backend(pid)) FROM \
                        (SELECT pid FROM pg_stat_activity WHERE {OTHERS} ORDER BY state LIMIT {at_most}) AS runners"
                );
                if number(watcher, &cut).await > 0 { Struck::Cut } else { Struck::Nothing }
            }
            Act::Lock { hold_ms, kill: killing, .. } => {
                // It is not locked where the history is not there yet.
                if before || self.lock(&mut locker).await {
                    let seen = is_waited_for(watcher, &mut child, Duration::from_millis(hold_ms)).await;
                    if seen && killing {
                        kill(&mut child)
                    } else if seen {
                        Struck::Locked
                    } else {
                        Struck::Nothing
                    }
                } else {
                    Struck::Nothing
                }
            }
        };
        // Its transaction ends with it.
        drop(locker);
        (child, struck)
    }

    async fn lock(&self, locker: &mut AsyncPgConnection) -> bool {
        let Act::Lock { sql, .. } = self.act else { return false };
        locker.batch_execute(&format!("BEGIN; {sql}")).await.is_ok()
    }

    /// Whether the moment came before the runner ended.
    async fn has_come(&self, watcher: &mut AsyncPgConnection, child: &mut Child) -> bool {
        let come = match &self.moment {
            Moment::Before => return true,
            Moment::After(micros) => {
                let (started, micros) = (Instant::now(), Duration::from_micros(*micros));
                while started.elapsed() < micros {
                    tokio::task::yield_now().await;
                }
                return child.try_wait().unwrap().is_none();
            }
            Moment::Rows(count) => format!("SELECT (count(*) >= {count})::int FROM public.ledger"),
            Moment::Statement(text) => format!(
                "SELECT count(*) FROM pg_stat_activity WHERE {OTHERS} AND starts_with(query, '{}')",
                text.replace('\'', "''")
            ),
            Moment::History => format!(
                "SELECT count(*) FROM pg_stat_activity WHERE {OTHERS} AND query LIKE '%INTO%.__bedplate_migrations%'"
            ),
        };
        while child.try_wait().unwrap().is_none() {
            if number(watcher, &come).await > 0 {
                return true;
            }
        }
        false
    }
}

fn kill(child: &mut Child) -> Struck {
    child.start_kill().unwrap();
    Struck::Killed
}

/// Whether the runner is seen to wait for a lock. Returns when that lasted for `hold`, or the runner ended.
async fn is_waited_for(watcher: &mut AsyncPgConnection, child: &mut Child, hold: Duration) -> bool {
    let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE {OTHERS} AND wait_event_type = 'Lock'");
    let (mut seen, mut since) = (false, Instant::now());
    // A runner in a debug build takes some time to come to its first statement.
    while since.elapsed() < if seen { hold } else { hold * 2 } && child.try_wait().unwrap().is_none() {
        if number(watcher, &waits).await > 0 && !seen {
            (seen, since) = (true, Instant::now());
        }
    }
    seen
}

/// A session that no fault cuts.
pub async fn harness(url: &DatabaseUrl) -> AsyncPgConnection {
    let mut connection = connection(url).await;
    execute(&mut connection, HARNESS).await;
    connection
}

/// Returns when no session of a runner is left: the server notices that its runner is gone.
pub async fn quiet(watcher: &mut AsyncPgConnection) {
    crate::support::until(watcher, &format!("SELECT (NOT EXISTS (SELECT FROM pg_stat_activity WHERE {OTHERS}))::int"))
        .await;
}
