//! Statements that PostgreSQL refuses inside of a transaction, so that they cannot share one with their record.
//!
//! Before such a statement is sent, the history says so, and what its table looked like. A runner that is killed
//! behind that leaves a statement that may have run: where the catalogue shows what became of it, the next run goes on by
//! itself; else it asks.
//!
//! Always holds: only an INVALID index that was not there before the statement was sent, or that has the name that the
//! statement gives, is dropped, and never one that another session is building.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::observe::Observer;
use super::session::Session;
use super::statement::{Statement, identifier};
use super::{Event, Watcher};
use crate::sql::quote_literal;

const PAUSE: Duration = Duration::from_millis(50);

/// What the history says of a statement that was sent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sent {
    /// From 0.
    pub(super) statement: usize,
    /// The object ids of the indexes that were valid before.
    #[serde(default)]
    pub(super) valid: Vec<String>,
    /// Those of the INVALID ones.
    #[serde(default)]
    pub(super) invalid: Vec<String>,
    /// Somebody has said that it did not run; what it left is to be taken away all the same.
    #[serde(default)]
    pub(super) not_run: bool,
}

/// What became of a statement that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Ran,
    /// It did not run, or its leftovers are dropped. It can be sent.
    NotRun,
    Unknown,
}

/// What a statement leaves when it is interrupted.
enum Leaves {
    /// A new INVALID index of a table, or the named one.
    Index { table: String, name: Option<String> },
    /// New INVALID indexes that end with `_ccnew` or `_ccold`.
    Reindexed { of: Option<String> },
    /// A partition that is detached half the way.
    Detached { parent: String, partition: String },
    /// Nothing: the index is there or not.
    Dropped { index: String },
    /// Nothing that the catalogue shows.
    Unknown,
}

impl Leaves {
    fn of(statement: &Statement) -> Self {
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        if let Some(index) = statement.concurrent_index() {
            return Self::Index { table: index.table, name: index.name };
        }
        if !statement.is_concurrent() {
            return Self::Unknown;
        }
        match words.as_slice() {
            ["REINDEX", rest @ ..] => {
                let of_one = rest.iter().any(|word| ["INDEX", "TABLE"].contains(word));
                Self::Reindexed { of: of_one.then(|| last_name(&words)) }
            }
            ["DROP", "INDEX", rest @ ..] => {
                let skipped = ["CONCURRENTLY", "IF", "EXISTS"];
                let name = rest.iter().filter(|word| !skipped.contains(word));
                Self::Dropped {
                    index: name
                        .take_while(|word| !["CASCADE", "RESTRICT"].contains(word))
                        .map(|w| identifier(w))
                        .collect(),
                }
            }
            ["ALTER", "TABLE", rest @ ..] => {
                let Some(detach) = rest.iter().position(|word| *word == "DETACH") else { return Self::Unknown };
                let parent = rest[..detach].iter().filter(|word| !["IF", "EXISTS", "ONLY"].contains(word));
                let partition = rest[detach..].iter().skip(2).take_while(|word| **word != "CONCURRENTLY");
                Self::Detached {
                    parent: parent.map(|word| identifier(word)).collect(),
                    partition: partition.map(|word| identifier(word)).collect(),
                }
            }
            _ => Self::Unknown,
        }
    }

    /// The condition for the indexes that are looked at.
    fn indexes(&self) -> Option<String> {
        match self {
            Self::Index { table, .. } => Some(format!("i.indrelid = to_regclass({})", quote_literal(table))),
            Self::Reindexed { of: Some(of) } => Some(format!(
                "(i.indrelid = to_regclass({of}) OR i.indrelid = (SELECT o.indrelid FROM pg_index AS o WHERE o.indexrelid = to_regclass({of})) \
                  OR i.indrelid = (SELECT reltoastrelid FROM pg_class WHERE oid = to_regclass({of})))",
                of = quote_literal(of)
            )),
            Self::Reindexed { of: None } => Some("true".to_owned()),
            Self::Detached { .. } | Self::Dropped { .. } | Self::Unknown => None,
        }
    }
}

/// The last qualified name of a statement.
fn last_name(words: &[&str]) -> String {
    let mut name: Vec<&str> = Vec::new();
    for word in words.iter().rev() {
        let joins = *word == "." || name.last().is_none_or(|last| *last == ".");
        if !joins {
            break;
        }
        name.push(word);
    }
    name.iter().rev().map(|word| identifier(word)).collect()
}

/// An index, as far as it is looked at.
struct Index {
    oid: String,
    name: String,
    /// Without its schema, as it is.
    bare: String,
    valid: bool,
    /// Whether another session is building something on its table, or cleaning it.
    busy: bool,
}

