//! Migrations: Diesel's files and Diesel's table, so that everything the diesel CLI applied is known
//! here and the other way round.
//!
//! Always holds: one runner works at a time (the diesel CLI takes no lock, this does), and a migration is
//! applied entirely or not at all, unless its `metadata.toml` says `run_in_transaction = false`.

mod create;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, FileBasedMigrations, MigrationHarness, embed_migrations};

pub use create::create;

use super::name::DatabaseName;
use super::pool::connect;
use super::url::DatabaseUrl;
use crate::error::{Error, Result};
use crate::sql::cached;

/// The migrations of the database `main`, compiled in.
pub const MAIN: EmbeddedMigrations = embed_migrations!("migrations/main");

/// The key of the advisory lock that runners hold: `bedplate` in ASCII.
const LOCK_KEY: i64 = i64::from_be_bytes(*b"bedplate");

/// Where migrations come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The ones of this database that are compiled in.
    Embedded(DatabaseName),
    /// A folder in Diesel's layout.
    Directory(PathBuf),
}

impl Source {
    fn read(&self) -> Result<Vec<Box<dyn Migration<Pg>>>> {
        let loaded = match self {
            Self::Embedded(DatabaseName::Main) => MAIN.migrations(),
            Self::Embedded(name) => {
                let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name.as_str());
                return Self::Directory(path).read();
            }
            Self::Directory(path) => FileBasedMigrations::from_path(path)
                .map_err(|error| Error::configuration(format!("{}: {error}", path.display())))?
                .migrations(),
        };
        let mut migrations: Vec<Box<dyn Migration<Pg>>> =
            loaded.map_err(|error| Error::configuration(format!("the migrations cannot be read: {error}")))?;
        migrations.sort_by_key(|migration| migration.name().version().as_owned());
        Ok(migrations)
    }
}

/// One migration, and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MigrationStatus {
    /// The leading digits of its directory's name.
    pub version: String,
    /// Its directory's name; the version where the files are missing.
    pub name: String,
    /// Where it stands.
    pub state: MigrationState,
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrationState {
    /// The database has it.
    Applied,
    /// `migrate up` would apply it.
    Pending,
    /// The database has it, and its files are not here.
    Missing,
}

/// What a runner is doing, for progress.
#[derive(Debug, Clone)]
pub enum Event {
    /// Another runner is at work.
    Waiting,
    /// The nth of so many migrations starts.
    Started {
        /// Its directory's name.
        name: String,
        /// 1 for the first.
        number: usize,
        /// How many there are to do.
        of: usize,
    },
    /// It is done.
    Finished {
        /// Its directory's name.
        name: String,
        /// How long it took.
        took: Duration,
    },
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Apply everything that is pending.
    Up,
    /// Revert the last applied ones, newest first.
    Down {
        /// So many.
        count: usize,
    },
    /// Revert everything, newest first.
    DownAll,
    /// Revert the last one and apply it again.
    Redo,
}

/// Where every migration stands, oldest first.
///
/// # Errors
/// Those of [`connect`]; [`Error::Configuration`] for an unreadable folder.
pub async fn status(url: &DatabaseUrl, source: &Source) -> Result<Vec<MigrationStatus>> {
    let mut harness = harness(connect(url).await?);
    let source = source.clone();
    blocking(move || {
        let migrations = source.read()?;
        let applied = applied(&mut harness)?;
        let mut all: Vec<_> = migrations.iter().map(|migration| entry(migration.as_ref(), &applied)).collect();
        let missing = applied.iter().filter(|version| !all.iter().any(|known| &known.version == *version));
        let missing: Vec<_> = missing
            .map(|version| MigrationStatus {
                version: version.clone(),
                name: version.clone(),
                state: MigrationState::Missing,
            })
            .collect();
        all.extend(missing);
        all.sort_by(|a, b| a.version.cmp(&b.version));
        Ok(all)
    })
    .await
}

fn version(migration: &dyn Migration<Pg>) -> String {
    migration.name().version().to_string()
}

fn entry(migration: &dyn Migration<Pg>, applied: &[String]) -> MigrationStatus {
    let version = version(migration);
    let state = if applied.contains(&version) { MigrationState::Applied } else { MigrationState::Pending };
    MigrationStatus { name: migration.name().to_string(), version, state }
}

