//! `bedplate events`: what happened, on the command line.

mod stress;

use clap::Subcommand;

use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writers and subscribers side by side, and a look at what they left; exit code 1 if anything is wrong
    Stress(stress::Args),
}

pub(super) async fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Stress(args) => stress::run(args).await,
    }
}
