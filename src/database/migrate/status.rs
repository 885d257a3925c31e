//! Where every migration stands.

use serde::Serialize;

use super::folder::Source;
use super::history::{self, History, Run, Times, Way};
use super::run::Folder;
use super::{Problem, drift};
use crate::database::url::DatabaseUrl;
use crate::error::Result;
use crate::sql::text_enum;

text_enum! {
    /// Where a migration stands.
    MigrationState {
        /// The database has it.
        Applied = "applied",
        /// `migrate up` would apply it.
        Pending = "pending",
        /// Some of its statements are in the database; `migrate up` would go on.
        Interrupted = "interrupted",
        /// Some statements of its `down.sql` ran; `migrate down` would go on, and `migrate up` refuses.
        HalfReverted = "half_reverted",
        /// The database has it, and its files are not here.
        Missing = "missing",
        /// The database has it, and another folder has its files: nothing here touches it unasked.
        Foreign = "foreign",
    }
}

/// One migration, and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationStatus {
    /// Diesel's key.
    pub version: String,
    /// Its directory's name; the version where nobody knows it.
    pub name: String,
    /// Where it stands.
    pub state: MigrationState,
    /// When it was applied, in UTC.
    pub applied_at: Option<String>,
    /// How long that took; `None` where another tool did it.
    pub took_ms: Option<i64>,
    /// Who did it: login, account, host.
    pub by: Option<String>,
    /// How files and database differ.
    pub problems: Vec<Problem>,
}

/// Where every migration stands, oldest first. Writes nothing.
///
/// # Errors
/// [`Error::Configuration`](crate::Error::Configuration) for a folder that cannot be read, an unknown login, a
/// pooler in between; [`Error::Unavailable`](crate::Error::Unavailable) where nothing answers.
pub async fn status(url: &DatabaseUrl, source: &Source) -> Result<Vec<MigrationStatus>> {
    let folder = Folder { id: source.id(), files: source.read()? };
    let (session, history) = history::open(url, None, Times::Read).await?;
    let history = history?;
    let mut problems = drift::compare(&folder, &history)?;
    drift::add_diffs(&session, &mut problems, &folder.files, &history).await?;
    Ok(list(&folder, &history, &problems))
}

/// Every run that the engine knows of, oldest first.
///
/// # Errors
/// As [`status`].
pub async fn history(url: &DatabaseUrl) -> Result<Vec<Run>> {
    let (_, history) = history::open(url, None, Times::Read).await?;
    Ok(history?.runs)
}

fn list(folder: &Folder, history: &History, problems: &[Problem]) -> Vec<MigrationStatus> {
    let of = |version: &str| problems.iter().filter(|p| p.version == version).cloned().collect::<Vec<_>>();
    let files = &folder.files;
    let mut all: Vec<_> = files
        .iter()
        .map(|file| {
            let unfinished = history.unfinished(&file.version).map(|run| run.direction);
            let state = match (history.is_applied(&file.version), unfinished) {
                (_, Some(Way::Down)) => MigrationState::HalfReverted,
                (true, _) => MigrationState::Applied,
                (false, Some(_)) => MigrationState::Interrupted,
                (false, None) => MigrationState::Pending,
            };
            entry(&file.version, &file.name, state, history, of(&file.version))
        })
        .collect();
    let gone = history.applied.iter().filter(|(version, _)| !files.iter().any(|file| file.version == *version));
    all.extend(gone.map(|(version, _)| {
        let name = history.last_done(version).map_or(version.as_str(), |run| run.name.as_str());
        let foreign = history.is_foreign(version, &folder.id);
        let state = if foreign { MigrationState::Foreign } else { MigrationState::Missing };
        entry(version, name, state, history, of(version))
    }));
    let is_half_and_gone = |run: &&Run| !all.iter().any(|one: &MigrationStatus| one.version == run.version);
    let half: Vec<_> = history.half_reverted().filter(is_half_and_gone).cloned().collect();
    all.extend(
        half.iter().map(|run| entry(&run.version, &run.name, MigrationState::HalfReverted, history, Vec::new())),
    );
    all.sort_by(|a, b| a.version.cmp(&b.version));
    all
}

fn entry(
    version: &str,
    name: &str,
    state: MigrationState,
    history: &History,
    problems: Vec<Problem>,
) -> MigrationStatus {
    let applied_at = history.applied.iter().find(|(applied, _)| applied == version).map(|(_, at)| at.clone());
    let run = history.last_done(version).filter(|run| applied_at.is_some() && run.direction != Way::Down);
    MigrationStatus {
        version: version.to_owned(),
        name: name.to_owned(),
        state,
        applied_at: run.map(|run| run.started_at.clone()).or(applied_at),
        took_ms: run.filter(|run| run.direction == Way::Up).map(|run| run.took_ms),
        by: run.map(|run| run.by.clone()),
        problems,
    }
}
