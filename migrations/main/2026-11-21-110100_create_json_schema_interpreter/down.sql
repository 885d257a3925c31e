DROP FUNCTION json_schema_violations(jsonb, jsonb);
DROP SCHEMA json_schema CASCADE;
