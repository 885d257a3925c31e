//! The outbox: messages to the outside, written in the transaction of what they tell and published by relays.
//!
//! ```text
//! open ──claim──▶ leased ──the sink takes it──▶ published ──(7 days)──▶ deleted
//!   ▲               │
//!   ├──it fails─────┤  after a growing pause
//!   ├──lease over───┘
//!   └──replay── dead ◀── hopeless, or too many attempts
//! ```
//! At least once: a message that is published may come again; `docs/outbox.md` says when.

pub mod claim;
pub mod message;
pub mod queue;
pub mod relay;
pub mod replay;
pub mod retry;
pub mod settle;
pub mod sink;
pub mod status;

pub use claim::{OutboxClaim, OutboxClaimed};
pub use message::{NewOutboxEvent, OutboxEvent, OutboxEventId, OutboxRepository};
pub use queue::OutboxQueue;
pub use relay::{Relay, RelayOptions, Relayed};
pub use replay::Replay;
pub use retry::RetryPolicy;
pub use settle::{Outcome, Settlement};
pub use sink::{Sink, SinkError};
pub use status::OutboxStatus;
