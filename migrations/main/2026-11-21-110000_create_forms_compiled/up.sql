-- A published form is checked by functions that bedplate compiles from its JSON Schema: text of a tenant becomes code.
-- They run as a role that may read nothing, write nothing and call nothing but one another, and are made through one
-- function that can do nothing but that. What the compiler would get wrong could give a wrong verdict on that form,
-- and no more.
DO $role$
BEGIN
    FOR attempt IN 1..50 LOOP
        BEGIN
            EXIT WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'bedplate_forms');
            CREATE ROLE bedplate_forms NOLOGIN NOINHERIT;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- made by a neighbour: look again
        END;
    END LOOP;
END
$role$;

CREATE SCHEMA forms_compiled;
COMMENT ON SCHEMA forms_compiled IS 'Functions that check the data of published forms, compiled from their JSON Schemas.';
GRANT USAGE, CREATE ON SCHEMA forms_compiled TO bedplate_forms;
GRANT USAGE ON SCHEMA forms_compiled TO bedplate_app, bedplate_system;

CREATE FUNCTION form_validator(tenant_id uuid, definition_id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'v' || left(encode(sha256(uuid_send(tenant_id) || uuid_send(definition_id)), 'hex'), 40);
COMMENT ON FUNCTION form_validator(uuid, uuid) IS
    'The name of the function in forms_compiled that checks the data of this version of a form.';
REVOKE EXECUTE ON FUNCTION form_validator(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION form_validator(uuid, uuid) TO bedplate_app, bedplate_system, bedplate_forms;

-- The name comes from the tenant of the transaction, so nobody replaces the functions of another. Each body is one
-- literal, made by format(). IMMUTABLE also means that PL/pgSQL lets no statement in it write.
CREATE FUNCTION create_form_validator(definition_id uuid, bodies text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET check_function_bodies = on
    AS $$
DECLARE
    -- Not by the function that others begin with: the role may call nothing.
    tenant uuid := nullif(current_setting('app.tenant_id', true), '');
    validator text := public.form_validator(tenant, definition_id);
    name text;
BEGIN
    IF tenant IS NULL THEN
        RAISE EXCEPTION 'permission denied: no tenant is set'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Run it inside tenant_tx.';
    END IF;
    FOR i IN 1..cardinality(bodies) LOOP
        name := validator || CASE WHEN i > 1 THEN '_' || (i - 1) ELSE '' END;
        EXECUTE format('CREATE FUNCTION forms_compiled.%I(d jsonb) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE %s AS %L',
                       name, CASE WHEN i = 1 THEN 'SECURITY DEFINER SET search_path = pg_catalog, pg_temp' ELSE '' END, bodies[i]);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION forms_compiled.%I(jsonb) FROM PUBLIC', name);
    END LOOP;
    EXECUTE format('GRANT EXECUTE ON FUNCTION forms_compiled.%I(jsonb) TO bedplate_app, bedplate_system', validator);
END
$$;
COMMENT ON FUNCTION create_form_validator(uuid, text[]) IS
    'Makes the functions that check the data of a version of a form of this tenant, from bodies that bedplate compiled.';
REVOKE EXECUTE ON FUNCTION create_form_validator(uuid, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_form_validator(uuid, text[]) TO bedplate_app;

-- A trigger, so that nobody can call it: which functions go is told by the row that went.
CREATE FUNCTION drop_form_validator() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT oid::regprocedure FROM pg_proc
         WHERE pronamespace = 'forms_compiled'::regnamespace AND starts_with(proname, OLD.validator)
    LOOP
        EXECUTE format('DROP FUNCTION %s', function);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION drop_form_validator() IS
    'Trigger: takes away what create_form_validator() made for a version; nothing where it made nothing.';
REVOKE EXECUTE ON FUNCTION drop_form_validator() FROM PUBLIC;

-- As give_to_definer() does it: membership and CREATE are taken for as long as it takes.
DO $owner$
DECLARE
    lacks_membership boolean := NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        AND NOT EXISTS (
            SELECT FROM pg_auth_members AS m
             WHERE m.roleid = 'bedplate_forms'::regrole
               AND m.member = (SELECT oid FROM pg_roles WHERE rolname = current_user)
               AND coalesce(to_jsonb(m) ->> 'set_option', 'true') = 'true');
BEGIN
    IF lacks_membership THEN
        GRANT bedplate_forms TO CURRENT_USER;
    END IF;
    GRANT CREATE ON SCHEMA public TO bedplate_forms;
    ALTER FUNCTION create_form_validator(uuid, text[]) OWNER TO bedplate_forms;
    ALTER FUNCTION drop_form_validator() OWNER TO bedplate_forms;
    REVOKE CREATE ON SCHEMA public FROM bedplate_forms;
    -- A body runs as the owner of these functions, and must not be able to call them.
    REVOKE EXECUTE ON FUNCTION create_form_validator(uuid, text[]) FROM bedplate_forms;
    REVOKE EXECUTE ON FUNCTION drop_form_validator() FROM bedplate_forms;
    -- For the trigger of a table that is made later.
    EXECUTE format('GRANT EXECUTE ON FUNCTION drop_form_validator() TO %I', current_user);
    IF lacks_membership THEN
        REVOKE bedplate_forms FROM CURRENT_USER;
    END IF;
END
$owner$;
