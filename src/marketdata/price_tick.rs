//! Prices: the latest of many instruments, and those of one in a time range.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::schema::price_ticks;
use crate::database::MarketdataTx;
use crate::error::Result;
use crate::pagination::{Cursor, Page, PageRequest};
use crate::sql::{cached, columns};

/// A row of `price_ticks`. At least one of `bid`, `ask` and `last` is there.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = price_ticks, check_for_backend(Pg))]
pub struct PriceTick {
    /// The instrument.
    pub instrument_symbol: String,
    /// When, by the clock of the source, to the microsecond.
    pub ts: DateTime<Utc>,
    /// Highest price that somebody would pay.
    pub bid: Option<BigDecimal>,
    /// Lowest price that somebody would take.
    pub ask: Option<BigDecimal>,
    /// Price of the last trade.
    pub last: Option<BigDecimal>,
    /// Quantity that was traded since the tick before.
    pub volume: Option<BigDecimal>,
}

/// The prices, to read. They are written by
/// [`load_price_ticks`](crate::MarketdataDatabase::load_price_ticks).
#[derive(Clone, Copy)]
pub struct PriceTickRepository<'t> {
    tx: &'t MarketdataTx,
}

impl MarketdataTx {
    /// The prices.
    #[must_use]
    pub fn price_ticks(&self) -> PriceTickRepository<'_> {
        PriceTickRepository { tx: self }
    }
}

impl PriceTickRepository<'_> {
    /// The latest price of each instrument, in the order of `symbols`; those without any price are left out.
    ///
    /// One probe of the index an instrument and day that is looked at. Nearly all have a price of the last day, so
    /// that is asked first; only for the rest every day that is kept is looked at.
    ///
    /// # Errors
    /// What the database says.
    pub async fn latest(&self, symbols: &[&str]) -> Result<Vec<PriceTick>> {
        let mut found = self.latest_since(symbols, "AND ts >= now() - interval '1 day'").await?;
        let is_found = |symbol: &str| found.iter().any(|tick| tick.instrument_symbol == symbol);
        let rest: Vec<_> = symbols.iter().copied().filter(|symbol| !is_found(symbol)).collect();
        if !rest.is_empty() {
            found.append(&mut self.latest_since(&rest, "").await?);
            found.sort_by_key(|tick| symbols.iter().position(|it| *it == tick.instrument_symbol));
        }
        Ok(found)
    }

    async fn latest_since(&self, symbols: &[&str], since: &'static str) -> Result<Vec<PriceTick>> {
        let latest = sql_query(format!(
            "SELECT {tick} FROM unnest($1) WITH ORDINALITY AS wanted (symbol, n) \
              CROSS JOIN LATERAL ( \
                  SELECT {columns} FROM price_ticks WHERE instrument_symbol = wanted.symbol {since} \
                   ORDER BY ts DESC LIMIT 1) AS tick \
              ORDER BY n",
            tick = columns::<PriceTick>("tick"),
            columns = columns::<PriceTick>("")
        ))
        .bind::<Array<Text>, _>(symbols);
        Ok(cached(latest).load(&mut self.tx.connection()).await?)
    }

    /// The prices of an instrument from a time on and before another, oldest first.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a bad limit or cursor.
    pub async fn range(
        &self,
        symbol: &str,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        page: &PageRequest,
    ) -> Result<Page<PriceTick>> {
        const ORDER: &str = "price_ticks";
        let mut query = price_ticks::table
            .filter(price_ticks::instrument_symbol.eq(symbol))
            .filter(price_ticks::ts.ge(from))
            .filter(price_ticks::ts.lt(until))
            .order(price_ticks::ts)
            .limit(page.fetch()?)
            .select(PriceTick::as_select())
            .into_boxed::<Pg>();
        if let Some(after) = &page.after {
            let (ts, _): (DateTime<Utc>, Uuid) = after.decode(ORDER)?;
            query = query.filter(price_ticks::ts.gt(ts));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &PriceTick| Cursor::new(ORDER, &last.ts, Uuid::nil())))
    }
}
