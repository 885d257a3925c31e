//! The ledger of seed files: `__bedplate_seeds`, which outlives the tables that they fill.
//!
//! Always holds: of each file the ledger knows the tables that it wrote, and how they were afterwards. A table that
//! was dropped and made again has another oid, one that lost a column has one more dropped column, one that was
//! truncated is empty: whoever did it, and with whatever tool.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use serde::{Deserialize, Serialize};

use super::{SeedFile, in_file};
use crate::error::Result;

/// A table after a file was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    /// Its oid and the number of its dropped columns.
    made: String,
    /// Whether it has rows that `bedplate_system` sees.
    filled: bool,
}

pub(super) type Tables = BTreeMap<String, Table>;

/// A file that was loaded.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) checksum: String,
    pub(super) tables: Tables,
}

/// What was known when the run began.
pub(super) struct Ledger {
    entries: BTreeMap<String, Row>,
    now: Tables,
}

struct Row {
    entry: Entry,
    /// False for a ledger that came out of a dump, as all tables did: their oids say nothing then.
    in_place: bool,
}

#[derive(QueryableByName)]
struct LedgerRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    checksum: String,
    #[diesel(sql_type = Jsonb)]
    tables: serde_json::Value,
    #[diesel(sql_type = Bool)]
    in_place: bool,
}

impl Ledger {
    pub(super) async fn open(connection: &mut AsyncPgConnection) -> Result<Self> {
        // A second runner waits for the first one's commit, at CREATE TABLE or at LOCK (SHARE ROW EXCLUSIVE
        // conflicts with itself), and finds all done. IF NOT EXISTS alone fails when both make the table.
        let prepared = connection
            .batch_execute(
                "DO $ledger$ BEGIN \
                     CREATE TABLE __bedplate_seeds ( \
                         name text PRIMARY KEY, checksum text NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now(), \
                         tables jsonb NOT NULL, ledger oid NOT NULL); \
                     COMMENT ON TABLE __bedplate_seeds IS 'Ledger of the seed files that were loaded.'; \
                     COMMENT ON COLUMN __bedplate_seeds.tables IS \
                         'The tables that the file wrote: oid and number of dropped columns, and whether there were rows.'; \
                     COMMENT ON COLUMN __bedplate_seeds.ledger IS \
                         'The oid of this table at that time; after a restore from a dump it is another one.'; \
                 EXCEPTION WHEN duplicate_table OR unique_violation THEN NULL; \
                 END $ledger$; \
                 LOCK TABLE __bedplate_seeds IN SHARE ROW EXCLUSIVE MODE",
            )
            .await;
        prepared.map_err(|error| in_file("the ledger", &error))?;
        Self::read(connection).await
    }

    async fn read(connection: &mut AsyncPgConnection) -> Result<Self> {
        let rows: Vec<LedgerRow> = sql_query(
            "SELECT name, checksum, tables, ledger = '__bedplate_seeds'::regclass AS in_place FROM __bedplate_seeds",
        )
        .load(connection)
        .await?;
        let mut entries = BTreeMap::new();
        for LedgerRow { name, checksum, tables, in_place } in rows {
            // Written by another program: as if the file had never been loaded.
            let Ok(tables) = serde_json::from_value(tables) else { continue };
            entries.insert(name.clone(), Row { entry: Entry { name, checksum, tables }, in_place });
        }
        let names = entries.values().flat_map(|row| row.entry.tables.keys().cloned()).collect();
        Ok(Self { now: tables(connection, names).await?, entries })
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).map(|row| &row.entry)
    }

    /// Whether the tables that a file filled are still those, and have rows.
    pub(super) fn has_rows_of(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|row| {
            row.entry.tables.iter().all(|(table, then)| {
                let fills = then.filled && !self.empties_later(name, table);
                self.now
                    .get(table)
                    .is_some_and(|now| (now.made == then.made || !row.in_place) && (now.filled || !fills))
            })
        })
    }

    /// Whether a later file of the same folder leaves a table empty, as one does that moves the rows on.
    fn empties_later(&self, file: &str, table: &str) -> bool {
        let folder = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let later = self.entries.range::<str, _>((Bound::Excluded(file), Bound::Unbounded));
        let last = later.take_while(|(name, _)| folder(name) == folder(file));
        last.filter_map(|(_, row)| row.entry.tables.get(table)).last().is_some_and(|table| !table.filled)
    }

    /// Of a ledger that came out of a dump, the oids of now: from here on they say something again.
    pub(super) async fn take_over(&self, connection: &mut AsyncPgConnection) -> Result<()> {
        for row in self.entries.values().filter(|row| !row.in_place) {
            let Entry { name, checksum, tables } = &row.entry;
            let tables = tables.iter().map(|(name, then)| {
                let made = self.now.get(name).map_or_else(String::new, |now| now.made.clone());
                (name.clone(), Table { made, filled: then.filled })
            });
            let entry = Entry { name: name.clone(), checksum: checksum.clone(), tables: tables.collect() };
            record(connection, &entry).await?;
        }
        Ok(())
    }
}

