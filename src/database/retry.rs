//! When a transaction is run again: after which faults, after which pauses, and for how long in all.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use crate::error::{Error, Fault};

/// What is left of a transaction's time to try.
pub(super) struct Retries {
    until: Instant,
    pauses: ExponentialBackoff,
    /// It reads only: that nobody may write here is no reason to try again.
    read_only: bool,
}

impl Retries {
    /// From now on, for so long.
    pub(super) fn within(budget: Duration, read_only: bool) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_millis(500))
            .without_max_times()
            .with_jitter()
            .build();
        Self { until: Instant::now() + budget, pauses, read_only }
    }

    /// How long to pause before the next attempt; `None`: the error is the caller's.
    pub(super) fn next(&mut self, error: &Error) -> Option<Duration> {
        let fault = error.fault().filter(|fault| fault.is_transient())?;
        if fault == Fault::ReadOnly && self.read_only {
            return None;
        }
        self.pauses.next().filter(|pause| Instant::now() + *pause < self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Error {
        Error::Unavailable { message: "connection closed".into() }
    }

    #[test]
    fn pauses_grow_until_the_budget_is_used_up() {
        let mut retries = Retries::within(Duration::from_mins(1), false);
        let pauses: Vec<_> = (0..12).filter_map(|_| retries.next(&lost())).collect();
        assert_eq!(pauses.len(), 12);
        assert!(pauses[0] < Duration::from_millis(50) && pauses[11] >= Duration::from_millis(500), "{pauses:?}");
        assert!(Retries::within(Duration::ZERO, false).next(&lost()).is_none());
    }

    #[test]
    fn what_is_the_callers_is_not_tried_again() {
        let mut retries = Retries::within(Duration::from_mins(1), true);
        assert!(retries.next(&Error::CommitUnknown).is_none());
        assert!(retries.next(&Error::ReadOnly { message: String::new() }).is_none());
        let mut writing = Retries::within(Duration::from_mins(1), false);
        assert!(writing.next(&Error::ReadOnly { message: String::new() }).is_some());
    }
}
