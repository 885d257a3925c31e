CREATE TABLE rfq_quotes (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    rfq_id uuid NOT NULL,
    venue_code varchar(4) NOT NULL,
    price numeric(20,8) NOT NULL,
    quantity numeric(20,4) NOT NULL,
    valid_until timestamptz NOT NULL
        CONSTRAINT rfq_quotes_valid_until_time CHECK (valid_until BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    status text NOT NULL DEFAULT 'live',
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT rfq_quotes_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT rfq_quotes_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT rfq_quotes_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT rfq_quotes_rfq_id_fkey FOREIGN KEY (tenant_id, rfq_id)
        REFERENCES rfqs (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT rfq_quotes_venue_code_check CHECK (venue_code ~ '^[A-Z0-9]{4}$'),
    -- Of either sign: power and oil have been sold for less than nothing.
    CONSTRAINT rfq_quotes_price_check CHECK (price <> 'NaN'),
    CONSTRAINT rfq_quotes_quantity_check CHECK (quantity > 0 AND quantity <> 'NaN'),
    CONSTRAINT rfq_quotes_valid_until_check CHECK (valid_until > created_at),
    CONSTRAINT rfq_quotes_status_check CHECK (status IN ('live', 'accepted', 'rejected', 'expired'))
);
COMMENT ON INDEX rfq_quotes_pkey IS 'A quote by its id: rfq_quotes().find.';
CREATE UNIQUE INDEX rfq_quotes_rfq_id_key ON rfq_quotes (tenant_id, rfq_id) WHERE status = 'accepted';
COMMENT ON INDEX rfq_quotes_rfq_id_key IS 'At most one accepted quote an RFQ.';
CREATE INDEX rfq_quotes_price_idx ON rfq_quotes (tenant_id, rfq_id, price, id);
COMMENT ON INDEX rfq_quotes_price_idx IS
    'Quotes of an RFQ by price, read from the end that is best for its side: rfq_quotes().list_by_rfq; its foreign key.';
CREATE INDEX rfq_quotes_valid_until_idx ON rfq_quotes (tenant_id, valid_until, id) WHERE status = 'live';
COMMENT ON INDEX rfq_quotes_valid_until_idx IS 'Live quotes that end first: rfq_quotes().expire.';

COMMENT ON TABLE rfq_quotes IS 'What venues answer to an RFQ.';
COMMENT ON COLUMN rfq_quotes.tenant_id IS 'The tenant of the RFQ.';
COMMENT ON COLUMN rfq_quotes.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN rfq_quotes.rfq_id IS 'The RFQ that it answers.';
COMMENT ON COLUMN rfq_quotes.venue_code IS 'Who quotes: the MIC of a venue of the database marketdata.';
COMMENT ON COLUMN rfq_quotes.price IS 'For one unit, in the instrument''s currency.';
COMMENT ON COLUMN rfq_quotes.quantity IS 'How much at this price.';
COMMENT ON COLUMN rfq_quotes.valid_until IS 'From then on it is not accepted, whatever its status still says.';
COMMENT ON COLUMN rfq_quotes.status IS 'live, accepted, rejected (another one was accepted, or the RFQ cancelled) or expired.';
COMMENT ON COLUMN rfq_quotes.created_at IS 'When the row was made.';
COMMENT ON COLUMN rfq_quotes.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON rfq_quotes
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();
CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON rfq_quotes
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND current_user <> 'bedplate_system')
    EXECUTE FUNCTION refuse_illegal_transition('rfq_quotes',
        'live>accepted', 'live>rejected', 'live>expired');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON rfq_quotes
    FOR EACH ROW EXECUTE FUNCTION audit('rfq_quotes', 'id');

ALTER TABLE rfq_quotes ENABLE ROW LEVEL SECURITY;
ALTER TABLE rfq_quotes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rfq_quotes TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON rfq_quotes IS 'A tenant sees its own rows.';
CREATE POLICY system ON rfq_quotes TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON rfq_quotes IS 'Work across tenants, after SET ROLE.';

-- What a venue has said stays as it is: nothing but the status changes.
GRANT SELECT, INSERT, UPDATE (status) ON rfq_quotes TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON rfq_quotes TO bedplate_system;
