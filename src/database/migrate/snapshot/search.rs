//! Text search.

use super::table::{Lines, OBJECT, OBJECT_ID, Table, not, shown, within};

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "pg_ts_config",
        lines: Some(Lines {
            kind: "text search configuration",
            object: "t.oid::regconfig",
            from: "pg_ts_config AS t",
            condition: "t.cfgnamespace IN (@schemas)",
            built_in: Some("t.oid"),
            member: ("'pg_ts_config'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("cfgname", OBJECT),
            within("cfgnamespace", OBJECT),
            shown("cfgowner", "t.cfgowner::regrole"),
            shown("cfgparser", "(pg_identify_object('pg_ts_parser'::regclass, t.cfgparser, 0)).identity"),
        ],
    },
    Table {
        name: "pg_ts_config_map",
        lines: Some(Lines {
            kind: "text search mapping",
            object: "t.mapcfg::regconfig, (SELECT alias FROM ts_token_type(c.cfgparser) WHERE tokid = t.maptokentype)",
            from: "pg_ts_config_map AS t JOIN pg_ts_config AS c ON c.oid = t.mapcfg",
            condition: "true",
            built_in: Some("t.mapcfg"),
            member: ("'pg_ts_config'::regclass", "t.mapcfg"),
        }),
        columns: &[
            within("mapcfg", OBJECT),
            within("maptokentype", OBJECT),
            // The numbers have gaps, and the order alone has a meaning.
            shown(
                "mapseqno",
                "(SELECT count(*) FROM pg_ts_config_map AS o WHERE (o.mapcfg, o.maptokentype) = (t.mapcfg, t.maptokentype) \
                    AND o.mapseqno <= t.mapseqno)",
            ),
            shown("mapdict", "t.mapdict::regdictionary"),
        ],
    },
    Table {
        name: "pg_ts_dict",
        lines: Some(Lines {
            kind: "text search dictionary",
            object: "t.oid::regdictionary",
            from: "pg_ts_dict AS t",
            condition: "t.dictnamespace IN (@schemas)",
            built_in: Some("t.oid"),
            member: ("'pg_ts_dict'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("dictname", OBJECT),
            within("dictnamespace", OBJECT),
            shown("dictowner", "t.dictowner::regrole"),
            shown("dicttemplate", "(pg_identify_object('pg_ts_template'::regclass, t.dicttemplate, 0)).identity"),
            shown("dictinitoption", "t.dictinitoption"),
        ],
    },
    Table {
        name: "pg_ts_parser",
        lines: Some(Lines {
            kind: "text search parser",
            object: "(pg_identify_object('pg_ts_parser'::regclass, t.oid, 0)).identity",
            from: "pg_ts_parser AS t",
            condition: "t.prsnamespace IN (@schemas)",
            built_in: Some("t.oid"),
            member: ("'pg_ts_parser'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("prsname", OBJECT),
            within("prsnamespace", OBJECT),
            shown("prsstart", "t.prsstart"),
            shown("prstoken", "t.prstoken"),
            shown("prsend", "t.prsend"),
            shown("prsheadline", "nullif(t.prsheadline::text, '-')"),
            shown("prslextype", "t.prslextype"),
        ],
    },
    Table {
        name: "pg_ts_template",
        lines: Some(Lines {
            kind: "text search template",
            object: "(pg_identify_object('pg_ts_template'::regclass, t.oid, 0)).identity",
            from: "pg_ts_template AS t",
            condition: "t.tmplnamespace IN (@schemas)",
            built_in: Some("t.oid"),
            member: ("'pg_ts_template'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("tmplname", OBJECT),
            within("tmplnamespace", OBJECT),
            shown("tmplinit", "nullif(t.tmplinit::text, '-')"),
            shown("tmpllexize", "t.tmpllexize"),
        ],
    },
];
