//! `bedplate outbox start`.

use crate::database::{Database, DatabaseName};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate outbox start --id 5f2a91c03b7d4e18\n  bedplate outbox start --all --database rfq\n\n\
    An endpoint is stopped when it answers 410 Gone. `bedplate outbox status` shows its id. Its messages have stayed, and \
    go out in their order."
)]
#[group(required = true, multiple = false, id = "which")]
pub(super) struct Args {
    /// All stopped endpoints
    #[arg(long, group = "which")]
    all: bool,
    /// A stopped endpoint, by its id
    #[arg(long, value_name = "ID", group = "which")]
    id: Option<String>,
}

pub(super) async fn run(database: &Database, name: DatabaseName, args: &Args) -> Result<()> {
    let id = args.id.as_deref();
    let started = if name == DatabaseName::Rfq {
        let start = async move |tx: crate::RfqSystemTx| tx.outbox_queue().start_endpoints(id).await;
        database.rfq().system_tx("outbox.start", start).await?
    } else {
        let start = async move |tx: crate::SystemTx| tx.outbox_queue().start_endpoints(id).await;
        database.system_tx("outbox.start", start).await?
    };
    if let (0, Some(id)) = (started, id) {
        return Err(Error::NotFound { entity: "stopped endpoint", id: id.to_owned() });
    }
    println!("{started} endpoint{} started.", if started == 1 { " is" } else { "s are" });
    Ok(())
}
