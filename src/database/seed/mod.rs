//! Seeds: rows that a database starts with, as SQL files `seeds/<set>/<database>/NNN_name.sql`.
//!
//! Always holds: a run is one transaction, so it is loaded entirely or not at all; a file that the ledger
//! knows with the same checksum is skipped while the tables that it filled are there and have rows; any other file is
//! run, also again, so files upsert by fixed ids. They run as `bedplate_system`, because the owner is bound by the
//! policies and sees no tenant.

mod consistency;
mod files;
mod ledger;

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use ledger::{Entry, Ledger};

pub use consistency::check as check_consistency;
pub use files::{SeedFile, Set, files, sets};

use super::config::Environment;
use super::connect::connect;
use super::migrate::transaction_control;
use super::name::DatabaseName;
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Run for the first time.
    Loaded,
    /// Run again, because it changed.
    Reloaded,
    /// Run again, because a table that it filled was emptied, or dropped and made again.
    Restored,
    /// Run again, because the caller asked for it.
    Repeated,
    /// Known with the same checksum, its rows in place: skipped.
    Unchanged,
}

/// Loads sets into a database, with its owner's login. May run any number of times, also side by side: one runner
/// waits for the other.
///
/// # Errors
/// [`Error::Forbidden`] for development seeds in production; [`Error::Invalid`] for a set that is no folder;
/// [`Error::Seed`] for a file that fails or rows that do not fit together, with nothing written.
pub async fn load(
    url: &DatabaseUrl,
    database: DatabaseName,
    environment: Environment,
    sets: &[Set],
) -> Result<Vec<(String, Outcome)>> {
    run(url, database, &files_of(database, environment, sets)?, false).await
}

/// Loads sets like [`load`], and runs also the files that are loaded already.
///
/// # Errors
/// As there.
pub async fn load_again(
    url: &DatabaseUrl,
    database: DatabaseName,
    environment: Environment,
    sets: &[Set],
) -> Result<Vec<(String, Outcome)>> {
    run(url, database, &files_of(database, environment, sets)?, true).await
}

/// Loads files given by the caller, like [`load`].
///
/// # Errors
/// As there.
pub async fn load_files(
    url: &DatabaseUrl,
    database: DatabaseName,
    files: &[SeedFile],
) -> Result<Vec<(String, Outcome)>> {
    run(url, database, files, false).await
}

fn files_of(database: DatabaseName, environment: Environment, sets: &[Set]) -> Result<Vec<SeedFile>> {
    if environment == Environment::Production && sets.contains(&Set::Development) {
        return Err(Error::Forbidden {
            message: "development seeds hold users with published passwords: they are not loaded in production".into(),
        });
    }
    let each: Vec<_> = sets.iter().map(|set| files(set, database)).collect::<Result<_>>()?;
    Ok(each.concat())
}

async fn run(
    url: &DatabaseUrl,
    database: DatabaseName,
    files: &[SeedFile],
    again: bool,
) -> Result<Vec<(String, Outcome)>> {
    let mut connection = connect(url).await?;
    connection
        .transaction::<_, Error, _>(async |connection| {
            let ledger = Ledger::open(connection).await?;
            ledger.take_over(connection).await?;
            let mut outcomes = Vec::with_capacity(files.len());
            for file in files {
                outcomes.push((file.name.clone(), load_file(connection, file, &ledger, again).await?));
            }
            let mut broken = ledger::emptied(connection, files).await?;
            connection.batch_execute("SET LOCAL ROLE bedplate_system").await?;
            broken.append(&mut consistency::check(connection, database).await?);
            connection.batch_execute("RESET ROLE").await?;
            if broken.is_empty() { Ok(outcomes) } else { Err(Error::Seed { message: broken.join("; ") }) }
        })
        .await
}

async fn load_file(
    connection: &mut AsyncPgConnection,
    file: &SeedFile,
    ledger: &Ledger,
    again: bool,
) -> Result<Outcome> {
    let checksum = file.checksum();
    let outcome = match ledger.entry(&file.name) {
        None => Outcome::Loaded,
        Some(entry) if entry.checksum != checksum => Outcome::Reloaded,
        Some(_) if again => Outcome::Repeated,
        Some(_) if ledger.has_rows_of(&file.name) => return Ok(Outcome::Unchanged),
        Some(_) => Outcome::Restored,
    };
    let sql = file.sql.strip_prefix('\u{feff}').unwrap_or(&file.sql);
    check_sql(&file.name, sql)?;
    let before = ledger::written(connection).await?;
    let run = async {
        connection.batch_execute("SET LOCAL ROLE bedplate_system").await?;
        connection.batch_execute(sql).await?;
        // Settings of a file, such as the search_path of pg_dump, end with it.
        connection.batch_execute("RESET ROLE; RESET ALL").await
    };
    run.await.map_err(|error| in_file(&file.name, &error))?;
    let after = ledger::written(connection).await?;
    let names = after.into_iter().filter(|(name, figure)| before.get(name) != Some(figure)).map(|(name, _)| name);
    let tables = ledger::tables(connection, names.collect()).await?;
    ledger::record(connection, &Entry { name: file.name.clone(), checksum, tables }).await?;
    Ok(outcome)
}

/// Before rows of these tables are deleted for their age: no file that filled them is run again for that.
pub(super) async fn let_go(owner: &mut AsyncPgConnection, tables: &[&str]) -> Result<()> {
    ledger::let_go(owner, tables).await
}

/// Refuses what would end the run's transaction, and what only psql understands.
fn check_sql(name: &str, sql: &str) -> Result<()> {
    let refused = |why: String| Error::Seed { message: format!("{name}: {why}") };
    match transaction_control(sql).map_err(|error| refused(error.to_string().trim_start().to_owned()))? {
        Some((line, statement)) => Err(refused(format!(
            "line {line}: {statement} would end the transaction that all files are loaded in: take it out"
        ))),
        None => Ok(()),
    }
}

fn in_file(name: &str, error: &diesel::result::Error) -> Error {
    Error::Seed { message: format!("{name}: {error}") }
}
