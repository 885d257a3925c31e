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

/// The moment of a fault.
#[derive(Debug, Clone)]
enum Moment {
    /// A lock: before the runner starts. Anything else: at once.
    Before,
    /// Microseconds after the runner wrote to the ledger for the first time; the ledger is locked up to then.
    Gate(u64),
    /// Microseconds after the start, where nothing can be observed.
    After(u64),
    /// When the ledger has this number of rows.
    Rows(usize),
    /// When the server works on a text that begins so.
    Statement(String),
    /// When the runner writes its history.
    History,
}

/// The fault itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// SIGKILL.
    Kill,
    /// Each session of the runner, or the one that works.
    Cut { all: bool },
    /// A lock for a while; `kill`: the runner is killed while it waits.
    Lock { sql: &'static str, hold_ms: u64, kill: bool },
}

/// A fault with its moment.
#[derive(Debug, Clone)]
pub struct Fault {
    moment: Moment,
    act: Act,
}

/// The effect of a fault.
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

/// A runner that wants what is locked is there by then.
const COMES_WITHIN: Duration = Duration::from_secs(1);

/// What takes long enough to be seen.
fn is_slow(sql: &str) -> bool {
    ["ledger", "CONCURRENTLY", "batch", "VACUUM", "CALL", "EXECUTE"].iter().any(|word| sql.contains(word))
}

impl Fault {
    pub fn random(random: &mut StdRng, migrations: &[Random]) -> Self {
        let steps: Vec<_> = migrations.iter().flat_map(|migration| &migration.steps).collect();
        let noted = steps.iter().filter(|step| matches!(step.proof, Proof::Ledger(_))).count();
        let moment = match random.random_range(0..20) {
            10.. => Moment::Gate(random.random_range(0..25_000)),
            0 | 1 => Moment::After(random.random_range(5_000..150_000)),
            2 => Moment::History,
            3 | 4 => Moment::Rows(random.random_range(1..noted.max(2))),
            5 | 6 => Moment::Before,
            _ => {
                let slow: Vec<_> = steps.iter().filter(|step| is_slow(&step.sql)).collect();
                let among = if slow.is_empty() { steps.iter().collect() } else { slow };
                let sql = &among[random.random_range(0..among.len())].sql;
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
        let gate = matches!(self.moment, Moment::Gate(_));
        if gate {
            execute(&mut locker, "BEGIN; LOCK TABLE public.ledger IN SHARE MODE").await;
        }
        let mut child = runner.up();
        if gate {
            is_waited_for(watcher, &mut child, Duration::ZERO).await;
            execute(&mut locker, "ROLLBACK").await;
        }
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
                if !before {
                    self.lock(&mut locker).await;
                }
                let hold = Duration::from_millis(hold_ms);
                match is_waited_for(watcher, &mut child, hold).await {
                    true if killing => kill(&mut child),
                    true => Struck::Locked,
                    false => Struck::Nothing,
                }
            }
        };
        // Its transaction ends with it.
        drop(locker);
        (child, struck)
    }

    async fn lock(&self, locker: &mut AsyncPgConnection) -> bool {
        let Act::Lock { sql, .. } = self.act else { return false };
        if locker.batch_execute(&format!("BEGIN; {sql}")).await.is_err() {
            // The history is not there yet.
            execute(locker, "ROLLBACK; BEGIN; LOCK TABLE public.ledger IN SHARE MODE").await;
        }
        true
    }

    /// Whether the moment came before the runner ended.
    async fn has_come(&self, watcher: &mut AsyncPgConnection, child: &mut Child) -> bool {
        let come = match &self.moment {
            Moment::Before => return true,
            Moment::After(micros) | Moment::Gate(micros) => {
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

/// Whether the runner is seen to wait for a lock. Returns `hold` after that, or when the runner ended, or never came.
async fn is_waited_for(watcher: &mut AsyncPgConnection, child: &mut Child, hold: Duration) -> bool {
    let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE {OTHERS} AND wait_event_type = 'Lock'");
    let (mut seen, mut since) = (false, Instant::now());
    while since.elapsed() < if seen { hold } else { COMES_WITHIN } && child.try_wait().unwrap().is_none() {
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
