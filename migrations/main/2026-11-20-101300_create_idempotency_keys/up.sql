CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    key varchar(255) NOT NULL,
    request_hash bytea NOT NULL,
    response jsonb
        CONSTRAINT idempotency_keys_response_json CHECK (json_is_readable(response)),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT idempotency_keys_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT idempotency_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT idempotency_keys_key_key UNIQUE (tenant_id, key),
    CONSTRAINT idempotency_keys_key_check CHECK (visible_text(key) <> ''),
    CONSTRAINT idempotency_keys_request_hash_check CHECK (octet_length(request_hash) = 32)
);
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
COMMENT ON INDEX idempotency_keys_created_at_idx IS 'Old keys of all tenants, for the prune.';

COMMENT ON TABLE idempotency_keys IS 'What was done once and is not done again: a repeated request gets the first one''s response.';
COMMENT ON COLUMN idempotency_keys.tenant_id IS 'The tenant whose request it was.';
COMMENT ON COLUMN idempotency_keys.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN idempotency_keys.key IS 'The key that the client sent, unique inside the tenant.';
COMMENT ON COLUMN idempotency_keys.request_hash IS 'SHA-256 of the request: the same key with another request is refused.';
COMMENT ON COLUMN idempotency_keys.response IS 'What the first request got; NULL while it runs, which nobody else sees.';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When the row was made.';

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON idempotency_keys TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON idempotency_keys IS 'A tenant sees its own rows.';
CREATE POLICY system ON idempotency_keys TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON idempotency_keys IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO bedplate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO bedplate_system;
