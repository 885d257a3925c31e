//! How far replicas are behind, in time.
//!
//! A standby knows when its last transaction was committed, which after a quiet hour is an hour ago, and its clock may
//! differ. So the primary's position is written down twice a second: a replica's lag is the age of the first position
//! that it has not reached. That is at most half a second too little, and never too much.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Database;
use super::probe::Probe;
use super::replica::{FLUSHED, REPLAYED, WalPosition};
use super::url::DatabaseUrl;
use crate::error::Result;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// Positions are remembered for ten minutes; a replica that is further behind is behind by that much.
const REMEMBERED: usize = 1_200;

/// How a replica stands.
#[derive(Debug, Clone)]
pub(super) enum ReplicaState {
    /// Nobody has asked yet.
    Unknown,
    /// It does not answer.
    Down(String),
    /// It answers.
    Up {
        /// The age of what it shows.
        lag: Duration,
        /// The log that it has not replayed.
        behind: u64,
    },
}

/// Asks for as long as it lives.
pub(super) struct LagWatch {
    states: Arc<Mutex<BTreeMap<String, ReplicaState>>>,
    watching: Option<JoinHandle<()>>,
}

impl LagWatch {
    pub(super) fn begin(database: Database, at_most: Duration) -> Self {
        let unknown = database.replicas.iter().map(|replica| (replica.name().to_owned(), ReplicaState::Unknown));
        let states: BTreeMap<_, _> = unknown.collect();
        let has_replicas = !states.is_empty();
        let states = Arc::new(Mutex::new(states));
        let watching = has_replicas.then(|| tokio::spawn(watch(database, states.clone(), at_most)));
        Self { states, watching }
    }

    /// By the replicas' names.
    pub(super) fn states(&self) -> Vec<(String, ReplicaState)> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().map(|(name, state)| (name.clone(), state.clone())).collect()
    }
}

impl Drop for LagWatch {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

async fn watch(database: Database, states: Arc<Mutex<BTreeMap<String, ReplicaState>>>, at_most: Duration) {
    let (probe, mut passed) = (Probe::default(), Passed::default());
    let replicas: Vec<_> = database.replicas.iter().map(|replica| (replica, Probe::default())).collect();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Where the primary does not answer, the last position is the newest that is known.
        if let Ok(Some(position)) = position(&probe, database.config.url(), FLUSHED, at_most).await {
            passed.note(position, Instant::now());
        }
        join_all(replicas.iter().map(|(replica, probe)| {
            let (states, passed) = (&states, &passed);
            async move {
                let state = match position(probe, replica.url(), REPLAYED, at_most).await {
                    Ok(Some(reached)) => {
                        let (lag, behind) = passed.since(reached, Instant::now());
                        ReplicaState::Up { lag, behind }
                    }
                    Ok(None) => ReplicaState::Down("it is no standby any more".to_owned()),
                    Err(error) => ReplicaState::Down(error.to_string()),
                };
                states.lock().unwrap_or_else(PoisonError::into_inner).insert(replica.name().to_owned(), state);
            }
        }))
        .await;
    }
}

async fn position(probe: &Probe, url: &DatabaseUrl, sql: &str, at_most: Duration) -> Result<Option<WalPosition>> {
    let rows = probe.ask(url, sql, at_most).await?;
    Ok(rows.first().and_then(|row| row.get(0)).and_then(|text| text.parse().ok()))
}

/// When the primary had come how far.
#[derive(Default)]
struct Passed(VecDeque<(Instant, WalPosition)>);

impl Passed {
    fn note(&mut self, position: WalPosition, at: Instant) {
        // After a failover to a standby that had not got everything, or a restore, the log begins again further down.
        if self.0.back().is_some_and(|(_, last)| *last > position) {
            self.0.clear();
        }
        // Of a position that stays, the first time counts.
        if self.0.back().is_none_or(|(_, last)| *last < position) {
            self.0.push_back((at, position));
        }
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// For how long there has been something that is not replayed, and how much it is by now.
    fn since(&self, reached: WalPosition, now: Instant) -> (Duration, u64) {
        let missing = self.0.iter().find(|(_, position)| *position > reached);
        let lag = missing.map(|(at, _)| now.saturating_duration_since(*at)).unwrap_or_default();
        (lag, self.0.back().map_or(0, |(_, newest)| newest.bytes_since(reached)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_age_of_the_first_position_that_was_not_reached() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let position = |text: &str| text.parse::<WalPosition>().unwrap();
        let mut passed = Passed::default();
        for (second, reached) in [(0, "0/100"), (1, "0/100"), (2, "0/200"), (3, "0/300")] {
            passed.note(position(reached), at(second));
        }
        assert_eq!(passed.since(position("0/300"), at(9)), (Duration::ZERO, 0));
        assert_eq!(passed.since(position("0/400"), at(9)), (Duration::ZERO, 0));
        assert_eq!(passed.since(position("0/200"), at(9)), (Duration::from_secs(6), 0x100));
        assert_eq!(passed.since(position("0/150"), at(9)), (Duration::from_secs(7), 0x1B0));
        // The log begins again further down: what was above is forgotten.
        let mut after_failover = Passed(passed.0.clone());
        after_failover.note(position("0/180"), at(10));
        assert_eq!(after_failover.since(position("0/180"), at(11)), (Duration::ZERO, 0));
        // An hour in which nothing was written is no lag.
        assert_eq!(passed.since(position("0/300"), at(3600)), (Duration::ZERO, 0));
    }
}
