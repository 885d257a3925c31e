-- What consumers of both tenants have processed; a mark is never changed.
INSERT INTO processed_events (tenant_id, id, consumer_group, event_id, event_type, processed_at) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001501', 'desk',
     '01900000-0000-7000-8000-000000001411', 'rfq.opened', '2026-04-20 13:31:02+00'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000001502', 'desk',
     '01900000-0000-7000-8000-000000001413', 'rfq.accepted', '2026-04-21 09:22:02+00')
ON CONFLICT DO NOTHING;
