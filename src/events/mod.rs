//! Events: what happened, in order.

pub mod append;
pub mod decision;
pub mod event;
pub mod handler;
pub mod projection;
pub mod query;
pub mod read;
mod share;
pub mod stress;
pub mod subscriber;
pub mod subscription;
pub mod typed;

pub use append::{AppendCondition, AppendConflict, EventRepository, EventToken, ExpectedVersion, Stream};
pub use decision::{Decided, Decision};
pub use event::{Event, EventId, NewEvent, tag};
pub use handler::{EventHandler, EventSink, SubscriptionScope};
pub use projection::Projection;
pub use query::{EventQuery, QueryItem};
pub use read::{ReadFrom, Seen};
pub use subscriber::{Subscriber, Turn};
pub use subscription::{PartitionBy, Subscription, SubscriptionLag};
pub use typed::Upcasters;
