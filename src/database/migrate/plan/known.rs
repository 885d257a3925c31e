//! The locks of statements that PostgreSQL refuses in a transaction: they cannot be measured, but the manual tells them
//! (<https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES>).

use super::{ACCESS_EXCLUSIVE, Measured, SHARE, SHARE_UPDATE_EXCLUSIVE, TableLock, TableWork};
use crate::database::migrate::session::Session;
use crate::database::migrate::statement::Statement;
use crate::error::Result;
use crate::sql::quote_literal;

/// What a statement does to its tables, and how the catalogue finds these.
struct Effect {
    mode: usize,
    /// Whether each table is written anew, or read; `None` for neither.
    rewrites: Option<bool>,
    tables: Tables,
}

enum Tables {
    /// Those of these names, of tables or indexes, with their partitions.
    Named(Vec<String>),
    /// Every table that may be vacuumed.
    All,
    /// Every table that was clustered before.
    Clustered,
    /// Every table of the schema.
    Of(String),
}

/// The locks and the work of a statement; `None` where the manual's locks are not known here. To be asked before it
/// runs: it may drop what it names.
pub(super) async fn known(session: &Session, statement: &Statement) -> Result<Option<Measured>> {
    let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
    let mut measured = Measured::default();
    for Effect { mode, rewrites, tables } in effects(&words) {
        // Each table is locked by itself.
        for table in session.texts(&tables.query()).await? {
            let lock = TableLock::new(table.clone(), mode);
            let work = rewrites.map(|rewritten| TableWork { table, rewritten, while_holding: vec![lock.clone()] });
            measured.work.extend(work);
            measured.locks.push(lock);
        }
    }
    Ok(is_known(&words).then_some(measured))
}

fn is_known(words: &[&str]) -> bool {
    !effects(words).is_empty()
}

fn effects(words: &[&str]) -> Vec<Effect> {
    let one = |mode, rewrites, tables| vec![Effect { mode, rewrites, tables }];
    let concurrently = words.contains(&"CONCURRENTLY");
    match words {
        ["VACUUM", ..] => {
            let (options, rest) = options(&words[1..], &["FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"]);
            let full = is_on(options, "FULL");
            let named = names_in(rest);
            let tables = if named.is_empty() { Tables::All } else { Tables::Named(named) };
            one(if full { ACCESS_EXCLUSIVE } else { SHARE_UPDATE_EXCLUSIVE }, Some(full), tables)
        }
        ["CLUSTER", ..] => {
            let (_, rest) = options(&words[1..], &["VERBOSE"]);
            let named = names_in(rest.split(|word| *word == "USING").next().unwrap_or_default());
            let tables = if named.is_empty() { Tables::Clustered } else { Tables::Named(named) };
            one(ACCESS_EXCLUSIVE, Some(true), tables)
        }
        ["REINDEX", ..] => {
            let (options, rest) = options(&words[1..], &[]);
            let concurrently = concurrently || is_on(options, "CONCURRENTLY");
            let mode = if concurrently { SHARE_UPDATE_EXCLUSIVE } else { SHARE };
            let (kind, rest) = rest.split_first().unwrap_or((&"", &[]));
            let named = names_in(rest);
            match (*kind, named.first()) {
                ("SCHEMA", Some(schema)) => one(mode, Some(false), Tables::Of(schema.clone())),
                ("TABLE" | "INDEX", Some(_)) => one(mode, Some(false), Tables::Named(named)),
                _ => Vec::new(),
            }
        }
        ["CREATE", "INDEX", ..] | ["CREATE", "UNIQUE", "INDEX", ..] if concurrently => {
            let on = words.iter().position(|word| *word == "ON").map_or(words.len(), |on| on + 1);
            let table = words[on..].split(|word| ["USING", "("].contains(word)).next().unwrap_or_default();
            one(SHARE_UPDATE_EXCLUSIVE, Some(false), Tables::Named(names_in(table)))
        }
        ["DROP", "INDEX", "CONCURRENTLY", names @ ..] => {
            one(SHARE_UPDATE_EXCLUSIVE, None, Tables::Named(names_in(names)))
        }
        ["ALTER", "TABLE", names @ ..] if words.contains(&"DETACH") && concurrently => {
            let mut parts = names.split(|word| *word == "DETACH");
            let parent = names_in(parts.next().unwrap_or_default());
            let part = parts.next().unwrap_or_default();
            let part = names_in(part.strip_prefix(&["PARTITION"]).unwrap_or(part));
            vec![
                Effect { mode: SHARE_UPDATE_EXCLUSIVE, rewrites: None, tables: Tables::Named(parent) },
                // In the second of its transactions.
                Effect { mode: ACCESS_EXCLUSIVE, rewrites: None, tables: Tables::Named(part) },
            ]
        }
        _ => Vec::new(),
    }
}

