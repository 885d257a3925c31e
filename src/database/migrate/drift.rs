//! Where files and database differ: what was edited, what is gone, what came too late, what stopped half-way.

use serde::Serialize;
use similar::TextDiff;

use super::folder::Migration;
use super::history::{self, History, Run, Way};
use super::script::Script;
use super::session::Session;
use crate::error::Result;
use crate::sql::text_enum;

text_enum! {
    /// How files and database differ.
    Difference {
        /// The SQL of an applied `up.sql` is another one. Refused.
        Edited = "edited",
        /// Pending, and a later one is applied. Refused, unless it is allowed by name.
        OutOfOrder = "out_of_order",
        /// Comments or white space of an applied `up.sql` changed. Passes.
        Cosmetic = "cosmetic",
        /// The SQL of an applied migration's `down.sql` is another one. Passes: it may have been mended.
        DownEdited = "down_edited",
        /// Applied, and its files are not here. Passes.
        Missing = "missing",
        /// Its directory has another name than it had. Passes.
        Renamed = "renamed",
        /// Applied by another tool, as the diesel CLI: which text, nobody knows. Passes.
        AppliedElsewhere = "applied_elsewhere",
        /// Reverted by another tool. It is pending.
        RevertedElsewhere = "reverted_elsewhere",
        /// It stopped after some of its statements. The next run goes on from there.
        Interrupted = "interrupted",
    }
}

/// One difference, about one migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The migration's.
    pub version: String,
    /// Its directory's name.
    pub name: String,
    /// What differs.
    pub difference: Difference,
    /// In words, with what to do.
    pub message: String,
    /// What changed, as lines, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

impl Problem {
    fn new(version: &str, name: &str, difference: Difference, message: impl Into<String>) -> Self {
        Self { version: version.to_owned(), name: name.to_owned(), difference, message: message.into(), diff: None }
    }

    /// Whether nothing runs while it is so.
    #[must_use]
    pub fn refuses(&self) -> bool {
        matches!(self.difference, Difference::Edited | Difference::OutOfOrder)
    }
}

/// Compares without the database's texts: by checksums.
pub(super) fn compare(files: &[Migration], history: &History) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let newest = history.applied.last().map(|(version, _)| version.as_str());
    for file in files {
        let last = history.last_done(&file.version);
        let found =
            if history.is_applied(&file.version) { applied(file, last)? } else { pending(file, last, newest, history) };
        problems
            .extend(found.into_iter().map(|(what, message)| Problem::new(&file.version, &file.name, what, message)));
    }
    for (version, _) in &history.applied {
        if !files.iter().any(|file| file.version == *version) {
            let run = history.last_done(version);
            let name = run.map_or(version.as_str(), |run| run.name.as_str());
            let down =
                if run.is_some() { "; `migrate down` reverts it with the down.sql that was recorded" } else { "" };
            let message = format!(
                "is applied, but its files are not here: take them from the branch or the version that has them{down}"
            );
            problems.push(Problem::new(version, name, Difference::Missing, message));
        }
    }
    problems.sort_by(|a, b| a.version.cmp(&b.version));
    Ok(problems)
}

fn applied(file: &Migration, last: Option<&Run>) -> Result<Vec<(Difference, String)>> {
    let mut found = Vec::new();
    let Some(run) = last.filter(|run| run.direction != Way::Down) else {
        let message = "was applied by another tool: `migrate baseline` records its text as it is now";
        return Ok(vec![(Difference::AppliedElsewhere, message.to_owned())]);
    };
    if run.checksum != file.up.checksum() {
        if run.sql_checksum == file.up.sql_checksum()? {
            let message = "only comments or white space of its up.sql changed; `migrate repair` records them";
            found.push((Difference::Cosmetic, message.to_owned()));
        } else {
            let message = format!(
                "its up.sql was changed after it was applied: put it back and write a new migration, or, where the \
                 database has the change, `migrate repair --accept {}`",
                file.name
            );
            found.push((Difference::Edited, message));
        }
    }
    let down = file.down.as_ref().map(Script::checksum).unwrap_or_default();
    if run.down_checksum != down {
        found.push((
            Difference::DownEdited,
            "its down.sql is another than it was; `migrate repair` records it".to_owned(),
        ));
    }
    if run.name != file.name {
        found.push((Difference::Renamed, format!("was named {} when it was applied", run.name)));
    }
    Ok(found)
}

fn pending(file: &Migration, last: Option<&Run>, newest: Option<&str>, history: &History) -> Vec<(Difference, String)> {
    let mut found = Vec::new();
    if let Some(newest) = newest.filter(|newest| *newest > file.version.as_str()) {
        let message = format!(
            "is pending, but the later {newest} is applied: give it a later time, or allow it with --allow-out-of-order {}",
            file.name
        );
        found.push((Difference::OutOfOrder, message));
    }
    if let Some(run) = history.unfinished(&file.version) {
        let message = format!(
            "stopped after {} of {} statements{}: `migrate up` goes on from there",
            run.statements_done,
            run.statements,
            run.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
        );
        found.push((Difference::Interrupted, message));
    } else if last.is_some_and(|run| run.direction != Way::Down) {
        found.push((Difference::RevertedElsewhere, "was reverted by another tool: it is pending again".to_owned()));
    }
    found
}

/// Reads what was applied, to show what was edited since.
pub(super) async fn add_diffs(
    session: &Session,
    problems: &mut [Problem],
    files: &[Migration],
    history: &History,
) -> Result<()> {
    for problem in problems {
        let file = files.iter().find(|file| file.version == problem.version);
        let (Some(file), Some(run)) = (file, history.last_done(&problem.version)) else { continue };
        let (up, down) = match problem.difference {
            Difference::Edited | Difference::Cosmetic | Difference::DownEdited => {
                history::texts(session, run.id).await?
            }
            _ => continue,
        };
        problem.diff = Some(if problem.difference == Difference::DownEdited {
            diff("down.sql", &down.unwrap_or_default(), file.down.as_ref().map_or("", |down| down.sql.as_str()))
        } else {
            diff("up.sql", &up, &file.up.sql)
        });
    }
    Ok(())
}

/// As `diff -u`.
pub(super) fn diff(file: &str, before: &str, now: &str) -> String {
    let diff = TextDiff::from_lines(before, now);
    diff.unified_diff().context_radius(2).header(&format!("{file} as applied"), &format!("{file} now")).to_string()
}
