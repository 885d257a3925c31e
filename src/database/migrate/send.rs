//! Sending one statement of a migration, and what is said when it fails.

use tokio_postgres::error::SqlState;

use super::observe::Observer;
use super::script::Script;
use super::session::Session;
use super::statement::Statement;
use super::{Event, Watcher};
use crate::database::connect::words;

/// Why a statement, or what surrounds it, failed.
pub(super) struct Failure {
    pub(super) error: tokio_postgres::Error,
    /// Counted from 0; `None` where it was BEGIN, COMMIT or the history.
    pub(super) statement: Option<usize>,
}

impl Failure {
    /// Whether the same may work a moment later: a lock was not to be had, or two transactions got in each
    /// other's way.
    pub(super) fn is_about_locks(&self) -> bool {
        const PASSING: [SqlState; 3] =
            [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
        self.error.code().is_some_and(|code| PASSING.contains(code))
    }

    /// File, line, statement, what the server said, what to do.
    pub(super) fn explain(&self, script: &Script, statements: &[Statement]) -> String {
        let said = self.said();
        let Some((n, statement)) = self.statement.and_then(|n| Some((n, statements.get(n)?))) else {
            return format!("{}: recording it: {said}", script.file);
        };
        let line = match self.error.as_db_error().and_then(|said| said.position()) {
            Some(tokio_postgres::error::ErrorPosition::Original(character)) => statement.line_at(*character),
            _ => statement.line,
        };
        let of = statements.len();
        format!("{} line {line}, statement {} of {of} ({}): {said}", script.file, n + 1, statement.excerpt())
    }

    fn said(&self) -> String {
        let mut said = words(&self.error);
        if let Some(error) = self.error.as_db_error() {
            for (what, text) in [("", error.detail()), ("hint: ", error.hint())] {
                if let Some(text) = text {
                    said = format!("{said}; {what}{text}");
                }
            }
        }
        match self.error.code().and_then(advice) {
            Some(advice) => format!("{said}; {advice}"),
            None => said,
        }
    }
}

fn advice(code: &SqlState) -> Option<&'static str> {
    const CONTRADICTS: &str = "rows that are there contradict it: mend them in a migration before";
    Some(match *code {
        SqlState::ACTIVE_SQL_TRANSACTION => "put `run_in_transaction = false` into its metadata.toml",
        SqlState::INSUFFICIENT_PRIVILEGE => "the login of the URL must own what it changes",
        SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_OBJECT | SqlState::DUPLICATE_COLUMN => {
            "something else made it: drop it, or declare the migration applied with `bedplate migrate baseline`"
        }
        SqlState::UNIQUE_VIOLATION
        | SqlState::FOREIGN_KEY_VIOLATION
        | SqlState::CHECK_VIOLATION
        | SqlState::NOT_NULL_VIOLATION => CONTRADICTS,
        SqlState::DISK_FULL => "the server's disk is full",
        _ => return None,
    })
}

/// Sends the nth statement and watches it.
pub(super) async fn send(
    session: &Session,
    observer: &mut Observer,
    statements: &[Statement],
    n: usize,
    on_event: Watcher<'_>,
) -> Result<(), Failure> {
    let statement = &statements[n];
    on_event(Event::Statement { number: n + 1, of: statements.len(), text: statement.excerpt() });
    observer.watch(session.send(&statement.sql), on_event).await.map_err(|error| Failure { error, statement: Some(n) })
}

/// Sends a statement that stands outside of any transaction. Where it builds an index, none is left INVALID: what an
/// interrupted build left is dropped before, what this one leaves is dropped after.
///
/// `repeated`: the runner before may have sent it, and been killed before it could record that.
pub(super) async fn send_alone(
    session: &Session,
    observer: &mut Observer,
    statements: &[Statement],
    n: usize,
    repeated: bool,
    on_event: Watcher<'_>,
) -> Result<(), Failure> {
    let statement = &statements[n];
    let failed = |error| Failure { error, statement: Some(n) };
    let index = statement.concurrent_index();
    if let Some(index) = &index {
        let valid = names(session, &index.query(true)).await.map_err(failed)?;
        if repeated && index.name.is_some() && !valid.is_empty() {
            return Ok(());
        }
        for invalid in names(session, &index.query(false)).await.map_err(failed)? {
            drop_index(session, observer, &invalid, on_event).await.map_err(failed)?;
        }
    }
    // It blocks nobody while it waits for older transactions, and a timeout would leave an INVALID index.
    let patience = if statement.is_concurrent() { "SET lock_timeout = 0" } else { "RESET lock_timeout" };
    session.send(patience).await.map_err(failed)?;
    let sent = send(session, observer, statements, n, on_event).await;
    if let (Err(_), Some(index)) = (&sent, &index) {
        for invalid in names(session, &index.query(false)).await.unwrap_or_default() {
            // Its own error says less than the statement's. The next run tries it again.
            let _ = drop_index(session, observer, &invalid, on_event).await;
        }
    }
    if let Err(Failure { error, .. }) = &sent
        && repeated
        && statement.words.first().is_some_and(|word| word == "DROP")
        && error.code() == Some(&SqlState::UNDEFINED_OBJECT)
    {
        return Ok(());
    }
    sent
}

async fn names(session: &Session, query: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    Ok(session.try_rows(query).await?.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect())
}

async fn drop_index(
    session: &Session,
    observer: &mut Observer,
    index: &str,
    on_event: Watcher<'_>,
) -> Result<(), tokio_postgres::Error> {
    on_event(Event::Working { how: format!("dropping the INVALID index {index} of an interrupted build") });
    session.send("SET lock_timeout = 0").await?;
    observer.watch(session.send(&format!("DROP INDEX CONCURRENTLY {index}")), on_event).await
}
