//! The runner's connection: one session of its own, straight to the server.
//!
//! Statements are sent as they are, one by one (the simple protocol), on tokio-postgres itself: its errors have
//! the SQLSTATE, the position and the hint, which diesel-async does not hand on.
//!
//! Always holds: what a migration sets for its session is gone before the next one; the server ends a statement
//! whose runner is gone within a second.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::database::connect::{DIRECT, open, words};
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result, WaitedFor};

/// A connection of a runner.
pub(super) struct Session {
    client: Client,
    /// Of the backend that serves it.
    pub(super) pid: i32,
    /// Where the tables of the history are, quoted.
    pub(super) schema: String,
    /// Whether the server refuses to write.
    pub(super) read_only: bool,
}

/// Takes back what the migration before has set.
pub(super) const FRESH: &str = "RESET ALL; RESET ROLE";

/// Set at the start of the session, so that RESET ALL brings them back. `bedplate.direct` tells a direct
/// connection from one through a pooler, which refuses or drops it.
fn options(lock_timeout: Duration) -> String {
    format!(
        "{DIRECT} -c lock_timeout={} -c statement_timeout=0 -c idle_in_transaction_session_timeout=0",
        lock_timeout.as_millis()
    )
}

/// Asks the server to look whether the client is still there. An option as the others, for a statement would set it on
/// a pooler's connection, for whoever has that next.
const CLIENT_CHECK: &str = " -c client_connection_check_interval=1000";

const HELLO: &str = "SELECT pg_backend_pid(), quote_ident(coalesce(current_schema(), 'public')), \
            current_setting('transaction_read_only'), current_setting('bedplate.direct', true)";

impl Session {
    /// Connects, with this `lock_timeout` for every statement.
    pub(super) async fn open(url: &DatabaseUrl, lock_timeout: Duration) -> Result<Self> {
        let client = connect(url, lock_timeout).await?;
        let mut session = Self { client, pid: 0, schema: String::new(), read_only: false };
        let facts = session.rows(HELLO).await?;
        let fact = |column: usize| facts.first().and_then(|row| row.get(column)).unwrap_or_default();
        if fact(3) != "yes" {
            return Err(pooler(url));
        }
        session.pid = fact(0).parse().unwrap_or_default();
        fact(1).clone_into(&mut session.schema);
        session.read_only = fact(2) == "on";
        Ok(session)
    }

    /// Sends one text.
    pub(super) async fn send(&self, sql: &str) -> std::result::Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }

    /// Sends one text whose failure nobody branches on.
    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        self.send(sql).await.map_err(|error| from_postgres(&error))
    }

    /// Sends one statement, and tells how many rows it changed.
    pub(super) async fn count(&self, sql: &str) -> std::result::Result<u64, tokio_postgres::Error> {
        let answers = self.client.simple_query(sql).await?;
        Ok(answers
            .iter()
            .map(|answer| if let SimpleQueryMessage::CommandComplete(rows) = answer { *rows } else { 0 })
            .sum())
    }

    /// The rows of one query.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>> {
        self.try_rows(sql).await.map_err(|error| from_postgres(&error))
    }

    /// The same, with the error as it is.
    pub(super) async fn try_rows(&self, sql: &str) -> std::result::Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
        let answers = self.client.simple_query(sql).await?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    /// The first column of a query.
    pub(super) async fn texts(&self, sql: &str) -> Result<Vec<String>> {
        let rows = self.rows(sql).await?;
        Ok(rows.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect())
    }
}

async fn connect(url: &DatabaseUrl, lock_timeout: Duration) -> Result<Client> {
    let set = |config: &mut tokio_postgres::Config, check: &str| {
        let own = config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
        config.application_name("bedplate migrate").options(format!("{own}{}{check}", options(lock_timeout)));
    };
    let connected = match open(url, |config| set(config, CLIENT_CHECK)).await {
        // Not every platform of a server can look.
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
            open(url, |config| set(config, "")).await
        }
        connected => connected,
    };
    let (client, connection) =
        connected.map_err(|error| if error.is_of_pooler() { pooler(url) } else { error.into() })?;
    // Ends with the client.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the runner's connection ended");
        }
    });
    Ok(client)
}

fn pooler(url: &DatabaseUrl) -> Error {
    Error::configuration(format!(
        "{url} goes through a pooler: migrations need a session of their own (locks, settings); \
         give them the server's own address, as DATABASE_URL or --url"
    ))
}

/// What the server said, as an error of ours.
pub(super) fn from_postgres(error: &tokio_postgres::Error) -> Error {
    let message = words(error);
    match error.code() {
        None => Error::Unavailable { message },
        Some(&SqlState::LOCK_NOT_AVAILABLE) => Error::Timeout { waited_for: WaitedFor::Lock },
        Some(&SqlState::QUERY_CANCELED) => Error::Timeout { waited_for: WaitedFor::Statement },
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Error::Forbidden { message },
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => read_only(),
        Some(&SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN | &SqlState::CANNOT_CONNECT_NOW) => {
            Error::Unavailable { message }
        }
        Some(_) => Error::Database(diesel::result::Error::DatabaseError(
            diesel::result::DatabaseErrorKind::Unknown,
            Box::new(message),
        )),
    }
}

/// Nothing can be written here.
pub(super) fn read_only() -> Error {
    Error::configuration(
        "the server is read-only (a standby, or default_transaction_read_only): give the URL of the primary",
    )
}
