//! Going on with a migration that stopped half way.

use super::Watcher;
use super::alone::{self, Fate, Sent};
use super::drift::{self, Difference, Problem};
use super::history::{self, Left, Run, Way};
use super::record;
use super::script::Script;
use super::send::Place;
use super::session::from_postgres;
use super::state::{Seen, State, custom_names};
use super::statement::Statement;
use super::work::Work;
use crate::error::{Error, Result};

/// What to do about a statement that may have run.
pub(super) fn what_to_do(name: &str) -> String {
    format!(
        "look whether it did, and say so: `bedplate migrate repair --ran {name}` goes on behind it, `--not-run {name}` sends \
         it again"
    )
}

/// What ran already has to be what the file says now.
pub(super) async fn is_the_same(work: &mut Work<'_>, run: &Run, left: &Left) -> Result<()> {
    let checksum = checksum_of(work, run.statements_done)?;
    work.progress.done = run.statements_done;
    work.progress.checksum.clone_from(&checksum);
    if run.statements_done == 0 || left.checksum.as_ref() == Some(&checksum) {
        return Ok(());
    }
    let (up, down) = history::texts(work.session, run.id).await?;
    let ran = Script::new(work.script.file, if run.direction == Way::Down { down.unwrap_or_default() } else { up });
    let changed = first_changed(&ran, work.script, run.statements_done)?;
    // A run of an older version has no checksum.
    if changed.is_none() && left.checksum.as_deref().unwrap_or_default().is_empty() {
        return Ok(());
    }
    let which = match changed {
        Some(changed) if ran.kept().is_some_and(|text| !text.is_empty()) => format!("statement {} was", changed + 1),
        _ => format!("one of the statements 1 to {} was", run.statements_done),
    };
    let name = &work.record.migration.name;
    Err(refused(
        work,
        Difference::Edited,
        format!(
            "is half applied, and {which} changed although it is in the database: put it back, or take by hand what ran \
             back and forget it with `migrate repair --forget {name}`"
        ),
        Some(drift::diff(work.script.file, &ran.text()?, &work.script.text()?)),
    ))
}

fn checksum_of(work: &Work<'_>, statements: usize) -> Result<String> {
    let mut reader = work.script.reader(work.session.escapes)?;
    while reader.count < statements && reader.next()?.is_some() {}
    Ok(reader.checksum())
}

fn first_changed(ran: &Script, now: &Script, done: usize) -> Result<Option<usize>> {
    let (mut ran, mut now) = (ran.reader(false)?, now.reader(false)?);
    for n in 0..done {
        let (before, after) = (ran.next()?, now.next()?);
        if before.is_none() || after.is_none() || ran.checksum() != now.checksum() {
            return Ok(Some(n));
        }
    }
    Ok(None)
}

fn refused(work: &Work<'_>, difference: Difference, message: String, diff: Option<String>) -> Error {
    let migration = work.record.migration;
    let (version, name) = (migration.version.clone(), migration.name.clone());
    Error::Drift { problems: vec![Problem { version, name, difference, message, diff }] }
}

/// Finds out what became of a statement of which nobody saw the end.
pub(super) async fn decide_on_sent(work: &mut Work<'_>, run: &Run, left: &Left, on_event: Watcher<'_>) -> Result<()> {
    let Some(sent) = left.sent.as_deref().and_then(|json| serde_json::from_str::<Sent>(json).ok()) else {
        return Ok(());
    };
    if sent.statement != run.statements_done {
        return Ok(());
    }
    let Some(statement) = statement(work, sent.statement)? else { return Ok(()) };
    let session = work.session;
    let patience = std::time::Duration::from_secs(10);
    let place = Place::of(&statement, sent.statement).words(work.script.file, work.checked.statements);
    let cleaned = alone::clean(session, work.observer, &statement, &sent, patience, on_event).await;
    let cleaned = cleaned.map_err(|error| from_postgres(&error))?;
    let fate = match cleaned {
        Ok(()) if sent.not_run => Fate::NotRun,
        Ok(()) => alone::fate(session, &statement, &sent).await.map_err(|error| from_postgres(&error))?,
        Err(why) => {
            return Err(refused(work, Difference::MayHaveRun, format!("stopped half way, at {place}: {why}"), None));
        }
    };
    match fate {
        Fate::Ran => {
            work.progress.done += 1;
            work.progress.checksum = checksum_of(work, work.progress.done)?;
            // The run may still refuse to go on: what is known now is not to be found out again.
            let how = "the catalogue shows it";
            let known = record::ran(session.schema(), run.id, work.progress.done, &work.progress.checksum, how);
            if let Err(failure) = work.persist(&known, on_event).await {
                let why = failure.explain(work.script.file, work.checked.statements, false);
                return Err(Error::Migration { name: work.record.migration.name.clone(), message: why });
            }
        }
        Fate::NotRun => work.before = Some(Sent { not_run: false, ..sent }),
        Fate::Unknown => {
            let message = format!(
                "stopped half way, and {place} may have run: its runner ended before it saw the statement's end; {}",
                what_to_do(&work.record.migration.name)
            );
            return Err(refused(work, Difference::MayHaveRun, message, None));
        }
    }
    Ok(())
}

fn statement(work: &Work<'_>, n: usize) -> Result<Option<Statement>> {
    let mut reader = work.script.reader(work.session.escapes)?;
    let mut found = None;
    while reader.count <= n {
        found = reader.next()?;
        if found.is_none() {
            break;
        }
    }
    Ok(found)
}

/// Brings the state of the session back.
pub(super) async fn restore(work: &mut Work<'_>, left: &Left) -> Result<()> {
    work.state = left.session.as_deref().map(State::from_json).unwrap_or_default();
    let mut reader = work.script.reader(work.session.escapes)?;
    let mut repeated = Vec::new();
    while reader.count < work.progress.done {
        let n = reader.count;
        let Some(statement) = reader.next()? else { break };
        if !statement.is_quiet() {
            custom_names(&statement.sql, &mut work.names);
        }
        if let Some(lost) = work.state.lost.iter().find(|lost| (lost.first..lost.end).contains(&n)) {
            repeated.push((Place::of(&statement, n), statement.sql, lost.what.clone()));
        }
    }
    if let (false, Some((_, _, what))) = (work.state.repeat, repeated.first()) {
        let places = repeated.iter().map(|(place, ..)| place.words(work.script.file, work.checked.statements));
        let message = format!(
            "stopped half way, and its session is gone with {what}: {} has to be repeated; \
             `bedplate migrate repair --repeat {}` lets the next run send it again",
            places.collect::<Vec<_>>().join(", "),
            work.record.migration.name
        );
        return Err(refused(work, Difference::SessionLost, message, None));
    }
    let failed = |error: &tokio_postgres::Error| Error::Migration {
        name: work.record.migration.name.clone(),
        message: format!("the state of its session could not be restored: {error}"),
    };
    let settings = work.state.restore();
    if !settings.is_empty() {
        work.session.send(&settings).await.map_err(|error| failed(&error))?;
    }
    for (_, sql, _) in &repeated {
        work.session.send(sql).await.map_err(|error| failed(&error))?;
    }
    if !repeated.is_empty() {
        let seen = Seen::of(work.session, &work.names).await.map_err(|error| failed(&error))?;
        work.state = work.state.then(seen, 0, work.progress.done);
    }
    Ok(())
}
