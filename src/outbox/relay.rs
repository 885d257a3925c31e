//! The relay: claims messages, hands them to a sink, and settles them.
//!
//! Always holds: a message is handed to the sink at least once, and the first time not before each earlier open message
//! of its entity was taken or given up; with any number of relays, and whichever of them dies. A message that fails
//! holds up its entity and nothing else, until it is dead.
//!
//! Each turn is one transaction that settles what the sink has answered and claims what is due. It does not wait for
//! the disk (`synchronous_commit`): what a crash of the server takes back is published once more.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection as _;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::claim::{OutboxClaim, OutboxClaimed};
use super::message::OutboxEvent;
use super::queue::OutboxQueue;
use super::retry::RetryPolicy;
use super::settle::{Outcome, Settlement};
use super::sink::{Sink, SinkError};
use crate::database::{Channel, Config, Database, RfqDatabase, Wakeups};
use crate::error::{Error, Result};

/// While the sink is at work on others, what it has answered is settled this often.
const SETTLE_EVERY: Duration = Duration::from_millis(20);

/// Pauses where the database does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How a relay works.
#[derive(Debug, Clone)]
pub struct RelayOptions {
    /// Who claims: shown in `claimed_by`. 1 to 255 characters.
    pub worker: String,
    /// At most so many messages are claimed and not settled: 1 to 10,000.
    pub batch: u16,
    /// So many entities' messages are at the sink side by side.
    pub in_flight: usize,
    /// For so long a message is claimed; what was not handed to the sink by then is let go.
    pub lease: Duration,
    /// So long the sink may take for a message; less than the lease.
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
            timeout: Duration::from_secs(10),
            poll: Duration::from_secs(1),
            retry: RetryPolicy::default(),
        }
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
struct Counters([AtomicU64; 4]);

impl Counters {
    fn add(&self, settled: &[Settlement], recorded: usize) {
        let count = |n: usize, number: usize| self.0[n].fetch_add(number as u64, Ordering::Relaxed);
        for settlement in settled {
            match settlement.outcome {
                Outcome::Published => count(0, 1),
                Outcome::Retry { .. } => count(1, 1),
                Outcome::Dead { .. } => count(2, 1),
                Outcome::Released => continue,
            };
        }
        count(3, settled.len().saturating_sub(recorded));
    }

    fn read(&self) -> Relayed {
        let [published, retried, dead, lost] = [0, 1, 2, 3].map(|n: usize| self.0[n].load(Ordering::Relaxed));
        Relayed { published, retried, dead, lost }
    }
}

/// Whose outbox.
#[derive(Debug, Clone)]
enum Source {
    Main(Database),
    Rfq(RfqDatabase),
}

impl Source {
    fn config(&self) -> &Config {
        match self {
            Self::Main(database) => database.config(),
            Self::Rfq(database) => database.config(),
        }
    }

    async fn turn(
        &self,
        settled: &[Settlement],
        claim: Option<OutboxClaim<'_>>,
    ) -> Result<(usize, Option<OutboxClaimed>)> {
        match self {
            Self::Main(database) => {
                database.system_tx("outbox.relay", async |tx| turn(tx.outbox_queue(), settled, claim).await).await
            }
            Self::Rfq(database) => {
                database.system_tx("outbox.relay", async |tx| turn(tx.outbox_queue(), settled, claim).await).await
            }
        }
    }
}

async fn turn<Scope>(
    queue: OutboxQueue<'_, Scope>,
    settled: &[Settlement],
    claim: Option<OutboxClaim<'_>>,
) -> Result<(usize, Option<OutboxClaimed>)> {
    queue.tx.connection().batch_execute("SET LOCAL synchronous_commit = off").await?;
    let recorded = queue.settle(settled).await?;
    let claimed = match claim {
        Some(claim) => Some(queue.claim(claim).await?),
        None => None,
    };
    Ok((recorded, claimed))
}

/// Takes the messages of a database's outbox to a sink. Any number may run side by side, in any number of processes.
pub struct Relay<S> {
    source: Source,
    sink: Arc<S>,
    options: RelayOptions,
    counters: Arc<Counters>,
}

impl<S: Sink> Relay<S> {
    /// Of the database `main`.
    pub fn new(database: &Database, sink: Arc<S>, options: RelayOptions) -> Self {
        Self::of(Source::Main(database.clone()), sink, options)
    }

