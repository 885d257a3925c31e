//! Applying and reverting.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};

use super::batch::{self, Batches};
use super::drift::{self, Difference, Problem};
use super::folder::{Migration, Source};
use super::history::{self, History, Outcome, Record, Way};
use super::observe::Observer;
use super::script::Script;
use super::send::{Failure, send, send_alone};
use super::session::{FRESH, Session, read_only};
use super::statement::{Kind, Statement};
use super::{Direction, Event, Options, Watcher, lock};
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result, WaitedFor};

/// [`run_with`] the default [`Options`].
///
/// # Errors
/// As there.
pub async fn run(
    url: &DatabaseUrl,
    source: &Source,
    direction: Direction,
    on_event: impl FnMut(Event) + Send,
) -> Result<Vec<String>> {
    run_with(url, source, direction, &Options::default(), on_event).await
}

/// Applies or reverts migrations, and returns the names in the order of the work. Does nothing, and takes no lock,
/// where there is nothing to do. May run any number of times, also side by side.
///
/// # Errors
/// [`Error::Migration`] for the first that fails: those before it stay, and it leaves nothing behind, or the history
/// knows what. [`Error::Drift`] where the files are not what was applied; [`Error::Timeout`] when another runner, or
/// whoever holds the history's table, does not end; [`Error::Configuration`] for a folder that cannot be read, a
/// read-only server, a pooler in between.
pub async fn run_with(
    url: &DatabaseUrl,
    source: &Source,
    direction: Direction,
    options: &Options,
    mut on_event: impl FnMut(Event) + Send,
) -> Result<Vec<String>> {
    let on_event: Watcher<'_> = &mut on_event;
    let reading = {
        let source = source.clone();
        tokio::task::spawn_blocking(move || source.read())
    };
    let session = Session::open(url, options.lock_timeout).await?;
    let history = read_history(&session, false, options, on_event).await?;
    let files =
        reading.await.map_err(|error| Error::Io { doing: "reading migrations".into(), source: error.into() })??;

    let problems = check(&session, &files, &history, &direction, options).await?;
    if steps(&session, &files, &history, &direction).await?.is_empty() {
        notice(problems, on_event);
        return Ok(Vec::new());
    }
    if session.read_only {
        return Err(read_only());
    }
    lock::take(&session, options, on_event).await?;
    // Whoever had the lock before may have done it all.
    let history = read_history(&session, !history.tables, options, on_event).await?;
    let problems = check(&session, &files, &history, &direction, options).await?;
    notice(problems, on_event);
    let steps = steps(&session, &files, &history, &direction).await?;

    let mut observer = Observer::new(url, session.pid);
    let mut done: Vec<String> = Vec::with_capacity(steps.len());
    for (index, (migration, way)) in steps.iter().enumerate() {
        on_event(Event::Started { name: migration.name.clone(), number: index + 1, of: steps.len() });
        let started = Instant::now();
        let mut work = Work::new(&session, &mut observer, migration, *way, options)?;
        work.run(history.unfinished(&migration.version).filter(|run| run.direction == *way), on_event).await?;
        on_event(Event::Finished { name: migration.name.clone(), took: started.elapsed() });
        done.push(migration.name.clone());
    }
    done.dedup();
    Ok(done)
}

fn notice(problems: Vec<Problem>, on_event: Watcher<'_>) {
    for problem in problems {
        on_event(Event::Noticed { problem });
    }
}

/// Again and again, while somebody holds the history's tables. Makes them where `making` and they are missing.
async fn read_history(session: &Session, making: bool, options: &Options, on_event: Watcher<'_>) -> Result<History> {
    let started = Instant::now();
    let mut pauses = pauses();
    loop {
        let made = if making { history::prepare(session).await } else { Ok(()) };
        let read = match made {
            Ok(()) => history::read(session).await,
            Err(error) => Err(error),
        };
        match read {
            Err(Error::Timeout { waited_for: WaitedFor::Lock }) if started.elapsed() < options.retry_for => {
                let again_in = pauses.next().unwrap_or(LONGEST_PAUSE);
                on_event(Event::Blocked { by: "somebody holds the table of the history".into(), again_in });
                tokio::time::sleep(again_in).await;
            }
            other => return other,
        }
    }
}

const LONGEST_PAUSE: Duration = Duration::from_secs(10);

fn pauses() -> impl Iterator<Item = Duration> {
    let exponential = ExponentialBuilder::default().with_min_delay(Duration::from_millis(250));
    exponential.with_max_delay(LONGEST_PAUSE).without_max_times().with_jitter().build()
}

