CREATE TABLE instruments (
    symbol varchar(64) NOT NULL,
    name varchar(255) NOT NULL,
    asset_class text NOT NULL,
    currency char(3) NOT NULL,
    tick_size numeric(20,8) NOT NULL,
    lot_size numeric(20,8) NOT NULL,
    venue_code varchar(4) NOT NULL,
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT instruments_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT instruments_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT instruments_pkey PRIMARY KEY (symbol),
    CONSTRAINT instruments_venue_code_fkey FOREIGN KEY (venue_code) REFERENCES venues (code),
    -- One spelling, so that a plain = finds it.
    CONSTRAINT instruments_symbol_check CHECK (symbol ~ '^[A-Z0-9][A-Z0-9./_-]*$'),
    CONSTRAINT instruments_name_check CHECK (visible_text(name) <> ''),
    CONSTRAINT instruments_asset_class_check
        CHECK (asset_class IN ('equity', 'fx', 'bond', 'commodity', 'crypto')),
    CONSTRAINT instruments_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
    -- NaN is greater than every number in PostgreSQL.
    CONSTRAINT instruments_tick_size_check CHECK (tick_size > 0 AND tick_size <> 'NaN'),
    CONSTRAINT instruments_lot_size_check CHECK (lot_size > 0 AND lot_size <> 'NaN'),
    CONSTRAINT instruments_status_check CHECK (status IN ('active', 'halted', 'delisted'))
);
COMMENT ON INDEX instruments_pkey IS 'An instrument by its symbol, and all by symbol: instruments().find, instruments().list.';
CREATE INDEX instruments_venue_code_idx ON instruments (venue_code, symbol);
COMMENT ON INDEX instruments_venue_code_idx IS 'Instruments of a venue by symbol: instruments().list by venue; its foreign key.';
CREATE INDEX instruments_asset_class_idx ON instruments (asset_class, symbol);
COMMENT ON INDEX instruments_asset_class_idx IS 'Instruments of an asset class by symbol: instruments().list by asset class.';

COMMENT ON TABLE instruments IS 'What can be traded.';
COMMENT ON COLUMN instruments.symbol IS 'Its short name, unique among all: AAPL, EUR/USD.';
COMMENT ON COLUMN instruments.name IS 'Name for people.';
COMMENT ON COLUMN instruments.asset_class IS 'equity, fx, bond, commodity or crypto.';
COMMENT ON COLUMN instruments.currency IS 'Currency of its price (ISO 4217).';
COMMENT ON COLUMN instruments.tick_size IS 'Prices are multiples of it.';
COMMENT ON COLUMN instruments.lot_size IS 'Quantities are multiples of it.';
COMMENT ON COLUMN instruments.venue_code IS 'The venue where it is mainly traded.';
COMMENT ON COLUMN instruments.status IS 'active, halted or delisted.';
COMMENT ON COLUMN instruments.created_at IS 'When the row was made.';
COMMENT ON COLUMN instruments.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON instruments
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

GRANT SELECT ON instruments TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON instruments TO bedplate_system;
