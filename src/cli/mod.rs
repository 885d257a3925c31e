//! The command line: `bedplate` and `seed`. One file a subcommand; what they do is in the library.

// Before the others: `println!` and its kin are this module's in all of them.
#[macro_use]
mod out;

mod completions;
mod doctor;
mod down;
mod events;
mod forms;
mod help;
mod json;
mod log;
mod maintain;
mod migrate;
mod outbox;
mod reset;
mod schema;
mod seed;
mod serve;
mod status;
#[cfg(test)]
mod tests;
mod ui;
mod up;
mod url;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::database::config::{env_vars, names_a_database};
use crate::database::private_server::PrivateServer;
use crate::database::{Config, DatabaseName, Environment};
use crate::error::{Error, Result};

/// The PostgreSQL data layer your Rust backend is bolted to.
#[derive(Debug, Parser)]
#[command(name = "bedplate", version, after_help = help::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring everything up: the private server where no database is named, migrations, seeds
    #[command(after_help = help::UP)]
    Up,
    /// Stop the private server; its data stays
    #[command(after_help = help::DOWN)]
    Down,
    /// Print the database's URL, with its password
    Url(url::Args),
    /// Apply, revert, check and create migrations (without a subcommand: `migrate up`)
    Migrate(migrate::Args),
    /// Load seeds
    Seed(seed::Args),
    /// Drop everything in the database, migrate and seed
    Reset(reset::Args),
    /// Show migrations and rows
    Status(status::Args),
    /// Check the rules of the schema in the database; exit code 5 where one is violated
    Doctor(doctor::Args),
    /// Read, append and follow events; test the store under load
    Events(events::Args),
    /// Check the JSON Schemas of forms before they are published
    Forms(forms::Args),
    /// Show, publish and replay the messages of the outbox
    Outbox(outbox::Args),
    /// Serve health and metrics over HTTP
    Serve(serve::Args),
    /// Document the schema from the database's catalogue
    Schema(schema::Args),
    /// Create the next partitions; remove old partitions, sessions, keys, messages and marks
    Maintain(maintain::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

/// Runs `bedplate` with the process's arguments.
#[must_use]
pub fn bedplate() -> ExitCode {
    match parse(std::env::args_os()) {
        Ok(Cli { command }) => run(execute(command)),
        Err(said) => help::show(&said),
    }
}

/// Reads the arguments, and refuses those that do not fit together.
fn parse<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> Result<Cli, clap::Error> {
    let mut command = help::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    if let Command::Migrate(args) = &cli.command {
        args.check().map_err(|message| help::wrong_usage(&mut command, "migrate", message))?;
    }
    Ok(cli)
}

async fn execute(command: Command) -> Result<()> {
    match command {
        Command::Up => up::run().await,
        Command::Down => down::run(),
        Command::Url(args) => url::run(&args),
        Command::Migrate(args) => migrate::run(args).await,
        Command::Seed(args) => seed::run(&args).await,
        Command::Reset(args) => reset::run(&args).await,
        Command::Status(args) => status::run(&args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Events(args) => events::run(&args).await,
        Command::Forms(args) => forms::run(&args).await,
        Command::Outbox(args) => outbox::run(args).await,
        Command::Serve(args) => serve::run(&args).await,
        Command::Schema(args) => schema::run(&args).await,
        Command::Maintain(args) => maintain::run(&args).await,
        Command::Completions(args) => {
            completions::run(&args);
            Ok(())
        }
    }
}

/// Runs `seed`, the binary that only seeds.
#[must_use]
pub fn seed() -> ExitCode {
    #[derive(Debug, Parser)]
    #[command(name = "seed", version, about = "Load seeds into the database, as `bedplate seed` does", after_help = help::EXIT_CODES)]
    struct Seed {
        #[command(flatten)]
        args: seed::Args,
    }
    let mut command = Seed::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    match matches.and_then(|matches| Seed::from_arg_matches(&matches)) {
        Ok(Seed { args }) => run(async move { seed::run(&args).await }),
        Err(said) => help::show(&said),
    }
}

fn run(command: impl Future<Output = Result<()>>) -> ExitCode {
    log::begin();
    // The variables are set before there is a second thread.
    let done = load_dot_env().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(Error::io("starting"))?.block_on(command)
    });
    end(done)
}

/// Ends the output, tells the error, and says the exit code. An error of the command comes before one of its output.
fn end(done: Result<()>) -> ExitCode {
    let written = out::end();
    match done.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}{}", one_line(&error), advice(&error));
            exit_code(&error)
        }
    }
}

fn load_dot_env() -> Result<()> {
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        // The line is not shown: it may hold a password.
        Err(dotenvy::Error::LineParse(_, at)) => Err(Error::configuration(format!(
            ".env cannot be read: a line is wrong at character {at}; put values with spaces or # in quotes"
        ))),
        Err(error) => Err(Error::configuration(format!(".env cannot be read: {error}"))),
    }
}

fn one_line(error: &Error) -> String {
    ui::visible(&error.to_string()).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What to do, where the error does not say so itself.
fn advice(error: &Error) -> &'static str {
    match error {
        Error::Unavailable { .. } => "; is the server running? `bedplate up` starts the private one",
        Error::Timeout { .. } => "; look for long transactions in pg_stat_activity and try again",
        Error::ReadOnly { .. } => "; give the URL of the primary, or several hosts",
        Error::Database(_) => "; `bedplate status` shows whether migrations are pending",
        _ => "",
    }
}

fn exit_code(error: &Error) -> ExitCode {
    ExitCode::from(match error {
        Error::Forbidden { .. }
        | Error::ReadOnly { .. }
        | Error::Drift { .. }
        | Error::AppendConflict { .. }
        | Error::EndpointStopped { .. } => 3,
        Error::Unavailable { .. } | Error::Timeout { .. } => 4,
        Error::Findings { .. } => 5,
        _ => 1,
    })
}

/// The private server, where nothing names another database.
fn private_server() -> Option<PrivateServer> {
    (!names_a_database(&env_vars())).then(PrivateServer::here)
}

/// The sets that an environment is seeded with.
fn sets(environment: Environment) -> Vec<crate::database::seed::Set> {
    use crate::database::seed::Set;
    match environment {
        Environment::Development => vec![Set::Reference, Set::Development],
        Environment::Staging | Environment::Production => vec![Set::Reference],
    }
}

fn config() -> Result<Config> {
    Config::from_env()
}

/// One after the other, for every database of the deployment. Those that are not there are left out; without `main`
/// nothing is done.
async fn each_database<T, Fut>(
    config: &Config,
    work: impl Fn(DatabaseName, Config) -> Fut,
) -> Result<Vec<(DatabaseName, T)>>
where
    Fut: Future<Output = Result<T>>,
{
    let mut done = Vec::with_capacity(config.databases.len());
    for name in &config.databases {
        match work(*name, config.for_database(*name)?).await {
            Ok(value) => done.push((*name, value)),
            Err(Error::NoDatabase { .. }) if *name != DatabaseName::Main => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