/// What differs without stopping anything; an error for what stops this direction.
async fn check(
    session: &Session,
    files: &[Migration],
    history: &History,
    direction: &Direction,
    options: &Options,
) -> Result<Vec<Problem>> {
    let up = matches!(direction, Direction::Up | Direction::UpTo(_));
    let allowed = |problem: &Problem| {
        problem.difference == Difference::OutOfOrder
            && options.allow_out_of_order.iter().any(|name| is(name, &problem.version, &problem.name))
    };
    let (mut refused, noticed): (Vec<_>, Vec<_>) = drift::compare(files, history)?
        .into_iter()
        .filter(|problem| !problem.refuses() || (up && !allowed(problem)))
        .partition(Problem::refuses);
    if refused.is_empty() {
        return Ok(noticed);
    }
    drift::add_diffs(session, &mut refused, files, history).await?;
    Err(Error::Drift { problems: refused })
}

/// Whether `name` means this migration: by its version, with or without `-`, or its directory's name.
pub(super) fn is(name: &str, version: &str, directory: &str) -> bool {
    name == directory || name.replace('-', "") == version
}

/// What there is to do, in order.
async fn steps(
    session: &Session,
    files: &[Migration],
    history: &History,
    direction: &Direction,
) -> Result<Vec<(Migration, Way)>> {
    let pending = || files.iter().filter(|file| !history.is_applied(&file.version));
    let ups = |migrations: Vec<&Migration>| migrations.into_iter().map(|file| (file.clone(), Way::Up)).collect();
    let (count, again) = match direction {
        Direction::Up => return Ok(ups(pending().collect())),
        Direction::UpTo(last) => {
            let last = find(files, last)?;
            return Ok(ups(pending().filter(|file| file.version <= last.version).collect()));
        }
        Direction::Down { count } => (*count, false),
        Direction::DownAll => (history.applied.len(), false),
        Direction::DownTo(last) => {
            let last = find(files, last)?;
            (history.applied.iter().filter(|(version, _)| *version > last.version).count(), false)
        }
        Direction::Redo => (1, true),
    };
    let mut steps = Vec::with_capacity(count);
    for (version, _) in history.applied.iter().rev().take(count) {
        let migration = match files.iter().find(|file| file.version == *version) {
            Some(file) => file.clone(),
            None => recorded(session, history, version).await?,
        };
        steps.push((migration.clone(), Way::Down));
        if again {
            steps.push((migration, Way::Up));
        }
    }
    Ok(steps)
}

pub(super) fn find<'m>(files: &'m [Migration], name: &str) -> Result<&'m Migration> {
    files
        .iter()
        .find(|file| is(name, &file.version, &file.name))
        .ok_or_else(|| Error::NotFound { entity: "migration", id: name.to_owned() })
}

/// A migration whose files are gone, as the history has it.
async fn recorded(session: &Session, history: &History, version: &str) -> Result<Migration> {
    let gone = || {
        Error::configuration(format!(
            "{version} is applied, but its files are not here, and it was not applied by bedplate: it cannot be reverted"
        ))
    };
    let run = history.last_done(version).ok_or_else(gone)?;
    let (up, down) = history::texts(session, run.id).await?;
    Ok(Migration {
        version: version.to_owned(),
        name: run.name.clone(),
        up: Script { file: "up.sql", sql: up },
        down: down.map(|sql| Script { file: "down.sql", sql }),
        // What could not run in a transaction says so; the rest is safer in one.
        metadata: super::Metadata { run_in_transaction: true, lint: std::collections::BTreeMap::new() },
    })
}

/// One migration on its way.
struct Work<'w> {
    session: &'w Session,
    observer: &'w mut Observer,
    record: Record<'w>,
    script: &'w Script,
    statements: Vec<Statement>,
    /// For each statement, how it is cut into batches, where it is.
    batches: Vec<Option<Batches>>,
    options: &'w Options,
    started: Instant,
}

