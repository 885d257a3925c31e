//! The boundary: what a transaction sees, leaves behind, retries, and never does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bedplate::error::WaitedFor;
use bedplate::models::{BusinessIdeaFilter, BusinessIdeaSort, NewBusinessIdea, PageRequest, TenantId};
use bedplate::{Config, Database, DatabaseUrl, Environment, Error, TenantContext};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use tokio::sync::{Barrier, Notify};

use crate::support::builders::DESCRIPTION;
use crate::support::database::{config, open};
use crate::support::server::server;
use crate::support::{IdeaBuilder, TestDatabase, connection, db, empty_db, execute, home, number, texts, until};

/// Compiles, so it holds: the future is `Send`, also when the closure borrows what is around it.
#[rstest]
#[tokio::test]
async fn futures_can_be_spawned(#[future(awt)] db: TestDatabase) {
    async fn borrows(db: &Database, context: &TenantContext, new: NewBusinessIdea<'_>) -> bedplate::Result<String> {
        db.tenant_tx("spawned", context, async |tx| Ok(tx.business_ideas().create(new).await?.title)).await
    }
    let home = home(&db).await;
    let (database, owned) = (db.database.clone(), home.clone());
    let owns = tokio::spawn(async move {
        let title = String::from("Tea by post");
        let moved = async move |tx: &bedplate::TenantTx| {
            let new = NewBusinessIdea { user_id: owned.user, title: &title, description: DESCRIPTION };
            Ok(tx.business_ideas().create(new).await?.title)
        };
        database.tenant_tx("spawned", &owned.context, moved).await
    });
    let (database, owned) = (db.database.clone(), home.clone());
    let borrows = tokio::spawn(async move {
        let title = String::from("Coffee by post");
        let new = NewBusinessIdea { user_id: owned.user, title: &title, description: DESCRIPTION };
        borrows(&database, &owned.context, new).await
    });
    assert_eq!(owns.await.unwrap().unwrap(), "Tea by post");
    assert_eq!(borrows.await.unwrap().unwrap(), "Coffee by post");
}

