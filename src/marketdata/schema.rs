// @generated automatically by Diesel CLI.

diesel::table! {
    /// What can be traded.
    instruments (symbol) {
        /// Its short name, unique among all: AAPL, EUR/USD.
        #[max_length = 64]
        symbol -> Varchar,
        /// Name for people.
        #[max_length = 255]
        name -> Varchar,
        /// equity, fx, bond, commodity or crypto.
        asset_class -> Text,
        /// Currency of its price (ISO 4217).
        #[max_length = 3]
        currency -> Bpchar,
        /// Prices are multiples of it.
        tick_size -> Numeric,
        /// Quantities are multiples of it.
        lot_size -> Numeric,
        /// The venue where it is mainly traded.
        #[max_length = 4]
        venue_code -> Varchar,
        /// active, halted or delisted.
        status -> Text,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Prices as they came, one an instrument and moment.
    price_ticks (instrument_symbol, ts) {
        /// The instrument.
        #[max_length = 64]
        instrument_symbol -> Varchar,
        /// When, by the clock of the source.
        ts -> Timestamptz,
        /// Highest price that somebody would pay; NULL: nobody, or not told.
        bid -> Nullable<Numeric>,
        /// Lowest price that somebody would take; NULL: nobody, or not told.
        ask -> Nullable<Numeric>,
        /// Price of the last trade; NULL: none, or not told.
        last -> Nullable<Numeric>,
        /// Quantity that was traded since the tick before; NULL: not told.
        volume -> Nullable<Numeric>,
    }
}

diesel::table! {
    /// Where instruments are traded: exchanges and trading facilities.
    venues (code) {
        /// Market identifier code (MIC, ISO 10383).
        #[max_length = 4]
        code -> Varchar,
        /// Name for people.
        #[max_length = 255]
        name -> Varchar,
        /// Country (ISO 3166-1, two letters).
        #[max_length = 2]
        country -> Bpchar,
        /// Time zone of its trading hours, as the IANA database names it: Europe/London.
        #[max_length = 64]
        timezone -> Varchar,
        /// active, suspended or closed.
        status -> Text,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::joinable!(instruments -> venues (venue_code));
diesel::joinable!(price_ticks -> instruments (instrument_symbol));

diesel::allow_tables_to_appear_in_same_query!(instruments, price_ticks, venues,);
