//! What is applied, and how it came: Diesel's table, which says what is applied, and the engine's own beside it,
//! which says by whom, when, how long, from which text, and how far.
//!
//! Always holds: both tables are in one schema, which never changes by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use tokio_postgres::SimpleQueryRow;
use tokio_postgres::error::SqlState;

use super::alone::Sent;
use super::session::{Session, from_postgres};
use crate::database::url::DatabaseUrl;
use crate::error::Result;
use crate::sql::text_enum;

text_enum! {
    /// Which way a migration went.
    Way {
        /// Its `up.sql`.
        Up = "up",
        /// Its `down.sql`.
        Down = "down",
        /// Declared to be applied, without running it.
        Baseline = "baseline",
        /// Its record was mended.
        Repair = "repair",
    }
}

text_enum! {
    /// How a run ended.
    Outcome {
        /// It did not: it is at work, or its runner was killed.
        Running = "running",
        /// Well.
        Done = "done",
        /// With an error.
        Failed = "failed",
    }
}

/// One run of one migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Newer runs have greater ones.
    pub id: i64,
    /// The migration's.
    pub version: String,
    /// Its directory's name at that time.
    pub name: String,
    /// Which way.
    pub direction: Way,
    /// How it ended.
    pub outcome: Outcome,
    /// Of the bytes of `up.sql`.
    pub checksum: String,
    /// Of the SQL of `up.sql`, without comments and white space.
    pub sql_checksum: String,
    /// Of the bytes of `down.sql`; empty where there was none.
    pub down_checksum: String,
    /// How many statements the script had.
    pub statements: usize,
    /// How many of them are in the database.
    pub statements_done: usize,
    /// When it began, in UTC.
    pub started_at: String,
    /// How long it took.
    pub took_ms: i64,
    /// The login, and the account and the host of the runner.
    pub by: String,
    /// The runner's version.
    pub application_version: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Whether it ran as one transaction; `None` for a run of an older version.
    pub run_in_transaction: Option<bool>,
    /// The folder of the migration; `None` for a run of an older version.
    pub source: Option<String>,
    /// The statement that may have run without a record of it, from 1: it was sent, and nobody saw its end.
    pub may_have_run: Option<usize>,
}

/// What the two tables say.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The versions of Diesel's table, and when, oldest version first.
    pub(super) applied: Vec<(String, String)>,
    /// Every run, oldest first.
    pub(super) runs: Vec<Run>,
    /// Whether the tables are there.
    pub(super) tables: bool,
}

impl History {
    fn of(applied: &[SimpleQueryRow], runs: &[SimpleQueryRow], tables: bool) -> Self {
        let mut applied: Vec<_> = applied.iter().map(version).collect();
        let mut runs: Vec<_> = runs.iter().map(run).collect();
        applied.sort();
        runs.sort_by_key(|run| run.id);
        Self { applied, runs, tables }
    }

    /// A migration went this way since the tables were read.
    pub(super) fn went(&mut self, version: &str, way: Way) {
        self.applied.retain(|(applied, _)| applied != version);
        if way != Way::Down {
            self.applied.push((version.to_owned(), String::new()));
            self.applied.sort();
        }
        self.runs.retain(|run| run.version != version || run.outcome == Outcome::Done);
    }

    pub(super) fn is_applied(&self, version: &str) -> bool {
        self.applied.iter().any(|(applied, _)| applied == version)
    }

    /// The run that made a version what it is, where the engine did it.
    pub(super) fn last_done(&self, version: &str) -> Option<&Run> {
        self.runs.iter().rev().find(|run| run.version == version && run.outcome == Outcome::Done)
    }

    /// The run that went half the way, and that nothing ended since. A runner that was killed at its first statement
    /// counts too: the server may have finished that without it.
    pub(super) fn unfinished(&self, version: &str) -> Option<&Run> {
        let runs = self.runs.iter().rev().filter(|run| run.version == version);
        let mut unfinished = runs.take_while(|run| run.outcome != Outcome::Done).peekable();
        let last = *unfinished.peek()?;
        let began = last.statements_done > 0 || last.may_have_run.is_some();
        (began || unfinished.any(|run| run.outcome == Outcome::Running)).then_some(last)
    }

    /// The migrations that some statements of their `down.sql` took back, and the rest did not.
    pub(super) fn half_reverted(&self) -> impl Iterator<Item = &Run> {
        let versions: BTreeSet<_> = self.runs.iter().map(|run| run.version.as_str()).collect();
        let unfinished = versions.into_iter().filter_map(|version| self.unfinished(version));
        unfinished.filter(|run| run.direction == Way::Down)
    }

    /// Whether a migration belongs to another folder than this one: then nothing here touches it unasked.
    pub(super) fn is_foreign(&self, version: &str, source: &str) -> bool {
        let of_run = self.last_done(version).and_then(|run| run.source.as_deref());
        of_run.is_some_and(|of_run| of_run != source)
    }
}

/// Whether times are read. A new session takes longer to load the time zone than to read the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Read,
    LeftOut,
}

/// The columns that an older version's table does not have.
const NEWER: &str = "run_in_transaction, source, sent";

fn query_diesels(schema: &str, times: Times) -> String {
    let from = format!("FROM {schema}__diesel_schema_migrations");
    match times {
        // For this message alone.
        Times::Read => {
            format!("SET LOCAL DateStyle = ISO; SET LOCAL TimeZone = 'UTC'; SELECT version, run_on {from}")
        }
        Times::LeftOut => format!("SELECT version, NULL {from}"),
    }
}

