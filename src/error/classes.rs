//! Which SQLSTATE becomes which error: the only place that classifies what the database says.
//!
//! docs/errors.md has the same as a table, and `error_classes::each_sqlstate_becomes_what_the_page_says` raises them all.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind as Kind, Error as Diesel};

use super::{Error, Fault, Resource, SchemaViolation, WaitedFor};
use crate::database::wire;
use crate::validation::UNREADABLE;

/// In a transaction of a [`Database`](crate::Database) by the SQLSTATE; of a statement that failed because one before
/// it had, by that one's. Elsewhere diesel hands no SQLSTATE on: an error without a kind of diesel's is recognised by its English
/// words.
impl From<Diesel> for Error {
    fn from(error: Diesel) -> Self {
        match error {
            Diesel::DatabaseError(kind, info) => match wire::said(&*info) {
                Some(said) => classify(said.code(), kind, Box::new((*said).clone())),
                None => classify(code_of(kind, info.message()), kind, info),
            },
            Diesel::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            Diesel::BrokenTransactionManager => Self::Unavailable { message: "the connection broke".into() },
            other => Self::Database(other),
        }
    }
}

fn classify(code: &str, kind: Kind, info: Box<dyn DatabaseErrorInformation + Send + Sync>) -> Error {
    let message = info.message().to_owned();
    let constraint = info.constraint_name().unwrap_or_default();
    let field = || {
        let named = info.column_name().map(str::to_owned);
        named.unwrap_or_else(|| field_of(constraint, info.table_name().unwrap_or_default()))
    };
    let value = |wrong: &str| Error::invalid("value", wrong);
    match code {
        // Constraints.
        "23001" if constraint == "user_organizations_last_owner" => Error::LastOwner,
        "23503" if !message.starts_with("update or delete") => {
            Error::invalid(field(), "refers to a row that does not exist")
        }
        "23000" | "23001" | "23503" | "23505" | "23P01" | "40002" => {
            Error::Conflict { constraint: constraint.to_owned(), field: field() }
        }
        "23502" => Error::invalid(field(), "is missing"),
        "23514" if constraint == "form_submissions_data_valid" => {
            Error::DataInvalid { violations: violations_of(info.details()) }
        }
        "23514" if constraint.ends_with("_json") => Error::invalid(field(), UNREADABLE),
        "23514" if constraint.ends_with("_time") => Error::invalid(field(), "is a time outside of the years 1 to 9999"),
        "23514" => Error::invalid(field(), format!("is not allowed ({constraint})")),
        "44000" => value("is not allowed by the view"),
        // Values.
        "22001" => value("is too long"),
        "22003" => value("is too large"),
        "22008" => value("is a time or a duration that is too large"),
        "22007" | "22P02" | "22P03" => value("cannot be read"),
        "22021" | "22P05" => value("holds a character that PostgreSQL cannot store (NUL)"),
        // append_events() leaves it to PostgreSQL to say so, of the second event and later ones.
        "22023" if message == "argument of jsonb_populate_recordset must be an array of objects" => {
            Error::invalid("events", "is not allowed (events_events_check)")
        }
        _ if code.starts_with("22") => Error::invalid("value", format!("is not allowed: {message}")),
        _ if code.starts_with("54") => Error::invalid("value", format!("is too large or too deep: {message}")),
        "BP001" => match info.details().and_then(|detail| serde_json::from_str(detail).ok()) {
            Some(conflict) => Error::AppendConflict { conflict },
            None => Error::Database(Diesel::DatabaseError(kind, info)),
        },
        // Other transactions.
        "40003" => Error::CommitUnknown,
        // In the words by which the fault is told.
        "40P01" if !message.starts_with("deadlock") => Error::Contention { message: format!("deadlock: {message}") },
        "72000" => Error::Contention { message },
        _ if code.starts_with("40") => Error::Contention { message },
        "55P03" if message.starts_with("canceling statement") => Error::Timeout { waited_for: WaitedFor::Lock },
        "55P03" | "55006" => Error::Locked { message },
        "57014" if message.ends_with("statement timeout") => Error::Timeout { waited_for: WaitedFor::Statement },
        // Before PostgreSQL 9.3, and of some poolers.
        "57014" if message.ends_with("lock timeout") => Error::Timeout { waited_for: WaitedFor::Lock },
        "57000" | "57014" => Error::Cancelled { message },
        "25006" => Error::ReadOnly { message },
        "25P02" => Error::Aborted,
        "25P03" | "25P04" => Error::Timeout { waited_for: WaitedFor::Closure },
        "0A000" if message.starts_with("cached plan must not change result type") => Error::SchemaChanged { message },
        // The way to the server, and the server.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => Error::Unavailable { message },
        // In the words by which the fault is told.
        "53300" if Fault::is_too_many(&message) => Error::Unavailable { message },
        "53300" => Error::Unavailable { message: format!("too many connections for the server: {message}") },
        _ if code.starts_with("08") => Error::Unavailable { message },
        "42501" => Error::Forbidden { message },
        "3D000" => Error::Configuration { message },
        _ if code.starts_with("28") => Error::Configuration { message },
        "53100" => Error::OutOfResources { what: Resource::Disk, message },
        "53200" => Error::OutOfResources { what: Resource::Memory, message },
        _ if code.starts_with("53") => Error::OutOfResources { what: Resource::Limit, message },
        _ if ["58", "F0", "XX"].iter().any(|class| code.starts_with(class)) => Error::ServerFailed { message },
        _ => Error::Database(Diesel::DatabaseError(kind, info)),
    }
}