    /// Of the database `rfq`.
    pub fn of_rfq(database: &RfqDatabase, sink: Arc<S>, options: RelayOptions) -> Self {
        Self::of(Source::Rfq(database.clone()), sink, options)
    }

    fn of(source: Source, sink: Arc<S>, options: RelayOptions) -> Self {
        Self { source, sink, options, counters: Arc::default() }
    }

    /// What it has done so far.
    #[must_use]
    pub fn relayed(&self) -> Relayed {
        self.counters.read()
    }

    /// Relays until `shutdown` is ready. Then nothing new is handed to the sink; what it has is waited for, and what it
    /// does not have is let go, so that another worker may claim it at once.
    ///
    /// # Errors
    /// Those of the first look at the database; later ones are logged, and it tries again. Those of the last
    /// settlement: then leases run out by themselves.
    pub async fn run_until(&self, shutdown: impl Future<Output = ()>) -> Result<Relayed> {
        self.run(shutdown, false).await
    }

    /// Relays what can be claimed, and ends. Messages that wait for their time or for another attempt stay.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn drain(&self) -> Result<Relayed> {
        self.run(std::future::pending(), true).await
    }

    async fn run(&self, shutdown: impl Future<Output = ()>, once: bool) -> Result<Relayed> {
        if self.options.timeout >= self.options.lease {
            return Err(Error::invalid("timeout", "must be less than the lease"));
        }
        let mut shutdown = pin!(shutdown);
        let wakeups = (!once).then(|| Wakeups::listen(self.source.config().url(), Channel::Outbox));
        let (answers, mut answered) = mpsc::unbounded_channel();
        let mut work = Work::new(answers);
        let mut settled: Vec<Settlement> = Vec::new();
        let (mut settled_at, mut look_at) = (Instant::now(), Instant::now());
        let mut trouble = Trouble::default();
        loop {
            work.start(&self.sink, &self.options);
            while let Ok(settlement) = answered.try_recv() {
                work.open -= 1;
                settled.push(settlement);
            }
            let stopping = work.stop.load(Ordering::Relaxed);
            if stopping && work.open == 0 && settled.is_empty() {
                return Ok(self.relayed());
            }
            let settle_at = match settled.is_empty() {
                true => None,
                false if work.open == 0 => Some(Instant::now()),
                false => Some(settled_at + SETTLE_EVERY),
            };
            let room = usize::from(self.options.batch).saturating_sub(work.open);
            let wants = !stopping && room > 0 && work.running.len() < self.options.in_flight.max(1);
            let next = match (settle_at, wants.then_some(look_at)) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            if next.is_some_and(|next| next.max(trouble.until()) <= Instant::now()) {
                let claim = wants.then(|| OutboxClaim {
                    worker: &self.options.worker,
                    limit: u16::try_from(room).unwrap_or(u16::MAX),
                    lease: self.options.lease,
                });
                // Before the transaction: by the database's clock the lease ends no earlier.
                let claimed_at = Instant::now();
                match self.source.turn(&settled, claim).await {
                    Ok((recorded, claimed)) => {
                        self.counters.add(&settled, recorded);
                        settled_at = Instant::now();
                        // What was settled may have freed the next messages of its entities.
                        let freed = !settled.is_empty() && claim.is_none();
                        settled.clear();
                        trouble = Trouble { worked: true, ..Trouble::default() };
                        if let Some(claimed) = claimed {
                            if once && claimed.messages.is_empty() && !claimed.more && work.open == 0 {
                                return Ok(self.relayed());
                            }
                            look_at = Instant::now() + self.pause(&claimed);
                            work.add(claimed, claimed_at + self.options.lease);
                        } else if freed {
                            look_at = Instant::now();
                        }
                    }
                    Err(error) if !trouble.worked && !error.is_transient() || once => return Err(error),
                    Err(error) if stopping => return Err(error),
                    Err(error) => {
                        trouble.again();
                        tracing::warn!(%error, pause = ?trouble.pause, "the outbox cannot be relayed");
                    }
                }
                continue;
            }
            let wait = next.map(|next| next.max(trouble.until()).saturating_duration_since(Instant::now()));
            let woken = async {
                match (&wakeups, wants) {
                    (Some(wakeups), true) => wakeups.wait(wait.unwrap_or(self.options.poll)).await,
                    _ => tokio::time::sleep(wait.unwrap_or(self.options.poll)).await,
                }
            };
            tokio::select! {
                () = &mut shutdown, if !stopping => {
                    work.stop.store(true, Ordering::Relaxed);
                }
                Some(settlement) = answered.recv() => {
                    work.open -= 1;
                    settled.push(settlement);
                }
                Some(_) = work.running.join_next() => {}
                () = woken => if wants && wakeups.is_some() { look_at = Instant::now() },
            }
        }
    }

    /// Until the next look, unless it is woken.
    fn pause(&self, claimed: &OutboxClaimed) -> Duration {
        if claimed.more {
            return Duration::ZERO;
        }
        let due = claimed.next_due_in.filter(|due| !due.is_zero()).unwrap_or(self.options.poll);
        due.min(self.options.poll)
    }
}

