//! `bedplate seed`, and the binary `seed`.

use super::ui::Progress;
use super::{config, each_database, sets};
use crate::database::seed::{self, Outcome, Set};
use crate::error::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate seed\n  bedplate seed --set reference\n  \
    bedplate seed --set demo                          the files of seeds/demo/<database>/\n  \
    bedplate seed --force                             brings changed and deleted rows of the files back\n\n\
    A set is a folder of seeds/. Those that are compiled in are taken first, then those of the current folder. A file is \
    loaded when it is new, when it changed, and when a table that it filled was emptied or made again.")]
pub(super) struct Args {
    /// A set of seeds: the name of a folder of seeds/; may be given again [default: reference and development, in staging
    /// and production reference]
    #[arg(long = "set", value_name = "SET", value_parser = parse_set)]
    sets: Vec<Set>,
    /// Repetition of files that are already loaded
    #[arg(long)]
    force: bool,
}

fn parse_set(text: &str) -> std::result::Result<Set, String> {
    let there = seed::sets();
    if !there.iter().any(|set| set == text) {
        return Err(format!("there is no folder seeds/{text}; the sets are {}", there.join(", ")));
    }
    let Ok(set) = text.parse();
    Ok(set)
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let config = config()?;
    let chosen = if args.sets.is_empty() { sets(config.environment) } else { args.sets.clone() };
    let progress = Progress::new();
    progress.step("loading seeds");
    let loaded = each_database(&config, |name, config| {
        let chosen = &chosen;
        async move {
            if args.force {
                seed::load_again(&config.owner_url, name, config.environment, chosen).await
            } else {
                seed::load(&config.owner_url, name, config.environment, chosen).await
            }
        }
    })
    .await;
    progress.finish();
    let loaded = loaded?;
    let names = loaded.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ");
    let outcomes: Vec<_> = loaded.into_iter().flat_map(|(_, outcomes)| outcomes).collect();
    progress.seeds(&outcomes);
    println!("{} ({}; {names})", summary(&outcomes), of_sets(&chosen));
    Ok(())
}

/// `2 files were loaded, 19 files were already loaded; all consistency rules hold`
pub(super) fn summary(outcomes: &[(String, Outcome)]) -> String {
    let unchanged = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Unchanged).count();
    let counted = |files: usize, what: &str| match files {
        1 => format!("1 file was {what}"),
        files => format!("{files} files were {what}"),
    };
    let parts: Vec<_> = [(outcomes.len() - unchanged, "loaded"), (unchanged, "already loaded")]
        .into_iter()
        .filter(|(files, _)| *files > 0)
        .map(|(files, what)| counted(files, what))
        .collect();
    if parts.is_empty() {
        return "There are no files to load: each set has a folder for each database, as seeds/SET/main".to_owned();
    }
    format!("{}; all consistency rules hold", parts.join(", "))
}

/// `sets reference, development`
pub(super) fn of_sets(sets: &[Set]) -> String {
    let names = sets.iter().map(Set::as_str).collect::<Vec<_>>().join(", ");
    if sets.len() == 1 { format!("set {names}") } else { format!("sets {names}") }
}
