//! What every test needs: a server, a database of its own, tenants with a user, and builders.

pub mod builders;
pub mod database;
pub mod server;

pub use builders::{Home, IdeaBuilder, claimed, home};
pub use database::{TestDatabase, db, empty_db};

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
