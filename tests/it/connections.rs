//! How the server is reached: TLS, several hosts, secrets that change, limits.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bedplate::database::{Timeouts, config::Environment};
use bedplate::error::Fault;
use bedplate::{Config, Database, DatabaseUrl, Error};
use rstest::rstest;

use crate::boundary::{one_text, run};
use crate::support::cluster::{Primary, Standby, either};
use crate::support::database::config;
use crate::support::{TestDatabase, connection, db, execute, home};

/// An authority, a certificate of it for `localhost`, and another authority that nobody has heard of.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    for authority in ["ca", "other"] {
        openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={authority} \
             -keyout {authority}.key -out {authority}.crt -addext basicConstraints=critical,CA:TRUE"
        ));
    }
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -keyout server.key -out server.csr",
    );
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt");
}

/// The certificate is for `localhost`: under the address it is another host's.
#[rstest]
#[tokio::test]
async fn each_mode_of_tls_refuses_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut primary = Primary::start(&[]).await;
    let of_server = primary.server.folder().unwrap().unwrap();
    for name in ["server.crt", "server.key"] {
        let made = fs::read(folder.path().join(name)).unwrap();
        let copy = of_server.join(name);
        fs::write(&copy, made).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        give_as(&of_server.join("data"), &copy);
    }
    let mut admin = connection(&primary.urls.admin).await;
    for (name, value) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")] {
        execute(&mut admin, &format!("ALTER SYSTEM SET {name} = '{}'", of_server.join(value).display())).await;
    }
    execute(&mut admin, "ALTER SYSTEM SET ssl = on").await;
    execute(&mut admin, "SELECT pg_reload_conf()").await;
    primary.urls = primary.server.urls().unwrap().unwrap();
    let encrypted = async |host: &str, options: &str| -> Result<bool, Error> {
        let url = format!("{}?{options}", primary.urls.app.reveal().replacen("127.0.0.1", host, 1));
        let mut connection = bedplate::database::connect(&url.parse()?).await?;
        let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(crate::support::texts(&mut connection, ssl).await == ["true"])
    };
    // The settings take a moment to arrive.
    while !encrypted("127.0.0.1", "sslmode=prefer").await.unwrap() {
        tokio::task::yield_now().await;
    }
    let ca = |name: &str| format!("sslrootcert={}", folder.path().join(name).display());
    let (good, bad) = (ca("ca.crt"), ca("other.crt"));

    assert!(!encrypted("127.0.0.1", "sslmode=disable").await.unwrap());
    assert!(encrypted("127.0.0.1", "sslmode=require").await.unwrap());
    assert!(encrypted("127.0.0.1", &format!("sslmode=verify-ca&{good}")).await.unwrap());
    assert!(encrypted("localhost", &format!("sslmode=verify-full&{good}")).await.unwrap());
    for (host, options) in [
        ("127.0.0.1", format!("sslmode=verify-full&{good}")),
        ("localhost", format!("sslmode=verify-full&{bad}")),
        ("localhost", format!("sslmode=verify-ca&{bad}")),
        ("localhost", "sslmode=verify-full&sslrootcert=system".to_owned()),
    ] {
        let error = encrypted(host, &options).await.unwrap_err();
        assert!(
            matches!(&error, Error::Configuration { message } if message.contains("certificate")),
            "{options}: {error:?}"
        );
    }
    let nowhere = encrypted("localhost", "sslmode=verify-full&sslrootcert=/nowhere.crt").await.unwrap_err();
    assert!(matches!(&nowhere, Error::Configuration { message } if message.contains("/nowhere.crt")), "{nowhere:?}");

    // Through the pool, and with requests to cancel.
    let mut config = primary.config();
    config.app_url = Some(
        format!("{}?sslmode=verify-full&{good}", primary.urls.app.reveal().replacen("127.0.0.1", "localhost", 1))
            .parse()
            .unwrap(),
    );
    let database = Database::connect(config).await.unwrap();
    home(&database).await;
    let slept = database.system_tx("sleeper", async |tx| run(tx.connection(), "SELECT pg_sleep(60)").await);
    tokio::time::timeout(Duration::from_millis(100), slept).await.unwrap_err();
    let gone = "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE application_name = 'sleeper'";
    crate::support::until(&mut connection(&primary.urls.app).await, gone).await;

    // TLS or nothing: a server without it is refused.
    execute(&mut admin, "ALTER SYSTEM SET ssl = off").await;
    execute(&mut admin, "SELECT pg_reload_conf()").await;
    while encrypted("127.0.0.1", "sslmode=prefer").await.unwrap() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(encrypted("127.0.0.1", "sslmode=require").await.unwrap_err(), Error::Configuration { .. }));
}

