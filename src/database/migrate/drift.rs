//! Where files and database differ: what was edited, what is gone, what came too late, what stopped half-way.

use serde::Serialize;
use similar::TextDiff;

use super::folder::Migration;
use super::history::{self, History, Run, Way};
use super::run::Folder;
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
        /// Comments, white space or line ends of an applied `up.sql` changed. Passes.
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
        /// Some statements of its `down.sql` ran, and the rest did not. `migrate up` refuses.
        HalfReverted = "half_reverted",
        /// A statement of it was sent, and nobody saw its end.
        MayHaveRun = "may_have_run",
        /// It stopped half way, and something of its session is gone that the rest needs.
        SessionLost = "session_lost",
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
        matches!(self.difference, Difference::Edited | Difference::OutOfOrder | Difference::HalfReverted)
    }
}

/// Compares without the database's texts: by checksums.
pub(super) fn compare(folder: &Folder, history: &History) -> Result<Vec<Problem>> {
    let (files, id) = (&folder.files, folder.id.as_str());
    let mut problems = Vec::new();
    let is_here = |version: &str| files.iter().any(|file| file.version == version);
    // The order is that of one folder.
    let own = history.applied.iter().filter(|(version, _)| is_here(version) || !history.is_foreign(version, id));
    let newest = own.max().map(|(version, _)| version.as_str());
    for file in files {
        let last = history.last_done(&file.version);
        let unfinished = history.unfinished(&file.version);
        let found = match unfinished.filter(|run| run.direction == Way::Down) {
            Some(run) => vec![half_reverted(run)],
            None if history.is_applied(&file.version) => applied(file, last)?,
            None => pending(file, last, newest, unfinished),
        };
        problems
            .extend(found.into_iter().map(|(what, message)| Problem::new(&file.version, &file.name, what, message)));
    }
    for (version, _) in &history.applied {
        if !is_here(version) && !history.is_foreign(version, id) {
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

fn half_reverted(run: &Run) -> (Difference, String) {
    let error = run.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    let message = format!(
        "is half reverted, {} of {} statements of its down.sql{error}: `migrate down` reverts the rest",
        run.statements_done, run.statements
    );
    (Difference::HalfReverted, message)
}

fn applied(file: &Migration, last: Option<&Run>) -> Result<Vec<(Difference, String)>> {
    let mut found = Vec::new();
    let Some(run) = last.filter(|run| run.direction != Way::Down) else {
        let message = "was applied by another tool: `migrate baseline` records its text as it is now";
        return Ok(vec![(Difference::AppliedElsewhere, message.to_owned())]);
    };
    if run.checksum != file.up.checksum()? {
        if run.sql_checksum == file.up.sql_checksum()? {
            let message =
                "only comments, white space or line ends of its up.sql changed; `migrate repair` records them";
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
    let down = file.down.as_ref().map(Script::checksum).transpose()?.unwrap_or_default();
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

fn pending(
    file: &Migration,
    last: Option<&Run>,
    newest: Option<&str>,
    unfinished: Option<&Run>,
) -> Vec<(Difference, String)> {
    let mut found = Vec::new();
    if let Some(newest) = newest.filter(|newest| *newest > file.version.as_str()) {
        let message = format!(
            "is pending, but the later {newest} is applied: give it a later time, or allow it with --allow-out-of-order {}",
            file.name
        );
        found.push((Difference::OutOfOrder, message));
    }
    if let Some(run) = unfinished {
        let message = format!(
            "stopped after {} of {} statements{}: `migrate up` goes on from there",
            run.statements_done,
            run.statements,
            run.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
        );
        found.push((Difference::Interrupted, message));
        if let Some(statement) = run.may_have_run {
            let message = format!(
                "its statement {statement} was sent, and its runner ended before it saw the statement's end: `migrate up` looks \
                 for what the statement has made, and asks where it finds nothing"
            );
            found.push((Difference::MayHaveRun, message));
        }
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
        // A long text is not kept.
        let (before, now) = match problem.difference {
            Difference::DownEdited => (down.unwrap_or_default(), file.down.as_ref()),
            _ => (up, Some(&file.up)),
        };
        let Some(now) = now.and_then(Script::kept).filter(|_| !before.is_empty()) else { continue };
        let name = if problem.difference == Difference::DownEdited { "down.sql" } else { "up.sql" };
        problem.diff = Some(diff(name, &before, now));
    }
    Ok(())
}

/// As `diff -u`. What a terminal would not show, or would obey, is written out.
pub(super) fn diff(file: &str, before: &str, now: &str) -> String {
    let (before, now) = (visible(before), visible(now));
    let diff = TextDiff::from_lines(&before, &now);
    diff.unified_diff().context_radius(2).header(&format!("{file} as applied"), &format!("{file} now")).to_string()
}

/// Text from elsewhere with its control characters as escapes: a terminal obeys none of them, and a difference by `\r`
/// alone is seen. Ends of lines and tabs stay.
pub(crate) fn visible(text: &str) -> String {
    let shown = |c: char| c == '\n' || c == '\t' || !c.is_control();
    text.chars().fold(String::with_capacity(text.len()), |mut made, c| {
        if shown(c) {
            made.push(c);
        } else {
            made.extend(c.escape_default());
        }
        made
    })
}
