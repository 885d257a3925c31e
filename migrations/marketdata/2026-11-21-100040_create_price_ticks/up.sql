-- By day (UTC), so that what is old is dropped and not deleted. A tick is a fact: nobody has the right to change
-- or delete one. Its key makes a load that is sent twice fail the second time, instead of doubling volumes.
CREATE TABLE price_ticks (
    instrument_symbol varchar(64) NOT NULL,
    ts timestamptz NOT NULL
        CONSTRAINT price_ticks_ts_time CHECK (ts BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    bid numeric(20,8),
    ask numeric(20,8),
    last numeric(20,8),
    volume numeric(20,4),
    CONSTRAINT price_ticks_pkey PRIMARY KEY (instrument_symbol, ts),
    CONSTRAINT price_ticks_instrument_symbol_fkey FOREIGN KEY (instrument_symbol) REFERENCES instruments (symbol),
    -- No client can hold infinity.
    CONSTRAINT price_ticks_bid_check CHECK (bid <> 'NaN'),
    CONSTRAINT price_ticks_ask_check CHECK (ask <> 'NaN'),
    CONSTRAINT price_ticks_last_check CHECK (last <> 'NaN'),
    CONSTRAINT price_ticks_volume_check CHECK (volume >= 0 AND volume <> 'NaN'),
    CONSTRAINT price_ticks_some_price CHECK (num_nonnulls(bid, ask, last) > 0)
) PARTITION BY RANGE (ts);
COMMENT ON INDEX price_ticks_pkey IS
    'The latest price of an instrument, and its prices in a time range: price_ticks().latest, price_ticks().range; its foreign key.';

COMMENT ON TABLE price_ticks IS 'Prices as they came, one an instrument and moment.';
COMMENT ON COLUMN price_ticks.instrument_symbol IS 'The instrument.';
COMMENT ON COLUMN price_ticks.ts IS 'When, by the clock of the source.';
COMMENT ON COLUMN price_ticks.bid IS 'Highest price that somebody would pay; NULL: nobody, or not told.';
COMMENT ON COLUMN price_ticks.ask IS 'Lowest price that somebody would take; NULL: nobody, or not told.';
COMMENT ON COLUMN price_ticks.last IS 'Price of the last trade; NULL: none, or not told.';
COMMENT ON COLUMN price_ticks.volume IS 'Quantity that was traded since the tick before; NULL: not told.';

GRANT SELECT ON price_ticks TO bedplate_app;
GRANT SELECT, INSERT ON price_ticks TO bedplate_system;

-- The default partition catches what no day is ready for, so that no tick is ever lost; but a day that it holds
-- ticks of cannot be attached. So they are moved first, while writers wait; `bedplate maintain` keeps days
-- ahead, so that there are few.
CREATE FUNCTION create_price_tick_partition(day date) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    AS $$
DECLARE
    since timestamptz := day::timestamptz;
    until timestamptz := since + interval '1 day';
    name text := 'price_ticks_' || to_char(since, 'YYYY_MM_DD');
BEGIN
    -- One at a time: a second caller finds the first one's work.
    PERFORM pg_advisory_xact_lock(hashtextextended('bedplate.create_price_tick_partition', 0));
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.price_ticks INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('COMMENT ON TABLE public.%I IS %L', name, format('Prices of %s.', to_char(since, 'YYYY-MM-DD')));
    -- Waits for the writers at work that have reached it; from here to the end no other one does.
    LOCK TABLE public.price_ticks_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH caught AS (DELETE FROM public.price_ticks_default WHERE ts >= $1 AND ts < $2 RETURNING *)
                    INSERT INTO public.%I SELECT * FROM caught', name) USING since, until;
    EXECUTE format('ALTER TABLE public.price_ticks ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', name, since, until);
    RETURN true;
END
$$;
COMMENT ON FUNCTION create_price_tick_partition(date) IS
    'Makes the partition of a day (UTC), also when the default partition holds ticks of it; false: it was there. For the owner.';
REVOKE EXECUTE ON FUNCTION create_price_tick_partition(date) FROM PUBLIC;

CREATE FUNCTION drop_price_tick_partitions(before date) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
         WHERE inhparent = 'public.price_ticks'::regclass AND relname ~ '^price_ticks_\d{4}_\d{2}_\d{2}$'
           AND to_date(substr(relname, 13), 'YYYY_MM_DD') < before
         ORDER BY relname
    LOOP
        EXECUTE format('DROP TABLE public.%I', name);
        RETURN NEXT name;
    END LOOP;
END
$$;
COMMENT ON FUNCTION drop_price_tick_partitions(date) IS
    'Retention: drops the days before a day, and names them. For the owner.';
REVOKE EXECUTE ON FUNCTION drop_price_tick_partitions(date) FROM PUBLIC;

CREATE TABLE price_ticks_default PARTITION OF price_ticks DEFAULT;
COMMENT ON TABLE price_ticks_default IS 'Prices of days that have no partition.';
SELECT create_price_tick_partition((now() AT TIME ZONE 'UTC')::date + n) FROM generate_series(0, 3) AS n;
