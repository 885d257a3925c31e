//! What a database has to keep.

use std::collections::BTreeSet;

use crate::database::DatabaseName;
use crate::database::migrate::Source;
use crate::database::migrate::lint::{self, Rules};
use crate::error::Result;

/// The rules of a database, and what its migrations declare.
#[derive(Debug, Clone)]
pub struct Rulebook {
    pub(super) rules: Rules,
    declared: BTreeSet<(String, String)>,
}

impl Rulebook {
    /// Of one of our databases, by the migrations that are compiled in.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub fn of(database: DatabaseName) -> Result<Self> {
        Self::read(&Source::Embedded(database), Rules::of(database))
    }

    /// Of any database, by its own migrations.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub fn read(source: &Source, rules: Rules) -> Result<Self> {
        Ok(Self { rules, declared: lint::declared(&source.read()?) })
    }

    /// Whether a migration declares that a rule does not hold for a table, a view or a function.
    pub(super) fn declares(&self, rule: &str, about: &str) -> bool {
        self.declared.contains(&(rule.to_owned(), about.to_owned()))
    }
}
