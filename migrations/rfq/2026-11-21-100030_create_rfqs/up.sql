-- Tenants and users are in the database main: no foreign key reaches there.
CREATE TABLE rfqs (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    instrument_symbol varchar(64) NOT NULL,
    side text NOT NULL,
    quantity numeric(20,4) NOT NULL,
    status text NOT NULL DEFAULT 'open',
    requested_by uuid NOT NULL,
    expires_at timestamptz NOT NULL
        CONSTRAINT rfqs_expires_at_time CHECK (expires_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT rfqs_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT rfqs_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT rfqs_pkey PRIMARY KEY (tenant_id, id),
    -- One spelling, so that a plain = finds it.
    CONSTRAINT rfqs_instrument_symbol_check CHECK (instrument_symbol ~ '^[A-Z0-9][A-Z0-9./_-]*$'),
    CONSTRAINT rfqs_side_check CHECK (side IN ('buy', 'sell')),
    -- NaN is greater than every number in PostgreSQL.
    CONSTRAINT rfqs_quantity_check CHECK (quantity > 0 AND quantity <> 'NaN'),
    CONSTRAINT rfqs_status_check CHECK (status IN ('open', 'quoted', 'accepted', 'expired', 'cancelled')),
    -- No client can hold infinity.
    CONSTRAINT rfqs_expires_at_check CHECK (expires_at > created_at)
);
COMMENT ON INDEX rfqs_pkey IS 'An RFQ by its id: rfqs().find.';
CREATE INDEX rfqs_created_at_idx ON rfqs (tenant_id, created_at, id);
COMMENT ON INDEX rfqs_created_at_idx IS 'RFQs newest first: rfqs().list.';
CREATE INDEX rfqs_status_idx ON rfqs (tenant_id, status, created_at, id);
COMMENT ON INDEX rfqs_status_idx IS 'RFQs of a status newest first: rfqs().list by status.';
CREATE INDEX rfqs_requested_by_idx ON rfqs (tenant_id, requested_by, created_at, id);
COMMENT ON INDEX rfqs_requested_by_idx IS 'RFQs of a user newest first: rfqs().list by requester.';
CREATE INDEX rfqs_instrument_symbol_idx ON rfqs (tenant_id, instrument_symbol, created_at, id);
COMMENT ON INDEX rfqs_instrument_symbol_idx IS 'RFQs for an instrument newest first: rfqs().list by instrument.';
CREATE INDEX rfqs_expires_at_idx ON rfqs (tenant_id, expires_at, id) WHERE status IN ('open', 'quoted');
COMMENT ON INDEX rfqs_expires_at_idx IS
    'Open and quoted RFQs that expire first: rfqs().list_expiring, rfqs().expire.';

COMMENT ON TABLE rfqs IS 'Requests for quotes: what a user wants to trade, for venues to name their price.';
COMMENT ON COLUMN rfqs.tenant_id IS 'The tenant that asks; its row is in the database main.';
COMMENT ON COLUMN rfqs.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN rfqs.instrument_symbol IS 'What to trade: a symbol of the database marketdata.';
COMMENT ON COLUMN rfqs.side IS 'buy or sell, as the requester sees it.';
COMMENT ON COLUMN rfqs.quantity IS 'How much, in units of the instrument.';
COMMENT ON COLUMN rfqs.status IS 'open, quoted (a quote came in), accepted, expired or cancelled.';
COMMENT ON COLUMN rfqs.requested_by IS 'The user who asks; its row is in the database main.';
COMMENT ON COLUMN rfqs.expires_at IS 'From then on it is neither quoted nor accepted, whatever its status still says.';
COMMENT ON COLUMN rfqs.created_at IS 'When the row was made.';
COMMENT ON COLUMN rfqs.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON rfqs
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();
-- Seeds and repairs act as bedplate_system and may set any status; the CHECKs hold for them too.
CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON rfqs
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND current_user <> 'bedplate_system')
    EXECUTE FUNCTION refuse_illegal_transition('rfqs',
        'open>quoted', 'open>expired', 'open>cancelled',
        'quoted>accepted', 'quoted>expired', 'quoted>cancelled');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON rfqs
    FOR EACH ROW EXECUTE FUNCTION audit('rfqs', 'id');

ALTER TABLE rfqs ENABLE ROW LEVEL SECURITY;
ALTER TABLE rfqs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rfqs TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON rfqs IS 'A tenant sees its own rows.';
-- Not USING (true): the owner inherits from bedplate_system and would see every row.
CREATE POLICY system ON rfqs TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON rfqs IS 'Work across tenants, after SET ROLE.';

-- Venues have answered to what was asked: nothing but the status changes.
GRANT SELECT, INSERT, UPDATE (status) ON rfqs TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON rfqs TO bedplate_system;
