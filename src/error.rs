//! What can go wrong: one error type, with a variant wherever a caller branches.
//!
//! Always holds: an error that leaves a transaction means that nothing of it was written, except
//! [`Error::CommitUnknown`], where nobody can know, and [`Error::TransactionEnded`], where the closure itself committed.
//! No error shows a password or a URL with one. docs/errors.md lists which SQLSTATE becomes which error.

mod classes;
mod fault;

use std::fmt;

use crate::database::migrate::Problem;
use crate::events::{AppendConflict, SubscriptionDifference};
use crate::ids::{Entity, Id};

pub use classes::field_of;
pub use fault::Fault;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such row, or it is another tenant's, or it is deleted.
    #[error("{entity} {id} does not exist")]
    NotFound {
        /// The table's name in the singular.
        entity: &'static str,
        /// What was looked for: an id, an e-mail, a slug.
        id: String,
    },
    /// The write contradicts a row that is there: a unique key is taken, or the row is still referred to.
    #[error("{field} is in conflict with another row ({constraint})")]
    Conflict {
        /// The constraint's name in the database.
        constraint: String,
        /// The column it is about.
        field: String,
    },
    /// The input breaks rules.
    #[error("{}", join(violations))]
    Invalid {
        /// Every rule that the input breaks, never empty.
        violations: Vec<Violation>,
    },
    /// The data does not match the form.
    #[error("the data does not match the form: {}", join_schema_violations(violations))]
    DataInvalid {
        /// What does not match, sorted, at most 100, never empty.
        violations: Vec<SchemaViolation>,
    },
    /// Somebody else changed the row since it was read. Read it again, and decide again.
    #[error("{entity} {id} was changed meanwhile: version {expected} was expected, {found} is there")]
    StaleVersion {
        /// The table's name in the singular.
        entity: &'static str,
        /// The row's id.
        id: String,
        /// The version that the caller had read.
        expected: i32,
        /// The version that the row has.
        found: i32,
    },
    /// The row's state does not allow the action.
    #[error("{entity} {id} is {state}: {action} is not possible")]
    WrongState {
        /// The table's name in the singular.
        entity: &'static str,
        /// The row's id.
        id: String,
        /// The state that it is in.
        state: String,
        /// What was asked for.
        action: &'static str,
    },
    /// An append came up against an event that its decision had not seen. Read again, and decide again.
    #[error("append condition failed: {conflict}")]
    AppendConflict {
        /// What it came up against.
        conflict: AppendConflict,
    },
    /// A subscription of this name is stored with another query or other partitions: events would be skipped.
    #[error(
        "subscription {name} is stored otherwise: {}; keep what is stored, take another name, or change the query on \
             purpose (change_subscription)",
        join_differences(differences)
    )]
    SubscriptionDiffers {
        /// The subscription's name.
        name: String,
        /// What differs, never empty.
        differences: Vec<SubscriptionDifference>,
    },
    /// The endpoint asked for no more messages. Nothing is sent to it until somebody starts it again.
    #[error(
        "the endpoint {endpoint} is stopped since {} ({reason}); `bedplate outbox start --id {id}` starts it again",
        since.format("%Y-%m-%d %H:%M:%S UTC")
    )]
    EndpointStopped {
        /// For people, without path and query.
        endpoint: String,
        /// What it is started by.
        id: String,
        /// When it was stopped.
        since: chrono::DateTime<chrono::Utc>,
        /// What it had answered.
        reason: String,
    },
    /// The last owner of an organization stays: make another member owner first, or delete the organization.
    #[error("the last owner of an organization stays: make another member owner first")]
    LastOwner,
    /// The lease ran out and another worker took the work over, or it is finished. Stop working on it.
    #[error("{of}: the lease is lost")]
    LeaseLost {
        /// What was leased.
        of: String,
    },
    /// Who signs in is unknown, the password is wrong, or the user is not active: which, is not told.
    #[error("the name or the password is wrong")]
    Unauthenticated,
    /// The role or the policies of the database refuse it.
    #[error("not allowed: {message}")]
    Forbidden {
        /// What the database said.
        message: String,
    },
    /// It took too long.
    #[error("{waited_for} took too long")]
    Timeout {
        /// What took too long.
        waited_for: WaitedFor,
    },
    /// Other transactions got in the way (serialization failure or deadlock), at every attempt.
    #[error("other transactions got in the way: {message}")]
    Contention {
        /// What the database said.
        message: String,
    },
    /// The server cannot be reached, or the connection broke before COMMIT.
    #[error("the database is unavailable: {message}")]
    Unavailable {
        /// What the driver said.
        message: String,
    },
    /// The server lets nobody write: it is a standby, or has become one.
    #[error("the server is read-only: {message}")]
    ReadOnly {
        /// What the database said.
        message: String,
    },
    /// The connection broke during COMMIT: the transaction is written entirely or not at all.
    #[error("the connection broke during COMMIT: whether it was written is not known")]
    CommitUnknown,
    /// A lock is held by another transaction, and the statement said NOWAIT; or the object is in use.
    #[error("locked: {message}")]
    Locked {
        /// What the database said.
        message: String,
    },
    /// An operator cancelled the statement (`pg_cancel_backend`).
    #[error("the statement was cancelled: {message}")]
    Cancelled {
        /// What the database said.
        message: String,
    },
    /// The server has no more of something: disk space, memory, or what its configuration allows.
    #[error("the server is out of {what}: {message}")]
    OutOfResources {
        /// What is used up.
        what: Resource,
        /// What the database said.
        message: String,
    },
    /// The server cannot read or write its files, found them damaged, or has a fault of its own.
    #[error("the server failed: {message}")]
    ServerFailed {
        /// What the database said.
        message: String,
    },
    /// A migration changed what a prepared statement returns. The connection is replaced; the work can run again.
    #[error("a table was changed meanwhile: {message}")]
    SchemaChanged {
        /// What the database said.
        message: String,
    },
    /// The closure ended its transaction with COMMIT or ROLLBACK of its own. What it wrote before COMMIT is written.
    #[error("the closure ended its transaction itself, with COMMIT or ROLLBACK")]
    TransactionEnded,
    /// A statement failed, the closure swallowed its error and returned `Ok`. Nothing was written.
    #[error("a statement of the transaction failed and its error was swallowed: nothing was written")]
    Aborted,
    /// The closure of a transaction let its handle out, to a task or in its result. Nothing was written.
    #[error("the transaction's handle was let out of its closure: nothing was written")]
    HandleEscaped,
    /// The configuration cannot work: a wrong URL, an unknown login, a database without migrations.
    #[error("{message}")]
    Configuration {
        /// What is wrong, and what to do about it.
        message: String,
    },
    /// The server has no database of this name.
    #[error(
        "{url}: there is no database {database:?}; `bedplate up` makes it where the login may (CREATEDB), or an \
             administrator does: CREATE DATABASE … OWNER …"
    )]
    NoDatabase {
        /// Without its password.
        url: String,
        /// Its name.
        database: String,
    },
    /// A migration failed.
    #[error("migration {name} failed: {message}; mend it and run `bedplate migrate` again")]
    Migration {
        /// Its directory's name.
        name: String,
        /// What the database or the file system said.
        message: String,
    },
    /// The files of migrations are not what was applied: one was edited, or comes too late. Nothing was run.
    #[error("{}; nothing was run", join_problems(problems))]
    Drift {
        /// What differs, never empty.
        problems: Vec<Problem>,
    },
    /// A seed file failed, or the rows do not fit together. Nothing of any file was written.
    #[error("seeds: {message}; nothing was written")]
    Seed {
        /// Which file or rule, and what the database said.
        message: String,
    },
    /// Something was looked at and is not as it should be: see what was printed.
    #[error("{count} found: {advice}")]
    Findings {
        /// How many things.
        count: usize,
        /// What to do.
        advice: &'static str,
    },
    /// A row of a bulk load is wrong. Nothing of the load was written.
    #[error("row {row}: {error}; nothing was loaded")]
    Row {
        /// Which one: 1 for the first.
        row: u64,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// A file or process of this machine: seeds, migrations, the private server.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Anything else that the database said.
    #[error("{0}")]
    Database(#[source] diesel::result::Error),
}

/// One rule that the input breaks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// The column or field.
    pub field: String,
    /// What is wrong with it, for people.
    pub message: String,
}

