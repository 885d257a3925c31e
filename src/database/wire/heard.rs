//! A connection of the driver that is listened to.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use diesel_async::AsyncPgConnection;
use tokio::net::UnixStream;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{CancelToken, Client, Connection, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::handshake::Plain;
use super::{Listener, Listening, Wire};
use crate::database::connect::{Cause, words};
use crate::database::session_attrs::{Role, role};
use crate::error::{Error, Result};

/// A connection whose server is heard.
pub(in crate::database) struct Heard {
    client: Client,
    driver: Driver,
    wire: Wire,
    canceller: Canceller,
}

/// The same in diesel's hands.
pub(in crate::database) struct Opened {
    pub(in crate::database) diesel: AsyncPgConnection,
    pub(in crate::database) wire: Wire,
    pub(in crate::database) canceller: Canceller,
}

/// What reads from the server. A socket of this machine has a type of its own, as the driver hands its own over to no
/// listener.
enum Driver {
    Tcp(Box<Connection<Socket, Listening<Plain>>>),
    Unix(Box<Connection<Listening<UnixStream>, NoTlsStream>>),
}

impl Future for Driver {
    type Output = Result<(), tokio_postgres::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Tcp(connection) => Pin::new(connection).poll(cx),
            Self::Unix(connection) => Pin::new(connection).poll(cx),
        }
    }
}

impl Heard {
    /// Connects to the host of `config`, which is one.
    pub(in crate::database) async fn connect(
        mut config: tokio_postgres::Config,
        tls: MakeRustlsConnect,
    ) -> Result<Self, Cause> {
        let wire = Wire::default();
        let (client, driver, canceller) = if let Some(path) = socket_of(&config) {
            let socket = UnixStream::connect(&path).await.map_err(Cause::Socket)?;
            // As libpq has it: there is nobody in between.
            config.ssl_mode(SslMode::Disable);
            let listening = Listening::new(socket, wire.clone());
            let (client, connection) = config.connect_raw(listening, NoTls).await.map_err(Cause::Driver)?;
            (client, Driver::Unix(Box::new(connection)), Canceller::Unix(path))
        } else {
            let listener = Listener::takes_over(&mut config, tls, wire.clone());
            let (client, connection) = config.connect(listener.clone()).await.map_err(Cause::Driver)?;
            (client, Driver::Tcp(Box::new(connection)), Canceller::Tcp(listener.of_nobody()))
        };
        Ok(Self { client, driver, wire, canceller })
    }

    /// What the server is, for `target_session_attrs`.
    pub(in crate::database) async fn role(&mut self) -> Result<Option<Role>, tokio_postgres::Error> {
        role(&self.client, &mut self.driver).await
    }

    /// Sends something before the connection is diesel's.
    pub(in crate::database) async fn while_driven<T>(
        &mut self,
        work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, String> {
        tokio::select! {
            done = work(&self.client) => done.map_err(|error| words(&error)),
            _ = &mut self.driver => Err("the connection was lost".to_owned()),
        }
    }

    pub(in crate::database) async fn of_diesel(self) -> Result<Opened> {
        let diesel = match self.driver {
            Driver::Tcp(driver) => AsyncPgConnection::try_from_client_and_connection(self.client, *driver).await,
            Driver::Unix(driver) => {
                tokio::spawn(async move {
                    if let Err(error) = driver.await {
                        tracing::debug!(%error, "a connection was lost");
                    }
                });
                AsyncPgConnection::try_from(self.client).await
            }
        };
        let diesel = diesel.map_err(|error| Error::Unavailable { message: error.to_string() })?;
        Ok(Opened { diesel, wire: self.wire, canceller: self.canceller })
    }
}

/// How the server is asked to end a query: over a connection of its own.
#[derive(Clone)]
pub(in crate::database) enum Canceller {
    Tcp(Listener),
    Unix(PathBuf),
}

impl Canceller {
    pub(in crate::database) async fn cancel(self, token: CancelToken) -> io::Result<()> {
        let cancelled = match self {
            Self::Tcp(listener) => token.cancel_query(listener).await,
            Self::Unix(path) => token.cancel_query_raw(UnixStream::connect(path).await?, NoTls).await,
        };
        cancelled.map_err(io::Error::other)
    }
}

/// Where the socket is, if the server is reached through one of this machine.
fn socket_of(config: &tokio_postgres::Config) -> Option<PathBuf> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    config.get_hosts().iter().find_map(|host| match host {
        Host::Unix(folder) => Some(folder.join(format!(".s.PGSQL.{port}"))),
        Host::Tcp(_) => None,
    })
}
