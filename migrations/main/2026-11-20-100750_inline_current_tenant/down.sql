CREATE OR REPLACE FUNCTION current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;

CREATE OR REPLACE FUNCTION give_to_definer(target regprocedure) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    lacks_membership boolean := NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        AND NOT EXISTS (
            SELECT FROM pg_auth_members AS m
             WHERE m.roleid = 'bedplate_definer'::regrole
               AND m.member = (SELECT oid FROM pg_roles WHERE rolname = current_user)
               AND coalesce(to_jsonb(m) ->> 'set_option', 'true') = 'true');
BEGIN
    IF lacks_membership THEN
        GRANT bedplate_definer TO CURRENT_USER;
    END IF;
    GRANT CREATE ON SCHEMA public TO bedplate_definer;
    EXECUTE format('ALTER FUNCTION %s OWNER TO bedplate_definer', target);
    REVOKE CREATE ON SCHEMA public FROM bedplate_definer;
    IF lacks_membership THEN
        REVOKE bedplate_definer FROM CURRENT_USER;
    END IF;
END
$$;
