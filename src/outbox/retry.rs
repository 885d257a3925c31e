//! When a message that failed is tried again.

use std::borrow::Cow;
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The schedule of <https://www.standardwebhooks.com>: ten attempts in a little more than three days.
const STANDARD: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(5 * HOUR),
    Duration::from_secs(10 * HOUR),
    Duration::from_secs(14 * HOUR),
    Duration::from_secs(20 * HOUR),
    Duration::from_secs(24 * HOUR),
];

/// A receiver that asks for a longer pause is not believed: the entity's messages would wait as long.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Pauses between the attempts. Each is up to a fifth shorter or longer: what failed together does not come back
/// together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause after the first failure, after the second, and so on; after the last one it is repeated. Without any,
    /// a message is tried again at once.
    pub pauses: Cow<'static, [Duration]>,
    /// Number of failures after which a message is dead.
    pub max_attempts: i32,
}

impl Default for RetryPolicy {
    /// The schedule of Standard Webhooks: after 5 seconds, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours.
    fn default() -> Self {
        Self { pauses: Cow::Borrowed(&STANDARD), max_attempts: 10 }
    }
}

impl RetryPolicy {
    /// The pause after this many failures; `None`: no further attempt.
    pub(super) fn pause(&self, failures: i32, at_least: Option<Duration>) -> Option<Duration> {
        if failures >= self.max_attempts {
            return None;
        }
        let jitter = 0.8 + 0.4 * rand::random::<f64>();
        Some(self.scheduled(failures).mul_f64(jitter).max(at_least.unwrap_or_default().min(MAX_RETRY_AFTER)))
    }

    fn scheduled(&self, failures: i32) -> Duration {
        let number = usize::try_from(failures.max(1) - 1).unwrap_or_default();
        self.pauses.get(number).or(self.pauses.last()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_that_of_standard_webhooks() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (1..policy.max_attempts).map(|failures| policy.scheduled(failures)).collect();
        assert_eq!(pauses, STANDARD);
        let days = STANDARD.iter().sum::<Duration>().as_secs_f64() / 86_400.0;
        assert!((3.0..4.0).contains(&days), "{days}");
        assert_eq!(policy.pause(policy.max_attempts, None), None);
    }

    #[test]
    fn pauses_differ_by_a_fifth_and_the_last_is_repeated() {
        let seconds = |seconds| Duration::from_secs(seconds);
        let policy = RetryPolicy { pauses: vec![seconds(1), seconds(10)].into(), max_attempts: i32::MAX };
        for failures in [2, 3, 1000, i32::MAX - 1] {
            let pauses: Vec<_> = (0..1000).map(|_| policy.pause(failures, None).unwrap()).collect();
            assert!(pauses.iter().all(|pause| (seconds(8)..=seconds(12)).contains(pause)));
            let mean = (pauses.iter().sum::<Duration>() / 1000).as_secs_f64();
            assert!((9.5..10.5).contains(&mean), "{mean}");
            assert!(pauses.iter().min() < Some(&seconds(9)) && pauses.iter().max() > Some(&seconds(11)));
        }
        let at_once = RetryPolicy { pauses: vec![].into(), max_attempts: 2 };
        assert_eq!((at_once.pause(1, None), at_once.pause(2, None)), (Some(Duration::ZERO), None));
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_up_to_an_hour() {
        let policy = RetryPolicy::default();
        assert!(policy.pause(1, Some(Duration::from_secs(30))) >= Some(Duration::from_secs(30)));
        assert_eq!(policy.pause(1, Some(Duration::from_hours(48))), Some(Duration::from_hours(1)));
    }
}
