//! What a conditional append costs with ten thousand events stored, and with ten million.
//!
//! A page of an index that changes for the first time after a checkpoint goes into the WAL in full, and of a small index
//! all pages have soon changed; so it is measured twice: right after a
//! checkpoint, and when most pages of the large one have been met too.

use std::time::{Duration, Instant};

use bedplate::Error;
use bedplate::database::private_server::Urls;

use super::server::Bench;
use super::{ROUNDS, append, medians};

const MINUTE: Duration = Duration::from_mins(1);

pub(crate) async fn measure(urls: &Urls) -> Result<(), Error> {
    let few = Bench::new(urls, "few", 10_000).await?;
    let start = Instant::now();
    let many = Bench::new(urls, "many", 10_000_000).await?;
    println!("10,000,000 events made in {:.0} s", start.elapsed().as_secs_f64());
    println!("conditional append     clients   10,000/s   10,000,000/s   cost (medians of {ROUNDS} rounds)");
    for state in ["right after a checkpoint", "after a minute of appends"] {
        if state.starts_with("after") {
            let (clients, start) = (many.bare(16).await?, Instant::now());
            while start.elapsed() < MINUTE {
                append::conditional(&clients).await?;
            }
        }
        println!("  {state}");
        for clients in [1, 4] {
            let (few, many) = (few.bare(clients).await?, many.bare(clients).await?);
            let mut rounds = Vec::new();
            for round in 0..=ROUNDS {
                let pair = (append::conditional(&few).await?, append::conditional(&many).await?);
                if round > 0 {
                    rounds.push(pair);
                }
            }
            let (few, many, ratio) = medians(&rounds);
            println!("                       {clients:>7} {few:>10.0} {many:>14.0}   {:.2} times", 1.0 / ratio);
        }
    }
    Ok(())
}
