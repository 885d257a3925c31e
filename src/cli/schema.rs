//! `bedplate schema docs`.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::config;
use crate::cli::json::Json;
use crate::database::migrate::{self, MigrationState, Source};
use crate::database::schema_docs::{self, File, Schema};
use crate::database::{DatabaseName, DatabaseUrl};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  bedplate schema docs")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the documentation of the schema: pages, pictures, and a diagram in Mermaid
    #[command(after_help = "Examples:\n  bedplate schema docs\n  bedplate schema docs --check\n\n\
        Exit code 5: a file is stale.")]
    Docs(Docs),
}

#[derive(Debug, clap::Args)]
struct Docs {
    /// The folder to write to
    #[arg(long, value_name = "PATH", default_value = "docs")]
    out: PathBuf,
    /// A check that lists stale files and writes nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let Command::Docs(docs) = &args.command;
    let config = config()?;
    let mut schemas = Vec::with_capacity(config.databases.len());
    for name in &config.databases {
        schemas.push((name.as_str(), read(&config.for_database(*name)?.owner_url, *name).await?));
    }
    let schemas: Vec<_> = schemas.iter().map(|(name, schema)| (*name, schema)).collect();
    let files = schema_docs::render(&schemas);
    let stale: Vec<_> = files.iter().filter(|file| !is_fresh(&docs.out, file)).collect();
    if !docs.check {
        for file in &stale {
            write(&docs.out, file)?;
        }
    }
    let paths: Vec<_> = stale.iter().map(|file| docs.out.join(&file.path).display().to_string()).collect();
    if docs.output.json {
        let key = if docs.check { "stale" } else { "written" };
        println!("{}", serde_json::json!({ "files": files.len(), key: paths }));
    } else {
        let said = if docs.check { "not fresh" } else { "written" };
        for path in &paths {
            println!("{path}: {said}");
        }
        if paths.is_empty() {
            println!("{}: {} files, all fresh.", docs.out.display(), files.len());
        }
    }
    match stale.len() {
        count if docs.check && count > 0 => Err(Error::Findings { count, advice: "run `bedplate schema docs`" }),
        _ => Ok(()),
    }
}

/// Only a database that has every migration is worth a description.
async fn read(url: &DatabaseUrl, name: DatabaseName) -> Result<Schema> {
    let migrations = migrate::status(url, &Source::Embedded(name)).await?;
    let pending = migrations.iter().filter(|migration| migration.state == MigrationState::Pending).count();
    if pending > 0 {
        return Err(Error::configuration(format!(
            "{pending} migrations of {name} are pending: run `bedplate migrate --all`, and write the documentation then"
        )));
    }
    schema_docs::read(url).await
}

fn is_fresh(folder: &Path, file: &File) -> bool {
    std::fs::read(folder.join(&file.path)).is_ok_and(|there| there == file.content.as_bytes())
}

fn write(folder: &Path, file: &File) -> Result<()> {
    let path = folder.join(&file.path);
    let doing = || format!("writing {}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(Error::io(doing()))?;
    std::fs::write(&path, &file.content).map_err(Error::io(doing()))
}
