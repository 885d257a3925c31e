//! When a message that failed is tried again.

use std::time::Duration;

/// Pauses that grow, each a random part of its ceiling (full jitter): what failed together does not come back
/// together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The ceiling of the first pause; each further one is twice the one before.
    pub first: Duration,
    /// No ceiling is higher.
    pub longest: Duration,
    /// After so many failures a message is dead.
    pub max_attempts: i32,
}

impl Default for RetryPolicy {
    /// 25 attempts, which take about two hours.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_mins(15), max_attempts: 25 }
    }
}

impl RetryPolicy {
    /// The pause after this many failures; `None`: no further attempt.
    pub(super) fn pause(&self, failures: i32, at_least: Option<Duration>) -> Option<Duration> {
        if failures >= self.max_attempts {
            return None;
        }
        let ceiling = self.ceiling(failures);
        Some(ceiling.mul_f64(rand::random::<f64>()).max(at_least.unwrap_or_default().min(MAX_RETRY_AFTER)))
    }

    fn ceiling(&self, failures: i32) -> Duration {
        let doublings = u32::try_from(failures.clamp(1, 31) - 1).unwrap_or_default();
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

/// A receiver that asks for a longer pause is not believed: the entity's messages would wait as long.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_below_their_ceiling_and_end() {
        let policy = RetryPolicy { first: Duration::from_secs(1), longest: Duration::from_secs(10), max_attempts: 40 };
        let ceilings: Vec<_> = (1..=6).map(|failures| policy.ceiling(failures).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 10, 10]);
        assert_eq!(policy.ceiling(i32::MAX), Duration::from_secs(10));
        let pauses: Vec<_> = (0..1000).map(|_| policy.pause(4, None).unwrap()).collect();
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(8)));
        let mean = pauses.iter().sum::<Duration>() / 1000;
        assert!((3.0..5.0).contains(&mean.as_secs_f64()), "full jitter halves the ceiling on average: {mean:?}");
        assert_eq!(policy.pause(40, None), None);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_up_to_an_hour() {
        let policy = RetryPolicy::default();
        assert!(policy.pause(1, Some(Duration::from_secs(30))) >= Some(Duration::from_secs(30)));
        assert_eq!(policy.pause(1, Some(Duration::from_hours(48))), Some(Duration::from_hours(1)));
    }
}
