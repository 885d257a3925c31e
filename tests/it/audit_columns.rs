//! `as_of` across changes of a table's columns: the row with the columns and values of then, or an error, and never
//! values of another time.

use std::collections::BTreeMap;

use bedplate::models::{AuditFilter, AuditedEntity, PageRequest};
use bedplate::{Error, Result};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Home, TestDatabase, as_app, connection, db, execute, home, texts};

const ROWS: usize = 4;

fn id(n: usize) -> String {
    format!("00000000-0000-7000-8000-{n:012}")
}

/// A table of an application, audited, and connections that alter and write it.
struct Samples<'t> {
    db: &'t TestDatabase,
    home: Home,
    owner: AsyncPgConnection,
    app: AsyncPgConnection,
}

impl<'t> Samples<'t> {
    async fn new(db: &'t TestDatabase, columns: &str) -> Self {
        let home = home(db).await;
        let mut owner = connection(&db.url).await;
        execute(
            &mut owner,
            &format!(
                "CREATE TABLE samples (tenant_id uuid NOT NULL, id uuid NOT NULL, {columns}, PRIMARY KEY (tenant_id, id)); \
                 CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON samples FOR EACH ROW EXECUTE FUNCTION audit('samples', 'id'); \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON samples TO bedplate_app"
            ),
        )
        .await;
        let app = as_app(db, &home).await;
        Self { db, home, owner, app }
    }

    async fn alter(&mut self, change: &str) {
        execute(&mut self.owner, &format!("ALTER TABLE samples {change}")).await;
    }

    async fn write(&mut self, sql: &str) {
        execute(&mut self.app, sql).await;
    }

    async fn insert(&mut self, n: usize) {
        let id = id(n);
        self.write(&format!(
            "INSERT INTO samples (tenant_id, id) VALUES (current_tenant(), '{id}') ON CONFLICT DO NOTHING"
        ))
        .await;
    }

    /// The row as it is, and the time.
    async fn note(&mut self, n: usize) -> (DateTime<Utc>, Option<Value>) {
        let id = id(n);
        let row = texts(&mut self.app, &format!("SELECT to_jsonb(s) FROM samples AS s WHERE id = '{id}'")).await;
        let time = texts(&mut self.app, "SELECT to_json(clock_timestamp()) #>> '{}'").await.remove(0);
        (time.parse().unwrap(), row.first().map(|row| serde_json::from_str(row).unwrap()))
    }

    async fn as_of(&self, n: usize, time: DateTime<Utc>) -> Result<Option<Value>> {
        let entity = AuditedEntity { entity_type: "samples".into(), entity_id: id(n) };
        self.db.tenant_tx("as_of", &self.home.context, async |tx| tx.audit().as_of(entity.clone(), time).await).await
    }
}

/// A column was renamed and another one got its name; one was added with a default; one was dropped; one got another
/// type. Yesterday's row is yesterday's.
#[rstest]
#[case::renamed_and_another_one_has_its_name("RENAME a TO b", "ADD a text DEFAULT 'of today'")]
#[case::dropped_and_made_again("DROP a", "ADD a text DEFAULT 'of today'")]
#[case::added("ADD c text DEFAULT 'of today'", "ADD d int DEFAULT 5")]
#[case::retyped("ALTER n TYPE text", "ALTER a DROP DEFAULT, ALTER a TYPE int USING length(a)")]
#[case::retyped_to_a_wider_one("ALTER n TYPE bigint", "ALTER a TYPE varchar(300)")]
#[case::rounded("ALTER amount TYPE numeric(20, 1)", "ALTER amount TYPE numeric(20, 2)")]
#[case::swapped("RENAME a TO swap", "RENAME n TO a")]
#[case::dropped("DROP a", "DROP n")]
#[tokio::test]
async fn yesterdays_row_has_yesterdays_columns(
    #[future(awt)] db: TestDatabase,
    #[case] first: &str,
    #[case] second: &str,
) {
    let mut samples =
        Samples::new(&db, "a text DEFAULT 'old', n int DEFAULT 1, amount numeric(20, 4) DEFAULT 2.25").await;
    samples.insert(0).await;
    let yesterday = samples.note(0).await;
    // Anybody's write shows which columns there were.
    samples.insert(1).await;
    samples.alter(first).await;
    samples.alter(second).await;
    for write in ["SELECT", "UPDATE samples SET amount = 3", "DELETE FROM samples"] {
        samples.write(write).await;
        assert_eq!(samples.as_of(0, yesterday.0).await.unwrap(), yesterday.1, "after {write}");
    }
    assert_eq!(samples.as_of(0, Utc::now()).await.unwrap(), None);
}

