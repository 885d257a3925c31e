//! What a relay has claimed, on its way through the sink: an entity's messages one after the other, those of several
//! side by side.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::claim::OutboxClaimed;
use super::message::OutboxEvent;
use super::options::RelayOptions;
use super::retry::RetryPolicy;
use super::settle::{Outcome, Settlement};
use super::sink::{Sink, SinkError};

/// Expired leases beyond the attempts of a message, after which it is given up without one more: others that were
/// claimed beside the one on which a worker died have to be tried before they are dead.
const DEATHS: i32 = 10;

/// What was claimed and is not settled.
pub(super) struct Work {
    /// Messages of one entity each, which the sink does not have yet.
    waiting: VecDeque<Group>,
    pub(super) running: JoinSet<()>,
    /// Messages whose answer has not come.
    pub(super) open: usize,
    answers: mpsc::UnboundedSender<Settlement>,
    /// Nothing more is handed to the sink.
    pub(super) stop: Arc<AtomicBool>,
}

struct Group {
    messages: Vec<OutboxEvent>,
    claim_id: uuid::Uuid,
    /// The end of the lease.
    until: Instant,
}

impl Work {
    pub(super) fn new(answers: mpsc::UnboundedSender<Settlement>) -> Self {
        Self { waiting: VecDeque::new(), running: JoinSet::new(), open: 0, answers, stop: Arc::default() }
    }

    pub(super) fn add(&mut self, claimed: OutboxClaimed, until: Instant) {
        self.open += claimed.messages.len();
        let mut places = HashMap::new();
        let mut groups: Vec<Vec<OutboxEvent>> = Vec::new();
        for message in claimed.messages {
            let place = *places.entry(message.entity()).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.push(message),
                None => groups.push(vec![message]),
            }
        }
        let claim_id = claimed.claim_id;
        self.waiting.extend(groups.into_iter().map(|messages| Group { messages, claim_id, until }));
    }

    /// Whether everything that was claimed is at the sink.
    pub(super) fn is_started(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nothing more goes to the sink: what it does not have may be claimed again at once.
    pub(super) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for group in self.waiting.drain(..) {
            for message in &group.messages {
                // Somebody listens: this is called by who does.
                let _ = self.answers.send(Settlement::new(message, group.claim_id, Outcome::Released));
            }
        }
    }

    pub(super) fn start<S: Sink>(&mut self, sink: &Arc<S>, options: &RelayOptions) {
        while self.running.try_join_next().is_some() {}
        while self.running.len() < options.in_flight.max(1)
            && let Some(group) = self.waiting.pop_front()
        {
            let (sink, answers, stop) = (sink.clone(), self.answers.clone(), self.stop.clone());
            let (timeout, retry) = (options.timeout, options.retry.clone());
            self.running.spawn(async move { group.publish(&*sink, timeout, &retry, &answers, &stop).await });
        }
    }
}

impl Group {
    /// One after the other, until one is to be tried again.
    async fn publish(
        self,
        sink: &impl Sink,
        timeout: Duration,
        retry: &RetryPolicy,
        answers: &mpsc::UnboundedSender<Settlement>,
        stop: &AtomicBool,
    ) {
        let mut held_up = false;
        for message in &self.messages {
            held_up |= stop.load(Ordering::Relaxed) || Instant::now() + timeout > self.until;
            let outcome = if held_up { Outcome::Released } else { attempt(sink, message, timeout, retry).await };
            if matches!(outcome, Outcome::Stopped { .. }) {
                stop.store(true, Ordering::Relaxed);
            }
            held_up |= matches!(outcome, Outcome::Retry { .. });
            // Nobody listens: the relay was dropped.
            if answers.send(Settlement::new(message, self.claim_id, outcome)).is_err() {
                return;
            }
        }
    }
}

async fn attempt(sink: &impl Sink, message: &OutboxEvent, timeout: Duration, retry: &RetryPolicy) -> Outcome {
    if message.retry_count >= retry.max_attempts.saturating_add(DEATHS) {
        return Outcome::Dead {
            error: format!("its workers died, or were too slow: {} attempts", message.retry_count),
        };
    }
    // In a block of its own: a sink may panic before it has made its future.
    let publish = AssertUnwindSafe(async { sink.publish(message).await }).catch_unwind();
    let error = match tokio::time::timeout(timeout, publish).await {
        Ok(Ok(Ok(()))) => return Outcome::Published,
        Ok(Ok(Err(error))) => error,
        Ok(Err(_)) => SinkError::retry("the sink panicked"),
        Err(_) => SinkError::retry(format!("no answer within {timeout:?}")),
    };
    let (error, after) = match (error, sink.endpoint()) {
        (SinkError::Hopeless { message }, _) => return Outcome::Dead { error: message },
        (SinkError::Gone { message: error }, Some(endpoint)) => {
            return Outcome::Stopped { endpoint: endpoint.clone(), error };
        }
        (SinkError::Gone { message }, None) => (message, None),
        (SinkError::Retry { message, after }, _) => (message, after),
    };
    match retry.pause(message.retry_count + 1, after) {
        Some(pause) => Outcome::Retry { error, pause },
        None => Outcome::Dead { error },
    }
}
