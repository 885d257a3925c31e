//! Several statements on one transaction at once, and what the closure may not do with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bedplate::error::WaitedFor;
use bedplate::models::NewBusinessIdea;
use bedplate::{Database, Error, Result};
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl as _;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, poll};
use rstest::rstest;
use tokio::sync::Barrier;

use crate::boundary::{ideas, one_text, run};
use crate::support::builders::DESCRIPTION;
use crate::support::database::{config, one_connection};
use crate::support::{TestDatabase, connection, db, execute, home, texts, until};

/// 1. Three statements are sent together, of which the first one fails.
/// 2. When all are answered, they are looked at in another order.
#[rstest]
#[case(&[0, 1, 2])]
#[case(&[1, 0, 2])]
#[case(&[2, 1, 0])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_error_decides_whoever_polls_first(#[future(awt)] db: TestDatabase, #[case] polled: &[usize]) {
    let mut owner = connection(&db.url).await;
    let things = "CREATE TABLE things (id int, CONSTRAINT things_id_check CHECK (id > 0)); \
                  GRANT ALL ON things TO bedplate_system";
    execute(&mut owner, things).await;
    let owner = &tokio::sync::Mutex::new(owner);
    let failed = db
        .system_tx("three", async |tx| {
            let connection = tx.connection();
            let mut sent: Vec<BoxFuture<'_, Result<()>>> = vec![
                Box::pin(run(connection, "INSERT INTO things VALUES (0)")),
                Box::pin(run(connection, "SELECT 1")),
                Box::pin(run(connection, "SELECT 2")),
            ];
            for statement in &mut sent {
                assert!(poll!(statement).is_pending()); // 1
            }
            let answered = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database() \
                            AND query = 'SELECT 2' AND state = 'idle in transaction (aborted)'";
            until(&mut *owner.lock().await, answered).await;
            for &n in polled {
                (&mut sent[n]).await?; // 2
            }
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(&failed, Error::Invalid { violations } if violations[0].field == "id"), "{failed:?}");
}

/// In each round two units of work lock two rows in opposite orders, each with three statements sent together.
/// All end well, as the deadlock decides and is run again.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_among_statements_sent_together_is_run_again(#[future(awt)] db: TestDatabase) {
    const ROUNDS: u32 = 4;
    let mut owner = connection(&db.url).await;
    let counters = "CREATE TABLE counters (id int PRIMARY KEY, n int); INSERT INTO counters VALUES (1, 0), (2, 0); \
                    GRANT SELECT, UPDATE ON counters TO bedplate_system";
    execute(&mut owner, counters).await;
    let runs = Arc::new(AtomicU32::new(0));
    for round in 0..ROUNDS {
        let both = Arc::new(Barrier::new(2));
        let count = |first: i32, second: i32| {
            let (database, runs, both) = (db.database.clone(), runs.clone(), both.clone());
            let tries = Arc::new(AtomicU32::new(0));
            tokio::spawn(async move {
                let (runs, both, tries) = (&runs, &both, &tries);
                let update = |id: i32| format!("UPDATE counters SET n = n + 1 WHERE id = {id}");
                database
                    .system_tx("deadlock", async move |tx| {
                        runs.fetch_add(1, Ordering::SeqCst);
                        run(tx.connection(), &update(first)).await?;
                        if tries.fetch_add(1, Ordering::SeqCst) == 0 {
                            both.wait().await;
                        }
                        let (locks, look) = (update(second), "SELECT count(*) FROM counters");
                        let connection = tx.connection();
                        tokio::try_join!(run(connection, &locks), run(connection, look), run(connection, look))?;
                        Ok(())
                    })
                    .await
            })
        };
        let (a, b) = (count(1, 2), count(2, 1));
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        assert!(a.is_ok() && b.is_ok(), "round {round}: {a:?}, {b:?}");
    }
    assert_eq!(texts(&mut owner, "SELECT n FROM counters").await, [(2 * ROUNDS).to_string(), (2 * ROUNDS).to_string()]);
    let runs = AtomicU32::load(&runs, Ordering::SeqCst);
    assert!(runs >= 3 * ROUNDS, "a deadlock in each round: {runs}");
}

/// What was written before the end is there or not, as the closure's own statement says; the caller is told.
#[rstest]
#[case::commit("COMMIT", 1)]
#[case::rollback("ROLLBACK", 0)]
#[case::both("COMMIT; BEGIN", 1)]
#[case::chained("COMMIT AND CHAIN", 1)]
#[case::anew("ROLLBACK; BEGIN", 0)]
#[tokio::test]
async fn an_end_of_the_closures_own_is_noticed(
    #[future(awt)] db: TestDatabase,
    #[case] end: &str,
    #[case] left: usize,
) {
    let home = home(&db).await;
    let database = one_connection(&db.url).await;
    let new = NewBusinessIdea { user_id: home.user, title: "Tea", description: DESCRIPTION };
    let ended = database
        .tenant_tx("ends", &home.context, async |tx| {
            tx.business_ideas().create(new).await?;
            run(tx.connection(), end).await
        })
        .await;
    assert!(matches!(ended, Err(Error::TransactionEnded)), "{ended:?}");
    assert_eq!(ideas(&database, &home.context).await, left);
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

async fn impatient(db: &TestDatabase) -> Database {
    let mut config = config(&db.url);
    config.timeouts.lock = Duration::from_millis(300);
    Database::connect(config).await.unwrap()
}

const MANY: &str = "SELECT repeat('x', 10000) AS line FROM generate_series(1, 5000)";

/// 1. A stream is begun, and one row of it is read. 2. Another statement is sent behind it: the rows before its answer
/// are never taken. 3. An error says so, and the pool's connections still work.
#[rstest]
#[tokio::test]
async fn a_statement_behind_an_unread_stream_is_an_error(#[future(awt)] db: TestDatabase) {
    let database = impatient(&db).await;
    let stuck = database
        .system_tx("stuck", async |tx| {
            let mut rows = sql_query(MANY).load_stream::<Line>(&mut tx.connection()).await?; // 1
            rows.next().await.unwrap()?;
            one_text(tx.connection(), "SELECT 'behind'").await // 2
        })
        .await;
    assert!(matches!(stuck, Err(Error::Timeout { waited_for: WaitedFor::Stream })), "{stuck:?}"); // 3
    let works = database.system_tx("works", async |tx| one_text(tx.connection(), "SELECT 'again'").await).await;
    assert_eq!(works.unwrap(), "again");
}

/// A stream that is read slowly, and a statement beside a stream that is read, are right.
#[rstest]
#[tokio::test]
async fn a_stream_may_be_read_slowly(#[future(awt)] db: TestDatabase) {
    let database = impatient(&db).await;
    let read = database
        .system_tx("slow", async |tx| {
            let mut rows = sql_query(MANY).load_stream::<Line>(&mut tx.connection()).await?;
            rows.next().await.unwrap()?;
            // Longer than a statement would wait; on another connection.
            db.system_tx("other", async |tx| run(tx.connection(), "SELECT pg_sleep(0.7)").await).await?;
            let mut length = 0;
            while let Some(row) = rows.next().await {
                length += row?.line.len();
            }
            let reads = async {
                let rows = sql_query(MANY).load_stream::<Line>(&mut tx.connection()).await?;
                Ok(rows.count().await)
            };
            let (count, beside) = tokio::try_join!(reads, one_text(tx.connection(), "SELECT 'beside'"))?;
            Ok((length, count, beside))
        })
        .await
        .unwrap();
    assert_eq!(read, (49_990_000, 5_000, "beside".to_owned()));
}
