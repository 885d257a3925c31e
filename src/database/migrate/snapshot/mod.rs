//! The catalogue as lines that can be compared: what migrations make, without object ids, without the order of
//! columns (one that is added again moves to the end), and without the engine's own tables.
//!
//! The list of the catalogue's columns is also what the queries are made of, so that the list tells what is compared.
//!
//! | objects | lines |
//! |---|---|
//! | made by migrations | one for each row of the catalogue |
//! | of an extension | one checksum for each extension and table of the catalogue: the extension's version decides them |
//! | of the server | one checksum for each table of the catalogue, and one line for each that has other rights than at first |

mod database;
mod foreign;
mod on_tables;
mod operators;
mod relations;
mod routines;
mod search;
mod server;
mod table;
mod types;

use std::cmp::Ordering;

use serde::Serialize;

use self::table::{Column, How, Lines, Table};
use super::session::Session;
use crate::error::Result;

const AREAS: [&[Table]; 9] = [
    relations::TABLES,
    on_tables::TABLES,
    types::TABLES,
    routines::TABLES,
    operators::TABLES,
    search::TABLES,
    foreign::TABLES,
    database::TABLES,
    server::TABLES,
];

/// Schemas that outlive a session and hold no TOAST tables.
const SCHEMAS: &str = "SELECT s.oid FROM pg_namespace AS s WHERE s.nspname !~ '^pg_(toast|temp_|toast_temp_)'";
/// Their relations, without the tables of the engine and of Diesel.
const RELATIONS: &str = "SELECT r.oid FROM pg_class AS r LEFT JOIN pg_index AS x ON x.indexrelid = r.oid \
    JOIN pg_class AS o ON o.oid = coalesce(x.indrelid, r.oid) WHERE r.relnamespace IN (@schemas) \
    AND o.relname NOT LIKE '\\_\\_bedplate\\_%' AND o.relname NOT LIKE '\\_\\_diesel\\_schema\\_migrations%'";

/// What extensions own.
const MEMBERS: &str =
    "SELECT q.classid, q.objid FROM pg_depend AS q WHERE q.refclassid = 'pg_extension'::regclass AND q.deptype = 'e'";

/// What decides how the server writes names and values, whatever the database sets. Compilation of a query costs more
/// than it saves here.
const SETTINGS: &str = "SET search_path = public; SET datestyle = ISO; SET intervalstyle = postgres; SET timezone = 'UTC'; \
    SET bytea_output = hex; SET extra_float_digits = 1; SET quote_all_identifiers = off; SET lc_monetary = 'C'; SET jit = off";

/// The first object id that is not the server's own.
const FIRST_OF_USERS: &str = "16384";

/// What the queries depend on.
struct Reader {
    /// The major version of the server.
    version: u32,
    /// Whether the login may read connection strings.
    secrets: bool,
}

/// Every object, a line each, sorted.
pub(super) async fn snapshot(session: &Session) -> Result<Vec<String>> {
    session.run(SETTINGS).await?;
    let facts = session
        .rows(
            "SELECT current_setting('server_version_num')::int / 10000, \
                has_column_privilege('pg_subscription', 'subconninfo', 'SELECT')",
        )
        .await?;
    let fact = |column: usize| facts.first().and_then(|row| row.get(column)).unwrap_or_default();
    let reader = Reader { version: fact(0).parse().unwrap_or_default(), secrets: fact(1) == "t" };
    let queries: Vec<_> =
        tables().filter_map(|table| table.lines.as_ref().map(|lines| reader.query(table, lines))).collect();
    let mut lines = session.texts(&queries.join(";\n")).await?;
    lines.sort();
    Ok(lines)
}

fn tables() -> impl Iterator<Item = &'static Table> {
    AREAS.into_iter().flatten()
}

impl Reader {
    fn columns<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t Column> {
        table.columns.iter().filter(|column| column.is_in(self.version))
    }

    fn query(&self, table: &Table, lines: &Lines) -> String {
        let Lines { kind, object, from, condition, built_in, member: (class, id) } = lines;
        let shown = self.columns(table).filter_map(|column| self.show(column));
        let parts = [format!("'{kind}', {object}")].into_iter().chain(shown).collect::<Vec<_>>().join(", ");
        let mine = built_in.map_or_else(
            || "true".to_owned(),
            |own| format!("coalesce({own}, {FIRST_OF_USERS}) >= {FIRST_OF_USERS} OR ({class}, {id}) IN (@members)"),
        );
        let of_users = format!(
            "WITH lines AS (SELECT concat_ws(' ', {parts}) AS line, e.extname FROM {from} \
                LEFT JOIN (pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass) \
                    ON (d.classid, d.objid, d.deptype) = ({class}, {id}, 'e') \
                WHERE ({condition}) AND ({mine})) \
             SELECT line FROM lines WHERE extname IS NULL \
             UNION ALL SELECT format('extension %I: {kind}, %s with the checksum %s', extname, count(*), \
                md5(string_agg(line, '' ORDER BY line))) FROM lines WHERE extname IS NOT NULL GROUP BY extname"
        );
        let of_server = built_in.map(|own| self.built_in(table, lines, own));
        let queries = [vec![of_users], of_server.unwrap_or_default()].concat();
        queries
            .join(" UNION ALL ")
            .replace("@members", MEMBERS)
            .replace("@relations", RELATIONS)
            .replace("@schemas", SCHEMAS)
    }

