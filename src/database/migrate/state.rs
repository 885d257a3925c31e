//! The state of a session between the statements of a migration that is no transaction: what a run that goes on in
//! another session has to find again.
//!
//! Settings and roles are restored. What ends with a session (temporary tables, prepared statements, cursors, LISTEN,
//! advisory locks) is not: the run that goes on refuses, and says which statement has to be repeated.
//!
//! Limits: PostgreSQL lists no custom settings (`app.tenant`), so those are asked for whose names stand in the
//! migration's text. `setseed()` and LOAD cannot be asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::session::Session;
use super::statement::Statement;
use crate::sql::quote_literal;

/// The state of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    settings: BTreeMap<String, String>,
    role: Option<String>,
    authorization: Option<String>,
    /// What ends with the session.
    #[serde(default)]
    pub(super) lost: Vec<Lost>,
    /// Whether the run that goes on may repeat the statements that made it.
    #[serde(default)]
    pub(super) repeat: bool,
}

/// Something that ends with the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lost {
    pub(super) what: String,
    /// The statements that made it, from 0: `first` to before `end`.
    pub(super) first: usize,
    pub(super) end: usize,
}

/// What a session has, before it is known which statement made it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    state: State,
    things: Vec<String>,
}

impl Seen {
    /// Asks the session. `custom`: names of custom settings.
    pub(super) async fn of(session: &Session, custom: &BTreeSet<String>) -> Result<Self, tokio_postgres::Error> {
        let names: Vec<_> = custom.iter().map(|name| quote_literal(name)).collect();
        let names = if names.is_empty() { "NULL".to_owned() } else { names.join(", ") };
        let sql = format!(
            "SELECT 'setting', name, setting FROM pg_catalog.pg_settings \
              WHERE source = 'session' AND name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable') \
                AND NOT (name = 'lock_timeout' AND pg_catalog.current_setting('lock_timeout') = {timeout}) \
             UNION ALL SELECT 'setting', n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest(ARRAY[{names}]::text[]) AS n \
              WHERE pg_catalog.current_setting(n, true) IS NOT NULL \
             UNION ALL SELECT 'role', '', pg_catalog.current_setting('role') WHERE pg_catalog.current_setting('role') <> 'none' \
             UNION ALL SELECT 'authorization', '', session_user WHERE session_user <> {login} \
             UNION ALL SELECT 'lost', '', 'temporary ' || CASE relkind WHEN 'v' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END \
                       || relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relkind IN ('r', 'p', 'v', 'S') \
             UNION ALL SELECT 'lost', '', 'temporary function ' || proname FROM pg_catalog.pg_proc \
              WHERE pronamespace = pg_catalog.pg_my_temp_schema() \
             UNION ALL SELECT 'lost', '', 'prepared statement ' || name FROM pg_catalog.pg_prepared_statements \
             UNION ALL SELECT 'lost', '', 'cursor ' || name FROM pg_catalog.pg_cursors WHERE is_holdable \
             UNION ALL SELECT 'lost', '', 'LISTEN ' || c FROM pg_catalog.pg_listening_channels() AS c \
             UNION ALL SELECT 'lost', '', 'advisory lock ' || classid || ', ' || objid FROM pg_catalog.pg_locks \
              WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() \
                AND ((classid::bigint << 32) | objid::bigint, objsubid) <> ({key}, 1)",
            timeout = quote_literal(&session.timeout()),
            login = quote_literal(&session.login),
            key = super::lock::KEY,
        );
        let mut seen = Self::default();
        for row in session.try_rows(&sql).await? {
            let value = |column| row.get(column).unwrap_or_default().to_owned();
            match row.get(0) {
                Some("setting") => {
                    seen.state.settings.insert(value(1), value(2));
                }
                Some("role") => seen.state.role = Some(value(2)),
                Some("authorization") => seen.state.authorization = Some(value(2)),
                Some("lost") => seen.things.push(value(2)),
                _ => {}
            }
        }
        seen.things.sort();
        seen.things.dedup();
        Ok(seen)
    }
}

