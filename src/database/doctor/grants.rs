//! Roles, logins, grants and functions: who can do what.

use super::{Check, Scope, seen};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "login-bypasses-rls",
        why: "no policy binds a superuser or a login with BYPASSRLS",
        scope: Scope::Tenants,
        seen: seen::LOGINS,
        sql: "SELECT rolname::text AS object, format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS;', rolname) AS fix, NULL::text AS about
                FROM logins WHERE rolsuper OR rolbypassrls ORDER BY 1",
    },
    Check {
        name: "login-inherits",
        why: "it sees the rows of every tenant without a SET ROLE",
        scope: Scope::Tenants,
        seen: seen::LOGINS,
        sql: "SELECT rolname::text AS object,
                     -- From PostgreSQL 16 on it is the grant that says so.
                     format(CASE WHEN rolname = 'bedplate_login' AND current_setting('server_version_num')::int >= 160000
                            THEN 'GRANT bedplate_app, bedplate_system, bedplate_session TO %I WITH INHERIT FALSE;'
                            WHEN rolname = 'bedplate_login' THEN 'ALTER ROLE %I NOINHERIT;'
                            WHEN current_setting('server_version_num')::int >= 160000
                            THEN 'GRANT bedplate_definer TO %I WITH INHERIT FALSE;'
                            ELSE 'REVOKE bedplate_definer FROM %I;' END, rolname) AS fix, NULL::text AS about
                FROM pg_roles AS r
               WHERE rolcanlogin AND NOT rolsuper
                 AND (pg_has_role(r.oid, 'bedplate_definer', 'USAGE')
                      OR rolname = 'bedplate_login' AND pg_has_role(r.oid, 'bedplate_system', 'USAGE'))
               ORDER BY 1",
    },
    Check {
        name: "role-too-strong",
        why: "a group role only groups rights: it does not sign in, and no attribute lifts it over the policies",
        scope: Scope::Design,
        seen: seen::ROLES,
        sql: "SELECT rolname::text AS object,
                     format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOINHERIT;', rolname) AS fix, NULL::text AS about
                FROM pg_roles
               WHERE rolname IN ('bedplate_app', 'bedplate_system', 'bedplate_session', 'bedplate_definer')
                 AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolinherit)
               ORDER BY 1",
    },
    Check {
        name: "granted-to-public",
        why: "every login of the server has it",
        scope: Scope::Design,
        seen: seen::GRANTS,
        sql: "SELECT object, fix, about FROM (
                  SELECT format('%s on %s', privilege_type, c.oid::regclass) AS object,
                         format('REVOKE %s ON %s FROM PUBLIC;', privilege_type, c.oid::regclass) AS fix, relname::text AS about
                    FROM pg_class AS c JOIN ours ON relnamespace = namespace, aclexplode(relacl)
                   WHERE grantee = 0 AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
                  UNION ALL
                  SELECT format('%s of %s', privilege_type, name), format('REVOKE %s (%I) ON %s FROM PUBLIC;', privilege_type, attname, name), family
                    FROM tables JOIN pg_attribute ON attrelid = tables.oid, aclexplode(attacl) WHERE grantee = 0
                  UNION ALL
                  SELECT format('EXECUTE on %s', name), format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC;', name), proname::text
                    FROM functions, aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0
                  UNION ALL
                  SELECT 'CREATE on schema public', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC;', NULL
                    FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee = 0 AND privilege_type = 'CREATE') AS found
               ORDER BY 1",
    },
    Check {
        name: "definer-without-search-path",
        why: "whoever can make a table or a function makes it run with the rights of bedplate_definer",
        scope: Scope::Design,
        seen: seen::DEFINERS,
        // The owner is no lasting member of bedplate_definer.
        sql: "SELECT name::text AS object,
                     format(CASE WHEN proowner = 'bedplate_definer'::regrole
                            THEN 'GRANT bedplate_definer TO CURRENT_USER; ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp; REVOKE bedplate_definer FROM CURRENT_USER;'
                            ELSE 'ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp;' END, name) AS fix, proname::text AS about
                FROM functions WHERE prosecdef AND NOT coalesce(array_to_string(proconfig, ' ') LIKE '%search_path=%', false)
               ORDER BY 1",
    },
    Check {
        name: "function-without-search-path",
        why: "what it calls depends on the session that calls it",
        scope: Scope::Design,
        seen: seen::FUNCTIONS,
        sql: "SELECT name::text AS object, format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp;', name) AS fix, proname::text AS about
                FROM functions WHERE NOT prosecdef AND prokind IN ('f', 'p')
                 -- A body after RETURN or BEGIN ATOMIC is bound when it is made.
                 AND prosqlbody IS NULL
                 AND NOT coalesce(array_to_string(proconfig, ' ') LIKE '%search_path=%', false)
               ORDER BY 1",
    },
    Check {
        name: "definer-of-another-owner",
        why: "under FORCE its owner loses the index or sees nothing; bedplate_definer is there for it",
        scope: Scope::Tenants,
        seen: seen::DEFINERS,
        sql: "SELECT name::text AS object, format('SELECT give_to_definer(%L);', name) AS fix, proname::text AS about
                FROM functions WHERE prosecdef AND proowner <> 'bedplate_definer'::regrole \
                 AND proowner IS DISTINCT FROM to_regrole('bedplate_forms') ORDER BY 1",
    },
    Check {
        name: "definer-without-tenant",
        why: "it steps over the policies and answers for every tenant",
        scope: Scope::Tenants,
        seen: seen::DEFINERS,
        sql: "SELECT name::text AS object, '-- let it start with: DECLARE tenant uuid := public.require_tenant(); and use it' AS fix, proname::text AS about
                FROM functions WHERE prosecdef AND prorettype <> 'trigger'::regtype AND prosrc !~ 'public\\.require_tenant\\(\\)'
                 AND proowner IS DISTINCT FROM to_regrole('bedplate_forms') -- which may read nothing
               ORDER BY 1",
    },
];
