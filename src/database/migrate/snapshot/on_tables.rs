//! Constraints, triggers, rules, policies and statistics of tables.

use super::table::{Lines, OBJECT, OBJECT_ID, Table, bare, not, shown, within};

const CONSTRAINT: &str = "the constraint's definition";
const TRIGGER: &str = "the trigger's definition";
const RULE: &str = "the rule's definition";
const STATISTICS: &str = "the definition of the statistics";

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "pg_constraint",
        lines: Some(Lines {
            kind: "constraint",
            object: "nullif(t.conrelid, 0)::regclass, nullif(t.contypid, 0)::regtype, quote_ident(t.conname)",
            from: "pg_constraint AS t",
            condition: "(t.conrelid = 0 OR t.conrelid IN (@relations)) AND t.connamespace IN (@schemas)",
            built_in: Some("t.oid"),
            member: (
                "CASE t.conrelid WHEN 0 THEN 'pg_type' ELSE 'pg_class' END::regclass",
                "greatest(t.conrelid, t.contypid)",
            ),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("conname", OBJECT),
            within("connamespace", OBJECT),
            bare("contype", "pg_get_constraintdef(t.oid)"),
            within("condeferrable", CONSTRAINT),
            within("condeferred", CONSTRAINT),
            within("conenforced", CONSTRAINT).since(18),
            shown("convalidated", "nullif(t.convalidated, true)"),
            within("conrelid", OBJECT),
            within("contypid", OBJECT),
            shown("conindid", "nullif(t.conindid, 0)::regclass"),
            shown(
                "conparentid",
                "(SELECT concat_ws(' ', conrelid::regclass, quote_ident(conname)) FROM pg_constraint WHERE oid = t.conparentid)",
            ),
            within("confrelid", CONSTRAINT),
            within("confupdtype", CONSTRAINT),
            within("confdeltype", CONSTRAINT),
            within("confmatchtype", CONSTRAINT),
            shown("conislocal", "nullif(t.conislocal, true)"),
            shown("coninhcount", "nullif(t.coninhcount, 0)"),
            shown("connoinherit", "CASE WHEN t.contype IN ('c', 'n') THEN nullif(t.connoinherit, false) END"),
            within("conperiod", CONSTRAINT).since(18),
            within("conkey", CONSTRAINT),
            within("confkey", CONSTRAINT),
            not("conpfeqop", "The index and the columns decide it."),
            not("conppeqop", "The index and the columns decide it."),
            not("conffeqop", "The index and the columns decide it."),
            within("confdelsetcols", CONSTRAINT),
            within("conexclop", CONSTRAINT),
            within("conbin", CONSTRAINT),
        ],
    },
    Table {
        name: "pg_trigger",
        lines: Some(Lines {
            kind: "trigger",
            // The names of a constraint's own triggers hold object ids.
            object: "CASE WHEN t.tgisinternal THEN concat_ws(' ', 'of constraint', t.tgrelid::regclass, \
                (SELECT quote_ident(conname) FROM pg_constraint WHERE oid = t.tgconstraint), t.tgfoid::regproc, t.tgtype) \
                ELSE pg_get_triggerdef(t.oid) END",
            from: "pg_trigger AS t",
            condition: "t.tgrelid IN (@relations) AND (NOT t.tgisinternal OR t.tgenabled <> 'O')",
            built_in: Some("t.oid"),
            member: ("'pg_class'::regclass", "t.tgrelid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("tgrelid", TRIGGER),
            shown("tgparentid", "(SELECT tgrelid::regclass FROM pg_trigger WHERE oid = t.tgparentid)"),
            within("tgname", TRIGGER),
            within("tgfoid", TRIGGER),
            within("tgtype", TRIGGER),
            shown("tgenabled", "nullif(t.tgenabled, 'O')"),
            not(
                "tgisinternal",
                "The triggers of a constraint come with it; they are compared where they are disabled.",
            ),
            within("tgconstrrelid", TRIGGER),
            within("tgconstrindid", "the constraint"),
            within("tgconstraint", "the constraint"),
            within("tgdeferrable", TRIGGER),
            within("tginitdeferred", TRIGGER),
            within("tgnargs", TRIGGER),
            within("tgattr", TRIGGER),
            within("tgargs", TRIGGER),
            within("tgqual", TRIGGER),
            within("tgoldtable", TRIGGER),
            within("tgnewtable", TRIGGER),
        ],
    },
    Table {
        name: "pg_rewrite",
        lines: Some(Lines {
            kind: "rule",
            object: "pg_get_ruledef(t.oid)",
            from: "pg_rewrite AS t",
            condition: "t.ev_class IN (@relations)",
            built_in: Some("t.oid"),
            member: ("'pg_class'::regclass", "t.ev_class"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("rulename", RULE),
            within("ev_class", RULE),
            within("ev_type", RULE),
            shown("ev_enabled", "nullif(t.ev_enabled, 'O')"),
            within("is_instead", RULE),
            within("ev_qual", RULE),
            within("ev_action", RULE),
        ],
    },
    Table {
        name: "pg_policy",
        lines: Some(Lines {
            kind: "policy",
            object: "t.polrelid::regclass, quote_ident(t.polname)",
            from: "pg_policy AS t",
            condition: "t.polrelid IN (@relations)",
            built_in: None,
            member: ("'pg_class'::regclass", "t.polrelid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("polname", OBJECT),
            within("polrelid", OBJECT),
            shown("polcmd", "t.polcmd"),
            shown("polpermissive", "nullif(t.polpermissive, true)"),
            // Role 0 is PUBLIC.
            shown("polroles", "(SELECT array_agg(r::regrole::text ORDER BY 1) FROM unnest(t.polroles) AS r)"),
            shown("polqual", "pg_get_expr(t.polqual, t.polrelid)"),
            shown("polwithcheck", "pg_get_expr(t.polwithcheck, t.polrelid)"),
        ],
    },
    Table {
        name: "pg_statistic_ext",
        lines: Some(Lines {
            kind: "statistics",
            object: "pg_get_statisticsobjdef(t.oid)",
            from: "pg_statistic_ext AS t",
            condition: "t.stxrelid IN (@relations)",
            built_in: None,
            member: ("'pg_class'::regclass", "t.stxrelid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("stxrelid", STATISTICS),
            within("stxname", STATISTICS),
            within("stxnamespace", STATISTICS),
            shown("stxowner", "t.stxowner::regrole"),
            shown("stxstattarget", "nullif(t.stxstattarget, -1)"),
            within("stxkeys", STATISTICS),
            within("stxkind", STATISTICS),
            within("stxexprs", STATISTICS),
        ],
    },
];
