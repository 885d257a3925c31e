//! Dropping everything that is in a database, for `bedplate reset`.

use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};

use super::pool::connect;
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// Drops the schemas `public` and `forms_compiled` with everything in them and makes `public` anew, as a new database has it. The
/// database stays, with its settings and grants, so no right to make databases is needed. In one
/// transaction: it happens entirely or not at all.
///
/// # Errors
/// [`Error::Forbidden`] for a login that does not own the database; [`Error::Timeout`] after ten seconds
/// of waiting for transactions that use the tables.
pub async fn drop_everything(url: &DatabaseUrl) -> Result<()> {
    let mut connection = connect(url).await?;
    connection
        .transaction::<_, Error, _>(async |connection| {
            let dropped = connection
                .batch_execute(
                    "SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning; \
                     DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS forms_compiled CASCADE; \
                     CREATE SCHEMA public AUTHORIZATION pg_database_owner; \
                     GRANT USAGE ON SCHEMA public TO PUBLIC; \
                     COMMENT ON SCHEMA public IS 'standard public schema'",
                )
                .await;
            dropped.map_err(|error| not_the_owner(error.into()))
        })
        .await
}

fn not_the_owner(error: Error) -> Error {
    match error {
        Error::Database(said) if said.to_string().starts_with("must be owner") => {
            Error::Forbidden { message: format!("{said}: the login of DATABASE_URL must own the database") }
        }
        other => other,
    }
}
