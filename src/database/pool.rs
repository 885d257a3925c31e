//! The connections that are kept, and who gets the next one.
//!
//! bb8 keeps them; a queue in front of it hands them out in the order of asking, where bb8 alone lets whoever comes
//! at the right moment overtake who waits (`cargo bench --bench pool` shows both).
//!
//! A connection is not tested when it is taken: that would cost every transaction a round trip. A dead
//! one shows at BEGIN, where nothing has happened yet, and is replaced there (see `transaction.rs`).

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection as _;
use rand::RngExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::config::{Config, PoolConfig, Timeouts};
use super::connect::Session;
use super::instrument::{Current, Watch};
use super::metrics::PoolMetrics;
use super::url::DatabaseUrl;
use super::wake::Waker;
use super::wire::{Canceller, Opened, Wire};
use crate::error::{Error, Result, WaitedFor};
use crate::forms::Validators;

/// PostgreSQL's own timeouts are at most 2^31 ms.
const LONGEST: Duration = Duration::from_hours(24 * 24);

/// A pool that makes a connection is asked again so soon.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Between two attempts to connect, about: a server that comes back is noticed so soon.
const RECONNECT: Duration = Duration::from_millis(100);

/// The pool, and why its last attempt to connect failed.
#[derive(Clone)]
pub(crate) struct Pool {
    connections: bb8::Pool<Manager>,
    /// A place for each connection; who waits for one is served in turn.
    places: Arc<Semaphore>,
    /// For a connection, at most.
    pub(super) wait: Duration,
    last_failure: LastFailure,
    /// For so long a transaction is run again.
    pub(super) retry_budget: Duration,
    /// Whether a dropped query is cancelled: not behind a pooler.
    pub(super) cancels: bool,
    /// Connections that were made before are not used any more.
    outdated: Outdated,
    pub(super) watch: Arc<Watch>,
    /// Of the forms in this database, for its transactions.
    pub(super) validators: Validators,
    /// Of its transactions' readers.
    pub(super) waker: Waker,
}

impl Pool {
    /// Connects once, to know that it works, and makes the pool.
    pub(super) async fn connect(config: &Config, watch: Arc<Watch>) -> Result<Self> {
        let PoolConfig { max_size, min_idle, wait, idle_timeout, max_lifetime } = config.pool;
        if max_size == 0 || [wait, idle_timeout, max_lifetime].contains(&Duration::ZERO) {
            return Err(Error::configuration("the pool's size and times have to be above zero"));
        }
        let Timeouts { statement, lock, idle_in_transaction } = config.timeouts;
        let times = [wait, idle_timeout, max_lifetime, config.retry_budget, statement, lock, idle_in_transaction];
        if times.iter().any(|time| *time > LONGEST) {
            return Err(Error::configuration("a time of the pool or a timeout is above 24 days"));
        }
        let (session, first) = Session::first(config).await?;
        let places = Arc::new(Semaphore::new(max_size as usize));
        let last_failure = LastFailure::default();
        let outdated = Outdated::default();
        let manager = Manager {
            url: config.url().clone(),
            session,
            max_lifetime,
            max_size,
            places: places.clone(),
            last_failure: last_failure.clone(),
            outdated: outdated.clone(),
            watch: watch.clone(),
        };
        let first = manager.made(first);
        let connections = bb8::Pool::builder()
            .max_size(max_size)
            .min_idle(min_idle.min(max_size))
            // Its pauses would grow; the manager goes on by itself.
            .retry_connection(false)
            .connection_timeout(wait)
            .idle_timeout(idle_timeout)
            // Each has an age of its own, below this one.
            .max_lifetime(max_lifetime)
            .test_on_check_out(false)
            // Those that are not needed stay idle, and are closed after a while.
            .queue_strategy(bb8::QueueStrategy::Lifo)
            .build_unchecked(manager);
        // A pool that is full already does without it.
        let _ = connections.add(first);
        if session.pooled && config.direct_url.is_none() {
            tracing::info!(
                url = %config.url(),
                "a pooler is in between: statements are not kept prepared, and new rows are noticed by looking, not by \
                 LISTEN, unless APP_DATABASE_DIRECT_URL is set"
            );
        }
        Ok(Self {
            connections,
            places,
            wait,
            last_failure,
            retry_budget: config.retry_budget,
            cancels: !session.pooled,
            outdated,
            watch,
            validators: Validators::default(),
            waker: Waker::default(),
        })
    }

    /// A connection, after waiting for one if need be.
    pub(crate) async fn get(&self) -> Result<Lease> {
        let asked = Instant::now();
        let waiting = self.watch.pool.waits();
        let place = timeout(self.wait, self.places.clone().acquire_owned()).await;
        drop(waiting);
        let waited = asked.elapsed();
        self.watch.pool.waited(waited);
        let Ok(Ok(place)) = place else {
            return Err(self.exhausted());
        };
        // With a place there is an idle connection, or one to be made. An attempt that was given up is begun again only
        // for who asks anew.
        let until = asked + self.wait;
        loop {
            if let Ok(Ok(connection)) = timeout(ASK_AGAIN, self.connections.get_owned()).await {
                if self.outdated.includes(&connection) {
                    // bb8 does not take it back.
                    continue;
                }
                return Ok(Lease {
                    connection,
                    since: Instant::now(),
                    metrics: self.watch.pool.clone(),
                    _place: place,
                });
            }
            let failure = self.last_failure.get();
            // Waiting does not mend it. An older failure says nothing: somebody may have mended it meanwhile.
            if let Some(Failure { message, .. }) = failure.as_ref().filter(|last| !last.may_pass && last.at >= asked) {
                return Err(Error::configuration(message));
            }
            if Instant::now() >= until {
                let message = failure.map(|failure| failure.message);
                return Err(Error::Unavailable {
                    message: message.unwrap_or_else(|| "connecting takes too long".into()),
                });
            }
        }
    }

