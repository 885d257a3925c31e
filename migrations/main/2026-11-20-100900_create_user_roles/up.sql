CREATE TABLE user_roles (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    role varchar(50) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT user_roles_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT user_roles_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT user_roles_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT user_roles_user_id_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT user_roles_role_key UNIQUE (tenant_id, user_id, role),
    CONSTRAINT user_roles_role_check CHECK (role ~ '^[a-z][a-z0-9_.:-]*$')
);
CREATE INDEX user_roles_role_idx ON user_roles (tenant_id, role, user_id);
COMMENT ON INDEX user_roles_role_idx IS 'Users that have a role.';

COMMENT ON TABLE user_roles IS 'Which roles a user has in the whole tenant, beside those in organizations.';
COMMENT ON COLUMN user_roles.tenant_id IS 'The tenant of the user.';
COMMENT ON COLUMN user_roles.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN user_roles.user_id IS 'Who has the role.';
COMMENT ON COLUMN user_roles.role IS 'A word of the application, in lower case: trader, compliance, support.';
COMMENT ON COLUMN user_roles.created_at IS 'When the role was granted.';

ALTER TABLE user_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_roles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON user_roles TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON user_roles IS 'A tenant sees its own rows.';
CREATE POLICY system ON user_roles TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON user_roles IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, DELETE ON user_roles TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON user_roles TO bedplate_system;
