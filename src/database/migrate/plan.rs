//! What `migrate up` would do, statement by statement, and which locks that takes: not guessed, but measured on a
//! scratch database that has what the database has, without rows.
//!
//! A lock is seen in `pg_locks` after each statement, a rewrite by a table's new file, a scan by its counter. What
//! PostgreSQL builds without blocking cannot be tried in a transaction; its lock is known.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::SimpleQueryRow;

use super::folder::{Migration, Source};
use super::history;
use super::run::run_with;
use super::scratch::Scratch;
use super::session::Session;
use super::statement::{Kind, Statement};
use super::{Direction, Event, Options, Watcher};
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result};

/// What would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedMigration {
    /// Its directory's name.
    pub name: String,
    /// Whether it is one transaction: then a lock is held to its end.
    pub run_in_transaction: bool,
    /// In order.
    pub statements: Vec<PlannedStatement>,
}

/// One statement, and what it does to tables that are there before its migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStatement {
    /// In `up.sql`.
    pub line: usize,
    /// Its beginning, in one line.
    pub statement: String,
    /// The locks that it takes, weaker ones of the same table left out.
    pub locks: Vec<TableLock>,
    /// The tables that it reads or rewrites as a whole: that takes as long as they are large.
    pub work: Vec<TableWork>,
}

/// A lock on a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableLock {
    /// The table, with its schema where that is not the first of the search path.
    pub table: String,
    /// As PostgreSQL calls it: `ACCESS EXCLUSIVE`.
    pub mode: String,
    /// What has to wait while it is held.
    pub blocks: &'static str,
}

/// A table that a statement goes through, and what is locked meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableWork {
    /// The table.
    pub table: String,
    /// Whether it is written anew; otherwise it is read.
    pub rewritten: bool,
    /// Locks that are held while that goes on, also those of statements before.
    pub while_holding: Vec<TableLock>,
}

/// Modes that stop somebody who only reads or writes rows, or another migration; weakest first.
const MODES: [(&str, &str, &str); 5] = [
    ("ShareUpdateExclusiveLock", "SHARE UPDATE EXCLUSIVE", "other migrations"),
    ("ShareLock", "SHARE", "writers"),
    ("ShareRowExclusiveLock", "SHARE ROW EXCLUSIVE", "writers"),
    ("ExclusiveLock", "EXCLUSIVE", "writers"),
    ("AccessExclusiveLock", "ACCESS EXCLUSIVE", "readers and writers"),
];

/// Plans what is pending in the database of `url`, on a scratch database on the server of `scratch`.
///
/// # Errors
/// [`Error::Forbidden`] where the login may make no database; [`Error::Migration`] for a migration that fails there.
pub async fn plan(
    url: &DatabaseUrl,
    source: &Source,
    scratch: &DatabaseUrl,
    mut on_event: impl FnMut(Event) + Send,
) -> Result<Vec<PlannedMigration>> {
    let files = source.read()?;
    let session = Session::open(url, Options::default().lock_timeout).await?;
    let history = history::read(&session).await?;
    let (applied, pending): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| history.is_applied(&file.version));
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = Scratch::make(scratch).await?;
    let planned = trace_all(&scratch.url, source, &applied, &pending, &mut on_event).await;
    scratch.drop().await;
    planned
}

async fn trace_all(
    url: &DatabaseUrl,
    source: &Source,
    applied: &[Migration],
    pending: &[Migration],
    on_event: Watcher<'_>,
) -> Result<Vec<PlannedMigration>> {
    // One that comes late is planned behind the later ones, as it would run.
    for migration in applied {
        run_with(url, source, Direction::UpTo(migration.version.clone()), &Options::default(), |_| {}).await?;
    }
    let session = Session::open(url, Options::default().lock_timeout).await?;
    let mut planned = Vec::with_capacity(pending.len());
    for (n, migration) in pending.iter().enumerate() {
        on_event(Event::Started { name: migration.name.clone(), number: n + 1, of: pending.len() });
        planned.push(trace(&session, migration).await?);
    }
    Ok(planned)
}

async fn trace(session: &Session, migration: &Migration) -> Result<PlannedMigration> {
    let failed = |message: String| Error::Migration { name: migration.name.clone(), message };
    let transaction = migration.metadata.run_in_transaction;
    let mut statements = Vec::new();
    let known = tables(session).await?;
    if transaction {
        session.run("BEGIN").await?;
    }
    let mut before = facts(session, &known).await?;
    for statement in migration.up.statements()? {
        let kind = statement.kind();
        if matches!(kind, Kind::Begin | Kind::Commit) {
            continue;
        }
        let alone = !transaction && kind == Kind::Alone;
        if !transaction && !alone {
            session.run("BEGIN").await?;
            before = facts(session, &known).await?;
        }
        session
            .run(&statement.sql)
            .await
            .map_err(|error| failed(format!("up.sql line {} ({}): {error}", statement.line, statement.excerpt())))?;
        if alone {
            statements.push(concurrent(&statement));
            continue;
        }
        let after = facts(session, &known).await?;
        statements.push(after.since(&before, &statement));
        before = after;
        if !transaction {
            session.run("COMMIT").await?;
        }
    }
    if transaction {
        session.run("COMMIT").await?;
    }
    Ok(PlannedMigration { name: migration.name.clone(), run_in_transaction: transaction, statements })
}

