//! What there is to do, and whether it may be done.

use super::drift::{self, Difference, Problem};
use super::folder::{Metadata, Migration};
use super::history::{self, History, Way};
use super::script::Script;
use super::session::Session;
use super::{Direction, Options};
use crate::error::{Error, Result};

/// What differs without stopping anything; an error for what stops this direction.
pub(super) async fn check(
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
pub(super) async fn steps(
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
        metadata: Metadata { run_in_transaction: true, lint: std::collections::BTreeMap::new() },
    })
}
