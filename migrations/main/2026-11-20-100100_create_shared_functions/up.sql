-- After a transaction that used SET LOCAL the setting reads '' and not NULL on the same connection:
-- hence nullif. Policies call it as (SELECT current_tenant()), once a statement and not once a row.
CREATE FUNCTION current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;
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
    REVOKE CREATE ON SCHEMA public FROM bedplate_definer;
    IF lacks_membership THEN
        REVOKE bedplate_definer FROM CURRENT_USER;
    END IF;
END
$$;
COMMENT ON FUNCTION give_to_definer(regprocedure) IS
    'For migrations: makes bedplate_definer the owner of a SECURITY DEFINER function.';
REVOKE EXECUTE ON FUNCTION give_to_definer(regprocedure) FROM PUBLIC;

-- JSON that each client reads as it was written (https://www.rfc-editor.org/rfc/rfc7493#section-2.2): a number is a
-- 64-bit integer or a 64-bit float, and JSON readers give up at 100 to 1,000 levels. A client writes a float with the
-- fewest digits that say which one it is. So does PostgreSQL, but not where the shorter number is half-way between two
-- floats: so fewer digits are tried too.
CREATE FUNCTION json_numbers_are_exact(value jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
    AS $$
    SELECT NOT EXISTS (
        SELECT FROM jsonb_path_query(value, 'strict $.** ? (@.type() == "number")') AS found,
                    LATERAL (SELECT abs((found #>> '{}')::numeric) AS number, (found #>> '{}')::numeric AS signed) AS n,
                    LATERAL (SELECT length(btrim(translate(number::text, '.', ''), '0')) AS digits) AS d
         WHERE CASE WHEN scale(number) = 0 AND signed BETWEEN -9223372036854775808 AND 18446744073709551615 THEN false
                    WHEN number = 0 THEN false
                    WHEN number NOT BETWEEN 5e-324 AND 1.7976931348623157e308 THEN true
                    WHEN number::float8::text::numeric <> number
                         AND digits >= length(btrim(translate(number::float8::text::numeric::text, '.', ''), '0')) THEN true
                    WHEN digits < 16 THEN false
                    ELSE EXISTS (
                        SELECT FROM generate_series(1, digits - 1) AS fewer,
                                    LATERAL (SELECT round(number, fewer - 1 - floor(log(number))::int) AS shorter) AS s
                         -- What is rounded up beyond the largest float is no float.
                         WHERE CASE WHEN shorter > 1.7976931348623157e308 THEN false
                                    ELSE shorter::float8 = number::float8 END) END)
    $$;
COMMENT ON FUNCTION json_numbers_are_exact(jsonb) IS
    'Whether each number in it is one that 64 bits hold: an integer, or a float that is written as the same number again.';
REVOKE EXECUTE ON FUNCTION json_numbers_are_exact(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION json_numbers_are_exact(jsonb) TO bedplate_app, bedplate_system, bedplate_session, bedplate_definer;

-- 100 levels take 200 bytes of text at least, and a number of at most 15 digits is always exact.
CREATE FUNCTION json_is_readable(value jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    written constant text := value::text;
BEGIN
    RETURN (octet_length(written) < 200
            OR NOT jsonb_path_exists(value, 'strict $.**{100 to last} ? (@.type() == "object" || @.type() == "array")'))
       AND (written !~ '[0-9.]{16}' OR public.json_numbers_are_exact(value));
END
$$;
COMMENT ON FUNCTION json_is_readable(jsonb) IS
    'For a CHECK on each column of JSON: at most 100 levels, and numbers that 64 bits hold exactly. Clients read it as it was written.';
REVOKE EXECUTE ON FUNCTION json_is_readable(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION json_is_readable(jsonb) TO bedplate_app, bedplate_system, bedplate_session, bedplate_definer;

-- White space, control and format characters, and others that show nothing (Default_Ignorable_Code_Point of
-- https://www.unicode.org/reports/tr44/). The test `columns::what_shows_nothing_is_the_same_in_both` compares with Rust's.
CREATE FUNCTION visible_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_replace(value, '[\u0001-\u0020\u007F-\u00A0\u00AD\u034F\u061C\u115F-\u1160\u1680\u17B4-\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164\uFDD0-\uFDEF\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\uFFFE-\uFFFF\U0001107F\U00013430-\U0001343F\U00016FE4\U0001BCA0-\U0001BCA3\U0001D159\U0001D173-\U0001D17A\U0001FFFE-\U0001FFFF\U0002FFFE-\U0002FFFF\U0003FFFE-\U0003FFFF\U0004FFFE-\U0004FFFF\U0005FFFE-\U0005FFFF\U0006FFFE-\U0006FFFF\U0007FFFE-\U0007FFFF\U0008FFFE-\U0008FFFF\U0009FFFE-\U0009FFFF\U000AFFFE-\U000AFFFF\U000BFFFE-\U000BFFFF\U000CFFFE-\U000CFFFF\U000DFFFE-\U000DFFFF\U000E0000-\U000E0FFF\U000FFFFE-\U000FFFFF\U0010FFFE-\U0010FFFF]', '', 'g');
COMMENT ON FUNCTION visible_text(text) IS 'The text without white space and without characters that show nothing: of a blank text, the empty one.';
REVOKE EXECUTE ON FUNCTION visible_text(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION visible_text(text) TO bedplate_app, bedplate_system;
