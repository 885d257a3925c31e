//! `bedplate status`.

use super::migrate::here::note_what_is_left_out;
use super::ui::table;
use super::{config, each_database};
use crate::cli::json::Json;
use crate::database::migrate::MigrationState;
use crate::database::status::{self, Status};
use crate::database::{Config, DatabaseName};
use crate::error::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate status\n  bedplate status --json | jq '.databases.main.tables'")]
pub(super) struct Args {
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let config = config()?;
    note_what_is_left_out(&config.databases);
    let databases = read(&config).await?;
    if args.output.json {
        let by_name = databases.iter().map(|(name, status)| (name.to_string(), serde_json::json!(status)));
        let by_name: serde_json::Map<_, _> = by_name.collect();
        println!("{}", serde_json::json!({ "databases": by_name }));
    } else {
        print(&databases);
    }
    Ok(())
}

/// Every database that is there.
pub(super) async fn read(config: &Config) -> Result<Vec<(DatabaseName, Status)>> {
    each_database(config, async |name, config| status::read(&config.owner_url, name).await).await
}

pub(super) fn print(databases: &[(DatabaseName, Status)]) {
    let facts = databases.iter().map(|(name, status)| {
        let missing = match status.count(MigrationState::Missing) {
            0 => String::new(),
            missing => format!(", {missing} applied without files"),
        };
        vec![
            name.to_string(),
            format!(
                "{} applied, {} pending{missing}",
                status.count(MigrationState::Applied),
                status.count(MigrationState::Pending)
            ),
            status.server_version.clone(),
            status.url.clone(),
        ]
    });
    println!(
        "{}",
        table(&["database", "migrations", "PostgreSQL", "url (with its password: bedplate url)"], facts, &[])
    );
    let rows: Vec<_> = databases
        .iter()
        .flat_map(|(name, status)| status.tables.iter().map(move |table| (name, table)))
        .map(|(name, table)| vec![name.to_string(), table.table.clone(), table.rows.to_string()])
        .collect();
    if rows.is_empty() {
        println!("\nThere are no tables yet: run `bedplate up`.");
    } else {
        println!("\n{}", table(&["database", "table", "rows"], rows, &[2]));
    }
}
