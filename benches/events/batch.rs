//! A hundred events in one append, beside a hundred rows in one INSERT.

use std::sync::Arc;
use std::time::Instant;

use bedplate::Error;
use bedplate::events::NewEvent;
use serde_json::json;
use tokio_postgres::Client;

use super::server::{Bench, COURSES};
use super::{CLIENTS, ROUNDS, line, rate, sent};

const BATCH: u64 = 100;
const INSERT: &str = "INSERT INTO plain (id, event_type, event_data, tags) \
    SELECT id, type, data::jsonb, ARRAY[course, student] FROM unnest($1::text[]::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) \
        AS new (id, type, data, course, student)";
const ROWS: &str = "WITH e AS (INSERT INTO events (tenant_id, id, event_type, event_data, tags) \
        SELECT $6::text::uuid, id, type, data::jsonb, ARRAY[course, student] \
          FROM unnest($1::text[]::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) AS new (id, type, data, course, student) \
        RETURNING tenant_id, position, tags) \
    INSERT INTO event_tags SELECT tenant_id, event_tag_hash(unnest(tags)), position FROM e";
const APPEND: &str = "SELECT append_events($1::text::jsonb)";

pub(crate) async fn measure(bench: &Bench) -> Result<(), Error> {
    println!("append, 100 events     clients   INSERT/s   append/s  ratio     rows/s  ratio (events a second)");
    let tenant = bench.context.tenant_id().to_string();
    for clients in CLIENTS {
        let (connections, admin) = (bench.bare(clients).await?, bench.admin(clients).await?);
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let rates = vec![
                inserted(&connections, INSERT, None).await?,
                appended(&connections).await?,
                inserted(&admin, ROWS, Some(&tenant)).await?,
            ];
            if round > 0 {
                rounds.push(rates);
            }
        }
        println!("{}", line("bare", clients, &rounds));
    }
    Ok(())
}

/// By a statement that takes the columns as arrays, and perhaps the tenant.
async fn inserted(connections: &[Arc<Client>], statement: &str, tenant: Option<&str>) -> Result<f64, Error> {
    rate(connections.len(), |task, end| {
        let (client, statement) = (connections[task].clone(), statement.to_owned());
        let tenant = tenant.map(ToOwned::to_owned);
        async move {
            let statement = client.prepare(&statement).await.map_err(sent)?;
            let mut done = 0;
            while Instant::now() < end {
                let ids: Vec<_> = (0..BATCH).map(|_| uuid::Uuid::now_v7().to_string()).collect();
                let types = vec!["Enrolled"; ids.len()];
                let data = vec![r#"{"at": "noon", "by": "somebody with a name"}"#; ids.len()];
                let (courses, students): (Vec<_>, Vec<_>) = (0..BATCH).map(|n| tags(done, n)).unzip();
                let mut row: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
                    vec![&ids, &types, &data, &courses, &students];
                if let Some(tenant) = &tenant {
                    row.push(tenant);
                }
                client.execute(&statement, &row).await.map_err(sent)?;
                done += 1;
            }
            Ok(done * BATCH)
        }
    })
    .await
}

async fn appended(connections: &[Arc<Client>]) -> Result<f64, Error> {
    rate(connections.len(), |task, end| {
        let client = connections[task].clone();
        async move {
            let statement = client.prepare(APPEND).await.map_err(sent)?;
            let mut done = 0;
            while Instant::now() < end {
                let event = |n| {
                    let (course, student) = tags(done, n);
                    let mut event = NewEvent::new("Enrolled", json!({"at": "noon", "by": "somebody with a name"}));
                    for (key, value) in [&course, &student].iter().filter_map(|tag| tag.split_once(':')) {
                        event = event.tag(key, value);
                    }
                    event
                };
                let events: Vec<_> = (0..BATCH).map(event).collect();
                let events = serde_json::to_string(&events).unwrap_or_default();
                client.execute(&statement, &[&events]).await.map_err(sent)?;
                done += 1;
            }
            Ok(done * BATCH)
        }
    })
    .await
}

fn tags(batch: u64, number: u64) -> (String, String) {
    let course = (batch * 31 + number) % COURSES.unsigned_abs();
    (format!("course:{course}"), format!("student:{}", batch * BATCH + number))
}
