//! The URL of a database, which keeps its password to itself.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::secret::Origin;
use super::tls::{Tls, TlsMode};
use crate::error::{Error, Result};

/// What has a meaning in a URL, and so cannot stand in a user's or a database's name as it is.
const RESERVED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'/').add(b':').add(b'?').add(b'@').add(b'[').add(b']');

/// A connection that was begun has so long to be ready, where the URL has no `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The URL of a database: `postgres://user:password@host:port/database?option=value`, with the options of libpq
/// (<https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-PARAMKEYWORDS>).
///
/// `sslmode` is `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`; `sslrootcert` names a
/// file of root certificates, or is `system` (the default). Several hosts (`host1:5432,host2:5432`) are tried in
/// their order, beginning with the one that was connected to last; `target_session_attrs` is `read-write` where there are several, otherwise `any`.
#[derive(Clone)]
pub struct DatabaseUrl {
    secret: SecretString,
    /// For each host, in their order.
    hosts: Vec<tokio_postgres::Config>,
    /// The host to begin with: the one that a connection was made to last.
    first: Arc<AtomicUsize>,
    tls: Arc<Tls>,
    origin: Option<Arc<Origin>>,
    /// A server that takes no writes will do.
    reads: bool,
}

/// A connection that is silent for so long is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

impl DatabaseUrl {
    /// The whole URL, with its password.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The database's name; by default the login's, as libpq has it.
    #[must_use]
    pub fn database(&self) -> &str {
        self.hosts[0].get_dbname().unwrap_or_else(|| self.user())
    }

    /// The login's name.
    #[must_use]
    pub fn user(&self) -> &str {
        self.hosts[0].get_user().unwrap_or("postgres")
    }

    /// The same server and login, another database.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a URL whose database cannot be replaced.
    pub fn with_database(&self, database: &str) -> Result<Self> {
        let parts = Parts::of(self.reveal())?;
        let options: Vec<_> = parts.options().filter(|option| !option.starts_with("dbname=")).collect();
        let mark = if options.is_empty() { "" } else { "?" };
        let named = utf8_percent_encode(database, RESERVED);
        let url = format!("{}{}/{named}{mark}{}", parts.login, parts.hosts, options.join("&"));
        let url: Self = url.parse()?;
        if url.database() != database {
            return Err(not_a_url());
        }
        let origin = self.origin.as_ref().map(|origin| origin.of_database(database).into());
        Ok(Self { origin, ..if self.reads { url.for_reading() } else { url } })
    }

    /// Puts a URL together, escaping what has to be. `host` may be the folder of a socket.
    ///
    /// # Errors
    /// [`Error::Configuration`] for what makes no URL.
    pub fn from_parts(host: &str, port: u16, database: &str, user: &str, password: &SecretString) -> Result<Self> {
        if host.contains(',') {
            return Err(Error::configuration("several hosts are named by a URL alone"));
        }
        let escaped = |text| utf8_percent_encode(text, RESERVED);
        let host = if host.contains(':') { format!("[{host}]") } else { escaped(host).to_string() };
        let password = Some(password.expose_secret()).filter(|password| !password.is_empty());
        let password = password.map(|password| format!(":{}", escaped(password))).unwrap_or_default();
        format!("postgres://{}{password}@{host}:{port}/{}", escaped(user), escaped(database)).parse()
    }

    /// `host:port`, of each host.
    pub(super) fn hosts(&self) -> String {
        let named = self.hosts.iter().flat_map(|config| {
            config.get_hosts().iter().enumerate().map(|(n, host)| {
                let host = match host {
                    Host::Tcp(host) => host.clone(),
                    #[cfg(unix)]
                    Host::Unix(path) => path.display().to_string(),
                };
                let ports = config.get_ports();
                ports.get(n).or(ports.first()).map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
            })
        });
        named.collect::<Vec<_>>().join(",")
    }

    /// The same for who only reads: of several hosts the first that answers will do, unless the URL says otherwise.
    pub(super) fn for_reading(mut self) -> Self {
        let says_which = self.reveal().contains("target_session_attrs=");
        for config in self.hosts.iter_mut().filter(|_| !says_which) {
            config.target_session_attrs(TargetSessionAttrs::Any);
        }
        self.reads = true;
        self
    }

    pub(super) fn is_for_reading(&self) -> bool {
        self.reads
    }

    /// The same, with where it can be read again when a login fails.
    pub(super) fn read_from(self, origin: Origin) -> Self {
        Self { origin: Some(origin.into()), ..self }
    }

