//! A hundred events in one append, beside a hundred rows in one INSERT.

use std::time::Instant;

use bedplate::Error;
use bedplate::events::NewEvent;
use serde_json::json;

use super::server::{Bench, COURSES};
use super::{CLIENTS, ROUNDS, medians, rate, sent};

const BATCH: u64 = 100;
const INSERT: &str = "INSERT INTO plain (id, event_type, event_data, tags) \
    SELECT id, type, data::jsonb, ARRAY[course, student] FROM unnest($1::text[]::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) \
        AS new (id, type, data, course, student)";
const APPEND: &str = "SELECT append_events($1::text::jsonb)";

pub(crate) async fn measure(bench: &Bench) -> Result<(), Error> {
    println!("append, 100 events     clients   INSERT/s   append/s   ratio (events a second)");
    for clients in CLIENTS {
        let connections = bench.bare(clients).await?;
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let inserted = rate(clients, |task, end| {
                let client = connections[task].clone();
                async move {
                    let statement = client.prepare(INSERT).await.map_err(sent)?;
                    let mut done = 0;
                    while Instant::now() < end {
                        let ids: Vec<_> = (0..BATCH).map(|_| uuid::Uuid::now_v7().to_string()).collect();
                        let types = vec!["Enrolled"; ids.len()];
                        let data = vec![r#"{"at": "noon", "by": "somebody with a name"}"#; ids.len()];
                        let courses: Vec<_> = (0..BATCH)
                            .map(|n| format!("course:{}", (done * 31 + n) % COURSES.unsigned_abs()))
                            .collect();
                        let students: Vec<_> = (0..BATCH).map(|n| format!("student:{}", done * BATCH + n)).collect();
                        client.execute(&statement, &[&ids, &types, &data, &courses, &students]).await.map_err(sent)?;
                        done += 1;
                    }
                    Ok(done * BATCH)
                }
            });
            let inserted = inserted.await?;
            let appended = rate(clients, |task, end| {
                let client = connections[task].clone();
                async move {
                    let statement = client.prepare(APPEND).await.map_err(sent)?;
                    let mut done = 0;
                    while Instant::now() < end {
                        let events: Vec<_> = (0..BATCH)
                            .map(|n| {
                                NewEvent::new("Enrolled", json!({"at": "noon", "by": "somebody with a name"}))
                                    .tag("course", (done * 31 + n) % COURSES.unsigned_abs())
                                    .tag("student", done * BATCH + n)
                            })
                            .collect();
                        let events = serde_json::to_string(&events).unwrap_or_default();
                        client.execute(&statement, &[&events]).await.map_err(sent)?;
                        done += 1;
                    }
                    Ok(done * BATCH)
                }
            });
            let appended = appended.await?;
            if round > 0 {
                rounds.push((inserted, appended));
            }
        }
        let (inserted, appended, ratio) = medians(rounds);
        println!("  bare                 {clients:>7} {inserted:>10.0} {appended:>10.0}   {ratio:.2}");
    }
    Ok(())
}
