//! `bedplate outbox status`.

use serde_json::json;

use super::super::ui::table;
use crate::cli::json::Json;
use crate::database::{Database, DatabaseName};
use crate::error::Result;
use crate::outbox::{OutboxEvent, OutboxQueue, OutboxStatus, StoppedEndpoint};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bedplate outbox status\n  bedplate outbox status --database rfq --json")]
pub(super) struct Args {
    /// Maximum number of dead letters to show, newest first
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    dead_letters: u16,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(database: &Database, name: DatabaseName, args: &Args) -> Result<()> {
    let limit = args.dead_letters;
    let seen = if name == DatabaseName::Rfq {
        let look = async move |tx: crate::RfqSystemTx| look(tx.outbox_queue(), limit).await;
        database.rfq().system_tx("outbox.status", look).await?
    } else {
        let look = async move |tx: crate::SystemTx| look(tx.outbox_queue(), limit).await;
        database.system_tx("outbox.status", look).await?
    };
    if args.output.json {
        println!("{}", to_json(&seen));
    } else {
        print(&seen.status, &seen.dead);
        print_stopped(&seen.stopped);
    }
    Ok(())
}

struct Look {
    status: Vec<OutboxStatus>,
    dead: Vec<OutboxEvent>,
    stopped: Vec<StoppedEndpoint>,
}

async fn look<Scope>(queue: OutboxQueue<'_, Scope>, limit: u16) -> Result<Look> {
    let (status, dead) = (queue.status().await?, queue.list_dead(limit).await?);
    Ok(Look { status, dead, stopped: queue.stopped_endpoints().await? })
}

fn to_json(seen: &Look) -> serde_json::Value {
    let (all, by_type): (Vec<_>, Vec<_>) = seen.status.iter().partition(|one| one.event_type.is_none());
    json!({
        "all": all.first(),
        "by_event_type": by_type,
        "dead_letters": seen.dead,
        "stopped_endpoints": seen.stopped,
    })
}

fn print_stopped(stopped: &[StoppedEndpoint]) {
    if stopped.is_empty() {
        return;
    }
    println!("\nStopped endpoints, which get no messages; `bedplate outbox start --id ID` starts one again:");
    let rows = stopped.iter().map(|endpoint| {
        vec![
            endpoint.stopped_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            endpoint.id.clone(),
            endpoint.name.clone(),
            endpoint.reason.chars().take(120).collect(),
        ]
    });
    println!("{}", table(&["stopped (UTC)", "id", "endpoint", "reason"], rows, &[]));
}

fn print(status: &[OutboxStatus], dead: &[OutboxEvent]) {
    let headings = ["messages", "pending", "due", "oldest due", "retrying", "leased", "dead", "published, last hour"];
    let rows = status.iter().map(|one| {
        vec![
            one.event_type.clone().unwrap_or_else(|| "all".to_owned()),
            one.pending.to_string(),
            one.due.to_string(),
            one.oldest_due_seconds.map(age).unwrap_or_default(),
            one.retrying.to_string(),
            one.leased.to_string(),
            one.dead.to_string(),
            one.published_last_hour.to_string(),
        ]
    });
    println!("{}", table(&headings, rows, &[1, 2, 3, 4, 5, 6, 7]));
    if dead.is_empty() {
        return;
    }
    println!("\nDead letters, the last first; `bedplate outbox replay` brings them back:");
    let rows = dead.iter().map(|message| {
        vec![
            message.dead_at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default(),
            message.event_type.clone(),
            format!("{} {}", message.entity_type, message.entity_id),
            message.event_id.to_string(),
            message.retry_count.to_string(),
            message.last_error.as_deref().unwrap_or_default().chars().take(120).collect(),
        ]
    });
    println!("{}", table(&["died (UTC)", "type", "entity", "event id", "failures", "last error"], rows, &[4]));
}

fn age(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.0} h", seconds / 3600.0),
        seconds => format!("{:.0} d", seconds / 86_400.0),
    }
}
