//! The doctor asks the catalogue whether the rules of the schema hold, and whether operation is prepared for
//! what comes. Each finding says why it matters and which SQL mends it.
//!
//! Always holds: it reads only; a freshly migrated database has no finding (the tests `doctor::`).

mod events;
mod grants;
mod indexes;
mod isolation;
mod operations;
mod schema_rules;

use diesel::sql_types::{Array, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use serde::Serialize;

use super::config::Config;
use super::connect::connect;
use crate::error::{Error, Result};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check found it: `rls-off`.
    pub check: &'static str,
    /// The table, index, function, role it is about.
    pub object: String,
    /// What can happen.
    pub why: &'static str,
    /// The SQL that mends it, or a comment in SQL where it takes a decision.
    pub fix: String,
}

/// One question. Its query answers with rows of `object` and `fix`; none: all is well.
struct Check {
    name: &'static str,
    why: &'static str,
    sql: &'static str,
}

/// What queries can select from: `tables`, those of the schema with their partitions, without the engine's own and
/// those of extensions; `functions` likewise; `logins`, the two that the configuration names.
const PRELUDE: &str = "WITH
    ours AS (SELECT oid AS namespace FROM pg_namespace WHERE nspname = 'public'),
    tables AS (
        SELECT c.oid, c.oid::regclass AS name, c.relname, c.relispartition, c.relrowsecurity, c.relforcerowsecurity,
               c.relowner, c.relacl,
               c.relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid
                                                   AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS has_tenant
          FROM pg_class AS c, ours
         WHERE c.relnamespace = namespace AND c.relkind IN ('r', 'p') AND NOT starts_with(c.relname, '__')
           AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')),
    functions AS (
        SELECT p.oid::regprocedure AS name, p.* FROM pg_proc AS p, ours
         WHERE p.pronamespace = namespace AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')),
    logins AS (SELECT r.* FROM pg_roles AS r WHERE r.rolname = ANY ($1)) ";

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    object: String,
    #[diesel(sql_type = Text)]
    fix: String,
}

/// The names of all checks.
pub fn checks() -> impl Iterator<Item = &'static str> {
    of_the_owner().chain(events::OF_THE_SYSTEM).chain(operations::OF_THE_APPLICATION).map(|check| check.name)
}

fn of_the_owner() -> impl Iterator<Item = &'static Check> {
    [isolation::CHECKS, grants::CHECKS, schema_rules::CHECKS, indexes::CHECKS, operations::CHECKS].into_iter().flatten()
}

/// Asks everything of one database, with its owner's login and, for what concerns a session, with its
/// application's. Those beside `main` have their configuration from [`Config::for_database`].
///
/// # Errors
/// [`Error::Configuration`] for a database without migrations; those of [`connect`].
pub async fn examine(config: &Config) -> Result<Vec<Finding>> {
    let logins = [user(config.owner_url.tokio_postgres().get_user()), user(config.url().tokio_postgres().get_user())];
    let mut owner = connect(&config.owner_url).await?;
    let migrated: Answer = sql_query(
        "SELECT concat(to_regclass('public.audit_log'), to_regclass('public.price_ticks')) AS object, \
                coalesce(to_regclass('public.events')::text, '') AS fix",
    )
    .get_result(&mut owner)
    .await?;
    if migrated.object.is_empty() {
        return Err(Error::configuration(format!(
            "{} has no migrations: run `bedplate migrate`, for all databases with --all",
            config.owner_url
        )));
    }
    let mut findings = Vec::new();
    for check in of_the_owner() {
        findings.append(&mut ask(&mut owner, None, check, &logins).await?);
    }
    let with_events = !migrated.fix.is_empty();
    for check in events::OF_THE_SYSTEM.iter().filter(|_| with_events) {
        findings.append(&mut ask(&mut owner, Some("bedplate_system"), check, &logins).await?);
    }
    let mut app = connect(config.url()).await?;
    for check in operations::OF_THE_APPLICATION {
        findings.append(&mut ask(&mut app, None, check, &logins).await?);
    }
    Ok(findings)
}

/// In a transaction that can write nothing.
async fn ask(
    connection: &mut AsyncPgConnection,
    role: Option<&str>,
    check: &Check,
    logins: &[String],
) -> Result<Vec<Finding>> {
    let role = role.map(|role| format!("; SET LOCAL ROLE {role}")).unwrap_or_default();
    let settings = format!("SET TRANSACTION READ ONLY; SET LOCAL search_path = public, pg_catalog{role}");
    let answers: Vec<Answer> = connection
        .transaction::<_, Error, _>(async |connection| {
            connection.batch_execute(&settings).await?;
            let query = sql_query(format!("{PRELUDE}{}", check.sql)).bind::<Array<Text>, _>(logins);
            Ok(query.load(connection).await?)
        })
        .await?;
    let finding =
        |answer: Answer| Finding { check: check.name, object: answer.object, why: check.why, fix: answer.fix };
    Ok(answers.into_iter().map(finding).collect())
}

fn user(name: Option<&str>) -> String {
    name.unwrap_or_default().to_owned()
}
