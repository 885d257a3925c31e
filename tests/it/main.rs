//! One test binary: linking one is quicker than linking twenty, and all share one server.
//!
//! Every test has a database of its own, cloned from a template; see `support`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking"
)]

mod support;

mod agent_results;
mod boundary;
mod catalogue;
mod claims;
mod cli;
mod compose;
mod diesel_cli;
mod failures;
mod idea_status;
mod ideas;
mod isolation;
mod migrations;
mod plans;
mod prepared;
mod private_server;
mod quoting;
mod races;
mod seeds;
mod tenants;
mod users;
