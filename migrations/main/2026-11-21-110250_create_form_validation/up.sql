-- Two ways to the same verdict. The compiled functions of a version are seven to twelve times as quick
-- (benches/forms), but each backend that calls them keeps their plans until its connection closes: 180 bytes for each
-- byte of their text, over a megabyte for a form of forty fields (the test
-- form_tiers::the_memory_of_a_backend_stays_below_the_cap). So a backend interprets a version until it has met it 20
-- times, which is about what planning the functions costs, and calls them from then on, as long as all that it calls
-- so comes to less than bedplate.forms_memory (megabytes, 32 where nobody set it). How often it met what it remembers
-- in settings of its session: they end with the backend, as the plans do.
--
-- A compiled function runs text of a tenant as a role that may do nothing; what every function can still do is to
-- set a setting. That of the tenant is looked at again behind it.
CREATE FUNCTION validate_form_data(tenant_id uuid, definition_id uuid, data jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    form record;
    met text;
    used text;
    room text;
    scope text;
    valid boolean;
    violations jsonb;
BEGIN
    SELECT d.validator, d.compiled_bytes::bigint * 180 AS memory INTO STRICT form
      FROM public.form_definitions AS d
     WHERE d.tenant_id = validate_form_data.tenant_id AND d.id = validate_form_data.definition_id;
    met := current_setting('bedplate_forms.' || form.validator, true);
    IF form.memory IS NULL THEN
        met := 'never';
    ELSIF met IS DISTINCT FROM 'compiled' THEN
        -- What stands in a setting is not trusted: a client or a body may have set it.
        used := coalesce(substring(current_setting('bedplate_forms.memory', true) FROM '^[0-9]{1,15}$'), '0');
        room := coalesce(substring(current_setting('bedplate.forms_memory', true) FROM '^[0-9]{1,9}$'), '32');
        IF met <> '20' OR met IS NULL OR used::bigint + form.memory > room::bigint * 1048576 THEN
            met := least(coalesce(substring(met FROM '^[0-9]{1,2}$'), '0')::int + 1, 20)::text;
        ELSE
            met := 'compiled';
            PERFORM set_config('bedplate_forms.memory', (used::bigint + form.memory)::text, false);
        END IF;
        PERFORM set_config('bedplate_forms.' || form.validator, met, false);
    END IF;
    IF met = 'compiled' THEN
        violations := json_schema.inexact(data);
        IF violations IS NOT NULL THEN
            RETURN violations;
        END IF;
        scope := concat_ws('|', current_setting('app.tenant_id', true), current_setting('app.user_id', true));
        EXECUTE 'SELECT forms_compiled.' || quote_ident(form.validator) || '($1)' INTO valid USING data;
        IF scope <> concat_ws('|', current_setting('app.tenant_id', true), current_setting('app.user_id', true)) THEN
            RAISE EXCEPTION 'permission denied: the validator of form definition % changed the tenant or the user', definition_id
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        IF valid THEN
            RETURN NULL;
        END IF;
    END IF;
    SELECT public.json_schema_violations(d.program, validate_form_data.data) INTO STRICT violations
      FROM public.form_definitions AS d
     WHERE d.tenant_id = validate_form_data.tenant_id AND d.id = validate_form_data.definition_id;
    -- Should the two ever differ, nothing is let through.
    IF violations = '[]' AND met = 'compiled' THEN
        RETURN '[{"instancePath": "", "schemaPath": "", "keyword": "compiled", "message": "is refused by the compiled form", "params": {}}]';
    END IF;
    RETURN nullif(violations, '[]');
END
$$;
COMMENT ON FUNCTION validate_form_data(uuid, uuid, jsonb) IS
    'What is wrong with data by a published version of a form, as an array of violations; NULL: nothing.';
REVOKE EXECUTE ON FUNCTION validate_form_data(uuid, uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION validate_form_data(uuid, uuid, jsonb) TO bedplate_app, bedplate_system;
