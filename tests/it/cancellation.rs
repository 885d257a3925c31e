//! Whoever drops a future leaves nothing behind: no query that goes on, no transaction, no lock, no setting.

use std::time::Duration;

use bedplate::{Database, Error};
use rstest::rstest;
use tokio::time::timeout;

use crate::boundary::{one_text, run};
use crate::support::database::{config, one_connection};
use crate::support::pgbouncer::PgBouncer;
use crate::support::{Home, IdeaBuilder, TestDatabase, connection, db, execute, home, texts, until};

/// What is left on the server of transactions by this name, asked as the login that they have.
fn left(name: &str) -> String {
    format!(
        "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
            AND (application_name = '{name}' OR state LIKE 'idle in transaction%' OR query LIKE '%pg_sleep%')"
    )
}

/// 1. A transaction locks a row, and sends a query that would take a minute.
/// 2. When the server runs it, the future is dropped.
/// 3. The query ends at once, and with it the lock and the transaction; the pool has one connection, which works for
///    another tenant, and knows nothing of the first.
#[rstest]
#[tokio::test]
async fn a_query_ends_with_its_future(#[future(awt)] db: TestDatabase) {
    let (first, other) = (home(&db).await, home(&db).await);
    let idea = IdeaBuilder::new(&first).create(&db).await;
    let database = one_connection(&db.url).await;
    let mut watch = connection(db.config().url()).await;
    let work = database.tenant_tx("dropped", &first.context, async |tx| {
        tx.business_ideas().delete(idea.id).await?; // 1
        run(tx.connection(), "SELECT pg_sleep(60)").await
    });
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dropped' \
                      AND datname = current_database() AND wait_event = 'PgSleep'";
    tokio::select! {
        _ = work => panic!("it ended by itself"),
        () = until(&mut watch, at_work) => {} // 2
    }
    timeout(Duration::from_secs(10), until(&mut watch, &left("dropped"))).await.unwrap(); // 3
    nothing_shows_through(&database, &other).await;
    database.tenant_tx("again", &first.context, async |tx| tx.business_ideas().delete(idea.id).await).await.unwrap();
}

/// The same behind a pooler, which closes its connection to the server: that looks each second whether its client is
/// there.
#[rstest]
#[ignore = "needs PgBouncer; scripts/check-pooler installs it and runs this"]
#[tokio::test]
async fn a_query_behind_a_pooler_ends_with_its_future(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let pooler = PgBouncer::start(db.config().url(), "transaction", 2, "");
    let mut behind = config(&db.url);
    behind.app_url = Some(pooler.url.clone());
    let database = Database::connect(behind).await.unwrap();
    let mut watch = connection(db.config().url()).await;
    let work =
        database.tenant_tx("dropped", &home.context, async |tx| run(tx.connection(), "SELECT pg_sleep(60)").await);
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dropped' \
                      AND datname = current_database() AND wait_event = 'PgSleep'";
    tokio::select! {
        _ = work => panic!("it ended by itself"),
        () = until(&mut watch, at_work) => {}
    }
    timeout(Duration::from_secs(10), until(&mut watch, &left("dropped"))).await.unwrap();
    nothing_shows_through(&database, &home).await;
}

/// Dropped at any of its steps: while it waits for a connection, begins, works, commits.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_may_be_dropped_at_any_time(#[future(awt)] db: TestDatabase) {
    let (first, other) = (home(&db).await, home(&db).await);
    let database = one_connection(&db.url).await;
    let user = first.user;
    let (mut dropped, mut committed) = (0, Vec::new());
    // Until there are enough of both, on a slow machine too.
    for n in 0..5_000_u64 {
        if n >= 200 && dropped > 10 && committed.len() > 10 {
            break;
        }
        let title = format!("Idea {n}");
        let work = database.tenant_tx("dropped", &first.context, async |tx| {
            let new = bedplate::models::NewBusinessIdea {
                user_id: user,
                title: &title,
                description: crate::support::builders::DESCRIPTION,
            };
            tx.business_ideas().create(new).await
        });
        match timeout(Duration::from_micros(n % 400 * 50), work).await {
            Err(_) => dropped += 1,
            Ok(done) => {
                done.unwrap();
                committed.push(title.clone());
            }
        }
        if n % 20 == 0 {
            nothing_shows_through(&database, &other).await;
        }
    }
    assert!(dropped > 10 && committed.len() > 10, "{dropped} dropped, {} committed", committed.len());
    let mut watch = connection(db.config().url()).await;
    until(&mut watch, &left("dropped")).await;
    nothing_shows_through(&database, &other).await;
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "BEGIN; SET LOCAL ROLE bedplate_system").await;
    let stored = texts(&mut owner, "SELECT title FROM business_ideas").await;
    // One that was dropped during COMMIT may be there; one that was acknowledged is, once.
    for title in &committed {
        assert_eq!(stored.iter().filter(|found| *found == title).count(), 1, "{title}");
    }
}

/// Neither the tenant's rows nor its settings, in a transaction of another one.
async fn nothing_shows_through(database: &Database, other: &Home) {
    database
        .tenant_tx("other", &other.context, async |tx| {
            let tenant = one_text(tx.connection(), "SELECT current_setting('app.tenant_id')").await?;
            assert_eq!(tenant, other.tenant.to_string());
            let seen = "SELECT count(*)::text FROM business_ideas WHERE tenant_id <> current_tenant()";
            assert_eq!(one_text(tx.connection(), seen).await?, "0");
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
}
