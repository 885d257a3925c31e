//! `bedplate events append`.

use std::io::Read as _;

use diesel_async::SimpleAsyncConnection as _;
use serde_json::{Value, json};

use super::open;
use crate::cli::json::Json;
use crate::database::Channel;
use crate::error::{Error, Result};
use crate::events::{AppendCondition, EventToken, NewEvent, QueryItem};
use crate::validation::exact_json;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate events append --tenant lumen --type DoorOpened --tag door:3 --data '{\"by\": \"Ada\"}'\n  \
    bedplate events append --tenant lumen --type Imported --data @import.json\n  \
    bedplate events append --tenant harbor --type CourseDefined --tag course:7 --if-none-match-tag course:7\n  \
    bedplate events append --tenant harbor --type SeatTaken --tag course:7 --if-none-match-tag course:7 --after TOKEN\n\n\
    Exit code 3: an event contradicts the condition, and nothing was appended."
)]
pub(super) struct Args {
    /// The tenant, by its slug or id
    #[arg(long, value_name = "SLUG|ID")]
    tenant: String,
    /// The event type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// The data: JSON, @ and a file, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}", allow_hyphen_values = true)]
    data: String,
    /// A tag of the event; may be given again
    #[arg(long = "tag", value_name = "KEY:VALUE")]
    tags: Vec<String>,
    /// A condition: no event has this tag; given again: all of these tags
    #[arg(long, value_name = "KEY:VALUE")]
    if_none_match_tag: Vec<String>,
    /// A token of `events read --to-decide`: the condition ignores the events that were read with it
    #[arg(long, value_name = "TOKEN", requires = "if_none_match_tag")]
    after: Option<String>,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let event = NewEvent::new(&args.event_type, data(&args.data)?);
    let event = args.tags.iter().fold(event, NewEvent::with_tag);
    let id = event.event_id();
    let condition = (!args.if_none_match_tag.is_empty()).then(|| {
        let item = args.if_none_match_tag.iter().fold(QueryItem::default(), QueryItem::with_tag);
        let condition = AppendCondition::fail_if(item.into());
        match &args.after {
            Some(token) => condition.after(EventToken::from_client(token)),
            None => condition,
        }
    });
    let (_, db, context) = open(&args.tenant).await?;
    let positions = db.append_events(&context, &[event], condition.as_ref()).await?;
    // The task that wakes whoever waits would be cut off by the end of the process.
    let notify = format!("NOTIFY {}", Channel::Events.name());
    db.system_tx("cli.wake", async |tx| Ok(tx.connection().batch_execute(&notify).await?)).await?;
    if args.output.json {
        println!("{}", json!({ "positions": positions, "id": id }));
    } else {
        for position in positions {
            println!("position {position}, id {id}");
        }
    }
    Ok(())
}

fn data(text: &str) -> Result<Value> {
    let (named, json) = match text.strip_prefix('@') {
        Some(file) => (file, std::fs::read_to_string(file).map_err(Error::io(format!("reading {file}")))?),
        None if text == "-" => {
            let mut json = String::new();
            std::io::stdin().read_to_string(&mut json).map_err(Error::io("reading standard input"))?;
            ("standard input", json)
        }
        None => ("--data", text.to_owned()),
    };
    exact_json(&json).map_err(|error| Error::configuration(format!("{named}: {error}")))
}
