//! The runner's connection: one session of its own, straight to the server.
//!
//! Statements are sent as they are, one by one (the simple protocol), on tokio-postgres itself: its errors have
//! the SQLSTATE, the position and the hint, which diesel-async does not hand on.
//!
//! Always holds: the server ends a statement whose runner is gone within a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::guard::Guard;
use super::lock;
use crate::database::connect::{DIRECT, Plainly, open, words};
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result, WaitedFor};
use crate::sql::quote_literal;

/// Milliseconds that a statement waits for a lock by default, and others behind it.
const BRIEF_MS: u64 = 100;

/// A connection of a runner.
pub(super) struct Session {
    client: Client,
    /// Of the backend that serves it.
    pub(super) pid: i32,
    /// The schema of the history's tables, quoted.
    schema: OnceLock<String>,
    /// Whether the server refuses to write.
    pub(super) read_only: bool,
    /// Whether a backslash escapes in an ordinary string: `standard_conforming_strings` is off.
    pub(super) escapes: bool,
    /// The login.
    pub(super) login: String,
    /// What keeps a dry run from changing the server.
    pub(super) guard: Option<Arc<Guard>>,
    /// Whether the caller, the URL or the login says how long a statement waits for a lock.
    pub(super) own_lock_timeout: bool,
    /// The lock timeout that this session began with, or the engine has set since, as the server writes it.
    timeout: Mutex<String>,
    /// Milliseconds that a statement waits for a lock where nobody says it.
    ask: AtomicU64,
}

/// Facts of a session.
const FACTS: &str = "SELECT pg_backend_pid(), current_setting('transaction_read_only'), \
        current_setting('bedplate.direct', true), current_setting('standard_conforming_strings'), session_user, \
        current_setting('lock_timeout')";

/// Where tables of the history can be: the schema, the table, and whether it is the one that a bare name means.
const TABLES: &str = "SELECT relnamespace::regnamespace::text, relname, pg_table_is_visible(oid)::text FROM pg_class \
      WHERE relname IN ('__diesel_schema_migrations', '__bedplate_migrations') AND relkind IN ('r', 'p') \
        AND relpersistence <> 't'";

/// What a first message brought: the rows of each of its statements, as far as they came.
pub(super) struct Answers {
    pub(super) rows: Vec<Vec<SimpleQueryRow>>,
    pub(super) error: Option<tokio_postgres::Error>,
}

impl Session {
    /// Connects. A statement waits for a lock as long as `lock_timeout` says, else the URL, the login's settings, or
    /// [`BRIEF_MS`].
    pub(super) async fn open(url: &DatabaseUrl, lock_timeout: Option<Duration>) -> Result<Self> {
        let session = Self::open_and_ask(url, lock_timeout, "").await?.0;
        session.get_ready().await?;
        Ok(session)
    }

    /// Connects, and asks `more` in the same message as the facts of a session. The session is to
    /// [get ready](Self::get_ready) before it does anything else.
    pub(super) async fn open_and_ask(
        url: &DatabaseUrl,
        lock_timeout: Option<Duration>,
        more: &str,
    ) -> Result<(Self, Answers)> {
        let said = lock_timeout.is_some() || says_lock_timeout(url);
        let client = connect(url, lock_timeout).await?;
        let mut session = Self {
            client,
            pid: 0,
            schema: OnceLock::new(),
            read_only: false,
            escapes: false,
            login: String::new(),
            guard: None,
            own_lock_timeout: true,
            timeout: Mutex::default(),
            ask: AtomicU64::new(BRIEF_MS),
        };
        // Of this message alone.
        let briefly =
            if said { String::new() } else { format!(", pg_catalog.set_config('lock_timeout', '{BRIEF_MS}', true)") };
        let mut answers = session.ask(&format!("{FACTS}{briefly}; {more}")).await;
        let facts = answers.rows.first().and_then(|rows| rows.first());
        let Some(facts) = facts else {
            return Err(answers.error.map_or_else(|| pooler(url), |error| from_postgres(&error)));
        };
        let fact = |column: usize| facts.get(column).unwrap_or_default();
        if fact(2) != "yes" {
            return Err(pooler(url));
        }
        session.pid = fact(0).parse().unwrap_or_default();
        session.read_only = fact(1) == "on";
        session.escapes = fact(3) == "off";
        fact(4).clone_into(&mut session.login);
        session.own_lock_timeout = said || fact(5) != "0";
        session.set_timeout(fact(5).to_owned());
        answers.rows.remove(0);
        Ok((session, answers))
    }

