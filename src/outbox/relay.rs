//! The relay: claims messages, hands them to a sink, and settles them.
//!
//! Always holds: a message is handed to the sink at least once (but one whose workers die, time and again, is given up
//! in the end), and the first time not before each earlier open message
//! of its entity was taken or given up; with any number of relays, and whichever of them dies. A message that fails
//! holds up its entity and nothing else, until it is dead. To an endpoint that is stopped nothing is handed but what was
//! claimed before.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::claim::{OutboxClaim, OutboxClaimed};
use super::options::{Counters, RelayOptions, Relayed};
use super::settle::Settlement;
use super::sink::Sink;
use super::turn::{Source, Turned};
use super::work::Work;
use crate::database::{Channel, Database, RfqDatabase, Wakeups};
use crate::error::{Error, Result};

/// While the sink is at work on others, what it has answered is settled this often.
const SETTLE_EVERY: Duration = Duration::from_millis(20);

/// The sink has not answered for so long: what it has is not waited for.
const SLOW: Duration = Duration::from_millis(100);

/// So many batches are claimed while their entities are few and slow.
const BATCHES: usize = 4;

/// Pauses where the database does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
    /// does not have is let go, so that another worker may claim it at once. While the sink's endpoint is stopped, it
    /// waits until somebody starts it again.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bad options; those of the first look at the database, unless they
    /// pass by themselves: they are logged, as later ones are, and it tries again. Those of the last settlement: then
    /// leases run out.
    pub async fn run_until(&self, shutdown: impl Future<Output = ()>) -> Result<Relayed> {
        self.run(shutdown, false).await
    }

    /// Relays what can be claimed, and ends; or earlier, when `shutdown` is ready. Messages that wait for their time or
    /// for another attempt stay.
    ///
    /// # Errors
    /// Those of the database; [`Error::EndpointStopped`].
    pub async fn drain(&self, shutdown: impl Future<Output = ()>) -> Result<Relayed> {
        self.run(shutdown, true).await
    }

    async fn run(&self, shutdown: impl Future<Output = ()>, once: bool) -> Result<Relayed> {
        self.options.check()?;
        let mut shutdown = pin!(shutdown);
        let wakeups = (!once).then(|| Wakeups::listen(self.source.config().listen_url(), Channel::Outbox));
        while let Ended::Stopped = self.turns(shutdown.as_mut(), wakeups.as_ref()).await? {
            if !self.wait_for_start(shutdown.as_mut(), wakeups.as_ref()).await? {
                break;
            }
        }
        Ok(self.relayed())
    }

    /// Whether the endpoint was started, and not `shutdown` ready.
    async fn wait_for_start(
        &self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
        wakeups: Option<&Wakeups>,
    ) -> Result<bool> {
        let Some(endpoint) = self.sink.endpoint() else { return Ok(true) };
        let mut told = false;
        loop {
            match (self.source.find_stopped(endpoint).await, wakeups) {
                (Ok(None), _) => return Ok(true),
                (Ok(Some(stopped)), None) => {
                    let (endpoint, id) = (stopped.name, stopped.id);
                    return Err(Error::EndpointStopped {
                        endpoint,
                        id,
                        since: stopped.stopped_at,
                        reason: stopped.reason,
                    });
                }
                (Ok(Some(stopped)), Some(_)) if !told => {
                    tracing::warn!(
                        endpoint = stopped.name,
                        id = stopped.id,
                        reason = stopped.reason,
                        "the endpoint is stopped"
                    );
                    told = true;
                }
                (Ok(Some(_)), Some(_)) => {}
                (Err(error), Some(_)) if error.is_transient() => {
                    tracing::warn!(%error, "whether the endpoint is stopped cannot be read");
                }
                (Err(error), _) => return Err(error),
            }
            let woken = async {
                match wakeups {
                    Some(wakeups) => wakeups.wait(self.options.poll).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut shutdown => return Ok(false),
                () = woken => {}
            }
        }
    }

    /// Turn by turn, until `shutdown` or the endpoint's stop; without `wakeups` until nothing can be claimed.
    async fn turns(
        &self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
        wakeups: Option<&Wakeups>,
    ) -> Result<Ended> {
        let once = wakeups.is_none();
        let mut told_to_end = false;
        let (answers, mut answered) = mpsc::unbounded_channel();
        let mut work = Work::new(answers);
        let mut settled: Vec<Settlement> = Vec::new();
        let (mut settled_at, mut look_at, mut heard_at) = (Instant::now(), Instant::now(), Instant::now());
        let mut trouble = Trouble::default();
        loop {
            work.start(&self.sink, &self.options);
            while let Ok(settlement) = answered.try_recv() {
                work.open -= 1;
                heard_at = Instant::now();
                settled.push(settlement);
            }
            let stopping = work.stop.load(Ordering::Relaxed);
            if stopping && work.open == 0 && settled.is_empty() {
                return Ok(if told_to_end { Ended::Done } else { Ended::Stopped });
            }
            let settle_at = match settled.is_empty() {
                true => None,
                false if work.open == 0 => Some(Instant::now()),
                false => Some(settled_at + SETTLE_EVERY),
            };
            // What is claimed and all at the sink may be few entities that are slow: others go past them.
            let batch = usize::from(self.options.batch);
            let slow = work.is_started() && heard_at.elapsed() >= SLOW;
            let most = if slow { batch * BATCHES } else { batch };
            let room = most.saturating_sub(work.open).min(batch);
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
                let turned = {
                    let mut turn = pin!(self.source.turn(&settled, claim, self.sink.endpoint()));
                    tokio::select! {
                        turned = &mut turn => turned,
                        () = &mut shutdown, if !stopping => {
                            told_to_end = true;
                            work.stop();
                            turn.await
                        }
                    }
                };
                match turned {
                    Ok(Turned { recorded, claimed, stopped }) => {
                        self.counters.add(&settled, recorded);
                        settled_at = Instant::now();
                        // What was settled may have freed the next messages of its entities.
                        let freed = !settled.is_empty() && claim.is_none();
                        settled.clear();
                        trouble = Trouble { worked: true, ..Trouble::default() };
                        if stopped {
                            work.stop();
                        } else if let Some(claimed) = claimed {
                            if once && claimed.messages.is_empty() && !claimed.more && work.open == 0 {
                                return Ok(Ended::Done);
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
                match (wakeups, wants) {
                    (Some(wakeups), true) => wakeups.wait(wait.unwrap_or(self.options.poll)).await,
                    _ => tokio::time::sleep(wait.unwrap_or(self.options.poll).min(SLOW)).await,
                }
            };
            tokio::select! {
                () = &mut shutdown, if !stopping => {
                    told_to_end = true;
                    work.stop();
                }
                Some(settlement) = answered.recv() => {
                    work.open -= 1;
                    heard_at = Instant::now();
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

/// Why a relay has come to its end.
enum Ended {
    /// It was told to, or nothing can be claimed.
    Done,
    /// Its endpoint is stopped.
    Stopped,
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
