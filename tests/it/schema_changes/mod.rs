//! Instances that run while the schema under them grows: docs/operations.md, "Expand and contract".

mod load;
mod steps;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bedplate::{Database, Result};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel_async::RunQueryDsl as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rstest::rstest;
use tokio::sync::Barrier;

use crate::exercise::{exercise, exercise_marketdata, exercise_rfq};
use crate::support::database::{config, one_connection};
use crate::support::{TestDatabase, connection, db, execute, home, marketdata_db, rfq_db, texts};
use load::Load;
use steps::{Change, apply, tables};

/// A statement of an application's own that returns whatever columns there are, prepared once a connection.
#[derive(QueryId)]
struct All;

impl QueryFragment<Pg> for All {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT * FROM things");
        Ok(())
    }
}

async fn ask(database: &Database, runs: &AtomicU32, all: Option<&Barrier>) -> Result<usize> {
    database
        .system_tx("ask", async |tx| {
            runs.fetch_add(1, Ordering::SeqCst);
            if let Some(all) = all {
                all.wait().await;
            }
            Ok(All.execute(&mut tx.connection()).await?)
        })
        .await
}

/// 1. Three connections prepare a statement with `*`. 2. A migration adds a column. 3. The next transaction meets it and
/// runs again, on a new connection; 4. the others meet new connections at once.
#[rstest]
#[tokio::test]
async fn a_statement_that_returns_other_columns_runs_again(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    let things =
        "CREATE TABLE things (id int); INSERT INTO things VALUES (1); GRANT SELECT ON things TO bedplate_system";
    execute(&mut owner, things).await;
    let mut config = config(&db.url);
    config.pool.max_size = 3;
    let (database, runs, all) = (Database::connect(config).await.unwrap(), AtomicU32::new(0), Barrier::new(3));
    let once = || ask(&database, &runs, Some(&all));
    tokio::try_join!(once(), once(), once()).unwrap(); // 1
    execute(&mut owner, "ALTER TABLE things ADD COLUMN more text").await; // 2
    runs.store(0, Ordering::SeqCst);
    assert_eq!(ask(&database, &runs, None).await.unwrap(), 1);
    assert_eq!(AtomicU32::load(&runs, Ordering::SeqCst), 2); // 3
    tokio::try_join!(once(), once(), once()).unwrap();
    assert_eq!(AtomicU32::load(&runs, Ordering::SeqCst), 5); // 4
}

/// Statements that connections keep prepared, of every repository of every database.
async fn prepared(databases: [&TestDatabase; 3]) -> Vec<String> {
    const PREPARED: &str = "SELECT statement FROM pg_prepared_statements WHERE NOT from_sql";
    let [main, rfq, marketdata] = databases;
    let home = home(main).await;
    let database = one_connection(&main.url).await;
    exercise(&database, &home).await;
    load::sessions(&database).await;
    load::system(&database).await;
    let mut found = database.system_tx("look", async |tx| Ok(all_texts(&tx, PREPARED).await)).await.unwrap();
    let database = one_connection(&rfq.url).await;
    exercise_rfq(&database, &home.context).await;
    found.extend(database.rfq().system_tx("look", async |tx| Ok(all_texts(&tx, PREPARED).await)).await.unwrap());
    load::reference(marketdata).await;
    let database = one_connection(&marketdata.url).await;
    let read = database.marketdata().read_tx("look", async |tx| {
        exercise_marketdata(&tx).await?;
        Ok(all_texts(&tx, PREPARED).await)
    });
    found.extend(read.await.unwrap());
    found
}

async fn all_texts<Scope>(tx: &bedplate::database::Tx<Scope>, sql: &str) -> Vec<String> {
    #[derive(diesel::QueryableByName)]
    struct Text {
        #[diesel(sql_type = diesel::sql_types::Text)]
        statement: String,
    }
    let rows: Vec<Text> = diesel::sql_query(sql).load(&mut tx.connection()).await.unwrap();
    rows.into_iter().map(|row| row.statement).collect()
}

/// Whether a list of columns has a `*`, which is neither `count(*)` nor a product.
fn asks_for_all(statement: &str) -> bool {
    let words = statement.replace("count(*)", "");
    words.match_indices('*').any(|(at, _)| {
        let before = words[..at].trim_end();
        before.ends_with([',', '.']) || before.ends_with("SELECT") || before.ends_with("RETURNING")
    })
}

#[rstest]
#[tokio::test]
async fn no_statement_asks_for_all_columns(
    #[future(awt)] db: TestDatabase,
    #[future(awt)] rfq_db: TestDatabase,
    #[future(awt)] marketdata_db: TestDatabase,
) {
    assert!(asks_for_all("SELECT * FROM t") && asks_for_all("UPDATE t SET a = 1 RETURNING t.*"));
    assert!(!asks_for_all("SELECT count(*), $4 * interval '1 second' FROM t"));
    let prepared = prepared([&db, &rfq_db, &marketdata_db]).await;
    assert!(prepared.len() > 150, "only {} statements were seen", prepared.len());
    for statement in prepared {
        assert!(!asks_for_all(&statement), "{statement}");
    }
}

/// Every repository method, a relay, a subscription and the sessions run on all three databases, while a migration adds or
/// removes something; the next one comes when each of them has done a whole unit of work since. No unit fails.
///
/// `BEDPLATE_ROUNDS` says how many migrations there are, `BEDPLATE_SEED` repeats a run; `scripts/stress-schema-changes`
/// sets both.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_go_on_while_the_schema_grows(
    #[future(awt)] db: TestDatabase,
    #[future(awt)] rfq_db: TestDatabase,
    #[future(awt)] marketdata_db: TestDatabase,
) {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = variable("BEDPLATE_ROUNDS").unwrap_or(4);
    let seed = variable("BEDPLATE_SEED").unwrap_or_else(|| rand::rng().random::<u32>().into());
    println!("BEDPLATE_SEED={seed} BEDPLATE_ROUNDS={rounds}");
    let mut random = StdRng::seed_from_u64(seed);
    load::reference(&marketdata_db).await;
    let databases = [Arc::new(db), Arc::new(rfq_db), Arc::new(marketdata_db)];
    let mut changes = Vec::new();
    for (of, database) in databases.iter().enumerate() {
        changes.push((of, Change::new(of, tables(database).await)));
    }
    let mut load = Load::start(&databases).await;
    load.each_does_one_more().await;
    for round in 0..rounds {
        // Each database in turn; more often the one with the most tables.
        let (of, change) = &mut changes[[0, 1, 0, 2][usize::try_from(round % 4).unwrap()]];
        let told = apply(&databases[*of], change, &mut random).await;
        println!("round {round}: {told}");
        load.each_does_one_more().await;
    }
    load.stop().await;
    let added = texts(
        &mut connection(&databases[0].url).await,
        "SELECT count(*)::text FROM __bedplate_migrations WHERE name LIKE '%grow%'",
    )
    .await;
    assert_ne!(added, ["0"], "nothing was changed");
}
