-- A key a tenant, for a developer's machine and nowhere else (these seeds are refused in production):
--   lumen   bp_000004a1_AZAAAAAAcACAAAAAAAAAAQGQAAAAAHAAgAAAAAAABKEZA7xHkX6QJ3oIqEtRMVMf2FpXVFvabf7O4gLJ6MZ90vPa9Vk
--   harbor  bp_000004b2_AZAAAAAAcACAAAAAAAAAAgGQAAAAAHAAgAAAAAAABLIjrEP-RtCSvygRnJbYB98yA86h2i68ZpkGu1C9eC6U03QlRis
INSERT INTO api_keys (tenant_id, id, organization_id, user_id, name, prefix, key_hash, scopes) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-0000000004a1', '01900000-0000-7000-8000-000000000201',
     '01900000-0000-7000-8000-000000000101', 'Import from the idea box', 'bp_000004a1',
     '\xd4ed6d57c878c322a4dc18f0d29545a38dab91a5cb9314895324741a9b3ab691', '{ideas:read,ideas:write}'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-0000000004b2', NULL,
     '01900000-0000-7000-8000-000000000103', 'Reports', 'bp_000004b2',
     '\x604845b824ffd4bf15b3f9ef0f02a1df39bb751bab7e588caab9725738ba3cae', '{ideas:read}')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    organization_id = excluded.organization_id, user_id = excluded.user_id, name = excluded.name,
    prefix = excluded.prefix, key_hash = excluded.key_hash, scopes = excluded.scopes;
