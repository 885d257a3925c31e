//! What a person is told where a connection cannot be made: what has to be changed is configuration, with exit code 1,
//! at once; what may pass is a server that cannot be reached, with exit code 4.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::thread::JoinHandle;
use std::time::Duration;

use bedplate::models::TenantStatus;
use bedplate::{Database, DatabaseUrl, Error};
use rstest::rstest;

use crate::boundary::one_text;
use crate::cli::{bedplate, error};
use crate::support::cluster::Primary;
use crate::support::server::server;
use crate::support::{TestDatabase, connection, db, empty_db, execute};

/// The parts of a URL of a test.
struct Parts {
    user: String,
    password: String,
    host: String,
    port: String,
    database: String,
}

fn parts(of: &DatabaseUrl) -> Parts {
    let url = url::Url::parse(of.reveal()).unwrap();
    Parts {
        user: url.username().to_owned(),
        password: url.password().unwrap_or_default().to_owned(),
        host: url.host_str().unwrap().to_owned(),
        port: url.port().unwrap_or(5432).to_string(),
        database: of.database().to_owned(),
    }
}

impl Parts {
    /// `USER`, `PASSWORD`, `HOST`, `PORT` and `DATABASE` are filled in.
    fn fill(&self, url: &str) -> String {
        [
            ("USER", &self.user),
            ("PASSWORD", &self.password),
            ("HOST", &self.host),
            ("PORT", &self.port),
            ("DATABASE", &self.database),
        ]
        .iter()
        .fold(url.to_owned(), |url, (name, value)| url.replace(name, value))
    }
}

/// `bedplate migrate status` with this URL and these variables besides.
fn status(folder: &Path, url: &str, vars: &[(&str, &str)]) -> Output {
    let mut all = vec![("DATABASE_URL", url), ("HOME", folder.to_str().unwrap())];
    all.extend(vars);
    bedplate(folder, &all, &["migrate", "status"])
}

#[rstest]
#[case::no_password("postgres://USER@HOST:PORT/DATABASE", "PGPASSWORD")]
#[case::wrong_password("postgres://USER:wrong@HOST:PORT/DATABASE", "password of the URL")]
#[case::unknown_login("postgres://nobody_knows:wrong@HOST:PORT/DATABASE", "password of the URL")]
#[case::unknown_database("postgres://USER:PASSWORD@HOST:PORT/nobody_knows", "CREATE DATABASE")]
#[case::channel_binding_without_tls(
    "postgres://USER:PASSWORD@HOST:PORT/DATABASE?channel_binding=require",
    "channel_binding"
)]
#[case::channel_binding_with_tls_switched_off(
    "postgres://USER:PASSWORD@HOST:PORT/DATABASE?channel_binding=require&sslmode=disable",
    "channel_binding"
)]
#[case::tls_that_the_server_lacks("postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require", "ssl = on")]
#[case::direct_tls_that_is_not_required(
    "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslnegotiation=direct",
    "sslmode=require"
)]
#[case::wrong_value_in_options(
    "postgres://USER:PASSWORD@HOST:PORT/DATABASE?options=-c%20statement_timeout%3Dsoon",
    "options"
)]
#[case::unknown_setting_in_options("postgres://USER:PASSWORD@HOST:PORT/DATABASE?options=-c%20no_such%3D1", "options")]
#[case::options_that_are_none("postgres://USER:PASSWORD@HOST:PORT/DATABASE?options=--no-such", "options")]
#[case::option_for_superusers(
    "postgres://USER:PASSWORD@HOST:PORT/DATABASE?options=-c%20log_statement%3Dall",
    "options"
)]
#[case::ports_of_one_host("postgres:///DATABASE?host=HOST&port=PORT,5433&user=USER&password=PASSWORD", "2 ports")]
#[case::ports_of_three_hosts(
    "postgres:///DATABASE?host=a,b,c&port=1,2&user=USER&password=PASSWORD",
    "2 ports and 3 hosts"
)]
#[case::port_zero("postgres://USER:PASSWORD@HOST:0/DATABASE", "port")]
#[case::no_root_certificates(
    "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-ca&sslrootcert=/nowhere.crt",
    "/nowhere.crt"
)]
#[case::foreign("postgres://USER:PASSWORD@HOST:PORT/DATABASE?connection_limit=5", "BEDPLATE_POOL_SIZE")]
#[tokio::test]
async fn what_has_to_be_changed_is_configuration(#[case] url: &str, #[case] said: &str) {
    let parts = parts(&server().owner);
    let folder = tempfile::tempdir().unwrap();
    let output = status(folder.path(), &parts.fill(url), &[]);
    let message = error(&output, 1);
    assert!(message.contains(said), "{message}");
    assert!(!message.contains("is the server running") && !message.contains(&parts.password), "{message}");
}

