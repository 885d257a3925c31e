//! Bulk loads by COPY, in its binary format. diesel-async has no COPY, so a load has a connection of its own.
//!
//! Always holds: a load is one transaction; it is there entirely or not at all. Dropped half-way, it was never
//! there.

use std::io::Cursor;
use std::pin::Pin;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::pg::data_types::PgNumeric;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};
use futures_util::SinkExt as _;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, CopyInSink};

use super::config::Timeouts;
use super::connect::connect_plainly;
use super::tenant::{AllTenants, Begin};
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// What is sent at once: a message that is large enough for its costs not to count.
const MESSAGE: usize = 64 * 1024;

/// Seconds from the Unix epoch to 2000-01-01, which binary times count from.
const EPOCH: i64 = 946_684_800;

/// A load at work, as `bedplate_system`.
pub(crate) struct CopyIn {
    client: Client,
    sink: Pin<Box<CopyInSink<Cursor<Vec<u8>>>>>,
    message: Vec<u8>,
}

impl CopyIn {
    /// Connects, and begins `copy`: `COPY … FROM STDIN (FORMAT binary)`. With the texts that `known` selects, in
    /// the same transaction. There is no statement timeout: a load takes as long as its rows do.
    ///
    /// # Errors
    /// Those of [`connect`](super::connect).
    pub(crate) async fn start(
        url: &DatabaseUrl,
        name: &'static str,
        known: &str,
        copy: &str,
    ) -> Result<(Self, impl Iterator<Item = String>)> {
        let (client, connection) = connect_plainly(url).await?;
        // Ends with the client. What breaks it is told by whatever is sent next.
        tokio::spawn(connection);
        client.batch_execute(&Begin::new(name, &AllTenants, Timeouts::NONE).sql).await.map_err(classified)?;
        let known = client.query(known, &[]).await.map_err(classified)?.into_iter().map(|row| row.get(0));
        let sink = Box::pin(client.copy_in(copy).await.map_err(classified)?);
        let mut message = Vec::with_capacity(MESSAGE + 1024);
        // Signature, no flags, no extension (<https://www.postgresql.org/docs/15/sql-copy.html>, Binary Format).
        message.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        Ok((Self { client, sink, message }, known))
    }

    /// Begins a row of so many fields.
    pub(crate) fn row(&mut self, fields: i16) {
        self.message.extend_from_slice(&fields.to_be_bytes());
    }

    /// A field of any text type.
    pub(crate) fn text(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    /// A field of type `timestamptz`.
    pub(crate) fn time(&mut self, time: DateTime<Utc>) {
        self.field(&(time.timestamp_micros() - EPOCH * 1_000_000).to_be_bytes());
    }

    /// A field of type `numeric`, NULL if there is none. The number has at most `scale` digits after the point.
    pub(crate) fn numeric(&mut self, number: Option<&BigDecimal>, scale: i64) {
        let Some(number) = number else {
            self.message.extend_from_slice(&(-1_i32).to_be_bytes());
            return;
        };
        let (sign, weight, scale, digits) = match PgNumeric::from(&number.with_scale(scale)) {
            PgNumeric::Positive { weight, scale, digits } => (0_u16, weight, scale, digits),
            PgNumeric::Negative { weight, scale, digits } => (0x4000, weight, scale, digits),
            PgNumeric::NaN => (0xC000, 0, 0, Vec::new()),
        };
        let count = u16::try_from(digits.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(8 + 2 * digits.len());
        for head in [count.to_be_bytes(), weight.to_be_bytes(), sign.to_be_bytes(), scale.to_be_bytes()] {
            bytes.extend_from_slice(&head);
        }
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        self.field(&bytes);
    }

    fn field(&mut self, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.message.extend_from_slice(&length.to_be_bytes());
        self.message.extend_from_slice(bytes);
    }

    /// Sends what was written if it is enough for a message; whether it was. Waits while the server is busy.
    pub(crate) async fn send_if_full(&mut self) -> Result<bool> {
        if self.message.len() < MESSAGE {
            return Ok(false);
        }
        let message = std::mem::replace(&mut self.message, Vec::with_capacity(MESSAGE + 1024));
        self.sink.send(Cursor::new(message)).await.map_err(classified)?;
        Ok(true)
    }

    /// Sends the rest and commits; the number of rows.
    ///
    /// # Errors
    /// [`Error::Row`] for the first row that the database refuses, however long ago it was sent;
    /// [`Error::CommitUnknown`].
    pub(crate) async fn finish(mut self) -> Result<u64> {
        self.message.extend_from_slice(&(-1_i16).to_be_bytes());
        self.sink.send(Cursor::new(self.message)).await.map_err(classified)?;
        let rows = self.sink.as_mut().finish().await.map_err(classified)?;
        match self.client.batch_execute("COMMIT").await.map_err(classified) {
            Ok(()) => Ok(rows),
            Err(Error::Unavailable { .. }) => Err(Error::CommitUnknown),
            Err(error) => Err(error),
        }
    }
}

/// As diesel would have it, so that `error.rs` stays the one place that classifies; with the row, where the
/// database names one.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn classified(error: tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        return Error::Unavailable { message: error.to_string() };
    };
    let kind = match *said.code() {
        SqlState::UNIQUE_VIOLATION => DatabaseErrorKind::UniqueViolation,
        SqlState::FOREIGN_KEY_VIOLATION => DatabaseErrorKind::ForeignKeyViolation,
        SqlState::NOT_NULL_VIOLATION => DatabaseErrorKind::NotNullViolation,
        SqlState::CHECK_VIOLATION => DatabaseErrorKind::CheckViolation,
        SqlState::T_R_SERIALIZATION_FAILURE => DatabaseErrorKind::SerializationFailure,
        _ => DatabaseErrorKind::Unknown,
    };
    let row = said.where_().and_then(row_of);
    let error = Error::from(diesel::result::Error::DatabaseError(kind, Box::new(Said(said.clone()))));
    match row {
        Some(row) => Error::Row { row, error: error.into() },
        None => error,
    }
}

/// `COPY price_ticks, line 12, column bid`: 12.
fn row_of(context: &str) -> Option<u64> {
    let (_, line) = context.strip_prefix("COPY ")?.split_once(", line ")?;
    line.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

struct Said(DbError);

impl DatabaseErrorInformation for Said {
    fn message(&self) -> &str {
        self.0.message()
    }
    fn details(&self) -> Option<&str> {
        self.0.detail()
    }
    fn hint(&self) -> Option<&str> {
        self.0.hint()
    }
    fn table_name(&self) -> Option<&str> {
        self.0.table()
    }
    fn column_name(&self) -> Option<&str> {
        self.0.column()
    }
    fn constraint_name(&self) -> Option<&str> {
        self.0.constraint()
    }
    fn statement_position(&self) -> Option<i32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_read_from_the_context() {
        assert_eq!(row_of("COPY price_ticks, line 12, column bid"), Some(12));
        assert_eq!(row_of("COPY price_ticks, line 3"), Some(3));
        assert_eq!(row_of("SQL statement \"SELECT 1\""), None);
    }
}
