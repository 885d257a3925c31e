//! The URL of a database, which keeps its password to itself.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Result};

/// The URL of a database: `postgres://user:password@host:port/database`.
#[derive(Clone)]
pub struct DatabaseUrl {
    secret: SecretString,
    config: tokio_postgres::Config,
}

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
        let mut url = ::url::Url::parse(self.reveal()).map_err(|_| not_a_url())?;
        url.set_path(database);
        url.as_str().parse()
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

    pub(crate) fn tokio_postgres(&self) -> tokio_postgres::Config {
        self.config.clone()
    }
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let url = url.trim();
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(not_a_url());
        }
        // The parser's error is left out: it can show parts of the URL.
        let config: tokio_postgres::Config = url.parse().map_err(|_| not_a_url())?;
        if config.get_hosts().is_empty() {
            return Err(not_a_url());
        }
        Ok(Self { secret: url.to_owned().into(), config })
    }
}

fn not_a_url() -> Error {
    Error::configuration(
        "the database URL cannot be read: write postgres://user:password@host:port/database \
         (special characters of a password percent-encoded)",
    )
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user())?;
        for (n, host) in self.config.get_hosts().iter().enumerate() {
            let separator = if n == 0 { "" } else { "," };
            match host {
                tokio_postgres::config::Host::Tcp(host) => write!(f, "{separator}{host}")?,
                #[cfg(unix)]
                tokio_postgres::config::Host::Unix(path) => write!(f, "{separator}{}", path.display())?,
            }
            if let Some(port) = self.config.get_ports().get(n) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.database())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}
