//! `bedplate serve`.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::config;
use crate::database::{Database, Health, HealthLimits};
use crate::error::{Error, Result};
use crate::serve::router;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate serve --listen 127.0.0.1:9187\n  curl -i 127.0.0.1:9187/health/ready\n\n\
    Metrics of pools and transactions are those of this process: an application that wants its own merges \
    `bedplate::serve::router` into its router. Ends on Ctrl-C and SIGTERM, after the answers that are under way."
)]
pub(super) struct Args {
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9187")]
    listen: SocketAddr,
    /// Maximum lag of a replica; above it, the answer is "not ready"
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    replica_lag: u64,
    /// Maximum time that a message of the outbox may be due; above it, the answer is "not ready" [default: 300; none in
    /// development]
    #[arg(long, value_name = "SECONDS")]
    outbox_age: Option<u64>,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let database = Database::connect(config()?).await?;
    let mut limits = HealthLimits::of(database.config().environment);
    limits.replica_lag = Duration::from_secs(args.replica_lag);
    if let Some(seconds) = args.outbox_age {
        limits.outbox_age = Duration::from_secs(seconds);
    }
    let doing = || format!("listening on {}", args.listen);
    let listener = TcpListener::bind(args.listen).await.map_err(Error::io(doing()))?;
    let address = listener.local_addr().map_err(Error::io(doing()))?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Error::io("waiting for signals"))?;
    println!("http://{address}/health/live\nhttp://{address}/health/ready\nhttp://{address}/metrics");
    axum::serve(listener, router(Health::new(&database, limits)))
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
        })
        .await
        .map_err(Error::io(doing()))
}
