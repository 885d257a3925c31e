//! Making the databases beside `main`.

use diesel_async::SimpleAsyncConnection as _;

use super::connect::connect;
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// Makes the database of `url`, on the connection of `main`, which is on the same server. Does nothing where it is
/// there, also when somebody else makes it at the same time.
///
/// # Errors
/// [`Error::NoDatabase`] where the login may make none.
pub async fn create_beside(main: &DatabaseUrl, url: &DatabaseUrl) -> Result<()> {
    let mut connection = connect(main).await?;
    let name = postgres_protocol::escape::escape_identifier(url.database());
    let Err(error) = connection.batch_execute(&format!("CREATE DATABASE {name}")).await else { return Ok(()) };
    match Error::from(error) {
        // Somebody else's came first: then it can be connected to.
        Error::Conflict { .. } => Ok(()),
        Error::Database(said) if said.to_string().ends_with("already exists") => Ok(()),
        Error::Forbidden { .. } => Err(Error::NoDatabase { url: url.to_string(), database: url.database().to_owned() }),
        other => Err(other),
    }
}
