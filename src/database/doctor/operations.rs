//! What has to be seen to before it is too late.

use super::{Check, Scope, seen};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "sequence-near-end",
        why: "over 80 % of its numbers are used; after the last one every insert fails",
        scope: Scope::Every,
        seen: seen::SEQUENCES,
        sql: "SELECT s.seqrelid::regclass::text AS object,
                     CASE WHEN format_type(atttypid, NULL) IN ('integer', 'smallint')
                          THEN format('ALTER TABLE %s ALTER %I TYPE bigint; ALTER SEQUENCE %s AS bigint NO MAXVALUE;', d.refobjid::regclass, attname, s.seqrelid::regclass)
                          ELSE format('ALTER SEQUENCE %s AS bigint NO MAXVALUE;', s.seqrelid::regclass) END AS fix, NULL::text AS about
                FROM pg_sequence AS s
                JOIN pg_sequences AS v ON format('%I.%I', v.schemaname, v.sequencename)::regclass = s.seqrelid
                JOIN ours ON v.schemaname = namespace::regnamespace::text
                LEFT JOIN pg_depend AS d ON d.objid = s.seqrelid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
                LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
               WHERE s.seqincrement > 0 AND NOT s.seqcycle
                 AND v.last_value > 0.8 * least(s.seqmax, CASE format_type(atttypid, NULL)
                         WHEN 'smallint' THEN 32767 WHEN 'integer' THEN 2147483647 ELSE 9223372036854775807 END)
               ORDER BY 1",
    },
    Check {
        name: "partition-missing",
        why: "rows go into the default partition, and to make the month or the day then stops writers",
        scope: Scope::Design,
        seen: seen::PARTITIONED,
        sql: "SELECT object, fix, NULL::text AS about FROM (
                  SELECT 'audit_log of ' || to_char(month, 'YYYY-MM') AS object, format('SELECT create_audit_partition(%L);', month::date) AS fix
                    FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month', interval '1 month') AS month
                   WHERE to_regclass('audit_log') IS NOT NULL AND to_regclass('audit_log_' || to_char(month, 'YYYY_MM')) IS NULL
                  UNION ALL
                  SELECT 'price_ticks of ' || to_char(day, 'YYYY-MM-DD'), format('SELECT create_price_tick_partition(%L);', day::date)
                    FROM generate_series(date_trunc('day', now() AT TIME ZONE 'UTC'), date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day', interval '1 day') AS day
                   WHERE to_regclass('price_ticks') IS NOT NULL AND to_regclass('price_ticks_' || to_char(day, 'YYYY_MM_DD')) IS NULL) AS found
               ORDER BY 1",
    },
    Check {
        name: "partition-default-used",
        why: "months or days have no partition: retention does not reach their rows",
        scope: Scope::Design,
        seen: seen::PARTITIONED,
        // The owner may not read an audit log: the statistics of the file tell.
        sql: "SELECT name::text AS object, '-- bedplate maintain' AS fix, family AS about
                FROM tables WHERE relname IN ('audit_log_default', 'price_ticks_default') AND pg_relation_size(oid) > 0",
    },
];

/// Asked by the application's login, because they are about its sessions.
pub(super) const OF_THE_APPLICATION: &[Check] = &[
    Check {
        name: "time-zone",
        why: "sessions are kept in a timestamp without zone: clients of other languages would end them hours early or late",
        scope: Scope::Design,
        seen: "SELECT 1::bigint AS count",
        // What a session begins with: this one has set it, as diesel-async does.
        sql: "SELECT current_user::text AS object, format('ALTER ROLE %I SET TimeZone = ''UTC'';', current_user) AS fix, NULL::text AS about
               WHERE (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone') NOT IN ('UTC', 'Etc/UTC', 'GMT', 'Etc/GMT')",
    },
];