/// What was claimed and is not settled.
struct Work {
    /// Messages of one entity each, which the sink does not have yet.
    waiting: VecDeque<Group>,
    running: JoinSet<()>,
    /// Messages whose answer has not come.
    open: usize,
    answers: mpsc::UnboundedSender<Settlement>,
    stop: Arc<AtomicBool>,
}

struct Group {
    messages: Vec<OutboxEvent>,
    claim_id: uuid::Uuid,
    /// The end of the lease.
    until: Instant,
}

impl Work {
    fn new(answers: mpsc::UnboundedSender<Settlement>) -> Self {
        Self { waiting: VecDeque::new(), running: JoinSet::new(), open: 0, answers, stop: Arc::default() }
    }

    fn add(&mut self, claimed: OutboxClaimed, until: Instant) {
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

    fn start<S: Sink>(&mut self, sink: &Arc<S>, options: &RelayOptions) {
        while self.running.try_join_next().is_some() {}
        while self.running.len() < options.in_flight.max(1)
            && let Some(group) = self.waiting.pop_front()
        {
            let (sink, answers, stop) = (sink.clone(), self.answers.clone(), self.stop.clone());
            let (timeout, retry) = (options.timeout, options.retry);
            self.running.spawn(async move { group.publish(&*sink, timeout, retry, &answers, &stop).await });
        }
    }
}

impl Group {
    /// One after the other, until one is to be tried again.
    async fn publish(
        self,
        sink: &impl Sink,
        timeout: Duration,
        retry: RetryPolicy,
        answers: &mpsc::UnboundedSender<Settlement>,
        stop: &AtomicBool,
    ) {
        let mut held_up = false;
        for message in &self.messages {
            held_up |= stop.load(Ordering::Relaxed) || Instant::now() + timeout > self.until;
            let outcome = if held_up { Outcome::Released } else { attempt(sink, message, timeout, retry).await };
            held_up |= matches!(outcome, Outcome::Retry { .. });
            // Nobody listens: the relay was dropped.
            if answers.send(Settlement::new(message, self.claim_id, outcome)).is_err() {
                return;
            }
        }
    }
}

async fn attempt(sink: &impl Sink, message: &OutboxEvent, timeout: Duration, retry: RetryPolicy) -> Outcome {
    if message.retry_count >= retry.max_attempts {
        return Outcome::Dead {
            error: format!("its workers died, or were too slow: {} attempts", message.retry_count),
        };
    }
    let publish = AssertUnwindSafe(sink.publish(message)).catch_unwind();
    let error = match tokio::time::timeout(timeout, publish).await {
        Ok(Ok(Ok(()))) => return Outcome::Published,
        Ok(Ok(Err(error))) => error,
        Ok(Err(_)) => SinkError::retry("the sink panicked"),
        Err(_) => SinkError::retry(format!("no answer within {timeout:?}")),
    };
    match error {
        SinkError::Hopeless { message } => Outcome::Dead { error: message },
        SinkError::Retry { message: error, after } => match retry.pause(message.retry_count + 1, after) {
            Some(pause) => Outcome::Retry { error, pause },
            None => Outcome::Dead { error },
        },
    }
}

/// The database does not answer.
#[derive(Default)]
struct Trouble {
    /// It has answered before.
    worked: bool,
    pause: Duration,
    since: Option<Instant>,
}

impl Trouble {
    fn again(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.since = Some(Instant::now());
    }

    fn until(&self) -> Instant {
        self.since.map_or_else(Instant::now, |since| since + self.pause)
    }
}
