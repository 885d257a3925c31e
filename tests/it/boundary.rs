//! The boundary: what a transaction sees, leaves behind, and never does.

use std::sync::Arc;

use bedplate::models::{BusinessIdeaFilter, BusinessIdeaSort, NewBusinessIdea, PageRequest, TenantId};
use bedplate::{Config, Database, DatabaseUrl, Environment, Error, TenantContext};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use tokio::sync::Notify;

use crate::support::builders::DESCRIPTION;
use crate::support::database::one_connection;
use crate::support::server::server;
use crate::support::{IdeaBuilder, TestDatabase, connection, db, empty_db, home, number, texts, until};

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
        let moved = async move |tx: bedplate::TenantTx| {
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

/// A handle that outlives its closure could write after COMMIT: so there is no COMMIT.
#[rstest]
#[tokio::test]
async fn a_handle_that_is_let_out_writes_nothing(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let new = NewBusinessIdea { user_id: home.user, title: "Tea", description: DESCRIPTION };
    let let_out = db
        .tenant_tx("escapes", &home.context, async |tx| {
            tx.business_ideas().create(new).await?;
            Ok(tx)
        })
        .await;
    assert!(matches!(let_out, Err(Error::HandleEscaped)));
    assert_eq!(ideas(&db, &home.context).await, 0);
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

pub async fn one_text(mut connection: &diesel_async::AsyncPgConnection, sql: &str) -> bedplate::Result<String> {
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

pub async fn run(mut connection: &diesel_async::AsyncPgConnection, sql: &str) -> bedplate::Result<()> {
    Ok(connection.batch_execute(sql).await?)
}

pub async fn ideas(db: &Database, context: &TenantContext) -> usize {
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
