//! Which of the errors are about the way to the server, its load or its neighbours, and not about the work itself.

use std::fmt;

use super::{Error, WaitedFor};

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
    /// Each connection of the pool was in use for as long as one waits for it.
    PoolExhausted,
}

impl Fault {
    /// Whether the same transaction may succeed when it is run again soon. Who has waited for a lock, a statement or a
    /// connection has waited already, and would only add to what it waited for.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::ConnectionLost | Self::TooManyConnections | Self::ReadOnly | Self::Serialization | Self::Deadlock => {
                true
            }
            Self::LockTimeout | Self::StatementTimeout | Self::PoolExhausted => false,
        }
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
        const TOO_MANY: [&str; 3] = ["too many clients", "remaining connection slots", "too many connections for"];
        Some(match self {
            Self::Unavailable { message } if TOO_MANY.iter().any(|words| message.contains(words)) => {
                Fault::TooManyConnections
            }
            Self::Unavailable { .. } => Fault::ConnectionLost,
            Self::ReadOnly { .. } => Fault::ReadOnly,
            Self::Contention { message } if message.starts_with("deadlock") => Fault::Deadlock,
            Self::Contention { .. } => Fault::Serialization,
            Self::Timeout { waited_for: WaitedFor::Lock } => Fault::LockTimeout,
            Self::Timeout { waited_for: WaitedFor::Statement } => Fault::StatementTimeout,
            Self::Timeout { waited_for: WaitedFor::Connection } => Fault::PoolExhausted,
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
