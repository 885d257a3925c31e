//! `bedplate forms`: schemas tried before they are published.

mod check;
mod suite;

use clap::Subcommand;

use crate::error::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  bedplate forms check contact.json data.json")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check whether a schema can be published, and data against it; needs no database
    Check(check::Args),
    /// Run a folder in the format of the official JSON Schema test suite through all validators
    Suite(suite::Args),
}

pub(super) async fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Suite(args) => suite::run(args).await,
    }
}
