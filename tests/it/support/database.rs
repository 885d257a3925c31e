//! A database a test: cloned from a template that has the migrations, named after the test, dropped when the
//! test passes and kept when it fails. There is a template each for `main`, `rfq` and `marketdata`. Leftovers of earlier runs are swept at the start.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use bedplate::database::DatabaseName;
use bedplate::database::config::Logins;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::{Config, Database, DatabaseUrl, Environment};
use rstest::fixture;

use super::server::{on_own_runtime, server};
use super::{connection, execute, texts};

/// Whichever it is, all three handles of `database` lead to it.
pub struct TestDatabase {
    /// As the application's login.
    pub database: Database,
    /// As the owner.
    pub url: DatabaseUrl,
}

impl std::ops::Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// A migrated database `main` without rows.
#[fixture]
pub async fn db() -> TestDatabase {
    migrated(DatabaseName::Main).await
}

/// A migrated database `rfq` without rows.
#[fixture]
pub async fn rfq_db() -> TestDatabase {
    migrated(DatabaseName::Rfq).await
}

/// A migrated database `marketdata` without rows.
#[fixture]
pub async fn marketdata_db() -> TestDatabase {
    migrated(DatabaseName::Marketdata).await
}

/// The same, for a test of several.
pub async fn migrated(of: DatabaseName) -> TestDatabase {
    let url = create(Some(template(of))).await;
    TestDatabase { database: open(&url).await, url }
}

/// Whose transactions all have the same connection.
pub async fn one_connection(url: &DatabaseUrl) -> Database {
    let mut config = config(url);
    config.pool.max_size = 1;
    Database::connect(config).await.unwrap()
}

/// A database with nothing in it: its owner's URL. Dropped by the next run, or with the server.
#[fixture]
pub async fn empty_db() -> DatabaseUrl {
    create(None).await
}

/// A `Database` of the application's login.
pub async fn open(url: &DatabaseUrl) -> Database {
    Database::connect(config(url)).await.unwrap()
}

pub fn config(url: &DatabaseUrl) -> Config {
    let mut config = Config::new(url.clone(), Environment::Development);
    config.app_url = Some(server().app.with_database(url.database()).unwrap());
    for beside in [DatabaseName::Rfq, DatabaseName::Marketdata] {
        config.elsewhere.insert(beside, Logins { owner: url.clone(), app: config.app_url.clone() });
    }
    config
}

async fn create(template: Option<&str>) -> DatabaseUrl {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("bedplate_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let template = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
    let mut owner = connection(&server().owner).await;
    execute(&mut owner, &format!("CREATE DATABASE {name}{template}")).await;
    let test = std::thread::current().name().unwrap_or("a test").replace('\'', "");
    execute(&mut owner, &format!("COMMENT ON DATABASE {name} IS '{test}'")).await;
    server().owner.with_database(&name).unwrap()
}

/// Made by the first test that needs it. Its name holds a checksum of the migrations, so that a server which
/// is kept between runs does not hand out an old one.
fn template(of: DatabaseName) -> &'static str {
    static TEMPLATES: [OnceLock<String>; 3] = [const { OnceLock::new() }; 3];
    TEMPLATES[of as usize].get_or_init(|| {
        on_own_runtime(async || {
            sweep().await;
            let name = format!("bedplate_template_{of}_{:08x}", checksum(of));
            let mut owner = connection(&server().owner).await;
            if texts(&mut owner, &format!("SELECT datname FROM pg_database WHERE datname = '{name}'")).await.is_empty()
            {
                // Made under another name: a run that is interrupted leaves no half made template.
                let making = format!("{name}_{}", std::process::id());
                execute(&mut owner, &format!("CREATE DATABASE {making}")).await;
                let url = server().owner.with_database(&making).unwrap();
                migrate::run(&url, &Source::Embedded(of), Direction::Up, |_| {}).await.unwrap();
                rename_when_free(&making, &name).await;
            }
            name
        })
    })
}

/// A database is renamed, or cloned, when nobody is connected; the runner's connection ends a moment after it.
async fn rename_when_free(from: &str, to: &str) {
    let mut owner = connection(&server().owner).await;
    let in_use = format!("SELECT pid FROM pg_stat_activity WHERE datname = '{from}'");
    while !texts(&mut owner, &in_use).await.is_empty() {
        tokio::task::yield_now().await;
    }
    execute(&mut owner, &format!("ALTER DATABASE {from} RENAME TO {to}")).await;
}

fn checksum(of: DatabaseName) -> u32 {
    let mut files: Vec<_> = walk(&std::path::Path::new("migrations").join(of.as_str()));
    assert!(!files.is_empty());
    files.sort();
    let all: Vec<u8> = files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    // FNV-1a: a name, not a seal.
    all.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Drops what earlier runs left. One that is in use belongs to a run at work: its DROP fails.
async fn sweep() {
    use diesel_async::SimpleAsyncConnection as _;
    let mut owner = connection(&server().owner).await;
    for name in texts(&mut owner, "SELECT datname FROM pg_database WHERE starts_with(datname, 'bedplate_test_')").await
    {
        let mine = name.starts_with(&format!("bedplate_test_{}_", std::process::id()));
        if !mine {
            let _ = owner.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await;
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = self.url.database();
        if std::thread::panicking() {
            eprintln!("kept for a look: database {name}");
            return;
        }
        // On a thread that nobody waits for: DROP DATABASE waits for sessions that are still signing in, and they
        // for this thread's runtime. What the end of the process cuts off is swept by the next run.
        let drop_database = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        std::thread::spawn(move || {
            on_own_runtime(async || {
                let admin = server().admin.as_ref().unwrap_or(&server().owner);
                let mut admin = connection(&admin.with_database("postgres").unwrap()).await;
                let _ = diesel_async::SimpleAsyncConnection::batch_execute(&mut admin, &drop_database).await;
            });
        });
    }
}