    /// Whoever holds the places may be waiting for the server.
    fn exhausted(&self) -> Error {
        let state = self.state();
        let is_short = state.idle_connections == 0 && state.connections < self.max_size();
        match self.last_failure.get().filter(|_| is_short) {
            Some(Failure { message, may_pass: false, .. }) => Error::configuration(message),
            Some(Failure { message, .. }) => Error::Unavailable { message },
            None => Error::Timeout { waited_for: WaitedFor::Connection },
        }
    }

    /// Why no connection can be had within this time, if none can. One that is being made is no trouble.
    pub(crate) async fn trouble(&self, within: Duration) -> Option<String> {
        match timeout(within, self.get()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) if self.places.available_permits() == 0 => Some(format!("none came free within {within:?}")),
            Err(_) => self.last_failure.get().map(|failure| failure.message),
        }
    }

    /// What the connections of now have prepared does not fit the schema any more: each is replaced when it is next
    /// asked for.
    pub(super) fn renew(&self) {
        self.outdated.set();
    }

    pub(crate) fn max_size(&self) -> u32 {
        self.connections.config().max_size
    }

    pub(crate) fn state(&self) -> bb8::State {
        self.connections.state()
    }
}

/// A connection of the pool, for as long as it is held.
pub(crate) struct Lease {
    connection: bb8::PooledConnection<'static, Manager>,
    since: Instant,
    metrics: Arc<PoolMetrics>,
    /// Given back after the connection.
    _place: OwnedSemaphorePermit,
}

impl Deref for Lease {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.connection.diesel
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection.diesel
    }
}

impl Lease {
    /// What belongs to this connection alone.
    pub(super) fn current(&self) -> &Current {
        &self.connection.current
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.connection.wire
    }

    pub(super) fn canceller(&self) -> Canceller {
        self.connection.canceller.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.metrics.held(self.since.elapsed());
    }
}

/// A connection, with the moment at which it is old.
pub(crate) struct Pooled {
    diesel: AsyncPgConnection,
    current: Current,
    wire: Wire,
    canceller: Canceller,
    made: Instant,
    old: Instant,
}

/// How bb8 makes connections, and which ones it does not keep.
struct Manager {
    url: DatabaseUrl,
    session: Session,
    max_lifetime: Duration,
    max_size: u32,
    places: Arc<Semaphore>,
    last_failure: LastFailure,
    outdated: Outdated,
    watch: Arc<Watch>,
}

impl Manager {
    fn made(&self, opened: Opened) -> Pooled {
        self.last_failure.set(None);
        let Opened { mut diesel, wire, canceller } = opened;
        let current = self.watch.connection(&mut diesel);
        let made = Instant::now();
        Pooled { diesel, current, wire, canceller, made, old: made + lifetime(self.max_lifetime) }
    }

    /// Whether a connection that is made would be taken.
    fn is_wanted(&self) -> bool {
        self.places.available_permits() < self.max_size as usize
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = Error;

    /// Goes on trying what may pass for as long as somebody waits: bb8 itself would pause for longer and longer.
    async fn connect(&self) -> Result<Pooled> {
        loop {
            let error = match self.session.connect(&self.url).await {
                Ok(connection) => return Ok(self.made(connection)),
                Err(error) => error,
            };
            let message = match &error {
                Error::Unavailable { message } => message.clone(),
                other => other.to_string(),
            };
            let is_wrong = matches!(error, Error::Configuration { .. } | Error::NoDatabase { .. });
            // What is read again may have been changed.
            let may_pass = !is_wrong || self.url.origin().is_some();
            self.last_failure.set(Some(Failure { message, may_pass, at: Instant::now() }));
            if !may_pass || !self.is_wanted() {
                return Err(error);
            }
            let pause = if is_wrong { 5 * RECONNECT } else { RECONNECT };
            sleep(jittered(pause)).await;
        }
    }

    async fn is_valid(&self, _: &mut Pooled) -> Result<()> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Pooled) -> bool {
        std::thread::panicking()
            || connection.diesel.is_broken()
            || connection.old <= Instant::now()
            || self.outdated.includes(connection)
    }
}

/// Connections that were made together do not end together.
fn lifetime(longest: Duration) -> Duration {
    longest.mul_f64(rand::rng().random_range(0.8..1.0))
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..1.5))
}

/// The moment before which connections were made that are not used any more.
#[derive(Debug, Clone, Default)]
struct Outdated(Arc<Mutex<Option<Instant>>>);

impl Outdated {
    fn set(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn includes(&self, connection: &Pooled) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| connection.made <= until)
    }
}

/// Why there is no connection at present.
#[derive(Debug, Clone)]
struct Failure {
    message: String,
    /// Whether waiting may mend it.
    may_pass: bool,
    at: Instant,
}

#[derive(Debug, Clone, Default)]
struct LastFailure(Arc<Mutex<Option<Failure>>>);

impl LastFailure {
    fn get(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same failure is logged once.
    fn set(&self, failure: Option<Failure>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Failure { message, .. }) = &failure
            && last.as_ref().is_none_or(|last| last.message != *message)
        {
            tracing::warn!(error = message, "connections of the pool cannot be made");
        }
        *last = failure;
    }
}
