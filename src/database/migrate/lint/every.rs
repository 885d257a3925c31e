//! The rules of ours for any Diesel project.

use super::super::folder::Migration;
use super::super::statement::Statement;
use super::{Change, Finding, Found, Level, Rule, Scope};

const SYNTAX: &str =
    "PostgreSQL would refuse it, or squawk, which looks at it here, is wrong: then say so in metadata.toml";

pub(super) const RULES: &[Rule] = &[
    Rule { name: "syntax", why: SYNTAX, level: Level::Refuse, scope: Scope::Every, find: syntax },
    Rule {
        name: "down-missing",
        why: "what cannot be taken back cannot be tried; where nothing has to be taken back, write `SELECT;`",
        level: Level::Refuse,
        scope: Scope::Every,
        find: down_missing,
    },
    Rule {
        name: "one-concurrently",
        why: "PostgreSQL refuses it inside of a transaction: say `run_in_transaction = false` in metadata.toml",
        level: Level::Refuse,
        scope: Scope::Every,
        find: concurrently_in_transaction,
    },
    Rule {
        name: "one-concurrently",
        why: "bedplate sends one statement after the other and knows where it stopped; the diesel CLI sends the file \
              as one query, which PostgreSQL refuses: give each a migration of its own",
        level: Level::Explain,
        scope: Scope::Every,
        find: second_concurrently,
    },
];

/// A file that cannot be taken apart: nothing else is known of it.
pub(super) fn unreadable(migration: &Migration, found: Found) -> Finding {
    Finding {
        migration: migration.name.clone(),
        file: found.file,
        line: found.line,
        rule: "syntax".to_owned(),
        level: Level::Refuse,
        message: found.message,
        help: SYNTAX.to_owned(),
    }
}

/// The first of a file: what comes behind it is mostly its consequence.
fn syntax(change: &Change<'_>) -> Vec<Found> {
    let files = std::iter::once(&change.up).chain(&change.down);
    let errors = files.filter_map(|file| {
        let errors = file.parse.errors();
        let error = errors.first()?;
        // It points behind the word before: to where the next one is missing.
        Some(file.found_at(usize::from(error.range().start()).min(file.sql.len()), error.message()))
    });
    errors.collect()
}

fn down_missing(change: &Change<'_>) -> Vec<Found> {
    let found = |message: &str| vec![Found { file: "down.sql", line: None, message: message.to_owned() }];
    match &change.migration.down {
        _ if change.up.script.is_empty() => Vec::new(),
        None => found("is missing"),
        Some(down) if down.statements().is_ok_and(|statements| statements.is_empty()) => found("has no statement"),
        Some(_) => Vec::new(),
    }
}

fn concurrently_in_transaction(change: &Change<'_>) -> Vec<Found> {
    if !change.migration.metadata.run_in_transaction {
        return Vec::new();
    }
    // REFRESH MATERIALIZED VIEW CONCURRENTLY is the one that may.
    let refused = |statement: &Statement| statement.words.first().is_none_or(|word| word != "REFRESH");
    let files = std::iter::once(&change.up).chain(&change.down);
    files.flat_map(|file| concurrent(&file.script, file.name, "CONCURRENTLY in a transaction", refused)).collect()
}

fn second_concurrently(change: &Change<'_>) -> Vec<Found> {
    let files = std::iter::once(&change.up).chain(&change.down);
    files
        .flat_map(|file| concurrent(&file.script, file.name, "one more CONCURRENTLY in this file", |_| true).skip(1))
        .collect()
}

fn concurrent<'s>(
    statements: &'s [Statement],
    file: &'static str,
    message: &'static str,
    filter: impl Fn(&Statement) -> bool + 's,
) -> impl Iterator<Item = Found> + 's {
    let concurrent = statements.iter().filter(move |statement| statement.is_concurrent() && filter(statement));
    concurrent.map(move |statement| Found { file, line: Some(statement.line), message: message.to_owned() })
}
