-- An organization a tenant, and who is in it.
INSERT INTO organizations (tenant_id, id, name, slug, settings, metadata) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000201', 'Consumer Lab', 'consumer-lab', '{"review": "two-person"}', '{"floor": 3}'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000202', 'Cohort Autumn', 'cohort-autumn', '{}', '{"cohort": 7}')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    name = excluded.name, slug = excluded.slug, settings = excluded.settings, metadata = excluded.metadata;

INSERT INTO user_organizations (tenant_id, user_id, organization_id, role) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000101', '01900000-0000-7000-8000-000000000201', 'owner'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000102', '01900000-0000-7000-8000-000000000201', 'member'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000103', '01900000-0000-7000-8000-000000000202', 'owner')
ON CONFLICT (tenant_id, user_id, organization_id) DO UPDATE SET role = excluded.role;