/// Whoever owns the data: the server refuses a key that it does not own.
fn give_as(example: &Path, path: &Path) {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let owner = fs::metadata(example).unwrap();
    chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// The first host is a standby, or is not there: the one that takes writes is found, in whatever order they stand.
#[rstest]
#[tokio::test]
async fn of_several_hosts_the_one_that_writes_is_found() {
    let primary = Primary::start(&["wal_level=replica", "max_wal_senders=4"]).await;
    let standby = Standby::of(&primary, "standby");
    let (app, beside) = (&primary.urls.app, standby.url(&primary.urls.app));
    for url in [either(app, &beside), either(&beside, app)] {
        let mut config = primary.config();
        config.app_url = Some(url.clone());
        home(&Database::connect(config).await.unwrap()).await;
        for (attrs, is_standby) in [
            ("read-write", "false"),
            ("primary", "false"),
            ("read-only", "true"),
            ("standby", "true"),
            ("prefer-standby", "true"),
        ] {
            let wanted: DatabaseUrl = format!("{}?target_session_attrs={attrs}", url.reveal()).parse().unwrap();
            // The second time it begins with the host that was found.
            for _ in 0..2 {
                let mut found = connection(&wanted).await;
                assert_eq!(
                    crate::support::texts(&mut found, "SELECT pg_is_in_recovery()").await,
                    [is_standby],
                    "{attrs}"
                );
            }
        }
    }
    // One host: it is what is asked for, or there is none.
    for (url, attrs, fits) in [
        (app, "primary", true),
        (app, "standby", false),
        (app, "read-only", false),
        (app, "prefer-standby", true),
        (&beside, "standby", true),
        (&beside, "primary", false),
        (&beside, "read-write", false),
        (&beside, "any", true),
    ] {
        let wanted: DatabaseUrl = format!("{}?target_session_attrs={attrs}", url.reveal()).parse().unwrap();
        match bedplate::database::connect(&wanted).await.map(drop) {
            Ok(()) => assert!(fits, "{attrs}"),
            Err(Error::Unavailable { message }) => assert!(!fits && message.contains(attrs), "{message}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    // A write on the standby itself is told as what it is.
    let mut config = primary.config();
    config.app_url = Some(beside);
    config.retry_budget = Duration::ZERO;
    let database = Database::connect(config).await.unwrap();
    let write = database.system_tx("write", async |tx| run(tx.connection(), "DELETE FROM tenants").await);
    assert_eq!(write.await.unwrap_err().fault(), Some(Fault::ReadOnly));
}

/// A host that takes connections and says nothing, as a frozen server does, does not hide the one behind it.
#[rstest]
#[tokio::test]
async fn a_host_that_hangs_does_not_hide_the_next() {
    let primary = Primary::start(&[]).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let hanging = url::Url::parse(primary.urls.app.reveal()).unwrap();
    let url =
        hanging.as_str().replacen("@127.0.0.1", &format!("@127.0.0.1:{port},127.0.0.1"), 1) + "?connect_timeout=2";
    let mut config = primary.config();
    config.app_url = Some(url.parse().unwrap());
    home(&Database::connect(config).await.unwrap()).await;
}

/// 1. The URL is in a file, or is what a command prints: here one that does as `aws secretsmanager` does.
/// 2. The password is changed, and the connections that have the old one are ended.
/// 3. The secret has the old one still: the login is refused, and says so.
/// 4. The secret has the new one: the same `Database` goes on.
#[rstest]
#[case::file(false)]
#[case::command(true)]
#[tokio::test]
async fn a_rotated_password_needs_no_restart(#[case] by_command: bool) {
    let primary = Primary::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    let url = primary.urls.app.reveal().to_owned();
    let (head, tail) = url.split_at(url.find("bedplate_login:").unwrap() + "bedplate_login:".len());
    let (password, tail) = tail.split_at(tail.find('@').unwrap());
    let of = |password: &str| format!("{head}{password}{tail}");
    let variable = if by_command {
        // As in docs/operations.md, with this in the place of the `aws` command.
        let aws = folder.path().join("aws");
        fs::write(
            &aws,
            format!(
                "#!/bin/sh\n[ \"$1 $2 $4\" = 'secretsmanager get-secret-value bedplate/app' ] && cat {}\n",
                secret.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&aws, fs::Permissions::from_mode(0o700)).unwrap();
        let command = format!(
            "PATH={}:$PATH; password=$(aws secretsmanager get-secret-value --secret-id bedplate/app --query SecretString \
             --output text) && printf '%s%s%s' '{head}' \"$password\" '{tail}'",
            folder.path().display()
        );
        ("APP_DATABASE_URL_COMMAND".to_owned(), command)
    } else {
        ("APP_DATABASE_URL_FILE".to_owned(), secret.display().to_string())
    };
    let store =
        |password: &str| fs::write(&secret, if by_command { password.to_owned() } else { of(password) }).unwrap();
    store(password);
    let vars = [("DATABASE_URL".to_owned(), primary.urls.owner.reveal().to_owned()), variable];
    let mut config = Config::from_vars(&vars.into()).unwrap();
    config.pool.wait = Duration::from_secs(3);
    config.retry_budget = Duration::ZERO;
    let database = Database::connect(config).await.unwrap(); // 1
    home(&database).await;

    let mut admin = connection(&primary.urls.admin).await;
    execute(&mut admin, "ALTER ROLE bedplate_login PASSWORD 'the-n3w-one'").await; // 2
    let end = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE usename = 'bedplate_login'";
    execute(&mut admin, end).await;
    let refused = database.system_tx("refused", async |_| Ok(())).await.unwrap_err(); // 3
    assert!(refused.to_string().contains("password authentication failed"), "{refused}");
    assert!(!refused.to_string().contains(password), "{refused}");

    store("the-n3w-one"); // 4
    home(&database).await;
}

#[rstest]
#[tokio::test]
async fn each_transaction_has_its_limits(#[future(awt)] db: TestDatabase) {
    let mut config = config(&db.url);
    config.pool.max_size = 1;
    config.timeouts = Timeouts {
        statement: Duration::from_secs(7),
        lock: Duration::from_secs(2),
        idle_in_transaction: Duration::from_secs(3),
    };
    let database = Database::connect(config).await.unwrap();
    let limits = "SELECT string_agg(current_setting(name), ' ' ORDER BY name) FROM unnest(ARRAY['statement_timeout', \
                  'lock_timeout', 'idle_in_transaction_session_timeout', 'client_connection_check_interval']) AS name";
    let inside = database.system_tx("inside", async |tx| one_text(tx.connection(), limits).await).await.unwrap();
    assert_eq!(inside, "1s 3s 2s 7s");
}

/// A client that has forgotten its transaction loses its connection, and the next one gets another.
#[rstest]
#[tokio::test]
async fn a_forgotten_transaction_is_ended(#[future(awt)] db: TestDatabase) {
    let mut config = config(&db.url);
    config.timeouts.idle_in_transaction = Duration::from_millis(50);
    config.retry_budget = Duration::ZERO;
    let database = Database::connect(config).await.unwrap();
    let watched = db.config().url();
    let gone = "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE application_name = 'forgotten'";
    let error = database
        .system_tx("forgotten", async |tx| {
            crate::support::until(&mut connection(watched).await, gone).await;
            one_text(tx.connection(), "SELECT 'still here'").await
        })
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::ConnectionLost), "{error:?}");
    database.system_tx("next", async |_| Ok(())).await.unwrap();
}

#[test]
fn an_environment_has_limits_of_its_own() {
    let url: DatabaseUrl = "postgres://u@h/d".parse().unwrap();
    let of = |environment| {
        let pool = Config::new(url.clone(), environment).pool;
        (pool.max_size, pool.min_idle)
    };
    assert_eq!(of(Environment::Development), (10, 0));
    assert_eq!(of(Environment::Staging), (20, 0));
    assert_eq!(of(Environment::Production), (20, 2));
}

/// A connection that is old is closed when it comes back, and another one is made.
#[rstest]
#[tokio::test]
async fn an_old_connection_is_replaced(#[future(awt)] db: TestDatabase) {
    let pid = async |database: &Database| {
        database
            .system_tx("pid", async |tx| one_text(tx.connection(), "SELECT pg_backend_pid()::text").await)
            .await
            .unwrap()
    };
    let mut config = config(&db.url);
    config.pool.max_size = 1;
    let kept = Database::connect(config.clone()).await.unwrap();
    assert_eq!(pid(&kept).await, pid(&kept).await);
    config.pool.max_lifetime = Duration::from_nanos(1);
    let replaced = Database::connect(config).await.unwrap();
    assert_ne!(pid(&replaced).await, pid(&replaced).await);
}
