//! Operators, their classes and families, and access methods.

use super::table::{Lines, OBJECT, OBJECT_ID, Table, not, shown, within};

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "pg_operator",
        lines: Some(Lines {
            kind: "operator",
            object: "t.oid::regoperator",
            from: "pg_operator AS t",
            condition: "t.oprnamespace IN (@schemas)",
            built_in: Some("t.oid"),
            member: ("'pg_operator'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("oprname", OBJECT),
            within("oprnamespace", OBJECT),
            shown("oprowner", "t.oprowner::regrole"),
            within("oprkind", OBJECT),
            shown("oprcanmerge", "nullif(t.oprcanmerge, false)"),
            shown("oprcanhash", "nullif(t.oprcanhash, false)"),
            within("oprleft", OBJECT),
            within("oprright", OBJECT),
            shown("oprresult", "nullif(t.oprresult, 0)::regtype"),
            shown("oprcom", "nullif(t.oprcom, 0)::regoperator"),
            shown("oprnegate", "nullif(t.oprnegate, 0)::regoperator"),
            shown("oprcode", "nullif(t.oprcode::text, '-')"),
            shown("oprrest", "nullif(t.oprrest::text, '-')"),
            shown("oprjoin", "nullif(t.oprjoin::text, '-')"),
        ],
    },
    Table {
        name: "pg_opfamily",
        lines: Some(Lines {
            kind: "operator family",
            object: "(pg_identify_object('pg_opfamily'::regclass, t.oid, 0)).identity",
            from: "pg_opfamily AS t",
            condition: "t.opfnamespace IN (@schemas)",
            built_in: Some("t.oid"),
            member: ("'pg_opfamily'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("opfmethod", OBJECT),
            within("opfname", OBJECT),
            within("opfnamespace", OBJECT),
            shown("opfowner", "t.opfowner::regrole"),
        ],
    },
    Table {
        name: "pg_opclass",
        lines: Some(Lines {
            kind: "operator class",
            object: "(pg_identify_object('pg_opclass'::regclass, t.oid, 0)).identity",
            from: "pg_opclass AS t",
            condition: "t.opcnamespace IN (@schemas)",
            built_in: Some("t.oid"),
            member: ("'pg_opclass'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("opcmethod", OBJECT),
            within("opcname", OBJECT),
            within("opcnamespace", OBJECT),
            shown("opcowner", "t.opcowner::regrole"),
            shown("opcfamily", "(pg_identify_object('pg_opfamily'::regclass, t.opcfamily, 0)).identity"),
            shown("opcintype", "t.opcintype::regtype"),
            shown("opcdefault", "nullif(t.opcdefault, false)"),
            shown("opckeytype", "nullif(t.opckeytype, 0)::regtype"),
        ],
    },
    Table {
        name: "pg_amop",
        lines: Some(Lines {
            kind: "operator of a family",
            object: "(pg_identify_object('pg_opfamily'::regclass, t.amopfamily, 0)).identity, t.amopstrategy, \
                t.amoplefttype::regtype, t.amoprighttype::regtype",
            from: "pg_amop AS t",
            condition: "true",
            built_in: Some("t.oid"),
            member: ("'pg_opfamily'::regclass", "t.amopfamily"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("amopfamily", OBJECT),
            within("amoplefttype", OBJECT),
            within("amoprighttype", OBJECT),
            within("amopstrategy", OBJECT),
            shown("amoppurpose", "nullif(t.amoppurpose, 's')"),
            shown("amopopr", "t.amopopr::regoperator"),
            within("amopmethod", OBJECT),
            shown("amopsortfamily", "(pg_identify_object('pg_opfamily'::regclass, t.amopsortfamily, 0)).identity"),
        ],
    },
    Table {
        name: "pg_amproc",
        lines: Some(Lines {
            kind: "function of a family",
            object: "(pg_identify_object('pg_opfamily'::regclass, t.amprocfamily, 0)).identity, t.amprocnum, \
                t.amproclefttype::regtype, t.amprocrighttype::regtype",
            from: "pg_amproc AS t",
            condition: "true",
            built_in: Some("t.oid"),
            member: ("'pg_opfamily'::regclass", "t.amprocfamily"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("amprocfamily", OBJECT),
            within("amproclefttype", OBJECT),
            within("amprocrighttype", OBJECT),
            within("amprocnum", OBJECT),
            shown("amproc", "t.amproc::regprocedure"),
        ],
    },
    Table {
        name: "pg_am",
        lines: Some(Lines {
            kind: "access method",
            object: "quote_ident(t.amname)",
            from: "pg_am AS t",
            condition: "true",
            built_in: Some("t.oid"),
            member: ("'pg_am'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("amname", OBJECT),
            shown("amhandler", "t.amhandler"),
            shown("amtype", "t.amtype"),
        ],
    },
];
