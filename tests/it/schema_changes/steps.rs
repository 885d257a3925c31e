//! The steps that docs/operations.md allows while instances of before run.

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::support::folder::Folder;
use crate::support::{TestDatabase, connection, texts};

/// How many tables one step changes.
const TABLES: usize = 5;

/// One table, as its catalogue has it.
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
    partitioned: bool,
    /// (name, definition) of a CHECK that lists the words of a state.
    words: Option<(String, String)>,
}

/// Writes the migrations of a step for one table.
type Step = fn(&mut Change, &Table);

/// What was added, and so may be removed again.
pub struct Change {
    folder: Folder,
    of: usize,
    tables: Vec<Table>,
    number: u32,
    columns: Vec<(String, String)>,
    indexes: Vec<String>,
    added_tables: Vec<String>,
}

impl Change {
    /// Of the database `main`, `rfq` or `marketdata`: their own migrations are in the folder too.
    pub fn new(of: usize, tables: Vec<Table>) -> Self {
        let folder = Folder::new(&[]);
        let own = format!("{}/migrations/{}", env!("CARGO_MANIFEST_DIR"), ["main", "rfq", "marketdata"][of]);
        for migration in std::fs::read_dir(own).unwrap() {
            let migration = migration.unwrap();
            for file in std::fs::read_dir(migration.path()).unwrap() {
                let file = file.unwrap();
                let text = std::fs::read_to_string(file.path()).unwrap();
                folder.write(migration.file_name().to_str().unwrap(), file.file_name().to_str().unwrap(), &text);
            }
        }
        Self { folder, of, tables, number: 0, columns: Vec::new(), indexes: Vec::new(), added_tables: Vec::new() }
    }

    fn next(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    fn add(&mut self, bare: bool, up: &str) {
        let n = self.next();
        let name = format!("2027-01-01-{n:06}_grow");
        self.folder.add_as(bare, &name, up, "SELECT 1");
    }
}

/// The tables of an application's own schema.
pub async fn tables(db: &TestDatabase) -> Vec<Table> {
    let sql = "SELECT concat_ws('|', c.relname, c.relkind, k.conname, pg_get_constraintdef(k.oid)) FROM pg_class AS c \
                 LEFT JOIN LATERAL (SELECT * FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c' \
                      AND k.convalidated AND pg_get_constraintdef(k.oid) LIKE '%status = ANY (ARRAY[%' \
                      AND k.conname LIKE '%status_check' LIMIT 1) AS k ON true \
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
                  AND c.relname NOT LIKE '\\_\\_%' ORDER BY c.relname";
    let rows = texts(&mut connection(&db.url).await, sql).await;
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let mut parts = row.splitn(4, '|').map(str::to_owned);
            let (name, kind) = (parts.next().unwrap(), parts.next().unwrap());
            Table { name, partitioned: kind == "p", words: parts.next().zip(parts.next()) }
        })
        .collect();
    assert!(found.len() > 2, "{found:?}");
    found
}

/// Applies one kind of step to some tables, and says which.
pub async fn apply(db: &TestDatabase, change: &mut Change, random: &mut StdRng) -> String {
    let kinds: [(&str, Step); 9] = [
        ("nullable columns", nullable_column),
        ("columns with a default", column_with_default),
        ("indexes", index),
        ("a table", table),
        ("checks", check),
        ("required columns", required_column),
        ("words of states", word),
        ("removed columns", remove_column),
        ("removed indexes and tables", remove_others),
    ];
    // First of all what breaks most.
    let n = if change.number == 0 { change.of % 2 } else { random.random_range(0..kinds.len()) };
    let (what, step) = kinds[n];
    let chosen: Vec<Table> = change.tables.sample(random, TABLES).cloned().collect();
    let before = change.number;
    for table in &chosen {
        step(change, table);
    }
    change.folder.up(&db.url).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let names: Vec<_> = chosen.iter().map(|table| table.name.as_str()).collect();
    format!("{} migrations, {what}: {}", change.number - before, names.join(", "))
}

fn column(change: &mut Change, table: &Table, what: &str) {
    let column = format!("extra_{}", change.number);
    change.add(false, &format!("ALTER TABLE {} ADD COLUMN {column} {what};", table.name));
    change.columns.push((table.name.clone(), column));
}

fn nullable_column(change: &mut Change, table: &Table) {
    column(change, table, "text");
}

fn column_with_default(change: &mut Change, table: &Table) {
    column(change, table, "int NOT NULL DEFAULT 7");
}

fn index(change: &mut Change, table: &Table) {
    if !table.partitioned {
        let name = format!("extra_{}_idx", change.number);
        change.add(true, &format!("CREATE INDEX CONCURRENTLY {name} ON {} ((1));", table.name));
        change.indexes.push(name);
    }
}

fn table(change: &mut Change, _: &Table) {
    let name = format!("extra_{}", change.number);
    change.add(false, &format!("CREATE TABLE {name} (id uuid PRIMARY KEY);"));
    change.added_tables.push(name);
}

fn check(change: &mut Change, table: &Table) {
    let name = format!("extra_{}_check", change.number);
    change.add(false, &format!("ALTER TABLE {} ADD CONSTRAINT {name} CHECK (true) NOT VALID;", table.name));
    change.add(false, &format!("ALTER TABLE {} VALIDATE CONSTRAINT {name};", table.name));
}

/// NOT NULL, by way of a CHECK, of a column that instances of before give by its default.
fn required_column(change: &mut Change, table: &Table) {
    let (name, column) = (format!("extra_{}_check", change.number), format!("extra_{}", change.number));
    let table = &table.name;
    change.add(false, &format!("ALTER TABLE {table} ADD COLUMN {column} int DEFAULT 1;"));
    change.add(false, &format!("ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID;"));
    change.add(false, &format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name};"));
    change.add(false, &format!("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;"));
    change.columns.push((table.clone(), column));
}

/// A word that instances of before do not write.
fn word(change: &mut Change, table: &Table) {
    let Some((name, definition)) = &table.words else { return };
    let wider = definition.replacen("ARRAY[", &format!("ARRAY['extra_{}'::text, ", change.number), 1);
    let table = &table.name;
    change.add(false, &format!("ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {wider} NOT VALID;"));
    change.add(false, &format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name};"));
}

/// Of those that were added: no instance knows them.
fn remove_column(change: &mut Change, table: &Table) {
    match change.columns.pop() {
        Some((table, column)) => change.add(false, &format!("ALTER TABLE {table} DROP COLUMN {column};")),
        None => nullable_column(change, table),
    }
}

fn remove_others(change: &mut Change, of: &Table) {
    if let Some(index) = change.indexes.pop() {
        change.add(true, &format!("DROP INDEX CONCURRENTLY {index};"));
    } else if let Some(table) = change.added_tables.pop() {
        change.add(false, &format!("DROP TABLE {table};"));
    } else {
        index(change, of);
    }
}