#[rstest]
#[case::nobody_listens("postgres://USER:PASSWORD@HOST:1/DATABASE", "refused")]
#[case::unknown_host("postgres://USER:PASSWORD@no-such-host.invalid:PORT/DATABASE", "no-such-host.invalid")]
#[case::no_socket("postgres://USER:PASSWORD@%2Fnowhere:PORT/DATABASE", "/nowhere")]
fn what_may_pass_is_not_reachable(#[case] url: &str, #[case] said: &str) {
    let parts = parts(&server().owner);
    let folder = tempfile::tempdir().unwrap();
    let message = error(&status(folder.path(), &parts.fill(url), &[]), 4);
    assert!(message.contains(said), "{message}");
}

/// A server that answers each connection with this, after the first message.
fn answering(answer: Vec<u8>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 1024]).unwrap();
        let _ = client.write_all(&answer);
    });
    (port, server)
}

/// `ErrorResponse`, as a server sends it at the start of a session.
fn refusal(code: &str, message: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E".as_slice(), &length.to_be_bytes(), fields.as_bytes()].concat()
}

/// Every class of SQLSTATE that a server or a pooler sends before a session is ready.
#[rstest]
#[case("28P01", "password authentication failed for user \"u\"", false)]
#[case("28000", "no pg_hba.conf entry for host \"1.2.3.4\", user \"u\", database \"d\", no encryption", false)]
#[case("28000", "role \"u\" is not permitted to log in", false)]
#[case("3D000", "database \"d\" does not exist", false)]
#[case("42501", "permission denied for database \"d\"", false)]
#[case("42704", "unrecognized configuration parameter \"no_such\"", false)]
#[case("42601", "invalid command-line argument for server process: --no-such", false)]
#[case("22023", "invalid value for parameter \"statement_timeout\": \"soon\"", false)]
#[case("55P02", "parameter \"wal_level\" cannot be changed without restarting the server", false)]
#[case("55000", "database \"template0\" is not currently accepting connections", false)]
#[case("0A000", "unsupported frontend protocol 3.0: server supports 2.0 to 2.0", false)]
#[case("08P01", "no such database: d", false)]
#[case("08P01", "no such user", false)]
#[case("08P01", "SSL required", false)]
#[case("08P01", "unsupported startup parameter in options: search_path", false)]
#[case("08P01", "query_wait_timeout", true)]
#[case("08P01", "no more connections allowed (max_client_conn)", true)]
#[case("08P01", "server login has been failing, try again later (server_login_retry)", true)]
#[case("08006", "connection failure", true)]
#[case("53300", "sorry, too many clients already", true)]
#[case("53300", "too many connections for role \"u\"", true)]
#[case("53200", "out of memory", true)]
#[case("57P03", "the database system is starting up", true)]
#[case("57P03", "the database system is shutting down", true)]
#[case("57P01", "terminating connection due to administrator command", true)]
#[case("58000", "could not open file \"base/1/2\": Input/output error", true)]
#[case("58P01", "could not access file", true)]
#[case("XX000", "internal error", true)]
#[case("40001", "could not serialize access", true)]
#[case("55P03", "canceling statement due to lock timeout", true)]
#[tokio::test]
async fn each_answer_of_a_server_has_its_class(#[case] code: &str, #[case] message: &str, #[case] may_pass: bool) {
    let (port, server) = answering(refusal(code, message));
    let url: DatabaseUrl = format!("postgres://u:s3cret@127.0.0.1:{port}/d?sslmode=disable").parse().unwrap();
    let error = bedplate::database::connect(&url).await.map(drop).unwrap_err();
    server.join().unwrap();
    assert_eq!(matches!(error, Error::Unavailable { .. }), may_pass, "{error:?}");
    assert_eq!(matches!(error, Error::Configuration { .. } | Error::NoDatabase { .. }), !may_pass, "{error:?}");
    assert_eq!(error.is_transient(), may_pass);
    let said = error.to_string();
    let is_told = said.contains(message) || matches!(error, Error::NoDatabase { .. });
    assert!(is_told && !said.contains("s3cret"), "{said}");
}

/// Another service's port, or a way to log in that is not supported.
#[rstest]
#[case::no_message(b"!\0\0\0\x04".to_vec())]
#[case::another_message(b"Z\0\0\0\x05I".to_vec())]
#[case::kerberos(b"R\0\0\0\x08\0\0\0\x02".to_vec())]
#[case::gss(b"R\0\0\0\x08\0\0\0\x07".to_vec())]
#[case::another_mechanism(b"R\0\0\0\x0f\0\0\0\x0aOTHER\0\0".to_vec())]
#[tokio::test]
async fn what_speaks_otherwise_is_configuration(#[case] answer: Vec<u8>) {
    let (port, server) = answering(answer);
    let url: DatabaseUrl = format!("postgres://u:s3cret@127.0.0.1:{port}/d?sslmode=disable").parse().unwrap();
    let error = bedplate::database::connect(&url).await.map(drop).unwrap_err();
    server.join().unwrap();
    assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
}

