//! `as_of` rebuilds any row after any change: a random history, compared with what the rows really were.

use std::collections::BTreeMap;

use bedplate::models::AuditedEntity;
use bedplate::{Result, TenantTx};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Jsonb, Nullable, Timestamptz};
use diesel::{QueryableByName, sql_query};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rstest::rstest;
use serde_json::Value;

use crate::support::{TestDatabase, connection, db, execute, home};

/// At least so many changes.
const CHANGES: usize = 1000;

/// What one change does to the row of this number.
#[derive(Debug, Clone)]
enum Change {
    /// Sets a column to an SQL expression.
    Set(usize, &'static str, &'static str),
    /// Inserts it, or changes nothing.
    Insert(usize),
    Delete(usize),
    /// Gives it another key, where that is free.
    Rename(usize, usize),
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Jsonb>)]
    sample: Option<Value>,
    #[diesel(sql_type = Timestamptz)]
    time: DateTime<Utc>,
}

fn id(n: usize) -> String {
    format!("00000000-0000-7000-8000-{n:012}")
}

/// Values that JSON, time zones and output settings are known to blur.
fn changes() -> impl Strategy<Value = Change> {
    let set = |column: &'static str, values: &'static [&'static str]| {
        (0_usize..6, proptest::sample::select(values)).prop_map(move |(row, value)| Change::Set(row, column, value))
    };
    prop_oneof![
        6 => (0_usize..6).prop_map(Change::Insert),
        2 => (0_usize..6).prop_map(Change::Delete),
        2 => (0_usize..6, 0_usize..6).prop_map(|(from, to)| Change::Rename(from, to)),
        4 => set("json", &["'1'", "'1.0'", "'1.00'", "'null'", "NULL", "'{\"a\": [1, 2.50, null, \"x\"]}'", "'{\"a\": [1, 2.5, null, \"x\"]}'", "'\"1\"'", "'[]'"]),
        4 => set("number", &["0.1::float8 + 0.2::float8", "0.3", "1e300", "NULL", "'NaN'", "'Infinity'", "random()"]),
        3 => set("amount", &["1", "1.5", "NULL", "random() * 1000000"]),
        3 => set("words", &["'{}'", "'{a,b}'", "'{\"a,b\",NULL,\"\"}'", "NULL", "'{b,a}'"]),
        3 => set("moment", &["now()", "clock_timestamp()", "'infinity'", "'2026-03-29 02:30+01'", "NULL", "'0001-01-01 BC'"]),
        2 => set("note", &["''", "'null'", "'ü€ \"quoted\" \\ '", "NULL", "repeat('x', 5000)"]),
        2 => set("address", &["'127.0.0.1'", "'::1'", "'10.0.0.0/8'", "NULL"]),
        2 => set("bytes", &["'\\x00ff'", "''", "NULL"]),
        2 => set("access_token", &["'secret'", "'other secret'", "NULL"]),
    ]
}

impl Change {
    fn sql(&self) -> String {
        match self {
            Self::Set(row, column, value) => format!("UPDATE samples SET {column} = {value} WHERE id = '{}'", id(*row)),
            Self::Insert(row) => format!(
                "INSERT INTO samples (tenant_id, id, amount) SELECT current_tenant(), '{}', 1 ON CONFLICT DO NOTHING",
                id(*row)
            ),
            Self::Delete(row) => format!("DELETE FROM samples WHERE id = '{}'", id(*row)),
            Self::Rename(from, to) => format!(
                "UPDATE samples SET id = '{}' WHERE id = '{}' AND NOT EXISTS (SELECT FROM samples WHERE id = '{0}')",
                id(*to),
                id(*from)
            ),
        }
    }

    fn rows(&self) -> Vec<usize> {
        match self {
            Self::Set(row, ..) | Self::Insert(row) | Self::Delete(row) => vec![*row],
            Self::Rename(from, to) => vec![*from, *to],
        }
    }
}

/// The row as it is, and when.
async fn state(tx: &TenantTx, row: usize) -> Result<(DateTime<Utc>, Option<Value>)> {
    let query = format!(
        "SELECT (SELECT to_jsonb(s) - 'access_token' FROM samples AS s WHERE id = '{}') AS sample, clock_timestamp() AS time",
        id(row)
    );
    let found: Row = sql_query(query).get_result(&mut tx.connection()).await?;
    Ok((found.time, found.sample))
}

