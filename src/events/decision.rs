//! Decisions: read what a rule depends on, decide, append under the condition that nothing came in between.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

use super::append::AppendCondition;
use super::event::{Event, NewEvent};
use super::query::EventQuery;
use crate::database::{Database, TenantContext, TenantTx};
use crate::error::{Error, Result};

/// How often a decision is made again, after others came in between.
const RETRIES: usize = 10;

/// A rule: what it depends on, and what follows.
pub trait Decision: Sync {
    /// What is known, folded from events; empty at first.
    type State: Default + Send;

    /// The events that it depends on.
    fn query(&self) -> EventQuery;

    /// Takes one of them into account.
    ///
    /// # Errors
    /// [`Error::Invalid`] for data that cannot be read.
    fn apply(&self, state: &mut Self::State, event: &Event) -> Result<()>;

    /// What happens now; nothing: an empty list.
    ///
    /// # Errors
    /// Whatever the rule refuses with: nothing is appended then.
    fn decide(&self, state: &Self::State) -> Result<Vec<NewEvent>>;
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<State> {
    /// What was known before.
    pub state: State,
    /// The positions of the events that were appended.
    pub positions: Vec<i64>,
}

impl TenantTx {
    /// Decides once, in this transaction.
    ///
    /// # Errors
    /// [`Error::AppendConflict`] where others came in between, and whatever the decision returns.
    pub async fn decide<D: Decision>(&self, decision: &D) -> Result<Decided<D::State>> {
        let query = decision.query();
        let seen = self.events().read_to_decide(&query).await?;
        let mut state = D::State::default();
        for event in &seen.events {
            decision.apply(&mut state, event)?;
        }
        let events = decision.decide(&state)?;
        let positions = if events.is_empty() {
            Vec::new()
        } else {
            let condition = AppendCondition::fail_if(query).after(seen.token);
            self.events().append(&events, Some(&condition)).await?
        };
        Ok(Decided { state, positions })
    }
}

impl Database {
    /// Decides in a transaction of its own, and again, up to ten times after pauses that grow from 5 to 200 ms,
    /// where others came in between: `decision` may be asked more than once.
    ///
    /// # Errors
    /// [`Error::AppendConflict`] where that did not help, and whatever the decision returns.
    pub async fn decide<D: Decision>(
        &self,
        name: &'static str,
        context: &TenantContext,
        decision: &D,
    ) -> Result<Decided<D::State>> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(5))
            .with_max_delay(Duration::from_millis(200))
            .with_max_times(RETRIES)
            .with_jitter()
            .build();
        loop {
            let decided = self.tenant_tx(name, context, async move |tx| tx.decide(decision).await).await;
            match (decided, pauses.next()) {
                (Err(Error::AppendConflict { .. }), Some(pause)) => tokio::time::sleep(pause).await,
                (decided, _) => return decided,
            }
        }
    }
}
