//! What a table has to be granted, and what it must not be.

use super::{Check, Scope, seen};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "grant-missing",
        why: "no login can work with it",
        scope: Scope::Design,
        seen: seen::TABLES,
        sql: "SELECT format('%s on %s to %s', privilege, name, role) AS object, family AS about,
                     format('GRANT %s ON %s TO %s;', privilege, name, CASE role WHEN 'any role' THEN 'bedplate_system' ELSE role END) AS fix
                FROM tables, (VALUES ('SELECT', 'bedplate_app'), ('SELECT', 'bedplate_system'), ('INSERT', 'any role'), ('UPDATE', 'any role')) AS needed (privilege, role)
               WHERE NOT relispartition
                 AND (privilege <> 'UPDATE' OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = tables.oid AND attname = 'updated_at' AND NOT attisdropped))
                 AND NOT EXISTS (
                     SELECT FROM granted WHERE granted.oid = tables.oid AND granted.privilege = needed.privilege
                        AND (granted.role = needed.role
                             OR needed.role = 'any role' AND granted.role IN ('bedplate_app', 'bedplate_system', 'bedplate_session', 'bedplate_definer')))
               ORDER BY 1",
    },
    Check {
        name: "grant-too-much",
        why: "TRUNCATE empties a table past the policies and triggers, and REFERENCES and TRIGGER reach into other tables",
        scope: Scope::Design,
        seen: seen::GRANTS,
        sql: "SELECT DISTINCT format('%s on %s to %s', privilege, name, role) AS object,
                     format('REVOKE %s ON %s FROM %s;', privilege, name, role) AS fix, family AS about
                FROM granted WHERE role LIKE 'bedplate\\_%' AND NOT of_owner AND privilege NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
               ORDER BY 1",
    },
    Check {
        name: "delete-granted",
        why: "what the application deletes cannot be brought back: let it mark rows, or say in metadata.toml why it may",
        scope: Scope::Design,
        seen: seen::GRANTS,
        sql: "SELECT name::text AS object, format('REVOKE DELETE ON %s FROM bedplate_app;', name) AS fix, family AS about
                FROM granted WHERE role = 'bedplate_app' AND privilege = 'DELETE' AND NOT of_owner ORDER BY 1",
    },
    Check {
        name: "partition-granted",
        why: "who reads a partition by its name steps past the policies of its table",
        scope: Scope::Tenants,
        seen: seen::PARTITIONS,
        sql: "SELECT format('%s on %s to %s', privilege, name, role) AS object,
                     format('REVOKE %s ON %s FROM %s;', privilege, name, role) AS fix, family AS about
                FROM granted WHERE relispartition AND has_tenant AND NOT of_owner ORDER BY 1",
    },
];
