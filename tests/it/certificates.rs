//! Which certificates of a server are trusted: those that libpq trusts, asked side by side.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate::Error;
use diesel_async::AsyncPgConnection;
use rstest::rstest;

use crate::support::cluster::Primary;
use crate::support::{connection, execute, texts};

fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// A certificate that signed itself, with this subject and these extensions.
fn self_signed(folder: &Path, name: &str, subject: &str, extensions: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 {KEY} -days 2 -subj {subject} -keyout {name}.key -out {name}.crt -config /dev/null{extensions}"
        ),
    );
}

/// A certificate of an authority.
fn signed(folder: &Path, authority: &str, name: &str, subject: &str, extensions: &str, days: i32) {
    openssl(folder, &format!("req {KEY} -subj {subject} -keyout {name}.key -out {name}.csr"));
    fs::write(folder.join("extensions"), extensions).unwrap();
    let by = format!("-CA {authority}.crt -CAkey {authority}.key -CAcreateserial -days {days}");
    openssl(folder, &format!("x509 -req -in {name}.csr {by} -extfile extensions -out {name}.crt"));
}

const NAMES: &str = " -addext subjectAltName=DNS:localhost";
const IS_AUTHORITY: &str = " -addext basicConstraints=critical,CA:TRUE";
const IS_NONE: &str = " -addext basicConstraints=critical,CA:FALSE";

/// Certificates of servers: the name of each.
fn certificates(folder: &Path) -> Vec<&'static str> {
    self_signed(folder, "ca", "/CN=ca", IS_AUTHORITY);
    self_signed(folder, "other", "/CN=other", IS_AUTHORITY);
    signed(folder, "ca", "of-authority", "/CN=server", "subjectAltName=DNS:localhost\n", 2);
    signed(folder, "ca", "of-authority-common-name", "/CN=localhost", "basicConstraints=CA:FALSE\n", 2);
    signed(folder, "ca", "of-authority-expired", "/CN=server", "subjectAltName=DNS:localhost\n", -1);
    self_signed(folder, "self", "/CN=server", &format!("{NAMES}{IS_NONE}"));
    self_signed(folder, "self-as-authority", "/CN=server", &format!("{NAMES}{IS_AUTHORITY}"));
    // As PostgreSQL's manual makes one.
    self_signed(folder, "self-common-name", "/CN=localhost", IS_AUTHORITY);
    self_signed(folder, "self-of-another", "/CN=elsewhere", &format!(" -addext subjectAltName=DNS:elsewhere{IS_NONE}"));
    // A name of its own hides the common one.
    self_signed(
        folder,
        "self-hidden-name",
        "/CN=localhost",
        &format!(" -addext subjectAltName=DNS:elsewhere{IS_AUTHORITY}"),
    );
    for (name, authority) in [("self-expired", "CA:FALSE"), ("self-expired-as-authority", "CA:TRUE")] {
        openssl(folder, &format!("req {KEY} -subj /CN=server -keyout {name}.key -out {name}.csr"));
        fs::write(folder.join("extensions"), format!("subjectAltName=DNS:localhost\nbasicConstraints={authority}\n"))
            .unwrap();
        openssl(
            folder,
            &format!("x509 -req -in {name}.csr -signkey {name}.key -days -1 -extfile extensions -out {name}.crt"),
        );
    }
    vec![
        "of-authority",
        "of-authority-common-name",
        "of-authority-expired",
        "self",
        "self-as-authority",
        "self-common-name",
        "self-of-another",
        "self-hidden-name",
        "self-expired",
        "self-expired-as-authority",
    ]
}

/// A server with TLS, whose certificate can be exchanged.
struct Server {
    primary: Primary,
    admin: AsyncPgConnection,
    folder: PathBuf,
}

impl Server {
    async fn start() -> Self {
        let primary = Primary::start(&[]).await;
        let admin = connection(&primary.urls.admin).await;
        let folder = primary.server.folder().unwrap().unwrap();
        Self { primary, admin, folder }
    }

    /// From the next connection on.
    async fn take(&mut self, certificates: &Path, name: &str) {
        let owner = fs::metadata(self.folder.join("data")).unwrap();
        for (setting, kind) in [("ssl_cert_file", "crt"), ("ssl_key_file", "key")] {
            let file = self.folder.join(format!("{name}.{kind}"));
            fs::copy(certificates.join(format!("{name}.{kind}")), &file).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
            execute(&mut self.admin, &format!("ALTER SYSTEM SET {setting} = '{}'", file.display())).await;
        }
        execute(&mut self.admin, "ALTER SYSTEM SET ssl = on").await;
        execute(&mut self.admin, "SELECT pg_reload_conf()").await;
        // Who is served after it was read has both.
        let wanted = format!("{name}.key");
        while !texts(&mut connection(&self.primary.urls.admin).await, "SELECT current_setting('ssl_key_file')").await[0]
            .ends_with(&wanted)
        {
            tokio::task::yield_now().await;
        }
    }

    fn url(&self, host: &str, options: &str) -> String {
        format!("{}?{options}", self.primary.urls.app.reveal().replacen("127.0.0.1", host, 1))
    }
}

/// Whether libpq connects.
fn psql(url: &str) -> Result<(), String> {
    let mut psql = Command::new("psql");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        psql.env_remove(name);
    }
    let said = psql.args(["-X", "-w", "-c", "SELECT 1", url]).env("HOME", "/nonexistent").output().unwrap();
    if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
}

