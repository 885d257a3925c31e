-- A request a tenant that was answered and would be answered the same again.
INSERT INTO idempotency_keys (tenant_id, id, key, request_hash, response) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000501', 'idea-box-import-1', sha256('idea-box-import-1'), '"01900000-0000-7000-8000-000000000301"'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000502', 'idea-box-import-1', sha256('idea-box-import-1'), '"01900000-0000-7000-8000-000000000305"')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    key = excluded.key, request_hash = excluded.request_hash, response = excluded.response;
