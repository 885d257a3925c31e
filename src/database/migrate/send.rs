//! Sending statements of a migration, and what is said when one fails.

use tokio_postgres::error::{ErrorPosition, SqlState};

use super::guard;
use super::observe::Observer;
use super::session::Session;
use super::statement::Statement;
use super::{Event, Watcher};
use crate::database::connect::words;
use crate::error::Error;

/// Bytes of a statement that is held until its end, to show the line of a mistake.
const HELD: usize = 1 << 20;

/// Why a statement, or what surrounds it, failed.
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// `None` where it was BEGIN, COMMIT or the history.
    pub(super) at: Option<Place>,
    /// Whether the history goes on saying that the statement may have run: a part of it may have, or it could not be
    /// recorded.
    pub(super) keeps_sent: bool,
}

pub(super) enum Cause {
    Server(tokio_postgres::Error),
    /// The files, or what is found before a statement is sent.
    Other(Error),
    /// In words.
    Told(String),
}

/// Where a statement stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// From 0.
    pub(super) number: usize,
    line: usize,
    excerpt: String,
    /// Whether it stands outside of any transaction.
    alone: bool,
}

impl Place {
    pub(super) fn of(statement: &Statement, number: usize) -> Self {
        Self { number, line: statement.line, excerpt: statement.excerpt(), alone: false }
    }

    pub(super) fn excerpt(&self) -> &str {
        &self.excerpt
    }

    /// The statement in words, with its line.
    pub(super) fn words(&self, file: &str, of: usize) -> String {
        format!("{file} line {}, statement {} of {of} ({})", self.line, self.number + 1, self.excerpt)
    }

    fn with_line_of(mut self, statement: &Statement, error: &tokio_postgres::Error, before: usize) -> Self {
        if let Some(ErrorPosition::Original(character)) = error.as_db_error().and_then(|said| said.position()) {
            self.line = statement.line_at(character.saturating_sub(u32::try_from(before).unwrap_or(u32::MAX)));
        }
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { cause: Cause::Other(error), at: None, keeps_sent: false }
    }
}

/// A failure of what surrounds statements.
pub(super) fn around(error: tokio_postgres::Error) -> Failure {
    Failure { cause: Cause::Server(error), at: None, keeps_sent: false }
}

impl Failure {
    pub(super) fn of(error: tokio_postgres::Error, at: Place) -> Self {
        Self { cause: Cause::Server(error), at: Some(at), keeps_sent: false }
    }

    pub(super) fn told(message: String, at: Place) -> Self {
        Self { cause: Cause::Told(message), at: Some(at), keeps_sent: false }
    }

    fn code(&self) -> Option<&SqlState> {
        match &self.cause {
            Cause::Server(error) => error.code(),
            Cause::Other(_) | Cause::Told(_) => None,
        }
    }