async fn indexes(session: &Session, condition: &str) -> Result<Vec<Index>, tokio_postgres::Error> {
    let rows = session
        .try_rows(&format!(
            "SELECT i.indexrelid::text, i.indexrelid::regclass::text, c.relname, i.indisvalid::text, \
                    EXISTS (SELECT FROM pg_locks AS l WHERE l.relation IN (i.indexrelid, i.indrelid) AND l.granted \
                               AND l.mode = 'ShareUpdateExclusiveLock' AND l.pid <> pg_backend_pid() \
                               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))::text \
               FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.relkind = 'i' AND {condition}"
        ))
        .await?;
    let index = |row: &tokio_postgres::SimpleQueryRow| {
        let text = |column| row.get(column).unwrap_or_default().to_owned();
        Index { oid: text(0), name: text(1), bare: text(2), valid: text(3) == "true", busy: text(4) == "true" }
    };
    Ok(rows.iter().map(index).collect())
}

/// Looks at what a statement may change, before it is sent.
pub(super) async fn look(session: &Session, statement: &Statement, n: usize) -> Result<Sent, tokio_postgres::Error> {
    let mut sent = Sent { statement: n, ..Sent::default() };
    if let Some(condition) = Leaves::of(statement).indexes() {
        for index in indexes(session, &condition).await? {
            if index.valid { &mut sent.valid } else { &mut sent.invalid }.push(index.oid);
        }
    }
    Ok(sent)
}

/// The text to send, which goes on where an interrupted statement stopped.
pub(super) async fn text(session: &Session, statement: &Statement) -> Result<String, tokio_postgres::Error> {
    if let Leaves::Detached { parent, partition } = Leaves::of(statement)
        && detach(session, &parent, &partition).await? == Some(true)
    {
        return Ok(format!("ALTER TABLE {parent} DETACH PARTITION {partition} FINALIZE"));
    }
    Ok(statement.sql.clone())
}

