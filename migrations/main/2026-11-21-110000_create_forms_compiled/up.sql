CREATE SCHEMA forms_compiled;
COMMENT ON SCHEMA forms_compiled IS 'A function for each published version of a form.';
CREATE FUNCTION create_form_validator(definition_id uuid, bodies text[]) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT $$;
COMMENT ON FUNCTION create_form_validator(uuid, text[]) IS 'Makes the functions of a published version of a form of this tenant.';
REVOKE EXECUTE ON FUNCTION create_form_validator(uuid, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_form_validator(uuid, text[]) TO bedplate_app, bedplate_system;

CREATE FUNCTION drop_form_validator(tenant_id uuid, definition_id uuid) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT $$;
COMMENT ON FUNCTION drop_form_validator(uuid, uuid) IS 'Drops the functions of a version of a form that is gone.';
REVOKE EXECUTE ON FUNCTION drop_form_validator(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_form_validator(uuid, uuid) TO bedplate_app, bedplate_system;
