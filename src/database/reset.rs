//! Dropping everything that is in a database, for `bedplate reset`.

use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};

use super::connect::connect;
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// Drops every schema that the login owns with everything in it, and makes `public` anew, as a new database has it.
/// The database stays, with its settings and grants, so no right to make databases is needed. In one
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
                     DO $drop$ \
                     DECLARE mine text; \
                     BEGIN \
                         FOR mine IN SELECT nspname FROM pg_namespace \
                                      WHERE nspowner = current_user::regrole AND nspname !~ '^pg_' AND nspname <> 'public' \
                         LOOP \
                             EXECUTE format('DROP SCHEMA %I CASCADE', mine); \
                         END LOOP; \
                     END $drop$; \
                     DROP SCHEMA public CASCADE; \
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
