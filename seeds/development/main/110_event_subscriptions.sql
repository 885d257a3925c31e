-- A mailer for each tenant that has read nothing yet, and one of Lumen's that is shared by two workers. Where a
-- subscriber stands is its own: a second run leaves it there.
INSERT INTO event_subscriptions (tenant_id, name, partition, partitions, query) VALUES
    ('01900000-0000-7000-8000-000000000001', 'mailer', 0, 1, '[{"types": ["FormPublished"], "tags": []}]'),
    ('01900000-0000-7000-8000-000000000001', 'statistics', 0, 2, '[{"types": [], "tags": []}]'),
    ('01900000-0000-7000-8000-000000000001', 'statistics', 1, 2, '[{"types": [], "tags": []}]'),
    ('01900000-0000-7000-8000-000000000002', 'mailer', 0, 1, '[{"types": ["FormPublished"], "tags": []}]')
ON CONFLICT (tenant_id, name, partition) DO NOTHING;