/// Between the last write before a change and the first one after it, nobody knows which columns there were.
#[rstest]
#[tokio::test]
async fn what_cannot_be_told_is_an_error(#[future(awt)] db: TestDatabase) {
    let mut samples = Samples::new(&db, "a text DEFAULT 'old'").await;
    samples.insert(0).await;
    let (between, before) = samples.note(0).await;
    samples.alter("RENAME a TO b").await;
    samples.alter("ADD a text DEFAULT 'of today'").await;
    let cannot_tell = async |samples: &Samples<'_>| {
        let error = samples.as_of(0, between).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }));
        let expected = "time is not answered for: the columns of samples were changed";
        assert!(error.to_string().starts_with(expected), "{error}");
    };
    cannot_tell(&samples).await;
    samples.write("UPDATE samples SET a = 'x', b = 'y'").await;
    cannot_tell(&samples).await;
    let (after, row) = samples.note(0).await;
    samples.write("UPDATE samples SET a = 'z'").await;
    assert_eq!(samples.as_of(0, after).await.unwrap(), row);
    assert_ne!(before, row);
}

/// 1. Random changes of four rows and of the table's columns.
/// 2. After each change it is noted how the rows are, and when.
/// 3. For each note, the log says the same, or that it cannot tell.
#[rstest]
#[tokio::test]
async fn no_row_is_rebuilt_with_columns_of_another_time(#[future(awt)] db: TestDatabase) {
    let seed = std::env::var("BEDPLATE_SEED").ok().map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("BEDPLATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut samples = Samples::new(&db, "c0 text DEFAULT 'old', c1 int DEFAULT 1, c2 numeric(12, 4) DEFAULT 0.5").await;
    let mut notes = Vec::new();
    for step in 0..150 {
        let n = random.random_range(0..ROWS);
        let columns = texts(
            &mut samples.owner,
            "SELECT attname FROM pg_attribute WHERE attrelid = 'samples'::regclass AND attnum > 2 AND NOT attisdropped",
        )
        .await;
        // 1
        match random.random_range(0..20) {
            0..6 => samples.insert(n).await,
            6..8 => samples.write(&format!("DELETE FROM samples WHERE id = '{}'", id(n))).await,
            8..17 => {
                let Some(column) = columns.choose(&mut random) else { continue };
                let value = random.random_range(1..5);
                samples.write(&format!("UPDATE samples SET {column} = {value} WHERE id = '{}'", id(n))).await;
            }
            _ => {
                let (column, name) = (columns.choose(&mut random).cloned(), format!("c{}", random.random_range(0..5)));
                let change = match (column, random.random_range(0..4)) {
                    (Some(column), 0) => format!("RENAME {column} TO {name}"),
                    (Some(column), 1) => format!("DROP {column}"),
                    (Some(column), 2) => {
                        // To a type that no column had before: nobody sees what is altered and altered back between
                        // two writes.
                        let to = if random.random() {
                            format!("varchar({})", 50 + step)
                        } else {
                            format!("numeric({}, 1)", 20 + step)
                        };
                        format!(
                            "ALTER {column} DROP DEFAULT, ALTER {column} TYPE {to} \
                             USING NULLIF(regexp_replace({column}::text, '[^0-9.]', '', 'g'), '')::{to}"
                        )
                    }
                    _ => format!("ADD {name} text DEFAULT 'added in {step}'"),
                };
                // A name may be taken.
                let _ = samples.owner.batch_execute(&format!("ALTER TABLE samples {change}")).await;
            }
        }
        // 2
        for n in 0..ROWS {
            let (time, row) = samples.note(n).await;
            notes.push((n, time, row));
        }
    }
    // 3
    let mut outcomes = BTreeMap::<&str, usize>::new();
    for (n, time, row) in &notes {
        let outcome = match samples.as_of(*n, *time).await {
            Ok(found) => {
                assert_eq!(&found, row, "row {n} at {time}; BEDPLATE_SEED={seed}");
                if found.is_some() { "rebuilt" } else { "absent" }
            }
            Err(Error::Invalid { .. }) => "cannot tell",
            Err(error) => panic!("{error}; BEDPLATE_SEED={seed}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    // A change is followed by a write soon: what is between them is not known, and the rest is.
    let of = |outcome| outcomes.get(outcome).copied().unwrap_or_default();
    assert!(of("rebuilt") > 50 && of("absent") > 0, "{outcomes:?}; BEDPLATE_SEED={seed}");
}

/// What no float holds is given as text, in entries, in rebuilt rows, and inside of JSON.
#[rstest]
#[tokio::test]
async fn numbers_are_given_back_exactly(#[future(awt)] db: TestDatabase) {
    const INTEGER: &str = "12345678901234567890123";
    const FRACTION: &str = "123456789.123456789123456789";
    let mut samples =
        Samples::new(&db, &format!("amount numeric DEFAULT {INTEGER}, data jsonb DEFAULT '[0.1, 7, {FRACTION}]'"))
            .await;
    samples.insert(0).await;
    let (time, _) = samples.note(0).await;
    samples.write(&format!("UPDATE samples SET amount = {FRACTION}, data = '{{\"n\": -{INTEGER}, \"m\": 1}}'")).await;
    let row = samples.as_of(0, time).await.unwrap().unwrap();
    assert_eq!((&row["amount"], &row["data"]), (&json!(INTEGER), &json!([0.1, 7, FRACTION])));
    let filter = AuditFilter {
        entity: Some(AuditedEntity { entity_type: "samples".into(), entity_id: id(0) }),
        ..AuditFilter::default()
    };
    let list = async |tx: bedplate::TenantTx| tx.audit().list(&filter, &PageRequest::first(1)).await;
    let entry = db.tenant_tx("list", &samples.home.context, list).await.unwrap().items.remove(0);
    let (old, new) = (entry.old_value.unwrap(), entry.new_value.unwrap());
    assert_eq!((&old["amount"], &old["data"]), (&json!(INTEGER), &json!([0.1, 7, FRACTION])));
    assert_eq!((&new["amount"], &new["data"]), (&json!(FRACTION), &json!({"n": format!("-{INTEGER}"), "m": 1})));
}

/// 1. A row is written. 2. TRUNCATE, or an owner who disabled the trigger, takes it away: the log has no entry of it.
/// 3. The row comes back. Before and after, the log says that it cannot tell, and never that there was no row.
#[rstest]
#[case::truncated("TRUNCATE samples")]
#[case::without_trigger(
    "ALTER TABLE samples DISABLE TRIGGER audit; DELETE FROM samples; ALTER TABLE samples ENABLE TRIGGER audit"
)]
#[tokio::test]
async fn what_was_written_past_the_log_is_an_error(#[future(awt)] db: TestDatabase, #[case] sql: &str) {
    let mut samples = Samples::new(&db, "note text DEFAULT 'a'").await;
    samples.insert(1).await;
    let (written, row) = samples.note(1).await; // 1
    assert!(row.is_some());
    execute(&mut samples.owner, &format!("SET ROLE NONE; {sql}")).await; // 2
    let told = samples.as_of(1, written).await;
    assert!(
        matches!(&told, Err(Error::Invalid { violations }) if violations[0].message.contains("past the audit log")),
        "{told:?}"
    );
    let (gone, _) = samples.note(1).await;
    samples.insert(1).await; // 3
    let told = samples.as_of(1, written).await;
    assert!(matches!(&told, Err(Error::Invalid { .. })), "{told:?}");
    let told = samples.as_of(1, gone).await;
    assert!(matches!(&told, Err(Error::Invalid { .. })), "{told:?}");
    let (now, row) = samples.note(1).await;
    assert_eq!(samples.as_of(1, now).await.unwrap(), row);
}

/// 1. A column is added. 2. It is dropped again before anybody writes: the columns are the old ones. 3. Of the time
/// between, the log cannot tell.
#[rstest]
#[tokio::test]
async fn a_column_that_was_there_between_two_writes_is_noticed(#[future(awt)] db: TestDatabase) {
    let mut samples = Samples::new(&db, "note text DEFAULT 'a'").await;
    samples.insert(1).await;
    samples.alter("ADD b text DEFAULT 'b'").await; // 1
    let (between, _) = samples.note(1).await;
    samples.alter("DROP b").await; // 2
    samples.write("UPDATE samples SET note = 'c'").await;
    let told = samples.as_of(1, between).await; // 3
    assert!(matches!(&told, Err(Error::Invalid { .. })), "{told:?}");
}

/// A restored table has no dropped columns, and counts those behind them anew: what was `a` is not told to be `b`.
#[rstest]
#[tokio::test]
async fn a_table_that_was_restored_is_not_mixed_up(#[future(awt)] db: TestDatabase) {
    let mut samples = Samples::new(&db, "a text DEFAULT 'of a', b text DEFAULT 'of b'").await;
    samples.insert(1).await;
    let (with_a, _) = samples.note(1).await;
    samples.alter("DROP a").await;
    samples.write("UPDATE samples SET b = 'changed'").await;
    let (without_a, _) = samples.note(1).await;
    execute(
        &mut samples.owner,
        "ALTER TABLE samples RENAME TO old; CREATE TABLE samples (LIKE old); INSERT INTO samples SELECT * FROM old; DROP TABLE old; \
         CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON samples FOR EACH ROW EXECUTE FUNCTION audit('samples', 'id'); \
         GRANT SELECT, INSERT, UPDATE, DELETE ON samples TO bedplate_app",
    )
    .await;
    for written in [false, true] {
        if written {
            samples.write("UPDATE samples SET b = 'once more'").await;
        }
        for time in [with_a, without_a] {
            let told = samples.as_of(1, time).await;
            assert!(matches!(&told, Err(Error::Invalid { .. })), "{written}: {told:?}");
        }
    }
    let (now, row) = samples.note(1).await;
    assert_eq!(samples.as_of(1, now).await.unwrap(), row);
}
