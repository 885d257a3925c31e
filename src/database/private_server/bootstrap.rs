//! What an administrator does once: the owner, the application's login, the databases. The compose file's
//! `docker/initdb/10-bedplate.sh` does the same. May run any number of times.

use diesel::sql_types::{Bool, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};

use super::{DATABASE, LOGIN, OWNER, State};
use crate::database::DatabaseName;
use crate::database::connect::connect;
use crate::error::Result;
use crate::sql::quote_literal;

pub(super) async fn run(state: &State) -> Result<()> {
    let mut admin = connect(&state.admin_of("postgres")?).await?;
    // The owner makes the group roles (CREATEROLE) and the tests' databases (CREATEDB).
    make_login(&mut admin, OWNER, "CREATEDB CREATEROLE", &state.owner_password).await?;
    // NOINHERIT: before SET ROLE the application's login can do nothing.
    make_login(&mut admin, LOGIN, "NOINHERIT", &state.login_password).await?;
    for name in DatabaseName::ALL {
        let database = match name {
            DatabaseName::Main => DATABASE.to_owned(),
            // Where `Config::for_database` looks for it.
            beside => format!("{DATABASE}_{beside}"),
        };
        // A server of an earlier version has the first one alone.
        if !exists(&mut admin, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS found", &database).await?
        {
            admin.batch_execute(&format!("CREATE DATABASE {database} OWNER {OWNER}")).await?;
        }
    }
    Ok(())
}

async fn make_login(admin: &mut AsyncPgConnection, name: &str, attributes: &str, password: &str) -> Result<()> {
    if exists(admin, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS found", name).await? {
        return Ok(());
    }
    let password = quote_literal(password);
    // Sessions are kept in a timestamp without zone, by clients of several languages.
    let create =
        format!("CREATE ROLE {name} LOGIN {attributes} PASSWORD {password}; ALTER ROLE {name} SET TimeZone = 'UTC'");
    admin.batch_execute(&create).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

async fn exists(admin: &mut AsyncPgConnection, query: &str, name: &str) -> Result<bool> {
    let answer: Found = sql_query(query).bind::<Text, _>(name).get_result(admin).await?;
    Ok(answer.found)
}
