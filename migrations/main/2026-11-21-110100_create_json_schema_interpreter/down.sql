DROP FUNCTION json_schema_violations(jsonb, jsonb);