    pub(super) fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// For the driver, as far as it knows the options: [`DatabaseUrl::tls`] has the others. The first host's.
    pub(crate) fn tokio_postgres(&self) -> tokio_postgres::Config {
        self.hosts[0].clone()
    }

    /// The same, for each host, beginning with the one that was [found](Self::found) last.
    pub(super) fn each_host(&self) -> impl Iterator<Item = (usize, &tokio_postgres::Config)> {
        let first = self.first.load(Ordering::Relaxed);
        (first..first + self.hosts.len()).map(|n| n % self.hosts.len()).map(|n| (n, &self.hosts[n]))
    }

    /// The next connection begins with this host: while another one hangs, it would be waited for each time.
    pub(super) fn found(&self, host: usize) {
        self.first.store(host, Ordering::Relaxed);
    }

    /// How long one host may take until a connection is ready.
    pub(super) fn host_timeout(&self) -> Duration {
        // The driver's own limit, for TCP alone, is half of it: a name may have a second address.
        self.hosts[0].get_connect_timeout().map_or(CONNECT_TIMEOUT, |half| *half * 2)
    }

    /// How long all of it may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.host_timeout() * u32::try_from(self.hosts.len()).unwrap_or(1)
    }
}

/// A URL, cut where the driver cuts it: at the first `@`, then at `?`, then at `/`.
struct Parts<'u> {
    /// With the scheme and the `@`.
    login: &'u str,
    hosts: &'u str,
    /// With the `/`.
    path: &'u str,
    query: &'u str,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Result<Self> {
        let scheme = ["postgres://", "postgresql://"].iter().find(|scheme| url.starts_with(**scheme));
        let scheme = scheme.ok_or_else(not_a_url)?.len();
        let (login, rest) = url.split_at(url[scheme..].find('@').map_or(scheme, |at| scheme + at + 1));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Self { login, hosts, path, query })
    }

    fn options(&self) -> impl Iterator<Item = &'u str> {
        self.query.split('&').filter(|option| !option.is_empty())
    }
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let url = url.trim();
        let parts = Parts::of(url)?;
        let (mut mode, mut roots, mut known) = (TlsMode::default(), None, Vec::new());
        for option in parts.options() {
            let (name, value) = option.split_once('=').ok_or_else(not_a_url)?;
            let value = || percent_decode_str(value).decode_utf8().map_err(|_| bad_option(name));
            match name {
                "sslmode" => mode = value()?.parse().map_err(|_| bad_option(name))?,
                "sslrootcert" => roots = Some(value()?.into_owned()),
                // They are for one host: beside hosts they would name others, or none.
                "host" | "hostaddr" | "port" | "load_balance_hosts" if !parts.hosts.is_empty() => {
                    return Err(bad_option(name));
                }
                _ => known.push(option),
            }
        }
        let query = known.join("&");
        let several = parts.hosts.contains(',');
        let names = |name: &str| known.iter().any(|option| option.starts_with(name));
        let mut hosts = Vec::new();
        for host in parts.hosts.split(',') {
            // The parser's error is left out: it can show parts of the URL.
            let parsed: Result<tokio_postgres::Config, _> =
                format!("{}{host}{}?{query}", parts.login, parts.path).parse();
            let mut config = parsed.map_err(|_| wrong_option(&known).unwrap_or_else(not_a_url))?;
            if config.get_hosts().is_empty() {
                return Err(not_a_url());
            }
            config.ssl_mode(match mode {
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Prefer => SslMode::Prefer,
                TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
            });
            if several && !names("target_session_attrs=") {
                config.target_session_attrs(TargetSessionAttrs::ReadWrite);
            }
            config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT) / 2);
            // A host that is switched off says no goodbye: without these, its connections would be waited on for hours.
            if !names("keepalives") {
                config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 3).keepalives_retries(3);
            }
            if config.get_tcp_user_timeout().is_none() {
                config.tcp_user_timeout(2 * KEEPALIVE);
            }
            hosts.push(config);
        }
        let tls = Tls::new(mode, roots)?.into();
        Ok(Self { secret: url.to_owned().into(), hosts, first: Arc::default(), tls, origin: None, reads: false })
    }
}

/// The first that the driver does not take.
fn wrong_option(options: &[&str]) -> Option<Error> {
    let alone = |option: &str| format!("postgres://localhost?{option}").parse::<tokio_postgres::Config>();
    let wrong = options.iter().find(|option| alone(option).is_err())?;
    Some(bad_option(wrong.split('=').next().unwrap_or_default()))
}

