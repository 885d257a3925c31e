//! disintegrate-postgres: `peers URL CLIENTS SECONDS` prints how many events a second so many tasks append, each under
//! a condition on its two ids; `peers URL fill EVENTS` stores some first.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use disintegrate::serde::json::Json;
use disintegrate::{Event, EventStore as _, query};
use disintegrate_postgres::PgEventStore;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
enum Enrolment {
    Enrolled {
        #[id]
        course_id: String,
        #[id]
        student_id: String,
        at: String,
        by: String,
    },
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

fn next() -> (String, String) {
    let number = NUMBER.fetch_add(7919, Ordering::Relaxed);
    ((number % 20_000).to_string(), number.to_string())
}

fn enrolled(course_id: String, student_id: String) -> Enrolment {
    Enrolment::Enrolled { course_id, student_id, at: "noon".into(), by: "somebody with a name".into() }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [url, clients, number] = arguments.as_slice() else { return Err("URL CLIENTS SECONDS".into()) };
    let pool = PgPoolOptions::new().max_connections(clients.parse().unwrap_or(1)).connect(url).await?;
    let store = PgEventStore::<Enrolment, Json<Enrolment>>::try_new(pool.clone(), Json::default()).await?;
    if clients == "fill" {
        for batch in 0..number.parse::<u64>()? / 1000 {
            let events = (0..1000).map(|n| {
                let n = batch * 1000 + n;
                enrolled((n % 20_000).to_string(), format!("stored-{}", n % 50_021))
            });
            store.append_without_validation(events.collect()).await?;
        }
        sqlx::query("VACUUM ANALYZE event").execute(&pool).await?;
        return Ok(());
    }
    let head: i64 = sqlx::query_scalar("SELECT max(event_id) FROM event").fetch_one(&pool).await?;
    let start = Instant::now();
    let end = start + Duration::from_secs(number.parse()?);
    // Students that no earlier run had.
    NUMBER.store(u64::try_from(head)? * 1_000_003, Ordering::Relaxed);
    let tasks: Vec<_> = (0..clients.parse::<usize>()?)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let (mut done, mut refused) = (0_u64, 0_u64);
                while Instant::now() < end {
                    let (course, student) = next();
                    let event = enrolled(course.clone(), student.clone());
                    let query = query!(Enrolment; course_id == course, student_id == student);
                    match store.append(vec![event], query, head).await {
                        Ok(_) => done += 1,
                        // Nothing matches the query: it is serializable isolation that could not tell.
                        Err(disintegrate_postgres::Error::Concurrency) => refused += 1,
                        Err(error) => return Err(error.to_string()),
                    }
                }
                Ok((done, refused))
            })
        })
        .collect();
    let (mut done, mut refused) = (0, 0);
    for task in tasks {
        let (appended, again) = task.await??;
        done += appended;
        refused += again;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{:.0} {:.0}", done as f64 / seconds, refused as f64 / seconds);
    Ok(())
}
