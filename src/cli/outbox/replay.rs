//! `bedplate outbox replay`.

use uuid::Uuid;

use crate::database::{Database, DatabaseName};
use crate::error::{Error, Result};
use crate::outbox::Replay;

/// So many a transaction.
const BATCH: u16 = 1000;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate outbox replay --id 019a7c3e-0000-7000-8000-000000000001\n  \
    bedplate outbox replay --type invoice.requested\n  bedplate outbox replay --all --database rfq\n\n\
    A replayed dead letter gets as many attempts as a new message. Later messages of its entity may have been published \
    before it.")]
#[group(required = true, multiple = false, id = "which")]
pub(super) struct Args {
    /// All dead letters
    #[arg(long, group = "which")]
    all: bool,
    /// A dead letter, by its event id or its id
    #[arg(long, value_name = "ID", group = "which")]
    id: Option<Uuid>,
    /// The event type of the dead letters
    #[arg(long = "type", value_name = "TYPE", group = "which")]
    event_type: Option<String>,
}

pub(super) async fn run(database: &Database, name: DatabaseName, args: &Args) -> Result<()> {
    let which = match (args.id, &args.event_type) {
        (Some(id), _) => Replay::Id(id),
        (None, Some(event_type)) => Replay::EventType(event_type.clone()),
        (None, None) => Replay::All,
    };
    let which = &which;
    // What dies again meanwhile is not brought back again.
    let (until, mut all) = (chrono::Utc::now(), 0);
    loop {
        let some = if name == DatabaseName::Rfq {
            let replay = async move |tx: crate::RfqSystemTx| tx.outbox_queue().replay(which, until, BATCH).await;
            database.rfq().system_tx("outbox.replay", replay).await?
        } else {
            let replay = async move |tx: crate::SystemTx| tx.outbox_queue().replay(which, until, BATCH).await;
            database.system_tx("outbox.replay", replay).await?
        };
        all += some;
        if some < usize::from(BATCH) {
            break;
        }
    }
    if let (0, Replay::Id(id)) = (all, which) {
        return Err(Error::NotFound { entity: "dead letter", id: id.to_string() });
    }
    println!("{all} dead letter{} will be tried again.", if all == 1 { "" } else { "s" });
    Ok(())
}
