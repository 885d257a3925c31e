CREATE FUNCTION json_schema_violations(program jsonb, data jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('instancePath', '', 'schemaPath', '/required', 'keyword', 'required',
                                            'message', format('is missing "%s"', name)) ORDER BY name COLLATE "C"), '[]')
              FROM jsonb_array_elements_text(program -> 'required') AS name
             WHERE jsonb_typeof(data) = 'object' AND NOT data ? name);
END
$$;
COMMENT ON FUNCTION json_schema_violations(jsonb, jsonb) IS
    'What is wrong with a document by a compiled JSON Schema: a sorted array, [] for nothing.';
REVOKE EXECUTE ON FUNCTION json_schema_violations(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION json_schema_violations(jsonb, jsonb) TO bedplate_app, bedplate_system;
