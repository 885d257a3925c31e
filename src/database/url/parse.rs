//! Reads a URL, and adds what libpq's variables say where it leaves something out.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use nix::unistd::{User, geteuid};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};

use super::environment::Libpq;
use super::options::{Options, mode, values_of};
use super::passfile::Passfile;
use super::{CONNECT_TIMEOUT, DatabaseUrl, KEEPALIVE, PasswordFrom, not_a_url};
use crate::database::tls::{Tls, TlsMode};
use crate::error::{Error, Result};

/// A URL, cut where the driver cuts it: at the first `@`, then at `?`, then at `/`.
pub(super) struct Parts<'u> {
    /// With the scheme and the `@`.
    pub(super) login: &'u str,
    pub(super) hosts: &'u str,
    /// With the `/`.
    pub(super) path: &'u str,
    pub(super) query: &'u str,
}

impl<'u> Parts<'u> {
    pub(super) fn of(url: &'u str) -> Result<Self> {
        let scheme = ["postgres://", "postgresql://"].iter().find(|scheme| url.starts_with(**scheme));
        let scheme = scheme.ok_or_else(not_a_url)?.len();
        let (login, rest) = url.split_at(url[scheme..].find('@').map_or(scheme, |at| scheme + at + 1));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, password) = login[scheme..].split_once(':').unwrap_or((&login[scheme..], ""));
        // An `@` of the password, or of an option: what is shown as user or host would be a part of a secret.
        let begins_with_port = password.split_once('/').is_some_and(|(port, _)| port.parse::<u16>().is_ok());
        if user.contains(['/', '?']) || begins_with_port || hosts.contains('@') {
            return Err(not_a_url());
        }
        Ok(Self { login, hosts, path, query })
    }

    pub(super) fn options(&self) -> impl Iterator<Item = &'u str> {
        self.query.split('&').filter(|option| !option.is_empty())
    }
}

/// A host, and the address of it where the URL has one.
struct Host {
    name: String,
    address: Option<IpAddr>,
    port: u16,
}

pub(super) fn read(url: &str, libpq: &Libpq) -> Result<DatabaseUrl> {
    let url = url.trim();
    let parts = Parts::of(url)?;
    let options = Options::read(parts.query, !parts.hosts.is_empty())?;
    let base = login(&parts, &options, libpq)?;
    let tls_mode = match (options.mode, libpq.get("PGSSLMODE")) {
        (Some(mode), _) => Some(mode),
        (None, Some(word)) => Some(mode(word).ok_or_else(|| wrong_variable("PGSSLMODE", values_of("sslmode")))?),
        (None, None) => None,
    };
    let roots = options.roots.clone().or_else(|| libpq.get("PGSSLROOTCERT").map(str::to_owned));
    let tls = Tls::new(tls_mode, roots)?;
    check_options_of_tls(&base, tls.mode())?;
    let hosts = hosts(&parts, &options, libpq)?;
    let mut configs = Vec::with_capacity(hosts.len());
    for host in &hosts {
        let mut config = base.clone();
        config.host(&host.name).port(host.port);
        if let Some(address) = host.address {
            config.hostaddr(address);
        }
        config.ssl_mode(match tls.mode() {
            // A socket of this machine has no TLS, whatever the mode: libpq has it so too.
            _ if host.name.starts_with('/') => SslMode::Disable,
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT) / 2);
        // A host that is switched off says no goodbye: without these, its connections would be waited on for hours.
        if !options.names("keepalives") {
            config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 3).keepalives_retries(3);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(2 * KEEPALIVE);
        }
        configs.push(config);
    }
    let password_from = password(&mut configs, &hosts, &options, libpq);
    Ok(DatabaseUrl {
        secret: url.to_owned().into(),
        hosts: configs,
        first: Arc::new(AtomicUsize::new(0)),
        tls: tls.into(),
        origin: None,
        reads: false,
        attrs: options.attrs,
        pooled: options.pooled,
        password_from: password_from.into(),
        libpq: libpq.clone(),
    })
}

/// Everything but the hosts.
fn login(parts: &Parts<'_>, options: &Options<'_>, libpq: &Libpq) -> Result<Config> {
    // The parser's error is left out: it can show parts of the URL.
    let parsed: Result<Config, _> = format!("{}{}?{}", parts.login, parts.path, options.driver.join("&")).parse();
    let mut config = parsed.map_err(|_| options.wrong().unwrap_or_else(not_a_url))?;
    if config.get_user().is_none_or(str::is_empty) {
        let of_system = || User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
        let user = libpq.get("PGUSER").map(str::to_owned).or_else(of_system);
        config.user(
            user.ok_or_else(|| Error::configuration("the database URL names no user: write one, or set PGUSER"))?,
        );
    }
    if let (None, Some(database)) = (config.get_dbname(), libpq.get("PGDATABASE")) {
        config.dbname(database);
    }
    let texts = [config.get_user(), config.get_dbname(), config.get_options(), config.get_application_name()];
    let password = config.get_password().unwrap_or_default();
    // What PostgreSQL's protocol ends a text with.
    if texts.iter().flatten().any(|text| text.contains('\0')) || password.contains(&0) {
        return Err(not_a_url());
    }
    Ok(config)
}

