//! Another service on the port of the URL: a web server, a mail server, another database.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslNegotiation};

/// The longest that its answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a host answers the first message of PostgreSQL's protocol as no server and no pooler does. Asked after a
/// connection failed, because the driver takes such an answer for a server that went away, or for one without TLS.
pub(super) async fn answers(config: &tokio_postgres::Config, failure: &tokio_postgres::Error) -> bool {
    let refused = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    let io = std::error::Error::source(failure).and_then(|source| source.downcast_ref());
    if failure.as_db_error().is_some()
        || io.is_some_and(refused)
        || config.get_ssl_negotiation() == SslNegotiation::Direct
    {
        return false;
    }
    let Some(Host::Tcp(host)) = config.get_hosts().first() else { return false };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let address = config.get_hostaddrs().first().map_or_else(|| host.clone(), ToString::to_string);
    matches!(timeout(PATIENCE, answer(&address, port)).await, Ok(Ok(answer)) if !is_of_a_server(&answer))
}

/// The begin of what comes after a request for TLS, which needs no login.
async fn answer(host: &str, port: u16) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect((host, port)).await?;
    let mut request = BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    let mut answer = vec![0; 16];
    let length = socket.read(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

/// One byte, `S` or `N`; or an error message (<https://www.postgresql.org/docs/15/protocol-flow.html#id-1.10.6.7.12>).
/// A server that is on its way down says nothing.
fn is_of_a_server(answer: &[u8]) -> bool {
    matches!(answer, [] | [b'S' | b'N'] | [b'E', ..])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"", true)]
    #[case(b"S", true)]
    #[case(b"N", true)]
    #[case(b"E\0\0\0\x20SFATAL", true)]
    #[case(b"SSH-2.0-OpenSSH", false)]
    #[case(b"HTTP/1.1 400 Bad", false)]
    #[case(b"220 mail ESMTP\r\n", false)]
    #[case(b"-ERR unknown\r\n", false)]
    #[case(b"J\0\0\0\x0a8.0.36", false)]
    #[case(b"\x15\x03\x03\0\x02\x02\x28", false)]
    fn a_server_is_known_by_its_answer(#[case] answer: &[u8], #[case] expected: bool) {
        assert_eq!(is_of_a_server(answer), expected);
    }
}
