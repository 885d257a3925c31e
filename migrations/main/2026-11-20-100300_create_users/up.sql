CREATE TABLE users (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    email varchar(255) NOT NULL,
    username varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    display_name varchar(255),
    password_hash text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    last_login_at timestamptz
        CONSTRAINT users_last_login_at_time CHECK (last_login_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    deleted_at timestamptz
        CONSTRAINT users_deleted_at_time CHECK (deleted_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT users_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT users_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT users_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT users_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    -- Stored normalised, so that a plain = finds it: lower() loses its index under RLS.
    CONSTRAINT users_email_check CHECK (email = lower(email) AND email IS NFC NORMALIZED AND email = visible_text(email) AND email ~ '^[^@\s]+@[^@\s]+$'),
    CONSTRAINT users_username_check CHECK (visible_text(username) <> '' AND visible_text(username) = replace(username, ' ', '') AND username IS NFC NORMALIZED),
    CONSTRAINT users_name_check CHECK (visible_text(name) <> ''),
    CONSTRAINT users_password_hash_check CHECK (starts_with(password_hash, '$argon2id$')),
    CONSTRAINT users_status_check CHECK (status IN ('active', 'invited', 'suspended', 'deactivated')),
    CONSTRAINT users_deleted_at_check CHECK (deleted_at IS NULL OR status = 'deactivated')
);
CREATE UNIQUE INDEX users_email_key ON users (tenant_id, email) WHERE deleted_at IS NULL;
COMMENT ON INDEX users_email_key IS 'One living user an e-mail and tenant; a user by e-mail.';
CREATE UNIQUE INDEX users_username_key ON users (tenant_id, username) WHERE deleted_at IS NULL;
COMMENT ON INDEX users_username_key IS 'One living user a username and tenant; a user by username.';
CREATE INDEX users_created_at_idx ON users (tenant_id, created_at, id);
COMMENT ON INDEX users_created_at_idx IS 'Users newest first.';
CREATE INDEX users_status_idx ON users (tenant_id, status, created_at, id);
COMMENT ON INDEX users_status_idx IS 'Users of a status newest first.';

COMMENT ON TABLE users IS 'Who signs in. A user belongs to one tenant.';
COMMENT ON COLUMN users.tenant_id IS 'The tenant of the user.';
COMMENT ON COLUMN users.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN users.email IS 'Address in lower case, unique among the tenant''s users that are not deleted.';
COMMENT ON COLUMN users.username IS 'Login name, unique among the tenant''s users that are not deleted.';
COMMENT ON COLUMN users.name IS 'Full name.';
COMMENT ON COLUMN users.display_name IS 'Name to show; NULL: the full name is shown.';
COMMENT ON COLUMN users.password_hash IS 'Argon2id PHC string. Never shown, logged or serialised.';
COMMENT ON COLUMN users.status IS 'active, invited, suspended or deactivated; only an active user can sign in.';
COMMENT ON COLUMN users.last_login_at IS 'Last successful sign-in; NULL: none so far.';
COMMENT ON COLUMN users.deleted_at IS 'When the user was deleted (softly); NULL: not deleted.';
COMMENT ON COLUMN users.created_at IS 'When the row was made.';
COMMENT ON COLUMN users.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON users TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON users IS 'A tenant sees its own rows.';
CREATE POLICY system ON users TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON users IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, UPDATE ON users TO bedplate_app, bedplate_system;