    /// Objects of the server: all but rights by one checksum, rights by what differs from the first ones.
    fn built_in(&self, table: &Table, lines: &Lines, own: &str) -> Vec<String> {
        let Lines { kind, object, from, member: (class, id), .. } = lines;
        let built_in = format!("{own} < {FIRST_OF_USERS} AND ({class}, {id}) NOT IN (@members)");
        let raw = self.columns(table).filter_map(|column| match column.how {
            How::Rights(..) | How::Not(_) | How::Secret(_) => None,
            _ => Some(format!("t.{}", column.name)),
        });
        let raw = raw.collect::<Vec<_>>().join(", ");
        let checksum = format!(
            "SELECT format('built in: {kind}, %s with the checksum %s', count(*), sum(hashtextextended(ROW({raw})::text, 0))) \
             FROM {} AS t WHERE {built_in}",
            table.name
        );
        let rights = self.columns(table).filter_map(|column| match column.how {
            How::Rights(of, owner) => {
                let name = column.name;
                let part = if table.name == "pg_attribute" { "t.attnum" } else { "0" };
                let usual = format!("acldefault({of}, {owner})");
                let now = in_order(&format!("coalesce(t.{name}, {usual})"));
                let at_first = in_order(&format!("coalesce(i.initprivs, {usual})"));
                Some(format!(
                    "SELECT concat_ws(' ', 'built in: {kind}', {object}, '{name}=' || {now}::text) FROM {from} \
                     LEFT JOIN pg_init_privs AS i ON (i.classoid, i.objoid, i.objsubid) = ({class}, {id}, {part}) \
                     WHERE {built_in} AND (t.{name} IS NOT NULL OR i.initprivs IS NOT NULL) \
                     AND {now} IS DISTINCT FROM {at_first}"
                ))
            }
            _ => None,
        });
        [checksum].into_iter().chain(rights).collect()
    }

    /// The column's part of a line.
    fn show(&self, column: &Column) -> Option<String> {
        let name = column.name;
        let value = match column.how {
            How::Bare(sql) => return Some(format!("({sql})::text")),
            How::Shown(sql) => sql.to_owned(),
            How::Sorted(array) => format!("nullif({}, '{{}}')", in_order(array)),
            How::Rights(of, owner) => {
                let usual = format!("acldefault({of}, {owner})");
                format!("nullif({}, {})", in_order(&format!("coalesce(t.{name}, {usual})")), in_order(&usual))
            }
            How::Secret(sql) if self.secrets => format!("md5({sql})"),
            How::Secret(_) | How::Within(_) | How::Not(_) => return None,
        };
        Some(format!("'{name}=' || ({value})::text"))
    }
}

/// The elements of an array in alphabetical order: one that is taken and given again moves to the end. Empty for NULL.
fn in_order(array: &str) -> String {
    format!("array(SELECT o::text FROM unnest({array}) AS o ORDER BY 1)")
}

/// What one has and the other has not, as lines that begin with `-` and `+`. Both are sorted; a line that is there
/// twice counts twice.
pub(super) fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return [gone, new].concat(),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.cmp(other),
        };
        if order.is_le() {
            gone.extend(before.next().filter(|_| order.is_lt()).map(|line| format!("- {line}")));
        }
        if order.is_ge() {
            new.extend(after.next().filter(|_| order.is_gt()).map(|line| format!("+ {line}")));
        }
    }
}

/// A column of the server's catalogue, and whether [`verify`](super::verify()) compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CatalogueColumn {
    /// The table in `pg_catalog`.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// Whether it is compared.
    pub comparison: Comparison,
}

/// Whether a column of the catalogue is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// It is compared by itself.
    Compared,
    /// It is a part of something that is compared.
    Within(&'static str),
    /// It is not compared, for this reason.
    NotCompared(&'static str),
}

/// Lists every column of `pg_catalog` in a major version of PostgreSQL, 15 to 18.
pub fn catalogue(version: u32) -> impl Iterator<Item = CatalogueColumn> {
    tables().flat_map(move |table| {
        table.columns.iter().filter(move |column| column.is_in(version)).map(|column| CatalogueColumn {
            table: table.name,
            column: column.name,
            comparison: match column.how {
                How::Not(reason) => Comparison::NotCompared(reason),
                How::Within(what) => Comparison::Within(what),
                _ => Comparison::Compared,
            },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_tell_both_sides() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(differences(&lines("a b c"), &lines("a c d")), ["- b", "+ d"]);
    }

    #[test]
    fn a_line_that_is_there_twice_counts_twice() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(differences(&lines("a b"), &lines("a a b b b")), ["+ a", "+ b", "+ b"]);
        assert_eq!(differences(&lines("a a b"), &lines("a b")), ["- a"]);
    }
}
