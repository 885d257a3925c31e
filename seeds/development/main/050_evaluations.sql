-- Five evaluations. The second is held by a worker that died: its lease has run out, the next claim takes it over.
INSERT INTO evaluations (tenant_id, id, business_idea_id, status, priority, created_at, started_at, completed_at,
                         results, error_message, attempts, claimed_by, lease_expires_at) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000401', '01900000-0000-7000-8000-000000000301', 'completed', 'normal',
     '2026-03-02 09:30:00+00', '2026-03-02 09:31:00+00', '2026-03-02 09:36:10+00',
     '{"score": 70.4, "completed": 5, "failed": 0, "agents": {"market-research": {"status": "completed", "score": 82, "insights": ["Refill grows wherever a deposit exists", "Discounters have not moved yet"], "error_message": null}, "competitive-analysis": {"status": "completed", "score": 64, "insights": ["Pouches are the real rival, not shops"], "error_message": null}, "customer-research": {"status": "completed", "score": 77, "insights": ["A ten percent discount is what convinces"], "error_message": null}, "financial-analysis": {"status": "completed", "score": 58, "insights": ["Payback hangs on litres sold a machine"], "error_message": null}, "technical-feasibility": {"status": "completed", "score": 71, "insights": ["Valves exist in the dairy industry"], "error_message": null}}}',
     NULL, 1, 'worker-1', NULL),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000402', '01900000-0000-7000-8000-000000000302', 'analyzing', 'high',
     '2026-03-09 15:00:00+00', '2026-03-09 15:01:00+00', NULL,
     NULL,
     NULL, 1, 'worker-2', '2026-03-09 15:16:00+00'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000403', '01900000-0000-7000-8000-000000000303', 'pending', 'normal',
     '2026-03-16 08:30:00+00', NULL, NULL,
     NULL,
     NULL, 0, NULL, NULL),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000404', '01900000-0000-7000-8000-000000000304', 'failed', 'low',
     '2026-03-20 18:00:00+00', '2026-03-20 18:02:00+00', '2026-03-20 18:09:00+00',
     NULL,
     'the provider answered with status 529 three times', 3, 'worker-1', NULL),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000405', '01900000-0000-7000-8000-000000000305', 'completed', 'normal',
     '2026-04-01 10:10:00+00', '2026-04-01 10:11:00+00', '2026-04-01 10:15:42+00',
     '{"score": 74.75, "completed": 4, "failed": 1, "agents": {"market-research": {"status": "completed", "score": 73, "insights": ["Demand peaks in eleven weeks"], "error_message": null}, "competitive-analysis": {"status": "completed", "score": 66, "insights": ["Agencies take weeks, forums check nothing"], "error_message": null}, "customer-research": {"status": "completed", "score": 81, "insights": ["Skippers would pay as well"], "error_message": null}, "financial-analysis": {"status": "failed", "score": null, "insights": null, "error_message": "no figures were found for charter margins outside the high season"}, "technical-feasibility": {"status": "completed", "score": 79, "insights": ["Registers of three countries can be asked online"], "error_message": null}}}',
     NULL, 1, 'worker-1', NULL)
ON CONFLICT (tenant_id, id) DO UPDATE SET
    business_idea_id = excluded.business_idea_id, status = excluded.status, priority = excluded.priority,
    created_at = excluded.created_at, started_at = excluded.started_at, completed_at = excluded.completed_at,
    results = excluded.results, error_message = excluded.error_message, attempts = excluded.attempts,
    claimed_by = excluded.claimed_by, lease_expires_at = excluded.lease_expires_at;