impl State {
    pub(super) fn from_json(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The state behind the statements `first` to before `end`, which ended as `seen`.
    pub(super) fn then(&self, seen: Seen, first: usize, end: usize) -> Self {
        let Seen { mut state, things } = seen;
        let known = |what: &String| self.lost.iter().find(|lost| lost.what == *what).cloned();
        state.lost = things.into_iter().map(|what| known(&what).unwrap_or(Lost { what, first, end })).collect();
        state
    }

    /// The state behind the COMMIT of statements that are `seen` in their transaction, where that is certain: a setting
    /// may be the transaction's alone.
    pub(super) fn behind_commit(&self, seen: &Seen, statements: &[Statement]) -> Option<Self> {
        let things: Vec<_> = self.lost.iter().map(|lost| &lost.what).collect();
        if things.len() != seen.things.len() || !seen.things.iter().all(|thing| things.contains(&thing)) {
            return None;
        }
        let (local, plain) = set_by(statements);
        let mut after = self.clone();
        after.repeat = false;
        let names: BTreeSet<_> = self.settings.keys().chain(seen.state.settings.keys()).collect();
        for name in names {
            let (was, is) = (self.settings.get(name), seen.state.settings.get(name));
            // A custom setting of a transaction that ended leaves the empty string behind.
            let left_empty = is.is_some_and(String::is_empty) || local.contains(&name.to_lowercase());
            if was.is_none() && is_custom(name) && left_empty && !plain.contains(&name.to_lowercase()) {
                after.settings.insert(name.clone(), String::new());
            } else if was != is && lasts(&name.to_lowercase(), &local, &plain)? {
                after.settings.remove(name);
                after.settings.extend(is.map(|value| (name.clone(), value.clone())));
            }
        }
        if self.role != seen.state.role && lasts("role", &local, &plain)? {
            after.role.clone_from(&seen.state.role);
        }
        if self.authorization != seen.state.authorization && lasts("session_authorization", &local, &plain)? {
            after.authorization.clone_from(&seen.state.authorization);
        }
        Some(after)
    }

    /// Whether the transaction that begins with this statement can write nothing, so that its record is written behind it.
    pub(super) fn reads_only(&self, first: &Statement) -> bool {
        let by_default = self.settings.get("default_transaction_read_only").is_some_and(|value| value == "on");
        first.is_read_only() || (by_default && !first.is_read_write())
    }

    /// The same state, of which nobody knows what these statements made of it.
    pub(super) fn uncertain(&self, first: usize, end: usize) -> Self {
        let mut state = self.clone();
        state.lost.push(Lost { what: "what it set for its session".to_owned(), first, end });
        state
    }

    /// The statements that bring it back in a new session; empty where there is nothing to bring back.
    pub(super) fn restore(&self) -> String {
        let settings = self.settings.iter().map(|(name, value)| {
            format!("SELECT pg_catalog.set_config({}, {}, false)", quote_literal(name), quote_literal(value))
        });
        let authorization =
            self.authorization.iter().map(|name| format!("SET SESSION AUTHORIZATION {}", quote_literal(name)));
        let role = self.role.iter().map(|name| format!("SET ROLE {}", quote_literal(name)));
        settings.chain(authorization).chain(role).collect::<Vec<_>>().join("; ")
    }
}

fn is_custom(name: &str) -> bool {
    name.contains('.')
}

/// Whether a change of a setting outlives its transaction; `None` where nobody can tell.
fn lasts(name: &str, local: &BTreeSet<String>, plain: &BTreeSet<String>) -> Option<bool> {
    match (local.contains(name), plain.contains(name) || plain.contains("all")) {
        (true, false) => Some(false),
        (false, true) => Some(true),
        _ => None,
    }
}

/// The names of the settings that SET LOCAL and those that SET and RESET name.
fn set_by(statements: &[Statement]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut local, mut plain) = (BTreeSet::new(), BTreeSet::new());
    for statement in statements {
        let words: Vec<&str> = statement.words.iter().take(8).map(String::as_str).collect();
        let (set, rest) = match words.as_slice() {
            ["SET", "LOCAL", rest @ ..] => (&mut local, rest),
            ["SET", "SESSION", rest @ ..] if rest.first() != Some(&"AUTHORIZATION") => (&mut plain, rest),
            ["SET" | "RESET", rest @ ..] => (&mut plain, rest),
            _ => continue,
        };
        let name = match rest {
            ["SESSION", "AUTHORIZATION", ..] => {
                // It takes the role along.
                set.insert("role".to_owned());
                "session_authorization".to_owned()
            }
            ["TIME", "ZONE", ..] => "timezone".to_owned(),
            ["NAMES", ..] => "client_encoding".to_owned(),
            ["CHARACTERISTICS", ..] => {
                let of_transactions = ["isolation", "read_only", "deferrable"];
                set.extend(of_transactions.map(|name| format!("default_transaction_{name}")));
                continue;
            }
            [first, ".", second, ..] => format!("{first}.{second}").to_lowercase().replace('"', ""),
            [name, ..] => name.to_lowercase().replace('"', ""),
            [] => continue,
        };
        set.insert(name);
    }
    (local, plain)
}