impl<'w> Work<'w> {
    fn new(
        session: &'w Session,
        observer: &'w mut Observer,
        migration: &'w Migration,
        way: Way,
        options: &'w Options,
    ) -> Result<Self> {
        let failed = |message: String| Error::Migration { name: migration.name.clone(), message };
        let script = match way {
            Way::Down => migration.down.as_ref().ok_or_else(|| failed("it has no down.sql".into()))?,
            Way::Up | Way::Baseline | Way::Repair => &migration.up,
        };
        let statements = script.statements().map_err(|error| failed(error.to_string()))?;
        for statement in &statements {
            let wrong = match statement.kind() {
                Kind::Rollback => "a migration that rolls itself back does nothing",
                Kind::CopyFromClient => "COPY FROM STDIN has no data here; write INSERT",
                _ if statement.batch && migration.metadata.run_in_transaction => {
                    "/* batch */ needs `run_in_transaction = false` in metadata.toml"
                }
                _ => continue,
            };
            return Err(failed(format!("{} line {}: {wrong}", script.file, statement.line)));
        }
        let cut = |statement: &Statement| statement.batch.then(|| Batches::of(statement)).transpose();
        let batches = statements.iter().map(cut).collect::<Result<_>>();
        let batches = batches.map_err(|error| failed(format!("{} {error}", script.file)))?;
        let record = Record { migration, direction: way, statements: statements.len() };
        Ok(Self { session, observer, record, script, statements, batches, options, started: Instant::now() })
    }

    async fn run(&mut self, unfinished: Option<&history::Run>, on_event: Watcher<'_>) -> Result<()> {
        match unfinished {
            None if self.record.migration.metadata.run_in_transaction => self.in_one_transaction(on_event).await,
            None => self.one_by_one(0, false, on_event).await,
            Some(run) => {
                self.is_the_same_up_to(run).await?;
                self.one_by_one(run.statements_done, true, on_event).await
            }
        }
    }

    /// From BEGIN to COMMIT, again where a lock was not to be had.
    async fn in_one_transaction(&mut self, on_event: Watcher<'_>) -> Result<()> {
        let mut pauses = pauses();
        loop {
            let Err(failure) = self.transaction(on_event).await else { return Ok(()) };
            // Where it fails the connection is gone, and with it the transaction.
            let _ = self.session.send("ROLLBACK").await;
            self.wait_or_fail(failure, 0, None, &mut pauses, on_event).await?;
        }
    }

    async fn transaction(&mut self, on_event: Watcher<'_>) -> Result<(), Failure> {
        let around = |error| Failure { error, statement: None };
        let session = self.session;
        session.send(&format!("{FRESH}; BEGIN")).await.map_err(around)?;
        for n in 0..self.statements.len() {
            // The file's own BEGIN and COMMIT would end the migration's transaction.
            if !matches!(self.statements[n].kind(), Kind::Begin | Kind::Commit) {
                send(session, self.observer, &self.statements, n, on_event).await?;
            }
        }
        let done = self.statements.len();
        let recorded = format!(
            "SET LOCAL ROLE NONE; {}; {}; COMMIT",
            self.record.in_diesels_table(&session.schema),
            self.record.insert(&session.schema, Outcome::Done, done, self.started.elapsed(), None),
        );
        session.send(&recorded).await.map_err(around)
    }

    /// Statement by statement, each with its record: in one transaction with it where PostgreSQL allows that.
    async fn one_by_one(&mut self, from: usize, repeated: bool, on_event: Watcher<'_>) -> Result<()> {
        let session = self.session;
        let name = self.record.migration.name.clone();
        let failed = |error| fail(&name, &Failure { error, statement: None }, self.script, &[]);
        session.send(FRESH).await.map_err(failed)?;
        let insert = self.record.insert(&session.schema, Outcome::Running, from, Duration::ZERO, None);
        let id = session.try_rows(&insert).await.map_err(failed)?;
        let id = id.first().and_then(|row| row.get(0)).and_then(|id| id.parse().ok()).unwrap_or_default();

        let mut pauses = pauses();
        let mut done = from;
        while done < self.statements.len() {
            let next = self.end_of_unit(done);
            match self.unit(id, done, next, repeated && done == from, on_event).await {
                Ok(()) => done = next,
                Err(failure) => {
                    let _ = session.send("ROLLBACK").await;
                    self.wait_or_fail(failure, done, Some(id), &mut pauses, on_event).await?;
                }
            }
        }
        let last = format!(
            "BEGIN; SET LOCAL ROLE NONE; {}; {}; COMMIT",
            self.record.in_diesels_table(&session.schema),
            history::progress(&session.schema, id, done, Outcome::Done, self.started.elapsed(), None),
        );
        session.send(&last).await.map_err(failed)
    }

    /// The file's own `BEGIN … COMMIT` is one unit, any other statement is one by itself.
    fn end_of_unit(&self, start: usize) -> usize {
        if self.statements[start].kind() != Kind::Begin {
            return start + 1;
        }
        let commit = self.statements[start..].iter().position(|statement| statement.kind() == Kind::Commit);
        commit.map_or(self.statements.len(), |commit| start + commit + 1)
    }

