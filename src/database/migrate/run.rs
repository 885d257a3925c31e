//! Applying and reverting: what surrounds the work on single migrations.

use std::sync::Arc;
use std::time::Instant;

use super::check::{self, check};
use super::folder::{Migration, Source};
use super::guard::Guard;
use super::history::{self, History, Times, Way};
use super::observe::Observer;
use super::patience::{LONGEST_PAUSE, Patience, pauses};
use super::record;
use super::session::{Session, read_only};
use super::steps::{check as check_history, steps};
use super::work::{Ended, Work};
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
/// knows what. [`Error::Drift`] where the files are not what was applied, where a migration is half reverted, or where a
/// statement may have run; [`Error::Timeout`] when another runner, or whoever holds the history's table, does not end;
/// [`Error::Configuration`] for a folder that cannot be read, a read-only server, a pooler in between.
pub async fn run_with(
    url: &DatabaseUrl,
    source: &Source,
    direction: Direction,
    options: &Options,
    mut on_event: impl FnMut(Event) + Send,
) -> Result<Vec<String>> {
    run_guarded(url, source, direction, options, None, &mut on_event).await
}

/// The same; a dry run has a guard.
pub(super) async fn run_guarded(
    url: &DatabaseUrl,
    source: &Source,
    direction: Direction,
    options: &Options,
    guard: Option<&Arc<Guard>>,
    on_event: Watcher<'_>,
) -> Result<Vec<String>> {
    let reading = {
        let source = source.clone();
        tokio::task::spawn_blocking(move || Ok::<_, Error>((source.id(), source.read()?)))
    };
    let (mut session, history) = history::open(url, options.lock_timeout, Times::LeftOut).await?;
    session.guard = guard.cloned();
    let history = match history {
        Err(error) => read_again(&session, error, options, on_event).await?,
        Ok(history) => history,
    };
    let read = reading.await.map_err(|error| Error::Io { doing: "reading migrations".into(), source: error.into() })?;
    let (id, files) = read?;
    let folder = Folder { id, files };
    let problems = check_history(&session, &folder, &history, &direction, options).await?;
    if steps(&session, &folder, &history, &direction).await?.is_empty() {
        notice(problems, on_event);
        return Ok(Vec::new());
    }
    if session.read_only {
        return Err(read_only());
    }
    session.get_ready().await?;
    lock::take(&session, options, on_event).await?;
    // Whoever had the lock before may have done it all.
    let history = prepared(&session, history.tables, options, on_event).await?;
    let problems = check_history(&session, &folder, &history, &direction, options).await?;
    notice(problems, on_event);
    let steps = steps(&session, &folder, &history, &direction).await?;

    let mut runner =
        Runner { url, folder: &folder, options, guard, observer: Observer::new(url, session.pid), session, history };
    let mut done: Vec<String> = Vec::with_capacity(steps.len());
    for (index, (migration, way)) in steps.iter().enumerate() {
        on_event(Event::Started { name: migration.name.clone(), number: index + 1, of: steps.len() });
        let started = Instant::now();
        let last = index + 1 == steps.len();
        let did;
        (runner, did) = runner.step(migration, *way, last, on_event).await?;
        if did {
            on_event(Event::Finished { name: migration.name.clone(), took: started.elapsed() });
            done.push(migration.name.clone());
        }
    }
    runner.session.close().await;
    done.dedup();
    Ok(done)
}

/// The migrations of a source, and the name by which the history knows it.
pub(super) struct Folder {
    pub(super) id: String,
    pub(super) files: Vec<Migration>,
}

/// A runner that has the lock.
struct Runner<'r> {
    url: &'r DatabaseUrl,
    folder: &'r Folder,
    options: &'r Options,
    guard: Option<&'r Arc<Guard>>,
    observer: Observer,
    session: Session,
    history: History,
}

impl Runner<'_> {
    /// One migration. Nothing that it sets for its session reaches the next one: that has a session of its own, unless
    /// this one has only such statements as change nothing of a session. Returns whether it was this runner that did it.
    async fn step(
        mut self,
        migration: &Migration,
        way: Way,
        last: bool,
        on_event: Watcher<'_>,
    ) -> Result<(Self, bool)> {
        let script = check::script(migration, way)?;
        let checked = check(migration, script, self.session.escapes)?;
        let mut patience = Patience::default();
        loop {
            let unfinished = self.history.unfinished(&migration.version).filter(|run| run.direction == way);
            // Another runner was at work between two sessions of this one.
            let is_done = self.history.is_applied(&migration.version) != (way == Way::Down);
            if is_done && unfinished.is_none() {
                return Ok((self, false));
            }
            let about = (migration, way, self.folder.id.as_str());
            let (session, observer) = (&self.session, &mut self.observer);
            let mut work = Work::new(session, observer, about, &checked, self.options, &mut patience)?;
            if work.run(unfinished, on_event).await? == Ended::Done {
                break;
            }
            self = self.with_another_session(on_event).await?;
        }
        self.history.went(&migration.version, way);
        if checked.changes_session && !last {
            return Ok((self.with_another_session(on_event).await?, true));
        }
        Ok((self, true))
    }

    async fn with_another_session(mut self, on_event: Watcher<'_>) -> Result<Self> {
        self.session.close().await;
        let (mut session, history) = history::open(self.url, self.options.lock_timeout, Times::LeftOut).await?;
        session.guard = self.guard.cloned();
        session.get_ready().await?;
        lock::take(&session, self.options, on_event).await?;
        // Read before the lock was there.
        drop(history);
        self.history = match history::read(&session).await {
            Err(error) => read_again(&session, error, self.options, on_event).await?,
            Ok(history) => history,
        };
        self.observer.turn_to(session.pid);
        self.session = session;
        Ok(self)
    }
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

/// The history, whose tables are made where they are missing.
async fn prepared(session: &Session, made: bool, options: &Options, on_event: Watcher<'_>) -> Result<History> {
    let prepared = async {
        if !made {
            record::prepare(session).await?;
        }
        history::read(session).await
    };
    match prepared.await {
        Err(error) => read_again(session, error, options, on_event).await,
        done => done,
    }
}

/// Again and again, while somebody holds the history's tables.
async fn read_again(session: &Session, first: Error, options: &Options, on_event: Watcher<'_>) -> Result<History> {
    let started = Instant::now();
    let (mut pauses, mut error) = (pauses(), first);
    loop {
        if !matches!(error, Error::Timeout { waited_for: WaitedFor::Lock }) || started.elapsed() >= options.retry_for {
            return Err(error);
        }
        on_event(Event::Blocked { by: "the history waited for whoever holds its table".into() });
        tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
        error = match history::read(session).await {
            Ok(history) if history.tables => return Ok(history),
            Ok(history) => match (session.read_only, record::prepare(session).await) {
                (true, _) | (_, Ok(())) => return Ok(history),
                (_, Err(error)) => error,
            },
            Err(error) => error,
        };
    }
}