/// What is known of the session and the tables at a moment.
#[derive(Default)]
struct Facts {
    /// By table, the strongest mode that is held, as a place in [`MODES`].
    locks: BTreeMap<String, usize>,
    files: BTreeMap<String, String>,
    scans: BTreeMap<String, u64>,
}

impl Facts {
    fn since(&self, before: &Self, statement: &Statement) -> PlannedStatement {
        let lock = |(table, mode): (&String, &usize)| TableLock {
            table: table.clone(),
            mode: MODES[*mode].1.to_owned(),
            blocks: MODES[*mode].2,
        };
        let new = self.locks.iter().filter(|(table, mode)| before.locks.get(*table).is_none_or(|was| was < mode));
        let held: Vec<_> = self.locks.iter().map(lock).collect();
        let rewritten: Vec<_> =
            self.files.iter().filter(|(t, file)| before.files.get(*t).is_some_and(|was| was != *file)).collect();
        let scanned = self.scans.iter().filter(|(t, n)| before.scans.get(*t).copied().unwrap_or_default() < **n);
        let scanned = scanned.filter(|(table, _)| !rewritten.iter().any(|(rewritten, _)| rewritten == table));
        let work = rewritten
            .iter()
            .map(|(table, _)| ((*table).clone(), true))
            .chain(scanned.map(|(table, _)| (table.clone(), false)));
        PlannedStatement {
            line: statement.line,
            statement: statement.excerpt(),
            locks: new.map(lock).collect(),
            work: work.map(|(table, rewritten)| TableWork { table, rewritten, while_holding: held.clone() }).collect(),
        }
    }
}

/// The tables that are there: object ids and names. A statement may drop or rename one.
async fn tables(session: &Session) -> Result<Vec<(String, String)>> {
    let rows = session
        .rows(
            "SELECT oid::text, oid::regclass::text FROM pg_class \
              WHERE relkind IN ('r', 'p', 'm') AND oid >= 16384 AND NOT starts_with(relname, '__')",
        )
        .await?;
    let value = |row: &SimpleQueryRow, column| row.get(column).unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (value(row, 0), value(row, 1))).collect())
}

async fn facts(session: &Session, known: &[(String, String)]) -> Result<Facts> {
    let oids: Vec<_> = known.iter().map(|(oid, _)| oid.as_str()).collect();
    let rows = session
        .rows(&format!(
            "SELECT k.oid::text, coalesce(pg_relation_filenode(k.oid)::text, ''), \
                    coalesce(pg_stat_get_xact_numscans(k.oid), 0)::text, \
                    (SELECT string_agg(l.mode, ',') FROM pg_locks AS l WHERE l.pid = pg_backend_pid() AND l.relation = k.oid) \
               FROM unnest('{{{}}}'::oid[]) AS k (oid)",
            oids.join(",")
        ))
        .await?;
    let mut facts = Facts::default();
    for row in &rows {
        let value = |column| row.get(column).unwrap_or_default();
        let table = known.iter().find(|(oid, _)| oid == value(0)).map(|(_, name)| name.clone()).unwrap_or_default();
        let strongest = value(3).split(',').filter_map(|mode| MODES.iter().position(|known| known.0 == mode)).max();
        facts.locks.extend(strongest.map(|mode| (table.clone(), mode)));
        // A dropped table has none.
        if !value(1).is_empty() {
            facts.files.insert(table.clone(), value(1).to_owned());
        }
        facts.scans.insert(table, value(2).parse().unwrap_or_default());
    }
    Ok(facts)
}

/// <https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY>
fn concurrent(statement: &Statement) -> PlannedStatement {
    let lock = |table: String| TableLock { table, mode: MODES[0].1.to_owned(), blocks: MODES[0].2 };
    let index = statement.concurrent_index();
    let locks: Vec<_> = index.iter().map(|index| lock(index.table.clone())).collect();
    let work = index.map(|index| TableWork { table: index.table, rewritten: false, while_holding: locks.clone() });
    PlannedStatement { line: statement.line, statement: statement.excerpt(), locks, work: work.into_iter().collect() }
}
