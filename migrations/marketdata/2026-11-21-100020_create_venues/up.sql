-- Reference data: it belongs to no tenant, so there are no policies, and grants alone protect it.
CREATE TABLE venues (
    code varchar(4) NOT NULL,
    name varchar(255) NOT NULL,
    country char(2) NOT NULL,
    timezone varchar(64) NOT NULL,
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT venues_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT venues_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT venues_pkey PRIMARY KEY (code),
    CONSTRAINT venues_code_check CHECK (code ~ '^[A-Z0-9]{4}$'),
    CONSTRAINT venues_name_check CHECK (visible_text(name) <> ''),
    CONSTRAINT venues_country_check CHECK (country ~ '^[A-Z]{2}$'),
    CONSTRAINT venues_timezone_check CHECK (visible_text(timezone) <> ''),
    CONSTRAINT venues_status_check CHECK (status IN ('active', 'suspended', 'closed'))
);
COMMENT ON INDEX venues_pkey IS 'A venue by its code: venues().find, venues().list.';

COMMENT ON TABLE venues IS 'Where instruments are traded: exchanges and trading facilities.';
COMMENT ON COLUMN venues.code IS 'Market identifier code (MIC, ISO 10383).';
COMMENT ON COLUMN venues.name IS 'Name for people.';
COMMENT ON COLUMN venues.country IS 'Country (ISO 3166-1, two letters).';
COMMENT ON COLUMN venues.timezone IS 'Time zone of its trading hours, as the IANA database names it: Europe/London.';
COMMENT ON COLUMN venues.status IS 'active, suspended or closed.';
COMMENT ON COLUMN venues.created_at IS 'When the row was made.';
COMMENT ON COLUMN venues.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON venues
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

GRANT SELECT ON venues TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON venues TO bedplate_system;
