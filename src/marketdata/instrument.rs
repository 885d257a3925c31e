//! Instruments: what can be traded, by symbol.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::schema::instruments;
use crate::database::{Loaders, MarketdataSystemTx, MarketdataTx, Readers, Tx};
use crate::error::{Error, Result};
use crate::pagination::{Cursor, Page, PageRequest};
use crate::sql::{Upserted, cached, inserted, text_enum};
use crate::validation::Check;

text_enum! {
    /// What kind of thing it is.
    AssetClass {
        /// A share.
        Equity = "equity",
        /// A currency in another one.
        Fx = "fx",
        /// A debt.
        Bond = "bond",
        /// A raw material, or a future on it.
        Commodity = "commodity",
        /// A crypto currency, or a future on it.
        Crypto = "crypto",
    }
}

text_enum! {
    /// Whether an instrument is traded.
    InstrumentStatus {
        /// It is.
        Active = "active",
        /// Not at the moment.
        Halted = "halted",
        /// No longer.
        Delisted = "delisted",
    }
}

/// A row of `instruments`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = instruments, check_for_backend(Pg))]
pub struct Instrument {
    /// Its short name, unique among all.
    pub symbol: String,
    /// Name for people.
    pub name: String,
    /// What kind of thing it is.
    pub asset_class: AssetClass,
    /// Currency of its price (ISO 4217).
    pub currency: String,
    /// Prices are multiples of it.
    pub tick_size: BigDecimal,
    /// Quantities are multiples of it.
    pub lot_size: BigDecimal,
    /// The venue where it is mainly traded.
    pub venue_code: String,
    /// Whether it is traded.
    pub status: InstrumentStatus,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

/// An instrument, for [`InstrumentRepository::upsert`].
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = instruments)]
pub struct NewInstrument<'a> {
    /// Its short name: 1 to 64 of `A-Z 0-9 . / _ -`.
    pub symbol: &'a str,
    /// Name for people, 1 to 255 characters.
    pub name: &'a str,
    /// What kind of thing it is.
    pub asset_class: AssetClass,
    /// Three capital letters (ISO 4217).
    pub currency: &'a str,
    /// Greater than 0, at most 8 digits after the point.
    pub tick_size: &'a BigDecimal,
    /// Greater than 0, at most 8 digits after the point.
    pub lot_size: &'a BigDecimal,
    /// A venue that is there.
    pub venue_code: &'a str,
    /// Whether it is traded.
    pub status: InstrumentStatus,
}

/// Which instruments to list.
#[derive(Debug, Clone, Default)]
pub struct InstrumentFilter {
    /// Only those of this kind.
    pub asset_class: Option<AssetClass>,
    /// Only those of this venue.
    pub venue_code: Option<String>,
}

/// The instruments. `Scope` says whether they can be written.
#[derive(Clone, Copy)]
pub struct InstrumentRepository<'t, Scope> {
    tx: &'t Tx<Scope>,
}

impl MarketdataTx {
    /// The instruments, to read.
    #[must_use]
    pub fn instruments(&self) -> InstrumentRepository<'_, Readers> {
        InstrumentRepository { tx: self }
    }
}

impl MarketdataSystemTx {
    /// The instruments, to read and write.
    #[must_use]
    pub fn instruments(&self) -> InstrumentRepository<'_, Loaders> {
        InstrumentRepository { tx: self }
    }
}

impl<Scope> InstrumentRepository<'_, Scope> {
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, symbol: &str) -> Result<Instrument> {
        let query = instruments::table.find(symbol).select(Instrument::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: "instrument", id: symbol.to_owned() })
    }

    /// Instruments by symbol.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list(&self, filter: &InstrumentFilter, page: &PageRequest) -> Result<Page<Instrument>> {
        const ORDER: &str = "instruments";
        let mut query = instruments::table
            .order(instruments::symbol)
            .limit(page.fetch()?)
            .select(Instrument::as_select())
            .into_boxed::<Pg>();
        if let Some(asset_class) = filter.asset_class {
            query = query.filter(instruments::asset_class.eq(asset_class));
        }
        if let Some(venue) = &filter.venue_code {
            query = query.filter(instruments::venue_code.eq(venue));
        }
        if let Some(after) = &page.after {
            let (symbol, _): (String, Uuid) = after.decode(ORDER)?;
            query = query.filter(instruments::symbol.gt(symbol));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &Instrument| Cursor::new(ORDER, &last.symbol, Uuid::nil())))
    }
}

impl InstrumentRepository<'_, Loaders> {
    /// Makes an instrument, or changes the one with its symbol.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every rule that the input breaks, also for a venue that does not exist.
    pub async fn upsert(&self, new: NewInstrument<'_>) -> Result<Upserted<Instrument>> {
        use instruments as i;
        Check::default()
            .text("symbol", new.symbol, 1..=64)
            .text("name", new.name, 1..=255)
            .text("currency", new.currency, 3..=3)
            .text("venue_code", new.venue_code, 4..=4)
            .positive("tick_size", new.tick_size, 8)
            .positive("lot_size", new.lot_size, 8)
            .finish()?;
        let upsert = diesel::insert_into(i::table)
            .values(new)
            .on_conflict(i::symbol)
            .do_update()
            .set((
                i::name.eq(excluded(i::name)),
                i::asset_class.eq(excluded(i::asset_class)),
                i::currency.eq(excluded(i::currency)),
                i::tick_size.eq(excluded(i::tick_size)),
                i::lot_size.eq(excluded(i::lot_size)),
                i::venue_code.eq(excluded(i::venue_code)),
                i::status.eq(excluded(i::status)),
            ))
            .returning((Instrument::as_returning(), inserted()));
        Ok(Upserted::new(cached(upsert).get_result(&mut self.tx.connection()).await?))
    }
}
