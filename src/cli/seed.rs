//! `bedplate seed`, and the binary `seed`.

use super::ui::Progress;
use super::{config, each_database, sets};
use crate::database::seed::{self, Outcome, Set};
use crate::error::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate seed\n  bedplate seed --set reference")]
pub(super) struct Args {
    /// A set of seeds, reference or development; may be given again [default: both, in staging and production reference]
    #[arg(long = "set", value_name = "SET", value_parser = parse_set)]
    sets: Vec<Set>,
}

fn parse_set(text: &str) -> std::result::Result<Set, String> {
    text.parse().map_err(|_| "there are two sets: reference, development".to_owned())
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let config = config()?;
    let chosen = if args.sets.is_empty() { sets(config.environment) } else { args.sets.clone() };
    let progress = Progress::new();
    progress.step("loading seeds");
    let loaded = each_database(&config, |name, config| {
        let chosen = &chosen;
        async move { seed::load(&config.owner_url, name, config.environment, chosen).await }
    })
    .await;
    progress.finish();
    let loaded = loaded?;
    let names = loaded.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ");
    let loaded: Vec<_> = loaded.into_iter().flat_map(|(_, outcomes)| outcomes).collect();
    progress.seeds(&loaded);
    let changed = loaded.iter().filter(|(_, outcome)| *outcome != Outcome::Unchanged).count();
    println!(
        "{changed} of {} seed files loaded, {} were already there; all consistency rules hold. The files are those that \
         are compiled in for {names}.",
        loaded.len(),
        loaded.len() - changed
    );
    Ok(())
}