/// The names in a statement that may be those of custom settings: words with a dot between.
pub(super) fn custom_names(sql: &str, names: &mut BTreeSet<String>) {
    const MOST: usize = 500;
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    for word in sql.split(|c: char| !is_part(c) && c != '.') {
        let mut parts = word.split('.');
        let is_name = word.contains('.') && parts.all(|part| part.starts_with(|c: char| c.is_alphabetic() || c == '_'));
        if is_name && names.len() < MOST {
            names.insert(word.to_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::database::migrate::script::Script;

    #[test]
    fn names_of_custom_settings_are_found() {
        let mut names = BTreeSet::new();
        custom_names("SET App.Tenant = '1.5'; SELECT set_config('a.b.c', x.y, true), 1.2, .5 FROM s.t", &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a.b.c", "app.tenant", "s.t", "x.y"]);
    }

    #[rstest]
    #[case("SET app.x = '1'", Some("1"))]
    #[case("BEGIN; SET LOCAL app.x = '1'; COMMIT", Some("0"))]
    #[case("DO $$ BEGIN PERFORM set_config('app.x', '1', true); END $$", None)]
    #[case("BEGIN; SET app.x = '1'; SET LOCAL app.x = '2'; COMMIT", None)]
    fn a_setting_of_the_transaction_alone_is_told_apart(#[case] sql: &str, #[case] expected: Option<&str>) {
        let before = State { settings: [("app.x".to_owned(), "0".to_owned())].into(), ..State::default() };
        let seen = Seen {
            state: State { settings: [("app.x".to_owned(), "1".to_owned())].into(), ..State::default() },
            things: Vec::new(),
        };
        let statements = Script::new("up.sql", sql).statements().unwrap();
        let after = before.behind_commit(&seen, &statements);
        assert_eq!(after.as_ref().map(|state| state.settings["app.x"].as_str()), expected);
    }

    /// PostgreSQL does not make it unknown again.
    #[rstest]
    #[case("BEGIN; SET LOCAL app.x = '1'; COMMIT", "1")]
    #[case("SELECT f()", "")]
    fn a_custom_setting_of_a_transaction_leaves_the_empty_string(#[case] sql: &str, #[case] seen: &str) {
        let settings = [("app.x".to_owned(), seen.to_owned())].into();
        let seen = Seen { state: State { settings, ..State::default() }, things: Vec::new() };
        let statements = Script::new("up.sql", sql).statements().unwrap();
        let after = State::default().behind_commit(&seen, &statements).unwrap();
        assert_eq!(after.settings["app.x"], "");
    }
}
