//! Instances of an application: each does one unit of work after the other, and stops at the first that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bedplate::database::{AllTenants, Tx};
use bedplate::events::{Event, EventHandler, EventQuery, NewEvent, Subscription};
use bedplate::models::{OutboxClaim, OutboxEvent, SessionData, SessionId};
use bedplate::outbox::{Relay, Sink, SinkError};
use bedplate::{Database, Error, Result, TenantTx};
use chrono::{TimeDelta, Utc};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::exercise::{exercise, exercise_marketdata, exercise_rfq};
use crate::support::database::open;
use crate::support::sinks::{options, send};
use crate::support::{Home, TestDatabase, connection, execute, home};

type Databases = [Arc<TestDatabase>; 3];

/// Counts what it is handed.
struct Handler;

impl EventHandler<AllTenants> for Handler {
    async fn handle(&self, _: &Tx<AllTenants>, _: &[Event]) -> Result<()> {
        Ok(())
    }
}

/// Takes every message.
struct Takes;

impl Sink for Takes {
    async fn publish(&self, _: &OutboxEvent) -> std::result::Result<(), SinkError> {
        Ok(())
    }
}

/// The instances at work.
pub struct Load {
    workers: JoinSet<&'static str>,
    stop: Arc<AtomicBool>,
    /// Of each worker: how many units it began, and how many of them ended.
    done: Vec<watch::Receiver<u64>>,
}

impl Load {
    pub async fn start(databases: &Databases) -> Self {
        let mut load = Self { workers: JoinSet::new(), stop: Arc::default(), done: Vec::new() };
        let [main, rfq, marketdata] = databases.clone();
        load.worker("repositories", open(&main.url).await, |database: Database| async move {
            let home = home(&database).await;
            exercise(&database, &home).await;
        });
        load.worker("marketdata", open(&marketdata.url).await, |database: Database| async move {
            database.marketdata().read_tx("load", async |tx| exercise_marketdata(&tx).await).await.unwrap();
        });
        load.worker("sessions", open(&main.url).await, |database: Database| async move { sessions(&database).await });
        load.worker("system", open(&main.url).await, |database: Database| async move { system(&database).await });
        let tenant = home(&main).await;
        let (of_rfq, of_relay, of_subscription) = (tenant.clone(), tenant.clone(), tenant);
        load.worker("rfq", open(&rfq.url).await, move |database| {
            let context = of_rfq.context.clone();
            async move { exercise_rfq(&database, &context).await }
        });
        load.worker("relay", open(&main.url).await, move |database| relay(database, of_relay.clone()));
        load.worker("subscription", open(&main.url).await, move |database| {
            // Its future is not Send for any lifetime, as a spawned one has to be.
            let (here, home) = (tokio::runtime::Handle::current(), of_subscription.clone());
            let unit = tokio::task::spawn_blocking(move || here.block_on(subscription(database, home)));
            async move { unit.await.unwrap() }
        });
        load
    }

    fn worker<Unit>(&mut self, name: &'static str, database: Database, unit: impl Fn(Database) -> Unit + Send + 'static)
    where
        Unit: Future<Output = ()> + Send,
    {
        let (count, done) = watch::channel(0);
        self.done.push(done);
        let stop = self.stop.clone();
        self.workers.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                unit(database.clone()).await;
                count.send_modify(|count| *count += 1);
            }
            name
        });
    }

    /// Returns when every worker has done a unit of work from its begin to its end.
    pub async fn each_does_one_more(&mut self) {
        let whole = async {
            for done in &mut self.done {
                // The one at hand was begun before.
                let until = *done.borrow() + 2;
                done.wait_for(|count| *count >= until).await.unwrap();
            }
        };
        tokio::select! {
            () = whole => {}
            ended = self.workers.join_next() => panic!("a unit of work failed: {ended:?}"),
        }
    }

    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
    }
}

/// Every method of the sessions.
pub async fn sessions(database: &Database) {
    let data = SessionData::from_iter([("note".to_owned(), json!("tea"))]);
    let (id, end) = (SessionId::new(), Utc::now() + TimeDelta::hours(1));
    database
        .session_tx("sessions", async |tx| {
            let sessions = tx.sessions();
            sessions.create(&id, &data, end).await?;
            sessions.find(&id).await?;
            sessions.save(&id, &data, end).await?;
            sessions.touch(&id, end).await?;
            let other = sessions.cycle_id(&id).await?;
            sessions.delete(&other).await
        })
        .await
        .unwrap();
}

/// What works across tenants. What it claims is the relay's again: a claim that nobody settles would count as a failure.
pub async fn system(database: &Database) {
    let claimed = database
        .system_tx("system", async |tx| {
            let claim = OutboxClaim { worker: "system", limit: 1, lease: Duration::from_secs(1) };
            tx.outbox_queue().claim(claim).await?;
            Err::<(), _>(Error::LastOwner)
        })
        .await;
    assert!(matches!(claimed, Err(Error::LastOwner)), "{claimed:?}");
    database
        .system_tx("system", async |tx| {
            tx.outbox_queue().status().await?;
            tx.outbox_queue().list_dead(10).await?;
            tx.subscription_lags().await.map(drop)
        })
        .await
        .unwrap();
}

async fn relay(database: Database, home: Home) {
    let sink = Arc::new(Takes);
    send(&database, &home.context, &[("green", 1), ("black", 2)]).await;
    let relayed = Relay::new(&database, sink, options("load")).drain(std::future::pending()).await.unwrap();
    assert_eq!((relayed.retried, relayed.dead, relayed.lost), (0, 0, 0), "{relayed:?}");
}

async fn subscription(database: Database, home: Home) {
    let append = async |tx: TenantTx| tx.events().append(&[NewEvent::new("Noted", json!({}))], None).await;
    database.tenant_tx("subscription", &home.context, append).await.unwrap();
    let all = Subscription::new("load", EventQuery::all());
    database.subscribe_all(all).await.unwrap().catch_up(&Handler).await.unwrap();
}

/// Rows that the readers of `marketdata` ask for.
pub async fn reference(db: &TestDatabase) {
    execute(
        &mut connection(&db.url).await,
        "SET ROLE bedplate_system; \
         INSERT INTO venues SELECT 'V' || n, 'Venue', 'US', 'UTC' FROM generate_series(100, 101) AS n; \
         INSERT INTO instruments SELECT 'S' || n, 'Instrument', 'equity', 'USD', 1, 1, 'V100' FROM generate_series(1, 3) AS n; \
         INSERT INTO price_ticks (instrument_symbol, ts, last) SELECT 'S' || n, now() - d * interval '1 day', 1 \
           FROM generate_series(1, 2) AS n, generate_series(0, 3) AS d",
    )
    .await;
}
