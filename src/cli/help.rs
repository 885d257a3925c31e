//! The texts of `--help`, and the messages for wrong usage.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _};

use super::out::takes_colours;
use super::{Cli, end, migrate};

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 refused; 4 the database cannot be reached; 5 looked, and found \
something: doctor, migrate lint and verify, schema docs --check. A closed pipe, as in `bedplate status | head -1`, \
changes no exit code.
The environment and `.env` name the database (see .env.example); where they name none, `bedplate up` runs a \
private PostgreSQL with its data in .bedplate/.";

pub(super) const UP: &str = "\
Examples:
  bedplate up
  DATABASE_URL=postgres://owner:secret@db/app bedplate up

The migrations and seeds are those that are compiled in. The seeds are the sets reference and development, in staging \
and production reference alone; `bedplate seed --set NAME` loads any other folder of seeds/. A second `up` changes nothing. \
Rows of seeds that a revert, DROP or TRUNCATE took away are loaded again.";

pub(super) const DOWN: &str = "\
Examples:
  bedplate down
  bedplate down && rm -r .bedplate                  removes the data too";

/// The command line as it is parsed and shown.
pub(super) fn command() -> Command {
    Cli::command().mut_subcommand("migrate", migrate::with_examples).mut_subcommands(shared_options_once)
}

/// Shows the options that all subcommands share in the help of their parent, and not in each of theirs.
fn shared_options_once(parent: Command) -> Command {
    let shared: Vec<Arg> = parent
        .get_arguments()
        .filter(|option| option.is_global_set())
        .map(|option| option.clone().hide(true))
        .collect();
    if shared.is_empty() {
        return parent;
    }
    let names = shared.iter().filter_map(Arg::get_long).map(|name| format!("--{name}")).collect::<Vec<_>>().join(", ");
    let pointer =
        format!("More options, before or after the command: {names}; see `bedplate {} --help`.", parent.get_name());
    parent.mut_subcommands(|command| {
        let own = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        // Already there when clap hands the shared options down: clap leaves them as they are.
        command.args(&shared).after_help(format!("{own}\n\n{pointer}").trim_start().to_owned())
    })
}

/// An error as clap makes it, for what clap cannot see: `requires` and `conflicts_with` look at the options beside the
/// command's name, and not at shared ones before it.
pub(super) fn wrong_usage(command: &mut Command, subcommand: &str, message: String) -> clap::Error {
    if let Some(command) = command.find_subcommand_mut(subcommand) {
        return command.error(ErrorKind::ArgumentConflict, message);
    }
    command.error(ErrorKind::ArgumentConflict, message)
}

/// Shows help on standard output, an error on standard error.
pub(super) fn show(said: &clap::Error) -> ExitCode {
    let text = said.render();
    if said.use_stderr() {
        if takes_colours(&stderr()) {
            eprint!("{}", text.ansi());
        } else {
            eprint!("{text}");
        }
        return ExitCode::from(2);
    }
    if takes_colours(&stdout()) {
        print!("{}", text.ansi());
    } else {
        print!("{text}");
    }
    end(Ok(()))
}
