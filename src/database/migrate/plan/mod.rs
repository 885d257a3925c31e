//! What `migrate up` would do, statement by statement, and which locks that takes: not guessed, but measured on a
//! scratch database that has what the database has, without rows.
//!
//! A lock is seen in `pg_locks` after each statement, a rewrite by a table's new file, a scan by its counter. What
//! PostgreSQL refuses in a transaction cannot be measured; its locks are the manual's, and of the rest the plan says
//! that it is not measured. Each migration begins with a session of its own.

mod facts;
mod known;

use serde::Serialize;

use super::check::check;
use super::folder::{Migration, Source};
use super::guard::{self, ENDS_TRANSACTIONS, ends_transactions, refuses_transaction, runs_no_code, shown};
use super::history;
use super::record;
use super::scratch::{Scratch, ScratchServer};
use super::session::{Session, from_postgres};
use super::statement::{Kind, Statement};
use super::{Direction, Event, Options, Watcher};
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result};
use facts::{Before, Facts};

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
    /// Why locks and work are not known; `None` where they are.
    pub not_measured: Option<String>,
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
const SHARE_UPDATE_EXCLUSIVE: usize = 0;
const SHARE: usize = 1;
const ACCESS_EXCLUSIVE: usize = 4;

impl TableLock {
    /// With a place in [`MODES`].
    fn new(table: String, mode: usize) -> Self {
        let (_, mode, blocks) = MODES[mode];
        Self { table, mode: mode.to_owned(), blocks }
    }
}

/// What a statement does to tables.
#[derive(Default)]
struct Measured {
    locks: Vec<TableLock>,
    work: Vec<TableWork>,
}

impl PlannedStatement {
    fn measured(statement: &Statement, Measured { locks, work }: Measured) -> Self {
        Self { line: statement.line, statement: shown(statement), locks, work, not_measured: None }
    }

    fn not_measured(statement: &Statement, reason: impl Into<String>) -> Self {
        Self { not_measured: Some(reason.into()), ..Self::measured(statement, Measured::default()) }
    }
}

/// Plans what is pending in the database of `url`, on a scratch database on the server of `scratch`.
///
/// A statement that changes the server, as `CREATE ROLE`, is not executed there, except on a
/// [`ScratchServer::throwaway`].
///
/// # Errors
/// [`Error::Forbidden`] where the login may make no database; [`Error::Migration`] for a migration that fails there.
pub async fn plan(
    url: &DatabaseUrl,
    source: &Source,
    scratch: impl Into<ScratchServer>,
    mut on_event: impl FnMut(Event) + Send,
) -> Result<Vec<PlannedMigration>> {
    let files = source.read()?;
    let session = Session::open(url, Options::default().lock_timeout).await?;
    let history = history::read(&session).await?;
    let (applied, pending): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| history.is_applied(&file.version));
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = Scratch::make(&scratch.into()).await?;
    let planned = trace_all(&scratch, source, &applied, &pending, &mut on_event).await;
    scratch.end().await;
    planned
}

async fn trace_all(
    scratch: &Scratch,
    source: &Source,
    applied: &[Migration],
    pending: &[Migration],
    on_event: Watcher<'_>,
) -> Result<Vec<PlannedMigration>> {
    // A migration may name the history's tables, and the first one has no other before it that makes them.
    record::prepare(&scratch.session().await?).await?;
    // One that comes late is planned behind the later ones, as it would run.
    for migration in applied {
        scratch.run(source, Direction::UpTo(migration.version.clone())).await?;
    }
    let mut planned = Vec::with_capacity(pending.len());
    for (n, migration) in pending.iter().enumerate() {
        on_event(Event::Started { name: migration.name.clone(), number: n + 1, of: pending.len() });
        planned.push(trace(scratch, migration).await.map_err(|error| scratch.explain(error))?);
    }
    Ok(planned)
}

