//! Indexes: missing, broken, useless.

use super::{Check, Scope, seen};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "foreign-key-without-index",
        why: "to delete or change a parent reads the whole child table, and locks wait meanwhile",
        scope: Scope::Every,
        seen: seen::FOREIGN_KEYS,
        sql: "SELECT format('%I on %s', conname, name) AS object,
                     format('CREATE INDEX CONCURRENTLY ON %s (%s);', name, (
                         SELECT string_agg(quote_ident(attname), ', ' ORDER BY n)
                           FROM unnest(conkey) WITH ORDINALITY AS k (attnum, n) JOIN pg_attribute AS a USING (attnum)
                          WHERE attrelid = conrelid)) AS fix, family AS about
                FROM pg_constraint AS c JOIN tables ON tables.oid = conrelid
               WHERE contype = 'f' AND conparentid = 0 AND NOT EXISTS (
                     SELECT FROM pg_index AS i WHERE i.indrelid = conrelid AND i.indpred IS NULL AND i.indisvalid
                        AND (i.indkey::int2[])[0:cardinality(conkey) - 1] = conkey)
               ORDER BY 1",
    },
    Check {
        name: "index-invalid",
        why: "a CREATE INDEX CONCURRENTLY broke off: every write keeps it, no query uses it",
        scope: Scope::Every,
        seen: seen::INDEXES,
        sql: "SELECT i.indexrelid::regclass::text AS object, format('REINDEX INDEX CONCURRENTLY %s;', i.indexrelid::regclass) AS fix, family AS about
                FROM tables JOIN pg_index AS i ON i.indrelid = tables.oid
               WHERE NOT indisvalid AND NOT EXISTS (
                     SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
               ORDER BY 1",
    },
    Check {
        name: "index-duplicate",
        why: "another index begins with the same columns: this one only costs writes and space",
        scope: Scope::Every,
        seen: seen::INDEXES,
        sql: "SELECT DISTINCT format('%s, by %s', a.indexrelid::regclass, b.indexrelid::regclass) AS object,
                     format('DROP INDEX CONCURRENTLY %s;', a.indexrelid::regclass) AS fix, family AS about
                FROM tables
                JOIN pg_index AS a ON a.indrelid = tables.oid
                JOIN pg_index AS b ON b.indrelid = a.indrelid AND b.indexrelid <> a.indexrelid
                JOIN pg_class AS ac ON ac.oid = a.indexrelid JOIN pg_class AS bc ON bc.oid = b.indexrelid
               WHERE ac.relam = bc.relam AND NOT tables.relispartition
                 AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = a.indexrelid AND contype <> 'f')
                 AND (NOT a.indisunique OR b.indisunique AND a.indnkeyatts = b.indnkeyatts)
                 AND a.indnkeyatts <= b.indnkeyatts
                 AND (a.indkey::int2[])[0:a.indnkeyatts - 1] = (b.indkey::int2[])[0:a.indnkeyatts - 1]
                 AND (a.indclass::oid[])[0:a.indnkeyatts - 1] = (b.indclass::oid[])[0:a.indnkeyatts - 1]
                 AND (a.indcollation::oid[])[0:a.indnkeyatts - 1] = (b.indcollation::oid[])[0:a.indnkeyatts - 1]
                 AND (a.indoption::int2[])[0:a.indnkeyatts - 1] = (b.indoption::int2[])[0:a.indnkeyatts - 1]
                 -- Beginnings are compared for a btree of plain columns alone.
                 AND (a.indnkeyatts = b.indnkeyatts
                      OR a.indexprs IS NULL AND bc.relam = (SELECT oid FROM pg_am WHERE amname = 'btree'))
                 AND pg_get_expr(a.indexprs, a.indrelid) IS NOT DISTINCT FROM
                     CASE WHEN a.indnkeyatts = b.indnkeyatts THEN pg_get_expr(b.indexprs, b.indrelid) END
                 AND pg_get_expr(a.indpred, a.indrelid) IS NOT DISTINCT FROM pg_get_expr(b.indpred, b.indrelid)
                 -- Of two equal ones, the younger goes.
                 AND (a.indnkeyatts < b.indnkeyatts OR a.indisunique < b.indisunique OR a.indexrelid > b.indexrelid
                      OR EXISTS (SELECT FROM pg_constraint WHERE conindid = b.indexrelid AND contype <> 'f'))
               ORDER BY 1",
    },
    Check {
        name: "index-unused",
        why: "the table is read, this index (of over 1 MiB) never was: it only costs writes and space",
        scope: Scope::Every,
        seen: seen::INDEXES,
        sql: "SELECT s.indexrelid::regclass::text AS object, format('DROP INDEX CONCURRENTLY %s;', s.indexrelid::regclass) AS fix, family AS about
                FROM tables
                JOIN pg_stat_user_indexes AS s ON s.relid = tables.oid
                JOIN pg_stat_user_tables AS t ON t.relid = tables.oid
                JOIN pg_index AS i ON i.indexrelid = s.indexrelid
               WHERE s.idx_scan = 0 AND NOT i.indisunique AND i.indisvalid AND NOT relispartition
                 AND t.seq_scan + coalesce(t.idx_scan, 0) > 0
                 AND pg_relation_size(s.indexrelid) > 1024 * 1024
                 -- The index of a foreign key is for the day when a parent is deleted, unless another one serves it.
                 AND NOT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = i.indrelid
                                    AND (i.indkey::int2[])[0:cardinality(conkey) - 1] = conkey
                                    AND NOT EXISTS (
                                        SELECT FROM pg_index AS o
                                         WHERE o.indrelid = i.indrelid AND o.indexrelid <> i.indexrelid
                                           AND o.indisvalid AND o.indpred IS NULL
                                           AND (o.indisunique OR o.indexrelid < i.indexrelid)
                                           AND (o.indkey::int2[])[0:cardinality(conkey) - 1] = conkey))
               ORDER BY 1",
    },
    Check {
        name: "index-lost-to-rls",
        why: "its operators are not leakproof: under row-level security bedplate_app reads the whole table instead of it",
        scope: Scope::Tenants,
        seen: seen::INDEXES,
        sql: "SELECT i.indexrelid::regclass::text AS object,
                     CASE am.amname
                     WHEN 'btree' THEN format('ALTER TABLE %s ADD COLUMN … text GENERATED ALWAYS AS (…) STORED; -- and index that, after tenant_id', name)
                     ELSE '-- search through a SECURITY DEFINER function of bedplate_definer, as search_agent_results() does' END AS fix, family AS about
                FROM tables
                JOIN pg_index AS i ON i.indrelid = tables.oid
                JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS am ON am.oid = c.relam
               WHERE tables.relrowsecurity AND NOT tables.relispartition
                 AND (
                     -- A column whose operators all leak, the first beside the tenant: what comes after one that is
                     -- used gives the order. An exclusion or unique key works beside the policies.
                     NOT indisunique AND EXISTS (
                         SELECT FROM (SELECT opclass FROM unnest(i.indclass::oid[], i.indkey::int2[]) WITH ORDINALITY AS k (opclass, attnum, n)
                                       WHERE attnum IS NULL OR attnum <> coalesce((
                                             SELECT a.attnum FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attname = 'tenant_id'), 0)
                                       ORDER BY n LIMIT 1) AS first JOIN pg_opclass AS o ON o.oid = opclass
                          WHERE NOT EXISTS (SELECT FROM pg_amop JOIN pg_operator AS op ON op.oid = amopopr JOIN pg_proc AS p ON p.oid = op.oprcode
                                             WHERE amopfamily = o.opcfamily AND amoplefttype = o.opcintype AND p.proleakproof))
                     -- Or an expression with a function or an operator that leaks in all its forms.
                     OR EXISTS (
                         SELECT FROM regexp_matches(pg_get_expr(indexprs, indrelid), '([a-z_][a-z0-9_]*)\\(', 'g') AS m (call)
                          WHERE EXISTS (SELECT FROM pg_proc WHERE proname = call[1])
                            AND NOT EXISTS (SELECT FROM pg_proc WHERE proname = call[1] AND proleakproof))
                     OR EXISTS (
                         SELECT FROM regexp_matches(pg_get_expr(indexprs, indrelid), '\\s([-+*/<>=~!@#%^&|`?]+)\\s', 'g') AS m (operator)
                           JOIN pg_operator ON oprname = operator[1] JOIN pg_proc AS p ON p.oid = oprcode
                          GROUP BY operator HAVING NOT bool_or(proleakproof)))
                 -- A function that steps over the policies uses it.
                 AND NOT EXISTS (SELECT FROM functions WHERE prosecdef AND prorettype <> 'trigger'::regtype
                                    AND prosrc ~ ('public\\.' || tables.relname || '\\M'))
               ORDER BY 1",
    },
];
