//! The compose file's initialisation script, against a real server: the engine is not needed for that.

use std::process::Command;

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::seed::{self, Set};
use bedplate::{Config, Database, DatabaseUrl, Environment};

use crate::private_server::Own;
use crate::support::{connection, execute};

#[tokio::test(flavor = "multi_thread")]
async fn the_initialisation_script_makes_what_migrations_need() {
    let own = Own::new();
    own.start().await;
    let admin = own.server.urls().unwrap().unwrap().admin.with_database("postgres").unwrap();
    // As the image has it before the script: no roles, no database.
    for database in ["bedplate", "bedplate_rfq", "bedplate_marketdata"] {
        execute(&mut connection(&admin).await, &format!("DROP DATABASE {database}")).await;
    }
    execute(&mut connection(&admin).await, "DROP ROLE bedplate_owner, bedplate_login").await;

    // The script finds its server as psql does; in the image that is the socket.
    let parsed: tokio_postgres::Config = admin.reveal().parse().unwrap();
    // Run again, it changes nothing.
    for _ in 0..2 {
        let script = Command::new("bash")
            .arg("docker/initdb/10-bedplate.sh")
            .envs([("POSTGRES_USER", "postgres"), ("PGHOST", "127.0.0.1")])
            .env("PGPORT", parsed.get_ports()[0].to_string())
            .env("PGPASSWORD", std::str::from_utf8(parsed.get_password().unwrap()).unwrap())
            .envs([("OWNER_PASSWORD", "own'er"), ("LOGIN_PASSWORD", "log\"in")])
            .output()
            .unwrap();
        assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    }

    let url = |user: &str, password: &str| {
        DatabaseUrl::from_parts("127.0.0.1", parsed.get_ports()[0], "bedplate", user, &password.to_owned().into())
            .unwrap()
    };
    let owner = url("bedplate_owner", "own'er");
    let beside = Config::new(owner.clone(), Environment::Production);
    for name in DatabaseName::ALL {
        let url = beside.for_database(*name).unwrap().owner_url;
        migrate::run(&url, &Source::Embedded(*name), Direction::Up, |_| {}).await.unwrap();
        seed::load(&url, *name, Environment::Development, &[Set::Reference, Set::Development]).await.unwrap();
    }
    let mut config = Config::new(owner, Environment::Production);
    config.app_url = Some(url("bedplate_login", "log\"in"));
    let database = Database::connect(config).await.unwrap();
    let active =
        database.system_tx("list", async |tx| tx.tenants().list(bedplate::models::TenantStatus::Active).await).await;
    assert_eq!(active.unwrap().len(), 2);
    let venues = database.marketdata().read_tx("list", async |tx| tx.venues().list().await).await;
    assert!(venues.unwrap().len() >= 8);
}
