//! Events: what happened, in order.

pub mod append;
pub mod decision;
pub mod event;
pub mod list;
pub mod query;
pub mod read;
mod record;
pub mod typed;

pub use append::{AppendCondition, AppendConflict, EventRepository, EventToken, ExpectedVersion, Stream};
pub use decision::{Decided, Decision};
pub use event::{Event, EventId, NewEvent, tag};
pub use list::EventFilter;
pub use query::{EventQuery, QueryItem};
pub use read::{ReadFrom, Seen};
pub use typed::Upcasters;