async fn trace(scratch: &Scratch, migration: &Migration) -> Result<PlannedMigration> {
    let session = scratch.session().await?;
    // Refuses what `up` refuses.
    check(migration, &migration.up, session.escapes)?;
    let one_transaction = migration.metadata.run_in_transaction;
    let mut trace = Trace { session: &session, before: Before::of(&session).await?, open: false, facts: None };
    let mut statements = Vec::new();
    if one_transaction {
        trace.begin().await?;
    }
    for statement in migration.up.statements()? {
        let failed = |error: Error| Error::Migration {
            name: migration.name.clone(),
            message: format!("up.sql line {} ({}): {error}", statement.line, shown(&statement)),
        };
        match statement.kind() {
            Kind::Begin | Kind::Commit if one_transaction => {}
            Kind::Begin => trace.begin().await?,
            Kind::Commit if trace.open => trace.end("COMMIT").await?,
            Kind::Commit => {}
            _ if trace.open => statements.push(trace.inside(&statement).await.map_err(failed)?),
            _ => statements.push(trace.outside(&statement).await.map_err(failed)?),
        }
    }
    if trace.open {
        trace.end("COMMIT").await?;
    }
    Ok(PlannedMigration { name: migration.name.clone(), run_in_transaction: one_transaction, statements })
}

/// The trace of one migration, in a session of its own.
struct Trace<'s> {
    session: &'s Session,
    before: Before,
    /// Whether a transaction is open.
    open: bool,
    /// What was known in it before the next statement; `None` before the first.
    facts: Option<Facts>,
}

impl Trace<'_> {
    async fn begin(&mut self) -> Result<()> {
        self.open = true;
        self.session.run("BEGIN").await
    }

    async fn end(&mut self, command: &str) -> Result<()> {
        (self.open, self.facts) = (false, None);
        self.session.run(command).await
    }

    /// Sends a statement in the transaction that is open. What is known is asked as late as possible: `SET TRANSACTION`
    /// wants no query before.
    async fn attempt(
        &mut self,
        statement: &Statement,
    ) -> Result<std::result::Result<Option<String>, tokio_postgres::Error>> {
        if self.facts.is_none() && !runs_no_code(statement) {
            self.facts = Some(self.before.facts(self.session).await?);
        }
        Ok(guard::attempt(self.session, statement).await)
    }

    /// Measures a statement in the transaction that is open.
    async fn inside(&mut self, statement: &Statement) -> Result<PlannedStatement> {
        let skipped = self.attempt(statement).await?.map_err(|error| from_postgres(&error))?;
        self.measured(statement, skipped).await
    }

    async fn measured(&mut self, statement: &Statement, skipped: Option<String>) -> Result<PlannedStatement> {
        if let Some(reason) = skipped {
            return Ok(PlannedStatement::not_measured(statement, reason));
        }
        let Some(before) = self.facts.take() else {
            return Ok(PlannedStatement::measured(statement, Measured::default()));
        };
        let after = self.before.facts(self.session).await?;
        let measured = after.since(&before, statement);
        self.facts = Some(after);
        Ok(PlannedStatement::measured(statement, measured))
    }

    /// Measures a statement in a transaction of its own. If PostgreSQL refuses that, it runs outside of one, so that later
    /// statements see its effect; the plan then shows what the manual says about it.
    async fn outside(&mut self, statement: &Statement) -> Result<PlannedStatement> {
        self.begin().await?;
        match self.attempt(statement).await? {
            Ok(skipped) => {
                let planned = self.measured(statement, skipped).await?;
                self.end("COMMIT").await?;
                Ok(planned)
            }
            Err(error) => {
                self.end("ROLLBACK").await?;
                if !refuses_transaction(&error) {
                    return Err(from_postgres(&error));
                }
                let known = known::known(self.session, statement).await?;
                let skipped = guard::attempt(self.session, statement).await.map_err(|error| from_postgres(&error))?;
                Ok(match (skipped, known) {
                    (Some(reason), _) => PlannedStatement::not_measured(statement, reason),
                    (None, Some(known)) => PlannedStatement::measured(statement, known),
                    (None, None) if ends_transactions(&error) => {
                        PlannedStatement::not_measured(statement, ENDS_TRANSACTIONS)
                    }
                    (None, None) => PlannedStatement::not_measured(statement, "PostgreSQL refuses it in a transaction"),
                })
            }
        }
    }
}
