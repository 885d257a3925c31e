//! `bedplate doctor`.

use std::path::PathBuf;

use super::{config, each_database};
use crate::cli::json::Json;
use crate::database::DatabaseName;
use crate::database::doctor::{self, Finding, Rulebook};
use crate::database::migrate::Source;
use crate::database::migrate::lint::Rules;
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate doctor\n  bedplate doctor --json | jq -r '.findings[].fix'\n  \
    bedplate doctor --dir migrations --tenants\n\nExit code 5: there are findings.")]
pub(super) struct Args {
    #[command(flatten)]
    output: Json,
    /// The database's own migrations, for what they declare under [lint]; instead of the compiled-in ones
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Rules of a database with tenants too, for --dir
    #[arg(long, requires = "dir")]
    tenants: bool,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let config = config()?;
    let examined = if let Some(path) = &args.dir {
        let rules = if args.tenants { Rules::Tenants } else { Rules::General };
        let rulebook = Rulebook::read(&Source::Directory(path.clone()), rules)?;
        vec![(DatabaseName::Main, doctor::examine(&config, &rulebook).await?)]
    } else {
        each_database(&config, async |name, config| doctor::examine(&config, &Rulebook::of(name)?).await).await?
    };
    let names: Vec<_> = examined.iter().map(|(name, _)| *name).collect();
    let joined = |names: &[DatabaseName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let absent: Vec<_> = config.databases.iter().copied().filter(|name| !names.contains(name)).collect();
    if !absent.is_empty() && args.dir.is_none() {
        eprintln!("note: not checked, because there is no such database: {}", joined(&absent));
    }
    let findings: Vec<(DatabaseName, Finding)> = examined
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
