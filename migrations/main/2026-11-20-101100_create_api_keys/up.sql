CREATE TABLE api_keys (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid,
    user_id uuid NOT NULL,
    name varchar(255) NOT NULL,
    prefix varchar(32) NOT NULL,
    key_hash bytea NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    expires_at timestamptz
        CONSTRAINT api_keys_expires_at_time CHECK (expires_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    last_used_at timestamptz
        CONSTRAINT api_keys_last_used_at_time CHECK (last_used_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    revoked_at timestamptz
        CONSTRAINT api_keys_revoked_at_time CHECK (revoked_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    replaced_by uuid,
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT api_keys_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT api_keys_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT api_keys_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT api_keys_organization_id_fkey FOREIGN KEY (tenant_id, organization_id)
        REFERENCES organizations (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT api_keys_replaced_by_fkey FOREIGN KEY (tenant_id, replaced_by)
        REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT api_keys_name_check CHECK (visible_text(name) <> ''),
    CONSTRAINT api_keys_prefix_check CHECK (prefix <> ''),
    CONSTRAINT api_keys_key_hash_check CHECK (octet_length(key_hash) = 32),
    CONSTRAINT api_keys_scopes_check CHECK (array_position(scopes, NULL) IS NULL)
);
CREATE INDEX api_keys_organization_id_idx ON api_keys (tenant_id, organization_id, created_at, id);
COMMENT ON INDEX api_keys_organization_id_idx IS 'Keys of an organization newest first; its foreign key.';
CREATE INDEX api_keys_user_id_idx ON api_keys (tenant_id, user_id, created_at, id);
COMMENT ON INDEX api_keys_user_id_idx IS 'Keys that a user made newest first; its foreign key.';
CREATE INDEX api_keys_replaced_by_idx ON api_keys (tenant_id, replaced_by);
COMMENT ON INDEX api_keys_replaced_by_idx IS 'Foreign key.';
CREATE INDEX api_keys_created_at_idx ON api_keys (tenant_id, created_at, id);
COMMENT ON INDEX api_keys_created_at_idx IS 'Keys newest first.';

COMMENT ON TABLE api_keys IS 'With what programs sign in. The key itself is shown once and stored nowhere.';
COMMENT ON COLUMN api_keys.tenant_id IS 'The tenant that the key opens; part of the key.';
COMMENT ON COLUMN api_keys.id IS 'Unique inside the tenant; part of the key.';
COMMENT ON COLUMN api_keys.organization_id IS 'The organization that the key belongs to; NULL: it belongs to its maker and works while the maker is active.';
COMMENT ON COLUMN api_keys.user_id IS 'Who made it.';
COMMENT ON COLUMN api_keys.name IS 'What it is for, in its maker''s words.';
COMMENT ON COLUMN api_keys.prefix IS 'How the key begins, to tell keys apart in lists.';
COMMENT ON COLUMN api_keys.key_hash IS 'SHA-256 of the key''s random 256 bits.';
COMMENT ON COLUMN api_keys.scopes IS 'What it may do: ideas:read, or ideas:* for all of an area.';
COMMENT ON COLUMN api_keys.expires_at IS 'From then on it is refused; NULL: never.';
COMMENT ON COLUMN api_keys.last_used_at IS 'When it was last used, to the minute.';
COMMENT ON COLUMN api_keys.revoked_at IS 'When it was revoked; NULL: it was not.';
COMMENT ON COLUMN api_keys.replaced_by IS 'The key that it was rotated into; NULL: it was not rotated.';
COMMENT ON COLUMN api_keys.created_at IS 'When the row was made.';
COMMENT ON COLUMN api_keys.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_keys TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON api_keys IS 'A tenant sees its own rows.';
CREATE POLICY system ON api_keys TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON api_keys IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, UPDATE ON api_keys TO bedplate_app, bedplate_system;
