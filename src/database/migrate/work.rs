//! One migration on its way: in one transaction, or statement by statement with a record of each.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_postgres::SimpleQueryRow;

use super::alone::{self, Sent};
use super::batch::{self, Batches};
use super::check::{self, Checked};
use super::folder::Migration;
use super::history::{self, Left, Outcome, Run, Way};
use super::observe::Observer;
use super::patience::{LONGEST_PAUSE, Patience, left_out};
use super::record::{self, Progress, Record};
use super::script::Script;
use super::send::{Failure, Place, around, send, send_rows};
use super::session::Session;
use super::state::{Seen, State, custom_names};
use super::statement::{Kind, Mark, Statement};
use super::unit::{Unit, Units};
use super::{Event, Options, Watcher, guard, resume};
use crate::error::{Error, Result, WaitedFor};
use crate::sql::quote_literal;

/// A record is written as the login, whatever the migration has set for its session.
pub(super) const AS_LOGIN: &str =
    "SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE; SET LOCAL statement_timeout = 0";

/// How a try ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    /// A lock was not to be had, and nothing is written. The next try needs a session without traces of this one.
    Again,
}

/// One migration on its way.
pub(super) struct Work<'w> {
    pub(super) session: &'w Session,
    pub(super) observer: &'w mut Observer,
    pub(super) record: Record<'w>,
    pub(super) script: &'w Script,
    pub(super) checked: &'w Checked,
    pub(super) options: &'w Options,
    pub(super) patience: &'w mut Patience,
    /// How far a migration is that is no transaction, and the state of its session.
    pub(super) progress: Progress,
    pub(super) state: State,
    /// Names of custom settings that its statements may have set.
    pub(super) names: BTreeSet<String>,
    /// What there was before the present statement, where that stands outside of any transaction.
    pub(super) before: Option<Sent>,
}

impl<'w> Work<'w> {
    pub(super) fn new(
        session: &'w Session,
        observer: &'w mut Observer,
        (migration, way, source): (&'w Migration, Way, &'w str),
        checked: &'w Checked,
        options: &'w Options,
        patience: &'w mut Patience,
    ) -> Result<Self> {
        Ok(Self {
            session,
            observer,
            script: check::script(migration, way)?,
            record: Record { migration, direction: way, checked, source },
            checked,
            options,
            patience,
            progress: Progress::default(),
            state: State::default(),
            names: BTreeSet::new(),
            before: None,
        })
    }

    pub(super) async fn run(&mut self, unfinished: Option<&Run>, on_event: Watcher<'_>) -> Result<Ended> {
        match unfinished {
            None if self.record.migration.metadata.run_in_transaction => {
                return self.in_one_transaction(on_event).await;
            }
            None => {}
            Some(run) => {
                let left = self.left(run.id, on_event).await?;
                self.take_up(run, &left, on_event).await?;
            }
        }
        self.one_by_one(on_event).await
    }

    /// What another run has left; again while somebody holds the history's tables.
    async fn left(&mut self, run: i64, on_event: Watcher<'_>) -> Result<Left> {
        loop {
            match history::left(self.session, run).await {
                Err(Error::Timeout { waited_for: WaitedFor::Lock })
                    if self.patience.started.elapsed() < self.options.retry_for =>
                {
                    on_event(Event::Blocked { by: "the history waited for whoever holds its table".into() });
                    tokio::time::sleep(self.patience.pauses.next().unwrap_or(LONGEST_PAUSE)).await;
                }
                other => return other,
            }
        }
    }

    /// Goes on where another run has stopped.
    async fn take_up(&mut self, run: &Run, left: &Left, on_event: Watcher<'_>) -> Result<()> {
        resume::is_the_same(self, run, left).await?;
        resume::decide_on_sent(self, run, left, on_event).await?;
        resume::restore(self, left).await
    }

