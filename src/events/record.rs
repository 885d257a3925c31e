//! Recording: what the other domains do, as events of the same transaction.
//!
//! Always holds: an event is there exactly if what it tells was committed. A domain's statement calls
//! `append_events()` for the rows that it has written, so what was refused leaves no event; and it comes last, so
//! that the locks of the append are held for a short time.

use serde_json::Value;

use super::append::EventRepository;
use super::event::{MAX_EVENTS, NewEvent, to_json};
use crate::database::Channel;
use crate::error::Result;

impl EventRepository<'_> {
    /// What `append_events()` takes: for a statement that calls it itself, which costs no round trip. Subscribers
    /// are woken at the commit, also where the statement found nothing to record.
    pub(crate) fn to_record(self, event: NewEvent) -> Result<Value> {
        self.tx.wake_on_commit(Channel::Events);
        to_json(&[self.with_user(event)], self.user_id())
    }

    /// Appends any number; all or none of them, as the transaction goes.
    pub(crate) async fn record(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<()> {
        let events: Vec<_> = events.into_iter().map(|event| self.with_user(event)).collect();
        for chunk in events.chunks(MAX_EVENTS) {
            self.append(chunk, None).await?;
        }
        Ok(())
    }

    fn with_user(self, event: NewEvent) -> NewEvent {
        match self.tx.context().user_id() {
            Some(user) => event.tag("user", user),
            None => event,
        }
    }
}
