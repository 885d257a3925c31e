//! Where messages go.

use std::time::Duration;

use super::endpoint::Endpoint;
use super::message::OutboxEvent;

/// Takes messages to the outside: a webhook, a broker.
///
/// It is given the messages of an entity one after the other, those of different entities side by side (but a dead letter
/// that is brought back may come beside a later one of its entity that is under way). A message may
/// come more than once: when its worker dies, or hears of the success too late. Receivers know it again by its
/// tenant and [`event_id`](OutboxEvent::event_id); see [`process_once`](crate::TenantTx::process_once).
pub trait Sink: Send + Sync + 'static {
    /// Delivers a message. The future is dropped where it takes longer than
    /// [`RelayOptions::timeout`](super::RelayOptions::timeout).
    fn publish(&self, message: &OutboxEvent) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Where its messages go, where that can be stopped by [`SinkError::Gone`]. While it is stopped, nothing is claimed
    /// for this sink.
    fn endpoint(&self) -> Option<&Endpoint> {
        None
    }
}

/// Why a message was not delivered. The text is stored with the message: no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Another attempt may succeed.
    #[error("{message}")]
    Retry {
        /// What happened.
        message: String,
        /// Not before: what the receiver asked for.
        after: Option<Duration>,
    },
    /// No attempt will: the message is dead at once.
    #[error("{message}")]
    Hopeless {
        /// What happened.
        message: String,
    },
    /// The endpoint wants no messages any more: it is stopped, and the message stays open. Without an
    /// [endpoint](Sink::endpoint) it is tried again.
    #[error("{message}")]
    Gone {
        /// What happened.
        message: String,
    },
}

impl SinkError {
    /// Another attempt may succeed.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry { message: message.into(), after: None }
    }

    /// The endpoint wants no messages any more.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::Gone { message: message.into() }
    }

    /// No attempt will succeed.
    pub fn hopeless(message: impl Into<String>) -> Self {
        Self::Hopeless { message: message.into() }
    }
}
