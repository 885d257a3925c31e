//! One event with two tags and a condition on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bedplate::Error;
use bedplate::events::{AppendCondition, EventQuery, NewEvent, QueryItem};
use serde_json::json;
use tokio_postgres::Client;

use super::server::{Bench, COURSES};
use super::{CLIENTS, ROUNDS, line, rate, sent};

const INSERT: &str =
    "INSERT INTO plain (id, event_type, event_data, tags) VALUES ($1::text::uuid, $2, $3::text::jsonb, $4)";
const ROWS: &str = "WITH e AS (INSERT INTO events (tenant_id, id, event_type, event_data, tags) \
        VALUES ($1::text::uuid, $2::text::uuid, $3, $4::text::jsonb, $5) RETURNING tenant_id, position, tags) \
    INSERT INTO event_tags SELECT tenant_id, event_tag_hash(unnest(tags)), position FROM e";
const APPEND: &str = "SELECT append_events($1::text::jsonb, $2::text::jsonb)";

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Another course and student for each event.
fn next() -> (u64, u64) {
    let number = NUMBER.fetch_add(7919, Ordering::Relaxed);
    (number % COURSES.unsigned_abs(), number)
}

fn enrolled((course, student): (u64, u64)) -> NewEvent {
    NewEvent::new("Enrolled", json!({"at": "noon", "by": "somebody with a name"}))
        .tag("course", course)
        .tag("student", student)
}

fn query((course, student): (u64, u64)) -> EventQuery {
    QueryItem::default().tag("student", student).tag("course", course).into()
}

pub(crate) async fn measure(bench: &Bench) -> Result<(), Error> {
    println!(
        "append, one event      clients   INSERT/s   append/s  ratio     rows/s  ratio (medians of {ROUNDS} rounds)"
    );
    for clients in CLIENTS {
        let (connections, admin) = (bench.bare(clients).await?, bench.admin(clients).await?);
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let rates = vec![plain(&connections).await?, conditional(&connections).await?, rows(bench, &admin).await?];
            if round > 0 {
                rounds.push(rates);
            }
        }
        println!("{}", line("bare", clients, &rounds));
    }
    for clients in CLIENTS {
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let rates =
                vec![through_boundary(bench, clients, false).await?, through_boundary(bench, clients, true).await?];
            if round > 0 {
                rounds.push(rates);
            }
        }
        println!("{}", line("tenant_tx", clients, &rounds));
    }
    Ok(())
}

pub(crate) async fn plain(connections: &[Arc<Client>]) -> Result<f64, Error> {
    rate(connections.len(), |task, end| {
        let client = connections[task].clone();
        async move {
            let statement = client.prepare(INSERT).await.map_err(sent)?;
            let mut done = 0;
            while Instant::now() < end {
                let event = enrolled(next());
                let data = r#"{"at": "noon", "by": "somebody with a name"}"#;
                let id = event.event_id().to_string();
                client.execute(&statement, &[&id, &event.event_type(), &data, &event.tags()]).await.map_err(sent)?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await
}

async fn rows(bench: &Bench, connections: &[Arc<Client>]) -> Result<f64, Error> {
    let tenant = bench.context.tenant_id().to_string();
    rate(connections.len(), |task, end| {
        let (client, tenant) = (connections[task].clone(), tenant.clone());
        async move {
            let statement = client.prepare(ROWS).await.map_err(sent)?;
            let mut done = 0;
            while Instant::now() < end {
                let event = enrolled(next());
                let data = r#"{"at": "noon", "by": "somebody with a name"}"#;
                let id = event.event_id().to_string();
                let row: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                    [&tenant, &id, &event.event_type(), &data, &event.tags()];
                client.execute(&statement, &row).await.map_err(sent)?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await
}

/// Each connection appends under a condition, with a token of the round's beginning.
pub(crate) async fn conditional(connections: &[Arc<Client>]) -> Result<f64, Error> {
    rate(connections.len(), |task, end| {
        let client = connections[task].clone();
        async move {
            let statement = client.prepare(APPEND).await.map_err(sent)?;
            let token = Bench::token(&client).await?;
            let mut done = 0;
            while Instant::now() < end {
                let tags = next();
                let events = serde_json::to_string(&[enrolled(tags)]).unwrap_or_default();
                let condition = json!({ "fail_if_events_match": query(tags), "after": token }).to_string();
                client.execute(&statement, &[&events, &condition]).await.map_err(sent)?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await
}

async fn through_boundary(bench: &Bench, clients: usize, append: bool) -> Result<f64, Error> {
    let token = bench.database.tenant_tx("bench", &bench.context, async |tx| tx.events().token().await).await?;
    rate(clients, |_, end| {
        let (database, context, token) = (bench.database.clone(), bench.context.clone(), token.clone());
        async move {
            let mut done = 0;
            while Instant::now() < end {
                let tags = next();
                let event = [enrolled(tags)];
                let event = &event;
                if append {
                    let condition = AppendCondition::fail_if(query(tags)).after(token.clone());
                    let condition = &condition;
                    let work = async move |tx: bedplate::TenantTx| tx.events().append(event, Some(condition)).await;
                    database.tenant_tx("bench", &context, work).await?;
                } else {
                    let insert = async move |tx: bedplate::TenantTx| insert(&tx, &event[0]).await;
                    database.tenant_tx("bench", &context, insert).await?;
                }
                done += 1;
            }
            Ok(done)
        }
    })
    .await
}

diesel::table! {
    plain (position) {
        position -> BigInt,
        id -> Uuid,
        event_type -> Text,
        event_data -> Jsonb,
        tags -> Array<Text>,
    }
}

/// Without optional columns, and so prepared once a connection.
async fn insert(tx: &bedplate::TenantTx, event: &NewEvent) -> Result<usize, Error> {
    use diesel::ExpressionMethods as _;
    use diesel_async::RunQueryDsl as _;
    let insert = diesel::insert_into(plain::table).values((
        plain::id.eq(event.event_id().as_uuid()),
        plain::event_type.eq(event.event_type()),
        plain::event_data.eq(json!({"at": "noon", "by": "somebody with a name"})),
        plain::tags.eq(event.tags()),
    ));
    Ok(insert.execute(&mut tx.connection()).await?)
}
