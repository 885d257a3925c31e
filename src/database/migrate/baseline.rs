//! Mending the record without running anything: what is applied by other means, edited on purpose, gone for good.

use std::time::Duration;

use super::check::{self, check};
use super::drift::{self, Difference};
use super::folder::{Migration, Source};
use super::history::{self, History, Outcome, Run, Way};
use super::record::{self, Progress, Record};
use super::run::Folder;
use super::session::Session;
use super::steps::{find, is};
use super::{Event, Options, Watcher, lock};
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result};
use crate::sql::quote_literal;

/// What [`repair`] is told to do beyond what is safe anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// The database has this migration, as its files say now.
    Accept(String),
    /// The database has nothing of this migration.
    Forget(String),
    /// The statement of this migration that may have run did run: the next run goes on behind it.
    Ran(String),
    /// The statement of this migration that may have run did not: the next run sends it again.
    NotRun(String),
    /// The next run of this migration may send the statements again that made what its session had and has no more.
    Repeat(String),
}

/// Declares the migrations up to `to`, by version or name, or all, to be applied, without running them: for a
/// database whose tables came by other means. Records the present texts of those that another tool applied. Returns
/// the names of those whose record changed. May run any number of times.
///
/// # Errors
/// [`Error::NotFound`] for an unknown `to`; those of [`run`](super::run).
pub async fn baseline(
    url: &DatabaseUrl,
    source: &Source,
    to: Option<&str>,
    options: &Options,
    mut on_event: impl FnMut(Event) + Send,
) -> Result<Vec<String>> {
    let (id, files) = (source.id(), source.read()?);
    let last = to.map(|name| find(&files, name)).transpose()?;
    let (session, history) = open(url, options, &mut on_event).await?;
    let mut declared = Vec::new();
    for file in files.iter().filter(|file| last.is_none_or(|last| file.version <= last.version)) {
        let known = history.is_applied(&file.version)
            && history.last_done(&file.version).is_some_and(|run| run.direction != Way::Down);
        if !known {
            declare_applied(&session, file, Way::Baseline, &id).await?;
            declared.push(file.name.clone());
        }
    }
    Ok(declared)
}

/// Mends the record: edits of comments and of down.sql, and new names, are recorded; runs whose runner was killed are
/// marked as failed; and what `repairs` say. Changes no table but the history. Returns what was done, in words.
///
/// # Errors
/// [`Error::NotFound`] for an unknown name; those of [`run`](super::run).
pub async fn repair(
    url: &DatabaseUrl,
    source: &Source,
    repairs: &[Repair],
    options: &Options,
    mut on_event: impl FnMut(Event) + Send,
) -> Result<Vec<String>> {
    let folder = Folder { id: source.id(), files: source.read()? };
    let files = &folder.files;
    let (session, history) = open(url, options, &mut on_event).await?;
    let mut done = Vec::new();
    // This runner has the lock, so nobody is at work.
    let killed = format!("{} RETURNING name", record::killed(session.schema(), "true"));
    done.extend(
        session.texts(&killed).await?.iter().map(|name| format!("{name}: a run that was killed is marked as failed")),
    );
    for repair in repairs {
        done.push(match repair {
            Repair::Accept(name) => {
                let file = find(files, name)?;
                declare_applied(&session, file, Way::Repair, &folder.id).await?;
                format!("{}: is applied, as its files say now", file.name)
            }
            Repair::Forget(name) => forget(&session, files, &history, name).await?,
            Repair::Ran(name) => sent(&session, &folder, &history, name, true).await?,
            Repair::NotRun(name) => sent(&session, &folder, &history, name, false).await?,
            Repair::Repeat(name) => repeat(&session, &history, name).await?,
        });
    }
    for problem in drift::compare(&folder, &history::read(&session).await?)? {
        let file = files.iter().find(|file| file.version == problem.version);
        if let (Some(file), Difference::Cosmetic | Difference::DownEdited | Difference::Renamed) =
            (file, problem.difference)
        {
            declare_applied(&session, file, Way::Repair, &folder.id).await?;
            done.push(format!("{}: {} recorded", file.name, problem.difference.as_str().replace('_', " ")));
        }
    }
    Ok(done)
}