    async fn unit(
        &mut self,
        id: i64,
        start: usize,
        end: usize,
        repeated: bool,
        on_event: Watcher<'_>,
    ) -> Result<(), Failure> {
        let session = self.session;
        let around = |error| Failure { error, statement: None };
        let done = history::progress(&session.schema, id, end, Outcome::Running, self.started.elapsed(), None);
        if let Some(batches) = &self.batches[start] {
            batch::run(session, self.observer, batches, start, self.options, on_event).await?;
        } else if self.statements[start].kind() == Kind::Alone {
            send_alone(session, self.observer, &self.statements, start, repeated, on_event).await?;
        } else {
            session.send("BEGIN").await.map_err(around)?;
            for n in start..end {
                if !matches!(self.statements[n].kind(), Kind::Begin | Kind::Commit) {
                    send(session, self.observer, &self.statements, n, on_event).await?;
                }
            }
            return session.send(&format!("SET LOCAL ROLE NONE; {done}; COMMIT")).await.map_err(around);
        }
        session.send(&format!("BEGIN; SET LOCAL ROLE NONE; {done}; COMMIT")).await.map_err(around)
    }

    /// A pause before the next try, or the end with a record of it.
    async fn wait_or_fail(
        &mut self,
        failure: Failure,
        done: usize,
        id: Option<i64>,
        pauses: &mut impl Iterator<Item = Duration>,
        on_event: Watcher<'_>,
    ) -> Result<()> {
        let by = self.observer.blocked_by.take();
        if failure.is_about_locks() && self.started.elapsed() < self.options.retry_for {
            let statement = failure.statement.and_then(|n| self.statements.get(n)).map(Statement::excerpt);
            let by = format!(
                "{} waited for {}",
                statement.unwrap_or_else(|| "the history".into()),
                by.unwrap_or_else(|| "a lock".into())
            );
            let again_in = pauses.next().unwrap_or(LONGEST_PAUSE);
            on_event(Event::Blocked { by, again_in });
            tokio::time::sleep(again_in).await;
            return Ok(());
        }
        let mut message = failure.explain(self.script, &self.statements);
        if let Some(by) = by.filter(|_| failure.is_about_locks()) {
            message = format!("{message}; it was held by {by}");
        }
        self.record_failure(&message, done, id).await;
        if done > 0 {
            message =
                format!("{message}; statements 1 to {done} are in the database, the next run goes on behind them");
        }
        Err(Error::Migration { name: self.record.migration.name.clone(), message })
    }

    /// Best effort: the error itself is told in any case.
    async fn record_failure(&self, message: &str, done: usize, id: Option<i64>) {
        let (schema, took) = (&self.session.schema, self.started.elapsed());
        let write = match id {
            Some(id) => history::progress(schema, id, done, Outcome::Failed, took, Some(message)),
            None => self.record.insert(schema, Outcome::Failed, done, took, Some(message)),
        };
        if let Err(error) = self.session.send(&format!("{FRESH}; {write}")).await {
            tracing::debug!(%error, "the failure could not be recorded");
        }
    }

    /// What ran already has to be what the file says now.
    async fn is_the_same_up_to(&self, run: &history::Run) -> Result<()> {
        let (up, down) = history::texts(self.session, run.id).await?;
        let sql = if self.record.direction == Way::Down { down.unwrap_or_default() } else { up };
        let ran = Script { file: self.script.file, sql };
        let before = ran.statements()?;
        let same = |n: usize| before.get(n).map(|s| &s.normalised) == self.statements.get(n).map(|s| &s.normalised);
        let Some(changed) = (0..run.statements_done).find(|n| !same(*n)) else { return Ok(()) };
        let migration = self.record.migration;
        Err(Error::Drift {
            problems: vec![Problem {
                version: migration.version.clone(),
                name: migration.name.clone(),
                difference: Difference::Edited,
                message: format!(
                    "statement {} was changed although it is in the database: put it back, or take by hand what ran back \
                     and forget it with `migrate repair --forget {}`",
                    changed + 1,
                    migration.name
                ),
                diff: Some(drift::diff(self.script.file, &ran.sql, &self.script.sql)),
            }],
        })
    }
}

fn fail(name: &str, failure: &Failure, script: &Script, statements: &[Statement]) -> Error {
    Error::Migration { name: name.to_owned(), message: failure.explain(script, statements) }
}
