//! `bedplate maintain`.

use super::ui::{Progress, table};
use super::{config, each_database};
use crate::cli::json::Json;
use crate::database::DatabaseName;
use crate::database::maintain::{self, Keep};
use crate::error::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate maintain\n  bedplate maintain --keep-audit-months 24\n\n\
    Run it every day, by cron or a timer; everything else may run meanwhile.")]
pub(super) struct Args {
    /// Months of the audit log to create ahead
    #[arg(long, value_name = "MONTHS", default_value_t = Keep::default().audit_months_ahead)]
    audit_months_ahead: u16,
    /// Months of the audit log to keep; older ones are dropped [default: all]
    #[arg(long, value_name = "MONTHS")]
    keep_audit_months: Option<u16>,
    /// Days to keep the ids of revoked sessions, so that no late request writes such a session again
    #[arg(long, value_name = "DAYS", default_value_t = Keep::default().revoked_session_days)]
    keep_revoked_session_days: u16,
    /// Days to keep idempotency keys
    #[arg(long, value_name = "DAYS", default_value_t = Keep::default().idempotency_days)]
    keep_idempotency_days: u16,
    /// Days to keep published messages of the outbox
    #[arg(long, value_name = "DAYS", default_value_t = Keep::default().outbox_days)]
    keep_outbox_days: u16,
    /// Days to keep the marks of consumers
    #[arg(long, value_name = "DAYS", default_value_t = Keep::default().processed_days)]
    keep_processed_days: u16,
    /// Days of prices to create ahead
    #[arg(long, value_name = "DAYS", default_value_t = Keep::default().price_days_ahead)]
    price_days_ahead: u16,
    /// Days of prices to keep; older ones are dropped [default: all]
    #[arg(long, value_name = "DAYS")]
    keep_price_days: Option<u16>,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let keep = Keep {
        audit_months_ahead: args.audit_months_ahead,
        audit_months: args.keep_audit_months,
        revoked_session_days: args.keep_revoked_session_days,
        idempotency_days: args.keep_idempotency_days,
        outbox_days: args.keep_outbox_days,
        processed_days: args.keep_processed_days,
        price_days_ahead: args.price_days_ahead,
        price_days: args.keep_price_days,
    };
    let progress = Progress::new();
    let main = config()?;
    let done = each_database(&main, |name, _| {
        let progress = progress.of(name.as_str(), 2);
        let main = &main;
        async move {
            let step = |step: &str| progress.step(step);
            match name {
                DatabaseName::Main => maintain::run(main, keep, step).await,
                DatabaseName::Rfq => maintain::run_rfq(main, keep, step).await,
                DatabaseName::Marketdata => maintain::run_marketdata(main, keep, step).await,
            }
        }
    })
    .await;
    progress.finish();
    let done = done?;
    if args.output.json {
        let by_name = done.iter().map(|(name, done)| (name.to_string(), serde_json::json!(done)));
        println!("{}", serde_json::json!({ "databases": by_name.collect::<serde_json::Map<_, _>>() }));
        return Ok(());
    }
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join("\n") };
    let rows = done.iter().map(|(name, done)| {
        vec![
            name.to_string(),
            names(&done.partitions_created),
            names(&done.partitions_dropped),
            done.sessions_pruned.to_string(),
            done.revoked_sessions_pruned.to_string(),
            done.idempotency_keys_pruned.to_string(),
            done.outbox_events_pruned.to_string(),
            done.processed_events_pruned.to_string(),
        ]
    });
    let headings = [
        "database",
        "partitions made",
        "partitions dropped",
        "sessions pruned",
        "revoked ids pruned",
        "idempotency keys pruned",
        "messages pruned",
        "marks pruned",
    ];
    println!("{}", table(&headings, rows, &[3, 4, 5, 6, 7]));
    Ok(())
}