/// 1. Random changes of six rows, one to five a transaction; every fifth transaction rolls back. Their
///    sessions have different time zones and output settings.
/// 2. After each change it is noted how the rows are, and when.
/// 3. For each note, the log says the same.
#[rstest]
#[tokio::test]
async fn any_row_is_rebuilt_after_any_change(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "CREATE TABLE samples (tenant_id uuid NOT NULL, id uuid NOT NULL, json jsonb, number float8, amount numeric(20, 4), \
             words text[], moment timestamptz, note text, address inet, bytes bytea, access_token text, \
             updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant_id, id)); \
         ALTER TABLE samples ENABLE ROW LEVEL SECURITY; ALTER TABLE samples FORCE ROW LEVEL SECURITY; \
         CREATE POLICY tenant ON samples TO bedplate_app USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant())); \
         CREATE TRIGGER update_updated_at BEFORE UPDATE ON samples FOR EACH ROW EXECUTE FUNCTION update_updated_at(); \
         CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON samples FOR EACH ROW EXECUTE FUNCTION audit('samples', 'id'); \
         GRANT SELECT, INSERT, UPDATE, DELETE ON samples TO bedplate_app",
    )
    .await;
    let mut runner = TestRunner::default();
    let mut pick = |strategy: BoxedStrategy<usize>| strategy.new_tree(&mut runner).unwrap().current();
    let mut notes: Vec<(usize, DateTime<Utc>, Option<Value>)> = Vec::new();
    let (mut done, mut number_of_transaction) = (0, 0);
    let mut other = TestRunner::default();
    while done < CHANGES {
        number_of_transaction += 1;
        let rolls_back = number_of_transaction % 5 == 0;
        let many = pick((1_usize..=5).boxed());
        let several: Vec<Change> = (0..many).map(|_| changes().new_tree(&mut other).unwrap().current()).collect();
        let zone = ["UTC", "Asia/Kathmandu", "America/St_Johns"][number_of_transaction % 3];
        let digits = number_of_transaction % 4;
        let several = &several;
        // 1
        let outcome = db
            .tenant_tx("changes", &home.context, async |tx| {
                let mut connection = tx.connection();
                let mut notes = Vec::new();
                for change in several {
                    connection
                        .batch_execute(&format!("SET LOCAL TimeZone = '{zone}'; SET LOCAL extra_float_digits = {digits}; SET LOCAL bytea_output = 'hex'"))
                        .await?;
                    connection.batch_execute(&change.sql()).await?;
                    connection.batch_execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1").await?;
                    // 2
                    for row in change.rows() {
                        let (time, row_then) = state(&tx, row).await?;
                        notes.push((row, time, row_then));
                    }
                }
                if rolls_back { Err(bedplate::Error::Unauthenticated) } else { Ok(notes) }
            })
            .await;
        if let Ok(new) = outcome {
            notes.extend(new);
            done += many;
        } else {
            assert!(rolls_back, "{outcome:?} after {several:?}");
        }
    }
    // 3
    let mut kinds = BTreeMap::<bool, usize>::new();
    let wrong = db
        .tenant_tx("as_of", &home.context, async |tx| {
            let mut wrong = Vec::new();
            for (row, time, expected) in &notes {
                let entity = AuditedEntity { entity_type: "samples".into(), entity_id: id(*row) };
                let mut found = tx.audit().as_of(entity, *time).await?;
                if let Some(Value::Object(columns)) = &mut found {
                    let token = columns.remove("access_token").unwrap();
                    assert!(token.is_null() || token == "[redacted]", "{token}");
                }
                if &found != expected {
                    wrong.push(format!("row {row} at {time}: {found:?}, but it was {expected:?}"));
                }
            }
            Ok(wrong)
        })
        .await
        .unwrap();
    for (_, _, expected) in &notes {
        *kinds.entry(expected.is_some()).or_default() += 1;
    }
    assert_eq!(wrong, Vec::<String>::new(), "of {} notes", notes.len());
    assert!(notes.len() >= CHANGES && kinds[&true] > 400 && kinds[&false] > 50, "{kinds:?}");
}