pub(super) async fn record(connection: &mut AsyncPgConnection, entry: &Entry) -> Result<()> {
    sql_query(
        "INSERT INTO __bedplate_seeds (name, checksum, tables, ledger) VALUES ($1, $2, $3, '__bedplate_seeds'::regclass) \
         ON CONFLICT (name) DO UPDATE SET (checksum, tables, ledger, loaded_at) = \
             (excluded.checksum, excluded.tables, excluded.ledger, excluded.loaded_at)",
    )
    .bind::<Text, _>(&entry.name)
    .bind::<Text, _>(&entry.checksum)
    .bind::<Jsonb, _>(serde_json::json!(entry.tables))
    .execute(connection)
    .await?;
    Ok(())
}

/// From here on these tables may be empty: no file brings back rows that `bedplate maintain` deleted.
pub(super) async fn let_go(connection: &mut AsyncPgConnection, tables: &[&str]) -> Result<()> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    let there = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('__bedplate_seeds') AND attname = 'tables') \
                     AS found";
    let found: Found = sql_query(there).get_result(connection).await?;
    if found.found {
        sql_query(
            "UPDATE __bedplate_seeds SET tables = ( \
                 SELECT jsonb_object_agg(key, CASE WHEN key = ANY ($1) THEN value || '{\"filled\": false}' ELSE value END) \
                   FROM jsonb_each(tables)) \
              WHERE jsonb_exists_any(tables, $1)",
        )
        .bind::<Array<Text>, _>(tables)
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// The tables of these files that lost their rows in this run, as broken rules: no rule between rows is broken where
/// there are no rows.
pub(super) async fn emptied(connection: &mut AsyncPgConnection, files: &[SeedFile]) -> Result<Vec<String>> {
    let ledger = Ledger::read(connection).await?;
    let loaded = files.iter().filter_map(|file| ledger.entry(&file.name));
    let filled = loaded.flat_map(|entry| {
        let tables = entry.tables.iter().filter(|(name, then)| then.filled && !ledger.empties_later(&entry.name, name));
        tables.map(|(table, _)| (&entry.name, table))
    });
    let empty = filled.filter(|(_, table)| !ledger.now.get(*table).is_some_and(|now| now.filled));
    Ok(empty.map(|(file, table)| format!("{table} has no rows, but {file} fills it")).collect())
}

/// Every table that this transaction has locked to write, with a figure that rises with each row it reads or writes
/// there: two of these tell what was touched between them, also where nothing had to be written. A partition counts
/// as its table: months come and go.
pub(super) async fn written(connection: &mut AsyncPgConnection) -> Result<BTreeMap<String, i64>> {
    #[derive(QueryableByName)]
    struct Written {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = BigInt)]
        figure: i64,
    }
    let written: Vec<Written> = sql_query(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name, \
                coalesce(sum(s.seq_scan + coalesce(s.idx_scan, 0) + s.n_tup_ins + s.n_tup_upd + s.n_tup_del), 0)::int8 AS figure \
           FROM (SELECT DISTINCT relation FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' \
                    AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) AS locks \
           JOIN pg_class AS part ON part.oid = locks.relation AND part.relkind IN ('r', 'p') AND part.relpersistence <> 't' \
           JOIN pg_class AS c ON c.oid = coalesce(pg_partition_root(part.oid), part.oid) \
           JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname NOT IN ('pg_catalog', 'pg_toast') \
           LEFT JOIN pg_stat_xact_user_tables AS s ON s.relid = part.oid \
          WHERE c.oid <> '__bedplate_seeds'::regclass GROUP BY c.oid, n.nspname, c.relname",
    )
    .load(connection)
    .await?;
    Ok(written.into_iter().map(|table| (table.name, table.figure)).collect())
}

/// How these tables are now; one that is not there is left out.
pub(super) async fn tables(connection: &mut AsyncPgConnection, names: BTreeSet<String>) -> Result<Tables> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        made: String,
        #[diesel(sql_type = Bool)]
        readable: bool,
    }
    #[derive(QueryableByName)]
    struct Rows {
        #[diesel(sql_type = Bool)]
        filled: bool,
    }
    let found: Vec<Found> = sql_query(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name, \
                format('%s/%s', c.oid, (SELECT count(*) FROM pg_attribute WHERE attrelid = c.oid AND attisdropped)) AS made, \
                has_table_privilege('bedplate_system', c.oid, 'SELECT') AS readable \
           FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
          WHERE c.relkind IN ('r', 'p') AND format('%I.%I', n.nspname, c.relname) = ANY ($1)",
    )
    .bind::<Array<Text>, _>(names.into_iter().collect::<Vec<_>>())
    .load(connection)
    .await?;
    let mut tables = Tables::new();
    connection.batch_execute("SET LOCAL ROLE bedplate_system").await?;
    for Found { name, made, readable } in found {
        // The server quoted the name.
        let filled = if readable {
            let rows: Rows =
                sql_query(format!("SELECT EXISTS (SELECT FROM {name}) AS filled")).get_result(connection).await?;
            rows.filled
        } else {
            false
        };
        tables.insert(name, Table { made, filled });
    }
    connection.batch_execute("RESET ROLE").await?;
    Ok(tables)
}
