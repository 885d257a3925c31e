//! `bedplate events stress`.

use std::time::Duration;

use crate::cli::config;
use crate::cli::json::Json;
use crate::cli::ui::Progress;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::stress::Stress;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate events stress\n  bedplate events stress --writers 16 --readers 4 --seconds 60\n\n\
    It creates two tenants, and deletes them unless something was wrong. Ctrl-C ends it earlier.\n\
    Exit code 1: something was lost, doubled or violated."
)]
pub(in crate::cli) struct Args {
    /// Number of writers
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    writers: u16,
    /// Number of workers of subscriptions
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    readers: u16,
    /// Seconds to run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let mut config = config()?;
    // Who waits for a connection is no trial for the store.
    config.pool.max_size = config.pool.max_size.max((u32::from(args.writers) + u32::from(args.readers) + 1).min(60));
    let database = Database::connect(config).await?;
    let progress = Progress::new();
    let stress = Stress { writers: args.writers, readers: args.readers, duration: Duration::from_secs(args.seconds) };
    progress.step(&format!("{} writers and {} readers for {} s", args.writers, args.readers, args.seconds));
    // Where Ctrl-C cannot be listened for, it ends the process as it always does.
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let report = stress.run(&database, interrupted, |appended, handled| {
        progress.detail(&format!("{appended} events appended, {handled} handled"));
    });
    let report = report.await;
    progress.finish();
    let report = report?;
    if args.output.json {
        println!("{}", serde_json::json!(report));
    } else {
        println!("{} conflicts, {} events handled by subscriptions", report.conflicts, report.handled);
        println!(
            "appended {}, lost {}, doubled {}, violations {}",
            report.appended, report.lost, report.doubled, report.violations
        );
    }
    if report.is_clean() {
        return Ok(());
    }
    Err(Error::configuration("the event store did not keep its promises; the tenants stress-… are kept for a look"))
}
