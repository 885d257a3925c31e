//! How fast the outbox is: messages a second through relays into a sink that does nothing, and the time from the
//! commit of the business transaction to the sink.
//!
//! `cargo bench --bench outbox`. A private server that waits for its disk, with its default settings; figures of one
//! run. Every row of the table relays the same number of messages, checks that each came once and in its order, and
//! starts from a table that was vacuumed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::PrivateServer;
use bedplate::models::{NewOutboxEvent, NewTenant, OutboxEvent, RelayOptions, TenantId, TenantType};
use bedplate::outbox::{Relay, Sink, SinkError};
use bedplate::{Config, Database, Environment, Error, TenantContext};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use futures_util::future::try_join_all;
use tokio::sync::Notify;

const MESSAGES: u64 = 100_000;

#[derive(Default)]
struct Nothing {
    count: AtomicU64,
    out_of_order: AtomicBool,
    /// The last message of each entity.
    last: Mutex<HashMap<(TenantId, String), i64>>,
    arrived: Notify,
}

impl Sink for Nothing {
    async fn publish(&self, message: &OutboxEvent) -> Result<(), SinkError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.insert((message.tenant_id, message.entity_id.clone()), message.sequence);
        if before >= Some(message.sequence) {
            self.out_of_order.store(true, Ordering::Relaxed);
        }
        self.arrived.notify_one();
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(io)?;
    let server = PrivateServer::at(home.path());
    server.start(&mut |_| {}).await?;
    let measured = measure(&server).await;
    server.stop()?;
    measured
}

