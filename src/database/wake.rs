//! Waking who waits for new rows, in other processes too, by LISTEN and NOTIFY.
//!
//! Always holds: the notification is sent after the commit and by another transaction. Inside the writing one it
//! would take a lock that all of them share until they have committed
//! (<https://www.postgresql.org/docs/15/sql-notify.html>). However many commit at a time, one notification is
//! under way, and the next comes 5 ms later. None is promised: whoever listens also looks from time to time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::AsyncMessage;

use super::connect::connect_plainly;
use super::pool::Pool;
use super::tenant::Tx;
use super::url::DatabaseUrl;
use crate::error::Error;

/// Between two notifications.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// Before a lost connection is tried again.
const RECONNECT: Duration = Duration::from_millis(500);

/// Before one is tried again that waiting alone does not mend.
const SELDOM: Duration = Duration::from_mins(1);

/// What there is news of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Events were appended.
    Events = 1,
    /// The outbox has new rows.
    Outbox = 2,
}

impl Channel {
    const ALL: [Self; 2] = [Self::Events, Self::Outbox];

    /// What clients of other languages LISTEN to, and NOTIFY after their commits.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Events => "bedplate_events",
            Self::Outbox => "bedplate_outbox",
        }
    }
}

impl<Scope> Tx<Scope> {
    /// Sends a notification if this transaction commits.
    pub(crate) fn wake_on_commit(&self, channel: Channel) {
        self.wakes.fetch_or(channel as u8, Ordering::Relaxed);
    }
}

/// Sends the notifications of a pool's transactions.
#[derive(Clone, Default)]
pub(crate) struct Waker {
    pending: Arc<AtomicU8>,
    sending: Arc<AtomicBool>,
}

impl Waker {
    /// Sees to it that who waits for one of `channels` is woken, and returns at once.
    pub(crate) fn wake(&self, pool: &Pool, channels: u8) {
        if channels == 0 {
            return;
        }
        self.pending.fetch_or(channels, Ordering::SeqCst);
        if !self.sending.swap(true, Ordering::SeqCst) {
            let (waker, pool) = (self.clone(), pool.clone());
            tokio::spawn(async move { waker.send(&pool).await });
        }
    }

    async fn send(&self, pool: &Pool) {
        loop {
            let channels = self.pending.swap(0, Ordering::SeqCst);
            if channels == 0 {
                self.sending.store(false, Ordering::SeqCst);
                // What came between the two lines has found somebody sending.
                if self.pending.load(Ordering::SeqCst) == 0 || self.sending.swap(true, Ordering::SeqCst) {
                    return;
                }
                continue;
            }
            let named = Channel::ALL.into_iter().filter(|channel| channels & *channel as u8 != 0);
            let sql: Vec<_> = named.map(|channel| format!("NOTIFY {}", channel.name())).collect();
            // It need not wait for the disk: what a crash takes back, nobody hears of.
            let sql = format!("SET LOCAL synchronous_commit = off; {}", sql.join("; "));
            let sent = async { Ok::<_, Error>(pool.get().await?.batch_execute(&sql).await?) };
            if let Err(error) = sent.await {
                tracing::debug!(%error, "nobody was woken");
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    }
}

/// A connection of its own that listens for as long as this lives.
#[derive(Debug)]
pub(crate) struct Wakeups {
    woken: Arc<Notify>,
    listener: JoinHandle<()>,
}

impl Wakeups {
    /// Begins to listen, in the background: who waits before it does is woken when it has begun.
    pub(crate) fn listen(url: &DatabaseUrl, channel: Channel) -> Self {
        let woken = Arc::<Notify>::default();
        let (url, wakes) = (url.clone(), woken.clone());
        let listener = tokio::spawn(async move {
            loop {
                let pause = match listen(&url, channel, &wakes).await {
                    Err(error @ (Error::Configuration { .. } | Error::NoDatabase { .. })) => {
                        tracing::warn!(%error, channel = channel.name(), "nothing listens: news is looked for instead");
                        SELDOM
                    }
                    Err(error) => {
                        tracing::debug!(%error, channel = channel.name(), "listening is tried again");
                        RECONNECT
                    }
                    Ok(()) => RECONNECT,
                };
                tokio::time::sleep(pause).await;
            }
        });
        Self { woken, listener }
    }

    /// Returns when there is news, or after this time: then it is as well to look. News of the time between two
    /// calls is kept.
    pub(crate) async fn wait(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.woken.notified()).await;
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Until the connection is lost.
async fn listen(url: &DatabaseUrl, channel: Channel, woken: &Notify) -> crate::Result<()> {
    let lost = |error: tokio_postgres::Error| Error::Unavailable { message: error.to_string() };
    let (client, mut connection) = connect_plainly(url).await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let sql = format!("LISTEN {}", channel.name());
    let listening = client.batch_execute(&sql);
    tokio::pin!(listening);
    let mut begun = false;
    loop {
        tokio::select! {
            done = &mut listening, if !begun => {
                done.map_err(lost)?;
                begun = true;
                // Whatever was committed before has woken nobody.
                woken.notify_one();
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(_))) => woken.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(error)),
                None => return Ok(()),
            },
        }
    }
}
