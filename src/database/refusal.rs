//! Why a connection could not be made, in words that help.
//!
//! Always holds: [`Error::Unavailable`] may pass; [`Error::Configuration`] and [`Error::NoDatabase`] stay until a person
//! changes something. No message shows a password.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use rustls::CertificateError;
use tokio_postgres::error::DbError;

use super::url::{DatabaseUrl, PasswordFrom};
use crate::error::Error;

/// The classes of SQLSTATE that may pass: connection, rollback, resources, intervention of an operator, system, bugs
/// (<https://www.postgresql.org/docs/15/errcodes-appendix.html>).
const MAY_PASS: [&str; 6] = ["08", "40", "53", "57", "58", "XX"];

/// PgBouncer gives most of its refusals the code of a broken protocol. These do not pass.
const OF_POOLER: [(&str, &str); 6] = [
    ("no such user", "add the user to PgBouncer's auth_file"),
    ("authentication failed", "check user and password"),
    ("login rejected", "check user and password"),
    ("startup parameter", "leave options out of the URL: PgBouncer does not take them"),
    ("SSL required", "write sslmode=require"),
    ("TLS required", "write sslmode=require"),
];

/// What the driver said.
pub(super) fn of_driver(url: &DatabaseUrl, error: &tokio_postgres::Error) -> Error {
    if let Some(said) = error.as_db_error() {
        return of_server(url, said);
    }
    let configuration = |why: String| Error::configuration(format!("{url}: {why}"));
    // The driver's kinds are private: their words tell them apart.
    let (kind, cause) = (error.to_string(), error.source().map(ToString::to_string).unwrap_or_default());
    // These two say more than the error of input and output that caused them.
    let is_of_io = !["authentication error", "error parsing response from server"].contains(&kind.as_str());
    if let Some(io) = error.source().filter(|_| is_of_io).and_then(|source| source.downcast_ref::<io::Error>()) {
        return of_io(url, &kind, io);
    }
    match (kind.as_str(), cause.as_str()) {
        ("invalid configuration", "password missing") => configuration(no_password(url)),
        ("authentication error", "server did not use channel binding") => configuration(
            "channel_binding=require: the login was not bound to a TLS connection; write sslmode=require, and let \
             pg_hba.conf ask for scram-sha-256 on a server with TLS"
                .into(),
        ),
        ("authentication error", "unsupported authentication method" | "unsupported SASL mechanism") => configuration(
            "the server asks for a way to log in that is not supported; let pg_hba.conf ask for scram-sha-256".into(),
        ),
        ("authentication error", _) => {
            configuration(format!("the login failed: {cause}; check that it is the right server"))
        }
        ("error performing TLS handshake", "server does not support TLS") => configuration(
            "the server has no TLS, and sslmode asks for it; set ssl = on there, or write sslmode=prefer".into(),
        ),
        (
            "invalid configuration"
            | "invalid connection string"
            | "error encoding message to server"
            | "error performing TLS handshake",
            _,
        ) => configuration(with_cause(&kind, &cause)),
        ("unexpected message from server" | "error parsing response from server", _) => configuration(not_postgresql()),
        _ => Error::Unavailable { message: format!("{url}: {}", with_cause(&kind, &cause)) },
    }
}

fn with_cause(kind: &str, cause: &str) -> String {
    if cause.is_empty() { kind.to_owned() } else { format!("{kind}: {cause}") }
}

pub(super) fn not_postgresql() -> String {
    "what answers does not speak PostgreSQL's protocol; check host and port of the URL".into()
}

fn no_password(url: &DatabaseUrl) -> String {
    let ignored = match url.password_from() {
        PasswordFrom::Nowhere { ignored: Some(why) } => format!(" ({why})"),
        _ => String::new(),
    };
    format!(
        "the server asks for a password, and there is none{ignored}; write postgres://user:password@…, set PGPASSWORD, or \
         add a line to ~/.pgpass"
    )
}