/// Waits until no other session builds or cleans the table of a statement that works without blocking. In line behind
/// another build it would hold a snapshot, which that build waits for: PostgreSQL ends one of the two then. Returns
/// whether there is nothing to wait for any more.
pub(super) async fn until_free(
    session: &Session,
    statement: &Statement,
    patience: Duration,
    on_event: Watcher<'_>,
) -> Result<bool, tokio_postgres::Error> {
    let name = match Leaves::of(statement) {
        Leaves::Index { table: name, .. }
        | Leaves::Reindexed { of: Some(name) }
        | Leaves::Dropped { index: name }
        | Leaves::Detached { parent: name, .. } => quote_literal(&name),
        Leaves::Reindexed { of: None } | Leaves::Unknown => return Ok(true),
    };
    let busy = format!(
        "SELECT 1 FROM pg_locks AS l WHERE l.granted AND l.pid <> pg_backend_pid() \
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
            AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
            AND (l.relation = to_regclass({name}) OR l.relation = (SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass({name}))) \
          LIMIT 1"
    );
    let (started, mut told) = (Instant::now(), false);
    while !session.try_rows(&busy).await?.is_empty() {
        if started.elapsed() > patience {
            return Ok(false);
        }
        if !std::mem::replace(&mut told, true) {
            on_event(Event::Blocked {
                by: format!("{} waited for another session at work on its table", statement.excerpt()),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(true)
}

/// Takes away what an interrupted build has left. `sent`: what was there before; the error that is returned says what
/// to do where nobody can tell whose an index is.
pub(super) async fn clean(
    session: &Session,
    observer: &mut Observer,
    statement: &Statement,
    sent: &Sent,
    patience: Duration,
    on_event: Watcher<'_>,
) -> Result<Result<(), String>, tokio_postgres::Error> {
    let leaves = Leaves::of(statement);
    let Some(condition) = leaves.indexes() else { return Ok(Ok(())) };
    let started = Instant::now();
    let ours = loop {
        let mut found = indexes(session, &condition).await?;
        found.retain(|index| !index.valid && is_ours(&leaves, index, sent));
        if !found.iter().any(|index| index.busy) || started.elapsed() > patience {
            break found;
        }
        on_event(Event::Working { how: "another session is building an index on the same table".into() });
        tokio::time::sleep(PAUSE).await;
    };
    if ours.iter().any(|index| index.busy) {
        return Ok(Err("another session is building an index on the same table: wait until it ends".to_owned()));
    }
    let names: Vec<_> = ours.iter().map(|index| index.name.clone()).collect();
    if names.len() > 1 && matches!(leaves, Leaves::Index { name: None, .. }) {
        return Ok(Err(format!(
            "the INVALID indexes {} are new, and nobody can tell which one this statement left: drop it with DROP INDEX \
             CONCURRENTLY",
            names.join(", ")
        )));
    }
    for name in names {
        on_event(Event::Working { how: format!("dropping the INVALID index {name} of an interrupted build") });
        observer.watch(session.patiently(&format!("DROP INDEX CONCURRENTLY {name}")), on_event).await?;
    }
    Ok(Ok(()))
}

fn is_ours(leaves: &Leaves, index: &Index, sent: &Sent) -> bool {
    let new = !sent.invalid.contains(&index.oid) && !sent.valid.contains(&index.oid);
    match leaves {
        Leaves::Index { name: Some(name), .. } => same_name(name, &index.bare),
        Leaves::Index { name: None, .. } => new,
        Leaves::Reindexed { .. } => {
            let left = index.bare.trim_end_matches(|c: char| c.is_ascii_digit());
            (left.ends_with("_ccnew") && new) || (left.ends_with("_ccold") && !sent.invalid.contains(&index.oid))
        }
        Leaves::Detached { .. } | Leaves::Dropped { .. } | Leaves::Unknown => false,
    }
}

/// Whether a name as it is written is this one.
fn same_name(written: &str, name: &str) -> bool {
    match written.strip_prefix('"').and_then(|written| written.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\"") == name,
        None => written == name,
    }
}

/// Finds out what became of a statement that was sent, and whose end nobody saw. What it left is taken away already.
pub(super) async fn fate(session: &Session, statement: &Statement, sent: &Sent) -> Result<Fate, tokio_postgres::Error> {
    let leaves = Leaves::of(statement);
    Ok(match &leaves {
        Leaves::Index { name, .. } => {
            let found = indexes(session, &leaves.indexes().unwrap_or_default()).await?;
            let is_new = |index: &&Index| index.valid && !sent.valid.contains(&index.oid);
            let new: Vec<_> = found.iter().filter(is_new).collect();
            match name {
                Some(name) if new.iter().any(|index| same_name(name, &index.bare)) => Fate::Ran,
                None if new.len() == 1 => Fate::Ran,
                None if new.len() > 1 => Fate::Unknown,
                _ => Fate::NotRun,
            }
        }
        Leaves::Reindexed { .. } => {
            let found = indexes(session, &leaves.indexes().unwrap_or_default()).await?;
            // Each index that was rebuilt is another one now.
            if found.iter().any(|index| sent.valid.contains(&index.oid)) { Fate::NotRun } else { Fate::Ran }
        }
        Leaves::Detached { parent, partition } => match detach(session, parent, partition).await? {
            None => Fate::Ran,
            Some(_) => Fate::NotRun,
        },
        Leaves::Dropped { index } => {
            let there = format!("SELECT 1 WHERE to_regclass({}) IS NOT NULL", quote_literal(index));
            if session.try_rows(&there).await?.is_empty() { Fate::Ran } else { Fate::NotRun }
        }
        Leaves::Unknown => Fate::Unknown,
    })
}

/// Whether a partition is detached half the way; `None` where it is no partition of the table.
async fn detach(session: &Session, parent: &str, partition: &str) -> Result<Option<bool>, tokio_postgres::Error> {
    let rows = session
        .try_rows(&format!(
            "SELECT inhdetachpending::text FROM pg_inherits WHERE inhparent = to_regclass({}) AND inhrelid = to_regclass({})",
            quote_literal(parent),
            quote_literal(partition)
        ))
        .await?;
    Ok(rows.first().map(|row| row.get(0) == Some("true")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::database::migrate::script::Script;

    #[rstest]
    #[case("CREATE INDEX CONCURRENTLY ON a (b)", "index of a: None")]
    #[case("CREATE INDEX CONCURRENTLY \"I\" ON s.a (b)", "index of s.a: Some(\"\\\"I\\\"\")")]
    #[case("REINDEX INDEX CONCURRENTLY s.a", "reindexed Some(\"s.a\")")]
    #[case("REINDEX (VERBOSE) TABLE CONCURRENTLY a", "reindexed Some(\"a\")")]
    #[case("REINDEX SCHEMA CONCURRENTLY a", "reindexed None")]
    #[case("DROP INDEX CONCURRENTLY IF EXISTS s.a", "dropped s.a")]
    #[case("ALTER TABLE IF EXISTS s.a DETACH PARTITION s.b CONCURRENTLY", "detached s.b of s.a")]
    #[case("VACUUM a", "unknown")]
    fn what_a_statement_leaves_is_known(#[case] sql: &str, #[case] expected: &str) {
        let statement = Script::new("up.sql", sql).statements().unwrap().remove(0);
        let found = match Leaves::of(&statement) {
            Leaves::Index { table, name } => format!("index of {table}: {name:?}"),
            Leaves::Reindexed { of } => format!("reindexed {of:?}"),
            Leaves::Detached { parent, partition } => format!("detached {partition} of {parent}"),
            Leaves::Dropped { index } => format!("dropped {index}"),
            Leaves::Unknown => "unknown".to_owned(),
        };
        assert_eq!(found, expected);
    }
}
