//! The URL of a database, which keeps its password to itself.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
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
/// their order; `target_session_attrs` is `read-write` where there are several, otherwise `any`.
#[derive(Clone)]
pub struct DatabaseUrl {
    secret: SecretString,
    config: tokio_postgres::Config,
    tls: Arc<Tls>,
    origin: Option<Arc<Origin>>,
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
        self.config.get_dbname().unwrap_or_else(|| self.user())
    }

    /// The login's name.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or("postgres")
    }

    /// The same server and login, another database.
    pub fn with_database(&self, database: &str) -> Result<Self> {
        let url = self.reveal();
        let (head, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
        let (rest, options) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let hosts = rest.split_once('/').map_or(rest, |(hosts, _)| hosts);
        let url: Self = format!("{head}{hosts}/{}{options}", utf8_percent_encode(database, RESERVED)).parse()?;
        let origin = self.origin.as_ref().map(|origin| origin.of_database(database).into());
        Ok(Self { origin, ..url })
    }

    /// Puts a URL together, escaping what has to be.
    pub fn from_parts(host: &str, port: u16, database: &str, user: &str, password: &SecretString) -> Result<Self> {
        let mut url = ::url::Url::parse("postgres://localhost").map_err(|_| not_a_url())?;
        url.set_host(Some(host)).map_err(|_| not_a_url())?;
        let set = url
            .set_port(Some(port))
            .and_then(|()| url.set_username(user))
            .and_then(|()| url.set_password(Some(password.expose_secret()).filter(|p| !p.is_empty())));
        set.map_err(|()| not_a_url())?;
        url.set_path(database);
        url.as_str().parse()
    }

    /// `host:port`, of each host.
    pub(super) fn hosts(&self) -> String {
        let ports = self.config.get_ports();
        let named = self.config.get_hosts().iter().enumerate().map(|(n, host)| {
            let host = match host {
                Host::Tcp(host) => host.clone(),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            };
            ports.get(n).or(ports.first()).map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
        });
        named.collect::<Vec<_>>().join(",")
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

    /// For the driver, as far as it knows the options: [`DatabaseUrl::tls`] has the others.
    pub(crate) fn tokio_postgres(&self) -> tokio_postgres::Config {
        self.config.clone()
    }

    /// How long an attempt to connect may take, over all hosts.
    pub(super) fn connect_timeout(&self) -> Duration {
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(1).max(1);
        self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT) * hosts
    }
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let url = url.trim();
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(not_a_url());
        }
        let (rest, options) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut known) = (TlsMode::default(), None, Vec::new());
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').ok_or_else(not_a_url)?;
            let value = || percent_decode_str(value).decode_utf8().map_err(|_| bad_option(name));
            match name {
                "sslmode" => mode = value()?.parse().map_err(|_| bad_option(name))?,
                "sslrootcert" => roots = Some(value()?.into_owned()),
                _ => known.push(option),
            }
        }
        // The parser's error is left out: it can show parts of the URL.
        let parsed: Result<tokio_postgres::Config, _> = format!("{rest}?{}", known.join("&")).parse();
        let mut config = parsed.map_err(|_| {
            let wrong =
                |option: &&&str| format!("postgres://localhost?{option}").parse::<tokio_postgres::Config>().is_err();
            known
                .iter()
                .find(wrong)
                .map_or_else(not_a_url, |option| bad_option(option.split('=').next().unwrap_or(option)))
        })?;
        if config.get_hosts().is_empty() {
            return Err(not_a_url());
        }
        config.ssl_mode(match mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        let says_which = known.iter().any(|option| option.starts_with("target_session_attrs="));
        if config.get_hosts().len() > 1 && !says_which {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        // A host that is switched off says no goodbye: without these, its connections would be waited on for hours.
        if !known.iter().any(|option| option.starts_with("keepalives")) {
            config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 3).keepalives_retries(3);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(2 * KEEPALIVE);
        }
        Ok(Self { secret: url.to_owned().into(), config, tls: Tls::new(mode, roots).into(), origin: None })
    }
}

fn not_a_url() -> Error {
    Error::configuration(
        "the database URL cannot be read: write postgres://user:password@host:port/database \
         (special characters of a password percent-encoded)",
    )
}

fn bad_option(name: &str) -> Error {
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
        assert_eq!(url.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(url.connect_timeout(), Duration::from_secs(4));
        let other = url.with_database("o/ther").unwrap();
        assert_eq!(other.reveal(), "postgres://u:s3cr%40t@a:5432,b:5433/o%2Fther?sslmode=disable&connect_timeout=2");
        assert_eq!(other.database(), "o/ther");
        let any: DatabaseUrl = "postgres://u@a,b/main?target_session_attrs=any".parse().unwrap();
        assert_eq!(any.config.get_target_session_attrs(), TargetSessionAttrs::Any);
    }

    #[rstest]
    #[case("postgres://u:pw@h/d?sslmode=verify", "sslmode")]
    #[case("postgres://u:pw@h/d?sslcert=x", "sslcert")]
    #[case("postgres://u:pw@h/d?target_session_attrs=prefer-standby", "target_session_attrs")]
    fn an_option_that_is_wrong_is_named(#[case] url: &str, #[case] option: &str) {
        let message = url.parse::<DatabaseUrl>().unwrap_err().to_string();
        assert!(message.contains(&format!("{option:?}")) && !message.contains("pw"), "{message}");
    }
}