    /// Whether the same may work a moment later: a lock was not to be had, or two transactions got in each
    /// other's way.
    pub(super) fn is_about_locks(&self) -> bool {
        const PASSING: [SqlState; 3] =
            [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
        self.code().is_some_and(|code| PASSING.contains(code))
    }

    /// Whether PostgreSQL refuses the statement because it stands in a transaction, before it has done anything that
    /// stays.
    pub(super) fn wants_no_transaction(&self) -> bool {
        const REFUSED: [SqlState; 2] = [SqlState::ACTIVE_SQL_TRANSACTION, SqlState::INVALID_TRANSACTION_TERMINATION];
        self.at.is_some() && self.code().is_some_and(|code| REFUSED.contains(code))
    }

    /// Whether the connection is gone, so that nobody knows what became of the statement.
    pub(super) fn is_lost(&self) -> bool {
        match &self.cause {
            Cause::Server(error) => error.code().is_none_or(|code| {
                [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT]
                    .contains(code)
            }),
            Cause::Other(_) | Cause::Told(_) => false,
        }
    }

    /// Whether the connection is gone while a statement was at work outside of any transaction.
    pub(super) fn is_lost_on_its_way(&self) -> bool {
        self.is_lost() && self.at.as_ref().is_some_and(|place| place.alone)
    }

    pub(super) fn alone(mut self) -> Self {
        self.at.iter_mut().for_each(|place| place.alone = true);
        self
    }

    /// File, line, statement, what the server said, what to do.
    pub(super) fn explain(&self, file: &str, of: usize, transaction: bool) -> String {
        let said = match &self.cause {
            Cause::Server(error) => self.said(error, transaction),
            Cause::Other(error) => return error.to_string(),
            Cause::Told(message) => message.clone(),
        };
        match &self.at {
            None => format!("{file}: recording it: {said}"),
            Some(place) => format!("{}: {said}", place.words(file, of)),
        }
    }

    fn said(&self, error: &tokio_postgres::Error, transaction: bool) -> String {
        let mut said = words(error);
        if let Some(error) = error.as_db_error() {
            for (what, text) in [("", error.detail()), ("hint: ", error.hint())] {
                if let Some(text) = text {
                    said = format!("{said}; {what}{text}");
                }
            }
        }
        let alone = self.at.as_ref().is_some_and(|place| place.alone);
        match error.code().and_then(|code| advice(code, transaction, alone)) {
            Some(advice) => format!("{said}; {advice}"),
            None => said,
        }
    }
}

fn advice(code: &SqlState, transaction: bool, alone: bool) -> Option<&'static str> {
    const CONTRADICTS: &str = "rows that are there contradict it: mend them in a migration before";
    Some(match *code {
        SqlState::ACTIVE_SQL_TRANSACTION if transaction => "put `run_in_transaction = false` into its metadata.toml",
        SqlState::INVALID_TRANSACTION_TERMINATION if transaction => {
            "it ends transactions itself (COMMIT or ROLLBACK in a procedure or a DO): put `run_in_transaction = false` into \
             its metadata.toml"
        }
        SqlState::ACTIVE_SQL_TRANSACTION | SqlState::INVALID_TRANSACTION_TERMINATION if !alone => {
            "take it out of the file's own BEGIN … COMMIT"
        }
        SqlState::INSUFFICIENT_PRIVILEGE => "the login of the URL must own what it changes",
        SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_OBJECT | SqlState::DUPLICATE_COLUMN => {
            "something else made it: drop it, or declare the migration applied with `bedplate migrate baseline`"
        }
        SqlState::UNIQUE_VIOLATION
        | SqlState::FOREIGN_KEY_VIOLATION
        | SqlState::CHECK_VIOLATION
        | SqlState::NOT_NULL_VIOLATION => CONTRADICTS,
        SqlState::UNTRANSLATABLE_CHARACTER => {
            "the database's encoding cannot hold this character: leave it out, also in comments, or make the database with \
             ENCODING 'UTF8'"
        }
        SqlState::DISK_FULL => "the server's disk is full",
        _ => return None,
    })
}

/// Sends one statement and watches it. `of`: the number of statements of the script.
pub(super) async fn send(
    session: &Session,
    observer: &mut Observer,
    mut statement: Statement,
    (number, of): (usize, usize),
    on_event: Watcher<'_>,
) -> Result<(), Failure> {
    let place = Place::of(&statement, number);
    on_event(Event::Statement { number: number + 1, of, text: place.excerpt.clone() });
    if statement.sql.len() > HELD && session.guard.is_none() {
        let sql = std::mem::take(&mut statement.sql);
        return observer.watch(session.send_and_forget(sql), on_event).await.map_err(|error| Failure::of(error, place));
    }
    let sent = observer.watch(guard::send(session, &statement), on_event).await;
    sent.map_err(|error| {
        let place = place.with_line_of(&statement, &error, 0);
        Failure::of(error, place)
    })?;
    if ["RESET", "DISCARD"].contains(&statement.first()) {
        session.ask_briefly_again().await.map_err(around)?;
    }
    Ok(())
}

/// Sends INSERTs in one message, inside of a transaction.
pub(super) async fn send_rows(
    session: &Session,
    observer: &mut Observer,
    statements: &[Statement],
    (first, of): (usize, usize),
    on_event: Watcher<'_>,
) -> Result<(), Failure> {
    if session.guard.is_some() {
        for (n, statement) in statements.iter().enumerate() {
            send(session, observer, statement.clone(), (first + n, of), on_event).await?;
        }
        return Ok(());
    }
    on_event(Event::Statement { number: first + 1, of, text: statements[0].excerpt() });
    let mut message = String::with_capacity(statements.iter().map(|statement| statement.sql.len() + 2).sum());
    for statement in statements {
        message.push_str(&statement.sql);
        message.push_str(";\n");
    }
    let sent = observer.watch(session.send_several(&message), on_event).await;
    sent.map_err(|(done, error)| {
        let statement = &statements[done.min(statements.len() - 1)];
        let before: usize = statements.iter().take(done).map(|before| before.sql.chars().count() + 2).sum();
        let place = Place::of(statement, first + done).with_line_of(statement, &error, before);
        Failure::of(error, place)
    })
}
