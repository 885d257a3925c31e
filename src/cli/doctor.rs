//! `bedplate doctor`.

use super::{config, each_database};
use crate::cli::json::Json;
use crate::database::{DatabaseName, doctor};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate doctor\n  bedplate doctor --json | jq -r '.findings[].fix'\n\n\
    Exit code 5: there are findings.")]
pub(super) struct Args {
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let config = config()?;
    let examined = each_database(&config, async |_, config| doctor::examine(&config).await).await?;
    let names: Vec<_> = examined.iter().map(|(name, _)| *name).collect();
    let joined = |names: &[DatabaseName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let absent: Vec<_> = config.databases.iter().copied().filter(|name| !names.contains(name)).collect();
    if !absent.is_empty() {
        eprintln!("note: not checked, because there is no such database: {}", joined(&absent));
    }
    let findings: Vec<_> = examined
        .into_iter()
        .flat_map(|(name, findings)| findings.into_iter().map(move |finding| (name, finding)))
        .collect();
    let checks = doctor::checks().count();
    if args.output.json {
        let findings = findings.iter().map(|(name, finding)| {
            let mut finding = serde_json::json!(finding);
            finding["database"] = serde_json::json!(name);
            finding
        });
        println!(
            "{}",
            serde_json::json!({ "databases": names, "checks": checks, "findings": findings.collect::<Vec<_>>() })
        );
    } else {
        for (name, finding) in &findings {
            let place = if *name == DatabaseName::Main { String::new() } else { format!("{name}: ") };
            println!("{place}{}: {}: {}  →  {}", finding.check, finding.object, finding.why, one_line(&finding.fix));
        }
        if findings.is_empty() {
            println!("{}: {checks} checks, nothing found.", joined(&names));
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
