//! Readers: a subscription of each tenant, in shares, and one of all tenants. The effect of an event is a row of
//! `processed_events`, whose unique key tells when it happens twice.

use std::sync::Arc;
use std::time::Duration;

use diesel::sql_query;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Arena;
use crate::database::{AllTenants, SystemTx, TenantContext, Tx};
use crate::error::{Error, Result};
use crate::events::{Event, EventHandler, EventQuery, PartitionBy, Subscriber, Subscription, SubscriptionScope};
use crate::sql::cached;
use crate::tenancy::TenantId;

/// The subscriptions, and who works on them.
pub(super) struct Readers {
    tenants: [Subscriber<TenantContext>; 2],
    all: Subscriber<AllTenants>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

/// The consumer groups of a run, by subscription.
pub(super) fn group(run: Uuid, all: bool) -> String {
    format!("stress-{run}{}", if all { "-all" } else { "" })
}

#[derive(Clone)]
struct Mark {
    arena: Arc<Arena>,
    all: bool,
}

impl<S: SubscriptionScope> EventHandler<S> for Mark {
    async fn handle(&self, tx: &Tx<S>, events: &[Event]) -> Result<()> {
        let ours = self.arena.tenants.each_ref().map(TenantContext::tenant_id);
        let (mine, others): (Vec<_>, Vec<_>) = events.iter().partition(|event| ours.contains(&event.tenant_id));
        if !events.is_sorted_by(|one, next| one.position < next.position) || (!self.all && !others.is_empty()) {
            Arena::count(&self.arena.violations, 1);
        }
        let insert = sql_query(
            "INSERT INTO processed_events (tenant_id, consumer_group, event_id, event_type) \
             SELECT tenant, $3, event, 'stress' FROM unnest($1, $2) AS done (tenant, event)",
        )
        .bind::<Array<SqlUuid>, _>(mine.iter().map(|event| event.tenant_id).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(mine.iter().map(|event| event.id).collect::<Vec<_>>())
        .bind::<Text, _>(group(self.arena.run, self.all));
        let written = cached(insert).execute(&mut tx.connection()).await.map_err(Error::from);
        if matches!(written, Err(Error::Conflict { .. })) {
            Arena::count(&self.arena.doubled, 1);
        }
        Arena::count(&self.arena.handled, written?);
        Ok(())
    }
}

pub(super) async fn start(arena: &Arc<Arena>, readers: u16) -> Result<Readers> {
    let shared = || {
        Subscription::new(group(arena.run, false), EventQuery::all()).partitions(4, PartitionBy::Tag("course".into()))
    };
    let all = Subscription::new(group(arena.run, true), EventQuery::all()).from_head();
    let mut readers_of = Readers {
        tenants: [
            arena.database.subscribe(&arena.tenants[0], shared()).await?,
            arena.database.subscribe(&arena.tenants[1], shared()).await?,
        ],
        all: arena.database.subscribe_all(all).await?,
        tasks: Vec::new(),
    };
    for number in 0..usize::from(readers) {
        let task = match number % 3 {
            2 => tokio::spawn(read(arena.clone(), readers_of.all.clone(), true)),
            which => tokio::spawn(read(arena.clone(), readers_of.tenants[which].clone(), false)),
        };
        readers_of.tasks.push(task);
    }
    Ok(readers_of)
}

async fn read<S: SubscriptionScope>(arena: Arc<Arena>, subscriber: Subscriber<S>, all: bool) -> Result<()> {
    let mark = Mark { arena: arena.clone(), all };
    let over = async {
        while !arena.is_over() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match subscriber.run_until(&mark, over).await {
        // Counted: what is doubled stops its subscription.
        Err(Error::Conflict { .. }) => Ok(()),
        ended => ended,
    }
}

impl Readers {
    /// Ends the workers, and does what they left.
    pub(super) async fn finish(self, arena: &Arc<Arena>) -> Result<()> {
        for task in self.tasks {
            task.await.map_err(|error| Error::configuration(format!("a reader ended: {error}")))??;
        }
        if arena.counted().doubled > 0 {
            return Ok(());
        }
        for subscriber in &self.tenants {
            subscriber.catch_up(&Mark { arena: arena.clone(), all: false }).await?;
        }
        self.all.catch_up(&Mark { arena: arena.clone(), all: true }).await?;
        Ok(())
    }
}

/// Deletes what does not go with the tenants.
pub(super) async fn forget(tx: &SystemTx, run: Uuid, tenants: [TenantId; 2]) -> Result<()> {
    for sql in [
        "DELETE FROM event_subscriptions WHERE tenant_id = '00000000-0000-0000-0000-000000000000' AND name = $1 AND $2 <> '{}'",
        "DELETE FROM processed_events WHERE consumer_group IN ($1, left($1, -4)) AND tenant_id = ANY ($2)",
    ] {
        let delete = sql_query(sql).bind::<Text, _>(group(run, true)).bind::<Array<SqlUuid>, _>(tenants.to_vec());
        cached(delete).execute(&mut tx.connection()).await?;
    }
    Ok(())
}
