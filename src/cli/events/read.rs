//! `bedplate events read`.

use serde_json::json;

use super::{Which, open, row};
use crate::cli::json::JsonLines;
use crate::error::Result;
use crate::events::ReadFrom;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate events read --tenant lumen\n  bedplate events read --tenant lumen --type IdeaSubmitted --backwards --limit 5\n  \
    bedplate events read --tenant harbor --tag course:7 --after 1200 --json\n  \
    bedplate events read --tenant harbor --tag course:7 --to-decide"
)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// The position to start after
    #[arg(long, value_name = "POSITION", conflicts_with = "backwards")]
    after: Option<i64>,
    /// Newest events first
    #[arg(long)]
    backwards: bool,
    /// Maximum number of events
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// All events, and the token for `events append --after`: an append with it fails if another event came in between
    #[arg(long, conflicts_with_all = ["after", "backwards", "limit"])]
    to_decide: bool,
    #[command(flatten)]
    output: JsonLines,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let (_, db, context) = open(&args.which.tenant).await?;
    let from = match args.after {
        _ if args.backwards => ReadFrom::End,
        Some(position) => ReadFrom::After(position),
        None => ReadFrom::Start,
    };
    let query = args.which.query();
    let (query, limit, to_decide) = (&query, args.limit, args.to_decide);
    let (events, token) = db
        .tenant_tx("cli.read", &context, async move |tx| {
            if to_decide {
                let seen = tx.events().read_to_decide(query).await?;
                return Ok((seen.events, Some(seen.token)));
            }
            Ok((tx.events().read(query, from, limit).await?, None))
        })
        .await?;
    if args.output.json {
        for event in &events {
            println!("{}", row::json(event)?);
        }
    } else {
        row::print_table(&events);
    }
    match token {
        Some(token) if args.output.json => println!("{}", json!({ "token": token })),
        Some(token) => println!("token {}", token.as_str()),
        None => {}
    }
    Ok(())
}
