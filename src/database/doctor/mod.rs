//! The doctor asks the catalogue whether the rules of the schema hold, and whether operation is prepared for
//! what comes. Each finding says why it matters and which SQL mends it. Where `lint` has a rule too, both names are the
//! same.
//!
//! Always holds: it reads only; a freshly migrated database has no finding (the tests `doctor::`). What a migration
//! declares under `[lint]` in its `metadata.toml` is no finding here either, for the tables, views and functions that
//! the migration makes or changes.

mod events;
mod grants;
mod indexes;
mod isolation;
mod operations;
mod rulebook;
mod schema_rules;
mod seen;
mod table_grants;
mod triggers;

use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use serde::Serialize;

use super::config::Config;
use super::connect::connect;
use super::migrate::lint::{Rules, Scope};
use crate::error::{Error, Result};
pub use rulebook::Rulebook;

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

/// One question. Its query answers with rows of `object`, `fix` and `about`; none: all is well.
struct Check {
    name: &'static str,
    why: &'static str,
    /// Which databases it is about.
    scope: Scope,
    /// The query for how many objects it looks at.
    seen: &'static str,
    sql: &'static str,
}

/// What queries can select from: `tables`, those of the schema with their partitions, without the engine's own and
/// those of extensions, each with its `family`, the table that a partition belongs to; `functions` likewise; `triggers`,
/// the enabled ones; `granted`, the privileges on tables and columns; `logins`, the two that the configuration names.
const PRELUDE: &str = "WITH
    ours AS (SELECT oid AS namespace FROM pg_namespace WHERE nspname = 'public'),
    tables AS (
        SELECT c.oid, c.oid::regclass AS name, c.relname, c.relispartition, c.relrowsecurity, c.relforcerowsecurity,
               c.relowner, c.relacl,
               coalesce((SELECT r.relname FROM pg_class AS r WHERE r.oid = pg_partition_root(c.oid)), c.relname)::text AS family,
               c.relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid
                                                   AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS has_tenant
          FROM pg_class AS c, ours
         WHERE c.relnamespace = namespace AND c.relkind IN ('r', 'p') AND NOT starts_with(c.relname, '__')
           AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')),
    functions AS (
        SELECT p.oid::regprocedure AS name, p.* FROM pg_proc AS p, ours
         WHERE p.pronamespace = namespace AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')),
    triggers AS (
        SELECT tgrelid, p.proname AS function, tgtype & 66 = 0 AS after, tgtype & 1 > 0 AS each_row, tgtype & 4 > 0 AS on_insert,
               tgtype & 8 > 0 AS on_delete, tgtype & 16 > 0 AS on_update,
               tgqual IS NOT NULL OR tgattr::text <> '' AS conditional,
               (string_to_array(encode(tgargs, 'escape'), '\\000'))[1] AS argument
          FROM tables JOIN pg_trigger AS t ON tgrelid = tables.oid JOIN pg_proc AS p ON p.oid = tgfoid
         WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')),
    granted AS (
        SELECT t.oid, t.name, t.relispartition, t.has_tenant, t.family, a.grantee = t.relowner AS of_owner,
               CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END AS role, a.privilege_type AS privilege
          FROM tables AS t, LATERAL (
               SELECT grantee, privilege_type FROM aclexplode(t.relacl)
               UNION SELECT grantee, privilege_type FROM pg_attribute, aclexplode(attacl) WHERE attrelid = t.oid) AS a),
    logins AS (SELECT r.* FROM pg_roles AS r WHERE r.rolname = ANY ($1)) ";

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    object: String,
    #[diesel(sql_type = Text)]
    fix: String,
    #[diesel(sql_type = Nullable<Text>)]
    about: Option<String>,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The names of all checks.
pub fn checks() -> impl Iterator<Item = &'static str> {
    of_the_owner().chain(events::OF_THE_SYSTEM).chain(operations::OF_THE_APPLICATION).map(|check| check.name)
}

fn of_the_owner() -> impl Iterator<Item = &'static Check> {
    let design = [isolation::CHECKS, triggers::CHECKS, grants::CHECKS, table_grants::CHECKS, schema_rules::CHECKS];
    design.into_iter().chain([indexes::CHECKS, operations::CHECKS]).flatten()
}

/// Asks everything of one database, with its owner's login and, for what concerns a session, with its
/// application's. Those beside `main` have their configuration from [`Config::for_database`].
///
/// # Errors
/// [`Error::Configuration`] for a database without migrations; those of [`connect`].
pub async fn examine(config: &Config, rulebook: &Rulebook) -> Result<Vec<Finding>> {
    let mut sessions = Sessions::open(config, rulebook).await?;
    let mut findings = Vec::new();
    for check in sessions.checks(rulebook.rules) {
        let answers: Vec<Answer> = sessions.ask(&check, check.check.sql).await?;
        let left = answers
            .into_iter()
            .filter(|answer| answer.about.as_deref().is_none_or(|about| !rulebook.declares(check.check.name, about)));
        let Check { name, why, .. } = check.check;
        findings.extend(left.map(|answer| Finding { check: name, object: answer.object, why, fix: answer.fix }));
    }
    Ok(findings)
}

/// How many objects of the database each check looks at. A check that looks at none proves nothing.
///
/// # Errors
/// Those of [`examine`].
pub async fn looked_at(config: &Config, rulebook: &Rulebook) -> Result<Vec<(&'static str, i64)>> {
    let mut sessions = Sessions::open(config, rulebook).await?;
    let mut counts = Vec::new();
    for check in sessions.checks(rulebook.rules) {
        let count: Vec<Count> = sessions.ask(&check, check.check.seen).await?;
        counts.push((check.check.name, count.iter().map(|count| count.count).sum()));
    }
    Ok(counts)
}

/// A check, and who asks it.
struct Question {
    check: &'static Check,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Owner,
    /// The owner as `bedplate_system`.
    System,
    Application,
}

/// The sessions that ask.
struct Sessions {
    owner: AsyncPgConnection,
    /// Only where a check is about its sessions.
    application: Option<AsyncPgConnection>,
    logins: [String; 2],
    with_events: bool,
}

impl Sessions {
    async fn open(config: &Config, rulebook: &Rulebook) -> Result<Self> {
        #[derive(QueryableByName)]
        struct Migrated {
            #[diesel(sql_type = Bool)]
            any: bool,
            #[diesel(sql_type = Bool)]
            events: bool,
        }
        let mut owner = connect(&config.owner_url).await?;
        let query = "SELECT to_regclass('public.__diesel_schema_migrations') IS NOT NULL AS any, \
                            to_regclass('public.events') IS NOT NULL AND to_regrole('bedplate_system') IS NOT NULL AS events";
        let migrated: Migrated = sql_query(query).get_result(&mut owner).await?;
        if !migrated.any {
            return Err(Error::configuration(format!(
                "{} has no migrations: run `bedplate migrate`, for all databases with --all",
                config.owner_url
            )));
        }
        let asked = operations::OF_THE_APPLICATION.iter().any(|check| rulebook.rules.have(check.scope));
        let application = if asked { Some(connect(config.url()).await?) } else { None };
        let logins =
            [user(config.owner_url.tokio_postgres().get_user()), user(config.url().tokio_postgres().get_user())];
        Ok(Self { owner, application, logins, with_events: migrated.events })
    }

    fn checks(&self, rules: Rules) -> Vec<Question> {
        let ask = |by| move |check| Question { check, by };
        let owner = of_the_owner().map(ask(By::Owner));
        let system = events::OF_THE_SYSTEM.iter().filter(|_| self.with_events).map(ask(By::System));
        let application = operations::OF_THE_APPLICATION.iter().map(ask(By::Application));
        let all = owner.chain(system).chain(application);
        all.filter(|question| rules.have(question.check.scope)).collect()
    }

    /// In a transaction that can write nothing.
    async fn ask<T>(&mut self, question: &Question, sql: &str) -> Result<Vec<T>>
    where
        T: QueryableByName<diesel::pg::Pg> + Send + 'static,
    {
        let role = if question.by == By::System { "; SET LOCAL ROLE bedplate_system" } else { "" };
        let settings = format!("SET TRANSACTION READ ONLY; SET LOCAL search_path = public, pg_catalog{role}");
        let connection = match (&mut self.application, question.by) {
            (Some(application), By::Application) => application,
            _ => &mut self.owner,
        };
        let logins = &self.logins;
        connection
            .transaction::<_, Error, _>(async |connection| {
                connection.batch_execute(&settings).await?;
                let query = sql_query(format!("{PRELUDE}{sql}")).bind::<Array<Text>, _>(logins.as_slice());
                Ok(query.load(connection).await?)
            })
            .await
    }
}

fn user(name: Option<&str>) -> String {
    name.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::migrate::lint::{self, OF_THE_DATABASE};

    /// Both ways: an exemption in `metadata.toml` may name every check, and no other rule that lint does not have.
    #[test]
    fn lint_knows_the_name_of_every_check() {
        let rules: Vec<_> = lint::rules().collect();
        let mut others: Vec<_> = checks().filter(|check| rules.iter().all(|rule| rule != check)).collect();
        others.sort_unstable();
        assert_eq!(others, OF_THE_DATABASE);
    }
}
