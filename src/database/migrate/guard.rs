//! What keeps a dry run from changing the server: each statement is looked at before it runs and behind it.
//!
//! Always holds: what [`changes_server`] recognises is not sent. Everything else runs behind a savepoint. Where the
//! shared catalogues, seen from inside of the transaction, differ from what others see, the statement is rolled back.
//! Both times it is recorded.
//!
//! The comparison needs no moment before: a difference between inside and outside can only be uncommitted work of this
//! transaction. What others commit between the two looks is in one comparison and not in the next.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::error::SqlState;

use super::Options;
use super::server_wide::{changes_server, irrevocable, may_change_server, role_made};
use super::session::Session;
use super::shared::lines;
use super::statement::Statement;
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result};

/// Why such a statement is not executed.
pub(super) const CHANGES_SERVER: &str = "changes the server";

type Sent<T> = std::result::Result<T, tokio_postgres::Error>;

/// The guard of one scratch database.
pub(super) struct Guard {
    /// Sees what is committed.
    outside: Session,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Since [`Guard::take`].
    skipped: Vec<Skipped>,
    /// Roles that are missing because a statement was not executed, and that statement.
    missing: Vec<(String, String)>,
    /// Functions that do what no rollback takes back.
    functions: BTreeSet<String>,
    /// Tables with triggers that call them.
    tables: BTreeSet<String>,
}

/// A statement that was not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) line: usize,
    /// Its beginning, in one line.
    pub(super) statement: String,
    pub(super) reason: String,
}

/// Sends a statement of a migration, behind the session's guard where it has one.
pub(super) async fn send(session: &Session, statement: &Statement) -> Sent<()> {
    attempt(session, statement).await.map(|_| ())
}

/// The same, and returns why the statement was not executed.
pub(super) async fn attempt(session: &Session, statement: &Statement) -> Sent<Option<String>> {
    match &session.guard {
        Some(guard) => guard.attempt(session, statement).await,
        None => session.send(&statement.sql).await.map(|()| None),
    }
}

/// Sends a batch of a statement, and returns how many rows it changed.
pub(super) async fn count(session: &Session, sql: &str, line: usize) -> Sent<u64> {
    let Some(guard) = &session.guard else { return session.count(sql).await };
    session.send("BEGIN").await?;
    let counted = async {
        let rows = session.count(sql).await?;
        Ok((rows, guard.changed(session).await?))
    };
    match counted.await {
        Ok((rows, changed)) if changed.is_empty() => session.send("COMMIT").await.map(|()| rows),
        Ok(_) => {
            session.send("ROLLBACK").await?;
            let statement = "a batch".to_owned();
            guard.seen().skipped.push(Skipped { line, statement, reason: CHANGES_SERVER.to_owned() });
            Ok(0)
        }
        Err(error) => {
            session.send("ROLLBACK").await?;
            Err(error)
        }
    }
}

impl Guard {
    /// For the scratch database of this URL.
    pub(super) async fn open(url: &DatabaseUrl) -> Result<Arc<Self>> {
        let outside = Session::open(url, Options::default().lock_timeout).await?;
        Ok(Arc::new(Self { outside, seen: Mutex::default() }))
    }

    /// What was not executed since the last call.
    pub(super) fn take(&self) -> Vec<Skipped> {
        std::mem::take(&mut self.seen().skipped)
    }

    /// The error with its cause, where that is a statement that was not executed.
    pub(super) fn explain(&self, error: Error) -> Error {
        let Error::Migration { name, message } = error else { return error };
        let because = self.because(&message);
        Error::Migration { name, message: format!("{message}{because}") }
    }

    /// What to add to a failure of a migration.
    fn because(&self, message: &str) -> String {
        let seen = self.seen();
        let role = seen.missing.iter().find(|(role, _)| message.contains(&format!("\"{role}\"")));
        match (role, seen.skipped.last()) {
            (Some((role, maker)), _) => format!(
                "; a dry run changes no server, so it did not execute {maker}, which makes the role {role}: make the role \
                 on this server first, or use --scratch private"
            ),
            (None, Some(Skipped { line, statement, .. })) => format!(
                "; a dry run changes no server, so it did not execute line {line} ({statement}): if that is the reason, \
                 use --scratch private"
            ),
            (None, None) => String::new(),
        }
    }

