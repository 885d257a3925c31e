//! Sinks for the tests of the outbox.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bedplate::models::{NewOutboxEvent, OutboxEvent, RelayOptions, Relayed, RetryPolicy};
use bedplate::outbox::{Relay, Sink, SinkError};
use bedplate::{Database, TenantContext};
use serde_json::json;
use tokio::sync::Notify;

use super::{TestDatabase, connection, execute, texts};

type Answer = Box<dyn Fn(&OutboxEvent) -> Result<(), SinkError> + Send + Sync>;

/// Remembers what it was handed, and answers as the test says.
pub struct Recorder {
    handed: Mutex<Vec<OutboxEvent>>,
    taken: Mutex<Vec<OutboxEvent>>,
    answer: Answer,
    pub arrived: Notify,
}

impl Recorder {
    /// Takes everything.
    pub fn new() -> Arc<Self> {
        Self::answering(|_| Ok(()))
    }

    pub fn answering(answer: impl Fn(&OutboxEvent) -> Result<(), SinkError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            handed: Mutex::default(),
            taken: Mutex::default(),
            answer: Box::new(answer),
            arrived: Notify::new(),
        })
    }

    /// The payloads' numbers of what it was handed.
    pub fn handed(&self) -> Vec<i64> {
        self.handed.lock().unwrap().iter().map(number_of).collect()
    }

    /// The same of what it took.
    pub fn taken(&self) -> Vec<i64> {
        self.taken.lock().unwrap().iter().map(number_of).collect()
    }

    /// What it took, by entity: each message once, when it came first.
    pub fn first_taken(&self) -> BTreeMap<String, Vec<i64>> {
        let mut by_entity: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for event in self.taken.lock().unwrap().iter() {
            let entity = by_entity.entry(format!("{}/{}", event.tenant_id, event.entity_id)).or_default();
            if !entity.contains(&event.sequence) {
                entity.push(event.sequence);
            }
        }
        by_entity
    }

    /// Returns when it was handed so many.
    pub async fn until_handed(&self, count: usize) {
        let arrived = async {
            while self.handed.lock().unwrap().len() < count {
                self.arrived.notified().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), arrived).await;
        in_time.unwrap_or_else(|_| panic!("{count} were expected, these came: {:?}", self.handed()));
    }
}

fn number_of(event: &OutboxEvent) -> i64 {
    event.payload["n"].as_i64().unwrap()
}

impl Sink for Recorder {
    async fn publish(&self, message: &OutboxEvent) -> Result<(), SinkError> {
        self.handed.lock().unwrap().push(message.clone());
        let answer = (self.answer)(message);
        if answer.is_ok() {
            self.taken.lock().unwrap().push(message.clone());
        }
        self.arrived.notify_one();
        answer
    }
}

/// Retries at once, and never polls in time for a test: what goes on is woken.
pub fn options(worker: &str) -> RelayOptions {
    RelayOptions {
        worker: worker.into(),
        poll: Duration::from_mins(10),
        retry: RetryPolicy { pauses: vec![].into(), max_attempts: 3 },
        ..RelayOptions::default()
    }
}

/// Writes messages `{"n": number}` for these entities, in one transaction.
pub async fn send(db: &Database, context: &TenantContext, messages: &[(&str, i64)]) -> Vec<OutboxEvent> {
    db.tenant_tx("tests.send", context, async |tx| {
        let payloads: Vec<_> = messages.iter().map(|(_, n)| json!({"n": n})).collect();
        let new: Vec<_> = messages
            .iter()
            .zip(&payloads)
            .map(|((entity, _), payload)| NewOutboxEvent::new("tea.brewed", "pots", entity, payload))
            .collect();
        tx.outbox().create_many(&new).await
    })
    .await
    .unwrap()
}

/// Relays what there is.
pub async fn drain<S: Sink>(db: &TestDatabase, sink: &Arc<S>) -> Relayed {
    Relay::new(&db.database, sink.clone(), options("drain")).drain(std::future::pending()).await.unwrap()
}

/// `n state attempts error`, in the order of writing.
pub async fn states(db: &TestDatabase) -> Vec<String> {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    texts(
        &mut owner,
        "SELECT concat_ws(' ', payload ->> 'n', CASE WHEN published_at IS NOT NULL THEN 'published' \
            WHEN dead_at IS NOT NULL THEN 'dead' WHEN claim_id IS NOT NULL THEN 'leased' ELSE 'open' END, \
            retry_count, last_error) FROM outbox_events ORDER BY sequence",
    )
    .await
}
