//! `bedplate migrate …`.

mod change;
mod lint;
mod prove;
mod show;
mod target;

use std::path::Path;

use clap::Subcommand;

use crate::database::migrate::{self, Direction, Repair};
use crate::error::Result;
use target::Where;

const EXAMPLES: &str = "\
Examples:
  bedplate migrate                                  everything that is pending in `main`
  bedplate migrate --all                            in every database, side by side
  bedplate migrate create add_phone_to_users
  bedplate migrate redo                             shows that the last one comes back
  bedplate migrate down --to 2026-11-20-101600
  bedplate migrate status --database rfq --json
  bedplate migrate plan                             the locks of what is pending
  bedplate migrate verify --all                     as CI does
  bedplate migrate lint                             what is dangerous in the files, without a database
  bedplate migrate --dir other/migrations --url postgres://owner:secret@db/app status

Works on any folder of Diesel migrations; the diesel CLI works on the same folders.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Where,
    /// For programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply everything that is pending
    Up {
        /// Up to this migration, it included: its version or its directory's name
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        patience: change::Patience,
    },
    /// Revert the last migration, or more
    Down {
        /// Migrations to revert, by version or directory's name; also those of another folder
        #[arg(value_name = "MIGRATION", conflicts_with_all = ["count", "to"])]
        migrations: Vec<String>,
        /// Number of migrations to revert (--all: every one of the folder)
        #[arg(long, default_value_t = 1, conflicts_with = "to")]
        count: usize,
        /// Consent to --all where the database has migrations of other folders too; those stay
        #[arg(long)]
        yes: bool,
        /// What is later than this migration; it stays
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        patience: change::Patience,
    },
    /// Revert the last migration and apply it again
    Redo {
        #[command(flatten)]
        patience: change::Patience,
    },
    /// Show every migration: when, how long, by whom, and how files and database differ
    Status,
    /// Show every run, also those that failed
    History,
    /// Show what `up` would do: each statement, the locks it takes, what is read or rewritten meanwhile
    Plan {
        #[command(flatten)]
        scratch: prove::Scratch,
    },
    /// Prove on a scratch database that every migration comes back, with rows too, and that schema.rs is fresh
    Verify {
        #[command(flatten)]
        scratch: prove::Scratch,
        #[command(flatten)]
        what: prove::What,
    },
    /// Tell what is dangerous in the files: exit code 5 where something is refused. Needs no database
    Lint {
        /// A `--dir` is held to the rules of a database with tenants too
        #[arg(long, requires = "dir")]
        tenants: bool,
    },
    /// Make the files of a new migration
    Create {
        /// In lower case with underscores: `add_phone_to_users`
        name: String,
    },
    /// Declare migrations applied without running them: for a database whose tables came by other means
    Baseline {
        /// Up to this one, it included; by default all
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
    },
    /// Mend the record: comment edits, killed runs; tables are not touched
    Repair {
        /// The database has this migration, as its files say now
        #[arg(long, value_name = "VERSION")]
        accept: Vec<String>,
        /// The database has nothing of this migration
        #[arg(long, value_name = "VERSION")]
        forget: Vec<String>,
        /// The statement of this migration that may have run did run: the next run goes on behind it
        #[arg(long, value_name = "VERSION")]
        ran: Vec<String>,
        /// The statement of this migration that may have run did not: the next run sends it again
        #[arg(long, value_name = "VERSION")]
        not_run: Vec<String>,
        /// The next run of this migration may repeat the statements whose effect ended with their session
        #[arg(long, value_name = "VERSION")]
        repeat: Vec<String>,
    },
}

pub(super) async fn run(args: Args) -> Result<()> {
    let Args { command, mut place, json } = args;
    let command = command.unwrap_or(Command::Up { to: None, patience: change::Patience::default() });
    let direction = match command {
        Command::Up { to, patience } => (to.map_or(Direction::Up, Direction::UpTo), patience),
        Command::Down { patience, yes, migrations, .. } if place.all && migrations.is_empty() => {
            place.all = false;
            let targets = place.targets()?;
            change::ask_before_reverting_all(&targets, yes).await?;
            (Direction::DownAll, patience)
        }
        Command::Down { migrations, patience, .. } if !migrations.is_empty() => {
            (Direction::DownThese(migrations), patience)
        }
        Command::Down { to: Some(to), patience, .. } => (Direction::DownTo(to), patience),
        Command::Down { count, patience, .. } => (Direction::Down { count }, patience),
        Command::Redo { patience } => (Direction::Redo, patience),
        Command::Status => return show::status(&place.targets()?, json).await,
        Command::History => return show::history(&place.targets()?, json).await,
        Command::Plan { scratch } => return prove::plan(&place.targets()?, &scratch, json).await,
        Command::Verify { scratch, what } => return prove::verify(&place.targets()?, &scratch, &what, json).await,
        Command::Lint { tenants } => return lint::run(&place.folders(tenants), json),
        Command::Create { name } => return create(&place, &name, json),
        Command::Baseline { to } => return change::baseline(&place.targets()?, to.as_deref(), json).await,
        Command::Repair { accept, forget, ran, not_run, repeat } => {
            let of =
                |names: Vec<String>, repair: fn(String) -> Repair| names.into_iter().map(repair).collect::<Vec<_>>();
            let repairs = [
                of(accept, Repair::Accept),
                of(forget, Repair::Forget),
                of(ran, Repair::Ran),
                of(not_run, Repair::NotRun),
                of(repeat, Repair::Repeat),
            ];
            return change::repair(&place.targets()?, &repairs.concat(), json).await;
        }
    };
    let (direction, patience) = direction;
    change::run(&place.targets()?, &direction, &patience.options(), json).await
}

fn create(place: &Where, name: &str, json: bool) -> Result<()> {
    let path = migrate::create(&place.folder(), name)?;
    if json {
        println!("{}", serde_json::json!({ "path": path }));
    } else {
        println!(
            "{}: write up.sql and down.sql; `bedplate migrate` applies it, `bedplate migrate redo` shows that it comes back",
            Path::new(&path).display()
        );
    }
    Ok(())
}
