//! Connections: how one is made, and how many are kept.
//!
//! A connection is not tested when it is taken: that would cost every transaction a round trip. A dead
//! one shows at BEGIN, where nothing has happened yet, and is replaced there (see `transaction.rs`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bb8::ErrorSink;
use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolError, bb8 as diesel_bb8};
use futures_util::FutureExt as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTlsStream;

use super::config::Config;
use super::url::DatabaseUrl;
use super::wake::Waker;
use crate::error::{Error, Result, WaitedFor};
use crate::forms::Validators;

pub(crate) type PooledConnection = diesel_bb8::PooledConnection<'static, AsyncPgConnection>;

/// Connects once, outside of any pool.
///
/// # Errors
/// [`Error::Configuration`] for what waiting does not mend (unknown login or database, wrong password),
/// [`Error::Unavailable`] for the rest.
pub async fn connect(url: &DatabaseUrl) -> Result<AsyncPgConnection> {
    let (client, connection) = connect_plainly(url).await?;
    AsyncPgConnection::try_from_client_and_connection(client, connection)
        .await
        .map_err(|error| Error::Unavailable { message: error.to_string() })
}

/// What [`connect`] makes its connection of: for what diesel-async does not have.
pub(super) async fn connect_plainly(
    url: &DatabaseUrl,
) -> Result<(tokio_postgres::Client, tokio_postgres::Connection<tokio_postgres::Socket, NoTlsStream>)> {
    let mut config = url.tokio_postgres();
    config.application_name("bedplate");
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    config.connect(tokio_postgres::NoTls).await.map_err(|error| not_connected(&error, url))
}

pub(crate) fn not_connected(error: &tokio_postgres::Error, url: &DatabaseUrl) -> Error {
    const REFUSED: [SqlState; 3] =
        [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION, SqlState::INSUFFICIENT_PRIVILEGE];
    match (error.as_db_error(), error.code()) {
        (_, Some(&SqlState::INVALID_CATALOG_NAME)) => {
            Error::NoDatabase { url: url.to_string(), database: url.database().to_owned() }
        }
        (Some(said), Some(code)) if REFUSED.contains(code) => Error::configuration(format!(
            "{url} refused the connection: {}; check user, password and database of the URL",
            said.message()
        )),
        (Some(said), _) => Error::Unavailable { message: format!("{url}: {}", said.message()) },
        (None, _) => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Error::Unavailable { message: format!("{url}: {error}{cause}") }
        }
    }
}

/// The pool, and why its last attempt to connect failed.
#[derive(Clone)]
pub(crate) struct Pool {
    connections: diesel_bb8::Pool<AsyncPgConnection>,
    last_failure: LastFailure,
    /// Of the forms in this database, for its transactions.
    pub(super) validators: Validators,
    /// Of its transactions' readers.
    pub(super) waker: Waker,
}

impl Pool {
    /// Makes the pool, with `first` as its first connection.
    pub(crate) fn new(config: &Config, first: AsyncPgConnection) -> Self {
        let url = config.url().clone();
        let mut manager = ManagerConfig::default();
        manager.custom_setup = Box::new(move |_| {
            let url = url.clone();
            async move { connect(&url).await.map_err(|error| ConnectionError::BadConnection(error.to_string())) }
                .boxed()
        });
        let last_failure = LastFailure::default();
        let connections = bb8::Pool::builder()
            .max_size(config.pool.max_size)
            .min_idle(config.pool.min_idle)
            .connection_timeout(config.pool.wait)
            .idle_timeout(config.pool.idle_timeout)
            .max_lifetime(config.pool.max_lifetime)
            .test_on_check_out(false)
            .error_sink(last_failure.boxed_clone())
            .build_unchecked(AsyncDieselConnectionManager::new_with_config(String::new(), manager));
        // A pool that is full already does without it.
        let _ = connections.add(first);
        Self { connections, last_failure, validators: Validators::default(), waker: Waker::default() }
    }

    /// A connection, after waiting for one if need be.
    pub(crate) async fn get(&self) -> Result<PooledConnection> {
        self.last_failure.take();
        self.connections.get_owned().await.map_err(|error| match error {
            bb8::RunError::User(error) => Error::Unavailable { message: error.to_string() },
            bb8::RunError::TimedOut => match self.last_failure.take() {
                Some(message) => Error::Unavailable { message },
                None => Error::Timeout { waited_for: WaitedFor::Connection },
            },
        })
    }

    pub(crate) fn max_size(&self) -> u32 {
        self.connections.config().max_size
    }

    pub(crate) fn state(&self) -> bb8::State {
        self.connections.state()
    }
}

/// Tells a pool that waits for a server from one whose connections are all in use.
#[derive(Debug, Clone, Default)]
struct LastFailure(Arc<Mutex<Option<String>>>);

impl LastFailure {
    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ErrorSink<PoolError> for LastFailure {
    fn sink(&self, error: PoolError) {
        tracing::warn!(%error, "a connection of the pool failed");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<PoolError>> {
        Box::new(self.clone())
    }
}
