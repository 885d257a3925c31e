-- What users may do in the whole tenant, and what they may trade.
INSERT INTO user_roles (tenant_id, id, user_id, role) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000211', '01900000-0000-7000-8000-000000000101', 'administrator'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000212', '01900000-0000-7000-8000-000000000102', 'analyst'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000213', '01900000-0000-7000-8000-000000000103', 'administrator')
ON CONFLICT (tenant_id, id) DO UPDATE SET user_id = excluded.user_id, role = excluded.role;

INSERT INTO user_entitlements (tenant_id, id, user_id, asset_classes, instruments, venues, max_notional,
                               rfq_rate_limit, order_rate_limit, max_open_orders) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000221', '01900000-0000-7000-8000-000000000101',
     '{equity,fx}', '{*}', '{XNAS,XLON}', 250000.0000, 20, 200, 50),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000222', '01900000-0000-7000-8000-000000000102',
     '{equity}', '{ACME}', '{XNAS}', 10000.0000, 10, 100, 10),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000223', '01900000-0000-7000-8000-000000000103',
     '{*}', '{*}', '{*}', NULL, 10, 100, 100)
ON CONFLICT (tenant_id, id) DO UPDATE SET
    user_id = excluded.user_id, asset_classes = excluded.asset_classes, instruments = excluded.instruments,
    venues = excluded.venues, max_notional = excluded.max_notional, rfq_rate_limit = excluded.rfq_rate_limit,
    order_rate_limit = excluded.order_rate_limit, max_open_orders = excluded.max_open_orders;
