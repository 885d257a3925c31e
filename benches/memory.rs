//! The memory of the process while it lists, streams, loads and seeds ten thousand to a million rows: it stays flat.
//!
//! `cargo bench --bench memory`. What is shown is how far the resident set rises above where it was before
//! (`VmHWM`, after it was reset: Linux alone), in a pool of one connection.

use std::fs;
use std::time::Instant;

use bedplate::database::DatabaseName;
use bedplate::database::config::Logins;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::PrivateServer;
use bedplate::database::seed::{self, SeedFile};
use bedplate::events::{EventQuery, NewEvent, ReadFrom};
use bedplate::marketdata::NewPriceTick;
use bedplate::models::{EventFilter, NewTenant, TenantType};
use bedplate::pagination::PageRequest;
use bedplate::{Config, Database, Environment, Error, TenantContext};
use bigdecimal::BigDecimal;
use chrono::{TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection as _;
use futures_util::TryStreamExt as _;

const ROWS: [u32; 3] = [10_000, 100_000, 1_000_000];

#[tokio::main]
async fn main() -> Result<(), Error> {
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(io)?;
    // What is measured is this process: the server need not wait for its disk.
    let server = PrivateServer::at(home.path()).option("fsync=off").option("max_wal_size=8GB");
    server.start(&mut |_| {}).await?;
    let measured = Box::pin(measure(&server)).await;
    server.stop()?;
    // A root's is not below the home.
    if let Some(folder) = server.folder()? {
        fs::remove_dir_all(folder).map_err(io)?;
    }
    measured
}

async fn measure(server: &PrivateServer) -> Result<(), Error> {
    let urls = server.urls()?.ok_or_else(|| io(std::io::Error::other("the server has no URL")))?;
    let mut owner = bedplate::database::connect(&urls.owner).await?;
    owner.batch_execute("CREATE DATABASE prices").await?;
    let prices = urls.owner.with_database("prices")?;
    for (url, name) in [(&urls.owner, DatabaseName::Main), (&prices, DatabaseName::Marketdata)] {
        Box::pin(migrate::run(url, &Source::Embedded(name), Direction::Up, |_| {})).await?;
    }
    seed::load(&prices, DatabaseName::Marketdata, Environment::Development, &[seed::Set::Reference]).await?;
    let mut config = Config::new(urls.owner.clone(), Environment::Development);
    config.app_url = Some(urls.app.clone());
    let logins = Logins { owner: prices, app: Some(urls.app.with_database("prices")?) };
    config.elsewhere.insert(DatabaseName::Marketdata, logins);
    config.pool.max_size = 1;
    config.timeouts.statement = std::time::Duration::from_mins(10);
    let database = Box::pin(Database::connect(config)).await?;
    let new = NewTenant { slug: "bench", name: "Bench", tenant_type: TenantType::Standard };
    let tenant = database.system_tx("tenant", async |tx| tx.tenants().create(new).await).await?.id;
    let context = TenantContext::new(tenant);
    owner.batch_execute("SET ROLE bedplate_system").await?;

    println!("memory above the start, in MB (seconds)");
    println!(
        "{:>10} {:>18} {:>18} {:>18} {:>18} {:>18}",
        "rows", "append events", "stream events", "list events", "load prices", "seed users"
    );
    for rows in ROWS {
        let tag = rows.to_string();
        let append = watched(async {
            for batch in 0..rows / 1_000 {
                let events: Vec<_> = (0..1_000)
                    .map(|n| NewEvent::new("Counted", serde_json::json!({"n": batch * 1_000 + n})).tag("rows", &tag))
                    .collect();
                database.tenant_tx("append", &context, async |tx| tx.events().append(&events, None).await).await?;
            }
            Ok(())
        })
        .await?;
        let stream = watched(async {
            let query = &EventQuery::tag("rows", &tag);
            let seen = database
                .tenant_tx("stream", &context, async |tx| {
                    tx.events().stream(query, ReadFrom::Start).await?.try_fold(0, async |seen, _| Ok(seen + 1)).await
                })
                .await?;
            expect(seen, rows)
        })
        .await?;
        let list = watched(async {
            let (mut page, mut seen) = (PageRequest::first(100), 0);
            while seen < rows {
                let request = &page;
                let listed = database
                    .tenant_tx("list", &context, async |tx| tx.events().list(&EventFilter::default(), request).await)
                    .await?;
                seen += u32::try_from(listed.items.len()).unwrap_or_default();
                let Some(next) = listed.next else { break };
                page.after = Some(next);
            }
            Ok(())
        })
        .await?;
        let load = watched(async {
            let begin = Utc::now() - TimeDelta::days(i64::from(rows.ilog10()));
            let tick = |n: u32| NewPriceTick {
                instrument_symbol: "AAPL",
                ts: begin + TimeDelta::microseconds(i64::from(n)),
                bid: None,
                ask: None,
                last: Some(BigDecimal::from(n)),
                volume: None,
            };
            let loaded = database.marketdata().load_price_ticks((0..rows).map(tick), |_| {}).await?;
            expect(u32::try_from(loaded).unwrap_or_default(), rows)
        })
        .await?;
        let seeded = watched(async {
            let sql = format!(
                "INSERT INTO users (tenant_id, email, username, name, password_hash) \
                 SELECT '{tenant}', format('u%s.{rows}@example.com', n), format('u%s.{rows}', n), 'User', '$argon2id$bench' \
                   FROM generate_series(1, {rows}) AS n;"
            );
            let files = [SeedFile { name: format!("bench/main/{rows}.sql"), sql }];
            seed::load_files(&urls.owner, DatabaseName::Main, &files).await.map(drop)
        })
        .await?;
        println!("{rows:>10} {append:>18} {stream:>18} {list:>18} {load:>18} {seeded:>18}");
    }
    Ok(())
}

fn expect(seen: u32, rows: u32) -> Result<(), Error> {
    if seen == rows { Ok(()) } else { Err(io(std::io::Error::other(format!("{seen} of {rows} rows were seen")))) }
}

/// How far the resident set rose, and how long it took.
async fn watched(work: impl Future<Output = Result<(), Error>>) -> Result<String, Error> {
    fs::write("/proc/self/clear_refs", "5").map_err(io)?;
    let before = kilobytes("VmRSS")?;
    let begun = Instant::now();
    Box::pin(work).await?;
    let rose = kilobytes("VmHWM")?.saturating_sub(before);
    Ok(format!("{}.{} ({:.1})", rose / 1024, rose % 1024 * 10 / 1024, begun.elapsed().as_secs_f64()))
}

fn kilobytes(field: &str) -> Result<u64, Error> {
    let status = fs::read_to_string("/proc/self/status").map_err(io)?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io(std::io::Error::other(format!("there is no {field}"))))
}

fn io(source: std::io::Error) -> Error {
    Error::Io { doing: "the benchmark".into(), source }
}
