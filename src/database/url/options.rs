//! The options of a URL: which there are, what they may be, and what to write instead of those of other clients.
//!
//! Always holds: an option is taken, or it is refused by its name; none is ignored. No value is shown.

use percent_encoding::percent_decode_str;

use super::not_a_url;
use crate::database::session_attrs::SessionAttrs;
use crate::database::tls::TlsMode;
use crate::error::{Error, Result};

/// What may be written, and the values.
const KNOWN: [(&str, &str); 22] = [
    ("application_name", "a name"),
    ("channel_binding", "disable, prefer or require"),
    ("connect_timeout", "a number of seconds"),
    ("dbname", "a name"),
    ("host", "the name of a host"),
    ("hostaddr", "the address of a host"),
    ("keepalives", "0 or 1"),
    ("keepalives_count", "a number"),
    ("keepalives_idle", "a number of seconds"),
    ("keepalives_interval", "a number of seconds"),
    ("keepalives_retries", "a number"),
    ("options", "-c name=value, percent-encoded"),
    ("passfile", "the path of a file"),
    ("password", "a password, percent-encoded"),
    ("pgbouncer", "true or false"),
    ("port", "a number from 1 to 65535"),
    ("sslmode", "disable, prefer, require, verify-ca or verify-full"),
    ("sslnegotiation", "postgres or direct"),
    ("sslrootcert", "the path of a file, or system"),
    ("target_session_attrs", "any, read-write, read-only, primary, standby or prefer-standby"),
    ("tcp_user_timeout", "a number of milliseconds"),
    ("user", "a name"),
];

/// Those of other clients, and those of libpq that are not supported: names without capitals, `_` and `-`, and what to
/// do instead.
const FOREIGN: [(&[&str], &str); 27] = [
    (&["schema", "currentschema", "searchpath", "schemasearchpath"], "write options=-csearch_path%3DNAME"),
    (
        &["connectionlimit", "maxpoolsize", "maximumpoolsize", "poolmaxconns", "poolsize", "pool", "max"],
        "set BEDPLATE_POOL_SIZE",
    ),
    (&["pooltimeout", "checkouttimeout", "acquiretimeout"], "set BEDPLATE_POOL_WAIT_SECONDS"),
    (
        &["idletimeout", "idletimeoutmillis", "maxidleconnectionlifetime", "poolmaxconnidletime"],
        "set BEDPLATE_POOL_IDLE_SECONDS",
    ),
    (
        &["maxlifetime", "maxconnectionlifetime", "poolmaxconnlifetime", "connmaxage"],
        "set BEDPLATE_POOL_LIFETIME_SECONDS",
    ),
    (
        &["statementtimeout", "querytimeout", "sockettimeout", "commandtimeout"],
        "set BEDPLATE_STATEMENT_TIMEOUT_SECONDS",
    ),
    (&["locktimeout"], "set BEDPLATE_LOCK_TIMEOUT_SECONDS"),
    (&["idleintransactionsessiontimeout"], "set BEDPLATE_IDLE_IN_TRANSACTION_SECONDS"),
    (
        &[
            "statementcachesize",
            "statementcachecapacity",
            "preparedstatementcachesize",
            "preparedstatements",
            "preparethreshold",
            "defaultqueryexecmode",
        ],
        "set BEDPLATE_STATEMENT_CACHE, or write pgbouncer=true",
    ),
    (&["logintimeout", "timeout"], "write connect_timeout=SECONDS"),
    (&["ssl", "usessl", "tls", "requiressl"], "write sslmode=require, or sslmode=verify-full"),
    (
        &["sslaccept", "sslverify", "rejectunauthorized", "trustservercertificate"],
        "write sslmode=verify-full, or sslmode=require",
    ),
    (&["sslca", "sslcafile", "cafile", "rootcertificate"], "write sslrootcert=FILE"),
    (
        &["sslcert", "sslkey", "sslpassword", "sslidentity", "sslcertmode"],
        "certificates of clients are not supported: leave it out, and log in with a password",
    ),
    (&["sslcrl", "sslcrldir"], "lists of revoked certificates are not supported: leave it out"),
    (
        &[
            "sslcompression",
            "sslsni",
            "sslminprotocolversion",
            "sslmaxprotocolversion",
            "sslfactory",
            "minprotocolversion",
            "maxprotocolversion",
            "sslkeylogfile",
        ],
        "leave it out: TLS is version 1.2 or later, with the name of the host",
    ),
    (
        &["gssencmode", "gsslib", "gssdelegation", "krbsrvname"],
        "Kerberos is not supported: leave it out, and log in with a password",
    ),
    (
        &["requireauth", "requirepeer"],
        "leave it out; sslmode=verify-full&channel_binding=require proves who the server is",
    ),
    (&["service", "servicefile"], "write the parts of the service into the URL"),
    (&["targetservertype"], "write target_session_attrs=primary, standby or prefer-standby"),
    (&["tcpkeepalive", "tcpkeepalives"], "write keepalives=1"),
    (&["loadbalancehosts"], "leave it out: hosts are tried in their order; APP_REPLICA_URL shares reads"),
    (&["clientencoding", "encoding", "charset", "characterencoding"], "leave it out: it is always UTF-8"),
    (&["timezone"], "run ALTER ROLE … SET TimeZone"),
    (&["fallbackapplicationname"], "leave it out: a transaction's name is the name of the application"),
    (&["endpoint"], "write options=endpoint%3DNAME"),
    (
        &[
            "replication",
            "supa",
            "workaround",
            "uselibpqcompat",
            "reconnect",
            "adapter",
            "driver",
            "protocol",
            "stringtype",
            "rewritebatchedinserts",
            "binarytransfer",
            "asyncfallback",
            "socket",
        ],
        "leave it out: it has no meaning here",
    ),
];

