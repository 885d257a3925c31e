//! Applying and reverting: what surrounds the work on single migrations.

use std::time::Instant;

use super::folder::Source;
use super::history::{self, History};
use super::observe::Observer;
use super::session::{Session, read_only};
use super::steps::{check, steps};
use super::work::{LONGEST_PAUSE, Work, pauses};
use super::{Difference, Direction, Event, Options, Problem, Watcher, lock};
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

/// Those that another tool applied are told in one, for there may be hundreds.
fn notice(problems: Vec<Problem>, on_event: Watcher<'_>) {
    let (elsewhere, problems): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.difference == Difference::AppliedElsewhere);
    let others = elsewhere.len().saturating_sub(1);
    let first = elsewhere.into_iter().next().map(|mut problem| {
        if others > 0 {
            problem.message = format!("(and {others} others) {}", problem.message);
        }
        problem
    });
    for problem in problems.into_iter().chain(first) {
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
