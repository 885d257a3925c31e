-- Messages of both tenants: published ones, one that waits for its relay, one put off for years, one that was given up.
-- Loading this file again changes what is sent, and not what became of it: nothing is sent a second time.
INSERT INTO outbox_events (tenant_id, id, event_type, event_id, entity_type, entity_id, payload, created_at, available_at,
                           claimed_by, retry_count, last_error, published_at, dead_at) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001201', 'business_idea.submitted',
     '01900000-0000-7000-8000-000000001211', 'business_ideas', '01900000-0000-7000-8000-000000000301',
     '{"title": "Berth sharing for skippers", "priority": "normal"}', '2026-04-20 09:12:00+00', '2026-04-20 09:12:00+00',
     'relay-1:4711', 0, NULL, '2026-04-20 09:12:01+00', NULL),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001202', 'evaluation.completed',
     '01900000-0000-7000-8000-000000001212', 'business_ideas', '01900000-0000-7000-8000-000000000301',
     '{"score": 71.5, "recommendation": "go on"}', '2026-04-20 09:31:00+00', '2026-04-20 09:31:00+00',
     'relay-1:4711', 2, 'the receiver answered 503', '2026-04-20 09:31:07+00', NULL),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001203', 'business_idea.archived',
     '01900000-0000-7000-8000-000000001213', 'business_ideas', '01900000-0000-7000-8000-000000000301',
     '{"reason": "merged into another"}', '2026-04-21 08:00:00+00', '2026-04-21 08:00:00+00', NULL, 0, NULL, NULL, NULL),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000001204', 'invoice.requested',
     '01900000-0000-7000-8000-000000001214', 'organizations', '01900000-0000-7000-8000-000000000201',
     '{"amount": "120.00", "currency": "EUR"}', '2026-04-21 08:05:00+00', '2026-04-21 08:05:00+00',
     'relay-1:4711', 10, 'the receiver answered 404', NULL, '2026-04-24 12:41:00+00'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000001205', 'business_idea.submitted',
     '01900000-0000-7000-8000-000000001215', 'business_ideas', '01900000-0000-7000-8000-000000000305',
     '{"title": "Harbour cold storage", "priority": "high"}', '2026-04-20 10:02:00+00', '2026-04-20 10:02:00+00',
     'relay-1:4711', 0, NULL, '2026-04-20 10:02:01+00', NULL),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000001206', 'trial.ends_soon',
     '01900000-0000-7000-8000-000000001216', 'tenants', '01900000-0000-7000-8000-000000000002',
     '{"days_left": 7}', '2026-04-21 08:10:00+00', '2036-01-04 09:00:00+00', NULL, 0, NULL, NULL, NULL)
ON CONFLICT (tenant_id, id) DO UPDATE SET
    event_type = excluded.event_type, event_id = excluded.event_id, entity_type = excluded.entity_type,
    entity_id = excluded.entity_id, payload = excluded.payload, created_at = excluded.created_at;