/// Every certificate, with every file of root certificates, in every mode, under two names of the host.
#[rstest]
#[tokio::test]
async fn those_that_libpq_trusts_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let names = certificates(folder.path());
    let mut server = Server::start().await;
    let (mut trusted, mut refused) = (0, 0);
    for name in names {
        server.take(folder.path(), name).await;
        for root in [None, Some("ca"), Some("other"), Some(name)] {
            for mode in ["prefer", "require", "verify-ca", "verify-full"] {
                if root.is_none() && mode.starts_with("verify") {
                    continue; // The roots are the system's here, and a file of the user's in libpq.
                }
                for host in ["localhost", "127.0.0.1"] {
                    let file = |root| format!("&sslrootcert={}", folder.path().join(format!("{root}.crt")).display());
                    let options = format!("sslmode={mode}{}", root.map(file).unwrap_or_default());
                    let url = server.url(host, &options);
                    let ours = bedplate::database::connect(&url.parse().unwrap()).await.map(drop);
                    let theirs = psql(&url);
                    let what = format!("{name}, {root:?}, {mode}, {host}");
                    assert_eq!(ours.is_ok(), theirs.is_ok(), "{what}: {ours:?}; libpq: {theirs:?}");
                    match ours {
                        Ok(()) => trusted += 1,
                        Err(error) => {
                            refused += 1;
                            assert!(matches!(error, Error::Configuration { .. }), "{what}: {error:?}");
                            let said = error.to_string();
                            assert!(said.contains("certificate"), "{what}: {said}");
                            assert!(!said.contains("expired") || name.contains("expired"), "{what}: {said}");
                        }
                    }
                }
            }
        }
    }
    assert!(trusted > 100 && refused > 50, "{trusted} trusted, {refused} refused");
}

/// What to do about each refusal.
#[rstest]
#[case("self", "sslmode=verify-full&sslrootcert=other.crt", "sslrootcert=FILE")]
#[case("self-as-authority", "sslmode=verify-full&sslrootcert=other.crt", "sslrootcert=FILE")]
#[case("self-of-another", "sslmode=verify-full&sslrootcert=self-of-another.crt", "sslmode=verify-ca")]
#[case("self-expired", "sslmode=verify-ca&sslrootcert=self-expired.crt", "renew it")]
#[case("self-expired-as-authority", "sslmode=verify-ca&sslrootcert=self-expired-as-authority.crt", "renew it")]
#[case("of-authority-expired", "sslmode=verify-full&sslrootcert=ca.crt", "renew it")]
#[tokio::test]
async fn a_refusal_says_what_to_do(#[case] name: &str, #[case] options: &str, #[case] said: &str) {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut server = Server::start().await;
    server.take(folder.path(), name).await;
    let options = options.replace("sslrootcert=", &format!("sslrootcert={}/", folder.path().display()));
    let url = server.url("localhost", &options);
    let error = bedplate::database::connect(&url.parse().unwrap()).await.map(drop).unwrap_err();
    assert!(matches!(&error, Error::Configuration { message } if message.contains(said)), "{error:?}");
}

/// 1. A URL without them: the file and the mode come from libpq's variables. 2. The URL's own win.
#[rstest]
#[tokio::test]
async fn root_certificates_come_from_libpqs_variables() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut server = Server::start().await;
    server.take(folder.path(), "self-as-authority").await;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let connects = async |url: &str, mode: &str, roots: &str| {
        let vars = [("DATABASE_URL", url), ("PGSSLMODE", mode), ("PGSSLROOTCERT", roots)];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = bedplate::Config::from_vars(&vars.into()).unwrap();
        bedplate::database::connect(&config.owner_url).await.is_ok()
    };
    let url = server.url("localhost", "");
    assert!(connects(&server.url("localhost", "channel_binding=require"), "require", "").await);
    assert!(connects(&url, "verify-full", &file("self-as-authority.crt")).await); // 1
    assert!(!connects(&url, "verify-full", &file("other.crt")).await);
    assert!(!connects(&server.url("127.0.0.1", ""), "verify-full", &file("self-as-authority.crt")).await);
    assert!(connects(&server.url("127.0.0.1", ""), "verify-ca", &file("self-as-authority.crt")).await);
    assert!(connects(&server.url("localhost", "sslmode=prefer"), "verify-full", &file("other.crt")).await); // 2
    let named = format!("sslrootcert={}", file("self-as-authority.crt"));
    assert!(connects(&server.url("localhost", &named), "verify-full", &file("other.crt")).await);
}

/// As OpenSSL reads it: with a byte order mark, under an older name, between comments. A file without any says so.
#[rstest]
#[tokio::test]
async fn a_file_of_root_certificates_is_read_or_named() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut server = Server::start().await;
    server.take(folder.path(), "self").await;
    let pem = fs::read_to_string(folder.path().join("self.crt")).unwrap();
    let connect = async |text: &str| {
        let file = folder.path().join("given.crt");
        fs::write(&file, text).unwrap();
        let url = server.url("localhost", &format!("sslmode=verify-full&sslrootcert={}", file.display()));
        bedplate::database::connect(&url.parse().unwrap()).await.map(drop)
    };
    for text in [
        pem.clone(),
        format!("\u{feff}{pem}"),
        pem.replace(" CERTIFICATE-", " X509 CERTIFICATE-"),
        format!("# ours\n{pem}"),
    ] {
        connect(&text).await.unwrap();
    }
    for text in ["", "root:x:0:0", &pem.replace("CERTIFICATE", "PUBLIC KEY")] {
        let error = connect(text).await.unwrap_err().to_string();
        assert!(error.contains("given.crt cannot be read: it holds no certificate in PEM form"), "{error}");
    }
}
