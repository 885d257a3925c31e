//! What a database looks like: version, migrations, rows.

use diesel::sql_types::{BigInt, Bool, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use serde::Serialize;

use super::connect::connect;
use super::migrate::{self, MigrationState, MigrationStatus, Source};
use super::name::DatabaseName;
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// What `bedplate status` tells.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The owner's URL, without its password.
    pub url: String,
    /// The database's name.
    pub database: String,
    /// For example `15.18`.
    pub server_version: String,
    /// Every migration, oldest first.
    pub migrations: Vec<MigrationStatus>,
    /// Rows by table, in the order of the tables' names.
    pub tables: Vec<TableRows>,
}

/// A table and its rows.
#[derive(Debug, Serialize, QueryableByName)]
pub struct TableRows {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub table: String,
    /// Counted, of all tenants.
    #[diesel(sql_type = BigInt)]
    pub rows: i64,
}

impl Status {
    /// How many migrations are in this state.
    #[must_use]
    pub fn count(&self, state: MigrationState) -> usize {
        self.migrations.iter().filter(|migration| migration.state == state).count()
    }
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Asks the database, with the owner's login.
///
/// # Errors
/// Those of [`connect`].
pub async fn read(url: &DatabaseUrl, name: DatabaseName) -> Result<Status> {
    let migrations = migrate::status(url, &Source::Embedded(name)).await?;
    let mut connection = connect(url).await?;
    let version: Version =
        sql_query("SELECT current_setting('server_version') AS version").get_result(&mut connection).await?;
    // "15.18 (Debian 15.18-0+deb12u1)": the number is enough.
    let server_version = version.version.split(' ').next().unwrap_or_default().to_owned();
    Ok(Status {
        url: url.to_string(),
        database: url.database().to_owned(),
        server_version,
        migrations,
        tables: rows_by_table(&mut connection).await?,
    })
}

#[derive(QueryableByName)]
struct Counting {
    #[diesel(sql_type = Text)]
    sql: String,
    #[diesel(sql_type = Bool)]
    by_system: bool,
}

/// Counted by `bedplate_system`, because the owner sees no tenant's rows; by the owner where that role has no
/// right. The server itself writes one query a table, with names quoted by `format` and `regclass`.
async fn rows_by_table(connection: &mut AsyncPgConnection) -> Result<Vec<TableRows>> {
    // __ begins the engine's own tables.
    let counting: Vec<Counting> = sql_query(
        "SELECT format('SELECT %L AS table, count(*) AS rows FROM %s', relname, oid::regclass) AS sql, \
                coalesce(has_table_privilege(to_regrole('bedplate_system'), oid, 'SELECT'), false) AS by_system \
           FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') \
            AND NOT relispartition AND NOT starts_with(relname, '__') ORDER BY relname",
    )
    .load(connection)
    .await?;
    connection
        .transaction::<_, Error, _>(async |connection| {
            let mut tables = Vec::with_capacity(counting.len());
            for count in &counting {
                let role = if count.by_system { "SET LOCAL ROLE bedplate_system" } else { "RESET ROLE" };
                connection.batch_execute(role).await?;
                tables.push(sql_query(&count.sql).get_result(connection).await?);
            }
            Ok(tables)
        })
        .await
}
