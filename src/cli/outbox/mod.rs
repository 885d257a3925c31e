//! `bedplate outbox`: what waits to be published, and publishing it.

mod relay;
mod replay;
mod start;
mod status;

use clap::Subcommand;

use super::config;
use crate::database::{Database, DatabaseName};
use crate::error::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate outbox status\n  bedplate outbox status --database rfq")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The database: main or rfq
    #[arg(long, global = true, value_name = "NAME", default_value = "main", value_parser = parse_name)]
    database: DatabaseName,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show pending messages, retries, dead letters and stopped endpoints
    Status(status::Args),
    /// Publish dead letters again
    Replay(replay::Args),
    /// Publish messages to a webhook, until Ctrl-C
    Relay(relay::Args),
    /// Start an endpoint that was stopped, so that it gets messages again
    Start(start::Args),
}

fn parse_name(text: &str) -> std::result::Result<DatabaseName, String> {
    match text.parse() {
        Ok(name @ (DatabaseName::Main | DatabaseName::Rfq)) => Ok(name),
        _ => Err("two databases have an outbox: main, rfq".to_owned()),
    }
}

pub(super) async fn run(args: Args) -> Result<()> {
    let database = Database::connect(config()?).await?;
    match args.command {
        Command::Status(status) => status::run(&database, args.database, &status).await,
        Command::Replay(replay) => replay::run(&database, args.database, &replay).await,
        Command::Relay(relay) => relay::run(&database, args.database, &relay).await,
        Command::Start(start) => start::run(&database, args.database, &start).await,
    }
}
