//! The outbox: messages to the outside, written in the transaction of what they tell and published by relays.
//!
//! ```text
//! open ──claim──▶ leased ──the sink takes it──▶ published ──(7 days)──▶ deleted
//!   ▲               │
//!   ├──it fails─────┤  after a growing pause
//!   ├──lease over───┘
//!   └──replay── dead ◀── hopeless, or too many attempts
//! ```
//! An endpoint that answers 410 is stopped: its messages stay open, and nothing is claimed for it.
//! At least once: a message that is published may come again; `docs/outbox.md` says when.

pub mod claim;
pub mod endpoint;
pub mod message;
pub mod options;
pub mod queue;
pub mod relay;
pub mod replay;
pub mod retry;
pub mod settle;
pub mod sink;
pub mod status;
mod turn;
#[cfg(feature = "webhook")]
pub mod webhook;
#[cfg(feature = "webhook")]
mod webhook_client;
#[cfg(feature = "webhook")]
pub mod webhook_signature;
mod work;

pub use claim::{OutboxClaim, OutboxClaimed};
pub use endpoint::{Endpoint, StoppedEndpoint};
pub use message::{NewOutboxEvent, OutboxEvent, OutboxEventId, OutboxRepository};
pub use options::{RelayOptions, Relayed};
pub use queue::OutboxQueue;
pub use relay::Relay;
pub use replay::Replay;
pub use retry::RetryPolicy;
pub use settle::{Outcome, Settlement};
pub use sink::{Sink, SinkError};
pub use status::OutboxStatus;
#[cfg(feature = "webhook")]
pub use webhook::Webhook;
#[cfg(feature = "webhook")]
pub use webhook_signature::{WebhookRefusal, WebhookSecret};