fn not_a_url() -> Error {
    Error::configuration(
        "the database URL cannot be read: write postgres://user:password@host:port/database \
         (special characters of a password percent-encoded)",
    )
}

/// What is no name is not shown: a password with a `?` in it, for example.
fn bad_option(name: &str) -> Error {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return not_a_url();
    }
    Error::configuration(format!("the database URL's option {name:?} is unknown or has a value that is not allowed"))
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@{}/{}", self.user(), self.hosts(), self.database())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn several_hosts_keep_their_order_and_want_a_writable_one() {
        let url: DatabaseUrl =
            "postgres://u:s3cr%40t@a:5432,b:5433/main?sslmode=disable&connect_timeout=2".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://u@a:5432,b:5433/main");
        let attributes = |url: &DatabaseUrl| url.hosts[1].get_target_session_attrs();
        assert_eq!(attributes(&url), TargetSessionAttrs::ReadWrite);
        assert_eq!((url.host_timeout(), url.connect_timeout()), (Duration::from_secs(2), Duration::from_secs(4)));
        let other = url.with_database("o/ther").unwrap();
        assert_eq!(other.reveal(), "postgres://u:s3cr%40t@a:5432,b:5433/o%2Fther?sslmode=disable&connect_timeout=2");
        assert_eq!(other.database(), "o/ther");
        assert_eq!(attributes(&url.for_reading()), TargetSessionAttrs::Any);
        let any: DatabaseUrl = "postgres://u@a,b/main?target_session_attrs=any".parse().unwrap();
        assert_eq!(attributes(&any), TargetSessionAttrs::Any);
    }

    #[rstest]
    #[case("postgres://u:p?w/x@h:5433/d?sslmode=verify-full", "postgres://u:p?w/x@h:5433/other?sslmode=verify-full")]
    #[case("postgres://u@h/?dbname=main&sslmode=require", "postgres://u@h/other?sslmode=require")]
    #[case("postgresql://u@[::1]:5433", "postgresql://u@[::1]:5433/other")]
    #[case("postgres://u@%2Fvar%2Frun/d", "postgres://u@%2Fvar%2Frun/other")]
    fn another_database_of_any_url(#[case] url: &str, #[case] other: &str) {
        let url: DatabaseUrl = url.parse().unwrap();
        let made = url.with_database("other").unwrap();
        assert_eq!((made.reveal(), made.database()), (other, "other"));
        assert_eq!(made.hosts(), url.hosts());
        assert_eq!(made.hosts[0].get_ssl_mode(), url.hosts[0].get_ssl_mode());
    }

    #[rstest]
    #[case("db.example", "p%40x", "db.example:5432")]
    #[case("::1", "a@b:c/d?e", "[::1]:5432")]
    #[case("/var/run", "", "/var/run:5432")]
    fn parts_are_escaped(#[case] host: &str, #[case] password: &str, #[case] hosts: &str) {
        let url = DatabaseUrl::from_parts(host, 5432, "d%/b", "u:%", &password.to_owned().into()).unwrap();
        assert_eq!((url.user(), url.database()), ("u:%", "d%/b"));
        assert_eq!(url.hosts[0].get_password().unwrap_or_default(), password.as_bytes());
        assert_eq!(
            url.hosts().trim_start_matches('[').replace("]:", ":"),
            hosts.trim_start_matches('[').replace("]:", ":")
        );
    }

    #[rstest]
    #[case("postgres://u:pw@h/d?sslmode=verify", "option \"sslmode\"")]
    #[case("postgres://u:pw@h/d?sslcert=x", "option \"sslcert\"")]
    #[case("postgres://u:pw@h/d?target_session_attrs=prefer-standby", "option \"target_session_attrs\"")]
    #[case("postgres://u:pw@h/d?sslmode=require&sslrootcert=system", "sslrootcert=system")]
    #[case("postgres://u:pw@h/d?sslmode=verify-ca", "needs sslrootcert")]
    #[case("postgres://u:pw@a,b/d?port=5433", "option \"port\"")]
    #[case("postgres://u:pw@h/d?hostaddr=127.0.0.1", "option \"hostaddr\"")]
    #[case("postgres://u:a@pw?h/d?sslmode=require", "cannot be read")]
    fn an_option_that_is_wrong_is_named(#[case] url: &str, #[case] said: &str) {
        let message = url.parse::<DatabaseUrl>().unwrap_err().to_string();
        assert!(message.contains(said) && !message.contains("pw"), "{message}");
    }
}
