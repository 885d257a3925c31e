//! `bedplate migrate …`.

mod change;
mod check;
mod create;
mod examples;
pub(super) mod here;
mod lint;
mod private;
mod prove;
mod show;
mod target;

use clap::Subcommand;

use crate::database::migrate::{Direction, Repair};
use crate::error::Result;
pub(super) use examples::with_examples;
use target::Where;

const EXAMPLES: &str = "\
Examples:
  bedplate migrate                                  applies what is pending in `main`
  bedplate migrate --all                            the same in every database, side by side
  bedplate migrate create add_phone_to_users
  bedplate migrate redo                             proves that the last one can be reverted
  bedplate migrate down --to 2026-11-20-101600
  bedplate migrate status --database rfq --json
  bedplate migrate plan                             shows the locks of what is pending
  bedplate migrate verify --all
  bedplate migrate lint                             checks the files, without a database
  bedplate migrate --dir other/migrations --url postgres://owner:secret@db/app status

Works on any folder of Diesel migrations; the diesel CLI works on the same folders.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Where,
    /// Output as JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply pending migrations
    Up {
        /// The last migration to apply: its version or its directory's name [default: the newest]
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        patience: change::Patience,
    },
    /// Revert the last migration, or several
    Down {
        /// Migrations to revert, by version or directory's name; also those of another folder
        #[arg(value_name = "MIGRATION", conflicts_with_all = ["count", "to"])]
        migrations: Vec<String>,
        /// Number of migrations to revert; `--all` reverts all of the folder [default: 1]
        #[arg(long, conflicts_with = "to")]
        count: Option<usize>,
        /// Consent to --all where the database has migrations of other folders too; those stay
        #[arg(long)]
        yes: bool,
        /// The newest migration that stays applied
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
    /// Show every migration: its state, time, duration and runner, and how files and database differ
    Status,
    /// Show every run, failed runs included
    History,
    /// Show each statement that `up` would run, with its locks and its work on whole tables
    Plan {
        #[command(flatten)]
        scratch: prove::Scratch,
    },
    /// Prove on a scratch database that every migration can be reverted without losing rows, and that schema.rs is fresh
    Verify {
        #[command(flatten)]
        scratch: prove::Scratch,
        #[command(flatten)]
        what: prove::What,
    },
    /// Check the files for dangerous statements, without a database; exit code 5 where one is refused
    Lint {
        /// The rules of a database with tenants too, for the folder of `--dir`
        #[arg(long)]
        tenants: bool,
    },
    /// Create the files of a new migration
    Create {
        /// The name, in lower case with underscores: `add_phone_to_users`
        name: String,
    },
    /// Record migrations as applied without running them, for a database with tables that were made by other means
    Baseline {
        /// The last migration to record [default: the newest]
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
    },
    /// Repair the record after comment edits and killed runs; tables are not touched
    Repair {
        /// A migration that the database has, as its files say now; may be given again
        #[arg(long, value_name = "VERSION")]
        accept: Vec<String>,
        /// A migration that left nothing in the database; may be given again
        #[arg(long, value_name = "VERSION")]
        forget: Vec<String>,
        /// A migration with a statement that may have run, and did; the next run goes on behind it
        #[arg(long, value_name = "VERSION")]
        ran: Vec<String>,
        /// A migration with a statement that may have run, and did not; the next run sends it again
        #[arg(long, value_name = "VERSION")]
        not_run: Vec<String>,
        /// A half-applied migration; the next run repeats the statements with an effect that ended with their session
        #[arg(long, value_name = "VERSION")]
        repeat: Vec<String>,
    },
}

pub(super) async fn run(args: Args) -> Result<()> {
    let Args { command, mut place, json } = args;
    let command = command.unwrap_or(Command::Up { to: None, patience: change::Patience::default() });
    if !matches!(command, Command::Lint { .. } | Command::Create { .. } | Command::History) {
        place.note_what_is_left_out();
    }
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
        Command::Down { count, patience, .. } => (Direction::Down { count: count.unwrap_or(1) }, patience),
        Command::Redo { patience } => (Direction::Redo, patience),
        Command::Status => return show::status(&place.targets()?, json).await,
        Command::History => return show::history(&place.targets()?, json).await,
        Command::Plan { scratch } => return prove::plan(&place.targets()?, &scratch, json).await,
        Command::Verify { scratch, what } => return prove::verify(&place.targets()?, &scratch, &what, json).await,
        Command::Lint { tenants } => return lint::run(&place.folders(tenants), json),
        Command::Create { name } => return create::run(&place, &name, json),
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

/// A number of migrations.
fn counted(migrations: usize) -> String {
    match migrations {
        1 => "1 migration".to_owned(),
        n => format!("{n} migrations"),
    }
}