    /// From BEGIN to COMMIT, again where a lock was not to be had.
    async fn in_one_transaction(&mut self, on_event: Watcher<'_>) -> Result<Ended> {
        if let Some(line) = self.checked.left_out.filter(|_| self.patience.tries == 0) {
            on_event(Event::Note { text: left_out(self.script.file, line) });
        }
        loop {
            let Err(failure) = self.transaction(on_event).await else { return Ok(Ended::Done) };
            // Where it fails the connection is gone, and with it the transaction.
            let _ = self.session.send("ROLLBACK").await;
            self.wait_or_fail(failure, None, on_event).await?;
            // No rollback makes a custom setting unknown again, or forgets a prepared statement.
            if self.checked.changes_session {
                return Ok(Ended::Again);
            }
        }
    }

    async fn transaction(&mut self, on_event: Watcher<'_>) -> Result<(), Failure> {
        let (session, of) = (self.session, self.checked.statements);
        session.send(self.checked.begin.as_deref().unwrap_or("BEGIN")).await.map_err(around)?;
        let mut units = self.units(0, false)?;
        while let Some(mut unit) = units.next()? {
            if unit.is_rows() {
                send_rows(session, self.observer, &unit.statements, (unit.first, of), on_event).await?;
                continue;
            }
            for statement in unit.statements.drain(..) {
                // The file's own BEGIN and COMMIT would end the migration's transaction.
                if !matches!(statement.kind(), Kind::Begin | Kind::Commit) {
                    send(session, self.observer, statement, (unit.first, of), on_event).await?;
                }
            }
        }
        if units.checksum() != self.checked.checksum {
            let message = "the file was changed while it was read: run it again".to_owned();
            return Err(Failure::from(check::failed(self.record.migration, &message)));
        }
        let all = Progress { done: of, ..Progress::default() };
        let recorded = format!(
            "{AS_LOGIN}; {}; {}; COMMIT",
            self.record.in_diesels_table(session.schema()),
            self.record.insert(session.schema(), Outcome::Done, &all, self.patience.started.elapsed(), None)?,
        );
        // The history's table may be locked, and who holds it is to be told.
        self.observer.watch(session.send(&recorded), on_event).await.map_err(around)
    }