#[rstest]
#[tokio::test]
async fn a_query_outside_sees_nothing(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    IdeaBuilder::new(&home).create(&db).await;
    // The owner is bound by the policies (FORCE), and no setting names a tenant.
    let mut owner = connection(&db.url).await;
    let tables = texts(&mut owner, "SELECT relname FROM pg_class WHERE relrowsecurity").await;
    assert!(tables.len() >= 7, "{tables:?}");
    for table in &tables {
        assert_eq!(number(&mut owner, &format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    // The application's login has no right before SET ROLE. Without a private server it is the owner's.
    if server().admin.is_some() {
        let mut app = connection(db.config().url()).await;
        for table in &tables {
            let error = app.batch_execute(&format!("SELECT FROM {table}")).await.unwrap_err();
            assert_eq!(error.to_string(), format!("permission denied for table {table}"));
        }
    }
}

#[rstest]
#[tokio::test]
async fn nothing_of_a_transaction_is_left_on_the_connection(#[future(awt)] db: TestDatabase) {
    let database = one_connection(&db.url).await;
    let home = home(&db).await;
    let settings = "SELECT current_user || '|' || coalesce(current_setting('app.tenant_id', true), '') \
        || '|' || coalesce(current_setting('app.user_id', true), '') || '|' || current_setting('application_name')";
    let context = &home.context;
    let inside =
        database.tenant_tx("inside", context, async |tx| one_text(tx.connection(), settings).await).await.unwrap();
    assert_eq!(inside, format!("bedplate_app|{}|{}|inside", home.tenant, home.user));
    // The next transaction of the same connection, for all tenants and for nobody.
    let after = database.system_tx("after", async |tx| one_text(tx.connection(), settings).await).await.unwrap();
    assert_eq!(after, "bedplate_system|||after");
    let isolation = database
        .system_tx("isolation", async |tx| {
            one_text(tx.connection(), "SELECT current_setting('transaction_isolation')").await
        })
        .await
        .unwrap();
    assert_eq!(isolation, "read committed");
}

#[rstest]
#[tokio::test]
async fn an_error_writes_nothing(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let new = NewBusinessIdea { user_id: home.user, title: "Tea", description: DESCRIPTION };
    let error = db
        .tenant_tx("fails", &home.context, async |tx| {
            tx.business_ideas().create(new).await?;
            Err::<(), _>(Error::Unauthenticated)
        })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthenticated));
    assert_eq!(ideas(&db, &home.context).await, 0);
}

/// COMMIT after a failed statement answers without an error, and has rolled back.
#[rstest]
#[tokio::test]
async fn a_swallowed_error_does_not_end_as_a_silent_rollback(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let new = NewBusinessIdea { user_id: home.user, title: "Tea", description: DESCRIPTION };
    let error = db
        .tenant_tx("swallows", &home.context, async |tx| {
            tx.business_ideas().create(new).await?;
            let _ = run(tx.connection(), "SELECT 1 / 0").await;
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Aborted), "{error:?}");
    assert_eq!(ideas(&db, &home.context).await, 0);
}

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
async fn a_dropped_future_is_rolled_back_and_its_connection_not_used_again(#[future(awt)] db: TestDatabase) {
    let database = one_connection(&db.url).await;
    let home = home(&db).await;
    let (written, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let task = {
        let (database, home, written, dropped) = (database.clone(), home.clone(), written.clone(), dropped.clone());
        tokio::spawn(async move {
            let new = NewBusinessIdea { user_id: home.user, title: "Tea", description: DESCRIPTION };
            let work = database.tenant_tx("dropped", &home.context, async |tx| {
                tx.business_ideas().create(new).await?;
                written.notify_one();
                std::future::pending::<bedplate::Result<()>>().await
            });
            tokio::select! { _ = work => unreachable!(), () = dropped.notified() => {} }
        })
    };
    written.notified().await;
    dropped.notify_one();
    task.await.unwrap();
    assert_eq!(ideas(&database, &home.context).await, 0);
}

#[rstest]
#[tokio::test]
async fn slow_statements_and_busy_pools_time_out(#[future(awt)] db: TestDatabase) {
    let mut quick = config(&db.url);
    quick.pool.max_size = 1;
    quick.pool.wait = Duration::from_millis(50);
    quick.statement_timeout = Duration::from_millis(50);
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
    assert!(matches!(&error, Error::Configuration { message } if message.contains("does not exist")), "{error:?}");
    let wrong: DatabaseUrl = empty_db.reveal().replacen("://", "://nobody_here_", 1).parse().unwrap();
    let error = Database::connect(Config::new(wrong, Environment::Development)).await.unwrap_err();
    assert!(matches!(error, Error::Configuration { .. } | Error::Unavailable { .. }), "{error:?}");
}

#[rstest]
#[tokio::test]
async fn a_database_without_migrations_says_what_to_do(#[future(awt)] empty_db: DatabaseUrl) {
    let database = Database::connect(Config::new(empty_db, Environment::Development)).await.unwrap();
    let context = TenantContext::new(TenantId::new());
    let error = database.tenant_tx("early", &context, async |tx| tx.tenant().await).await.unwrap_err();
    let message = error.to_string();
    // On a server where another database has made the roles, the table is what is missing.
    assert!(message.contains("run `bedplate migrate`") || message.contains("does not exist"), "{message}");
}

#[rstest]
#[tokio::test]
async fn a_superuser_is_refused_in_production(#[future(awt)] db: TestDatabase) {
    // A server that is not ours tells no superuser's password.
    let Some(admin) = &server().admin else { return };
    let admin = admin.with_database(db.url.database()).unwrap();
    Database::connect(Config::new(admin.clone(), Environment::Development)).await.unwrap();
    let error = Database::connect(Config::new(admin, Environment::Production)).await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { message } if message.contains("BYPASSRLS")), "{error:?}");
    Database::connect(Config::new(db.url.clone(), Environment::Production)).await.unwrap();
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

#[rstest]
#[tokio::test]
async fn the_pool_is_whole_after_errors(#[future(awt)] db: TestDatabase) {
    let database = one_connection(&db.url).await;
    for _ in 0..5 {
        let _ = database.system_tx("fails", async |tx| run(tx.connection(), "SELECT 1 / 0").await).await;
    }
    let state = database.pool_state();
    assert_eq!((state.connections, state.idle_connections), (1, 1));
    assert!(format!("{database:?}").starts_with("Database(postgres://"));
    let mut owner = connection(&db.url).await;
    until(&mut owner, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()").await;
}

async fn one_connection(url: &DatabaseUrl) -> Database {
    let mut config = config(url);
    config.pool.max_size = 1;
    Database::connect(config).await.unwrap()
}

async fn one_text(mut connection: &diesel_async::AsyncPgConnection, sql: &str) -> bedplate::Result<String> {
    use diesel_async::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }
    let row: Row =
        diesel::sql_query(format!("SELECT text FROM ({sql}) AS row (text)")).get_result(&mut connection).await?;
    Ok(row.text)
}

async fn run(mut connection: &diesel_async::AsyncPgConnection, sql: &str) -> bedplate::Result<()> {
    Ok(connection.batch_execute(sql).await?)
}

async fn ideas(db: &Database, context: &TenantContext) -> usize {
    db.tenant_tx("count", context, async |tx| {
        tx.business_ideas()
            .list(&BusinessIdeaFilter::default(), BusinessIdeaSort::Newest, &PageRequest::default())
            .await
    })
    .await
    .unwrap()
    .items
    .len()
}