/// Whatever sslmode asks for: the driver takes such an answer for a server that went away, or for one without TLS.
#[rstest]
#[tokio::test]
async fn another_service_on_the_port_is_configuration(
    #[values("disable", "prefer", "require")] sslmode: &str,
    #[values(
        b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b"220 mail ESMTP\r\n", b"-ERR unknown command\r\n",
        b"J\0\0\0\x0a8.0.36\0", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x03\0\x02\x02\x28"
    )]
    answer: &[u8],
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.to_owned();
    let service = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let _ = client.read(&mut [0; 1024]).await;
            let _ = client.write_all(&answer).await;
        }
    });
    let url: DatabaseUrl = format!("postgres://u:s3cret@127.0.0.1:{port}/d?sslmode={sslmode}").parse().unwrap();
    let error = bedplate::database::connect(&url).await.map(drop).unwrap_err();
    service.abort();
    let said = error.to_string();
    assert!(
        matches!(error, Error::Configuration { .. }) && said.contains("does not speak PostgreSQL's protocol"),
        "{said}"
    );
}

/// A server that ends the connection may be on its way down, or up.
#[rstest]
#[case::says_nothing(Vec::new())]
#[case::stops_in_the_middle(b"R\0\0\0\x17\0\0".to_vec())]
#[tokio::test]
async fn a_server_that_hangs_up_is_not_reachable(#[case] answer: Vec<u8>) {
    let (port, server) = answering(answer);
    let url: DatabaseUrl = format!("postgres://u:p@127.0.0.1:{port}/d?sslmode=disable").parse().unwrap();
    let error = bedplate::database::connect(&url).await.map(drop).unwrap_err();
    server.join().unwrap();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

/// Of two hosts one may come back: then it is worth waiting, whichever was asked last.
#[rstest]
#[tokio::test]
async fn a_host_that_may_come_back_is_worth_waiting_for() {
    for down_first in [true, false] {
        let (port, server) = answering(refusal("42501", "permission denied for database \"d\""));
        let (first, second) = if down_first { (1, port) } else { (port, 1) };
        let url = format!("postgres://u:p@127.0.0.1:{first},127.0.0.1:{second}/d?sslmode=disable");
        let error = bedplate::database::connect(&url.parse().unwrap()).await.map(drop).unwrap_err();
        server.join().unwrap();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
}

/// Each way in which libpq finds what the URL leaves out.
#[rstest]
#[tokio::test]
async fn what_the_url_leaves_out_comes_from_libpqs_variables(#[future(awt)] empty_db: DatabaseUrl) {
    let parts = parts(&empty_db);
    let folder = tempfile::tempdir().unwrap();
    let without = parts.fill("postgres://USER@HOST:PORT/DATABASE");
    let password = ("PGPASSWORD", parts.password.as_str());
    let works = |url: &str, vars: &[(&str, &str)]| {
        let output = status(folder.path(), url, vars);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    works(&without, &[password]);
    let all = [
        password,
        ("PGUSER", &parts.user),
        ("PGHOST", &parts.host),
        ("PGPORT", &parts.port),
        ("PGDATABASE", &parts.database),
    ];
    works("postgres://", &all);
    works("postgres:///", &all);
    // What the URL says wins, and an empty variable counts as not set.
    let others = [("PGPASSWORD", "x"), ("PGUSER", "x"), ("PGHOST", "x"), ("PGPORT", "1"), ("PGDATABASE", "x")];
    works(&parts.fill("postgres://USER:PASSWORD@HOST:PORT/DATABASE"), &others);
    let empty = [password, ("PGSSLMODE", ""), ("PGSSLROOTCERT", ""), ("PGPORT", "")];
    works(&without, &empty);
    // A file of passwords, by name and in the home directory; the first line that fits.
    let line = parts.fill("# a comment\nelsewhere:*:*:*:wrong\nHOST:*:DATABASE:USER:PASSWORD\n*:*:*:*:wrong\n");
    let file = folder.path().join(".pgpass");
    fs::write(&file, &line).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    works(&without, &[]);
    let named = folder.path().join("passwords");
    fs::rename(&file, &named).unwrap();
    works(&without, &[("PGPASSFILE", named.to_str().unwrap())]);
    works(&format!("{without}?passfile={}", named.display()), &[]);
    // A wrong password says where it comes from.
    let wrong = error(&status(folder.path(), &without, &[("PGPASSWORD", "n0t-this")]), 1);
    assert!(wrong.contains("PGPASSWORD") && !wrong.contains("n0t-this"), "{wrong}");
    fs::write(&named, "*:*:*:*:n0t-this\n").unwrap();
    let wrong = error(&status(folder.path(), &without, &[("PGPASSFILE", named.to_str().unwrap())]), 1);
    assert!(wrong.contains(named.to_str().unwrap()) && !wrong.contains("n0t-this"), "{wrong}");
    // Others may read it: it is ignored, as libpq does.
    fs::write(&named, &line).unwrap();
    fs::set_permissions(&named, fs::Permissions::from_mode(0o640)).unwrap();
    let open = status(folder.path(), &without, &[("PGPASSFILE", named.to_str().unwrap())]);
    let ignored = error(&open, 1);
    assert!(ignored.contains("chmod 600") && !ignored.contains(&parts.password), "{ignored}");
    assert!(String::from_utf8_lossy(&open.stderr).matches("is ignored").count() >= 2, "warned, and told in the error");
}

/// A server that is reached directly looks like a pooler: it is sent no setting of its own, and keeps no statement.
#[rstest]
#[case("", "yes", true)]
#[case("?pgbouncer=false", "yes", true)]
#[case("?pgbouncer=true", "", false)]
#[tokio::test]
async fn a_pooler_that_the_url_names_is_not_asked(
    #[future(awt)] db: TestDatabase,
    #[case] option: &str,
    #[case] direct: &str,
    #[case] prepares: bool,
) {
    let mut config = crate::support::database::config(&db.url);
    config.app_url = Some(format!("{}{option}", config.url().reveal()).parse().unwrap());
    config.pool.max_size = 1;
    let database = Database::connect(config).await.unwrap();
    let text = async |sql| database.system_tx("ask", async |tx| one_text(tx.connection(), sql).await).await.unwrap();
    assert_eq!(text("SELECT coalesce(current_setting('bedplate.direct', true), '')").await, direct);
    database.system_tx("list", async |tx| tx.tenants().list(TenantStatus::Active).await).await.unwrap();
    let kept =
        "SELECT (count(*) > 0)::text FROM pg_prepared_statements WHERE starts_with(statement, 'SELECT \"tenants')";
    let kept = text(kept).await;
    assert_eq!(kept, prepares.to_string());
}

#[rstest]
#[case("PGSSLMODE", "nonsense")]
#[case("PGSSLMODE", "allow")]
#[case("PGPORT", "nonsense")]
#[case("PGPORT", "1,2,3")]
fn a_variable_that_is_wrong_is_named(#[case] name: &str, #[case] value: &str) {
    let folder = tempfile::tempdir().unwrap();
    let message = error(&status(folder.path(), "postgres://u:p@127.0.0.1/d", &[(name, value)]), 1);
    assert!(message.contains(name), "{message}");
}

/// 1. A pool works. 2. Its password is changed on the server, and its connections are ended: what asks next hears why
/// at once, long before it has waited. 3. So does who waits while the limit of the role is reached, and goes on when it
/// is not.
#[rstest]
#[tokio::test]
async fn a_pool_does_not_wait_for_what_cannot_pass() {
    let primary = Primary::start(&[]).await;
    let mut config = primary.config();
    config.pool.wait = Duration::from_mins(10);
    config.retry_budget = Duration::from_mins(10);
    let database = Database::connect(config).await.unwrap();
    let work = async || database.system_tx("work", async |_| Ok(())).await;
    work().await.unwrap(); // 1
    let mut admin = connection(&primary.urls.admin).await;
    let end = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE usename = 'bedplate_login'";
    execute(&mut admin, "ALTER ROLE bedplate_login PASSWORD 'another'").await; // 2
    execute(&mut admin, end).await;
    for _ in 0..3 {
        let refused = tokio::time::timeout(Duration::from_secs(20), work()).await.unwrap().unwrap_err();
        assert!(matches!(&refused, Error::Configuration { message } if message.contains("password")), "{refused:?}");
    }
    let password = parts(&primary.urls.app).password;
    execute(&mut admin, &format!("ALTER ROLE bedplate_login PASSWORD '{password}' CONNECTION LIMIT 0")).await; // 3
    let allow = async {
        let tried = tokio::time::timeout(Duration::from_millis(500), work()).await;
        assert!(tried.is_err(), "{tried:?}");
        execute(&mut admin, "ALTER ROLE bedplate_login CONNECTION LIMIT -1").await;
    };
    let (worked, ()) = tokio::join!(work(), allow);
    worked.unwrap();
}
