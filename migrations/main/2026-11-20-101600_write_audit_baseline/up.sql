-- The rows that are there when auditing begins. It began with the migration before this one: what changed
-- since then is in the log already. As bedplate_system, because the owner sees no row; its right to write
-- lasts for this migration only.
GRANT INSERT ON audit_log, __bedplate_audit_columns TO bedplate_system;
SET LOCAL ROLE bedplate_system;
DO $baseline$
DECLARE
    audited record;
BEGIN
    PERFORM set_config('timezone', 'UTC', true), set_config('extra_float_digits', '1', true);
    FOR audited IN
        SELECT tgrelid::regclass AS source, string_to_array(encode(tgargs, 'escape'), '\000') AS arguments
          FROM pg_trigger WHERE tgname = 'audit' AND NOT tgisinternal ORDER BY 1
    LOOP
        INSERT INTO __bedplate_audit_columns (entity_type, columns)
        VALUES (audited.arguments[1], audit_columns(audited.source));
        EXECUTE format(
            'INSERT INTO audit_log (tenant_id, action, entity_type, entity_id, new_value)
             SELECT coalesce(fields ->> ''tenant_id'', fields ->> ''id'')::uuid, ''baseline'', %L,
                    concat_ws('':'', fields ->> %L, fields ->> %L), redact(fields)
               FROM (SELECT to_jsonb(t) AS fields FROM %s AS t) AS rows',
            audited.arguments[1], audited.arguments[2], nullif(audited.arguments[3], ''), audited.source);
    END LOOP;
END
$baseline$;
RESET ROLE;
REVOKE INSERT ON audit_log, __bedplate_audit_columns FROM bedplate_system;
