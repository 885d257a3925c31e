//! The application behind PgBouncer in transaction mode: its own `Database`, its loads, its readers. (Migrations, which
//! go past it, are in `migrate_pooler`.)

use bedplate::database::{DatabaseName, StatementCache};
use bedplate::events::{EventQuery, NewEvent, ReadFrom};
use bedplate::outbox::Relay;
use bedplate::{Config, Database, DatabaseUrl, TenantContext};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use serde_json::json;
use tokio::sync::Notify;

use crate::boundary::one_text;
use crate::support::database::config;
use crate::support::pgbouncer::PgBouncer;
use crate::support::sinks::{Recorder, options, send};
use crate::support::{IdeaBuilder, TestDatabase, connection, db, home, migrated, number};

fn behind(url: &DatabaseUrl, pooler: &PgBouncer) -> Config {
    let mut config = config(url);
    config.app_url = Some(pooler.url.clone());
    config
}

/// 1. Two handles have a pool each, of eight connections to a pooler that has two to the server.
/// 2. Sixteen tasks write and read, with statements that are prepared, over and over.
/// 3. Each saw its own tenant alone, every write is there, and no connection of the server has a setting left.
#[rstest]
#[ignore = "needs PgBouncer; scripts/check-pooler installs it and runs this"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_tasks_share_two_connections(#[future(awt)] db: TestDatabase) {
    let pooler = PgBouncer::start(db.config().url(), "transaction", 2, "");
    let mut databases = Vec::new();
    for _ in 0..2 {
        databases.push(Database::connect(behind(&db.url, &pooler)).await.unwrap()); // 1
    }
    let mut tasks = Vec::new();
    for n in 0..16 {
        let (database, home) = (databases[n % 2].clone(), home(&databases[n % 2]).await);
        // 2
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                let idea = IdeaBuilder::new(&home).create(&database).await;
                let (tenant, found) = database
                    .tenant_tx("look", &home.context, async |tx| {
                        let tenant = one_text(tx.connection(), "SELECT current_setting('app.tenant_id')").await?;
                        Ok((tenant, tx.business_ideas().find(idea.id).await?))
                    })
                    .await
                    .unwrap();
                assert_eq!((tenant, found.id), (home.tenant.to_string(), idea.id));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut owner = connection(&db.url).await; // 3
    owner.batch_execute("BEGIN; SET LOCAL ROLE bedplate_system").await.unwrap();
    assert_eq!(number(&mut owner, "SELECT count(*) FROM business_ideas").await, 16 * 20);
    for database in &databases {
        let settings = "SELECT current_user || coalesce(current_setting('app.tenant_id', true), '')";
        let plain = plain(&pooler.url).await;
        let shown = plain.simple_query(settings).await.unwrap();
        let tokio_postgres::SimpleQueryMessage::Row(row) = &shown[1] else { panic!("{shown:?}") };
        assert_eq!(row.get(0), Some(database.config().url().user()));
    }
}

/// A pooler that is restarted loses every connection at once: the application notices at BEGIN, and goes on.
#[rstest]
#[ignore = "needs PgBouncer; scripts/check-pooler installs it and runs this"]
#[tokio::test]
async fn a_pooler_may_be_restarted(#[future(awt)] db: TestDatabase) {
    let mut pooler = PgBouncer::start(db.config().url(), "transaction", 4, "");
    let database = Database::connect(behind(&db.url, &pooler)).await.unwrap();
    let home = home(&database).await;
    for _ in 0..3 {
        IdeaBuilder::new(&home).create(&database).await;
        pooler.restart();
    }
    IdeaBuilder::new(&home).create(&database).await;
}

/// With the direct way given, LISTEN goes past the pooler: a message wakes the relay long before it would look.
#[rstest]
#[ignore = "needs PgBouncer; scripts/check-pooler installs it and runs this"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listening_goes_past_the_pooler(#[future(awt)] db: TestDatabase) {
    let pooler = PgBouncer::start(db.config().url(), "transaction", 4, "");
    let mut config = behind(&db.url, &pooler);
    config.direct_url = Some(db.config().url().clone());
    let database = Database::connect(config).await.unwrap();
    let home = home(&database).await;
    let sink = Recorder::new();
    // It looks every ten minutes.
    let relay = Relay::new(&database, sink.clone(), options("past the pooler"));
    let stop = Notify::new();
    let sent = async {
        for n in 1..=5 {
            send(&database, &home.context, &[("one", n)]).await;
            sink.until_handed(usize::try_from(n).unwrap()).await;
        }
        stop.notify_one();
    };
    let (relayed, ()) = tokio::join!(relay.run_until(stop.notified()), sent);
    relayed.unwrap();
}

/// With their conditions' locks, and by a cursor that is read in one transaction.
#[rstest]
#[ignore = "needs PgBouncer; scripts/check-pooler installs it and runs this"]
#[tokio::test]
async fn events_are_appended_and_streamed_behind_a_pooler(#[future(awt)] db: TestDatabase) {
    use futures_util::TryStreamExt as _;
    let pooler = PgBouncer::start(db.config().url(), "transaction", 2, "");
    let database = Database::connect(behind(&db.url, &pooler)).await.unwrap();
    let home = home(&database).await;
    let events: Vec<_> = (0..50).map(|n| NewEvent::new("Counted", json!({"n": n})).tag("count", 1)).collect();
    database.tenant_tx("append", &home.context, async |tx| tx.events().append(&events, None).await).await.unwrap();
    let seen = database
        .tenant_tx("stream", &home.context, async |tx| {
            let query = EventQuery::tag("count", 1);
            tx.events().stream(&query, ReadFrom::Start).await?.try_fold(0, async |seen, _| Ok(seen + 1)).await
        })
        .await
        .unwrap();
    assert_eq!(seen, 50);
}

async fn plain(url: &DatabaseUrl) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Without a pooler, the switch alone: nothing stays prepared.
#[rstest]
#[case::off(StatementCache::Off, false)]
#[case::auto(StatementCache::Auto, true)]
#[tokio::test]
async fn the_statement_cache_has_a_switch(#[case] cache: StatementCache, #[case] keeps: bool) {
    let db = migrated(DatabaseName::Main).await;
    let mut config = config(&db.url);
    config.statement_cache = cache;
    config.pool.max_size = 1;
    let database = Database::connect(config).await.unwrap();
    let home = home(&database).await;
    let context = TenantContext::new(home.tenant);
    let prepared =
        "SELECT count(*)::text FROM pg_prepared_statements WHERE starts_with(statement, 'SELECT \"business_ideas')";
    let kept = database
        .tenant_tx("twice", &context, async |tx| {
            let id = bedplate::models::BusinessIdeaId::new();
            assert!(tx.business_ideas().find(id).await.is_err());
            one_text(tx.connection(), prepared).await
        })
        .await
        .unwrap();
    assert_eq!(kept != "0", keeps, "{kept}");
}
