//! The private server: made, stopped, killed, and back with its data. Each test has a server of its own, and
//! stops it, also when it fails.

use std::process::Command;

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::{PrivateServer, Started};
use bedplate::{Config, Database, Environment, Error};

use crate::support::{connection, execute, number, texts};

/// Stops the server and removes its files.
pub struct Own {
    pub server: PrivateServer,
    home: std::path::PathBuf,
}

impl Own {
    pub fn new() -> Self {
        let home =
            tempfile::Builder::new().prefix("bedplate-server-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
        Self { server: PrivateServer::at(&home).option("fsync=off"), home }
    }

    pub async fn start(&self) -> Started {
        self.server.start(&mut |_| {}).await.unwrap()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.server.stop();
        if let Ok(Some(folder)) = self.server.folder() {
            let _ = std::fs::remove_dir_all(folder);
        }
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

#[tokio::test]
async fn data_port_and_passwords_survive_stop_and_kill() {
    let own = Own::new();
    assert!(!own.server.is_running().unwrap());
    assert!(!own.server.stop().unwrap());
    assert!(own.server.urls().unwrap().is_none());

    assert_eq!(own.start().await, Started::New);
    assert_eq!(own.start().await, Started::Already);
    let urls = own.server.urls().unwrap().unwrap();
    execute(&mut connection(&urls.owner).await, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)").await;

    assert!(own.server.stop().unwrap());
    assert!(!own.server.is_running().unwrap());
    assert_eq!(own.start().await, Started::Again);
    assert_eq!(own.server.urls().unwrap().unwrap().owner.reveal(), urls.owner.reveal());
    assert_eq!(number(&mut connection(&urls.owner).await, "SELECT count(*) FROM kept").await, 1);

    let pid = own.server.process_id().unwrap().unwrap();
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    assert_eq!(own.start().await, Started::Again);
    assert_eq!(number(&mut connection(&urls.owner).await, "SELECT count(*) FROM kept").await, 1);
}

/// 1. A server of an earlier version has the database `main` alone.
/// 2. It starts again: the others are there, and belong to the owner; a second start finds nothing to do.
#[tokio::test]
async fn databases_of_a_later_version_are_made() {
    let own = Own::new();
    own.start().await;
    let urls = own.server.urls().unwrap().unwrap();
    let databases = "SELECT datname FROM pg_database WHERE datdba = 'bedplate_owner'::regrole ORDER BY 1";
    let all = ["bedplate", "bedplate_marketdata", "bedplate_rfq"];
    let mut owner = connection(&urls.owner).await;
    assert_eq!(texts(&mut owner, databases).await, all);
    execute(&mut owner, "DROP DATABASE bedplate_rfq").await; // 1
    execute(&mut owner, "DROP DATABASE bedplate_marketdata").await;
    for _ in 0..2 {
        assert_eq!(own.start().await, Started::Already); // 2
        assert_eq!(texts(&mut owner, databases).await, all);
    }
    let config = Config::new(urls.owner.clone(), Environment::Development);
    connection(&config.for_database(DatabaseName::Rfq).unwrap().owner_url).await;
}

/// 1. The server is stopped, and its pid file names a process that is no server: ours.
/// 2. It starts all the same.
/// 3. Its port is taken by another program meanwhile: it takes another one, and says so in the URL.
#[tokio::test]
async fn a_stale_pid_file_and_a_taken_port_are_no_obstacle() {
    let own = Own::new();
    own.start().await;
    let folder = own.server.folder().unwrap().unwrap();
    let file = folder.join("data/postmaster.pid");
    let before = std::fs::read_to_string(&file).unwrap();
    own.server.stop().unwrap();
    // 1
    let (_, rest) = before.split_once('\n').unwrap();
    std::fs::write(&file, format!("{}\n{rest}", std::process::id())).unwrap();
    assert!(!own.server.is_running().unwrap());
    // 2
    assert_eq!(own.start().await, Started::Again);
    // 3
    let port = port(&own);
    own.server.stop().unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert_eq!(own.start().await, Started::Again);
    let now = self::port(&own);
    assert_ne!(now, port);
    connection(&own.server.urls().unwrap().unwrap().owner).await;
}

fn port(own: &Own) -> u16 {
    let urls = own.server.urls().unwrap().unwrap();
    let url = urls.owner.to_string();
    url.rsplit_once(':').unwrap().1.split_once('/').unwrap().0.parse().unwrap()
}

/// 1. A pool of live connections. 2. The server is stopped: unavailable. 3. It is back: the next call works.
#[tokio::test]
async fn the_pool_survives_a_restart_of_the_server() {
    let own = Own::new();
    own.start().await;
    let urls = own.server.urls().unwrap().unwrap();
    migrate::run(&urls.owner, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await.unwrap();
    let mut config = Config::new(urls.owner, Environment::Development);
    config.app_url = Some(urls.app);
    config.pool.wait = std::time::Duration::from_millis(200);
    let database = Database::connect(config).await.unwrap();
    let (a, b) = tokio::join!(database.system_tx("one", async |_| Ok(())), database.system_tx("two", async |_| Ok(()))); // 1
    a.and(b).unwrap();
    own.server.stop().unwrap(); // 2
    let error = database.system_tx("down", async |_| Ok(())).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    own.start().await; // 3
    database.system_tx("back", async |_| Ok(())).await.unwrap();
}

#[tokio::test]
async fn the_state_is_readable_by_its_owner_alone_and_a_broken_one_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let own = Own::new();
    own.start().await;
    let file = own.home.join("server.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(own.home.join(".gitignore")).unwrap(), "*\n");
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    let error = own.server.urls().unwrap_err();
    assert!(error.to_string().contains("remove the folder to start anew"), "{error}");
    std::fs::write(&file, good).unwrap();
}

/// The passwords of the private server reach nobody through the catalogue, and strangers are refused.
#[tokio::test]
async fn strangers_are_refused() {
    let own = Own::new();
    own.start().await;
    let url = own.server.urls().unwrap().unwrap().admin;
    let wrong: bedplate::DatabaseUrl =
        format!("postgres://postgres:wrong@127.0.0.1:{}/postgres", port(&own)).parse().unwrap();
    let error = bedplate::database::connect(&wrong).await.map(drop).unwrap_err();
    assert!(
        matches!(&error, Error::Configuration { message } if message.contains("password authentication failed")),
        "{error:?}"
    );
    let mut admin = connection(&url).await;
    assert_eq!(number(&mut admin, "SELECT count(*) FROM pg_roles WHERE rolsuper AND rolcanlogin").await, 1);
    execute(&mut admin, "CREATE ROLE probe").await;
}
