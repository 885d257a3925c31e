//! The rules that keep the schema the same everywhere, and ready to be distributed.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "time-without-zone",
        why: "it means another moment to every client",
        sql: "SELECT format('%s.%I', name, attname) AS object,
                     format('ALTER TABLE %s ALTER %I TYPE timestamptz USING %2$I AT TIME ZONE ''UTC'';', name, attname) AS fix
                FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
               WHERE atttypid = 'timestamp'::regtype AND relname <> 'sessions' ORDER BY 1",
    },
    Check {
        name: "updated-at-without-trigger",
        why: "it is right only where nobody forgets it",
        sql: "SELECT name::text AS object,
                     format('CREATE TRIGGER update_updated_at BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION update_updated_at();', name) AS fix
                FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attname = 'updated_at' AND NOT attisdropped
               WHERE NOT relispartition AND NOT EXISTS (
                     SELECT FROM pg_trigger WHERE tgrelid = tables.oid AND tgfoid = to_regprocedure('update_updated_at()'))
               ORDER BY 1",
    },
    Check {
        name: "enum-type",
        why: "under row-level security an enum loses its index, and its values cannot be removed; use text with a CHECK",
        sql: "SELECT t.oid::regtype::text AS object, format('-- ALTER TABLE … ALTER … TYPE text, add a CHECK; DROP TYPE %s;', t.oid::regtype) AS fix
                FROM pg_type AS t, ours WHERE typnamespace = namespace AND typtype = 'e'
                 AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = t.oid AND deptype = 'e') ORDER BY 1",
    },
    Check {
        name: "comment-missing",
        why: "the schema's pages and the docs of schema.rs are made of comments",
        sql: "SELECT object, fix FROM (
                  SELECT name::text AS object, format('COMMENT ON TABLE %s IS ''…'';', name) AS fix
                    FROM tables WHERE coalesce(obj_description(oid, 'pg_class'), '') = ''
                  UNION ALL
                  SELECT format('%s.%I', name, attname), format('COMMENT ON COLUMN %s.%I IS ''…'';', name, attname)
                    FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
                   WHERE NOT relispartition AND coalesce(col_description(attrelid, attnum), '') = '') AS found
               ORDER BY 1",
    },
    Check {
        name: "on-delete-set-null",
        why: "it would set tenant_id to NULL too, and a distributed database refuses it",
        sql: "SELECT format('%I on %s', conname, name) AS object,
                     format('-- make it again with ON DELETE CASCADE or RESTRICT: %s', pg_get_constraintdef(k.oid)) AS fix
                FROM pg_constraint AS k JOIN tables ON tables.oid = conrelid WHERE contype = 'f' AND confdeltype = 'n' ORDER BY 1",
    },
    Check {
        name: "deferrable-constraint",
        why: "it cannot be the arbiter of an upsert, and a distributed database refuses it",
        sql: "SELECT format('%I on %s', conname, name) AS object,
                     CASE contype WHEN 'f' THEN format('ALTER TABLE %s ALTER CONSTRAINT %I NOT DEFERRABLE;', name, conname)
                          ELSE format('-- make it again without DEFERRABLE: %s', pg_get_constraintdef(k.oid)) END AS fix
                FROM pg_constraint AS k JOIN tables ON tables.oid = conrelid WHERE condeferrable ORDER BY 1",
    },
    Check {
        name: "trigger-by-table-name",
        why: "on a distributed table TG_TABLE_NAME is the name of a shard; hand the name over as an argument",
        sql: "SELECT name::text AS object, '-- take the table''s name from TG_ARGV[0]' AS fix
                FROM functions WHERE prorettype = 'trigger'::regtype AND prosrc LIKE '%TG_TABLE_NAME%' ORDER BY 1",
    },
];