/// One place where data do not match a JSON Schema. It shows no value of the data, only names of properties.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchemaViolation {
    /// JSON Pointer into the data; empty: all of it.
    pub instance_path: String,
    /// JSON Pointer into the schema; into another document: its URI, `#`, and a pointer.
    pub schema_path: String,
    /// Which rule of the schema: `required`, `maxLength`.
    pub keyword: String,
    /// What is wrong, for people.
    pub message: String,
    /// The same for programs, by the names of AJV: `missingProperty`, `limit`. Values are those of the schema; of the
    /// data there are names of properties and indexes of items.
    #[serde(default)]
    pub params: serde_json::Map<String, serde_json::Value>,
}

impl SchemaViolation {
    /// What tells violations of one keyword at one place apart: one other property that asks for the missing one, or
    /// one meaning of a `$dynamicRef`.
    fn apart(&self) -> [String; 3] {
        ["property", "passingSchemas", "limit"].map(|name| match self.params.get(name) {
            Some(serde_json::Value::String(text)) => text.clone(),
            // As PostgreSQL writes it.
            Some(serde_json::Value::Array(items)) => {
                format!("[{}]", items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Some(value) if !value.is_null() => value.to_string(),
            _ => String::new(),
        })
    }
}

impl Ord for SchemaViolation {
    /// As `json_schema_violations()` sorts.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |violation: &Self| (violation.apart(), serde_json::to_string(&violation.params).unwrap_or_default());
        (&self.instance_path, &self.schema_path, &self.keyword, &self.message)
            .cmp(&(&other.instance_path, &other.schema_path, &other.keyword, &other.message))
            .then_with(|| key(self).cmp(&key(other)))
    }
}

impl PartialOrd for SchemaViolation {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What a [`Error::Timeout`] waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitedFor {
    /// A connection of the pool: all are in use.
    Connection,
    /// A statement (`statement_timeout`).
    Statement,
    /// A lock (`lock_timeout`).
    Lock,
    /// A replica that is behind. Reads do not end with this: they go to the primary.
    Replica,
    /// A stream of rows that the transaction does not read, while another of its statements waits behind it.
    Stream,
    /// The closure, between two statements (`idle_in_transaction_session_timeout`, `transaction_timeout`).
    Closure,
}

/// What a server can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Disk space.
    Disk,
    /// Memory.
    Memory,
    /// Something else that its configuration limits.
    Limit,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk space",
            Self::Memory => "memory",
            Self::Limit => "resources",
        })
    }
}