/// The options, in parentheses or by themselves, and what comes behind.
fn options<'w>(words: &'w [&'w str], bare: &[&str]) -> (&'w [&'w str], &'w [&'w str]) {
    let end = match words.first() {
        Some(&"(") => words.iter().position(|word| *word == ")").map_or(words.len(), |end| end + 1),
        _ => words.iter().take_while(|word| bare.contains(word)).count(),
    };
    words.split_at(end)
}

/// Whether an option is there, and not with `false`, `off` or 0.
fn is_on(options: &[&str], option: &str) -> bool {
    options.iter().position(|word| *word == option).is_some_and(|at| {
        let value = options.get(at + 1).map(|value| value.trim_matches('\'').to_uppercase());
        !value.is_some_and(|value| ["FALSE", "OFF", "0"].contains(&value.as_str()))
    })
}

/// The names of a list, as the server reads them; columns in parentheses and words that are no names are left out.
fn names_in(words: &[&str]) -> Vec<String> {
    const NO_NAMES: [&str; 9] =
        ["ONLY", "IF", "EXISTS", "CONCURRENTLY", "CASCADE", "RESTRICT", "PARTITION", "*", "FINALIZE"];
    let mut names = vec![String::new()];
    let mut depth = 0_usize;
    for word in words {
        match *word {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth == 0 => names.push(String::new()),
            word if depth == 0 && !NO_NAMES.contains(&word) => {
                if let Some(name) = names.last_mut() {
                    name.push_str(&if word.starts_with('"') { word.to_owned() } else { word.to_lowercase() });
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

impl Tables {
    /// For their names, each once.
    fn query(&self) -> String {
        let ours = "c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, \
                    'pg_toast'::regnamespace) AND NOT starts_with(c.relname, '__')";
        let tables = format!("SELECT c.oid::regclass::text FROM pg_class AS c WHERE {ours} AND c.relkind");
        match self {
            Self::Named(names) => {
                let names: Vec<_> = names.iter().map(|name| quote_literal(name)).collect();
                // A partition has no partitions: only what has rows is worked on.
                format!(
                    "SELECT DISTINCT coalesce(leaf.relid, t.oid)::regclass::text \
                       FROM unnest(ARRAY[{}]::text[]) AS name \
                       JOIN pg_class AS named ON named.oid = to_regclass(name) \
                       LEFT JOIN pg_index AS i ON i.indexrelid = named.oid \
                       JOIN pg_class AS t ON t.oid = coalesce(i.indrelid, named.oid) \
                       LEFT JOIN LATERAL (SELECT relid FROM pg_partition_tree(t.oid) WHERE isleaf) AS leaf \
                              ON t.relkind = 'p' ORDER BY 1",
                    names.join(", ")
                )
            }
            Self::All => format!("{tables} IN ('r', 'm') ORDER BY 1"),
            Self::Clustered => {
                format!(
                    "{tables} IN ('r', 'm') AND EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisclustered) ORDER BY 1"
                )
            }
            Self::Of(schema) => format!(
                "{tables} IN ('r', 'm') AND c.relnamespace = to_regnamespace({}) ORDER BY 1",
                quote_literal(schema)
            ),
        }
    }
}
