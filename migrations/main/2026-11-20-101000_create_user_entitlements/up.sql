CREATE TABLE user_entitlements (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    asset_classes text[] NOT NULL DEFAULT '{}',
    instruments text[] NOT NULL DEFAULT '{}',
    venues text[] NOT NULL DEFAULT '{}',
    max_notional numeric(20,4),
    rfq_rate_limit int NOT NULL DEFAULT 10,
    order_rate_limit int NOT NULL DEFAULT 100,
    max_open_orders int NOT NULL DEFAULT 100,
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT user_entitlements_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT user_entitlements_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT user_entitlements_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT user_entitlements_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT user_entitlements_user_id_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT user_entitlements_user_id_key UNIQUE (tenant_id, user_id),
    CONSTRAINT user_entitlements_asset_classes_check CHECK (array_position(asset_classes, NULL) IS NULL),
    CONSTRAINT user_entitlements_instruments_check CHECK (array_position(instruments, NULL) IS NULL),
    CONSTRAINT user_entitlements_venues_check CHECK (array_position(venues, NULL) IS NULL),
    -- NaN is greater than every number in PostgreSQL: as a limit it would be none.
    CONSTRAINT user_entitlements_max_notional_check CHECK (max_notional >= 0 AND max_notional <> 'NaN'),
    CONSTRAINT user_entitlements_rfq_rate_limit_check CHECK (rfq_rate_limit >= 0),
    CONSTRAINT user_entitlements_order_rate_limit_check CHECK (order_rate_limit >= 0),
    CONSTRAINT user_entitlements_max_open_orders_check CHECK (max_open_orders >= 0)
);

COMMENT ON TABLE user_entitlements IS 'What a user may trade, and how much. A user without a row may trade nothing.';
COMMENT ON COLUMN user_entitlements.tenant_id IS 'The tenant of the user.';
COMMENT ON COLUMN user_entitlements.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN user_entitlements.user_id IS 'Whose they are; one row a user.';
COMMENT ON COLUMN user_entitlements.asset_classes IS 'Allowed asset classes; * allows all, an empty list none.';
COMMENT ON COLUMN user_entitlements.instruments IS 'Allowed instruments by symbol; * allows all, an empty list none.';
COMMENT ON COLUMN user_entitlements.venues IS 'Allowed venues by code; * allows all, an empty list none.';
COMMENT ON COLUMN user_entitlements.max_notional IS 'Greatest notional of an order; NULL: no limit.';
COMMENT ON COLUMN user_entitlements.rfq_rate_limit IS 'Most requests for quotes a minute.';
COMMENT ON COLUMN user_entitlements.order_rate_limit IS 'Most orders a minute.';
COMMENT ON COLUMN user_entitlements.max_open_orders IS 'Most orders that are open at a time.';
COMMENT ON COLUMN user_entitlements.created_at IS 'When the row was made.';
COMMENT ON COLUMN user_entitlements.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON user_entitlements
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

ALTER TABLE user_entitlements ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_entitlements FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON user_entitlements TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON user_entitlements IS 'A tenant sees its own rows.';
CREATE POLICY system ON user_entitlements TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON user_entitlements IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, UPDATE, DELETE ON user_entitlements TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON user_entitlements TO bedplate_system;
