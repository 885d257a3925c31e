//! Venues: exchanges and trading facilities, by their market identifier code (MIC, ISO 10383).

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::schema::venues;
use crate::database::{Loaders, MarketdataSystemTx, MarketdataTx, Readers, Tx};
use crate::error::{Error, Result};
use crate::sql::{Upserted, cached, inserted, text_enum};
use crate::validation::Check;

text_enum! {
    /// Whether a venue trades.
    VenueStatus {
        /// It does.
        Active = "active",
        /// Not at the moment.
        Suspended = "suspended",
        /// No longer.
        Closed = "closed",
    }
}

/// A row of `venues`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = venues, check_for_backend(Pg))]
pub struct Venue {
    /// Its MIC.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// Two letters (ISO 3166-1).
    pub country: String,
    /// Time zone of its trading hours: `Europe/London`.
    pub timezone: String,
    /// Whether it trades.
    pub status: VenueStatus,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

/// A venue, for [`VenueRepository::upsert`].
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = venues)]
pub struct NewVenue<'a> {
    /// Its MIC: four of `A-Z 0-9`.
    pub code: &'a str,
    /// Name for people, 1 to 255 characters.
    pub name: &'a str,
    /// Two capital letters (ISO 3166-1).
    pub country: &'a str,
    /// Time zone of its trading hours, 1 to 64 characters.
    pub timezone: &'a str,
    /// Whether it trades.
    pub status: VenueStatus,
}

/// The venues. `Scope` says whether they can be written.
#[derive(Clone, Copy)]
pub struct VenueRepository<'t, Scope> {
    tx: &'t Tx<Scope>,
}

impl MarketdataTx {
    /// The venues, to read.
    #[must_use]
    pub fn venues(&self) -> VenueRepository<'_, Readers> {
        VenueRepository { tx: self }
    }
}

impl MarketdataSystemTx {
    /// The venues, to read and write.
    #[must_use]
    pub fn venues(&self) -> VenueRepository<'_, Loaders> {
        VenueRepository { tx: self }
    }
}

impl<Scope> VenueRepository<'_, Scope> {
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, code: &str) -> Result<Venue> {
        let query = venues::table.find(code).select(Venue::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: "venue", id: code.to_owned() })
    }

    /// All, by code. There are some thousands of MICs in the world, and a few dozen here.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list(&self) -> Result<Vec<Venue>> {
        Ok(venues::table.order(venues::code).select(Venue::as_select()).load(&mut self.tx.connection()).await?)
    }
}

impl VenueRepository<'_, Loaders> {
    /// Makes a venue, or changes the one with its code.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every rule that the input breaks.
    pub async fn upsert(&self, new: NewVenue<'_>) -> Result<Upserted<Venue>> {
        use venues as v;
        Check::default()
            .text("code", new.code, 4..=4)
            .text("name", new.name, 1..=255)
            .text("country", new.country, 2..=2)
            .text("timezone", new.timezone, 1..=64)
            .finish()?;
        let upsert = diesel::insert_into(v::table)
            .values(new)
            .on_conflict(v::code)
            .do_update()
            .set((
                v::name.eq(excluded(v::name)),
                v::country.eq(excluded(v::country)),
                v::timezone.eq(excluded(v::timezone)),
                v::status.eq(excluded(v::status)),
            ))
            .returning((Venue::as_returning(), inserted()));
        Ok(Upserted::new(cached(upsert).get_result(&mut self.tx.connection()).await?))
    }
}
