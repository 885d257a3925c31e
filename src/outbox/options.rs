//! How a relay works, and what it has done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::retry::RetryPolicy;
use super::settle::{Outcome, Settlement};
use crate::error::Result;
use crate::validation::Check;

/// How a relay works.
#[derive(Debug, Clone)]
pub struct RelayOptions {
    /// Who claims: shown in `claimed_by`. 1 to 255 characters.
    pub worker: String,
    /// At most so many messages are claimed at a time, 1 to 10,000, and at most four times as many are claimed and not
    /// settled.
    pub batch: u16,
    /// So many entities' messages are at the sink side by side.
    pub in_flight: usize,
    /// For so long a message is claimed; what was not handed to the sink by then is let go.
    pub lease: Duration,
    /// So long the sink may take for a message; at most half of the lease.
    pub timeout: Duration,
    /// Without a notification it looks this often.
    pub poll: Duration,
    /// When a message that failed is tried again.
    pub retry: RetryPolicy,
}

impl Default for RelayOptions {
    fn default() -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        Self {
            worker: format!("{host}:{}:{:08x}", std::process::id(), rand::random::<u32>()),
            batch: 500,
            in_flight: 64,
            lease: Duration::from_mins(1),
            timeout: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            retry: RetryPolicy::default(),
        }
    }
}

impl RelayOptions {
    pub(super) fn check(&self) -> Result<()> {
        let mut check = Check::default();
        if !(1..=10_000).contains(&self.batch) {
            check.add("batch", format!("is {}, allowed are 1 to 10000", self.batch));
        }
        // What is left of the lease when the claim has committed has to be enough for the sink.
        if self.timeout < Duration::from_millis(1) {
            check.add("timeout", "is less than a millisecond".into());
        }
        if self.timeout > self.lease / 2 {
            check.add("timeout", "is more than half of the lease".into());
        }
        check.finish()
    }
}

/// What a relay has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Relayed {
    /// Messages that the sink took.
    pub published: u64,
    /// Failures that are tried again.
    pub retried: u64,
    /// Messages that were given up.
    pub dead: u64,
    /// Messages that were settled too late: another worker had taken them over.
    pub lost: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; 4]);

impl Counters {
    pub(super) fn add(&self, settled: &[Settlement], recorded: usize) {
        let count = |n: usize, number: usize| self.0[n].fetch_add(number as u64, Ordering::Relaxed);
        for settlement in settled {
            match settlement.outcome {
                Outcome::Published => count(0, 1),
                Outcome::Retry { .. } => count(1, 1),
                Outcome::Dead { .. } => count(2, 1),
                Outcome::Stopped { .. } | Outcome::Released => continue,
            };
        }
        count(3, settled.len().saturating_sub(recorded));
    }

    pub(super) fn read(&self) -> Relayed {
        let [published, retried, dead, lost] = [0, 1, 2, 3].map(|n: usize| self.0[n].load(Ordering::Relaxed));
        Relayed { published, retried, dead, lost }
    }
}
