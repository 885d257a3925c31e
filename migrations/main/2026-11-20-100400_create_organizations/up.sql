CREATE TABLE organizations (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name varchar(255) NOT NULL,
    slug varchar(63) NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT organizations_settings_json CHECK (json_is_readable(settings)),
    metadata jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT organizations_metadata_json CHECK (json_is_readable(metadata)),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT organizations_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT organizations_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT organizations_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT organizations_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT organizations_slug_key UNIQUE (tenant_id, slug),
    CONSTRAINT organizations_slug_check CHECK (slug ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'),
    CONSTRAINT organizations_name_check CHECK (visible_text(name) <> ''),
    CONSTRAINT organizations_settings_check CHECK (jsonb_typeof(settings) = 'object'),
    CONSTRAINT organizations_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);

COMMENT ON TABLE organizations IS 'Groups of users inside a tenant.';
COMMENT ON COLUMN organizations.tenant_id IS 'The tenant of the organization.';
COMMENT ON COLUMN organizations.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN organizations.name IS 'Name for people.';
COMMENT ON COLUMN organizations.slug IS 'Short name for URLs: a DNS label, unique inside the tenant.';
COMMENT ON COLUMN organizations.settings IS 'Free settings, a JSON object.';
COMMENT ON COLUMN organizations.metadata IS 'Free data of other systems, a JSON object.';
COMMENT ON COLUMN organizations.created_at IS 'When the row was made.';
COMMENT ON COLUMN organizations.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON organizations
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON organizations TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON organizations IS 'A tenant sees its own rows.';
CREATE POLICY system ON organizations TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON organizations IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, UPDATE, DELETE ON organizations TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON organizations TO bedplate_system;

CREATE TABLE user_organizations (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    role text NOT NULL DEFAULT 'member',
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT user_organizations_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT user_organizations_pkey PRIMARY KEY (tenant_id, user_id, organization_id),
    CONSTRAINT user_organizations_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT user_organizations_user_id_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT user_organizations_organization_id_fkey FOREIGN KEY (tenant_id, organization_id)
        REFERENCES organizations (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT user_organizations_role_check CHECK (role IN ('owner', 'admin', 'member', 'viewer'))
);
CREATE INDEX user_organizations_organization_id_idx ON user_organizations (tenant_id, organization_id);
COMMENT ON INDEX user_organizations_organization_id_idx IS 'Members of an organization; its foreign key.';

COMMENT ON TABLE user_organizations IS 'Which user is a member of which organization, and as what.';
COMMENT ON COLUMN user_organizations.tenant_id IS 'The tenant of both.';
COMMENT ON COLUMN user_organizations.user_id IS 'The member.';
COMMENT ON COLUMN user_organizations.organization_id IS 'The organization.';
COMMENT ON COLUMN user_organizations.role IS 'owner, admin, member or viewer.';
COMMENT ON COLUMN user_organizations.created_at IS 'When the row was made.';

ALTER TABLE user_organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON user_organizations TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON user_organizations IS 'A tenant sees its own rows.';
CREATE POLICY system ON user_organizations TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON user_organizations IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, UPDATE, DELETE ON user_organizations TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON user_organizations TO bedplate_system;
