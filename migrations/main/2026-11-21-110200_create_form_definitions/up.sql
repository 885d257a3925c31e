CREATE TABLE form_definitions (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name varchar(100) NOT NULL,
    version int NOT NULL DEFAULT 1,
    definition jsonb NOT NULL
        CONSTRAINT form_definitions_definition_json CHECK (json_is_readable(definition)),
    resources jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT form_definitions_resources_json CHECK (json_is_readable(resources)),
    assert_formats boolean NOT NULL DEFAULT false,
    program jsonb,
    compiled_bytes int,
    -- Of the tenant too: an id is unique inside its tenant, and the functions of all tenants are in one schema.
    validator text NOT NULL GENERATED ALWAYS AS (form_validator(tenant_id, id)) STORED,
    status text NOT NULL DEFAULT 'draft',
    published_at timestamptz
        CONSTRAINT form_definitions_published_at_time CHECK (published_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    lock_version int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT form_definitions_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT form_definitions_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT form_definitions_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT form_definitions_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT form_definitions_name_key UNIQUE (tenant_id, name, version),
    CONSTRAINT form_definitions_id_key UNIQUE (tenant_id, id, version),
    CONSTRAINT form_definitions_name_check CHECK (visible_text(name) <> ''),
    CONSTRAINT form_definitions_version_check CHECK (version >= 1),
    CONSTRAINT form_definitions_definition_type CHECK (jsonb_typeof(definition) IN ('object', 'boolean')),
    -- By its text: pg_column_size() is what is left after compression.
    CONSTRAINT form_definitions_definition_size CHECK (octet_length(definition::text) <= 262144),
    CONSTRAINT form_definitions_resources_type CHECK (jsonb_typeof(resources) = 'object'),
    CONSTRAINT form_definitions_resources_size CHECK (octet_length(resources::text) <= 524288),
    CONSTRAINT form_definitions_status_check CHECK (status IN ('draft', 'active', 'archived')),
    CONSTRAINT form_definitions_program_check CHECK ((program IS NULL) = (status = 'draft')),
    CONSTRAINT form_definitions_compiled_bytes_check 
        CHECK (compiled_bytes IS NULL OR compiled_bytes > 0 AND status <> 'draft'),
    CONSTRAINT form_definitions_published_at_check CHECK ((published_at IS NULL) = (status = 'draft')),
    CONSTRAINT form_definitions_lock_version_check CHECK (lock_version >= 0)
);
COMMENT ON INDEX form_definitions_pkey IS
    'One version an id and tenant. A version by id: form_definitions().find, update, publish, archive, delete, clone_version; the trigger of a submission.';
COMMENT ON INDEX form_definitions_name_key IS
    'One version a number, name and tenant. form_definitions().find_by_name_and_version, list_versions, list, and the next number of a name.';
COMMENT ON INDEX form_definitions_id_key IS 'What the foreign key of submissions refers to.';
CREATE UNIQUE INDEX form_definitions_name_active ON form_definitions (tenant_id, name) WHERE status = 'active';
COMMENT ON INDEX form_definitions_name_active IS 'One active version a name: form_definitions().find_active; of two publishers one is refused.';

COMMENT ON TABLE form_definitions IS 'Forms, by version: each a JSON Schema that submissions have to match.';
COMMENT ON COLUMN form_definitions.tenant_id IS 'The tenant of the form.';
COMMENT ON COLUMN form_definitions.id IS 'The id of this version, unique inside the tenant.';
COMMENT ON COLUMN form_definitions.name IS 'The form''s name, not blank; its versions share it.';
COMMENT ON COLUMN form_definitions.version IS 'The version''s number, from 1.';
COMMENT ON COLUMN form_definitions.definition IS 'JSON Schema as it was written, at most 256 KB: draft 2020-12, or an older draft that is translated when it is compiled.';
COMMENT ON COLUMN form_definitions.resources IS 'Schemas that the definition refers to, by URI, at most 512 KB together.';
COMMENT ON COLUMN form_definitions.assert_formats IS 'Whether "format" is a rule; otherwise it is a remark.';
COMMENT ON COLUMN form_definitions.program IS 'What the database runs to check a submission, compiled from the definition; NULL: a draft.';
COMMENT ON COLUMN form_definitions.compiled_bytes IS 'How long its functions in forms_compiled are; NULL: it has none, and is interpreted.';
COMMENT ON COLUMN form_definitions.validator IS 'The name of its function in forms_compiled, from tenant and id.';
COMMENT ON COLUMN form_definitions.status IS 'draft, active or archived; at most one version of a name is active.';
COMMENT ON COLUMN form_definitions.published_at IS 'When it was published; NULL: a draft. From then on it never changes.';
COMMENT ON COLUMN form_definitions.lock_version IS 'Counts the changes of the row (trigger); an update names the version that it read.';
COMMENT ON COLUMN form_definitions.created_at IS 'When the row was made.';
COMMENT ON COLUMN form_definitions.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON form_definitions
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();
CREATE TRIGGER increment_lock_version BEFORE UPDATE ON form_definitions
    FOR EACH ROW EXECUTE FUNCTION increment_lock_version();
CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON form_definitions
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND current_user <> 'bedplate_system')
    EXECUTE FUNCTION refuse_illegal_transition('form_definitions', 'draft>active', 'active>archived');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON form_definitions
    FOR EACH ROW EXECUTE FUNCTION audit('form_definitions', 'id');

