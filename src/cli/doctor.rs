//! `bedplate doctor`.

use super::config;
use crate::database::doctor;
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate doctor\n  bedplate doctor --json | jq -r '.findings[].fix'\n\n\
    Exit code 5 says that there are findings.")]
pub(super) struct Args {
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let findings = doctor::examine(&config()?).await?;
    let checks = doctor::checks().count();
    if args.json {
        println!("{}", serde_json::json!({ "checks": checks, "findings": findings }));
    } else {
        for finding in &findings {
            println!("{}: {}: {}  →  {}", finding.check, finding.object, finding.why, one_line(&finding.fix));
        }
        if findings.is_empty() {
            println!("{checks} checks, nothing found.");
        }
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Error::Findings { count, advice: "run the SQL behind the arrows, and the doctor again" }),
    }
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}
