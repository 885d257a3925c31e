//! The rules that keep the schema the same everywhere, and ready to be distributed.

use super::{Check, Scope, seen};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "time-without-zone",
        why: "it means another moment to every client",
        scope: Scope::Design,
        seen: seen::COLUMNS,
        sql: "SELECT format('%s.%I', name, attname) AS object,
                     format('ALTER TABLE %s ALTER %I TYPE timestamptz USING %2$I AT TIME ZONE ''UTC'';', name, attname) AS fix, family AS about
                FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
               WHERE atttypid IN ('timestamp'::regtype, 'timestamp[]'::regtype) ORDER BY 1",
    },
    Check {
        name: "enum-type",
        why: "under row-level security an enum loses its index, and its values cannot be removed; use text with a CHECK",
        scope: Scope::Design,
        seen: seen::TYPES,
        sql: "SELECT t.oid::regtype::text AS object, format('-- ALTER TABLE … ALTER … TYPE text, add a CHECK; DROP TYPE %s;', t.oid::regtype) AS fix, typname::text AS about
                FROM pg_type AS t, ours WHERE typnamespace = namespace AND typtype = 'e'
                 AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = t.oid AND deptype = 'e') ORDER BY 1",
    },
    Check {
        name: "comment-missing",
        why: "the schema's pages and the docs of schema.rs are made of comments",
        scope: Scope::Design,
        seen: seen::COLUMNS,
        sql: "SELECT object, fix, about FROM (
                  SELECT name::text AS object, format('COMMENT ON TABLE %s IS ''…'';', name) AS fix, family AS about
                    FROM tables WHERE coalesce(obj_description(oid, 'pg_class'), '') = ''
                  UNION ALL
                  SELECT format('%s.%I', name, attname), format('COMMENT ON COLUMN %s.%I IS ''…'';', name, attname), family
                    FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
                   WHERE NOT relispartition AND coalesce(col_description(attrelid, attnum), '') = ''
                  UNION ALL
                  SELECT format('policy %I on %s', polname, name), format('COMMENT ON POLICY %I ON %s IS ''…'';', polname, name), family
                    FROM tables JOIN pg_policy AS p ON polrelid = tables.oid WHERE coalesce(obj_description(p.oid, 'pg_policy'), '') = ''
                  UNION ALL
                  SELECT format('index %s', indexrelid::regclass), format('COMMENT ON INDEX %s IS ''…'';', indexrelid::regclass), family
                    FROM tables JOIN pg_index ON indrelid = tables.oid
                   WHERE NOT relispartition AND coalesce(obj_description(indexrelid, 'pg_class'), '') = ''
                     -- A constraint's name says what its index is for.
                     AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype <> 'f')
                  UNION ALL
                  SELECT format('function %s', name), format('COMMENT ON FUNCTION %s IS ''…'';', name), proname::text
                    FROM functions WHERE coalesce(obj_description(oid, 'pg_proc'), '') = '') AS found
               ORDER BY 1",
    },
    Check {
        name: "on-delete-set-null",
        why: "it would set tenant_id to NULL too, and a distributed database refuses it",
        scope: Scope::Design,
        seen: seen::FOREIGN_KEYS,
        sql: "SELECT format('%I on %s', conname, name) AS object,
                     format('-- make it again with ON DELETE CASCADE or RESTRICT: %s', pg_get_constraintdef(k.oid)) AS fix, family AS about
                FROM pg_constraint AS k JOIN tables ON tables.oid = conrelid WHERE contype = 'f' AND confdeltype = 'n' ORDER BY 1",
    },
    Check {
        name: "deferrable-constraint",
        why: "it cannot be the arbiter of an upsert, and a distributed database refuses it",
        scope: Scope::Design,
        seen: seen::CONSTRAINTS,
        sql: "SELECT format('%I on %s', conname, name) AS object,
                     CASE contype WHEN 'f' THEN format('ALTER TABLE %s ALTER CONSTRAINT %I NOT DEFERRABLE;', name, conname)
                          ELSE format('-- make it again without DEFERRABLE: %s', pg_get_constraintdef(k.oid)) END AS fix, family AS about
                FROM pg_constraint AS k JOIN tables ON tables.oid = conrelid WHERE condeferrable ORDER BY 1",
    },
    Check {
        name: "trigger-by-table-name",
        why: "on a distributed table TG_TABLE_NAME is the name of a shard; hand the name over as an argument",
        scope: Scope::Design,
        seen: seen::TRIGGER_FUNCTIONS,
        sql: "SELECT name::text AS object, '-- take the table''s name from TG_ARGV[0]' AS fix, proname::text AS about
                FROM functions WHERE prorettype = 'trigger'::regtype AND prosrc LIKE '%TG_TABLE_NAME%' ORDER BY 1",
    },
    Check {
        name: "status-without-check",
        why: "a word that no program knows can be stored",
        scope: Scope::Design,
        seen: seen::STATUS,
        sql: "SELECT name::text AS object, family AS about,
                     format('-- ALTER TABLE %s ALTER status TYPE text, ALTER status SET NOT NULL, ADD CONSTRAINT %I CHECK (status IN (…));', name, relname || '_status_check') AS fix
                FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attname = 'status' AND NOT attisdropped
               WHERE NOT relispartition
                 AND NOT (atttypid = 'text'::regtype AND attnotnull AND EXISTS (
                     SELECT FROM pg_constraint WHERE conrelid = tables.oid AND contype = 'c' AND conkey = ARRAY[attnum]
                        AND pg_get_constraintdef(oid) LIKE '%status = ANY %'))
               ORDER BY 1",
    },
    Check {
        name: "time-without-default",
        why: "an insert that leaves it out fails or writes NULL",
        scope: Scope::Design,
        seen: seen::TIMES,
        sql: "SELECT format('%s.%I', name, attname) AS object, family AS about,
                     format('ALTER TABLE %s ALTER %I SET DEFAULT now(), ALTER %2$I SET NOT NULL;', name, attname) AS fix
                FROM tables JOIN pg_attribute AS a ON attrelid = tables.oid AND attname IN ('created_at', 'updated_at') AND NOT attisdropped
                LEFT JOIN pg_attrdef AS d ON d.adrelid = attrelid AND d.adnum = attnum
               WHERE NOT relispartition
                 AND NOT (attnotnull AND coalesce(pg_get_expr(adbin, adrelid), '') IN ('now()', 'clock_timestamp()', 'CURRENT_TIMESTAMP'))
               ORDER BY 1",
    },
    Check {
        name: "serial",
        why: "its sequence has an owner and grants of its own, and a distributed database has none",
        scope: Scope::Design,
        seen: seen::SEQUENCES,
        // An identity's sequence belongs to its column.
        sql: "SELECT format('%s.%I', name, attname) AS object, family AS about,
                     format('-- ALTER TABLE %s ALTER %I DROP DEFAULT; DROP SEQUENCE %s; ALTER TABLE %1$s ALTER %2$I ADD GENERATED ALWAYS AS IDENTITY; -- and set it past the highest number',
                            name, attname, objid::regclass) AS fix
                FROM tables
                JOIN pg_depend AS d ON d.refobjid = tables.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a' AND d.refobjsubid > 0
                JOIN pg_class AS s ON s.oid = d.objid AND d.classid = 'pg_class'::regclass AND s.relkind = 'S'
                JOIN pg_attribute AS a ON a.attrelid = tables.oid AND a.attnum = d.refobjsubid
               ORDER BY 1",
    },
];