    /// Sends a statement, or records why not, and returns that.
    async fn attempt(&self, session: &Session, statement: &Statement) -> Sent<Option<String>> {
        let reason = if changes_server(statement) || self.is_tainted(statement) {
            Some(CHANGES_SERVER.to_owned())
        } else if runs_no_code(statement) || (only_defines(statement) && !has_event_triggers(session).await?) {
            session.send(&statement.sql).await?;
            None
        } else {
            match session.send("SAVEPOINT bedplate_dry_run").await {
                Ok(()) => self.inside(session, statement).await?,
                Err(error) if error.code() == Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION) => {
                    self.outside(session, statement).await?
                }
                Err(error) => return Err(error),
            }
        };
        match &reason {
            Some(reason) => self.record(statement, reason),
            None => self.learn(statement),
        }
        Ok(reason)
    }

    /// Behind a savepoint of the transaction.
    async fn inside(&self, session: &Session, statement: &Statement) -> Sent<Option<String>> {
        session.send(&statement.sql).await?;
        let mut changed = self.changed(session).await?;
        if changed.is_empty() {
            changed = self.deferred(session).await?;
        }
        if changed.is_empty() {
            session.send("RELEASE bedplate_dry_run").await?;
            return Ok(None);
        }
        session.send("ROLLBACK TO bedplate_dry_run; RELEASE bedplate_dry_run").await?;
        self.miss(&changed, statement);
        Ok(Some(CHANGES_SERVER.to_owned()))
    }

    /// What triggers change that wait for COMMIT: they are fired for a moment.
    async fn deferred(&self, session: &Session) -> Sent<Vec<String>> {
        let triggers = "SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable AND NOT tgisinternal LIMIT 1";
        if session.try_rows(triggers).await?.is_empty() {
            return Ok(Vec::new());
        }
        session.send("SAVEPOINT bedplate_deferred").await?;
        // A constraint that does not hold yet says nothing of the server.
        let changed = match session.send("SET CONSTRAINTS ALL IMMEDIATE").await {
            Ok(()) => self.changed(session).await?,
            Err(_) => Vec::new(),
        };
        session.send("ROLLBACK TO bedplate_deferred; RELEASE bedplate_deferred").await?;
        Ok(changed)
    }

    /// In a transaction of its own, where PostgreSQL allows that.
    async fn outside(&self, session: &Session, statement: &Statement) -> Sent<Option<String>> {
        session.send("BEGIN; SAVEPOINT bedplate_dry_run").await?;
        match self.inside(session, statement).await {
            Ok(reason) => {
                session.send("COMMIT").await?;
                Ok(reason)
            }
            Err(error) => {
                session.send("ROLLBACK").await?;
                if refuses_transaction(&error) { self.alone(session, statement).await } else { Err(error) }
            }
        }
    }

    /// Outside of any transaction: what it does cannot be taken back.
    async fn alone(&self, session: &Session, statement: &Statement) -> Sent<Option<String>> {
        let is = |word: &str| statement.words.first().is_some_and(|first| first == word);
        let hides = if is("DO") {
            may_change_server(&statement.sql)
        } else if is("CALL") {
            let bodies = session
                .try_rows(
                    "SELECT prosrc FROM pg_proc WHERE pronamespace <> 'pg_catalog'::regnamespace AND prolang <> 12",
                )
                .await?;
            bodies.iter().filter_map(|row| row.get(0)).any(may_change_server)
        } else {
            false
        };
        if hides {
            return Ok(Some(format!("{ENDS_TRANSACTIONS}, and may change the server")));
        }
        session.send(&statement.sql).await?;
        Ok(None)
    }

    /// What this session's transaction has changed of the server, as lines with `+` or `-`.
    async fn changed(&self, session: &Session) -> Sent<Vec<String>> {
        const LOOKS: usize = 4;
        let mut changed: Option<HashSet<String>> = None;
        for _ in 0..LOOKS {
            let (inside, outside) = futures_util::future::try_join(lines(session), lines(&self.outside)).await?;
            let more = inside.difference(&outside).map(|line| format!("+ {line}"));
            let less = outside.difference(&inside).map(|line| format!("- {line}"));
            let now: HashSet<String> = more.chain(less).collect();
            let both: HashSet<String> = match changed {
                Some(before) => before.intersection(&now).cloned().collect(),
                None => now,
            };
            if both.is_empty() {
                return Ok(Vec::new());
            }
            changed = Some(both);
        }
        let mut changed: Vec<_> = changed.unwrap_or_default().into_iter().collect();
        changed.sort();
        Ok(changed)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, statement: &Statement, reason: &str) {
        let mut seen = self.seen();
        if let Some(role) = role_made(statement) {
            seen.missing.push((role, named(statement)));
        }
        seen.skipped.push(Skipped { line: statement.line, statement: shown(statement), reason: reason.to_owned() });
    }

    /// The roles that a statement made before it was rolled back.
    fn miss(&self, changed: &[String], statement: &Statement) {
        let made = changed.iter().filter_map(|line| line.strip_prefix("+ role ")?.split(": ").next());
        self.seen().missing.extend(made.map(|role| (role.to_owned(), named(statement))));
    }

    /// A function that does what no rollback takes back is made, but not called.
    fn learn(&self, statement: &Statement) {
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        if words.first() != Some(&"CREATE") {
            return;
        }
        let name = |behind: &[&str]| {
            let at = words.iter().position(|word| behind.contains(word))?;
            let name = words.get(at + 1..)?.split(|word| *word == "(").next()?;
            name.iter().take_while(|word| !["FOR", "FROM", "NOT", "REFERENCING"].contains(word)).last().copied()
        };
        if words.iter().take(4).any(|word| ["FUNCTION", "PROCEDURE"].contains(word)) {
            let function = name(&["FUNCTION", "PROCEDURE"]).filter(|_| irrevocable(&statement.sql));
            self.seen().functions.extend(function.map(str::to_owned));
        } else if words.contains(&"TRIGGER") {
            let mut seen = self.seen();
            let table = name(&["ON"]).filter(|_| mentions(statement, &seen.functions));
            seen.tables.extend(table.map(str::to_owned));
        }
    }

    /// Whether it may call what no rollback takes back, by itself or by a trigger.
    fn is_tainted(&self, statement: &Statement) -> bool {
        let seen = self.seen();
        let has = |word: &str| statement.words.iter().any(|found| found == word);
        match statement.words.first().map_or("", String::as_str) {
            "ALTER" | "DROP" | "COMMENT" | "GRANT" | "REVOKE" => false,
            "CREATE" => (has("AS") || has("INDEX")) && !only_defines(statement) && mentions(statement, &seen.functions),
            _ => mentions(statement, &seen.functions) || mentions(statement, &seen.tables),
        }
    }
}