    /// Finds the history, and lets statements wait briefly for a lock where nobody says how long they wait.
    pub(super) async fn get_ready(&self) -> Result<()> {
        if self.schema.get().is_some() {
            return Ok(());
        }
        let briefly = if self.own_lock_timeout { String::new() } else { format!("SET lock_timeout = {BRIEF_MS}; ") };
        let shown = "SELECT quote_ident(coalesce(current_schema(), 'public')), current_setting('lock_timeout')";
        let rows = self.rows(&format!("{briefly}{shown}; {TABLES}")).await?;
        let (here, tables): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.len() == 2);
        let fact = |column: usize| here.first().and_then(|row| row.get(column)).unwrap_or_default().to_owned();
        self.set_timeout(fact(1));
        // Whoever came first says the same.
        let _ = self.schema.set(history_schema(&tables, fact(0))?);
        Ok(())
    }

    /// The schema of the history's tables, quoted.
    pub(super) fn schema(&self) -> &str {
        self.schema.get().map_or("public", String::as_str)
    }

    /// A migration's RESET or DISCARD took the brief timeout away.
    pub(super) async fn ask_briefly_again(&self) -> std::result::Result<(), tokio_postgres::Error> {
        if self.own_lock_timeout {
            return Ok(());
        }
        self.send(&change_timeout("0", &self.timeout())).await
    }

    async fn ask(&self, sql: &str) -> Answers {
        let mut answers = Answers { rows: Vec::new(), error: None };
        let stream = match self.client.simple_query_raw(sql).await {
            Ok(stream) => stream,
            Err(error) => return Answers { error: Some(error), ..answers },
        };
        futures_util::pin_mut!(stream);
        let mut rows = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(SimpleQueryMessage::Row(row))) => rows.push(row),
                Ok(Some(SimpleQueryMessage::CommandComplete(_))) => answers.rows.push(std::mem::take(&mut rows)),
                Ok(Some(_)) => {}
                Ok(None) => return answers,
                Err(error) => return Answers { error: Some(error), ..answers },
            }
        }
    }

    /// The lock timeout that this session has where no migration has set another one, as the server writes it.
    pub(super) fn timeout(&self) -> String {
        self.timeout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_timeout(&self, timeout: String) {
        *self.timeout.lock().unwrap_or_else(PoisonError::into_inner) = timeout;
    }

    /// Makes statements wait longer for a lock, up to `most` milliseconds, where nobody says how long they wait: those
    /// that hold it come and go, and nobody lets it go for so short a time. A timeout that the migration has set stays.
    pub(super) async fn ask_longer(&self, most: u64) -> std::result::Result<(), tokio_postgres::Error> {
        let longer = (self.ask.load(Ordering::Relaxed) * 3 / 2).min(most);
        if self.own_lock_timeout {
            return Ok(());
        }
        let set = self.try_rows(&change_timeout(&self.timeout(), &longer.to_string())).await?;
        if let Some(now) = set.first().and_then(|row| row.get(0)) {
            self.ask.store(longer, Ordering::Relaxed);
            self.set_timeout(now.to_owned());
        }
        Ok(())
    }

    /// Sends one text that waits for locks as long as it takes, because nobody waits behind it. A timeout that the
    /// migration has set holds.
    pub(super) async fn patiently(&self, sql: &str) -> std::result::Result<(), tokio_postgres::Error> {
        let timeout = self.timeout();
        self.send(&change_timeout(&timeout, "0")).await?;
        let sent = self.send(sql).await;
        // Where it fails the connection is gone.
        let _ = self.send(&change_timeout("0", &timeout)).await;
        sent
    }

    /// Ends the session, and lets the runner's lock go at once.
    pub(super) async fn close(self) {
        // Where it fails the connection is gone, and with it the lock.
        let _ = self.send(&lock::release()).await;
    }

    /// Sends several statements in one message, inside of a transaction. On failure, tells how many were done.
    pub(super) async fn send_several(&self, sql: &str) -> std::result::Result<(), (usize, tokio_postgres::Error)> {
        let answers = self.ask(sql).await;
        answers.error.map_or(Ok(()), |error| Err((answers.rows.len(), error)))
    }

    /// Sends a text that the caller does not need any more. The driver copies it twice, one copy after the other: ours
    /// is gone before the second is made, and before the server works.
    pub(super) async fn send_and_forget(&self, sql: String) -> std::result::Result<(), tokio_postgres::Error> {
        let stream = self.client.simple_query_raw(&sql).await;
        drop(sql);
        stream?.try_for_each(async |_| Ok(())).await
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

fn change_timeout(from: &str, to: &str) -> String {
    let (from, to) = (quote_literal(from), quote_literal(to));
    format!(
        "SELECT pg_catalog.set_config('lock_timeout', {to}, false) WHERE pg_catalog.current_setting('lock_timeout') = {from}"
    )
}

/// Where the history is: wherever its tables are, and where a bare name would find them if there are several. Where
/// there is none, it will be made `here`.
fn history_schema(found: &[SimpleQueryRow], here: String) -> Result<String> {
    let schemas = |table: &'static str| {
        let rows = found.iter().filter(move |row| row.get(1) == Some(table));
        rows.map(|row| (row.get(0).unwrap_or_default().to_owned(), row.get(2) == Some("true"))).collect::<Vec<_>>()
    };
    let (diesels, ours) = (schemas("__diesel_schema_migrations"), schemas("__bedplate_migrations"));
    let all = if diesels.is_empty() { &ours } else { &diesels };
    let chosen = match all.as_slice() {
        [] => return Ok(here),
        [(only, _)] => only,
        several => {
            let visible = several.iter().find(|(_, visible)| *visible).map(|(schema, _)| schema);
            visible.ok_or_else(|| {
                let names: Vec<_> = several.iter().map(|(schema, _)| schema.as_str()).collect();
                Error::configuration(format!(
                    "several schemas have a history of migrations ({}), and the search path names none of them: say which one \
                     with ?options=-csearch_path%3DSCHEMA in the URL",
                    names.join(", ")
                ))
            })?
        }
    };
    Ok(chosen.clone())
}

/// Whether the URL's own options set it.
fn says_lock_timeout(url: &DatabaseUrl) -> bool {
    url.tokio_postgres().get_options().is_some_and(|options| options.contains("lock_timeout"))
}

/// Set at the start of the session, so that RESET ALL brings them back. `bedplate.direct` tells a direct
/// connection from one through a pooler, which refuses or drops it.
fn options(lock_timeout: Option<Duration>) -> String {
    let timeout = lock_timeout.map(|timeout| format!(" -c lock_timeout={}", timeout.as_millis()));
    format!("{DIRECT} -c statement_timeout=0 -c idle_in_transaction_session_timeout=0{}", timeout.unwrap_or_default())
}

/// Asks the server to look whether the client is still there. An option as the others, for a statement would set it on
/// a pooler's connection, for whoever has that next.
const CLIENT_CHECK: &str = " -c client_connection_check_interval=1000";

async fn connect(url: &DatabaseUrl, lock_timeout: Option<Duration>) -> Result<Client> {
    let set = |config: &mut tokio_postgres::Config, check: &str| {
        let own = config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
        // A statement may set a value anew, as the caller's timeout beside the URL's: the last one holds.
        config.application_name("bedplate migrate").options(format!("{own}{}{check}", options(lock_timeout)));
    };
    let connected = match open(url, &Plainly, |config| set(config, CLIENT_CHECK)).await {
        // Not every platform of a server can look.
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
            open(url, &Plainly, |config| set(config, "")).await
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
