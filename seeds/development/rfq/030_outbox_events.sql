-- Messages about the RFQs of both tenants: published ones, and one put off for years. As in main, loading this file
-- again changes what is sent, and not what became of it.
INSERT INTO outbox_events (tenant_id, id, event_type, event_id, entity_type, entity_id, payload, created_at, available_at,
                           claimed_by, published_at) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001401', 'rfq.opened',
     '01900000-0000-7000-8000-000000001411', 'rfqs', '01900000-0000-7000-8000-000000000a01',
     '{"symbol": "AAPL", "side": "buy", "quantity": "12000"}', '2026-04-20 13:31:00+00', '2026-04-20 13:31:00+00',
     'relay-1:4712', '2026-04-20 13:31:01+00'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001402', 'rfq.expires_soon',
     '01900000-0000-7000-8000-000000001412', 'rfqs', '01900000-0000-7000-8000-000000000a01',
     '{"symbol": "AAPL"}', '2026-04-20 13:31:00+00', '2036-01-04 16:00:00+00', NULL, NULL),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000001403', 'rfq.accepted',
     '01900000-0000-7000-8000-000000001413', 'rfqs', '01900000-0000-7000-8000-000000000a07',
     '{"symbol": "GBP/USD", "side": "sell", "quantity": "750000"}', '2026-04-21 09:22:00+00', '2026-04-21 09:22:00+00',
     'relay-1:4712', '2026-04-21 09:22:01+00')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    event_type = excluded.event_type, event_id = excluded.event_id, entity_type = excluded.entity_type,
    entity_id = excluded.entity_id, payload = excluded.payload, created_at = excluded.created_at;
