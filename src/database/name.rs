//! The databases that bedplate has.

use crate::sql::text_enum;

text_enum! {
    /// A database: a folder of migrations, a URL, a `schema.rs` of its own.
    DatabaseName {
        /// Tenants, users, ideas, the audit log: what everything else stands on.
        Main = "main",
        /// Requests for quotes.
        Rfq = "rfq",
        /// Venues, instruments, prices: reference data without tenants.
        Marketdata = "marketdata",
    }
}
