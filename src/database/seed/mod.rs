//! Seeds: rows that a database starts with, as SQL files `seeds/<set>/<database>/NNN_name.sql`.
//!
//! Always holds: a run is one transaction, so it is loaded entirely or not at all; a file that the ledger
//! knows with the same checksum is skipped; a file that changed is run again, so files upsert by fixed ids.
//! They run as `bedplate_system`, because the owner is bound by the policies and sees no tenant.

mod consistency;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};

pub use consistency::check as check_consistency;

use super::config::Environment;
use super::connect::connect;
use super::name::DatabaseName;
use super::url::DatabaseUrl;
use crate::error::{Error, Result};
use crate::sql::text_enum;

static SEEDS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/seeds");

text_enum! {
    /// Which seeds.
    Set {
        /// What every environment needs.
        Reference = "reference",
        /// What a developer looks at. Refused in production.
        Development = "development",
    }
}

/// One seed file.
#[derive(Debug, Clone)]
pub struct SeedFile {
    /// `development/main/010_tenants.sql`: the ledger's key.
    pub name: String,
    /// What it says.
    pub sql: String,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Run for the first time.
    Loaded,
    /// Run again, because it changed.
    Reloaded,
    /// Known with the same checksum: skipped.
    Unchanged,
}

/// The files of a set for a database, in the order of their names.
#[must_use]
pub fn files(set: Set, database: DatabaseName) -> Vec<SeedFile> {
    let folder = format!("{set}/{database}");
    let mut files: Vec<_> = SEEDS
        .get_dir(&folder)
        .into_iter()
        .flat_map(Dir::files)
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "sql"))
        .filter_map(|file| {
            Some(SeedFile { name: file.path().to_str()?.to_owned(), sql: file.contents_utf8()?.to_owned() })
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Loads sets into a database, with its owner's login. May run any number of times, also side by side: one runner
/// waits for the other.
///
/// # Errors
/// [`Error::Forbidden`] for development seeds in production; [`Error::Seed`] for a file that fails or rows
/// that do not fit together, with nothing written.
pub async fn load(
    url: &DatabaseUrl,
    database: DatabaseName,
    environment: Environment,
    sets: &[Set],
) -> Result<Vec<(String, Outcome)>> {
    if environment == Environment::Production && sets.contains(&Set::Development) {
        return Err(Error::Forbidden {
            message: "development seeds hold users with published passwords: they are not loaded in production".into(),
        });
    }
    let all: Vec<_> = sets.iter().flat_map(|set| files(*set, database)).collect();
    load_files(url, database, &all).await
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
    let mut connection = connect(url).await?;
    connection
        .transaction::<_, Error, _>(async |connection| {
            // A second runner waits for the first one's commit, at CREATE TABLE or at LOCK (SHARE ROW EXCLUSIVE
            // conflicts with itself), and finds all done. IF NOT EXISTS alone fails when both make the table.
            let prepared = connection
                .batch_execute(
                    "DO $ledger$ BEGIN \
                         CREATE TABLE __bedplate_seeds ( \
                             name text PRIMARY KEY, checksum text NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now()); \
                         COMMENT ON TABLE __bedplate_seeds IS 'Ledger of the seed files that were loaded.'; \
                     EXCEPTION WHEN duplicate_table OR unique_violation THEN NULL; \
                     END $ledger$; \
                     LOCK TABLE __bedplate_seeds IN SHARE ROW EXCLUSIVE MODE",
                )
                .await;
            prepared.map_err(|error| in_file("the ledger", &error))?;
            let known = ledger(connection).await?;
            let mut outcomes = Vec::with_capacity(files.len());
            for file in files {
                outcomes.push((file.name.clone(), load_file(connection, file, &known).await?));
            }
            connection.batch_execute("SET LOCAL ROLE bedplate_system").await?;
            let broken = consistency::check(connection, database).await?;
            connection.batch_execute("RESET ROLE").await?;
            if broken.is_empty() { Ok(outcomes) } else { Err(Error::Seed { message: broken.join("; ") }) }
        })
        .await
}

#[derive(QueryableByName)]
struct LedgerEntry {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    checksum: String,
}

async fn ledger(connection: &mut AsyncPgConnection) -> Result<BTreeMap<String, String>> {
    let entries: Vec<LedgerEntry> = sql_query("SELECT name, checksum FROM __bedplate_seeds").load(connection).await?;
    Ok(entries.into_iter().map(|entry| (entry.name, entry.checksum)).collect())
}

async fn load_file(
    connection: &mut AsyncPgConnection,
    file: &SeedFile,
    known: &BTreeMap<String, String>,
) -> Result<Outcome> {
    let checksum = URL_SAFE_NO_PAD.encode(Sha256::digest(file.sql.as_bytes()));
    let outcome = match known.get(&file.name) {
        Some(loaded) if *loaded == checksum => return Ok(Outcome::Unchanged),
        Some(_) => Outcome::Reloaded,
        None => Outcome::Loaded,
    };
    connection.batch_execute("SET LOCAL ROLE bedplate_system").await.map_err(|error| in_file(&file.name, &error))?;
    connection.batch_execute(&file.sql).await.map_err(|error| in_file(&file.name, &error))?;
    connection.batch_execute("RESET ROLE").await?;
    sql_query(
        "INSERT INTO __bedplate_seeds (name, checksum) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, loaded_at = excluded.loaded_at",
    )
    .bind::<Text, _>(&file.name)
    .bind::<Text, _>(&checksum)
    .execute(connection)
    .await?;
    Ok(outcome)
}

fn in_file(name: &str, error: &diesel::result::Error) -> Error {
    Error::Seed { message: format!("{name}: {error}") }
}
