//! What happens when the server, a lock or another transaction gets in the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bedplate::error::WaitedFor;
use bedplate::models::NewBusinessIdea;
use bedplate::{Config, Database, DatabaseUrl, Environment, Error};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use tokio::sync::Barrier;

use crate::boundary::{ideas, one_text, run};
use crate::support::builders::DESCRIPTION;
use crate::support::database::{config, open};
use crate::support::server::server;
use crate::support::{IdeaBuilder, TestDatabase, connection, db, empty_db, execute, home, texts};

/// 1. A locks the first row, B the second.
/// 2. A asks for the second, B for the first: a deadlock, and the server ends one of them.
/// 3. That one runs again; both have written in the end.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_run_again(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "CREATE TABLE counters (id int PRIMARY KEY, n int); INSERT INTO counters VALUES (1, 0), (2, 0); \
        GRANT SELECT, UPDATE ON counters TO bedplate_system",
    )
    .await;
    let (runs, both) = (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(2)));
    let count = |first: i32, second: i32| {
        let (database, runs, both) = (db.database.clone(), runs.clone(), both.clone());
        tokio::spawn(async move {
            let (runs, both) = (&runs, &both);
            let update = |id: i32| format!("UPDATE counters SET n = n + 1 WHERE id = {id}");
            database
                .system_tx("deadlock", async move |tx| {
                    let earlier = runs.fetch_add(1, Ordering::SeqCst);
                    run(tx.connection(), &update(first)).await?; // 1
                    if earlier < 2 {
                        both.wait().await;
                    }
                    run(tx.connection(), &update(second)).await?; // 2
                    Ok(())
                })
                .await
        })
    };
    let (a, b) = (count(1, 2), count(2, 1));
    a.await.unwrap().unwrap();
    b.await.unwrap().unwrap();
    // 3
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    assert_eq!(texts(&mut owner, "SELECT n FROM counters").await, ["2", "2"]);
}

#[rstest]
#[tokio::test]
async fn a_connection_lost_before_commit_is_run_again(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let runs = AtomicU32::new(0);
    let (runs, admin) = (&runs, connection(server().admin.as_ref().unwrap_or(&db.url)).await);
    let admin = &tokio::sync::Mutex::new(admin);
    let new = NewBusinessIdea { user_id: home.user, title: "Tea", description: DESCRIPTION };
    db.tenant_tx("lost", &home.context, async |tx| {
        if runs.fetch_add(1, Ordering::SeqCst) == 0 {
            let pid = one_text(tx.connection(), "SELECT pg_backend_pid()::text").await?;
            execute(&mut *admin.lock().await, &format!("SELECT pg_terminate_backend({pid}, 10000)")).await;
        }
        tx.business_ideas().create(new).await
    })
    .await
    .unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(ideas(&db, &home.context).await, 1);
}

/// A deferred trigger ends its own backend: the connection breaks while COMMIT is under way.
#[rstest]
#[tokio::test]
async fn a_connection_lost_during_commit_is_unknown_and_not_run_again(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "CREATE TABLE doomed (id int); GRANT INSERT ON doomed TO bedplate_system; \
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \
            'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NULL; END'; \
        CREATE CONSTRAINT TRIGGER die AFTER INSERT ON doomed DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW EXECUTE FUNCTION die()",
    )
    .await;
    // As the owner, who may end sessions of its own.
    let db = Database::connect(Config::new(db.url.clone(), Environment::Development)).await.unwrap();
    let runs = AtomicU32::new(0);
    let runs = &runs;
    let error = db
        .system_tx("doomed", async |tx| {
            runs.fetch_add(1, Ordering::SeqCst);
            run(tx.connection(), "INSERT INTO doomed VALUES (1)").await?;
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::CommitUnknown), "{error:?}");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    db.system_tx("after", async |tx| one_text(tx.connection(), "SELECT 'alive'").await).await.unwrap();
}

