//! Reading a subscription: catching up, and then live.
//!
//! Always holds: no event of the subscription is skipped, because a share goes no further than `event_head()` of an
//! earlier statement; the effect that a handler has through its transaction happens once for each event, because the
//! share's place is written in the same transaction, and only by who finds it where it was read. What is delivered
//! to the outside can be delivered again, after a crash or when the lease ran out: at least once.
//!
//! ```text
//! t0  worker A reads share 0 at position 40: events 41 to 60
//! t1  A locks the share's row (SKIP LOCKED) where it still says 40, writes 60, runs the handler
//! t2  worker B reads share 0 at 40 too, finds the row locked, goes on to share 1
//! t3  A commits effect and place together; a crash before that undoes both
//! t4  B tries share 0 once more, with the 40 it had read: the row says 60, so it reads again
//! ```

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::handler::{EventHandler, EventSink, SubscriptionScope};
use super::share::Claimed;
use super::stored::{Resume, change, ensure, missing};
use super::subscription::{Subscription, SubscriptionLag, lag};
use crate::database::{AllTenants, Channel, Database, TenantContext, Tx, Wakeups};
use crate::error::{Error, Result};

/// What one turn of a worker came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// So many events are done.
    Handled(usize),
    /// There is nothing to do.
    Idle,
    /// What there is to do, other workers do.
    Busy,
}

/// A worker of a subscription. Clone it for more of them, or make it in other processes too.
#[derive(Debug, Clone)]
pub struct Subscriber<S> {
    pub(super) database: Database,
    pub(super) scope: S,
    pub(super) subscription: Subscription,
    /// Tells workers from each other, for people.
    pub(super) worker: String,
}

impl Database {
    /// A worker of a tenant's subscription, which is made where it is not there, before the first event.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad subscription, [`Error::SubscriptionDiffers`] where one with another query or other
    /// partitions is stored under its name, [`Error::NotFound`] for a tenant that does not exist.
    pub async fn subscribe(
        &self,
        context: &TenantContext,
        subscription: Subscription,
    ) -> Result<Subscriber<TenantContext>> {
        Subscriber::new(self, context.clone(), subscription).await
    }

    /// A worker of a subscription of all tenants: see [`Database::subscribe`].
    ///
    /// # Errors
    /// As there.
    pub async fn subscribe_all(&self, subscription: Subscription) -> Result<Subscriber<AllTenants>> {
        Subscriber::new(self, AllTenants, subscription).await
    }

    /// Gives a tenant's subscription another query, on purpose. Workers that have the old one end at their next turn
    /// with [`Error::SubscriptionDiffers`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad subscription, [`Error::SubscriptionDiffers`] for other partitions, which cannot be
    /// changed, [`Error::NotFound`] for a subscription or a tenant that does not exist.
    pub async fn change_subscription(
        &self,
        context: &TenantContext,
        subscription: Subscription,
        resume: Resume,
    ) -> Result<Subscriber<TenantContext>> {
        Subscriber::changed(self, context.clone(), subscription, resume).await
    }

    /// The same for a subscription of all tenants.
    ///
    /// # Errors
    /// As for [`Database::change_subscription`].
    pub async fn change_subscription_of_all(
        &self,
        subscription: Subscription,
        resume: Resume,
    ) -> Result<Subscriber<AllTenants>> {
        Subscriber::changed(self, AllTenants, subscription, resume).await
    }
}

// Futures with a closure inside are boxed: otherwise the compiler cannot tell that a future that waits for them is `Send`
// (<https://github.com/rust-lang/rust/issues/100013>).
impl<S: SubscriptionScope> Subscriber<S> {
    async fn new(database: &Database, scope: S, subscription: Subscription) -> Result<Self> {
        let subscriber = Self::worker(database, scope, subscription)?;
        let (id, subscription) = (subscriber.id(), &subscriber.subscription);
        let make = move |tx: Tx<S>| async move { ensure(tx.connection(), id, subscription).await };
        subscriber.scope.transact(database, make).boxed().await?;
        Ok(subscriber)
    }

    async fn changed(database: &Database, scope: S, subscription: Subscription, resume: Resume) -> Result<Self> {
        let subscriber = Self::worker(database, scope, subscription)?;
        let (id, subscription) = (subscriber.id(), &subscriber.subscription);
        let make = move |tx: Tx<S>| async move { change(tx.connection(), id, subscription, resume).await };
        subscriber.scope.transact(database, make).boxed().await?;
        Ok(subscriber)
    }

    fn worker(database: &Database, scope: S, subscription: Subscription) -> Result<Self> {
        subscription.check()?;
        let worker = format!("{}:{}", std::process::id(), Uuid::now_v7());
        Ok(Self { database: database.clone(), scope, subscription, worker })
    }

    /// The tenant; the nil UUID for all of them.
    pub(super) fn id(&self) -> Uuid {
        self.scope.tenant().map(crate::ids::Id::as_uuid).unwrap_or_default()
    }

    /// How far each share has come.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a subscription or a tenant that is gone.
    pub async fn lag(&self) -> Result<Vec<SubscriptionLag>> {
        self.scope
            .transact(&self.database, move |tx| async move {
                let lags = lag(tx.connection(), Some(self.id()), Some(&self.subscription.name)).await?;
                if lags.is_empty() {
                    return Err(missing(tx.connection(), self.id(), &self.subscription.name).await?);
                }
                Ok(lags)
            })
            .boxed()
            .await
    }

