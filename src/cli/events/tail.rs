//! `bedplate events tail`.
//!
//! Always holds: an event is shown once, in the order of positions, and none is skipped: nothing is shown beyond
//! the head, below which nothing can come any more.

use std::time::Duration;

use super::{Which, open, row};
use crate::cli::json::JsonLines;
use crate::cli::out;
use crate::database::{Channel, Database, TenantContext, Wakeups};
use crate::error::{Error, Result};
use crate::events::{Event, EventQuery, ReadFrom};

/// Without being woken, it looks after this time.
const POLL: Duration = Duration::from_secs(1);

/// Events that are read at a time.
const BATCH: u32 = 1000;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate events tail --tenant lumen\n  bedplate events tail --tenant harbor --tag course:7 --last 0 --json\n\n\
    Ctrl-C ends it, with exit code 0."
)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Number of earlier events to begin with
    #[arg(long, value_name = "N", default_value_t = 10)]
    last: u32,
    #[command(flatten)]
    output: JsonLines,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let (config, db, context) = open(&args.which.tenant).await?;
    let wakeups = Wakeups::listen(config.listen_url(), Channel::Events);
    tokio::select! {
        ended = follow(args, &db, &context, &wakeups) => ended,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Error::io("waiting for Ctrl-C")),
    }
}

async fn follow(args: &Args, db: &Database, context: &TenantContext, wakeups: &Wakeups) -> Result<()> {
    let query = &args.which.query();
    let head = db.tenant_tx("cli.tail", context, async |tx| tx.events().head().await).await?;
    let mut after = head;
    if args.last > 0 {
        let from = ReadFrom::Before(head.saturating_add(1));
        let last = db.tenant_tx("cli.tail", context, async |tx| tx.events().read(query, from, args.last).await).await?;
        if !show(args, last.into_iter().rev())? {
            return Ok(());
        }
    }
    loop {
        let (events, up_to) = next(db, context, query, after).await?;
        let more = up_to > after && events.len() == BATCH as usize;
        after = up_to;
        if !show(args, events.into_iter())? {
            return Ok(());
        }
        if !more {
            wakeups.wait(POLL).await;
        }
    }
}

/// The next events, and up to where all are there now.
async fn next(db: &Database, context: &TenantContext, query: &EventQuery, after: i64) -> Result<(Vec<Event>, i64)> {
    db.tenant_tx("cli.tail", context, async |tx| {
        let events = tx.events();
        // One after the other: what is read is younger than the head.
        let head = events.head().await?;
        let mut read = events.read(query, ReadFrom::After(after), BATCH).await?;
        let full = read.len() == BATCH as usize;
        read.retain(|event| event.position <= head);
        let last = read.last().map(|event| event.position);
        Ok(match last {
            // There are more below the head.
            Some(last) if full && read.len() == BATCH as usize => (read, last),
            _ => (read, head.max(after)),
        })
    })
    .await
}

/// Shows events, and tells whether anybody still reads.
fn show(args: &Args, events: impl Iterator<Item = Event>) -> Result<bool> {
    for event in events {
        if args.output.json {
            println!("{}", row::json(&event)?);
        } else {
            println!("{}", row::line(&event));
        }
    }
    Ok(out::is_read())
}
