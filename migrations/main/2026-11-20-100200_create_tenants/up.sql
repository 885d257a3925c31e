CREATE TABLE tenants (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    slug varchar(63) NOT NULL,
    name varchar(255) NOT NULL,
    type text NOT NULL DEFAULT 'standard',
    status text NOT NULL DEFAULT 'active',
    settings jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT tenants_settings_json CHECK (json_is_readable(settings)),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT tenants_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT tenants_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_slug_key UNIQUE (slug),
    -- A slug is a DNS label, so that it can stand in a host name.
    CONSTRAINT tenants_slug_check CHECK (slug ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'),
    CONSTRAINT tenants_name_check CHECK (visible_text(name) <> ''),
    CONSTRAINT tenants_type_check CHECK (type IN ('standard', 'premium', 'enterprise', 'internal')),
    CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended', 'closed')),
    CONSTRAINT tenants_settings_check CHECK (jsonb_typeof(settings) = 'object')
);
CREATE INDEX tenants_status_idx ON tenants (status);
COMMENT ON INDEX tenants_status_idx IS 'Tenants by status.';

COMMENT ON TABLE tenants IS 'The boundary of isolation: whatever belongs to a tenant is seen by that tenant alone.';
COMMENT ON COLUMN tenants.id IS 'What tenant_id of every other table refers to.';
COMMENT ON COLUMN tenants.slug IS 'Short name for URLs: a DNS label, unique among all tenants.';
COMMENT ON COLUMN tenants.name IS 'Name for people.';
COMMENT ON COLUMN tenants.type IS 'standard, premium, enterprise or internal.';
COMMENT ON COLUMN tenants.status IS 'active, suspended or closed; only a closed tenant can be deleted.';
COMMENT ON COLUMN tenants.settings IS 'Free settings, a JSON object.';
COMMENT ON COLUMN tenants.created_at IS 'When the row was made.';
COMMENT ON COLUMN tenants.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON tenants
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants TO bedplate_app
    USING (id = (SELECT current_tenant())) WITH CHECK (id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON tenants IS 'A tenant sees its own row.';
-- Not USING (true): the owner inherits from bedplate_system and would see every row.
CREATE POLICY system ON tenants TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON tenants IS 'Work across tenants, after SET ROLE.';

GRANT SELECT ON tenants TO bedplate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants TO bedplate_system;