    /// One batch of one share, if there is one that nobody is at.
    ///
    /// # Errors
    /// What the handler returns; nothing is written then. [`Error::NotFound`] for a subscription or a tenant that is
    /// gone, [`Error::SubscriptionDiffers`] where its query was changed.
    pub fn turn<'a, H: EventHandler<S>>(&'a self, handler: &'a H) -> BoxFuture<'a, Result<Turn>> {
        let turn = move |tx: Tx<S>| async move {
            let mut busy = false;
            let (head, standings) = self.standings(&tx).await?;
            for standing in standings {
                let Some(found) = self.find(&tx, standing, head).await? else { continue };
                if self.advance(&tx, &found).await? {
                    handler.handle(&tx, &found.events).await?;
                    return Ok(Turn::Handled(found.events.len()));
                }
                busy = true;
            }
            Ok(if busy { Turn::Busy } else { Turn::Idle })
        };
        self.scope.transact(&self.database, turn).boxed()
    }

    /// The same, to the outside: the share is claimed for as long as the lease, the events are delivered, and then
    /// its place is written.
    ///
    /// # Errors
    /// What the sink returns; [`Error::LeaseLost`] where it took longer than the lease and another worker took the
    /// share over: then the events are delivered again.
    pub fn deliver_turn<'a, K: EventSink>(&'a self, sink: &'a K) -> BoxFuture<'a, Result<Turn>> {
        async move {
            let claimed = match self.claim_one().await? {
                Ok(claimed) => claimed,
                Err(turn) => return Ok(turn),
            };
            let delivered = sink.deliver(&claimed.found.events).await;
            let position = if delivered.is_ok() { claimed.found.until } else { claimed.found.standing.position };
            let kept = self.release(&claimed, position).await;
            delivered?;
            kept.map(|()| Turn::Handled(claimed.found.events.len()))
        }
        .boxed()
    }

    /// A share with something to deliver; without one, why.
    fn claim_one(&self) -> BoxFuture<'_, Result<Result<Claimed, Turn>>> {
        let claim = move |tx: Tx<S>| async move {
            let mut busy = false;
            let (head, standings) = self.standings(&tx).await?;
            for standing in standings {
                let Some(found) = self.find(&tx, standing, head).await? else { continue };
                match self.claim(&tx, &found).await? {
                    Some(claim) => return Ok(Ok(Claimed { found, claim })),
                    None => busy = true,
                }
            }
            Ok(Err(if busy { Turn::Busy } else { Turn::Idle }))
        };
        self.scope.transact(&self.database, claim).boxed()
    }

    /// Turn by turn, until there is nothing to do that others are not at; how many events were done.
    ///
    /// # Errors
    /// As for [`Subscriber::turn`].
    pub async fn catch_up<H: EventHandler<S>>(&self, handler: &H) -> Result<u64> {
        let mut done = 0;
        while let Turn::Handled(events) = self.turn(handler).await? {
            done += events as u64;
        }
        Ok(done)
    }

    /// Catches up and goes on with every event that is committed, until `shutdown`: a turn that has begun is ended.
    /// Woken by appends; looks from time to time anyway.
    ///
    /// What passes by itself (see [`Error::is_transient`]), and what took too long, is tried again after pauses that
    /// grow to ten seconds.
    ///
    /// # Errors
    /// Other errors of the handler: an event that cannot be handled stops its subscription, for none is skipped; and
    /// those of [`Subscriber::turn`], as [`Error::NotFound`] after the tenant was deleted.
    pub async fn run_until<H: EventHandler<S>>(&self, handler: &H, shutdown: impl Future<Output = ()>) -> Result<()> {
        self.work(|| self.turn(handler), shutdown).await
    }

    /// The same, to the outside.
    ///
    /// # Errors
    /// As there.
    pub async fn deliver_until<K: EventSink>(&self, sink: &K, shutdown: impl Future<Output = ()>) -> Result<()> {
        self.work(|| self.deliver_turn(sink), shutdown).await
    }

    async fn work<'a>(
        &'a self,
        turn: impl Fn() -> BoxFuture<'a, Result<Turn>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<()> {
        let wakeups = Wakeups::listen(self.database.config().listen_url(), Channel::Events);
        let pauses = || {
            let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(50));
            pauses.with_max_delay(Duration::from_secs(10)).without_max_times().with_jitter().build()
        };
        let mut failing = pauses();
        tokio::pin!(shutdown);
        loop {
            if shutdown.as_mut().now_or_never().is_some() {
                return Ok(());
            }
            let pause = match turn().await {
                Ok(Turn::Handled(_)) => {
                    failing = pauses();
                    continue;
                }
                Ok(Turn::Idle | Turn::Busy) => None,
                Err(error)
                    if error.is_transient()
                        || matches!(error, Error::LeaseLost { .. } | Error::CommitUnknown | Error::Timeout { .. }) =>
                {
                    tracing::warn!(subscription = self.subscription.name, %error, "the turn is taken again");
                    failing.next()
                }
                Err(error) => return Err(error),
            };
            tokio::select! {
                biased;
                () = &mut shutdown => return Ok(()),
                () = async { match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => wakeups.wait(self.subscription.poll).await,
                } } => {}
            }
        }
    }
}
