//! The subcommands that only look.

use super::here;
use super::target::{Target, each, print_json};
use crate::cli::ui::{table, visible};
use crate::database::migrate::{self, Difference, MigrationState, MigrationStatus, Outcome};
use crate::error::Result;

pub(super) async fn status(targets: &[Target], json: bool) -> Result<()> {
    let all = each(targets, async |target: Target| {
        Ok((here::describe(&target.source), migrate::status(&target.url, &target.source).await?))
    })
    .await?;
    if json {
        print_json(all, |(folder, migrations)| serde_json::json!({ "folder": folder, "migrations": migrations }));
        return Ok(());
    }
    for (name, (_, migrations)) in all {
        heading(&name, targets.len());
        let rows = migrations.iter().map(|migration| {
            vec![
                migration.name.clone(),
                state(migration),
                migration.applied_at.clone().unwrap_or_default(),
                migration.took_ms.map(|took| format!("{took} ms")).unwrap_or_default(),
                migration.by.clone().unwrap_or_default(),
            ]
        });
        println!("{}", table(&["migration", "state", "when (UTC)", "took", "by"], rows, &[3]));
        let problems = migrations.iter().flat_map(|migration| &migration.problems);
        for problem in problems.filter(|problem| problem.difference != Difference::AppliedElsewhere) {
            println!("{} {}", problem.name, problem.message);
            problem.diff.iter().for_each(|diff| print!("{}", visible(diff)));
        }
    }
    Ok(())
}

/// In a word or two: where it stands, and what differs.
fn state(migration: &MigrationStatus) -> String {
    let stands = match migration.state {
        MigrationState::Applied => "applied",
        MigrationState::Pending => "pending",
        MigrationState::Interrupted => "half applied",
        MigrationState::HalfReverted => "half reverted",
        MigrationState::Missing => "applied, files missing",
        MigrationState::Foreign => "applied, of another folder",
    };
    let differs = migration.problems.iter().filter_map(|problem| match problem.difference {
        Difference::Missing | Difference::Interrupted | Difference::HalfReverted | Difference::SessionLost => None,
        Difference::MayHaveRun => Some("a statement may have run"),
        Difference::AppliedElsewhere => Some("by another tool"),
        Difference::Edited => Some("changed"),
        Difference::OutOfOrder => Some("out of order"),
        Difference::Cosmetic => Some("comments changed"),
        Difference::DownEdited => Some("down.sql changed"),
        Difference::Renamed => Some("renamed"),
        Difference::RevertedElsewhere => Some("reverted by another tool"),
    });
    std::iter::once(stands).chain(differs).collect::<Vec<_>>().join(", ")
}

pub(super) async fn history(targets: &[Target], json: bool) -> Result<()> {
    let all = each(targets, async |target: Target| migrate::history(&target.url).await).await?;
    if json {
        print_json(all, |runs| serde_json::json!({ "runs": runs }));
        return Ok(());
    }
    for (name, runs) in all {
        heading(&name, targets.len());
        let rows = runs.iter().map(|run| {
            let ended = match run.outcome {
                Outcome::Done => "done".to_owned(),
                Outcome::Running => format!("running, {} of {}", run.statements_done, run.statements),
                Outcome::Failed => format!("failed after {} of {}", run.statements_done, run.statements),
            };
            vec![
                run.name.clone(),
                run.direction.to_string(),
                ended,
                run.started_at.clone(),
                format!("{} ms", run.took_ms),
                run.by.clone(),
            ]
        });
        println!("{}", table(&["migration", "way", "outcome", "when (UTC)", "took", "by"], rows, &[4]));
    }
    Ok(())
}

pub(super) fn heading(name: &str, of: usize) {
    if of > 1 {
        println!("\n{name}");
    }
}
