//! Keyset pagination: a page starts after the last row of the one before, by a comparison that an
//! index answers, so that page 1,000 costs what page 1 does and no row is shown twice or skipped
//! because others came or went.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use diesel::BoxableExpression;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::sql_types::{Bool, Timestamptz, Uuid as SqlUuid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};

/// The most rows that a page can have.
pub const MAX_PAGE: u16 = 200;

/// Which page: how many rows, and after which.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// At most so many rows: 1 to [`MAX_PAGE`], 50 by default.
    pub limit: u16,
    /// Where the page before ended; `None`: the first page.
    pub after: Option<Cursor>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 50, after: None }
    }
}

impl PageRequest {
    /// The first page, of `limit` rows.
    #[must_use]
    pub fn first(limit: u16) -> Self {
        Self { limit, after: None }
    }

    /// One row more than asked for: it tells whether there is a next page.
    pub(crate) fn fetch(&self) -> Result<i64> {
        if !(1..=MAX_PAGE).contains(&self.limit) {
            return Err(Error::invalid("limit", format!("is {}, allowed are 1 to {MAX_PAGE}", self.limit)));
        }
        Ok(i64::from(self.limit) + 1)
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The rows, in order.
    pub items: Vec<T>,
    /// Where the next page starts; `None`: this was the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    pub(crate) fn new(mut rows: Vec<T>, request: &PageRequest, cursor: impl FnOnce(&T) -> Cursor) -> Self {
        let more = rows.len() > usize::from(request.limit);
        rows.truncate(request.limit.into());
        let next = rows.last().filter(|_| more).map(cursor);
        Self { items: rows, next }
    }
}

/// A place in a list. Opaque: hand it back as it came. It is no secret and grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// The text to hand to a client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a client's text; whether it is one of ours shows when it is used.
    pub fn from_client(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The place after the row with this sort key and id, in the order named `order`.
    pub(crate) fn new(order: &str, key: &impl Serialize, id: impl Into<Uuid>) -> Self {
        // Times, texts and UUIDs always serialise; an empty cursor is refused when it comes back.
        let json = serde_json::to_vec(&(order, key, id.into())).unwrap_or_default();
        Self(URL_SAFE_NO_PAD.encode(json))
    }

    /// The sort key and id, if the cursor was made by the same order.
    pub(crate) fn decode<K: SortKey>(&self, order: &str) -> Result<(K, Uuid)> {
        let refused = || Error::invalid("cursor", "does not belong to this list");
        let json = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| refused())?;
        let (made_by, key, id): (String, K, Uuid) = serde_json::from_slice(&json).map_err(|_| refused())?;
        if made_by == order && key.fits_a_column() { Ok((key, id)) } else { Err(refused()) }
    }
}

/// What a list is sorted by.
pub(crate) trait SortKey: DeserializeOwned {
    /// Whether a column can hold it: a client may have written the cursor.
    fn fits_a_column(&self) -> bool;
}

impl SortKey for () {
    fn fits_a_column(&self) -> bool {
        true
    }
}

impl SortKey for i32 {
    fn fits_a_column(&self) -> bool {
        true
    }
}

impl SortKey for i64 {
    fn fits_a_column(&self) -> bool {
        true
    }
}

impl SortKey for String {
    fn fits_a_column(&self) -> bool {
        !self.contains('\0')
    }
}

impl SortKey for DateTime<Utc> {
    /// PostgreSQL's times begin with the Julian day 0, those of chrono long before; they end after chrono's.
    fn fits_a_column(&self) -> bool {
        const FIRST_MICROSECOND: i64 = -210_866_803_200_000_000;
        self.timestamp_micros() >= FIRST_MICROSECOND
    }
}

impl<K: SortKey> SortKey for Option<K> {
    fn fits_a_column(&self) -> bool {
        self.as_ref().is_none_or(SortKey::fits_a_column)
    }
}

impl<A: SortKey, B: SortKey> SortKey for (A, B) {
    fn fits_a_column(&self) -> bool {
        self.0.fits_a_column() && self.1.fits_a_column()
    }
}

/// A condition on the rows of `Table`.
pub(crate) type Condition<Table> = Box<dyn BoxableExpression<Table, Pg, SqlType = Bool>>;

/// What comes after a row in a list sorted by `created_at DESC, id DESC`: one row comparison, which an
/// index on both columns answers.
pub(crate) fn older_than<Table>(created_at: DateTime<Utc>, id: Uuid) -> Condition<Table> {
    Box::new(
        sql::<Bool>("(created_at, id) < (")
            .bind::<Timestamptz, _>(created_at)
            .sql(", ")
            .bind::<SqlUuid, _>(id)
            .sql(")"),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Tea \u{e9}")]
    #[case(r"a\u0000b \0 and \\u0000")]
    fn a_cursor_comes_back_as_it_went(#[case] title: &str) {
        let (key, id) = (title.to_owned(), Uuid::now_v7());
        let cursor = Cursor::new("title", &key, id);
        let again = Cursor::from_client(cursor.as_str());
        assert_eq!(again.decode::<String>("title").unwrap(), (key, id));
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_base64("%%%")]
    #[case::no_json("aGVsbG8")]
    #[case::of_another_order(Cursor::new("newest", &"Tea", Uuid::nil()).0)]
    #[case::with_a_nul(Cursor::new("title", &"a\0b", Uuid::nil()).0)]
    fn a_cursor_of_another_list_is_refused(#[case] text: impl Into<String>) {
        let error = Cursor::from_client(text).decode::<String>("title").unwrap_err();
        assert_eq!(error.to_string(), "cursor does not belong to this list");
    }

    #[rstest]
    #[case("-4712-01-01T00:00:00Z", true)]
    #[case("-4713-11-24T00:00:00Z", true)]
    #[case("-4713-11-23T23:59:59.999999Z", false)]
    #[case("-262143-01-01T00:00:00Z", false)]
    #[case("+262142-12-31T23:59:59.999999999Z", true)]
    fn a_time_is_one_of_postgresql(#[case] time: &str, #[case] fits: bool) {
        let cursor = Cursor::new("newest", &(Some(time), 1), Uuid::nil());
        assert_eq!(cursor.decode::<(Option<DateTime<Utc>>, i32)>("newest").is_ok(), fits);
    }

    #[rstest]
    #[case(0)]
    #[case(MAX_PAGE + 1)]
    fn a_page_has_a_size(#[case] limit: u16) {
        assert!(matches!(PageRequest::first(limit).fetch(), Err(Error::Invalid { .. })));
    }
}
