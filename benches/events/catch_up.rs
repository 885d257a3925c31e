//! Reading all events from the first one on, beside a plain SELECT in their order, into the same structs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bedplate::database::Tx;
use bedplate::events::{Event, EventHandler, EventQuery, ReadFrom, Subscription};
use bedplate::{Error, TenantContext, TenantTx};
use futures_util::TryStreamExt as _;

use super::medians;
use super::server::Bench;

const ROUNDS: usize = 3;

struct Count(AtomicU64);

impl EventHandler<TenantContext> for Count {
    async fn handle(&self, _: &Tx<TenantContext>, events: &[Event]) -> Result<(), Error> {
        self.0.fetch_add(events.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) async fn measure(bench: &Bench, stored: i64) -> Result<(), Error> {
    let mut rounds = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let plain = timed(plain(bench, stored)).await?;
        let stream = timed(stream(bench)).await?;
        let read = timed(read(bench, stored)).await?;
        let subscription = timed(subscribe(bench, stored, round)).await?;
        if round > 0 {
            for (rounds, rate) in rounds.iter_mut().zip([stream, read, subscription]) {
                rounds.push((plain, rate));
            }
        }
    }
    println!("catch-up reading                    events/s   ratio");
    println!("  SELECT … ORDER BY position      {:>10.0}   1.00", medians(&rounds[0]).0);
    for (name, rounds) in
        ["events().stream", "events().read, 5,000 at a time", "a subscription, 5,000 at a time"].iter().zip(&rounds)
    {
        let (_, rate, ratio) = medians(rounds);
        println!("  {name:<31} {rate:>10.0}   {ratio:.2}");
    }
    Ok(())
}

async fn timed(work: impl Future<Output = Result<u64, Error>>) -> Result<f64, Error> {
    let start = Instant::now();
    let events = work.await?;
    Ok(f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / start.elapsed().as_secs_f64())
}

async fn plain(bench: &Bench, stored: i64) -> Result<u64, Error> {
    use diesel_async::RunQueryDsl as _;
    let select = async move |tx: TenantTx| {
        let query = diesel::sql_query(
            "SELECT tenant_id, position, id, event_type, event_data, metadata, tags, aggregate_type, aggregate_id, \
                    event_version, correlation_id, causation_id, created_at \
               FROM events WHERE tenant_id = current_tenant() ORDER BY position LIMIT $1",
        )
        .bind::<diesel::sql_types::BigInt, _>(stored);
        let mut events = query.load_stream::<Event>(&mut tx.connection()).await?;
        let mut count = 0;
        while events.try_next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    };
    bench.database.tenant_tx("bench.select", &bench.context, select).await
}

async fn stream(bench: &Bench) -> Result<u64, Error> {
    let stream = async move |tx: TenantTx| {
        let mut events = tx.events().stream(&EventQuery::all(), ReadFrom::Start).await?;
        let mut count = 0;
        while events.try_next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    };
    bench.database.tenant_tx("bench.stream", &bench.context, stream).await
}

async fn read(bench: &Bench, stored: i64) -> Result<u64, Error> {
    let (mut count, mut after) = (0, 0);
    while count < stored.unsigned_abs() {
        let page = async move |tx: TenantTx| tx.events().read(&EventQuery::all(), ReadFrom::After(after), 5000).await;
        let page = bench.database.tenant_tx("bench.read", &bench.context, page).await?;
        count += page.len() as u64;
        after = page.last().map_or(i64::MAX, |event| event.position);
    }
    Ok(count)
}

async fn subscribe(bench: &Bench, stored: i64, round: usize) -> Result<u64, Error> {
    let subscription = Subscription::new(format!("bench-{round}"), EventQuery::all()).batch(5000);
    let subscriber = bench.database.subscribe(&bench.context, subscription).await?;
    let count = Count(AtomicU64::new(0));
    while count.0.load(Ordering::Relaxed) < stored.unsigned_abs() {
        subscriber.turn(&count).await?;
    }
    Ok(count.0.into_inner())
}
