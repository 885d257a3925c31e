//! What has to be done, and whether it may be done.
//!
//! Always holds: what another folder has applied is reverted only where it is named.

use std::collections::BTreeSet;

use super::drift::{self, Difference, Problem};
use super::folder::{Metadata, Migration};
use super::history::{self, History, Way};
use super::run::Folder;
use super::script::Script;
use super::session::Session;
use super::{Direction, Options};
use crate::error::{Error, Result};

/// What differs without stopping anything; an error for what stops this direction.
pub(super) async fn check(
    session: &Session,
    folder: &Folder,
    history: &History,
    direction: &Direction,
    options: &Options,
) -> Result<Vec<Problem>> {
    let up = matches!(direction, Direction::Up | Direction::UpTo(_));
    let allowed = |problem: &Problem| {
        problem.difference == Difference::OutOfOrder
            && options.allow_out_of_order.iter().any(|name| is(name, &problem.version, &problem.name))
    };
    let (mut refused, noticed): (Vec<_>, Vec<_>) = drift::compare(folder, history)?
        .into_iter()
        .filter(|problem| !problem.refuses() || (up && !allowed(problem)))
        .partition(Problem::refuses);
    if refused.is_empty() {
        return Ok(noticed);
    }
    drift::add_diffs(session, &mut refused, &folder.files, history).await?;
    Err(Error::Drift { problems: refused })
}

/// Whether `name` means this migration: by its version, with or without `-`, or its directory's name.
pub(super) fn is(name: &str, version: &str, directory: &str) -> bool {
    name == directory || name.replace('-', "") == version
}

/// The steps, in order.
pub(super) async fn steps(
    session: &Session,
    folder: &Folder,
    history: &History,
    direction: &Direction,
) -> Result<Vec<(Migration, Way)>> {
    let files = &folder.files;
    let pending = || files.iter().filter(|file| !history.is_applied(&file.version));
    let ups = |migrations: Vec<&Migration>| migrations.into_iter().map(|file| (file.clone(), Way::Up)).collect();
    // Newest first.
    let own = applied(folder, history).rev();
    let (downs, again): (Vec<_>, bool) = match direction {
        Direction::Up => return Ok(ups(pending().collect())),
        Direction::UpTo(last) => {
            let last = find(files, last)?;
            return Ok(ups(pending().filter(|file| file.version <= last.version).collect()));
        }
        Direction::Down { count } => (own.take(*count).collect(), false),
        Direction::DownAll => (own.collect(), false),
        Direction::DownTo(last) => {
            let last = &find(files, last)?.version;
            (own.filter(|version| *version > last.as_str()).collect(), false)
        }
        Direction::DownThese(names) => (named(files, history, names)?, false),
        Direction::Redo => (own.take(1).collect(), true),
    };
    nothing_half_applied_above(files, history, &downs)?;
    let mut steps = Vec::with_capacity(downs.len());
    for version in downs {
        let migration = match files.iter().find(|file| file.version == version) {
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

/// The versions that are in the database, oldest first, and that belong to this folder: it has their files, or had them
/// when it applied them. What is half reverted counts.
fn applied<'h>(folder: &'h Folder, history: &'h History) -> impl DoubleEndedIterator<Item = &'h str> {
    let there = versions(history).into_iter();
    there.filter(|version| {
        let has_files = folder.files.iter().any(|file| file.version == *version);
        let source = history.last_done(version).and_then(|run| run.source.as_deref());
        has_files || source == Some(folder.id.as_str())
    })
}

/// Those that are applied and those that are half reverted, oldest first.
fn versions(history: &History) -> BTreeSet<&str> {
    let applied = history.applied.iter().map(|(version, _)| version.as_str());
    applied.chain(history.half_reverted().map(|run| run.version.as_str())).collect()
}

/// The versions that names mean, newest first.
fn named<'h>(files: &[Migration], history: &'h History, names: &[String]) -> Result<Vec<&'h str>> {
    let there = versions(history);
    let mut found = BTreeSet::new();
    for name in names {
        let directory = |version: &str| {
            let file = files.iter().find(|file| file.version == version).map(|file| file.name.as_str());
            file.or_else(|| history.last_done(version).map(|run| run.name.as_str())).unwrap_or(version).to_owned()
        };
        let version = there.iter().find(|version| is(name, version, &directory(version)));
        found.insert(*version.ok_or_else(|| Error::NotFound { entity: "applied migration", id: name.clone() })?);
    }
    Ok(found.into_iter().rev().collect())
}

/// What is half applied stands on what is below it.
fn nothing_half_applied_above(files: &[Migration], history: &History, downs: &[&str]) -> Result<()> {
    let Some(lowest) = downs.iter().min() else { return Ok(()) };
    let half = files.iter().filter(|file| file.version.as_str() > *lowest && !downs.contains(&file.version.as_str()));
    let problems: Vec<_> = half
        .filter_map(|file| {
            let run = history.unfinished(&file.version).filter(|run| run.direction == Way::Up)?;
            Some(Problem {
                version: file.version.clone(),
                name: file.name.clone(),
                difference: Difference::Interrupted,
                message: format!(
                    "is half applied, {} of {} statements, and what is below it cannot be reverted: `migrate up` applies the \
                     rest; or take by hand back what ran, and forget it with `migrate repair --forget {}`",
                    run.statements_done, run.statements, file.name
                ),
                diff: None,
            })
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Drift { problems }) }
}

pub(super) fn find<'m>(files: &'m [Migration], name: &str) -> Result<&'m Migration> {
    files
        .iter()
        .find(|file| is(name, &file.version, &file.name))
        .ok_or_else(|| Error::NotFound { entity: "migration", id: name.to_owned() })
}

/// A migration whose files are gone, as the history has it.
async fn recorded(session: &Session, history: &History, version: &str) -> Result<Migration> {
    let gone = |why: &str| {
        Error::configuration(format!(
            "{version} is applied, but its files are not here, and {why}: it cannot be reverted"
        ))
    };
    let run = history.last_done(version).ok_or_else(|| gone("it was not applied by bedplate"))?;
    let (up, down) = history::texts(session, run.id).await?;
    if down.is_none() && !run.down_checksum.is_empty() {
        return Err(gone("its down.sql was too long to be kept in the history"));
    }
    Ok(Migration {
        version: version.to_owned(),
        name: run.name.clone(),
        up: Script::new("up.sql", up),
        down: down.map(|sql| Script::new("down.sql", sql)),
        // Of a run of an older version it is not known: what could not run in a transaction says so.
        metadata: Metadata {
            run_in_transaction: run.run_in_transaction.unwrap_or(true),
            lint: std::collections::BTreeMap::new(),
            unseen: std::collections::BTreeMap::new(),
        },
    })
}
