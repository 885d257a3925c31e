//! Events: what happened, in order. A store with Dynamic Consistency Boundaries (<https://dcb.events>), streams of
//! aggregates on the same table, and subscriptions that skip nothing.
//!
//! Everything goes through one SQL function, `append_events()`, for clients of every language; INSERT is granted to
//! nobody else.
//! `docs/events.md` shows how to use it; here is why it is right. Each claim names its test.
//!
//! # A condition that held when it was checked holds when its events get their positions
//!
//! Two appends are at odds when an event of one matches the condition of the other. The condition's append locks, of
//! each item, one tag exclusively (without tags its types, without both the tenant); the event's append locks its
//! tags, its type and its tenant in shared mode. So both have one lock in common, and one of them comes first:
//!
//! ```text
//! t0  A appends under "no other event with course:1", and locks course:1 exclusively
//! t1  B appends an event with course:1, and waits for the shared lock
//! t2  A looks for events with course:1 that it had not seen, finds none, draws position 7, commits
//! t3  B has the lock, draws position 8: after A's event, as A decided
//! ```
//! Had B been first, A would have waited at t0, and its look at t2, a statement with a snapshot younger than the
//! lock, would have found B's event (the tests `event_conditions::`). Locks are taken in one order over all appends, so
//! they are not waited for in a circle; a later append of one transaction, which may need one that comes before those
//! that it holds, does not wait but fails with a serialization failure, and `tenant_tx` runs it again.
//!
//! # A token, and not a position, says what was seen
//!
//! ```text
//! t0  A appends with course:1, draws position 7, does not commit yet
//! t1  B appends with student:2, draws position 8, commits
//! t2  C reads course:1 and student:2: it sees 8, and not 7
//! t3  A commits
//! t4  C appends under "nothing after 8": 7 is not after 8, and it was not seen
//! ```
//! C's token holds a snapshot from just before t2 instead, in which A had not committed, and C is refused (the test
//! `event_races::a_lower_position_that_commits_later_is_not_overlooked`). Below the token's head every append has ended, so the look at t4
//! does not go further back. The token holds for one life of the server: transaction ids of another one, after a dump
//! and restore or a failover, say nothing.
//!
//! # Readers up to the head miss nothing
//!
//! ```text
//! t0  A announces "my positions are greater than 6": a shared advisory lock whose key says 6
//! t1  A draws position 7
//! t2  B announces 7, draws 8, commits
//! t3  a reader looks at the last position, 8, and then at the announcements: 6. The head is 6
//! t4  A commits; then its announcement ends
//! t5  a reader finds 8 and no announcement: in a later statement it reads 7 and 8
//! ```
//! What is drawn after a reader's look at the last position is greater than that. What was drawn before was announced
//! before: either the announcement is still there, and the head is below it, or its transaction has ended, and a later
//! statement sees what it wrote (the test `event_subscriptions::an_append_under_way_is_not_skipped`). A tenant's
//! readers look at its own announcements, and nobody at other transactions
//! (`event_subscriptions::a_transaction_that_is_not_concerned_is_not_waited_for`).

pub mod append;
pub mod decision;
pub mod event;
pub mod handler;
pub mod list;
pub mod projection;
pub mod query;
pub mod read;
mod record;
mod share;
pub mod stored;
pub mod stress;
pub mod subscriber;
pub mod subscription;
pub mod typed;

pub use append::{AppendCondition, AppendConflict, EventRepository, EventToken, ExpectedVersion, Stream};
pub use decision::{Decided, Decision};
pub use event::{Event, EventId, NewEvent, tag};
pub use handler::{EventHandler, EventSink, SubscriptionScope};
pub use list::EventFilter;
pub use projection::Projection;
pub use query::{EventQuery, QueryItem};
pub use read::{ReadFrom, Seen};
pub use stored::{Resume, SubscriptionDifference};
pub use subscriber::{Subscriber, Turn};
pub use subscription::{PartitionBy, Subscription, SubscriptionLag};
pub use typed::Upcasters;
