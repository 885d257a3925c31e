//! `bedplate migrate …`.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::config;
use super::ui::{Progress, table};
use crate::database::DatabaseName;
use crate::database::DatabaseUrl;
use crate::database::migrate::{self, Direction, MigrationState, Source};
use crate::error::Result;

const MAIN: &str = "migrations/main";

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate migrate\n  bedplate migrate create add_phone_to_users\n  \
    bedplate migrate redo\n  bedplate migrate down --count 2\n  bedplate migrate --dir other/migrations status")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A folder of Diesel migrations, instead of those that are compiled in
    #[arg(long, global = true, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// The database, instead of the environment's
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply everything that is pending
    Up,
    /// Revert the last migration, or more
    Down {
        /// How many
        #[arg(long, default_value_t = 1, conflicts_with = "all")]
        count: usize,
        /// All of them: every table is dropped
        #[arg(long)]
        all: bool,
    },
    /// Revert the last migration and apply it again
    Redo,
    /// Show every migration
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Make the files of a new migration
    Create {
        /// In lower case with underscores: `add_phone_to_users`
        name: String,
    },
}

pub(super) async fn run(args: Args) -> Result<()> {
    let source = args.dir.as_ref().map_or(Source::Embedded(DatabaseName::Main), |path| Source::Directory(path.clone()));
    let direction = match args.command.unwrap_or(Command::Up) {
        Command::Create { name } => {
            let path = migrate::create(args.dir.as_deref().unwrap_or(Path::new(MAIN)), &name)?;
            println!(
                "{}: write up.sql and down.sql; `bedplate migrate` applies it, `bedplate migrate redo` shows that it comes back",
                path.display()
            );
            return Ok(());
        }
        Command::Status { json } => return status(&target(args.url)?, &source, json).await,
        Command::Up => Direction::Up,
        Command::Down { all: true, .. } => Direction::DownAll,
        Command::Down { count, .. } => Direction::Down { count },
        Command::Redo => Direction::Redo,
    };
    let progress = Progress::new();
    let shown = progress.clone();
    let done = migrate::run(&target(args.url)?, &source, direction, move |event| shown.migration(event)).await;
    progress.finish();
    let done = done?.len();
    let verb = match direction {
        Direction::Up => "applied",
        Direction::Down { .. } | Direction::DownAll => "reverted",
        Direction::Redo => "reverted and applied again",
    };
    match done {
        0 => println!("Nothing to do."),
        1 => println!("1 migration {verb}."),
        _ => println!("{done} migrations {verb}."),
    }
    Ok(())
}

fn target(url: Option<String>) -> Result<DatabaseUrl> {
    url.map_or_else(|| config().map(|config| config.owner_url), |url| url.parse())
}

async fn status(url: &DatabaseUrl, source: &Source, json: bool) -> Result<()> {
    let migrations = migrate::status(url, source).await?;
    if json {
        println!("{}", serde_json::json!({ "migrations": migrations }));
        return Ok(());
    }
    let rows = migrations.iter().map(|migration| {
        let state = match migration.state {
            MigrationState::Applied => "applied",
            MigrationState::Pending => "pending",
            MigrationState::Missing => "applied, files missing",
        };
        vec![migration.name.clone(), state.to_owned()]
    });
    println!("{}", table(&["migration", "state"], rows, &[]));
    Ok(())
}
