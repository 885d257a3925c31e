//! A backfill in batches: an UPDATE or DELETE whose condition ends with `/* batch */`.
//!
//! ```sql
//! SET ROLE bedplate_system; -- the owner sees no tenant's row
//! UPDATE users SET display_name = name WHERE display_name IS NULL /* batch */;
//! RESET ROLE;
//! ```
//!
//! The mark becomes a range of the table's blocks, so that a batch reads its own blocks and no others; each batch is a
//! transaction of its own, small enough to hold its row locks for less than a second. To the diesel CLI the mark is a
//! comment: it runs the same statement in one piece.
//!
//! The condition must not hold for rows that were changed: they may move to blocks that come later, and a run that was
//! interrupted begins again. The file says `run_in_transaction = false`.

use std::time::{Duration, Instant};

use super::guard;
use super::observe::Observer;
use super::script::is_batch_mark;
use super::send::{Failure, Place};
use super::session::Session;
use super::statement::Statement;
use super::{Event, Options, Watcher};
use crate::error::{Error, Result};
use crate::sql::quote_literal;

/// The time that a batch takes.
const QUICK: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_millis(600);
/// 1 MB, to begin with.
const FIRST_BATCH: u64 = 128;

/// Where the mark goes.
pub(super) struct Batches {
    line: usize,
    table: String,
    column: String,
    before: String,
    after: String,
}

impl Batches {
    /// # Errors
    /// [`Error::Invalid`] for a statement that is no UPDATE or DELETE with a condition, or whose condition has an OR
    /// outside of parentheses: the range would belong to one side of it.
    pub(super) fn of(statement: &Statement) -> Result<Self> {
        let wrong = |what: &str| Error::invalid(format!("line {}", statement.line), what);
        let (table, column) = statement
            .changed_table()
            .filter(|_| ["UPDATE", "DELETE"].contains(&statement.words[0].as_str()))
            .ok_or_else(|| wrong("says /* batch */, which is for UPDATE and DELETE"))?;
        let mut depth = 0;
        let mut condition = false;
        for word in &statement.words {
            match word.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                "WHERE" if depth == 0 => condition = true,
                "OR" if depth == 0 && condition => return Err(wrong("says /* batch */: put its OR into parentheses")),
                _ => {}
            }
        }
        let (start, mark) = statement
            .sql
            .match_indices("/*")
            .find_map(|(start, _)| {
                let end = start + statement.sql[start..].find("*/")? + 2;
                is_batch_mark(&statement.sql[start..end]).then_some((start, end))
            })
            .filter(|_| condition)
            .ok_or_else(|| wrong("says /* batch */, which goes behind the condition of its WHERE"))?;
        let (before, after) = (statement.sql[..start].to_owned(), statement.sql[mark..].to_owned());
        Ok(Self { line: statement.line, table, column, before, after })
    }

    fn statement(&self, from: u64, until: u64) -> String {
        let Self { column, before, after, .. } = self;
        format!("{before} AND {column}.ctid >= '({from},0)'::tid AND {column}.ctid < '({until},0)'::tid {after}")
    }

    /// Of the table, or of its largest partition.
    async fn blocks(&self, session: &Session) -> std::result::Result<u64, tokio_postgres::Error> {
        let table = quote_literal(&self.table);
        let rows = session
            .try_rows(&format!(
                "SELECT greatest(pg_relation_size({table}::regclass), \
                        (SELECT max(pg_relation_size(relid)) FROM pg_partition_tree({table}::regclass))) \
                      / current_setting('block_size')::bigint + 1"
            ))
            .await?;
        Ok(rows.first().and_then(|row| row.get(0)).and_then(|blocks| blocks.parse().ok()).unwrap_or(1))
    }
}

/// The number of passes through the table; more mean that the condition holds for what was changed.
const PASSES: usize = 10;

/// Runs it to the end, and tells how far it is: goes through the table until a pass finds nothing, because a row that
/// somebody else changes meanwhile may move to blocks that are done.
pub(super) async fn run(
    session: &Session,
    observer: &mut Observer,
    batches: &Batches,
    place: &Place,
    options: &Options,
    on_event: Watcher<'_>,
) -> std::result::Result<(), Failure> {
    let mut rows = 0;
    for _ in 0..PASSES {
        let changed = pass(session, observer, batches, place, options, rows, on_event).await?;
        rows += changed;
        if changed == 0 {
            return Ok(());
        }
    }
    Err(Failure::told("the condition holds for rows that were changed: it has to exclude them".into(), place.clone()))
}

async fn pass(
    session: &Session,
    observer: &mut Observer,
    batches: &Batches,
    place: &Place,
    options: &Options,
    before: u64,
    on_event: Watcher<'_>,
) -> std::result::Result<u64, Failure> {
    let failed = |error| Failure::of(error, place.clone());
    let started = Instant::now();
    let end = batches.blocks(session).await.map_err(failed)?;
    let (mut from, mut size, mut rows) = (0, FIRST_BATCH, 0);
    let mut last_try = started + options.retry_for;
    while from < end {
        let began = Instant::now();
        let until = from.saturating_add(size).min(end);
        match observer
            .watch(guard::count(session, &batches.statement(from, until), batches.line), on_event)
            .await
            .map_err(failed)
        {
            Ok(changed) => {
                rows += changed;
                from = until;
                last_try = Instant::now() + options.retry_for;
                on_event(Event::Working {
                    how: format!("{} rows, {} % of the table", before + rows, 100 * from / end),
                });
            }
            Err(failure) if failure.is_about_locks() && Instant::now() < last_try => {
                on_event(Event::Working { how: format!("{} rows; some are locked, trying again", before + rows) });
                tokio::time::sleep(QUICK).await;
            }
            Err(failure) => return Err(failure),
        }
        match began.elapsed() {
            quick if quick < QUICK => size = size.saturating_mul(2),
            slow if slow > SLOW => size = (size / 2).max(1),
            _ => {}
        }
    }
    Ok(rows)
}
