//! What keeps tenants apart.

use super::{Check, Scope, seen};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "tenant-id-missing",
        why: "no policy can keep its rows apart, and it cannot be distributed",
        scope: Scope::Tenants,
        seen: seen::TABLES,
        sql: "SELECT name::text AS object, '-- add tenant_id uuid NOT NULL, and begin every key with it' AS fix, family AS about
                FROM tables WHERE NOT has_tenant AND NOT relispartition ORDER BY 1",
    },
    Check {
        name: "tenant-id-nullable",
        why: "a row without a tenant belongs to nobody, and no policy shows it",
        scope: Scope::Tenants,
        seen: seen::TENANT_TABLES,
        sql: "SELECT name::text AS object, family AS about,
                     CASE WHEN atttypid = 'uuid'::regtype THEN format('ALTER TABLE %s ALTER tenant_id SET NOT NULL;', name)
                          ELSE format('-- ALTER TABLE %s ALTER tenant_id TYPE uuid USING …, ALTER tenant_id SET NOT NULL;', name) END AS fix
                FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attname = 'tenant_id'
               WHERE NOT relispartition AND NOT (attnotnull AND atttypid = 'uuid'::regtype) ORDER BY 1",
    },
    Check {
        name: "tenant-foreign-key-missing",
        why: "rows of a tenant that never existed, or is deleted, stay for ever",
        scope: Scope::Tenants,
        seen: seen::TENANT_TABLES,
        sql: "SELECT name::text AS object, family AS about,
                     format('ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;',
                            name, relname || '_tenant_id_fkey') AS fix
                FROM tables
               -- A database beside has no table of tenants.
               WHERE to_regclass('tenants') IS NOT NULL AND has_tenant AND relname <> 'tenants' AND NOT relispartition
                 AND NOT EXISTS (
                     SELECT FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
                      WHERE k.contype = 'f' AND k.conrelid = tables.oid AND a.attname = 'tenant_id'
                        AND (k.confrelid = to_regclass('tenants')
                             OR k.confrelid <> k.conrelid AND EXISTS (
                                SELECT FROM pg_constraint AS p JOIN pg_attribute AS b ON b.attrelid = p.conrelid AND b.attnum = p.conkey[1]
                                 WHERE p.contype = 'f' AND p.conrelid = k.confrelid AND p.confrelid = to_regclass('tenants')
                                   AND cardinality(p.conkey) = 1 AND b.attname = 'tenant_id')))
               ORDER BY 1",
    },
    Check {
        name: "rls-off",
        why: "every tenant sees every row of it",
        scope: Scope::Tenants,
        seen: seen::WALLED,
        sql: "SELECT name::text AS object, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', name) AS fix, family AS about
                FROM tables WHERE has_tenant AND NOT relrowsecurity ORDER BY 1",
    },
    Check {
        name: "rls-not-forced",
        why: "its owner sees and changes the rows of every tenant",
        scope: Scope::Tenants,
        seen: seen::WALLED,
        sql: "SELECT name::text AS object, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', name) AS fix, family AS about
                FROM tables WHERE has_tenant AND NOT relforcerowsecurity ORDER BY 1",
    },
    Check {
        name: "policy-missing",
        why: "the application sees none of its rows",
        scope: Scope::Tenants,
        seen: seen::TENANT_TABLES,
        sql: "SELECT name::text AS object, family AS about,
                     format('CREATE POLICY tenant ON %s TO bedplate_app USING (%s = (SELECT current_tenant())) WITH CHECK (%2$s = (SELECT current_tenant()));',
                            name, CASE relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END) AS fix
                FROM tables
               WHERE has_tenant AND NOT relispartition AND NOT EXISTS (
                     SELECT FROM pg_policy WHERE polrelid = tables.oid AND to_regrole('bedplate_app')::oid = ANY (polroles)
                        AND pg_get_expr(polqual, polrelid) LIKE '%current_tenant()%')
               ORDER BY 1",
    },
    Check {
        name: "system-policy-missing",
        why: "system_tx sees none of its rows",
        scope: Scope::Tenants,
        seen: seen::TENANT_TABLES,
        sql: "SELECT name::text AS object, family AS about,
                     format('CREATE POLICY system ON %s TO bedplate_system USING (current_user = ''bedplate_system'') WITH CHECK (current_user = ''bedplate_system'');', name) AS fix
                FROM tables
               WHERE has_tenant AND NOT relispartition AND NOT EXISTS (
                     SELECT FROM pg_policy WHERE polrelid = tables.oid AND to_regrole('bedplate_system')::oid = ANY (polroles)
                        AND polcmd = '*' AND polqual IS NOT NULL AND polwithcheck IS NOT NULL)
               ORDER BY 1",
    },
    Check {
        name: "policy-without-check",
        why: "what may be read is said, what may be written is only implied: a row can be given to another tenant once the two differ",
        scope: Scope::Tenants,
        seen: seen::POLICIES,
        sql: "SELECT format('%I on %s', polname, name) AS object, family AS about,
                     format('ALTER POLICY %I ON %s WITH CHECK (%s);', polname, name, coalesce(pg_get_expr(polqual, polrelid), 'false')) AS fix
                FROM tables JOIN pg_policy ON polrelid = tables.oid
               WHERE polcmd IN ('*', 'a', 'w') AND polwithcheck IS NULL ORDER BY 1",
    },
    Check {
        name: "policy-open",
        // Before PostgreSQL 16 the owner inherits from bedplate_system.
        why: "it shows rows of every tenant: to bedplate_app, or to every owner that inherits from bedplate_system",
        scope: Scope::Tenants,
        seen: seen::POLICIES,
        sql: "SELECT format('%I on %s', polname, name) AS object, family AS about,
                     CASE WHEN to_regrole('bedplate_system')::oid = ANY (polroles) AND polcmd = '*'
                          THEN format('ALTER POLICY %I ON %s USING (current_user = ''bedplate_system'') WITH CHECK (current_user = ''bedplate_system'');', polname, name)
                          ELSE format('DROP POLICY %I ON %s;', polname, name) END AS fix
                FROM tables JOIN pg_policy ON polrelid = tables.oid
               WHERE has_tenant
                 AND polroles && ARRAY[0::oid, to_regrole('bedplate_app')::oid, to_regrole('bedplate_login')::oid, to_regrole('bedplate_system')::oid]
                 AND 'true' IN (pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
               ORDER BY 1",
    },
    Check {
        name: "policy-bare-call",
        why: "a bare current_tenant() is called for each row",
        scope: Scope::Tenants,
        seen: seen::POLICIES,
        // The servers of a distributed database refuse the sub-select.
        sql: "SELECT format('%I on %s', polname, name) AS object, family AS about,
                     format('ALTER POLICY %I ON %s', polname, name)
                     || coalesce(format(' USING (%s)', replace(pg_get_expr(polqual, polrelid), 'current_tenant()', '(SELECT current_tenant())')), '')
                     || coalesce(format(' WITH CHECK (%s)', replace(pg_get_expr(polwithcheck, polrelid), 'current_tenant()', '(SELECT current_tenant())')), '')
                     || ';' AS fix
                FROM tables JOIN pg_policy ON polrelid = tables.oid
               WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')
                 AND regexp_replace(concat(pg_get_expr(polqual, polrelid), ' ', pg_get_expr(polwithcheck, polrelid)),
                                    'SELECT (public\\.)?current_tenant\\(\\)', '', 'g') LIKE '%current_tenant()%'
               ORDER BY 1",
    },
    Check {
        name: "policy-restrictive",
        why: "a distributed database silently takes it for a permissive one; use REVOKE",
        scope: Scope::Tenants,
        seen: seen::POLICIES,
        sql: "SELECT format('%I on %s', polname, name) AS object, format('DROP POLICY %I ON %s;', polname, name) AS fix, family AS about
                FROM tables JOIN pg_policy ON polrelid = tables.oid WHERE NOT polpermissive ORDER BY 1",
    },
    Check {
        name: "view-not-invoker",
        why: "it shows rows as its owner sees them, past the policies of who asks",
        scope: Scope::Design,
        seen: seen::VIEWS,
        sql: "SELECT c.oid::regclass::text AS object, format('ALTER VIEW %s SET (security_invoker = true);', c.oid::regclass) AS fix, relname::text AS about
                FROM pg_class AS c, ours
               WHERE relnamespace = namespace AND relkind = 'v'
                 AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
                 AND NOT coalesce(lower(reloptions::text)::text[] && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)
               ORDER BY 1",
    },
    Check {
        name: "key-without-tenant",
        why: "a tenant finds out by a conflict what another one has",
        scope: Scope::Tenants,
        seen: seen::KEYS,
        sql: "SELECT i.indexrelid::regclass::text AS object, family AS about,
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
        scope: Scope::Tenants,
        seen: seen::FOREIGN_KEYS,
        sql: "SELECT format('%I on %s', conname, c.name) AS object, c.family AS about,
                     format('-- begin both sides with tenant_id: %s', pg_get_constraintdef(k.oid)) AS fix
                FROM pg_constraint AS k JOIN tables AS c ON c.oid = conrelid
               WHERE contype = 'f' AND conparentid = 0 AND c.has_tenant
                 AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = conrelid
                                    AND a.attnum = conkey[1] AND a.attname = 'tenant_id')
               ORDER BY 1",
    },
    Check {
        name: "audit-log-open",
        why: "somebody can rewrite what happened",
        scope: Scope::Tenants,
        seen: seen::AUDIT_LOGS,
        sql: "SELECT object, fix, 'audit_log' AS about FROM (
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
