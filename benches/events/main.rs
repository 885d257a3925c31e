//! What the event store costs, beside what PostgreSQL itself does: ratios of one run.
//!
//! `cargo bench --bench events` runs `append` and `catch-up`; either alone with its name behind `--`, and with
//! `-- growth` how the cost grows to ten million events (five minutes), with `-- peers` what other event stores do.
//! A private server with room for what is stored (see [`server::SETTINGS`]), which waits for its disk. Rounds of what is
//! compared take turns, so that what the machine does meanwhile meets both.
//!
//! - *bare*: a connection that has taken role and tenant, one prepared statement, autocommit; beside a prepared
//!   INSERT of the same event into a table with one index, sent by the same code.
//! - *rows*: INSERTs into `events` and `event_tags` by the superuser, without function, lock, check and policy: what the
//!   rows and their indexes alone cost.
//! - `tenant_tx`: through the boundary, `tx.events().append` beside the same INSERT.

mod append;
mod batch;
mod catch_up;
mod growth;
mod peers;
mod server;

use std::time::{Duration, Instant};

use bedplate::Error;
use bedplate::database::private_server::PrivateServer;

use server::Bench;

const CLIENTS: [usize; 3] = [1, 4, 16];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(800);

#[tokio::main]
async fn main() -> Result<(), Error> {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(io)?;
    let server = PrivateServer::at(home.path());
    server.start(&mut |_| {}).await?;
    server::configure(&server).await?;
    let measured = measure(&server).await;
    server.stop()?;
    measured
}

async fn measure(server: &PrivateServer) -> Result<(), Error> {
    let urls = server.urls()?.ok_or_else(|| io(std::io::Error::other("the server has no URL")))?;
    let asked = |part: &str| std::env::args().any(|argument| argument == part);
    let all = !["append", "catch-up", "growth", "peers"].into_iter().any(asked);
    for stored in [100_000, 1_000_000] {
        if all || asked("append") || stored == 1_000_000 && asked("catch-up") {
            let bench = Bench::new(&urls, &format!("events_{stored}"), stored).await?;
            println!("\n{stored} events stored");
            if stored == 1_000_000 && (all || asked("catch-up")) {
                catch_up::measure(&bench, stored).await?;
            }
            if all || asked("append") {
                append::measure(&bench).await?;
                batch::measure(&bench).await?;
            }
        }
    }
    if asked("growth") {
        growth::measure(&urls).await?;
    }
    if asked("peers") {
        peers::measure(&urls).await?;
    }
    Ok(())
}

/// Of several rounds, each with what is compared in turn: the medians, and the median of the ratios.
fn medians(rounds: &[(f64, f64)]) -> (f64, f64, f64) {
    let ratios = rounds.iter().map(|(base, ours)| ours / base).collect();
    let (base, ours) = rounds.iter().copied().unzip();
    (median(base), median(ours), median(ratios))
}

/// A line of a table: the rate of the base, then rate and ratio of each that is beside it.
fn line(name: &str, clients: usize, rounds: &[Vec<f64>]) -> String {
    let base = median(rounds.iter().map(|round| round[0]).collect());
    let beside = (1..rounds[0].len()).map(|number| {
        let pairs: Vec<_> = rounds.iter().map(|round| (round[0], round[number])).collect();
        let (_, rate, ratio) = medians(&pairs);
        format!(" {rate:>10.0}   {ratio:.2}")
    });
    format!("  {name:<20} {clients:>7} {base:>10.0}") + &beside.collect::<String>()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Calls a second, of so many tasks that repeat what `task` makes of their number.
async fn rate<Fut>(tasks: usize, task: impl Fn(usize, Instant) -> Fut) -> Result<f64, Error>
where
    Fut: Future<Output = Result<u64, Error>> + Send + 'static,
{
    let start = Instant::now();
    let running: Vec<_> = (0..tasks).map(|number| tokio::spawn(task(number, start + ROUND))).collect();
    let mut done = 0;
    for task in running {
        done += task.await.map_err(|error| io(error.into()))??;
    }
    Ok(f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / start.elapsed().as_secs_f64())
}

fn io(source: std::io::Error) -> Error {
    Error::Io { doing: "the benchmark".into(), source }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn sent(error: tokio_postgres::Error) -> Error {
    let said = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
    Error::Unavailable { message: said }
}
