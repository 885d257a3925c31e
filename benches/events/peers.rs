//! Other event stores on the same server: `benches/peers`, where its programs can be built and run.
//!
//! Each has a database of its own with 100,000 events. disintegrate-postgres is built by cargo; the Python one is asked
//! of `python3`, or of what `BEDPLATE_PEERS_PYTHON` names, and left out where that does not have it.

use std::process::Command;

use bedplate::Error;
use bedplate::database::private_server::Urls;
use diesel_async::SimpleAsyncConnection as _;

use super::server::Bench;
use super::{CLIENTS, append, io, line};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
const STORED: i64 = 100_000;
const ROUNDS: usize = 3;

pub(crate) async fn measure(urls: &Urls) -> Result<(), Error> {
    let ours = Bench::new(urls, "peers_ours", STORED).await?;
    println!("append, one event      clients   INSERT/s   append/s  ratio   (medians of {ROUNDS} rounds)");
    for clients in CLIENTS {
        let connections = ours.bare(clients).await?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(vec![append::plain(&connections).await?, append::conditional(&connections).await?]);
        }
        println!("{}", line("bedplate", clients, &rounds));
    }
    for (name, program) in [("disintegrate-postgres", disintegrate()), ("eventsourcing", eventsourcing())] {
        let database = name.replace('-', "_");
        bedplate::database::connect(&urls.owner).await?.batch_execute(&format!("CREATE DATABASE {database}")).await?;
        let url = urls.admin.with_database(&database)?;
        let run = |arguments: [&str; 2]| numbers(&program, url.reveal(), arguments);
        if let Err(error) = run(["fill", &STORED.to_string()]) {
            println!("  {name}: left out, {error}");
            continue;
        }
        for clients in CLIENTS {
            let connections = ours.bare(clients).await?;
            let mut rounds = Vec::new();
            let mut refused = 0.0;
            for _ in 0..ROUNDS {
                let [appended, again] = run([&clients.to_string(), "2"])?;
                refused += again;
                rounds.push(vec![append::plain(&connections).await?, appended]);
            }
            println!("{}   and {:.0}/s refused", line(name, clients, &rounds), refused / 3.0);
        }
    }
    Ok(())
}

fn disintegrate() -> Vec<String> {
    let manifest = format!("{FOLDER}/Cargo.toml");
    ["cargo", "run", "--quiet", "--release", "--manifest-path", &manifest, "--"].map(ToOwned::to_owned).to_vec()
}

fn eventsourcing() -> Vec<String> {
    let python = std::env::var("BEDPLATE_PEERS_PYTHON").unwrap_or_else(|_| "python3".into());
    vec![python, format!("{FOLDER}/eventsourcing_peer.py")]
}

/// What a peer prints: appends a second, and those that it refused for no reason.
fn numbers(program: &[String], url: &str, arguments: [&str; 2]) -> Result<[f64; 2], Error> {
    let output = Command::new(&program[0]).args(&program[1..]).arg(url).args(arguments).output().map_err(io)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io(std::io::Error::other(said.lines().last().unwrap_or("it failed").to_owned())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(f64::NAN));
    Ok([words.next().unwrap_or(f64::NAN), words.next().unwrap_or(f64::NAN)])
}
