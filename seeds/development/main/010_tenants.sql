-- Two tenants, so that isolation can be seen: neither finds a row of the other.
INSERT INTO tenants (id, slug, name, type, status, settings) VALUES
    ('01900000-0000-7000-8000-000000000001', 'lumen', 'Lumen Venture Studio', 'premium', 'active', '{"locale": "en", "evaluations_a_day": 50}'),
    ('01900000-0000-7000-8000-000000000002', 'harbor', 'Harbor Accelerator', 'standard', 'active', '{"locale": "en", "evaluations_a_day": 10}')
ON CONFLICT (id) DO UPDATE SET
    slug = excluded.slug, name = excluded.name, type = excluded.type, status = excluded.status,
    settings = excluded.settings;
