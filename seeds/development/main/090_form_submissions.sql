-- Eight submissions, of every status; one is of the archived version of its form. What is archived keeps its data,
-- so it is not loaded again.
INSERT INTO form_submissions (tenant_id, id, form_definition_id, form_version, status, created_at, data) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000701', '01900000-0000-7000-8000-000000000601', 1,
     'archived', '2026-02-10 12:00:00+00',
     '{"title": "Refill stations for household cleaners", "email": "founder@lumen.example", "team_size": 2}'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000702', '01900000-0000-7000-8000-000000000601', 1,
     'submitted', '2026-03-01 08:40:00+00',
     '{"title": "Night-shift meal boxes for hospitals", "email": "founder@lumen.example"}'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000703', '01900000-0000-7000-8000-000000000602', 2,
     'submitted', '2026-03-17 09:10:00+00',
     '{"title": "Heat maps of rooftop solar shading", "email": "founder@lumen.example", "stage": "prototype", "team_size": 3,
       "priority": 4, "links": ["https://lumen.example/solar"]}'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000704', '01900000-0000-7000-8000-000000000602', 2,
     'draft', '2026-03-21 19:55:00+00',
     '{"title": "Subscription for sharpened kitchen knives"}'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000705', '01900000-0000-7000-8000-000000000603', 1,
     'submitted', '2026-03-23 10:30:00+00',
     '{"title": "Second talk about rooftop solar", "scores": {"team": 8, "market": 6, "timing": 7},
       "comment": "Knows the installers. The price of height models is open."}'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000706', '01900000-0000-7000-8000-000000000604', 1,
     'submitted', '2026-04-08 06:50:00+00',
     '{"title": "Scratch at the waterline", "boat": "NO-0412", "part": "hull", "priority": 2, "afloat": true}'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000707', '01900000-0000-7000-8000-000000000604', 1,
     'archived', '2026-04-09 17:25:00+00',
     '{"title": "Impeller worn", "boat": "NO-0388", "part": "engine", "priority": 5}'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000708', '01900000-0000-7000-8000-000000000604', 1,
     'draft', '2026-04-15 20:10:00+00',
     '{"title": "Furling line chafed", "boat": "NO-0412"}')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    data = excluded.data, status = excluded.status, created_at = excluded.created_at
  WHERE form_submissions.status <> 'archived';