/// After a restart of the server every pooled connection is dead; the closure does not notice.
#[rstest]
#[tokio::test]
async fn dead_connections_are_replaced_at_begin(#[future(awt)] db: TestDatabase) {
    let pids = Arc::new(Barrier::new(5));
    let open = (0..5).map(|_| {
        let pids = &pids;
        db.system_tx("open", async move |tx| {
            let pid = one_text(tx.connection(), "SELECT pg_backend_pid()::text").await?;
            pids.wait().await;
            Ok(pid)
        })
    });
    let opened = futures_util::future::try_join_all(open).await.unwrap();
    let mut admin = connection(server().admin.as_ref().unwrap_or(&db.url)).await;
    for pid in opened {
        execute(&mut admin, &format!("SELECT pg_terminate_backend({pid}, 10000)")).await;
    }
    let runs = AtomicU32::new(0);
    let runs = &runs;
    db.system_tx("after", async |_| {
        runs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[rstest]
#[tokio::test]
async fn slow_statements_and_busy_pools_time_out(#[future(awt)] db: TestDatabase) {
    let mut quick = config(&db.url);
    quick.pool.max_size = 1;
    quick.pool.wait = Duration::from_millis(50);
    quick.timeouts.statement = Duration::from_millis(50);
    let database = Database::connect(quick).await.unwrap();
    let slow =
        database.system_tx("slow", async |tx| run(tx.connection(), "SELECT pg_sleep(60)").await).await.unwrap_err();
    assert!(matches!(slow, Error::Timeout { waited_for: WaitedFor::Statement }), "{slow:?}");
    let inner = &database;
    database
        .system_tx("holds", async |_| {
            let busy = inner.system_tx("waits", async |_| Ok(())).await.unwrap_err();
            assert!(matches!(busy, Error::Timeout { waited_for: WaitedFor::Connection }), "{busy:?}");
            Ok(())
        })
        .await
        .unwrap();
}

/// 1. A holds a row. 2. B waits for it, with a lock timeout, and is told so.
#[rstest]
#[tokio::test]
async fn a_lock_that_never_comes_times_out(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await;
    let mut holder = connection(&db.url).await;
    execute(&mut holder, "BEGIN; SET LOCAL ROLE bedplate_system; SELECT FROM business_ideas FOR UPDATE").await; // 1
    let error = db
        .tenant_tx("b", &home.context, async |tx| {
            run(tx.connection(), "SET LOCAL lock_timeout = '50ms'").await?;
            tx.business_ideas().delete(idea.id).await // 2
        })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { waited_for: WaitedFor::Lock }), "{error:?}");
}

#[rstest]
#[case::refused("postgres://nobody:pw@127.0.0.1:1/none", true)]
#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable(#[case] url: DatabaseUrl, #[case] unavailable: bool) {
    let error = Database::connect(Config::new(url, Environment::Development)).await.unwrap_err();
    assert_eq!(matches!(error, Error::Unavailable { .. }), unavailable, "{error:?}");
    assert!(!error.to_string().contains("pw@"), "{error}");
}

#[rstest]
#[tokio::test]
async fn a_wrong_login_or_database_is_a_matter_of_configuration(#[future(awt)] empty_db: DatabaseUrl) {
    let nowhere = empty_db.with_database("bedplate_test_nowhere").unwrap();
    let error = Database::connect(Config::new(nowhere, Environment::Development)).await.unwrap_err();
    assert!(matches!(&error, Error::NoDatabase { database, .. } if database == "bedplate_test_nowhere"), "{error:?}");
    let wrong: DatabaseUrl = empty_db.reveal().replacen("://", "://nobody_here_", 1).parse().unwrap();
    let error = Database::connect(Config::new(wrong, Environment::Development)).await.unwrap_err();
    assert!(matches!(error, Error::Configuration { .. } | Error::Unavailable { .. }), "{error:?}");
}

/// The server's own language: the classifier reads English, so a German server is warned about and errors
/// that only the message tells apart come as they are. Those with a kind of their own stay typed.
#[rstest]
#[tokio::test]
async fn errors_with_a_kind_are_typed_in_any_language(#[future(awt)] db: TestDatabase) {
    let Some(admin) = &server().admin else { return };
    let mut admin = connection(&admin.with_database(db.url.database()).unwrap()).await;
    let german =
        admin.batch_execute(&format!("ALTER DATABASE {} SET lc_messages = 'de_DE.UTF-8'", db.url.database())).await;
    if german.is_err() {
        eprintln!("skipped: this machine has no German locale");
        return;
    }
    let database = open(&db.url).await;
    let home = home(&database).await;
    let new = NewBusinessIdea { user_id: bedplate::models::UserId::new(), title: "Tea", description: DESCRIPTION };
    let error = database
        .tenant_tx("german", &home.context, async |tx| tx.business_ideas().create(new).await)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
}
