//! `bedplate doctor`.

use super::{config, each_database};
use crate::database::{DatabaseName, doctor};
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
    let examined = each_database(&config()?, async |_, config| doctor::examine(&config).await).await?;
    let findings: Vec<_> = examined
        .into_iter()
        .flat_map(|(name, findings)| findings.into_iter().map(move |finding| (name, finding)))
        .collect();
    let checks = doctor::checks().count();
    if args.json {
        let findings = findings.iter().map(|(name, finding)| {
            let mut finding = serde_json::json!(finding);
            finding["database"] = serde_json::json!(name);
            finding
        });
        println!("{}", serde_json::json!({ "checks": checks, "findings": findings.collect::<Vec<_>>() }));
    } else {
        for (name, finding) in &findings {
            let place = if *name == DatabaseName::Main { String::new() } else { format!("{name}: ") };
            println!("{place}{}: {}: {}  →  {}", finding.check, finding.object, finding.why, one_line(&finding.fix));
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