impl fmt::Display for WaitedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "waiting for a connection of the pool",
            Self::Statement => "a statement",
            Self::Lock => "waiting for a lock",
            Self::Replica => "waiting for a replica",
            Self::Stream => "waiting behind a stream of rows that is not read",
            Self::Closure => "the work between two statements",
        })
    }
}

impl Error {
    /// There is no such row.
    #[must_use]
    pub fn not_found<E: Entity>(id: Id<E>) -> Self {
        Self::NotFound { entity: E::NAME, id: id.to_string() }
    }

    /// One rule is broken.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { violations: vec![Violation { field: field.into(), message: message.into() }] }
    }

    pub(crate) fn wrong_state<E: Entity>(id: Id<E>, state: impl fmt::Display, action: &'static str) -> Self {
        Self::WrongState { entity: E::NAME, id: id.to_string(), state: state.to_string(), action }
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::Configuration { message: message.into() }
    }

    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

fn join(violations: &[Violation]) -> String {
    let each: Vec<_> = violations.iter().map(|v| format!("{} {}", v.field, v.message)).collect();
    each.join("; ")
}

fn join_schema_violations(violations: &[SchemaViolation]) -> String {
    let each: Vec<_> = violations.iter().map(|v| format!("{} {}", v.instance_path, v.message)).collect();
    each.join("; ")
}

fn join_differences(differences: &[SubscriptionDifference]) -> String {
    let each: Vec<_> = differences.iter().map(SubscriptionDifference::to_string).collect();
    each.join("; ")
}

fn join_problems(problems: &[Problem]) -> String {
    let each: Vec<_> =
        problems.iter().map(|problem| format!("migration {} {}", problem.name, problem.message)).collect();
    each.join("; ")
}

#[cfg(test)]
mod tests;