async fn measure(server: &PrivateServer) -> Result<(), Error> {
    let urls = server.urls()?.ok_or_else(|| io(std::io::Error::other("the server has no URL")))?;
    migrate::run(&urls.owner, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await?;
    let mut config = Config::new(urls.owner.clone(), Environment::Development);
    config.app_url = Some(urls.app.clone());
    config.pool.max_size = 20;
    let database = Database::connect(config).await?;
    let mut owner = bedplate::database::connect(&urls.owner).await?;
    let contexts = tenants(&database).await?;

    println!("{MESSAGES} messages, written beforehand, into a sink that does nothing");
    println!("workers   batch   tenants   entities   messages/s   in order");
    for (workers, batch, tenants, entities) in [
        (1, 100, 1, 10_000),
        (1, 500, 1, 10_000),
        (1, 500, 1, 10_000),
        (1, 1000, 1, 10_000),
        (1, 500, 1, 100_000),
        (1, 500, 1, 100),
        (1, 500, 1, 1),
        (1, 500, 20, 10_000),
        (2, 500, 1, 10_000),
        (4, 500, 1, 10_000),
    ] {
        write(&database, &mut owner, &contexts[..tenants], entities).await?;
        let (rate, sink) = relay(&database, workers, batch).await?;
        let right = sink.count.load(Ordering::Relaxed) == MESSAGES && !sink.out_of_order.load(Ordering::Relaxed);
        let right = if right { "yes" } else { "NO" };
        println!("{workers:>7} {batch:>7} {tenants:>9} {entities:>10} {rate:>12.0}   {right}");
    }
    write(&database, &mut owner, &contexts[..1], 1).await?;
    owner.batch_execute("SET ROLE bedplate_system; DELETE FROM outbox_events; RESET ROLE").await?;
    println!("\nfrom the commit to the sink, one message at a time      median    95 %    99 %");
    for (what, every) in [("idle otherwise", None), ("200 other messages a second", Some(Duration::from_millis(5)))] {
        let mut times = latencies(&database, &contexts, every).await?;
        times.sort();
        let at =
            |percent: usize| times[times.len() * percent / 100 - usize::from(percent == 100)].as_secs_f64() * 1000.0;
        println!("{what:<50} {:>8.1} ms {:>4.1} ms {:>4.1} ms", at(50), at(95), at(99));
    }
    Ok(())
}

async fn tenants(database: &Database) -> Result<Vec<TenantContext>, Error> {
    let mut contexts = Vec::new();
    for n in 0..20 {
        let slug = format!("tenant-{n}");
        let new = NewTenant { slug: &slug, name: "Tenant", tenant_type: TenantType::Standard };
        let tenant = database.system_tx("tenant", async |tx| tx.tenants().create(new).await).await?;
        contexts.push(TenantContext::new(tenant.id).correlation(uuid::Uuid::now_v7()));
    }
    Ok(contexts)
}

/// In transactions of 1,000, tenant by tenant.
async fn write(
    database: &Database,
    owner: &mut AsyncPgConnection,
    contexts: &[TenantContext],
    entities: u64,
) -> Result<(), Error> {
    owner.batch_execute("SET ROLE bedplate_system; DELETE FROM outbox_events; RESET ROLE").await?;
    owner.batch_execute("VACUUM ANALYZE outbox_events").await?;
    let payload =
        serde_json::json!({"title": "Tea by post", "status": "submitted", "score": 71.5, "tags": ["tea", "post"]});
    for thousand in 0..MESSAGES / 1000 {
        let context = &contexts[usize::try_from(thousand).unwrap_or_default() % contexts.len()];
        let ids: Vec<_> = (0..1000).map(|n| format!("entity-{}", (thousand * 1000 + n) % entities)).collect();
        let ids = &ids;
        let payload = &payload;
        database
            .tenant_tx("bench.write", context, async move |tx| {
                let new: Vec<_> = ids
                    .iter()
                    .map(|id| NewOutboxEvent::new("business_idea.submitted", "business_ideas", id, payload))
                    .collect();
                tx.outbox().create_many(&new).await.map(|_| ())
            })
            .await?;
    }
    Ok(())
}

async fn relay(database: &Database, workers: usize, batch: u16) -> Result<(f64, Arc<Nothing>), Error> {
    let sink = Arc::new(Nothing::default());
    let start = Instant::now();
    let work = (0..workers).map(|_| {
        let options = RelayOptions { batch, ..RelayOptions::default() };
        let relay = Relay::new(database, sink.clone(), options);
        async move {
            tokio::spawn(async move { relay.drain(std::future::pending()).await })
                .await
                .map_err(|error| io(error.into()))?
        }
    });
    try_join_all(work).await?;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = MESSAGES as f64 / start.elapsed().as_secs_f64();
    Ok((rate, sink))
}

/// Of 300 messages, each written when the one before has arrived.
async fn latencies(
    database: &Database,
    contexts: &[TenantContext],
    others: Option<Duration>,
) -> Result<Vec<Duration>, Error> {
    let (sink, noise) = (Arc::new(Watched::default()), Arc::new(AtomicBool::new(true)));
    let relay = Relay::new(database, sink.clone(), RelayOptions::default());
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let relay = tokio::spawn(async move { relay.run_until(async move { stopped.notified().await }).await });
    let other = {
        let (database, context, noise) = (database.clone(), contexts[1].clone(), noise.clone());
        tokio::spawn(async move {
            let Some(every) = others else { return Ok(()) };
            while noise.load(Ordering::Relaxed) {
                send(&database, &context, "other").await?;
                tokio::time::sleep(every).await;
            }
            Ok::<_, Error>(())
        })
    };
    let mut times = Vec::new();
    for n in 0..320 {
        send(database, &contexts[0], "watched").await?;
        let committed = Instant::now();
        sink.arrived.notified().await;
        // The first ones warm up.
        if n >= 20 {
            times.push(committed.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    noise.store(false, Ordering::Relaxed);
    other.await.map_err(|error| io(error.into()))??;
    stop.notify_one();
    relay.await.map_err(|error| io(error.into()))??;
    Ok(times)
}

#[derive(Default)]
struct Watched {
    arrived: Notify,
}

impl Sink for Watched {
    async fn publish(&self, message: &OutboxEvent) -> Result<(), SinkError> {
        if message.event_type == "watched" {
            self.arrived.notify_one();
        }
        Ok(())
    }
}

async fn send(database: &Database, context: &TenantContext, event_type: &'static str) -> Result<(), Error> {
    database
        .tenant_tx("bench.send", context, async move |tx| {
            let (id, payload) = (uuid::Uuid::now_v7().to_string(), serde_json::json!({"n": 1}));
            tx.outbox().create(NewOutboxEvent::new(event_type, "business_ideas", &id, &payload)).await.map(|_| ())
        })
        .await
}

fn io(source: std::io::Error) -> Error {
    Error::Io { doing: "the benchmark".into(), source }
}