-- The triggers that refuse come AFTER the row is written, where they can: so what the policies refuse is refused
-- by them, and tells nothing about the row.
CREATE FUNCTION refuse_change_of_published_form() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'form_definitions %: version % of form % is published and never changes', OLD.id, OLD.version, OLD.name
        USING ERRCODE = 'check_violation', TABLE = 'form_definitions', COLUMN = 'definition',
              CONSTRAINT = 'form_definitions_definition_published', HINT = 'Make a new version.';
END
$$;
COMMENT ON FUNCTION refuse_change_of_published_form() IS
    'Trigger: what was published stays as it is, for every role; only its status goes on.';
REVOKE EXECUTE ON FUNCTION refuse_change_of_published_form() FROM PUBLIC;
CREATE TRIGGER refuse_change_of_published_form AFTER UPDATE ON form_definitions
    FOR EACH ROW WHEN (OLD.status <> 'draft'
        AND (OLD.tenant_id, OLD.id, OLD.name, OLD.version, OLD.definition, OLD.resources, OLD.assert_formats,
             OLD.program, OLD.compiled_bytes, OLD.published_at)
            IS DISTINCT FROM
            (NEW.tenant_id, NEW.id, NEW.name, NEW.version, NEW.definition, NEW.resources, NEW.assert_formats,
             NEW.program, NEW.compiled_bytes, NEW.published_at))
    EXECUTE FUNCTION refuse_change_of_published_form();

CREATE FUNCTION refuse_form_that_is_no_draft() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'form_definitions % cannot start as %: a form starts as a draft', NEW.id, NEW.status
        USING ERRCODE = 'check_violation', TABLE = 'form_definitions', COLUMN = 'status',
              CONSTRAINT = 'form_definitions_status_start';
END
$$;
COMMENT ON FUNCTION refuse_form_that_is_no_draft() IS 'Trigger: a form starts as a draft; the seeds'' alone are born published.';
REVOKE EXECUTE ON FUNCTION refuse_form_that_is_no_draft() FROM PUBLIC;
CREATE TRIGGER refuse_form_that_is_no_draft AFTER INSERT ON form_definitions
    FOR EACH ROW WHEN (NEW.status <> 'draft' AND current_user <> 'bedplate_system')
    EXECUTE FUNCTION refuse_form_that_is_no_draft();

-- Where the tenant goes, everything goes. Its row is gone before the cascade comes here.
CREATE FUNCTION keep_published_form() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF EXISTS (SELECT FROM public.tenants WHERE id = OLD.tenant_id) THEN
        RAISE EXCEPTION 'form_definitions %: version % of form % is published and stays', OLD.id, OLD.version, OLD.name
            USING ERRCODE = 'check_violation', TABLE = 'form_definitions', COLUMN = 'status',
                  CONSTRAINT = 'form_definitions_status_keep', HINT = 'Archive it.';
    END IF;
    RETURN OLD;
END
$$;
COMMENT ON FUNCTION keep_published_form() IS 'Trigger: a published version is archived and not deleted, unless its tenant is.';
REVOKE EXECUTE ON FUNCTION keep_published_form() FROM PUBLIC;
CREATE TRIGGER keep_published_form BEFORE DELETE ON form_definitions
    FOR EACH ROW WHEN (OLD.status <> 'draft') EXECUTE FUNCTION keep_published_form();

CREATE TRIGGER drop_form_validator AFTER DELETE ON form_definitions
    FOR EACH ROW WHEN (OLD.status <> 'draft') EXECUTE FUNCTION drop_form_validator();

ALTER TABLE form_definitions ENABLE ROW LEVEL SECURITY;
ALTER TABLE form_definitions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON form_definitions TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON form_definitions IS 'A tenant sees its own rows.';
CREATE POLICY system ON form_definitions TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON form_definitions IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, UPDATE, DELETE ON form_definitions TO bedplate_app;
GRANT SELECT, INSERT, UPDATE ON form_definitions TO bedplate_system;
