//! Foreign data and replication.

use super::table::{Lines, OBJECT, OBJECT_ID, Table, not, rights, secret, shown, sorted, within};

const PROGRESS: &str = "Replication writes its progress there.";

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "pg_foreign_data_wrapper",
        lines: Some(Lines {
            kind: "foreign data wrapper",
            object: "quote_ident(t.fdwname)",
            from: "pg_foreign_data_wrapper AS t",
            condition: "true",
            built_in: None,
            member: ("'pg_foreign_data_wrapper'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("fdwname", OBJECT),
            shown("fdwowner", "t.fdwowner::regrole"),
            shown("fdwhandler", "nullif(t.fdwhandler, 0)::regprocedure"),
            shown("fdwvalidator", "nullif(t.fdwvalidator, 0)::regprocedure"),
            rights("fdwacl", "'F'::\"char\"", "t.fdwowner"),
            sorted("fdwoptions", "t.fdwoptions"),
        ],
    },
    Table {
        name: "pg_foreign_server",
        lines: Some(Lines {
            kind: "server",
            object: "quote_ident(t.srvname)",
            from: "pg_foreign_server AS t",
            condition: "true",
            built_in: None,
            member: ("'pg_foreign_server'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("srvname", OBJECT),
            shown("srvowner", "t.srvowner::regrole"),
            shown("srvfdw", "(SELECT quote_ident(fdwname) FROM pg_foreign_data_wrapper WHERE oid = t.srvfdw)"),
            shown("srvtype", "t.srvtype"),
            shown("srvversion", "t.srvversion"),
            rights("srvacl", "'S'::\"char\"", "t.srvowner"),
            sorted("srvoptions", "t.srvoptions"),
        ],
    },
    Table {
        name: "pg_user_mapping",
        lines: Some(Lines {
            kind: "user mapping",
            object: "t.usename, quote_ident(t.srvname)",
            // Who may read the options is decided by this view, and not by the table.
            from: "pg_user_mappings AS t",
            condition: "true",
            built_in: None,
            member: ("'pg_foreign_server'::regclass", "t.srvid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("umuser", OBJECT),
            within("umserver", OBJECT),
            // Passwords are among them.
            shown("umoptions", "md5((SELECT array_agg(o ORDER BY o) FROM unnest(t.umoptions) AS o)::text)"),
        ],
    },
    Table {
        name: "pg_publication",
        lines: Some(Lines {
            kind: "publication",
            object: "quote_ident(t.pubname)",
            from: "pg_publication AS t",
            condition: "true",
            built_in: None,
            member: ("'pg_publication'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("pubname", OBJECT),
            shown("pubowner", "t.pubowner::regrole"),
            shown("puballtables", "nullif(t.puballtables, false)"),
            shown("pubinsert", "nullif(t.pubinsert, true)"),
            shown("pubupdate", "nullif(t.pubupdate, true)"),
            shown("pubdelete", "nullif(t.pubdelete, true)"),
            shown("pubtruncate", "nullif(t.pubtruncate, true)"),
            shown("pubviaroot", "nullif(t.pubviaroot, false)"),
            shown("pubgencols", "nullif(t.pubgencols, 'n')").since(18),
        ],
    },
    Table {
        name: "pg_publication_rel",
        lines: Some(Lines {
            kind: "table of a publication",
            object: "quote_ident(p.pubname), t.prrelid::regclass",
            from: "pg_publication_rel AS t JOIN pg_publication AS p ON p.oid = t.prpubid",
            condition: "t.prrelid IN (@relations)",
            built_in: None,
            member: ("'pg_publication'::regclass", "t.prpubid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("prpubid", OBJECT),
            within("prrelid", OBJECT),
            shown("prqual", "pg_get_expr(t.prqual, t.prrelid)"),
            shown(
                "prattrs",
                "(SELECT array_agg(attname ORDER BY attname) FROM pg_attribute WHERE attrelid = t.prrelid AND attnum = ANY (t.prattrs))",
            ),
        ],
    },
    Table {
        name: "pg_publication_namespace",
        lines: Some(Lines {
            kind: "schema of a publication",
            object: "quote_ident(p.pubname), t.pnnspid::regnamespace",
            from: "pg_publication_namespace AS t JOIN pg_publication AS p ON p.oid = t.pnpubid",
            condition: "true",
            built_in: None,
            member: ("'pg_publication'::regclass", "t.pnpubid"),
        }),
        columns: &[not("oid", OBJECT_ID), within("pnpubid", OBJECT), within("pnnspid", OBJECT)],
    },
    Table {
        name: "pg_subscription",
        lines: Some(Lines {
            kind: "subscription",
            object: "quote_ident(t.subname)",
            from: "pg_subscription AS t",
            condition: "t.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
            built_in: None,
            member: ("'pg_subscription'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            not("subdbid", "Only subscriptions of this database are compared."),
            not("subskiplsn", PROGRESS),
            within("subname", OBJECT),
            shown("subowner", "t.subowner::regrole"),
            shown("subenabled", "t.subenabled"),
            shown("subbinary", "t.subbinary"),
            shown("substream", "t.substream"),
            shown("subtwophasestate", "t.subtwophasestate"),
            shown("subdisableonerr", "t.subdisableonerr"),
            shown("subpasswordrequired", "t.subpasswordrequired").since(16),
            shown("subrunasowner", "t.subrunasowner").since(16),
            shown("subfailover", "t.subfailover").since(17),
            // A password may be a part of it.
            secret("subconninfo", "t.subconninfo"),
            shown("subslotname", "t.subslotname"),
            shown("subsynccommit", "t.subsynccommit"),
            sorted("subpublications", "t.subpublications"),
            shown("suborigin", "t.suborigin").since(16),
        ],
    },
    Table {
        name: "pg_subscription_rel",
        lines: None,
        columns: &[
            not("srsubid", PROGRESS),
            not("srrelid", PROGRESS),
            not("srsubstate", PROGRESS),
            not("srsublsn", PROGRESS),
        ],
    },
];