/// What the options say, as far as the driver does not read it.
#[derive(Default)]
pub(super) struct Options<'u> {
    pub(super) mode: Option<TlsMode>,
    pub(super) roots: Option<String>,
    pub(super) attrs: Option<SessionAttrs>,
    pub(super) pooled: bool,
    pub(super) passfile: Option<String>,
    pub(super) hosts: Option<String>,
    pub(super) addresses: Option<String>,
    pub(super) ports: Option<String>,
    /// As they are, for the driver.
    pub(super) driver: Vec<String>,
    names: Vec<&'u str>,
}

impl<'u> Options<'u> {
    /// `beside_hosts`: the URL names hosts before its options.
    pub(super) fn read(query: &'u str, beside_hosts: bool) -> Result<Self> {
        let mut read = Self::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').ok_or_else(not_a_url)?;
            if !KNOWN.iter().any(|(known, _)| *known == name) {
                return Err(unknown(name, query));
            }
            let wrong = || wrong_value(name);
            let text = || percent_decode_str(value).decode_utf8().map(String::from).map_err(|_| wrong());
            if text()?.contains('\0') {
                return Err(wrong());
            }
            read.names.push(name);
            match name {
                "sslmode" => read.mode = Some(mode(&text()?).ok_or_else(wrong)?),
                "sslrootcert" => read.roots = Some(text()?),
                "target_session_attrs" => read.attrs = Some(text()?.parse().map_err(|_| wrong())?),
                "pgbouncer" => read.pooled = text()?.parse().map_err(|_| wrong())?,
                "passfile" => read.passfile = Some(text()?),
                "host" | "hostaddr" | "port" if beside_hosts => {
                    return Err(Error::configuration(format!(
                        "the database URL's option {name:?} stands beside the hosts of the URL: write one of the two"
                    )));
                }
                "host" => read.hosts = Some(text()?),
                "hostaddr" => read.addresses = Some(text()?),
                "port" => read.ports = Some(text()?),
                // The driver's name for it.
                "keepalives_count" => read.driver.push(format!("keepalives_retries={value}")),
                _ => read.driver.push(option.to_owned()),
            }
        }
        Ok(read)
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.names.iter().any(|named| named.starts_with(name))
    }

    /// The first that the driver does not take.
    pub(super) fn wrong(&self) -> Option<Error> {
        let alone = |option: &str| format!("postgres://localhost?{option}").parse::<tokio_postgres::Config>();
        let wrong = self.driver.iter().find(|option| alone(option).is_err())?;
        Some(wrong_value(wrong.split('=').next().unwrap_or_default()))
    }
}

/// The word of `sslmode`.
pub(super) fn mode(word: &str) -> Option<TlsMode> {
    word.parse().ok()
}

fn wrong_value(name: &str) -> Error {
    let values = values_of(name);
    Error::configuration(format!("the database URL's option {name:?} has a value that is not allowed: write {values}"))
}

/// What an option may be.
pub(super) fn values_of(name: &str) -> &'static str {
    KNOWN.iter().find(|(known, _)| *known == name).map_or("another one", |(_, values)| values)
}

/// A name that nobody knows may be a part of a password with a `?` in it: it is shown where nothing else looks so.
fn unknown(name: &str, query: &str) -> Error {
    let plainly = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let asked = plainly(name);
    let refused =
        |instead: &str| Error::configuration(format!("the database URL's option {name:?} is unknown: {instead}"));
    if let Some((known, _)) = KNOWN.iter().find(|(known, _)| plainly(known) == asked) {
        return refused(&format!("write {known}"));
    }
    if let Some((_, instead)) = FOREIGN.iter().find(|(names, _)| names.contains(&asked.as_str())) {
        return refused(instead);
    }
    let is_a_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_a_name && !query.contains('@') {
        return refused("leave it out, or write one of those in docs/operations.md");
    }
    not_a_url()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A known option is reached by its name alone, and each name of others once.
    #[test]
    fn names_are_there_once() {
        let foreign: Vec<_> = FOREIGN.iter().flat_map(|(names, _)| names.iter()).collect();
        for (n, name) in foreign.iter().enumerate() {
            assert!(!foreign[..n].contains(name), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{name}");
            assert!(!KNOWN.iter().any(|(known, _)| known.replace('_', "") == **name), "{name}");
        }
    }
}
