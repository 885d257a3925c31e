#![doc = include_str!("../README.md")]
// The command line has macros of these names that do not panic (cli/out.rs); a library prints nothing.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod audit;
pub mod database;
pub mod error;
pub mod events;
mod exact_json;
pub mod forms;
pub mod ideas;
pub mod ids;
pub mod marketdata;
pub mod models;
pub mod outbox;
pub mod pagination;
mod processed;
pub mod repositories;
pub mod rfq;
/// The tables, as `diesel print-schema` writes them.
#[rustfmt::skip]
#[expect(clippy::doc_markdown, missing_docs, reason = "generated from the database's comments")]
#[allow(clippy::wildcard_imports, reason = "generated, and in tests no finding")]
pub mod schema;
#[cfg(feature = "serve")]
pub mod serve;
pub mod sql;
pub mod tenancy;
mod validation;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use database::{
    Config, Database, DatabaseUrl, Environment, MarketdataDatabase, MarketdataSystemTx, MarketdataTx, RfqDatabase,
    RfqSystemTx, RfqTx, SessionTx, SystemTx, TenantContext, TenantTx, TraceParent, WalPosition,
};
pub use error::{Error, Result, SchemaViolation};
pub use processed::Processed;
