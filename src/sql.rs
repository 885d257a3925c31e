//! What diesel needs for this project's SQL: statements that are prepared once, states as text, and
//! the one function that quotes.

use diesel::Selectable;
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AstPass, Query, QueryBuilder as _, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Bool;

/// `query`, prepared once a connection instead of parsed on every call.
///
/// Diesel takes every UPDATE, every INSERT with optional columns and every `sql_query` for one that
/// could have any number of texts, and parses it anew each time: one more round trip. Use this where
/// the texts are few, that is, where data comes through binds only. Each text stays prepared for as
/// long as the connection lives. The test `prepared::each_text_is_parsed_once` counts.
pub(crate) fn cached<Q>(query: Q) -> Cached<Q> {
    Cached(query)
}

/// See [`cached`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cached<Q>(Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Cached<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q> QueryId for Cached<Q> {
    type QueryId = ();
    // No id: the cache's key is the text, so that two texts of one type are two statements.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Cached<Q> {
    type SqlType = Q::SqlType;
}

/// The columns of a model by their names, for the text of a statement: `e.id, e.tenant_id` where `of` is `e`, and
/// without a prefix where it is empty.
///
/// `*` would be other columns when a migration adds one, and the server refuses a prepared statement that returns
/// others than before. `schema_changes::no_statement_asks_for_all_columns` looks for it.
pub(crate) fn columns<M>(of: &str) -> String
where
    M: Selectable<Pg>,
    M::SelectExpression: QueryFragment<Pg>,
{
    let mut builder = PgQueryBuilder::default();
    // Of columns alone: writing them cannot fail.
    let _ = M::construct_selection().to_sql(&mut builder, &Pg);
    let list = builder.finish();
    let prefix = if of.is_empty() { String::new() } else { format!("{of}.") };
    let names = list.split(", ").map(|column| column.rsplit('.').next().unwrap_or(column));
    names.map(|name| format!("{prefix}{name}")).collect::<Vec<_>>().join(", ")
}

/// `text` as an SQL literal, right whatever `standard_conforming_strings` says. For the settings that
/// ride along with BEGIN, which take no binds; everything else uses binds.
///
/// A NUL, which no text of PostgreSQL can hold, is left out. The test `quoting` sends random texts
/// through a server and back.
#[doc(hidden)]
#[must_use]
pub fn quote_literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(&text.replace('\0', ""))
}

/// Whether `INSERT … ON CONFLICT DO UPDATE` made the row, for its RETURNING; false: it updated one.
///
/// A new row has no `xmax`; one that was updated has that of the update's lock
/// (<https://www.postgresql.org/docs/15/ddl-system-columns.html>). Right also for a row that another
/// transaction inserted a moment ago.
pub fn inserted() -> SqlLiteral<Bool> {
    sql("(xmax = 0)")
}

/// What an upsert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upserted<T> {
    /// There was no such row.
    Inserted(T),
    /// There was one, and it was changed.
    Updated(T),
}

impl<T> Upserted<T> {
    /// From a row and [`inserted`].
    pub fn new((row, inserted): (T, bool)) -> Self {
        if inserted { Self::Inserted(row) } else { Self::Updated(row) }
    }

    /// The row, either way.
    pub fn into_inner(self) -> T {
        match self {
            Self::Inserted(row) | Self::Updated(row) => row,
        }
    }
}

/// An enum that is stored as text, with the same words in the database, in JSON and in Rust.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
            serde::Serialize, serde::Deserialize,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the database and in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
                    .ok_or_else(|| $crate::Error::invalid(stringify!($name), format!("cannot be {text:?}")))
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                use std::io::Write;
                out.write_all(self.as_str().as_bytes())?;
                Ok(diesel::serialize::IsNull::No)
            }
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                Ok(std::str::from_utf8(value.as_bytes())?.parse()?)
            }
        }
    };
}
pub(crate) use text_enum;
