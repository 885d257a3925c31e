//! Requests for quotes: a user asks, venues name their price, one quote is accepted.
//!
//! ```text
//! RFQ      open ──quote──▶ quoted ──accept──▶ accepted
//!            │                │
//!            └───────┬────────┴──▶ expired, or cancelled
//! quote    live ──▶ accepted, or rejected (another one was accepted, or the RFQ cancelled), or expired
//! ```
//! Every other change of state is refused, here with [`Error::WrongState`](crate::Error::WrongState) and in the
//! database by a trigger (the test `rfq::transitions` compares the two).
//!
//! Always holds: an RFQ has at most one accepted quote; what is over is neither quoted nor accepted, whatever its
//! status still says, and that is told by the database's clock. Whoever quotes, accepts or ends an RFQ locks its row
//! first, and looks at its quotes in a later statement, whose snapshot is younger than the lock (the tests
//! `rfq_races::`).

pub mod quote;
pub mod request;
/// The tables, as `diesel print-schema` writes them.
#[rustfmt::skip]
#[expect(clippy::doc_markdown, reason = "generated from the database's comments")]
pub mod schema;

pub use quote::{NewRfqQuote, RfqQuote, RfqQuoteId, RfqQuoteRepository, RfqQuoteStatus};
pub use request::{NewRfq, Rfq, RfqFilter, RfqId, RfqRepository, RfqStatus, Side};