    pub(super) fn units(&self, first: usize, blocks: bool) -> Result<Units<'w>> {
        Units::from(self.script.reader(self.session.escapes)?, first, blocks)
    }

    /// Statement by statement, each with its record: in one transaction with it where PostgreSQL allows that.
    async fn one_by_one(&mut self, on_event: Watcher<'_>) -> Result<Ended> {
        let schema = self.session.schema();
        self.progress.session = self.state.json();
        let insert = self.record.insert(schema, Outcome::Running, &self.progress, Duration::ZERO, None)?;
        let rows = match self.persist(&insert, on_event).await {
            Ok(rows) => rows,
            Err(failure) => return self.wait_or_fail(failure, None, on_event).await.map(|()| Ended::Again),
        };
        let id = rows.iter().find_map(|row| row.get(0)?.parse::<i64>().ok()).unwrap_or_default();

        let mut units = self.units(self.progress.done, true)?;
        while let Some(unit) = units.next()? {
            let quiet = unit.statements.iter().all(Statement::is_quiet);
            if let Err(failure) = self.unit(id, unit, units.checksum(), on_event).await {
                let _ = self.session.send("ROLLBACK").await;
                self.wait_or_fail(failure, Some(id), on_event).await?;
                // As in one transaction; but what the session has and would lose is worth more.
                if !quiet && self.state.lost.is_empty() {
                    return Ok(Ended::Again);
                }
                units = self.units(self.progress.done, true)?;
            }
        }
        let done = self.update(id, Outcome::Done);
        let before = format!("version = {} AND id < {id}", quote_literal(&self.record.migration.version));
        let killed = record::killed(schema, &before);
        let recorded =
            self.persist(&format!("{}; {killed}; {done}", self.record.in_diesels_table(schema)), on_event).await;
        match recorded {
            Ok(_) => Ok(Ended::Done),
            Err(failure) => self.wait_or_fail(failure, Some(id), on_event).await.map(|()| Ended::Again),
        }
    }

    async fn unit(&mut self, id: i64, unit: Unit, checksum: String, on_event: Watcher<'_>) -> Result<(), Failure> {
        let first = &unit.statements[0];
        if first.mark == Some(Mark::Batch) {
            let (batches, place) = (Batches::of(first)?, Place::of(first, unit.first));
            batch::run(self.session, self.observer, &batches, &place, self.options, on_event).await?;
            return self.advance(id, unit.end(), checksum, on_event).await;
        }
        if first.kind() == Kind::Alone {
            return self.alone(id, first, checksum, on_event).await;
        }
        // What ends transactions itself is found out when it is sent in one.
        let single = (unit.statements.len() == 1 && !first.inserts_constants()).then(|| first.clone());
        match (self.in_transaction(id, unit, checksum.clone(), on_event).await, single) {
            (Err(failure), Some(statement)) if failure.wants_no_transaction() => {
                self.session.send("ROLLBACK").await.map_err(around)?;
                self.alone(id, &statement, checksum, on_event).await
            }
            (done, _) => done,
        }
    }

    /// In one transaction with the record.
    async fn in_transaction(
        &mut self,
        id: i64,
        mut unit: Unit,
        checksum: String,
        on_event: Watcher<'_>,
    ) -> Result<(), Failure> {
        let (session, of, first, end) = (self.session, self.checked.statements, unit.first, unit.end());
        let quiet = unit.statements.iter().all(Statement::is_quiet);
        let read_only = self.state.reads_only(&unit.statements[0]);
        let begin = if unit.statements[0].kind() == Kind::Begin { &unit.statements[0].sql } else { "BEGIN" };
        session.send(begin).await.map_err(around)?;
        let (mut sent, mut listens) = (Vec::new(), false);
        if unit.is_rows() {
            send_rows(session, self.observer, &unit.statements, (first, of), on_event).await?;
        } else {
            for (n, statement) in unit.statements.drain(..).enumerate() {
                if !quiet {
                    custom_names(&statement.sql, &mut self.names);
                    listens |= statement.sql.to_lowercase().contains("listen");
                    sent.push(Statement { sql: String::new(), ..statement.clone() });
                }
                if !matches!(statement.kind(), Kind::Begin | Kind::Commit) {
                    send(session, self.observer, statement, (first + n, of), on_event).await?;
                }
            }
        }
        let after = if quiet {
            Some(self.state.clone())
        } else {
            let seen = Seen::of(session, &self.names).await.map_err(around)?;
            // LISTEN is only seen behind the COMMIT.
            self.state.behind_commit(&seen, &sent).filter(|_| !listens)
        };
        let state = after.clone().unwrap_or_else(|| self.state.uncertain(first, end));
        let progress = Progress { done: end, checksum, session: state.json() };
        let before = std::mem::replace(&mut self.progress, progress);
        let committed = if read_only {
            // Its record cannot be written in it; and if that is never written, to read again does no harm.
            session.send("COMMIT").await
        } else {
            let recorded = format!("{AS_LOGIN}; {}; COMMIT", self.update(id, Outcome::Running));
            self.observer.watch(session.send(&recorded), on_event).await
        };
        if let Err(error) = committed {
            self.progress = before;
            return Err(around(error));
        }
        if let Some(after) = after {
            self.state = after;
        } else {
            let seen = Seen::of(session, &self.names).await.map_err(around)?;
            self.state = self.state.then(seen, first, end);
        }
        let session_now = self.state.json();
        if read_only || session_now != self.progress.session {
            self.progress.session = session_now;
            let update = self.update(id, Outcome::Running);
            self.persist(&update, on_event).await?;
        }
        Ok(())
    }

    /// Outside of any transaction: recorded before and behind.
    async fn alone(
        &mut self,
        id: i64,
        statement: &Statement,
        checksum: String,
        on_event: Watcher<'_>,
    ) -> Result<(), Failure> {
        let (session, n) = (self.session, self.progress.done);
        let place = Place::of(statement, n);
        let at_place = |error| Failure::of(error, place.clone());
        let before = match self.before.take().filter(|sent| sent.statement == n) {
            Some(sent) => sent,
            None => alone::look(session, statement, n).await.map_err(at_place)?,
        };
        self.before = Some(before.clone());
        let patience = self.options.retry_for;
        let clean = alone::clean(session, self.observer, statement, &before, patience, on_event).await;
        clean.map_err(at_place)?.map_err(|message| Failure::told(message, place.clone()))?;
        if !alone::until_free(session, statement, patience, on_event).await.map_err(at_place)? {
            let message = "another session is at work on the same table: wait until it ends".to_owned();
            return Err(Failure::told(message, place));
        }
        let text = alone::text(session, statement).await.map_err(at_place)?;
        let sent = record::sent(session.schema(), id, &serde_json::to_string(&before).unwrap_or_default());
        self.persist(&sent, on_event).await?;
        on_event(Event::Statement { number: n + 1, of: self.checked.statements, text: statement.excerpt() });
        let done = if session.guard.is_some() {
            self.observer.watch(guard::send(session, statement), on_event).await
        } else if statement.is_concurrent() {
            self.observer.watch(session.patiently(&text), on_event).await
        } else {
            self.observer.watch(session.send(&text), on_event).await
        };
        if let Err(error) = done {
            let failure = Failure { keeps_sent: statement.may_stop_half_way(), ..at_place(error).alone() };
            if !failure.is_lost() && !failure.keeps_sent {
                let blocked = self.observer.blocked.take();
                // Its own error says less than the statement's. The next try does it again.
                let _ = alone::clean(session, self.observer, statement, &before, patience, on_event).await;
                self.observer.blocked = blocked;
            }
            return Err(failure);
        }
        self.behind(id, statement, checksum, on_event).await.map_err(|failure| {
            let why = failure.explain(self.script.file, self.checked.statements, false);
            Failure {
                keeps_sent: true,
                ..Failure::told(format!("it ran, and that could not be recorded: {why}"), place)
            }
        })
    }

    /// The record of a statement that ran outside of any transaction: only this is tried again, never the statement.
    async fn behind(
        &mut self,
        id: i64,
        statement: &Statement,
        checksum: String,
        on_event: Watcher<'_>,
    ) -> Result<(), Failure> {
        if statement.words.first().is_some_and(|word| word == "DISCARD") {
            let again = self.session.texts(&super::lock::again()).await?;
            if again.first().is_none_or(|taken| taken != "true") {
                let error = "DISCARD ALL let the runner's lock go, and another runner has it now";
                return Err(Failure::from(Error::configuration(error)));
            }
        }
        let n = self.progress.done;
        if !statement.is_quiet() {
            custom_names(&statement.sql, &mut self.names);
            let seen = Seen::of(self.session, &self.names).await.map_err(around)?;
            self.state = self.state.then(seen, n, n + 1);
        }
        self.advance(id, n + 1, checksum, on_event).await?;
        self.before = None;
        Ok(())
    }

    async fn advance(&mut self, id: i64, done: usize, checksum: String, on_event: Watcher<'_>) -> Result<(), Failure> {
        self.progress = Progress { done, checksum, session: self.state.json() };
        let update = self.update(id, Outcome::Running);
        self.persist(&update, on_event).await.map(drop)
    }

    /// What the history says now. A migration that is half reverted is not applied.
    fn update(&self, id: i64, outcome: Outcome) -> String {
        let schema = self.session.schema();
        let update = self.progress.update(schema, id, outcome, self.patience.started.elapsed(), None);
        match self.record.direction {
            Way::Down if self.progress.done > 0 => format!("{update}; {}", self.record.in_diesels_table(schema)),
            _ => update,
        }
    }

    /// Writes into the history, in a transaction of its own; again while somebody holds its tables.
    pub(super) async fn persist(&mut self, sql: &str, on_event: Watcher<'_>) -> Result<Vec<SimpleQueryRow>, Failure> {
        let sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {AS_LOGIN}; {sql}; COMMIT");
        loop {
            let failure = match self.observer.watch(self.session.try_rows(&sql), on_event).await {
                Ok(rows) => return Ok(rows),
                Err(error) => around(error),
            };
            let _ = self.session.send("ROLLBACK").await;
            if !failure.is_about_locks() || self.patience.started.elapsed() >= self.options.retry_for {
                return Err(failure);
            }
            let blocked = self.observer.blocked.take();
            self.wait(&failure, blocked.as_ref(), on_event).await;
        }
    }
}
