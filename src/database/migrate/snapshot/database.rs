//! The database itself, schemas, extensions, comments, default privileges and large objects.

use super::table::{Lines, OBJECT, OBJECT_ID, Table, bare, not, rights, shown, sorted, within};

const AT_CREATION: &str = "CREATE DATABASE decides it; a migration runs inside of the database.";

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "pg_namespace",
        lines: Some(Lines {
            kind: "schema",
            object: "quote_ident(t.nspname)",
            from: "pg_namespace AS t",
            condition: "t.oid IN (@schemas)",
            built_in: None,
            member: ("'pg_namespace'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("nspname", OBJECT),
            shown("nspowner", "t.nspowner::regrole"),
            rights("nspacl", "'n'::\"char\"", "t.nspowner"),
        ],
    },
    Table {
        name: "pg_extension",
        lines: Some(Lines {
            kind: "extension",
            object: "quote_ident(t.extname)",
            from: "pg_extension AS t",
            condition: "true",
            built_in: None,
            member: ("'pg_extension'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("extname", OBJECT),
            shown("extowner", "t.extowner::regrole"),
            shown("extnamespace", "t.extnamespace::regnamespace"),
            shown("extrelocatable", "nullif(t.extrelocatable, false)"),
            bare("extversion", "t.extversion"),
            shown(
                "extconfig",
                "(SELECT array_agg(concat_ws(' ', c::regclass, nullif(w, '')) ORDER BY c::regclass::text) \
                    FROM unnest(t.extconfig, t.extcondition) AS u (c, w))",
            ),
            within("extcondition", "extconfig"),
        ],
    },
    Table {
        name: "pg_depend",
        lines: Some(Lines {
            kind: "dependency",
            object: "i.type, i.identity, 'on', o.type, o.identity",
            from: "pg_depend AS t CROSS JOIN LATERAL pg_identify_object(t.classid, t.objid, t.objsubid) AS i \
                CROSS JOIN LATERAL pg_identify_object(t.refclassid, t.refobjid, t.refobjsubid) AS o",
            // DEPENDS ON EXTENSION, and OWNED BY of a sequence. Definitions show the others.
            condition: "t.deptype = 'x' OR (t.deptype IN ('a', 'i') AND t.refclassid = 'pg_class'::regclass AND t.refobjsubid > 0 \
                AND t.classid = 'pg_class'::regclass AND t.objid IN (SELECT seqrelid FROM pg_sequence) AND t.objid IN (@relations))",
            built_in: None,
            member: ("t.classid", "t.objid"),
        }),
        columns: &[
            within("classid", OBJECT),
            within("objid", OBJECT),
            within("objsubid", OBJECT),
            within("refclassid", OBJECT),
            within("refobjid", OBJECT),
            within("refobjsubid", OBJECT),
            shown("deptype", "t.deptype"),
        ],
    },
    Table {
        name: "pg_description",
        lines: Some(Lines {
            kind: "comment on",
            object: "i.type, i.identity",
            from: "pg_description AS t CROSS JOIN LATERAL pg_identify_object(t.classoid, t.objoid, t.objsubid) AS i",
            condition: "(t.classoid <> 'pg_class'::regclass OR t.objoid IN (@relations)) AND t.classoid <> 'pg_largeobject'::regclass",
            built_in: Some(
                "CASE WHEN t.classoid NOT IN ('pg_namespace'::regclass, 'pg_extension'::regclass) THEN t.objoid END",
            ),
            member: ("t.classoid", "t.objoid"),
        }),
        columns: &[
            within("objoid", OBJECT),
            within("classoid", OBJECT),
            within("objsubid", OBJECT),
            bare("description", "t.description"),
        ],
    },
    Table {
        name: "pg_seclabel",
        lines: Some(Lines {
            kind: "security label",
            object: "t.provider, i.type, CASE WHEN t.classoid <> 'pg_largeobject'::regclass THEN i.identity END",
            from: "pg_seclabel AS t CROSS JOIN LATERAL pg_identify_object(t.classoid, t.objoid, t.objsubid) AS i",
            condition: "true",
            built_in: None,
            member: ("t.classoid", "t.objoid"),
        }),
        columns: &[
            within("objoid", OBJECT),
            within("classoid", OBJECT),
            within("objsubid", OBJECT),
            within("provider", OBJECT),
            bare("label", "t.label"),
        ],
    },
    Table {
        name: "pg_default_acl",
        lines: Some(Lines {
            kind: "default privileges",
            object: "t.defaclrole::regrole, nullif(t.defaclnamespace, 0)::regnamespace, t.defaclobjtype",
            from: "pg_default_acl AS t",
            condition: "true",
            built_in: None,
            member: ("'pg_default_acl'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            within("defaclrole", OBJECT),
            within("defaclnamespace", OBJECT),
            within("defaclobjtype", OBJECT),
            sorted("defaclacl", "t.defaclacl::text[]"),
        ],
    },
    Table {
        name: "pg_largeobject_metadata",
        lines: Some(Lines {
            kind: "large object",
            // Its name is its object id.
            object: "t.lomowner::regrole, \
                (SELECT description FROM pg_description WHERE (classoid, objoid) = ('pg_largeobject'::regclass, t.oid))",
            from: "pg_largeobject_metadata AS t",
            condition: "true",
            built_in: None,
            member: ("'pg_largeobject'::regclass", "t.oid"),
        }),
        columns: &[not("oid", OBJECT_ID), within("lomowner", OBJECT), rights("lomacl", "'L'::\"char\"", "t.lomowner")],
    },
    Table {
        name: "pg_database",
        lines: Some(Lines {
            kind: "database",
            object: "t.datdba::regrole",
            from: "pg_database AS t",
            condition: "t.datname = current_database()",
            built_in: None,
            member: ("'pg_database'::regclass", "t.oid"),
        }),
        columns: &[
            not("oid", OBJECT_ID),
            not("datname", "Each scratch database has a name of its own."),
            within("datdba", OBJECT),
            not("encoding", AT_CREATION),
            not("datlocprovider", AT_CREATION),
            shown("datistemplate", "nullif(t.datistemplate, false)"),
            shown("datallowconn", "nullif(t.datallowconn, true)"),
            not("dathasloginevt", "A hint; the event trigger is compared.").since(17),
            shown("datconnlimit", "nullif(t.datconnlimit, -1)"),
            not("datfrozenxid", "VACUUM writes it."),
            not("datminmxid", "VACUUM writes it."),
            shown(
                "dattablespace",
                "(SELECT nullif(spcname, 'pg_default') FROM pg_tablespace WHERE oid = t.dattablespace)",
            ),
            not("datcollate", AT_CREATION),
            not("datctype", AT_CREATION),
            not("daticulocale", AT_CREATION).until(16),
            not("datlocale", AT_CREATION).since(17),
            not("daticurules", AT_CREATION).since(16),
            shown("datcollversion", "t.datcollversion"),
            rights("datacl", "'d'::\"char\"", "t.datdba"),
        ],
    },
    Table {
        name: "pg_db_role_setting",
        lines: Some(Lines {
            kind: "setting of the database",
            object: "nullif(t.setrole, 0)::regrole",
            from: "pg_db_role_setting AS t",
            condition: "t.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
            built_in: None,
            member: ("'pg_database'::regclass", "t.setdatabase"),
        }),
        columns: &[
            not("setdatabase", "Only settings of this database are compared."),
            within("setrole", OBJECT),
            sorted("setconfig", "t.setconfig"),
        ],
    },
    Table {
        name: "pg_shdescription",
        lines: Some(Lines {
            kind: "comment on the database",
            object: "NULL::text",
            from: "pg_shdescription AS t",
            condition: "t.classoid = 'pg_database'::regclass AND t.objoid = (SELECT oid FROM pg_database WHERE datname = current_database())",
            built_in: None,
            member: ("t.classoid", "t.objoid"),
        }),
        columns: &[within("objoid", OBJECT), within("classoid", OBJECT), bare("description", "t.description")],
    },
    Table {
        name: "pg_shseclabel",
        lines: Some(Lines {
            kind: "security label of the database",
            object: "t.provider",
            from: "pg_shseclabel AS t",
            condition: "t.classoid = 'pg_database'::regclass AND t.objoid = (SELECT oid FROM pg_database WHERE datname = current_database())",
            built_in: None,
            member: ("t.classoid", "t.objoid"),
        }),
        columns: &[
            within("objoid", OBJECT),
            within("classoid", OBJECT),
            within("provider", OBJECT),
            bare("label", "t.label"),
        ],
    },
];
