//! The log on standard error: warnings, unless `RUST_LOG` asks for more.

use std::io::stderr;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::out::takes_colours;

const DEFAULT: &str = "warn";

/// Begins the log.
pub(super) fn begin() {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, wrong) = match EnvFilter::try_new(if asked.is_empty() { DEFAULT } else { &asked }) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT), Some(error)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(takes_colours(&stderr()))
        // Where standard error cannot be written, the complaint about it would panic.
        .log_internal_errors(false)
        .without_time()
        .finish()
        .with(filter_fn(|metadata| !shows_values(metadata)))
        .init();
    if let Some(wrong) = wrong {
        eprintln!("note: RUST_LOG is not used, it cannot be read: {wrong}");
    }
}

/// Tells whether the driver logs this with the text of a query and the values that are bound. It does so below `info`;
/// at `info` there are the server's notices.
fn shows_values(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("tokio_postgres") && *metadata.level() > Level::INFO
}
