//! What blocks readers or writers for as long as a table is large, and what loses rows. Squawk knows a part of it; the
//! rest of the list is asked here. A table that the same migration makes is empty and known to nobody: it is harmless.
//!
//! The list follows PostgreSQL's manual, "Explicit Locking", ALTER TABLE and its notes.
//!
//! | statement | lock, for how long | rule |
//! |---|---|---|
//! | VACUUM FULL, CLUSTER | ACCESS EXCLUSIVE, a rewrite | `vacuum-full`, `cluster` |
//! | LOCK TABLE in SHARE or stronger | as it says, to the end of the transaction | `lock-table` |
//! | SET LOGGED, SET UNLOGGED | ACCESS EXCLUSIVE, a rewrite | `set-logged` |
//! | SET TABLESPACE, SET ACCESS METHOD | ACCESS EXCLUSIVE, a copy or a rewrite | `set-tablespace`, `set-access-method` |
//! | ALTER COLUMN … TYPE | ACCESS EXCLUSIVE; a rewrite unless only the limit grows | `changing-column-type` |
//! | … of a column with a CHECK | ACCESS EXCLUSIVE, the CHECK is asked of every row | `changing-checked-column` |
//! | SET EXPRESSION | ACCESS EXCLUSIVE, a rewrite | `set-expression` |
//! | ADD COLUMN with STORED, IDENTITY, serial | ACCESS EXCLUSIVE, a rewrite | `adding-computed-field` |
//! | ADD COLUMN with a volatile default | ACCESS EXCLUSIVE, a rewrite | squawk's `adding-field-with-default` |
//! | ADD COLUMN with CHECK, UNIQUE, PRIMARY KEY | ACCESS EXCLUSIVE, a scan or an index | `adding-field-with-constraint` |
//! | ADD COLUMN without them, with a constant default | ACCESS EXCLUSIVE, a moment | harmless |
//! | SET NOT NULL | ACCESS EXCLUSIVE, a scan unless a valid CHECK says it | `adding-not-nullable-field` |
//! | ADD CHECK, FOREIGN KEY, UNIQUE, PRIMARY KEY | a scan or an index | squawk's |
//! | ADD EXCLUDE | ACCESS EXCLUSIVE, an index | `adding-exclusion-constraint` |
//! | VALIDATE CONSTRAINT | SHARE UPDATE EXCLUSIVE | harmless; with its ADD in one transaction squawk refuses it |
//! | ATTACH PARTITION | ACCESS EXCLUSIVE on the partition, a scan unless a valid CHECK says its bounds | `attach-partition` |
//! | DETACH PARTITION | ACCESS EXCLUSIVE | squawk's `require-concurrent-partition-detach` |
//! | SPLIT PARTITION, MERGE PARTITIONS | ACCESS EXCLUSIVE, a copy | `split-partition` |
//! | CREATE INDEX, REINDEX, DROP INDEX | SHARE or ACCESS EXCLUSIVE | squawk's |
//! | REFRESH MATERIALIZED VIEW | ACCESS EXCLUSIVE, the query | `refresh-not-concurrently` |
//! | ALTER DOMAIN … VALIDATE, SET NOT NULL | SHARE on every table with it, a scan | `checking-domain` |
//! | TRUNCATE | ACCESS EXCLUSIVE; the rows are lost | `truncating-table` |
//! | UPDATE, DELETE without WHERE | every row is locked; the rows are lost, or written twice | `change-without-where` |
//! | DROP TABLE, DROP COLUMN | ACCESS EXCLUSIVE, a moment; the rows are lost | squawk's `ban-drop-table`, `ban-drop-column` |
//! | CREATE TRIGGER, ENABLE or DISABLE TRIGGER, SET DEFAULT, SET STATISTICS, SET STORAGE, storage parameters, RENAME, OWNER TO, ENABLE ROW LEVEL SECURITY, INHERIT, CLUSTER ON, ANALYZE, CREATE STATISTICS | up to ACCESS EXCLUSIVE, a moment | harmless: `lock_timeout` keeps the moment short |

mod tables;
mod types;
mod walk;

pub(super) use tables::RULES;
pub(super) use walk::{findings, inside};