/// What no server can mend.
fn check_options_of_tls(config: &Config, mode: TlsMode) -> Result<()> {
    let wrong = |message| Err(Error::configuration(message));
    if config.get_channel_binding() == ChannelBinding::Require && mode == TlsMode::Disable {
        return wrong("channel_binding=require needs TLS, and sslmode is disable: write sslmode=require");
    }
    if config.get_ssl_negotiation() == SslNegotiation::Direct && matches!(mode, TlsMode::Disable | TlsMode::Prefer) {
        return wrong("sslnegotiation=direct needs TLS: write sslmode=require");
    }
    Ok(())
}

fn hosts(parts: &Parts<'_>, options: &Options<'_>, libpq: &Libpq) -> Result<Vec<Host>> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let before_path: Result<Vec<_>> =
        parts.hosts.split(',').filter(|_| !parts.hosts.is_empty()).map(host_and_port).collect();
    let (mut names, of_each): (Vec<_>, Vec<_>) = before_path?.into_iter().unzip();
    let addresses = options.addresses.as_deref().map(list).unwrap_or_default();
    // Also where the URL has a port alone, as in `postgres://:5433/main`.
    if names.iter().all(String::is_empty) {
        let of_environment = || libpq.get("PGHOST").filter(|_| addresses.is_empty());
        let listed = options.hosts.as_deref().or_else(of_environment).map(list);
        // Without a name, the address is the name.
        names = listed.unwrap_or_else(|| addresses.clone());
    }
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(Error::configuration(
            "the database URL names no host: write postgres://user:password@host:port/database, or set PGHOST",
        ));
    }
    if names.iter().any(|name| name.contains('\0')) {
        return Err(not_a_url());
    }
    if !addresses.is_empty() && addresses.len() != names.len() {
        return Err(wrong_number("the database URL", "addresses", addresses.len(), names.len()));
    }
    let (source, numbers) = if let Some(listed) = &options.ports {
        ("the database URL", list(listed))
    } else if let Some(listed) = libpq.get("PGPORT").filter(|_| of_each.iter().all(String::is_empty)) {
        ("PGPORT", list(listed))
    } else {
        ("the database URL", if of_each.is_empty() { vec![String::new()] } else { of_each })
    };
    if numbers.len() > 1 && numbers.len() != names.len() {
        return Err(wrong_number(source, "ports", numbers.len(), names.len()));
    }
    let each = names.into_iter().enumerate().map(|(n, name)| {
        let address: Option<IpAddr> =
            addresses.get(n).map(|address| address.parse()).transpose().map_err(|_| not_an_address())?;
        let address = address.filter(|_| addresses.get(n) != Some(&name));
        let port = read_port(source, numbers.get(n).unwrap_or(&numbers[0]))?;
        Ok(Host { name, address, port })
    });
    each.collect()
}

/// The port is empty where there is none.
fn host_and_port(host: &str) -> Result<(String, String)> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(address) => address.split_once(']').ok_or_else(not_a_url)?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let decoded = |text| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| not_a_url());
    let port = if rest.is_empty() { rest } else { rest.strip_prefix(':').ok_or_else(not_a_url)? };
    Ok((decoded(name)?, decoded(port)?))
}

fn read_port(source: &str, port: &str) -> Result<u16> {
    if port.is_empty() {
        return Ok(5432);
    }
    let wrong = || Error::configuration(format!("{source}: the port cannot be read: write {}", values_of("port")));
    port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)
}

fn wrong_number(source: &str, what: &str, these: usize, hosts: usize) -> Error {
    let plural = if hosts == 1 { "" } else { "s" };
    Error::configuration(format!("{source} names {these} {what} and {hosts} host{plural}: name one for each host"))
}

fn not_an_address() -> Error {
    Error::configuration("the database URL's option \"hostaddr\" is no address: write one as 192.0.2.1, or host=NAME")
}

fn wrong_variable(name: &str, values: &str) -> Error {
    Error::configuration(format!("{name} has a value that is not allowed: write {values}"))
}

/// Gives each host its password, and says where it was found.
fn password(configs: &mut [Config], hosts: &[Host], options: &Options<'_>, libpq: &Libpq) -> PasswordFrom {
    if configs.iter().all(|config| config.get_password().is_some_and(|password| !password.is_empty())) {
        return PasswordFrom::Url;
    }
    if let Some(password) = libpq.get("PGPASSWORD") {
        for config in configs {
            config.password(password);
        }
        return PasswordFrom::Variable;
    }
    let Some(path) = options.passfile.clone().map(PathBuf::from).or_else(|| libpq.passfile()) else {
        return PasswordFrom::Nowhere { ignored: None };
    };
    let file = Passfile::read(&path);
    let mut found = false;
    for (config, host) in configs.iter_mut().zip(hosts) {
        let user = config.get_user().unwrap_or_default().to_owned();
        let database = config.get_dbname().unwrap_or(&user).to_owned();
        if let Some(password) = file.password(&host.name, host.port, &database, &user) {
            config.password(password.expose_secret());
            found = true;
        }
    }
    match file {
        Passfile::Ignored(why) => PasswordFrom::Nowhere { ignored: Some(why) },
        _ if found => PasswordFrom::File(path),
        _ => PasswordFrom::Nowhere { ignored: None },
    }
}