/// A server, or a pooler.
fn of_server(url: &DatabaseUrl, said: &DbError) -> Error {
    let (code, message) = (said.code().code(), said.message());
    // PgBouncer's, before it took PostgreSQL's code for it.
    if code == "3D000" || (code == "08P01" && message.starts_with("no such database")) {
        return Error::NoDatabase { url: url.to_string(), database: url.database().to_owned() };
    }
    let of_pooler = OF_POOLER.iter().find(|(words, _)| code == "08P01" && message.contains(words));
    let advice = match (code, of_pooler) {
        (_, Some((_, advice))) => (*advice).to_owned(),
        ("28P01", _) => check_password(url),
        _ if code.starts_with("28") => check_login(url, message),
        ("42501", _) if message.contains("database") => "GRANT CONNECT ON DATABASE to the login".into(),
        ("42501" | "42601" | "42704" | "22023" | "55P02", _) => "check the URL's options".into(),
        ("55P03", _) => String::new(),
        _ => "check the URL, and the server's settings".into(),
    };
    if of_pooler.is_none() && (code == "55P03" || MAY_PASS.iter().any(|class| code.starts_with(class))) {
        return Error::Unavailable { message: format!("{url}: {message}") };
    }
    let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    Error::configuration(format!("{url} refused the connection: {message}{detail}; {advice}"))
}

fn check_password(url: &DatabaseUrl) -> String {
    match url.password_from() {
        PasswordFrom::Variable => "check the user of the URL, and PGPASSWORD".into(),
        PasswordFrom::File(path) => format!("check the user of the URL, and the line for it in {}", path.display()),
        PasswordFrom::Url | PasswordFrom::Nowhere { .. } => "check user and password of the URL".into(),
    }
}

fn check_login(url: &DatabaseUrl, message: &str) -> String {
    if message.contains("client certificate") {
        return "certificates of clients are not supported: let pg_hba.conf ask for scram-sha-256 alone".into();
    }
    if !message.contains("pg_hba.conf") {
        return check_password(url);
    }
    let tls = if message.ends_with("no encryption") { "write sslmode=require, or " } else { "" };
    format!("{tls}add a line for it to the server's pg_hba.conf")
}

pub(super) fn of_io(url: &DatabaseUrl, kind: &str, error: &io::Error) -> Error {
    let configuration = |why: String| Error::configuration(format!("{url}: {why}"));
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, error.kind()) {
        (Some(rustls::Error::InvalidCertificate(why)), _) => configuration(of_certificate(why)),
        (Some(rustls::Error::InvalidMessage(_)), _) => configuration(not_postgresql()),
        (Some(why), _) => configuration(format!(
            "TLS: {why}; needed are TLS 1.2 or later, a key of RSA, P-256, P-384 or Ed25519, and no certificate of a \
                 client"
        )),
        (None, ErrorKind::PermissionDenied) => {
            configuration(format!("{error}; check the rights on the socket's folder"))
        }
        // A message that cannot be read, a path that is too long for a socket, a name that cannot be one.
        (None, ErrorKind::InvalidData | ErrorKind::InvalidInput) if kind.starts_with("error connecting") => {
            configuration(format!("{error}; check the host of the URL"))
        }
        (None, ErrorKind::InvalidData | ErrorKind::InvalidInput) => configuration(not_postgresql()),
        _ if error.to_string().starts_with("failed to lookup address") => {
            Error::Unavailable { message: format!("{url}: the host's name cannot be resolved, check it ({error})") }
        }
        _ => Error::Unavailable { message: format!("{url}: {}", with_cause(kind, &error.to_string())) },
    }
}

fn of_certificate(why: &CertificateError) -> String {
    use CertificateError as Why;
    match why {
        Why::Expired | Why::ExpiredContext { .. } => "the server's certificate has expired; renew it".into(),
        Why::NotValidYet | Why::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; check both clocks".into()
        }
        // An authority's own certificate, as one that signed itself often is.
        _ if *why == Why::UnknownIssuer || why.to_string().contains("CaUsedAsEndEntity") => {
            "no root certificate vouches for the server's certificate; write sslrootcert=FILE with that of \
             its authority, or the certificate itself where it is self-signed"
                .into()
        }
        Why::NotValidForName | Why::NotValidForNameContext { .. } => {
            format!(
                "the server's certificate is not made out for the host of the URL: {why}; write the host's name as the \
                     certificate has it, or sslmode=verify-ca"
            )
        }
        _ => format!("the server's certificate is refused: {why}"),
    }
}
