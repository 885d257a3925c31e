//! Futures of the library inside of an application's own, as a handler of axum or a spawned task has them.
//!
//! That this file compiles is the test: the compiler loses `Send` where a future holds a closure of another lifetime.
#![expect(dead_code, reason = "compiling is the test")]

use std::future::pending;
use std::sync::Arc;

use bedplate::database::{AllTenants, Tx, doctor, maintain};
use bedplate::events::{
    AppendCondition, Decision, Event, EventHandler, EventSink, NewEvent, Projection, Resume, Subscriber, Subscription,
    SubscriptionScope,
};
use bedplate::outbox::{Relay, RelayOptions, Webhook};
use bedplate::{Config, Database, Result, TenantContext};
use secrecy::SecretString;
use uuid::Uuid;

fn can_be_spawned<F: Future + Send + 'static>(_: F) {}

struct Nothing;

impl<S: SubscriptionScope> EventHandler<S> for Nothing {
    async fn handle(&self, _: &Tx<S>, _: &[Event]) -> Result<()> {
        Ok(())
    }
}

impl EventSink for Nothing {
    async fn deliver(&self, _: &[Event]) -> Result<()> {
        Ok(())
    }
}

impl<S: SubscriptionScope> Projection<S> for Nothing {
    async fn reset(&self, _: &Tx<S>) -> Result<()> {
        Ok(())
    }
}

fn of_a_database(database: Database, context: TenantContext, email: String, secret: SecretString) {
    can_be_spawned(async move {
        database.authenticate(&context, &email, &secret).await.map(drop)?;
        database.authenticate_key(&secret).await.map(drop)?;
        database.wal_position().await
    });
}

fn of_transactions(database: Database, context: TenantContext, text: String) {
    can_be_spawned(async move {
        let borrowed = &text;
        let in_one = database.tenant_tx("spawned", &context, async |tx| {
            tx.idempotent("key", borrowed, async { Ok(borrowed.len()) }).await?;
            tx.savepoint(async { Ok(borrowed.len()) }).await?;
            tx.process_once("group", Uuid::nil(), "type", async { Ok(borrowed.len()) }).await.map(drop)
        });
        in_one.await?;
        database.system_tx("spawned", async |_| Ok(borrowed.len())).await?;
        database.session_tx("spawned", async |_| Ok(borrowed.len())).await?;
        database.rfq().tenant_tx("spawned", &context, async |_| Ok(borrowed.len())).await?;
        database.rfq().system_tx("spawned", async |_| Ok(borrowed.len())).await?;
        database.marketdata().system_tx("spawned", async |_| Ok(borrowed.len())).await?;
        database.replica().tenant_read("spawned", &context, async |_| Ok(borrowed.len())).await?;
        database.replica().system_read("spawned", async |_| Ok(borrowed.len())).await
    });
}

fn of_events(database: Database, context: TenantContext, new: Vec<NewEvent>, condition: AppendCondition) {
    can_be_spawned(async move { database.append_events(&context, &new, Some(&condition)).await });
}

fn of_decisions<D: Decision + Send + Sync + 'static>(database: Database, context: TenantContext, decision: D)
where
    D::State: Send,
{
    can_be_spawned(async move { database.decide("spawned", &context, &decision).await.map(drop) });
}

fn of_a_subscription(database: Database, context: TenantContext, subscription: Subscription, resume: Resume) {
    can_be_spawned(async move {
        database.subscribe(&context, subscription.clone()).await?;
        let changed = database.change_subscription(&context, subscription, resume).await?;
        Ok::<_, bedplate::Error>(changed)
    });
}

fn of_a_subscription_of_all(database: Database, subscription: Subscription, resume: Resume) {
    can_be_spawned(async move {
        database.subscribe_all(subscription.clone()).await?;
        let changed: Subscriber<AllTenants> = database.change_subscription_of_all(subscription, resume).await?;
        Ok::<_, bedplate::Error>(changed)
    });
}

fn of_a_worker<S: SubscriptionScope>(worker: Subscriber<S>) {
    can_be_spawned(async move {
        worker.turn(&Nothing).await?;
        worker.deliver_turn(&Nothing).await?;
        worker.lag().await?;
        worker.catch_up(&Nothing).await?;
        worker.rebuild(&Nothing).await?;
        worker.run_until(&Nothing, pending()).await?;
        worker.deliver_until(&Nothing, pending()).await
    });
}

fn of_a_relay(database: Database, sink: Arc<Webhook>) {
    can_be_spawned(async move {
        let relay = Relay::new(&database, sink, RelayOptions::default());
        relay.run_until(pending()).await?;
        relay.drain(pending()).await
    });
}

fn of_operations(config: Config, rulebook: doctor::Rulebook, keep: maintain::Keep) {
    can_be_spawned(async move {
        doctor::examine(&config, &rulebook).await?;
        maintain::run(&config, keep, |_| {}).await.map(drop)?;
        Database::connect(config).await
    });
}
