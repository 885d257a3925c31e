-- The functions that every database with tenants has. They are those of the database main, word for word
-- (the test `catalogue::what_is_shared_is_equal` compares).
--
-- After a transaction that used SET LOCAL the setting reads '' and not NULL on the same connection:
-- hence nullif. Policies call it as (SELECT current_tenant()), once a statement and not once a row.
-- Its body is bound when it is made (RETURN), so it needs no search_path, which would keep it from being inlined.
CREATE FUNCTION current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.tenant_id', true), '')::uuid;
COMMENT ON FUNCTION current_tenant() IS
    'The tenant of this transaction (setting app.tenant_id); NULL where none is set, and then policies show nothing.';
REVOKE EXECUTE ON FUNCTION current_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_tenant() TO bedplate_app, bedplate_system, bedplate_definer;

-- A SECURITY DEFINER function that answers without a tenant would answer for all of them.
CREATE FUNCTION require_tenant() RETURNS uuid
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant uuid := public.current_tenant();
BEGIN
    IF tenant IS NULL THEN
        RAISE EXCEPTION 'permission denied: no tenant is set'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Run it inside tenant_tx.';
    END IF;
    RETURN tenant;
END
$$;
COMMENT ON FUNCTION require_tenant() IS
    'current_tenant(), or error 42501 where none is set. Every SECURITY DEFINER function starts with it.';
REVOKE EXECUTE ON FUNCTION require_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION require_tenant() TO bedplate_app, bedplate_definer;

CREATE FUNCTION update_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION update_updated_at() IS 'Trigger: sets updated_at to the time of the transaction.';
REVOKE EXECUTE ON FUNCTION update_updated_at() FROM PUBLIC;

-- The table's name comes as the first argument: on a distributed table TG_TABLE_NAME is a shard's.
CREATE FUNCTION refuse_illegal_transition() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT (OLD.status || '>' || NEW.status) = ANY (TG_ARGV[1:]) THEN
        RAISE EXCEPTION '% % cannot go from % to %', TG_ARGV[0], OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', TABLE = TG_ARGV[0], COLUMN = 'status',
                  CONSTRAINT = TG_ARGV[0] || '_status_transition';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION refuse_illegal_transition() IS
    'Trigger: refuses a change of status that is not among its arguments (table name, then ''from>to'' pairs).';
REVOKE EXECUTE ON FUNCTION refuse_illegal_transition() FROM PUBLIC;

-- Handing a function over takes membership in bedplate_definer and CREATE on the schema. Both are
-- taken for the length of this call only: a lasting member would see every tenant's rows.
CREATE FUNCTION give_to_definer(target regprocedure) RETURNS void
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
    -- Nobody can call a trigger's function; its right is asked for when a trigger is made, by the owner.
    IF (SELECT prorettype = 'trigger'::regtype FROM pg_proc WHERE oid = target) THEN
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO CURRENT_USER', target);
    END IF;
    REVOKE CREATE ON SCHEMA public FROM bedplate_definer;
    IF lacks_membership THEN
        REVOKE bedplate_definer FROM CURRENT_USER;
    END IF;
END
$$;
COMMENT ON FUNCTION give_to_definer(regprocedure) IS
    'For migrations: makes bedplate_definer the owner of a SECURITY DEFINER function.';
REVOKE EXECUTE ON FUNCTION give_to_definer(regprocedure) FROM PUBLIC;
