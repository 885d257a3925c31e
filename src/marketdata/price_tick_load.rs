//! Loading prices in bulk.
//!
//! By binary COPY, which takes any number of rows in one statement and names the wrong one. It is little quicker than
//! inserting arrays through UNNEST, which took 1.0 to 1.4 times as long (eight runs of 200,000 rows side by side, on a
//! busy machine): both spend more than a third of their time on the foreign key to the instruments.

use std::collections::HashSet;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};

use crate::database::{CopyIn, MarketdataDatabase};
use crate::error::{Error, Result};
use crate::validation::Check;

/// Digits after the point of a price, and of a volume.
const PRICE_SCALE: i64 = 8;
const VOLUME_SCALE: i64 = 4;

/// A price to load. At least one of `bid`, `ask` and `last` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPriceTick<'a> {
    /// An instrument that is there.
    pub instrument_symbol: &'a str,
    /// When, by the clock of the source. Cut to the microsecond; an instrument has one price a microsecond.
    pub ts: DateTime<Utc>,
    /// Highest price that somebody would pay: at most 8 digits after the point.
    pub bid: Option<BigDecimal>,
    /// Lowest price that somebody would take, likewise.
    pub ask: Option<BigDecimal>,
    /// Price of the last trade, likewise.
    pub last: Option<BigDecimal>,
    /// Quantity that was traded since the tick before: 0 or more, at most 4 digits after the point.
    pub volume: Option<BigDecimal>,
}

impl NewPriceTick<'_> {
    fn check(&self, instruments: &HashSet<String>) -> Result<()> {
        let mut check = Check::default();
        if !instruments.contains(self.instrument_symbol) {
            check.add("instrument_symbol", format!("{:?} is no instrument", self.instrument_symbol));
        }
        let prices = [("bid", &self.bid), ("ask", &self.ask), ("last", &self.last)];
        for (field, price) in prices.into_iter().filter_map(|(field, price)| Some((field, price.as_ref()?))) {
            check.numeric(field, price, PRICE_SCALE);
        }
        if prices.iter().all(|(_, price)| price.is_none()) {
            check.add("last", "is missing, and so are bid and ask".into());
        }
        if let Some(volume) = &self.volume {
            check.numeric("volume", volume, VOLUME_SCALE);
            if volume.sign() == bigdecimal::num_bigint::Sign::Minus {
                check.add("volume", "is less than 0".into());
            }
        }
        check.finish()
    }
}

impl MarketdataDatabase {
    /// Loads prices of any number, instruments and days: all or none. How many there were.
    ///
    /// They go through a connection of their own, as `bedplate_system`, by binary COPY. A day without a partition is
    /// no obstacle: its prices wait in the default partition until `bedplate maintain` makes the day. `progress` is
    /// told from time to time how many have been sent.
    ///
    /// # Errors
    /// [`Error::Row`] names the first wrong row: with [`Error::Invalid`] for one that breaks rules, with
    /// [`Error::Conflict`] for one that is there already or twice. [`Error::CommitUnknown`]: load them again; if
    /// they are there, the first row is in conflict.
    pub async fn load_price_ticks<'a>(
        &self,
        ticks: impl IntoIterator<Item = NewPriceTick<'a>>,
        mut progress: impl FnMut(u64),
    ) -> Result<u64> {
        self.ready().await?;
        let (mut load, instruments) = CopyIn::start(
            self.config().url(),
            "marketdata.load",
            "SELECT symbol FROM instruments",
            "COPY price_ticks (instrument_symbol, ts, bid, ask, last, volume) FROM STDIN (FORMAT binary)",
        )
        .await?;
        let instruments: HashSet<String> = instruments.collect();
        for (row, tick) in (1..).zip(ticks) {
            tick.check(&instruments).map_err(|error| Error::Row { row, error: error.into() })?;
            load.row(6);
            load.text(tick.instrument_symbol);
            load.time(tick.ts);
            load.numeric(tick.bid.as_ref(), PRICE_SCALE);
            load.numeric(tick.ask.as_ref(), PRICE_SCALE);
            load.numeric(tick.last.as_ref(), PRICE_SCALE);
            load.numeric(tick.volume.as_ref(), VOLUME_SCALE);
            if load.send_if_full().await? {
                progress(row);
            }
        }
        let rows = load.finish().await.map_err(twice)?;
        progress(rows);
        Ok(rows)
    }
}

/// The key of a partition has the partition's name, which is nobody's business.
fn twice(error: Error) -> Error {
    match error {
        Error::Row { row, error } if matches!(*error, Error::Conflict { .. }) => Error::Row {
            row,
            error: Error::Conflict { constraint: "price_ticks_pkey".into(), field: "ts".into() }.into(),
        },
        other => other,
    }
}
