//! Writing the history: the statements that go into a transaction with what they record.
//!
//! Always holds: a migration's rows in both tables are written in the transaction of its last statement.

use std::time::Duration;

use super::check::Checked;
use super::folder::Migration;
use super::history::{Outcome, Way};
use super::script::Script;
use super::session::Session;
use crate::error::Result;
use crate::sql::quote_literal;

/// Makes both tables where they are missing. Diesel's is as Diesel makes it.
pub(super) async fn prepare(session: &Session) -> Result<()> {
    let schema = session.schema();
    session
        .run(&format!(
            "BEGIN; SET LOCAL client_min_messages = warning; \
             CREATE TABLE IF NOT EXISTS {schema}.__diesel_schema_migrations ( \
                 version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP); \
             CREATE TABLE IF NOT EXISTS {schema}.__bedplate_migrations ( \
                 id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                 version text NOT NULL, name text NOT NULL, database text NOT NULL DEFAULT current_database(), \
                 direction text NOT NULL CHECK (direction IN ('up', 'down', 'baseline', 'repair')), \
                 outcome text NOT NULL CHECK (outcome IN ('running', 'done', 'failed')), \
                 up_sql text NOT NULL, down_sql text, \
                 checksum text NOT NULL, sql_checksum text NOT NULL, down_checksum text NOT NULL, \
                 statements integer NOT NULL, statements_done integer NOT NULL, \
                 started_at timestamptz NOT NULL, took_ms bigint NOT NULL, \
                 login text NOT NULL DEFAULT session_user, account text, host text, \
                 application_version text NOT NULL, error text); \
             ALTER TABLE {schema}.__bedplate_migrations \
                 ADD COLUMN IF NOT EXISTS run_in_transaction boolean, ADD COLUMN IF NOT EXISTS source text, \
                 ADD COLUMN IF NOT EXISTS done_checksum text, ADD COLUMN IF NOT EXISTS session jsonb, \
                 ADD COLUMN IF NOT EXISTS sent jsonb; \
             COMMENT ON TABLE {schema}.__bedplate_migrations IS \
                 'Every run of a migration by bedplate: which text, when, how long, by whom, how far. What is applied is in __diesel_schema_migrations.'; \
             COMMIT"
        ))
        .await
}

/// The record of a run that begins.
#[derive(Debug, Clone)]
pub(super) struct Record<'m> {
    pub(super) migration: &'m Migration,
    pub(super) direction: Way,
    pub(super) checked: &'m Checked,
    /// The folder of the migration.
    pub(super) source: &'m str,
}

impl Record<'_> {
    /// The INSERT of its row, which returns the id.
    pub(super) fn insert(
        &self,
        schema: &str,
        outcome: Outcome,
        progress: &Progress,
        took: Duration,
        error: Option<&str>,
    ) -> Result<String> {
        let migration = self.migration;
        let down = migration.down.as_ref();
        let optional = |text: Option<&str>| text.map_or_else(|| "NULL".to_owned(), quote_literal);
        Ok(format!(
            "INSERT INTO {schema}.__bedplate_migrations (version, name, direction, outcome, up_sql, down_sql, checksum, \
                 sql_checksum, down_checksum, statements, statements_done, started_at, took_ms, account, host, \
                 application_version, error, run_in_transaction, source, done_checksum, session) \
             VALUES ({}, {}, '{}', '{outcome}', {}, {}, '{}', '{}', '{}', {}, {done}, \
                 clock_timestamp() - interval '{took} ms', {took}, {}, {}, {}, {}, {}, {}, {}, {}) RETURNING id::text",
            quote_literal(&migration.version),
            quote_literal(&migration.name),
            self.direction,
            quote_literal(migration.up.kept().unwrap_or_default()),
            optional(down.and_then(Script::kept)),
            migration.up.checksum()?,
            self.checked.up_checksum,
            down.map(Script::checksum).transpose()?.unwrap_or_default(),
            self.checked.statements,
            optional(account().as_deref()),
            optional(host().as_deref()),
            quote_literal(env!("CARGO_PKG_VERSION")),
            optional(error),
            migration.metadata.run_in_transaction,
            quote_literal(self.source),
            quote_literal(&progress.checksum),
            optional(Some(progress.session.as_str()).filter(|session| !session.is_empty())),
            done = progress.done,
            took = took.as_millis(),
        ))
    }

    /// The statement that tells Diesel.
    pub(super) fn in_diesels_table(&self, schema: &str) -> String {
        let version = quote_literal(&self.migration.version);
        match self.direction {
            Way::Up | Way::Baseline | Way::Repair => {
                format!(
                    "INSERT INTO {schema}.__diesel_schema_migrations (version) VALUES ({version}) ON CONFLICT DO NOTHING"
                )
            }
            Way::Down => format!("DELETE FROM {schema}.__diesel_schema_migrations WHERE version = {version}"),
        }
    }
}

/// How far a run of several transactions is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) done: usize,
    /// Of the SQL of the statements that are done.
    pub(super) checksum: String,
    /// The session's state behind them, as JSON.
    pub(super) session: String,
}

impl Progress {
    /// The UPDATE of the run's row. Nothing is in flight then.
    pub(super) fn update(
        &self,
        schema: &str,
        id: i64,
        outcome: Outcome,
        took: Duration,
        error: Option<&str>,
    ) -> String {
        let error = error.map_or_else(|| "NULL".to_owned(), quote_literal);
        format!(
            "UPDATE {schema}.__bedplate_migrations SET statements_done = {}, outcome = '{outcome}', took_ms = {}, \
             error = {error}, done_checksum = {}, session = {}, sent = NULL WHERE id = {id}",
            self.done,
            took.as_millis(),
            quote_literal(&self.checksum),
            quote_literal(&self.session),
        )
    }
}

/// The UPDATE behind a statement that failed, and that may have run in part.
pub(super) fn failed(schema: &str, id: i64, error: &str) -> String {
    let error = quote_literal(error);
    format!("UPDATE {schema}.__bedplate_migrations SET outcome = 'failed', error = {error} WHERE id = {id}")
}

/// The UPDATE that ends the runs of runners that are gone: whoever has the lock knows that nobody is at work. `of`: a
/// condition for the runs.
pub(super) fn killed(schema: &str, of: &str) -> String {
    format!(
        "UPDATE {schema}.__bedplate_migrations SET outcome = 'failed', error = 'the runner was killed' \
          WHERE outcome = 'running' AND {of}"
    )
}

/// The UPDATE before a statement is sent of which nobody may see the end.
pub(super) fn sent(schema: &str, id: i64, sent: &str) -> String {
    format!("UPDATE {schema}.__bedplate_migrations SET sent = {} WHERE id = {id}", quote_literal(sent))
}

/// The UPDATE that says that the statement which may have run did. `how`: in words, how that is known.
pub(super) fn ran(schema: &str, id: i64, done: usize, checksum: &str, how: &str) -> String {
    format!(
        "UPDATE {schema}.__bedplate_migrations SET sent = NULL, statements_done = {done}, done_checksum = {}, error = {} \
          WHERE id = {id}",
        quote_literal(checksum),
        quote_literal(&format!("statement {done} ran: {how}"))
    )
}

/// The UPDATE that says that the statement which may have run did not. What it left is taken away all the same.
pub(super) fn did_not_run(schema: &str, id: i64, number: usize) -> String {
    let how = quote_literal(&format!("statement {number} did not run: `migrate repair` said so"));
    format!(
        "UPDATE {schema}.__bedplate_migrations SET sent = sent || '{{\"not_run\": true}}', error = {how} WHERE id = {id}"
    )
}

fn account() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name)
}

fn host() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
