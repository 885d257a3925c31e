//! What can go wrong: one error type, with a variant wherever a caller branches.
//!
//! Always holds: an error that leaves a transaction means that nothing of it was written, except
//! [`Error::CommitUnknown`], where nobody can know. No error shows a password or a URL with one.

mod fault;

use std::fmt;

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};

use crate::database::migrate::Problem;
use crate::events::AppendConflict;
use crate::ids::{Entity, Id};

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

/// One place where data do not match a JSON Schema. It shows no value of the data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
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
}

impl fmt::Display for WaitedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "waiting for a connection of the pool",
            Self::Statement => "a statement",
            Self::Lock => "waiting for a lock",
            Self::Replica => "waiting for a replica",
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

fn join_problems(problems: &[Problem]) -> String {
    let each: Vec<_> =
        problems.iter().map(|problem| format!("migration {} {}", problem.name, problem.message)).collect();
    each.join("; ")
}

/// The only place that classifies what the database says.
///
/// diesel-async does not hand the SQLSTATE on, so what diesel has no kind for is told by its English
/// message: servers run with `lc_messages = 'C'` (`bedplate up` and the compose file see to it, and
/// [`crate::Database::connect`] warns).
impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::Error as Diesel;
        match error {
            Diesel::DatabaseError(kind, info) => classify(kind, info),
            Diesel::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            Diesel::BrokenTransactionManager => Self::Unavailable { message: "the connection broke".into() },
            other => Self::Database(other),
        }
    }
}

fn classify(kind: DatabaseErrorKind, info: Box<dyn DatabaseErrorInformation + Send + Sync>) -> Error {
    use DatabaseErrorKind as Kind;
    let message = info.message();
    let constraint = || info.constraint_name().unwrap_or_default().to_owned();
    let field = || {
        let named = info.column_name().map(str::to_owned);
        named.unwrap_or_else(|| {
            field_of(info.constraint_name().unwrap_or_default(), info.table_name().unwrap_or_default())
        })
    };
    match kind {
        Kind::RestrictViolation if info.constraint_name() == Some("user_organizations_last_owner") => Error::LastOwner,
        Kind::UniqueViolation | Kind::ExclusionViolation | Kind::RestrictViolation => {
            Error::Conflict { constraint: constraint(), field: field() }
        }
        Kind::ForeignKeyViolation if message.starts_with("update or delete") => {
            Error::Conflict { constraint: constraint(), field: field() }
        }
        Kind::ForeignKeyViolation => Error::invalid(field(), "refers to a row that does not exist"),
        Kind::NotNullViolation => Error::invalid(field(), "is missing"),
        Kind::CheckViolation if info.constraint_name() == Some("form_submissions_data_valid") => {
            Error::DataInvalid { violations: violations_of(info.details()) }
        }
        Kind::CheckViolation => Error::invalid(field(), format!("is not allowed ({})", constraint())),
        Kind::SerializationFailure => Error::Contention { message: message.to_owned() },
        Kind::ReadOnlyTransaction => Error::ReadOnly { message: message.to_owned() },
        Kind::ClosedConnection => Error::Unavailable { message: message.to_owned() },
        _ => classify_message(kind, info),
    }
}

/// The trigger of form submissions lists its violations in the error's DETAIL.
fn violations_of(detail: Option<&str>) -> Vec<SchemaViolation> {
    let listed = detail.and_then(|detail| serde_json::from_str::<Vec<SchemaViolation>>(detail).ok());
    listed.filter(|violations| !violations.is_empty()).unwrap_or_else(|| {
        vec![SchemaViolation {
            instance_path: String::new(),
            schema_path: String::new(),
            keyword: String::new(),
            message: "is refused, and the database's list of reasons cannot be read".into(),
        }]
    })
}

fn classify_message(kind: DatabaseErrorKind, info: Box<dyn DatabaseErrorInformation + Send + Sync>) -> Error {
    const LOST: [&str; 15] = [
        "connection closed",
        "error communicating with the server",
        "terminating connection",
        "the database system is",
        "server closed the connection",
        "sorry, too many clients already",
        "remaining connection slots are reserved",
        "too many connections for",
        // What PgBouncer says of a server that went away under a transaction, does not come back, or went while its
        // connection was made ready for another client; and of a client that got none.
        "server conn crashed",
        "server login has been failing",
        "server login failed",
        "pgbouncer cannot connect to server",
        "invalid server parameter",
        "query_wait_timeout",
        "client_login_timeout",
    ];
    let message = info.message();
    if LOST.iter().any(|lost| message.starts_with(lost)) {
        return Error::Unavailable { message: message.to_owned() };
    }
    if message.starts_with("append condition failed")
        && let Some(conflict) = info.details().and_then(|detail| serde_json::from_str(detail).ok())
    {
        return Error::AppendConflict { conflict };
    }
    match message {
        "deadlock detected" => Error::Contention { message: message.to_owned() },
        "canceling statement due to statement timeout" => Error::Timeout { waited_for: WaitedFor::Statement },
        "canceling statement due to lock timeout" => Error::Timeout { waited_for: WaitedFor::Lock },
        m if m.starts_with("current transaction is aborted") => Error::Aborted,
        m if m.starts_with("permission denied") || m.starts_with("new row violates row-level security") => {
            Error::Forbidden { message: m.to_owned() }
        }
        m if m.starts_with("value too long for type") => Error::invalid("value", "is too long"),
        m if m.starts_with("invalid input syntax for type") => Error::invalid("value", "cannot be read"),
        // append_events() leaves it to PostgreSQL to say so, of the second event and later ones.
        "argument of jsonb_populate_recordset must be an array of objects" => {
            Error::invalid("events", "is not allowed (events_events_check)")
        }
        m if m == "numeric field overflow" || m.contains(" is out of range for type ") => {
            Error::invalid("value", "is too large")
        }
        m if m.starts_with("invalid byte sequence") || m.starts_with("unsupported Unicode escape sequence") => {
            Error::invalid("value", "holds a character that PostgreSQL cannot store (NUL)")
        }
        _ => Error::Database(diesel::result::Error::DatabaseError(kind, info)),
    }
}

/// The column that a constraint is about, by the naming rule `<table>_<column>_<suffix>`
/// (a suffix is one word, or `open_key`). The test `catalogue::constraint_names` holds it to the schema.
#[doc(hidden)]
#[must_use]
pub fn field_of(constraint: &str, table: &str) -> String {
    if constraint.ends_with("_pkey") {
        return "id".to_owned();
    }
    // A partition's constraints have the name of its parent, which its own begins with.
    let parents = std::iter::successors(Some(table), |name| name.rsplit_once('_').map(|(parent, _)| parent));
    let rest = parents.filter(|name| !name.is_empty()).find_map(|name| constraint.strip_prefix(name));
    let rest = rest.unwrap_or(constraint).trim_start_matches('_');
    let column = rest.strip_suffix("_open_key").or_else(|| rest.rsplit_once('_').map(|(column, _)| column));
    column.unwrap_or(rest).to_owned()
}

#[cfg(test)]
mod tests;
