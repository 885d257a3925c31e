//! The rules about what the folder makes as a whole: a table may get its trigger or its grant in a later migration.
//! The doctor asks the catalogue the same, under the same names.
//!
//! Always holds: a finding belongs to the migration from which on the rule is broken to the end of the folder, and an
//! exemption to every migration that makes or changes the table or the function.

mod access;
mod columns;
mod triggers;

use std::collections::BTreeMap;

use super::schema::{Schema, touched};
use super::{File, Finding, Level, Migration, Rules, Scope};

/// A rule about the schema after the last migration.
pub(super) struct StateRule {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    pub(super) scope: Scope,
    find: fn(&Schema) -> Vec<Broken>,
}

/// The table, view or function that breaks a rule, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Broken {
    about: String,
    message: String,
}

fn broken(about: &str, message: impl Into<String>) -> Broken {
    Broken { about: about.to_owned(), message: message.into() }
}

pub(super) fn rules() -> impl Iterator<Item = &'static StateRule> {
    [triggers::RULES, columns::RULES, access::RULES].into_iter().flatten()
}

/// The migrations that make or change each table, view and function, each with the first line that does.
#[derive(Debug, Default)]
pub(super) struct Touched(BTreeMap<String, BTreeMap<usize, Option<usize>>>);

impl Touched {
    pub(super) fn read(&mut self, number: usize, up: &File, schema: &Schema) {
        for statement in up.statements() {
            let line = up.found(&statement, "").line;
            for object in touched(&statement) {
                // What is said of a partition is said of its table.
                for name in [schema.root(&object).to_owned(), object] {
                    self.0.entry(name).or_default().entry(number).or_insert(line);
                }
            }
        }
    }

    pub(super) fn migrations(&self, object: &str) -> impl Iterator<Item = usize> + '_ {
        self.0.get(object).into_iter().flat_map(|places| places.keys().copied())
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = usize>)> {
        self.0.iter().map(|(object, places)| (object.as_str(), places.keys().copied()))
    }
}

/// What is broken, with the migration since which it is.
#[derive(Default)]
pub(super) struct Watch {
    since: BTreeMap<(&'static str, Broken), usize>,
}

impl Watch {
    /// After a migration.
    pub(super) fn look(&mut self, number: usize, schema: &Schema, rules: Rules) {
        let mut now = BTreeMap::new();
        for rule in self::rules().filter(|rule| rules.have(rule.scope)) {
            for broken in (rule.find)(schema) {
                let key = (rule.name, broken);
                let since = self.since.get(&key).copied().unwrap_or(number);
                now.insert(key, since);
            }
        }
        self.since = now;
    }

    /// Each with the number of its migration, and what it is about.
    pub(super) fn findings(self, migrations: &[Migration], touched: &Touched) -> Vec<(usize, String, Finding)> {
        let finding = |((name, broken), number): ((&'static str, Broken), usize)| {
            let migration = migrations.get(number)?;
            let rule = rules().find(|rule| rule.name == name)?;
            let line = touched.0.get(&broken.about).and_then(|places| places.get(&number)).copied().flatten();
            let finding = Finding {
                migration: migration.name.clone(),
                file: "up.sql",
                line,
                rule: name.to_owned(),
                level: Level::Refuse,
                message: broken.message,
                help: rule.why.to_owned(),
            };
            Some((number, broken.about, finding))
        };
        self.since.into_iter().filter_map(finding).collect()
    }
}
