//! `bedplate status`.

use super::config;
use super::ui::table;
use crate::database::migrate::MigrationState;
use crate::database::status::{self, Status};
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let status = status::read(&config()?.owner_url).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status).unwrap_or_default());
    } else {
        print(&status);
    }
    Ok(())
}

pub(super) fn print(status: &Status) {
    let missing = match status.count(MigrationState::Missing) {
        0 => String::new(),
        missing => format!(", {missing} applied without files"),
    };
    let facts = [
        ("database", format!("{} on PostgreSQL {}", status.database, status.server_version)),
        (
            "migrations",
            format!(
                "{} applied, {} pending{missing}",
                status.count(MigrationState::Applied),
                status.count(MigrationState::Pending)
            ),
        ),
        ("url", format!("{} (with its password: bedplate url)", status.url)),
    ];
    println!("{}", table(&[], facts.map(|(name, value)| vec![name.to_owned(), value]), &[]));
    if status.tables.is_empty() {
        println!("\nThere are no tables yet: run `bedplate up`.");
        return;
    }
    let rows = status.tables.iter().map(|table| vec![table.table.clone(), table.rows.to_string()]);
    println!("\n{}", table(&["table", "rows"], rows, &[1]));
}
