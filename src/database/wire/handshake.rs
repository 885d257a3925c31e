//! How a connection over TCP comes to its stream: with or without TLS, as `sslmode` says.
//!
//! The driver is told that TLS begins at once (`sslnegotiation=direct`), so that it hands over each socket, also one
//! that stays without TLS. What it would have asked the server, is asked here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Listening, Wire};

/// What the driver takes for a failure of TLS.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

type OverTls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Makes streams that are listened to.
#[derive(Clone)]
pub(in crate::database) struct Listener {
    mode: SslMode,
    tls: MakeRustlsConnect,
    wire: Wire,
}

impl Listener {
    /// Takes over the handshake from the driver: `config` is changed to leave it to the listener.
    pub(in crate::database) fn takes_over(
        config: &mut tokio_postgres::Config,
        tls: MakeRustlsConnect,
        wire: Wire,
    ) -> Self {
        let mode = config.get_ssl_mode();
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        Self { mode, tls, wire }
    }

    /// The same for other connections to the server: what is said on them, nobody hears.
    pub(in crate::database) fn of_nobody(self) -> Self {
        Self { wire: Wire::default(), ..self }
    }
}

impl MakeTlsConnect<Socket> for Listener {
    type Stream = Listening<Plain>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        let tls = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, host).map_err(io::Error::other)?;
        Ok(Handshake { mode: self.mode, tls, wire: self.wire.clone() })
    }
}

/// The handshake of one connection.
pub(in crate::database) struct Handshake {
    mode: SslMode,
    tls: <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect,
    wire: Wire,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Listening<Plain>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Listening<Plain>, BoxError>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = if self.mode != SslMode::Disable && has_tls(&mut socket).await? {
                Plain::Tls(Box::new(self.tls.connect(socket).await?))
            } else if self.mode == SslMode::Require {
                // In the driver's own words.
                return Err("server does not support TLS".into());
            } else {
                Plain::Tcp(socket)
            };
            Ok(Listening::new(stream, self.wire))
        })
    }
}

/// Asks the server (<https://www.postgresql.org/docs/15/protocol-flow.html#id-1.10.6.7.12>).
async fn has_tls(socket: &mut Socket) -> io::Result<bool> {
    let mut request = BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    Ok(socket.read_u8().await? == b'S')
}

/// A stream of plain messages: over TLS they are plain behind it.
pub(in crate::database) enum Plain {
    Tcp(Socket),
    Tls(Box<OverTls>),
}

impl AsyncRead for Plain {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Plain {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Tcp(_) => ChannelBinding::none(),
            Self::Tls(stream) => stream.channel_binding(),
        }
    }
}
