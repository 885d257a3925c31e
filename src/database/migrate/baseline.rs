//! Mending the record without running anything: what is applied by other means, edited on purpose, gone for good.

use std::time::Duration;

use super::drift::{self, Difference};
use super::folder::{Migration, Source};
use super::history::{self, History, Outcome, Record, Way};
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
    let files = source.read()?;
    let last = to.map(|name| find(&files, name)).transpose()?;
    let (session, history) = open(url, options, &mut on_event).await?;
    let mut declared = Vec::new();
    for file in files.iter().filter(|file| last.is_none_or(|last| file.version <= last.version)) {
        let known = history.is_applied(&file.version)
            && history.last_done(&file.version).is_some_and(|run| run.direction != Way::Down);
        if !known {
            record(&session, file, Way::Baseline).await?;
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
    let files = source.read()?;
    let (session, history) = open(url, options, &mut on_event).await?;
    let mut done = Vec::new();
    // This runner has the lock, so nobody is at work.
    let killed = format!(
        "UPDATE {}.__bedplate_migrations SET outcome = 'failed', error = 'the runner was killed' \
          WHERE outcome = 'running' RETURNING name",
        session.schema
    );
    done.extend(
        session.texts(&killed).await?.iter().map(|name| format!("{name}: a run that was killed is marked as failed")),
    );
    for repair in repairs {
        done.push(match repair {
            Repair::Accept(name) => {
                let file = find(&files, name)?;
                record(&session, file, Way::Repair).await?;
                format!("{}: is applied, as its files say now", file.name)
            }
            Repair::Forget(name) => forget(&session, &files, &history, name).await?,
        });
    }
    for problem in drift::compare(&files, &history::read(&session).await?)? {
        let file = files.iter().find(|file| file.version == problem.version);
        if let (Some(file), Difference::Cosmetic | Difference::DownEdited | Difference::Renamed) =
            (file, problem.difference)
        {
            record(&session, file, Way::Repair).await?;
            done.push(format!("{}: {} recorded", file.name, problem.difference.as_str().replace('_', " ")));
        }
    }
    Ok(done)
}

async fn open(url: &DatabaseUrl, options: &Options, on_event: Watcher<'_>) -> Result<(Session, History)> {
    let session = Session::open(url, options.lock_timeout).await?;
    if session.read_only {
        return Err(super::session::read_only());
    }
    lock::take(&session, options, on_event).await?;
    history::prepare(&session).await?;
    let history = history::read(&session).await?;
    Ok((session, history))
}

/// Writes into both tables that the migration is applied.
async fn record(session: &Session, migration: &Migration, direction: Way) -> Result<()> {
    let statements = migration.up.statements()?.len();
    let record = Record { migration, direction, statements };
    let sql = format!(
        "BEGIN; {}; {}; COMMIT",
        record.in_diesels_table(&session.schema),
        record.insert(&session.schema, Outcome::Done, statements, Duration::ZERO, None)
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
    let (schema, quoted) = (&session.schema, quote_literal(version));
    session
        .run(&format!(
            "BEGIN; DELETE FROM {schema}.__diesel_schema_migrations WHERE version = {quoted}; \
             INSERT INTO {schema}.__bedplate_migrations (version, name, direction, outcome, up_sql, down_sql, checksum, \
                 sql_checksum, down_checksum, statements, statements_done, started_at, took_ms, application_version) \
             SELECT version, name, 'down', 'done', up_sql, down_sql, checksum, sql_checksum, down_checksum, \
                 statements, 0, clock_timestamp(), 0, {} \
               FROM {schema}.__bedplate_migrations WHERE version = {quoted} ORDER BY id DESC LIMIT 1; COMMIT",
            quote_literal(env!("CARGO_PKG_VERSION"))
        ))
        .await?;
    Ok(format!("{directory}: forgotten, it is not applied"))
}