/// Without a function or an operator: a new session has to look each up in the catalogue.
fn queries(schema: &str, newer: &str, times: Times) -> String {
    format!(
        "{}; SELECT id, version, name, direction, outcome, checksum, sql_checksum, down_checksum, statements, statements_done, \
                {}, took_ms, login, account, host, application_version, error, {newer} FROM {schema}__bedplate_migrations",
        query_diesels(schema, times),
        if times == Times::Read { "started_at" } else { "NULL" }
    )
}

/// Connects and reads both tables, in one message where both are where a bare name finds them.
pub(super) async fn open(
    url: &DatabaseUrl,
    lock_timeout: Option<Duration>,
    times: Times,
) -> Result<(Session, Result<History>)> {
    let (session, answers) = Session::open_and_ask(url, lock_timeout, &queries("", NEWER, times)).await?;
    let history = match (&answers.error, answers.rows.as_slice()) {
        (None, [.., applied, runs]) => Ok(History::of(applied, runs, true)),
        _ => match session.get_ready().await {
            Ok(()) => read(&session).await,
            Err(error) => Err(error),
        },
    };
    Ok((session, history))
}

/// Reads both tables, wherever they are.
pub(super) async fn read(session: &Session) -> Result<History> {
    let schema = format!("{}.", session.schema());
    let read = async |newer| {
        let rows = session.try_rows(&queries(&schema, newer, Times::Read)).await?;
        let (applied, runs) = rows.into_iter().partition::<Vec<_>, _>(|row| row.len() == 2);
        Ok::<_, tokio_postgres::Error>((applied, runs))
    };
    match read(NEWER).await {
        Ok((applied, runs)) => Ok(History::of(&applied, &runs, true)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => {
            let (applied, runs) = read("NULL, NULL, NULL").await.map_err(|error| from_postgres(&error))?;
            Ok(History::of(&applied, &runs, false))
        }
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            match session.try_rows(&query_diesels(&schema, Times::Read)).await {
                Ok(applied) => Ok(History::of(&applied, &[], false)),
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(History::default()),
                Err(error) => Err(from_postgres(&error)),
            }
        }
        Err(error) => Err(from_postgres(&error)),
    }
}

fn version(row: &SimpleQueryRow) -> (String, String) {
    (text(row, 0), time(row, 1))
}

fn text(row: &SimpleQueryRow, column: usize) -> String {
    row.get(column).unwrap_or_default().to_owned()
}

/// A time in UTC, to the second, as ISO 8601 has it.
fn time(row: &SimpleQueryRow, column: usize) -> String {
    let time = row.get(column).and_then(|time| time.get(..19)).unwrap_or_default();
    time.split_once(' ').map(|(day, time)| format!("{day}T{time}Z")).unwrap_or_default()
}

fn run(row: &SimpleQueryRow) -> Run {
    let sent = row.get(19).and_then(|sent| serde_json::from_str::<Sent>(sent).ok());
    let runner = row.get(13).zip(row.get(14)).map(|(account, host)| format!(" ({account}@{host})"));
    let number = |column| text(row, column).parse().unwrap_or_default();
    Run {
        id: text(row, 0).parse().unwrap_or_default(),
        version: text(row, 1),
        name: text(row, 2),
        direction: text(row, 3).parse().unwrap_or(Way::Repair),
        outcome: text(row, 4).parse().unwrap_or(Outcome::Failed),
        checksum: text(row, 5),
        sql_checksum: text(row, 6),
        down_checksum: text(row, 7),
        statements: number(8),
        statements_done: number(9),
        started_at: time(row, 10),
        took_ms: text(row, 11).parse().unwrap_or_default(),
        by: text(row, 12) + &runner.unwrap_or_default(),
        application_version: text(row, 15),
        error: row.get(16).map(str::to_owned),
        run_in_transaction: row.get(17).map(|transaction| transaction == "t"),
        source: row.get(18).map(str::to_owned),
        // Counted from 0 in the table.
        may_have_run: sent.filter(|sent| !sent.not_run).map(|sent| sent.statement + 1),
    }
}

/// What a run that stopped half way has left for the one that goes on.
#[derive(Debug, Clone, Default)]
pub(super) struct Left {
    /// Of the SQL of the statements that were done; `None` for a run of an older version.
    pub(super) checksum: Option<String>,
    /// As JSON.
    pub(super) session: Option<String>,
    /// As JSON.
    pub(super) sent: Option<String>,
}

pub(super) async fn left(session: &Session, run: i64) -> Result<Left> {
    session.get_ready().await?;
    let sql =
        format!("SELECT done_checksum, session, sent FROM {}.__bedplate_migrations WHERE id = {run}", session.schema());
    let rows = session.rows(&sql).await?;
    let value = |column| rows.first().and_then(|row| row.get(column)).map(str::to_owned);
    Ok(Left { checksum: value(0), session: value(1), sent: value(2) })
}

/// The texts that a run was made from: `up.sql`, and `down.sql` where there was one.
pub(super) async fn texts(session: &Session, run: i64) -> Result<(String, Option<String>)> {
    session.get_ready().await?;
    let sql = format!("SELECT up_sql, down_sql FROM {}.__bedplate_migrations WHERE id = {run}", session.schema());
    let rows = session.rows(&sql).await?;
    let found = rows.first().map(|row| (text(row, 0), row.get(1).map(str::to_owned)));
    Ok(found.unwrap_or_default())
}
