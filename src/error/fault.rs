//! Which of the errors are about the way to the server, its load or its neighbours, and not about the work itself.

use std::fmt;

use super::{Error, Resource, WaitedFor};

/// What was in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The server is gone, or the connection to it.
    ConnectionLost,
    /// It has no connection to give: `max_connections`, or a limit of the role or the database.
    TooManyConnections,
    /// It lets nobody write: a standby, or a primary that has become one.
    ReadOnly,
    /// Another transaction has changed what this one had read.
    Serialization,
    /// Two transactions waited for each other.
    Deadlock,
    /// A lock did not come within `lock_timeout`.
    LockTimeout,
    /// A statement took longer than `statement_timeout`.
    StatementTimeout,
    /// A lock was not free, and the statement did not want to wait (NOWAIT).
    Locked,
    /// An operator cancelled the statement.
    Cancelled,
    /// The disk is full.
    DiskFull,
    /// The server has no memory left.
    OutOfMemory,
    /// Another limit of the server's configuration is reached.
    LimitReached,
    /// The server has a fault of its own: I/O, damaged files, an internal error.
    ServerFailed,
    /// A migration changed what a prepared statement returns.
    SchemaChanged,
    /// A statement waited behind a stream of rows that was not read.
    StreamUnread,
    /// The closure took too long between two statements.
    IdleInTransaction,
    /// Each connection of the pool was in use for as long as one waits for it.
    PoolExhausted,
}

impl Fault {
    /// Whether the same transaction may succeed when it is run again soon. Who has waited for a lock, a statement or a
    /// connection has waited already, and would only add to what it waited for.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::ConnectionLost
            | Self::TooManyConnections
            | Self::ReadOnly
            | Self::Serialization
            | Self::Deadlock
            | Self::SchemaChanged => true,
            Self::LockTimeout
            | Self::StatementTimeout
            | Self::Locked
            | Self::Cancelled
            | Self::DiskFull
            | Self::OutOfMemory
            | Self::LimitReached
            | Self::ServerFailed
            | Self::StreamUnread
            | Self::IdleInTransaction
            | Self::PoolExhausted => false,
        }
    }

    pub(super) fn is_too_many(message: &str) -> bool {
        const WORDS: [&str; 3] = ["too many clients", "remaining connection slots", "too many connections for"];
        WORDS.iter().any(|words| message.contains(words))
    }

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionLost => "connection_lost",
            Self::TooManyConnections => "too_many_connections",
            Self::ReadOnly => "read_only",
            Self::Serialization => "serialization",
            Self::Deadlock => "deadlock",
            Self::LockTimeout => "lock_timeout",
            Self::StatementTimeout => "statement_timeout",
            Self::Locked => "locked",
            Self::Cancelled => "cancelled",
            Self::DiskFull => "disk_full",
            Self::OutOfMemory => "out_of_memory",
            Self::LimitReached => "limit_reached",
            Self::ServerFailed => "server_failed",
            Self::SchemaChanged => "schema_changed",
            Self::StreamUnread => "stream_unread",
            Self::IdleInTransaction => "idle_in_transaction",
            Self::PoolExhausted => "pool_exhausted",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// What was in the way, where that is what the error tells.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        Some(match self {
            Self::Unavailable { message } if Fault::is_too_many(message) => Fault::TooManyConnections,
            Self::Unavailable { .. } => Fault::ConnectionLost,
            Self::ReadOnly { .. } => Fault::ReadOnly,
            Self::Contention { message } if message.starts_with("deadlock") => Fault::Deadlock,
            Self::Contention { .. } => Fault::Serialization,
            Self::Timeout { waited_for: WaitedFor::Lock } => Fault::LockTimeout,
            Self::Timeout { waited_for: WaitedFor::Statement } => Fault::StatementTimeout,
            Self::Timeout { waited_for: WaitedFor::Connection } => Fault::PoolExhausted,
            Self::Timeout { waited_for: WaitedFor::Stream } => Fault::StreamUnread,
            Self::Timeout { waited_for: WaitedFor::Closure } => Fault::IdleInTransaction,
            Self::Locked { .. } => Fault::Locked,
            Self::Cancelled { .. } => Fault::Cancelled,
            Self::OutOfResources { what: Resource::Disk, .. } => Fault::DiskFull,
            Self::OutOfResources { what: Resource::Memory, .. } => Fault::OutOfMemory,
            Self::OutOfResources { what: Resource::Limit, .. } => Fault::LimitReached,
            Self::ServerFailed { .. } => Fault::ServerFailed,
            Self::SchemaChanged { .. } => Fault::SchemaChanged,
            // Timeout of a replica: the primary is read instead.
            _ => return None,
        })
    }

    /// Whether the same transaction may succeed when it is run again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.fault().is_some_and(Fault::is_transient)
    }
}
