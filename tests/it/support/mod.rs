//! What every test needs: a server, a database of its own, tenants with a user, and builders.

pub mod builders;
pub mod cluster;
pub mod database;
pub mod folder;
pub mod pgbouncer;
pub mod server;
pub mod sinks;

pub use builders::{Home, IdeaBuilder, claimed, draft_form, filled_in, form, home, organization, user};
pub use database::{TestDatabase, db, empty_db, marketdata_db, migrated, rfq_db};
pub use folder::Folder;

use std::time::Duration;

use bedplate::DatabaseUrl;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};

/// A plain connection.
pub async fn connection(url: &DatabaseUrl) -> AsyncPgConnection {
    bedplate::database::connect(url).await.unwrap()
}

/// Runs statements that have to work.
pub async fn execute(connection: &mut AsyncPgConnection, sql: &str) {
    connection.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The texts of a query with one column of text.
pub async fn texts(connection: &mut AsyncPgConnection, sql: &str) -> Vec<String> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }
    let query = diesel::sql_query(format!("SELECT text::text FROM ({sql}) AS rows (text)"));
    let rows: Vec<Row> = query.load(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.text).collect()
}

/// The number of a query with one row and one number.
pub async fn number(connection: &mut AsyncPgConnection, sql: &str) -> i64 {
    texts(connection, sql).await[0].parse().unwrap()
}

/// Asks until the answer is no longer 0, for thirty seconds.
pub async fn until(connection: &mut AsyncPgConnection, sql: &str) {
    let asked = async {
        while number(connection, sql).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap_or_else(|_| panic!("it never came true: {sql}"));
}

/// Returns when the transaction of this name waits for a lock. Asked as the application's login: nobody else
/// is shown what its sessions do.
pub async fn waits_for_lock(db: &TestDatabase, name: &str) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
            AND application_name = '{name}' AND wait_event_type = 'Lock'"
    );
    until(&mut connection(db.config().url()).await, &waiting).await;
}

/// A connection that sees one tenant, as a client has it that writes SQL.
pub async fn as_app(db: &TestDatabase, home: &Home) -> AsyncPgConnection {
    let mut app = connection(db.config().url()).await;
    execute(&mut app, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", home.tenant)).await;
    app
}