/// The run that stopped half way, by the migration's version or name.
fn half_way<'h>(history: &'h History, name: &str) -> Result<&'h Run> {
    let mut runs = history.runs.iter().rev().filter(|run| is(name, &run.version, &run.name));
    let unfinished = runs.find_map(|run| history.unfinished(&run.version));
    unfinished.ok_or_else(|| Error::NotFound { entity: "half applied or half reverted migration", id: name.to_owned() })
}

/// Decides on the statement that may have run.
async fn sent(session: &Session, folder: &Folder, history: &History, name: &str, ran: bool) -> Result<String> {
    let run = half_way(history, name)?;
    let Some(number) = run.may_have_run else {
        return Err(Error::NotFound { entity: "statement that may have run, in migration", id: name.to_owned() });
    };
    let id = run.id;
    if !ran {
        session.run(&record::did_not_run(session.schema(), id, number)).await?;
        return Ok(format!("{}: statement {number} did not run, the next run sends it", run.name));
    }
    let file = find(&folder.files, name)?;
    let script = check::script(file, run.direction)?;
    let mut reader = script.reader(session.escapes)?;
    while reader.count < number && reader.next()?.is_some() {}
    let how = "`migrate repair` said so";
    session.run(&record::ran(session.schema(), id, number, &reader.checksum(), how)).await?;
    Ok(format!("{}: statement {number} ran, the next run goes on behind it", run.name))
}

/// Lets the next run send again what made the things of a session.
async fn repeat(session: &Session, history: &History, name: &str) -> Result<String> {
    let run = half_way(history, name)?;
    let sql = format!(
        "UPDATE {}.__bedplate_migrations SET session = session || '{{\"repeat\": true}}' WHERE id = {}",
        session.schema(),
        run.id
    );
    session.run(&sql).await?;
    Ok(format!("{}: the next run sends again what made the things of its session", run.name))
}

async fn open(url: &DatabaseUrl, options: &Options, on_event: Watcher<'_>) -> Result<(Session, History)> {
    let session = Session::open(url, options.lock_timeout).await?;
    if session.read_only {
        return Err(super::session::read_only());
    }
    lock::take(&session, options, on_event).await?;
    record::prepare(&session).await?;
    let history = history::read(&session).await?;
    Ok((session, history))
}

/// Writes into both tables that the migration is applied.
async fn declare_applied(session: &Session, migration: &Migration, direction: Way, source: &str) -> Result<()> {
    let checked = check(migration, &migration.up, session.escapes)?;
    let record = Record { migration, direction, checked: &checked, source };
    let progress = Progress { done: checked.statements, ..Progress::default() };
    let sql = format!(
        "BEGIN; {}; {}; COMMIT",
        record.in_diesels_table(session.schema()),
        record.insert(session.schema(), Outcome::Done, &progress, Duration::ZERO, None)?
    );
    session.run(&sql).await
}

/// Writes into both tables that the database has nothing of it. Its files may be gone: the record of its last run is
/// copied.
async fn forget(session: &Session, files: &[Migration], history: &History, name: &str) -> Result<String> {
    let from_files = files.iter().map(|file| (&file.version, &file.name));
    let from_runs = history.runs.iter().map(|run| (&run.version, &run.name));
    let from_diesel = history.applied.iter().map(|(version, _)| (version, version));
    let found =
        from_files.chain(from_runs).chain(from_diesel).find(|(version, directory)| is(name, version, directory));
    let (version, directory) = found.ok_or_else(|| Error::NotFound { entity: "migration", id: name.to_owned() })?;
    let (schema, quoted) = (session.schema(), quote_literal(version));
    session
        .run(&format!(
            "BEGIN; DELETE FROM {schema}.__diesel_schema_migrations WHERE version = {quoted}; \
             INSERT INTO {schema}.__bedplate_migrations (version, name, direction, outcome, up_sql, down_sql, checksum, \
                 sql_checksum, down_checksum, statements, statements_done, started_at, took_ms, application_version, run_in_transaction, source) \
             SELECT version, name, 'down', 'done', up_sql, down_sql, checksum, sql_checksum, down_checksum, \
                 statements, 0, clock_timestamp(), 0, {}, run_in_transaction, source \
               FROM {schema}.__bedplate_migrations WHERE version = {quoted} ORDER BY id DESC LIMIT 1; COMMIT",
            quote_literal(env!("CARGO_PKG_VERSION"))
        ))
        .await?;
    Ok(format!("{directory}: forgotten, it is not applied"))
}
