//! The URL of a database, which keeps its password to itself.

mod environment;
mod options;
mod parse;
mod passfile;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::Host;

use super::secret::Origin;
use super::session_attrs::SessionAttrs;
use super::tls::Tls;
use crate::error::{Error, Result};
pub(super) use environment::Libpq;
use parse::Parts;

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
/// their order, beginning with the one that was connected to last; `target_session_attrs` is `read-write` where there
/// are several, otherwise `any`. `pgbouncer=true` says that a pooler in transaction mode is in between.
///
/// What a URL leaves out comes from `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`, `~/.pgpass` (or
/// `PGPASSFILE`), `PGSSLMODE` and `PGSSLROOTCERT`, as in libpq; other variables of libpq are not read.
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
    /// What the URL says.
    attrs: Option<SessionAttrs>,
    /// It says that a pooler is in between.
    pooled: bool,
    password_from: Arc<PasswordFrom>,
    libpq: Libpq,
}

/// Where the password was found.
#[derive(Debug)]
pub(super) enum PasswordFrom {
    Url,
    /// `PGPASSWORD`.
    Variable,
    File(PathBuf),
    /// `ignored`: why the file of passwords was.
    Nowhere {
        ignored: Option<String>,
    },
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
        let url = parse::read(&url, &self.libpq)?;
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
        Self::of_parts(host, port, database, user, password, &Libpq::of_process())
    }

    /// The same, with these variables of libpq.
    pub(super) fn of_parts(
        host: &str,
        port: u16,
        database: &str,
        user: &str,
        password: &SecretString,
        libpq: &Libpq,
    ) -> Result<Self> {
        if host.contains(',') {
            return Err(Error::configuration("several hosts are named by a URL alone"));
        }
        let escaped = |text| utf8_percent_encode(text, RESERVED);
        let host = if host.contains(':') { format!("[{host}]") } else { escaped(host).to_string() };
        let password = Some(password.expose_secret()).filter(|password| !password.is_empty());
        let password = password.map(|password| format!(":{}", escaped(password))).unwrap_or_default();
        parse::read(&format!("postgres://{}{password}@{host}:{port}/{}", escaped(user), escaped(database)), libpq)
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
    pub(super) fn for_reading(self) -> Self {
        Self { reads: true, ..self }
    }

    /// What a server has to be.
    pub(super) fn attrs(&self) -> SessionAttrs {
        let by_default = if self.hosts.len() > 1 && !self.reads { SessionAttrs::ReadWrite } else { SessionAttrs::Any };
        self.attrs.unwrap_or(by_default)
    }

    /// `pgbouncer=true`.
    pub(super) fn says_pooled(&self) -> bool {
        self.pooled
    }

    pub(super) fn password_from(&self) -> &PasswordFrom {
        &self.password_from
    }

    /// The variables of libpq that it was read with.
    pub(super) fn libpq(&self) -> &Libpq {
        &self.libpq
    }

    /// Reads one with these variables of libpq.
    pub(super) fn read(url: &str, libpq: &Libpq) -> Result<Self> {
        parse::read(url, libpq)
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

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        parse::read(url, &Libpq::of_process())
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
        write!(f, "postgres://{}@{}/{}", self.user(), self.hosts(), self.database())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}
