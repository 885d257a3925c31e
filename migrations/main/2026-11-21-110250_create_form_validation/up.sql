CREATE FUNCTION validate_form_data(tenant_id uuid, definition_id uuid, data jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    violations jsonb;
BEGIN
    SELECT public.json_schema_violations(d.program, validate_form_data.data) INTO STRICT violations
      FROM public.form_definitions AS d
     WHERE d.tenant_id = validate_form_data.tenant_id AND d.id = validate_form_data.definition_id;
    RETURN nullif(violations, '[]');
END
$$;
COMMENT ON FUNCTION validate_form_data(uuid, uuid, jsonb) IS
    'What is wrong with data by a published version of a form, as an array of violations; NULL: nothing.';
REVOKE EXECUTE ON FUNCTION validate_form_data(uuid, uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION validate_form_data(uuid, uuid, jsonb) TO bedplate_app, bedplate_system;