fn mentions(statement: &Statement, names: &BTreeSet<String>) -> bool {
    let block = statement.words.first().is_some_and(|word| word == "DO").then(|| statement.sql.to_uppercase());
    let words =
        |block: &str, name: &str| block.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name);
    names.iter().any(|name| {
        statement.words.contains(name) || block.as_ref().is_some_and(|block| words(block, &name.to_uppercase()))
    })
}

/// Why a statement that ends its transaction is not measured.
pub(super) const ENDS_TRANSACTIONS: &str = "ends transactions itself";

/// Whether PostgreSQL wants the statement outside of a transaction.
pub(super) fn refuses_transaction(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::ACTIVE_SQL_TRANSACTION) || ends_transactions(error)
}

/// Whether the statement wanted to end its transaction.
pub(super) fn ends_transactions(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INVALID_TRANSACTION_TERMINATION)
}

/// Statements of the session and of the transaction: they run nobody's code, and some of them want no savepoint before.
pub(super) fn runs_no_code(statement: &Statement) -> bool {
    const FIRST: [&str; 13] = [
        "SET",
        "RESET",
        "SHOW",
        "BEGIN",
        "START",
        "COMMIT",
        "END",
        "SAVEPOINT",
        "RELEASE",
        "ROLLBACK",
        "DISCARD",
        "DEALLOCATE",
        "UNLISTEN",
    ];
    statement.words.first().is_some_and(|word| FIRST.contains(&word.as_str()))
}

/// Statements that run nobody's code but that of event triggers; most of a migration are such.
fn only_defines(statement: &Statement) -> bool {
    let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
    matches!(
        words.as_slice(),
        ["COMMENT" | "GRANT" | "REVOKE", ..]
            | ["CREATE", "FUNCTION" | "PROCEDURE" | "TRIGGER" | "POLICY" | "VIEW", ..]
            | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE" | "TRIGGER" | "VIEW", ..]
    )
}

async fn has_event_triggers(session: &Session) -> Sent<bool> {
    Ok(!session.try_rows("SELECT FROM pg_catalog.pg_event_trigger LIMIT 1").await?.is_empty())
}

/// Its beginning, without a password.
pub(super) fn shown(statement: &Statement) -> String {
    let text = statement.excerpt();
    match text.to_ascii_uppercase().find("PASSWORD '") {
        Some(at) => format!("{}…", &text[..at + "PASSWORD ".len()]),
        None => text,
    }
}

fn named(statement: &Statement) -> String {
    format!("line {} ({})", statement.line, shown(statement))
}
