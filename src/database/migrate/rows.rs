//! The rows of every table, as a number and a checksum.

use std::collections::BTreeMap;

use super::Options;
use super::session::Session;
use crate::database::url::DatabaseUrl;
use crate::error::Result;

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableRows {
    count: u64,
    checksum: String,
}

impl TableRows {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What a migration's down and up did to them, `None` where they are what they were: `without` and `after` are the
    /// same table's in between and at the end.
    pub(super) fn fate(&self, table: &str, without: Option<&Self>, after: Option<&Self>) -> Option<String> {
        match (without, after) {
            _ if self.count == 0 => None,
            (_, Some(after)) if after == self => None,
            (None, _) => Some(format!("{table}: its {} rows go with the table", self.count)),
            (Some(_), Some(after)) if after.count == self.count => {
                Some(format!("{table}: {} rows are changed", self.count))
            }
            (Some(_), Some(after)) => Some(format!("{table}: {} rows, {} afterwards", self.count, after.count)),
            (Some(_), None) => Some(format!("{table}: its {} rows are lost", self.count)),
        }
    }
}

/// Counts as the owner, for whom the policies are lifted in a transaction that is rolled back. Columns have no order.
pub(super) async fn count(url: &DatabaseUrl) -> Result<BTreeMap<String, TableRows>> {
    let session = Session::open(url, Options::default().lock_timeout).await?;
    let tables = session
        .texts(
            "SELECT oid::regclass::text FROM pg_class \
              WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) \
                AND relkind IN ('r', 'p') AND NOT relispartition AND NOT starts_with(relname, '__') ORDER BY 1",
        )
        .await?;
    session.run("BEGIN").await?;
    let mut counted = BTreeMap::new();
    for table in tables {
        session.run(&format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")).await?;
        let rows = session
            .rows(&format!(
                "SELECT count(*)::text, coalesce(md5(string_agg(line, '' ORDER BY line)), '') \
                   FROM (SELECT md5(to_jsonb(t)::text) AS line FROM {table} AS t) AS lines"
            ))
            .await?;
        let value = |column| rows.first().and_then(|row| row.get(column)).unwrap_or_default();
        let rows = TableRows { count: value(0).parse().unwrap_or_default(), checksum: value(1).to_owned() };
        counted.insert(table, rows);
    }
    session.run("ROLLBACK").await?;
    Ok(counted)
}
