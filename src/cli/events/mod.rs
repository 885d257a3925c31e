//! `bedplate events`: events read, appended, followed, and the store tried.

mod append;
mod read;
mod row;
mod stress;
mod tail;

use clap::Subcommand;
use uuid::Uuid;

use super::config;
use crate::database::{Config, Database, TenantContext};
use crate::error::Result;
use crate::events::{EventQuery, QueryItem};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate events read --tenant lumen --limit 5\n  bedplate events tail --tenant lumen"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show events of a tenant, by type and tags
    Read(read::Args),
    /// Append an event, also under a condition
    Append(append::Args),
    /// Show the last events of a tenant, and new ones as they are committed
    Tail(tail::Args),
    /// Run writers and subscribers side by side, and check what they left; exit code 1 if anything is wrong
    Stress(stress::Args),
}

pub(super) async fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Read(args) => read::run(args).await,
        Command::Append(args) => append::run(args).await,
        Command::Tail(args) => tail::run(args).await,
        Command::Stress(args) => stress::run(args).await,
    }
}

/// Which events.
#[derive(Debug, clap::Args)]
struct Which {
    /// The tenant, by its slug or id
    #[arg(long, value_name = "SLUG|ID")]
    tenant: String,
    /// The event type; given again: any of them
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// A tag of the events; given again: all of them
    #[arg(long = "tag", value_name = "KEY:VALUE")]
    tags: Vec<String>,
}

impl Which {
    fn query(&self) -> EventQuery {
        let of_type = self.types.iter().fold(QueryItem::default(), QueryItem::event_type);
        self.tags.iter().fold(of_type, QueryItem::with_tag).into()
    }
}

/// The database, and the tenant in it.
async fn open(tenant: &str) -> Result<(Config, Database, TenantContext)> {
    let config = config()?;
    let db = Database::connect(config.clone()).await?;
    let found = db
        .system_tx("cli.tenant", async |tx| match tenant.parse::<Uuid>() {
            Ok(id) => tx.tenants().find(id.into()).await,
            Err(_) => tx.tenants().find_by_slug(tenant).await,
        })
        .await?;
    Ok((config, db, TenantContext::new(found.id)))
}
