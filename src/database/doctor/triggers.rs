//! The triggers that a table needs.

use super::{Check, Scope, seen};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "audit-missing",
        why: "nobody can tell later who changed a row",
        scope: Scope::Tenants,
        seen: seen::TENANT_TABLES,
        sql: "SELECT name::text AS object, family AS about,
                     format('DROP TRIGGER IF EXISTS audit ON %s; CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON %1$s FOR EACH ROW EXECUTE FUNCTION audit(%L, ''id'');', name, relname) AS fix
                FROM tables
               WHERE has_tenant AND NOT relispartition AND NOT EXISTS (
                     SELECT FROM triggers
                      WHERE tgrelid = tables.oid AND function = 'audit' AND after AND each_row
                        AND on_insert AND on_update AND on_delete AND NOT conditional AND argument = relname)
               ORDER BY 1",
    },
    Check {
        name: "lock-version-without-trigger",
        why: "two users overwrite one another unnoticed",
        scope: Scope::Tenants,
        seen: seen::LOCK_VERSIONS,
        sql: "SELECT name::text AS object, family AS about,
                     format('DROP TRIGGER IF EXISTS increment_lock_version ON %s; CREATE TRIGGER increment_lock_version BEFORE UPDATE ON %1$s FOR EACH ROW EXECUTE FUNCTION increment_lock_version();', name) AS fix
                FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attname = 'lock_version' AND NOT attisdropped
               WHERE has_tenant AND NOT relispartition AND NOT EXISTS (
                     SELECT FROM triggers WHERE tgrelid = tables.oid AND function = 'increment_lock_version'
                        AND NOT after AND each_row AND on_update AND NOT conditional)
               ORDER BY 1",
    },
    Check {
        name: "transition-missing",
        why: "any status can follow any other",
        scope: Scope::Tenants,
        seen: seen::STATUS,
        sql: "SELECT name::text AS object, family AS about,
                     format('-- CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON %s FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION refuse_illegal_transition(%L, ''from>to'', …);', name, relname) AS fix
                FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attname = 'status' AND NOT attisdropped
               WHERE has_tenant AND NOT relispartition AND NOT EXISTS (
                     SELECT FROM triggers WHERE tgrelid = tables.oid AND function = 'refuse_illegal_transition'
                        AND NOT after AND each_row AND on_update AND argument = relname)
               ORDER BY 1",
    },
    Check {
        name: "updated-at-without-trigger",
        why: "it is right only where no program forgets it",
        scope: Scope::Design,
        seen: seen::UPDATED_AT,
        sql: "SELECT name::text AS object, family AS about,
                     format('DROP TRIGGER IF EXISTS update_updated_at ON %s; CREATE TRIGGER update_updated_at BEFORE UPDATE ON %1$s FOR EACH ROW EXECUTE FUNCTION update_updated_at();', name) AS fix
                FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attname = 'updated_at' AND NOT attisdropped
               WHERE NOT relispartition AND NOT EXISTS (
                     SELECT FROM triggers WHERE tgrelid = tables.oid AND function = 'update_updated_at'
                        AND NOT after AND each_row AND on_update AND NOT conditional)
               ORDER BY 1",
    },
];
