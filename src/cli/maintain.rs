//! `bedplate maintain`.

use super::config;
use super::ui::{Progress, table};
use crate::database::maintain::{self, Keep};
use crate::error::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate maintain\n  bedplate maintain --keep-audit-months 24\n\n\
    Best run every day, by cron or a timer; it may run while everything else runs.")]
pub(super) struct Args {
    /// Months of the audit log that are made ahead
    #[arg(long, value_name = "MONTHS", default_value_t = Keep::default().audit_months_ahead)]
    audit_months_ahead: u16,
    /// Drop months of the audit log that are older (by default all are kept)
    #[arg(long, value_name = "MONTHS")]
    keep_audit_months: Option<u16>,
    /// Delete idempotency keys that are older
    #[arg(long, value_name = "DAYS", default_value_t = Keep::default().idempotency_days)]
    keep_idempotency_days: u16,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let keep = Keep {
        audit_months_ahead: args.audit_months_ahead,
        audit_months: args.keep_audit_months,
        idempotency_days: args.keep_idempotency_days,
        ..Keep::default()
    };
    let progress = Progress::new();
    let done = maintain::run(&config()?, keep, |step| progress.step(step)).await;
    progress.finish();
    let done = done?;
    if args.json {
        println!("{}", serde_json::json!(done));
        return Ok(());
    }
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let rows = [
        ("partitions made", names(&done.partitions_created)),
        ("partitions dropped", names(&done.partitions_dropped)),
        ("sessions pruned", done.sessions_pruned.to_string()),
        ("idempotency keys pruned", done.idempotency_keys_pruned.to_string()),
    ];
    println!("{}", table(&[], rows.map(|(what, value)| vec![what.to_owned(), value]), &[]));
    Ok(())
}
