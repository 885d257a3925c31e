//! What is known of the session and the tables at a moment, inside of a transaction: locks, files, scans.

use std::collections::BTreeMap;

use super::{MODES, Measured, TableLock, TableWork};
use crate::database::migrate::session::Session;
use crate::database::migrate::statement::Statement;
use crate::error::Result;

/// Something that can be locked and is there before the migration. A statement may drop or rename it.
struct Known {
    oid: String,
    name: String,
    /// The table that an index or an identity's sequence belongs to, and goes with.
    table: Option<String>,
    /// Whether it has rows of its own that a statement may go through.
    has_rows: bool,
}

/// What is there before a migration.
pub(super) struct Before(Vec<Known>);

/// What is known at a moment.
#[derive(Default)]
pub(super) struct Facts {
    /// By name, the strongest mode that is held, as a place in [`MODES`].
    locks: BTreeMap<String, usize>,
    files: BTreeMap<String, String>,
    scans: BTreeMap<String, u64>,
}

impl Before {
    /// Everything but the history's tables.
    pub(super) async fn of(session: &Session) -> Result<Self> {
        let rows = session
            .rows(
                "SELECT c.oid::text, c.oid::regclass::text, coalesce(i.indrelid, d.refobjid)::regclass::text, \
                        (relkind IN ('r', 'p', 'm'))::text \
                   FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid \
                        LEFT JOIN pg_depend AS d ON relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid \
                              AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass \
                  WHERE relkind IN ('r', 'p', 'm', 'i', 'I', 'S', 'v', 'f') AND c.oid >= 16384 \
                    AND relnamespace <> 'pg_toast'::regnamespace AND relpersistence <> 't' \
                    AND NOT starts_with(relname, '__')",
            )
            .await?;
        let known = rows.iter().map(|row| {
            let value = |column| row.get(column).unwrap_or_default().to_owned();
            Known { oid: value(0), name: value(1), table: row.get(2).map(str::to_owned), has_rows: value(3) == "true" }
        });
        // Those of the history come with their table.
        Ok(Self(known.filter(|known| known.table.as_ref().is_none_or(|table| !table.contains("__"))).collect()))
    }

    /// What is known now.
    pub(super) async fn facts(&self, session: &Session) -> Result<Facts> {
        let oids: Vec<_> = self.0.iter().map(|known| known.oid.as_str()).collect();
        let rows = session
            .rows(&format!(
                "SELECT k.oid::text, coalesce(pg_relation_filenode(k.oid)::text, ''), \
                        coalesce(pg_stat_get_xact_numscans(k.oid), 0)::text, \
                        (SELECT string_agg(l.mode, ',') FROM pg_locks AS l \
                          WHERE l.pid = pg_backend_pid() AND l.relation = k.oid) \
                   FROM unnest('{{{}}}'::oid[]) AS k (oid)",
                oids.join(",")
            ))
            .await?;
        let mut facts = Facts::default();
        for row in &rows {
            let value = |column| row.get(column).unwrap_or_default();
            let Some(known) = self.0.iter().find(|known| known.oid == value(0)) else { continue };
            let strongest = value(3).split(',').filter_map(|mode| MODES.iter().position(|known| known.0 == mode)).max();
            facts.locks.extend(strongest.map(|mode| (known.name.clone(), mode)));
            if !known.has_rows {
                continue;
            }
            // A dropped table has none.
            if !value(1).is_empty() {
                facts.files.insert(known.name.clone(), value(1).to_owned());
            }
            facts.scans.insert(known.name.clone(), value(2).parse().unwrap_or_default());
        }
        // Whoever cannot get to the table does not get to its indexes either.
        let covered = self.0.iter().filter(|known| {
            let mode = |name: &String| facts.locks.get(name).copied();
            known.table.as_ref().is_some_and(|table| mode(table) >= mode(&known.name))
        });
        let covered: Vec<_> = covered.map(|known| known.name.clone()).collect();
        facts.locks.retain(|name, _| !covered.contains(name));
        Ok(facts)
    }
}

impl Facts {
    /// What a statement did between the two.
    pub(super) fn since(&self, before: &Self, statement: &Statement) -> Measured {
        let lock = |(table, mode): (&String, &usize)| TableLock::new(table.clone(), *mode);
        let new = self.locks.iter().filter(|(table, mode)| before.locks.get(*table).is_none_or(|was| was < mode));
        let held: Vec<_> = self.locks.iter().map(lock).collect();
        let rewritten: Vec<_> =
            self.files.iter().filter(|(t, file)| before.files.get(*t).is_some_and(|was| was != *file)).collect();
        let scanned = self.scans.iter().filter(|(t, n)| before.scans.get(*t).copied().unwrap_or_default() < **n);
        let scanned = scanned.filter(|(table, _)| !rewritten.iter().any(|(rewritten, _)| rewritten == table));
        let work = rewritten
            .iter()
            .map(|(table, _)| ((*table).clone(), true))
            .chain(scanned.map(|(table, _)| (table.clone(), false)))
            // Its new file is empty, however large the table is.
            .filter(|_| statement.words.first().is_none_or(|word| word != "TRUNCATE"));
        let work = work.map(|(table, rewritten)| TableWork { table, rewritten, while_holding: held.clone() });
        Measured { locks: new.map(lock).collect(), work: work.collect() }
    }
}
