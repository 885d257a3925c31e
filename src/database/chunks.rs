//! Bulk inserts, as one UNNEST of arrays a chunk: the number of binds is that of the columns, whatever the
//! number of rows (VALUES ends at 65,535 binds), and its text is one that stays prepared.

use crate::error::Result;

/// Rows that are sent in one statement: large enough that the round trip does not count, small enough that a
/// message stays small.
const CHUNK: usize = 1000;

/// What `insert` makes of every chunk of `rows`, in order.
pub(crate) async fn in_chunks<'r, New, Row, Fut>(
    rows: &'r [New],
    mut insert: impl FnMut(&'r [New]) -> Fut,
) -> Result<Vec<Row>>
where
    Fut: Future<Output = Result<Vec<Row>>>,
{
    let mut inserted = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(CHUNK) {
        inserted.append(&mut insert(chunk).await?);
    }
    Ok(inserted)
}