/// The SQLSTATE, as far as diesel and the message tell it; empty where neither does.
fn code_of(kind: Kind, message: &str) -> &'static str {
    match kind {
        Kind::UniqueViolation => "23505",
        Kind::ExclusionViolation => "23P01",
        Kind::RestrictViolation => "23001",
        Kind::ForeignKeyViolation => "23503",
        Kind::NotNullViolation => "23502",
        Kind::CheckViolation => "23514",
        Kind::SerializationFailure => "40001",
        Kind::ReadOnlyTransaction => "25006",
        Kind::ClosedConnection => "08006",
        _ => code_of_message(message),
    }
}

fn code_of_message(message: &str) -> &'static str {
    const BEGINS: [(&str, &str); 27] = [
        ("connection closed", "08006"),
        ("error communicating with the server", "08006"),
        ("terminating connection", "57P01"),
        ("the database system is", "57P03"),
        ("server closed the connection", "08006"),
        ("sorry, too many clients already", "53300"),
        ("remaining connection slots are reserved", "53300"),
        ("too many connections for", "53300"),
        // What PgBouncer says of a server that went away under a transaction, does not come back, or went while its
        // connection was made ready for another client; and of a client that got none.
        ("server conn crashed", "08P01"),
        ("server login has been failing", "08P01"),
        ("server login failed", "08P01"),
        ("pgbouncer cannot connect to server", "08P01"),
        ("invalid server parameter", "08P01"),
        ("query_wait_timeout", "08P01"),
        ("client_login_timeout", "08P01"),
        ("append condition failed", "BP001"),
        ("deadlock detected", "40P01"),
        ("canceling statement due to lock timeout", "55P03"),
        ("canceling statement due to", "57014"),
        ("current transaction is aborted", "25P02"),
        ("permission denied", "42501"),
        ("new row violates row-level security", "42501"),
        ("value too long for type", "22001"),
        ("invalid input syntax for type", "22P02"),
        ("argument of jsonb_populate_recordset must be an array", "22023"),
        ("invalid byte sequence", "22021"),
        ("unsupported Unicode escape sequence", "22P05"),
    ];
    if message == "numeric field overflow" || message.contains(" is out of range for type ") {
        return "22003";
    }
    let found = BEGINS.iter().find(|(begin, _)| message.starts_with(begin));
    found.map_or("", |(_, code)| code)
}

/// The trigger of form submissions lists its violations in the error's DETAIL.
pub(super) fn violations_of(detail: Option<&str>) -> Vec<SchemaViolation> {
    let listed = detail.and_then(|detail| serde_json::from_str::<Vec<SchemaViolation>>(detail).ok());
    listed.filter(|violations| !violations.is_empty()).unwrap_or_else(|| {
        vec![SchemaViolation {
            instance_path: String::new(),
            schema_path: String::new(),
            keyword: String::new(),
            message: "is refused, and the database's list of reasons cannot be read".into(),
            params: serde_json::Map::new(),
        }]
    })
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
