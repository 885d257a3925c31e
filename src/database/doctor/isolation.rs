//! What keeps tenants apart.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "rls-off",
        why: "every tenant sees every row of it",
        sql: "SELECT name::text AS object, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', name) AS fix
                FROM tables WHERE has_tenant AND NOT relrowsecurity ORDER BY 1",
    },
    Check {
        name: "rls-not-forced",
        why: "its owner sees and changes the rows of every tenant",
        sql: "SELECT name::text AS object, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', name) AS fix
                FROM tables WHERE has_tenant AND relrowsecurity AND NOT relforcerowsecurity ORDER BY 1",
    },
    Check {
        name: "policy-missing",
        why: "the application sees none of its rows",
        sql: "SELECT name::text AS object,
                     format('CREATE POLICY tenant ON %s TO bedplate_app USING (%s = (SELECT current_tenant())) WITH CHECK (%2$s = (SELECT current_tenant()));',
                            name, CASE relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END) AS fix
                FROM tables
               WHERE has_tenant AND NOT relispartition AND NOT EXISTS (
                     SELECT FROM pg_policy WHERE polrelid = tables.oid AND 'bedplate_app'::regrole = ANY (polroles)
                        AND pg_get_expr(polqual, polrelid) LIKE '%current_tenant()%')
               ORDER BY 1",
    },
    Check {
        name: "policy-without-check",
        why: "what may be read is said, what may be written is only implied: a row can be given to another tenant once the two differ",
        sql: "SELECT format('%I on %s', polname, name) AS object,
                     format('ALTER POLICY %I ON %s WITH CHECK (%s);', polname, name, coalesce(pg_get_expr(polqual, polrelid), 'false')) AS fix
                FROM tables JOIN pg_policy ON polrelid = tables.oid
               WHERE polcmd IN ('*', 'a', 'w') AND polwithcheck IS NULL ORDER BY 1",
    },
    Check {
        name: "policy-open",
        why: "it shows the application rows of every tenant",
        sql: "SELECT format('%I on %s', polname, name) AS object, format('DROP POLICY %I ON %s;', polname, name) AS fix
                FROM tables JOIN pg_policy ON polrelid = tables.oid
               WHERE has_tenant AND (polroles && ARRAY[0::oid, to_regrole('bedplate_app')::oid, to_regrole('bedplate_login')::oid])
                 AND 'true' IN (pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
               ORDER BY 1",
    },
    Check {
        name: "policy-restrictive",
        why: "a distributed database silently takes it for a permissive one; use REVOKE",
        sql: "SELECT format('%I on %s', polname, name) AS object, format('DROP POLICY %I ON %s;', polname, name) AS fix
                FROM tables JOIN pg_policy ON polrelid = tables.oid WHERE NOT polpermissive ORDER BY 1",
    },
    Check {
        name: "view-not-invoker",
        why: "it shows rows as its owner sees them, past the policies of who asks",
        sql: "SELECT c.oid::regclass::text AS object, format('ALTER VIEW %s SET (security_invoker = true);', c.oid::regclass) AS fix
                FROM pg_class AS c, ours
               WHERE relnamespace = namespace AND relkind = 'v'
                 AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
                 AND NOT coalesce(lower(reloptions::text)::text[] && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)
               ORDER BY 1",
    },
    Check {
        name: "key-without-tenant",
        why: "a tenant finds out by a conflict what another one has",
        sql: "SELECT i.indexrelid::regclass::text AS object,
                     format('-- make it start with tenant_id: %s', pg_get_indexdef(i.indexrelid)) AS fix
                FROM tables JOIN pg_index AS i ON i.indrelid = tables.oid
               WHERE has_tenant AND relname <> 'tenants' AND NOT relispartition AND indisunique
                 AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = i.indrelid
                                    AND a.attnum = i.indkey[0] AND a.attname = 'tenant_id')
               ORDER BY 1",
    },
    Check {
        name: "foreign-key-without-tenant",
        why: "checks of foreign keys step over the policies: a row can hang on another tenant's",
        sql: "SELECT format('%I on %s', conname, c.name) AS object,
                     format('-- add tenant_id to both sides: %s', pg_get_constraintdef(k.oid)) AS fix
                FROM pg_constraint AS k JOIN tables AS c ON c.oid = conrelid JOIN tables AS p ON p.oid = confrelid
               WHERE contype = 'f' AND conparentid = 0 AND c.has_tenant AND p.has_tenant
                 AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = conrelid
                                    AND a.attnum = ANY (conkey) AND a.attname = 'tenant_id')
               ORDER BY 1",
    },
    Check {
        name: "audit-log-open",
        why: "somebody can rewrite what happened",
        sql: "SELECT object, fix FROM (
                  SELECT name::text AS object, format('SELECT make_append_only(%L);', name) AS fix FROM tables
                   WHERE relname ~ '^audit_log(_|$)' AND NOT EXISTS (
                         SELECT FROM pg_trigger WHERE tgrelid = tables.oid AND tgname = 'append_only' AND tgenabled = 'A'
                            AND tgfoid = to_regprocedure('refuse_change_of_audit_log()'))
                  UNION ALL
                  SELECT format('%s for %s', name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END),
                         format('REVOKE %s ON %s FROM %s;', privilege_type, name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
                    FROM tables, aclexplode(coalesce(relacl, acldefault('r', relowner)))
                   WHERE relname ~ '^audit_log(_|$)' AND privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')) AS found
               ORDER BY 1, 2",
    },
];
