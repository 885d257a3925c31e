//! `bedplate forms suite`.

use std::path::PathBuf;

use super::super::config;
use super::super::ui::Progress;
use crate::Database;
use crate::cli::json::Json;
use crate::error::{Error, Result};
use crate::forms::suite;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate forms suite JSON-Schema-Test-Suite/tests/draft2020-12\n  \
    bedplate forms suite cases --remotes remotes --json\n\n\
    Needs a database that is up to date; leaves nothing in it. Exit code 1: a validator was wrong.")]
pub(super) struct Args {
    /// The folder with files of groups of cases; a folder `optional` in it is left out
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The schemas that the cases refer to under <http://localhost:1234/> [default: `remotes` in, beside or
    /// above DIR, or the official ones]
    #[arg(long, value_name = "DIR")]
    remotes: Option<PathBuf>,
    /// Details of each refused group
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let db = Database::connect(config()?).await?;
    let progress = Progress::new();
    let report = suite::run(&db, &args.folder, args.remotes.as_deref(), |file| {
        progress.quiet_step(&file.file_name().unwrap_or_default().to_string_lossy());
    });
    let report = report.await?;
    progress.end();
    if args.output.json {
        println!("{}", serde_json::json!(report));
    } else {
        for refused in report.refused.iter().filter(|_| args.verbose) {
            println!("refused: {refused}");
        }
        for wrong in &report.wrong {
            println!("wrong: {wrong}");
        }
        for (validator, score) in &report.scores {
            println!("{validator:<12} right {}, refused {}, wrong {}", score.right, score.refused, score.wrong);
        }
    }
    match report.wrong.len() {
        0 => Ok(()),
        count => Err(Error::configuration(format!("{count} cases were decided wrongly: see above"))),
    }
}