/// Applies or reverts migrations, and returns the names in the order of the work. Waits while another
/// runner is at work, up to five minutes; does nothing where there is nothing to do.
///
/// # Errors
/// [`Error::Migration`] for the first that fails: those before it stay, it leaves nothing behind.
/// [`Error::Timeout`] when another runner does not end.
pub async fn run(
    url: &DatabaseUrl,
    source: &Source,
    direction: Direction,
    mut on_event: impl FnMut(Event) + Send + 'static,
) -> Result<Vec<String>> {
    let mut connection = connect(url).await?;
    lock(&mut connection, &mut on_event).await?;
    // Waiting for a table's lock blocks everybody who comes after: give up early.
    connection.batch_execute("SET lock_timeout = '10s'").await?;
    let mut harness = harness(connection);
    let source = source.clone();
    blocking(move || {
        let migrations = source.read()?;
        let applied = applied(&mut harness)?;
        let newest_first = || revertible(&applied, &migrations);
        match direction {
            Direction::Up => {
                let pending = migrations.iter().map(AsRef::as_ref);
                let pending: Vec<_> = pending.filter(|migration| !applied.contains(&version(*migration))).collect();
                each(&pending, &mut on_event, |migration| harness.run_migration(migration).map(|_| ()))
            }
            Direction::Down { count } => {
                let last: Vec<_> = newest_first().take(count).collect::<Result<_>>()?;
                each(&last, &mut on_event, |migration| harness.revert_migration(migration).map(|_| ()))
            }
            Direction::DownAll => {
                let all: Vec<_> = newest_first().collect::<Result<_>>()?;
                each(&all, &mut on_event, |migration| harness.revert_migration(migration).map(|_| ()))
            }
            Direction::Redo => {
                let last: Vec<_> = newest_first().take(1).collect::<Result<_>>()?;
                each(&last, &mut on_event, |migration| {
                    harness.revert_migration(migration)?;
                    harness.run_migration(migration).map(|_| ())
                })
            }
        }
    })
    .await
}

type Harness = AsyncConnectionWrapper<AsyncPgConnection>;

/// Diesel's harness is synchronous; it works on this connection inside [`blocking`].
fn harness(connection: AsyncPgConnection) -> Harness {
    AsyncConnectionWrapper::from(connection)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| Error::Io { doing: "migrations".into(), source: error.into() })?
}

/// The applied versions, newest first. Makes Diesel's table where it is missing.
fn applied(harness: &mut Harness) -> Result<Vec<String>> {
    let mut versions: Vec<_> = harness
        .applied_migrations()
        .map_err(|error| match error.downcast::<diesel::result::Error>() {
            Ok(said) => Error::from(*said),
            Err(other) => Error::Unavailable { message: other.to_string() },
        })?
        .iter()
        .map(ToString::to_string)
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    Ok(versions)
}

fn revertible<'m>(
    applied: &[String],
    migrations: &'m [Box<dyn Migration<Pg>>],
) -> impl Iterator<Item = Result<&'m dyn Migration<Pg>>> {
    applied.iter().map(|version| {
        let known = migrations.iter().map(AsRef::as_ref).find(|migration| self::version(*migration) == *version);
        known.ok_or_else(|| {
            Error::configuration(format!("{version} is applied, but its files are not here: it cannot be reverted"))
        })
    })
}

fn each(
    migrations: &[&dyn Migration<Pg>],
    on_event: &mut impl FnMut(Event),
    mut work: impl FnMut(&dyn Migration<Pg>) -> diesel::migration::Result<()>,
) -> Result<Vec<String>> {
    let of = migrations.len();
    let mut done = Vec::with_capacity(of);
    for (index, migration) in migrations.iter().enumerate() {
        let name = migration.name().to_string();
        on_event(Event::Started { name: name.clone(), number: index + 1, of });
        let started = Instant::now();
        work(*migration).map_err(|error| failed(&name, error.as_ref()))?;
        on_event(Event::Finished { name: name.clone(), took: started.elapsed() });
        done.push(name);
    }
    Ok(done)
}

fn failed(name: &str, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    // Diesel says "Failed to run <name> with: <what the database said>".
    let said = error.to_string();
    let message = said.split_once(" with: ").map_or(said.as_str(), |(_, cause)| cause).to_owned();
    Error::Migration { name: name.to_owned(), message }
}

/// Polls, because a runner that waits inside `pg_advisory_lock` would hold a snapshot that
/// `CREATE INDEX CONCURRENTLY` waits for: a deadlock. The lock ends with the connection.
async fn lock(connection: &mut AsyncPgConnection, on_event: &mut impl FnMut(Event)) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(200);
    let until = Instant::now() + Duration::from_mins(5);
    let mut told = false;
    loop {
        let attempt = diesel::select(try_lock(LOCK_KEY));
        if cached(attempt).get_result::<bool>(connection).await? {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::Timeout { waited_for: crate::error::WaitedFor::Lock });
        }
        if !std::mem::replace(&mut told, true) {
            on_event(Event::Waiting);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// Takes the lock for the rest of the session if nobody has it.
    #[sql_name = "pg_try_advisory_lock"]
    fn try_lock(key: BigInt) -> Bool;
}
