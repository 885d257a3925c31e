-- What consumers of both tenants have processed; a mark is never changed.
INSERT INTO processed_events (tenant_id, id, consumer_group, event_id, event_type, processed_at) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001301', 'mail',
     '01900000-0000-7000-8000-000000001211', 'business_idea.submitted', '2026-04-20 09:12:02+00'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001302', 'statistics',
     '01900000-0000-7000-8000-000000001211', 'business_idea.submitted', '2026-04-20 09:12:03+00'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000001303', 'mail',
     '01900000-0000-7000-8000-000000001215', 'business_idea.submitted', '2026-04-20 10:02:02+00')
ON CONFLICT DO NOTHING;
