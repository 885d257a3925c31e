//! What is dangerous in a folder of migrations, told before a database sees it. The rules for any Diesel project are
//! squawk's (`general.rs`) and those about locks (`locks/`); those of this design are written here. It reads files, and needs no database.
//!
//! Always holds: the folder is read in order, so a rule knows the tables that earlier migrations made. An exemption
//! stands in `metadata.toml` with its reason, and nowhere else; one that exempts nothing is a finding itself.

mod design;
mod every;
mod exemptions;
mod file;
mod general;
mod grants;
mod keys;
mod leakproof;
mod locks;
mod schema;
mod state;
mod table;
mod tenants;

use std::collections::BTreeSet;

use serde::Serialize;

use super::folder::Migration;
use crate::database::DatabaseName;
use crate::error::Result;
use exemptions::Exemptions;
#[cfg(test)]
pub(in crate::database) use exemptions::OF_THE_DATABASE;
use file::File;
use schema::Schema;
use state::{Touched, Watch};

/// Which rules a folder has to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Those of any Diesel project.
    General,
    /// And those of this design, for a database with tenants.
    Tenants,
    /// And those of this design, for reference data without tenants.
    Reference,
}

impl Rules {
    /// Those of one of our databases.
    #[must_use]
    pub fn of(database: DatabaseName) -> Self {
        match database {
            DatabaseName::Main | DatabaseName::Rfq => Self::Tenants,
            DatabaseName::Marketdata => Self::Reference,
        }
    }

    pub(in crate::database) fn have(self, scope: Scope) -> bool {
        match scope {
            Scope::Every => true,
            Scope::Others => self == Self::General,
            Scope::Design => self != Self::General,
            Scope::Tenants => self == Self::Tenants,
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It breaks what runs in production, or a rule of the design.
    Refuse,
    /// It works; the finding says what it costs.
    Explain,
}

/// Something that should not be run as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its directory's name.
    pub migration: String,
    /// `up.sql`, `down.sql` or `metadata.toml`.
    pub file: &'static str,
    /// From 1; `None` where it is about the whole file, or about one that is missing.
    pub line: Option<usize>,
    /// What an exemption names.
    pub rule: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// Why it matters, or what to do.
    pub help: String,
}

/// One rule of ours.
struct Rule {
    name: &'static str,
    why: &'static str,
    level: Level,
    scope: Scope,
    find: fn(&Change<'_>) -> Vec<Found>,
}

/// Which folders a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::database) enum Scope {
    /// Any.
    Every,
    /// Those of other projects: ours have a stricter rule for it.
    Others,
    /// Those of this design.
    Design,
    /// Those of this design that have tenants.
    Tenants,
}

/// One migration, between what the folder made before it and what is there after it.
struct Change<'m> {
    migration: &'m Migration,
    up: File,
    down: Option<File>,
    before: &'m Schema,
    after: Schema,
    rules: Rules,
}

/// Where a rule is broken, and how.
struct Found {
    file: &'static str,
    line: Option<usize>,
    message: String,
}

fn ours() -> impl Iterator<Item = &'static Rule> {
    [every::RULES, design::RULES, tenants::RULES].into_iter().flatten()
}

/// The names of all rules.
pub fn rules() -> impl Iterator<Item = String> {
    let ours = ours().map(|rule| rule.name).chain(locks::RULES.iter().map(|rule| rule.name));
    let ours = ours.chain(state::rules().map(|rule| rule.name));
    let ours: BTreeSet<_> = ours.chain(exemptions::RULES.iter().map(|(name, _)| *name)).collect();
    ours.into_iter().map(str::to_owned).chain(general::names())
}

/// What breaks a rule and has no exemption, in the order of the folder.
///
/// # Errors
/// [`Error::Configuration`](crate::Error::Configuration) where squawk cannot be told the version of PostgreSQL.
pub fn lint(migrations: &[Migration], rules: Rules) -> Result<Vec<Finding>> {
    let (mut before, mut touched, mut watch) = (Schema::default(), Touched::default(), Watch::default());
    let mut found = Vec::new();
    for (number, migration) in migrations.iter().enumerate() {
        let (findings, after) = look_at(migration, &before, rules)?;
        found.push(findings);
        if let Ok(up) = File::read(&migration.up) {
            touched.read(number, &up, &after);
        }
        watch.look(number, &after, rules);
        before = after;
    }
    let mut exemptions = Exemptions::of(migrations, rules);
    for (number, findings) in found.iter_mut().enumerate() {
        findings.retain(|finding| !exemptions.covers(&finding.rule, [number]));
    }
    for (number, about, finding) in watch.findings(migrations, &touched) {
        if !exemptions.covers(&finding.rule, touched.migrations(&about)) {
            found[number].push(finding);
        }
    }
    for (number, migration) in migrations.iter().enumerate() {
        // `up.sql` before `down.sql`.
        found[number].sort_by(|a, b| (b.file, a.line, &a.rule).cmp(&(a.file, b.line, &b.rule)));
        found[number].dedup();
        found[number].extend(exemptions.wrong(number, migration));
    }
    Ok(found.into_iter().flatten().collect())
}

/// What the folder's migrations declare of their tables, views and functions: rule and object.
///
/// An exemption under `[lint]` is about what its migration makes or changes: the tables that it creates, alters, gives
/// an index, a trigger, a policy or a grant, and their partitions; the views and the functions that it creates or alters.
pub(in crate::database) fn declared(migrations: &[Migration]) -> BTreeSet<(String, String)> {
    let (mut schema, mut touched) = (Schema::default(), Touched::default());
    for (number, migration) in migrations.iter().enumerate() {
        if let Ok(up) = File::read(&migration.up) {
            up.statements().for_each(|statement| schema.apply(&statement));
            touched.read(number, &up, &schema);
        }
    }
    let mut declared = BTreeSet::new();
    for (object, numbers) in touched.objects() {
        let metadata = numbers.filter_map(|number| migrations.get(number)).map(|migration| &migration.metadata.lint);
        let reasons = metadata.flatten().filter(|(_, reason)| !exemptions::is_empty(reason));
        declared.extend(reasons.map(|(rule, _)| (rule.clone(), object.to_owned())));
    }
    declared
}

fn look_at(migration: &Migration, before: &Schema, rules: Rules) -> Result<(Vec<Finding>, Schema)> {
    let (up, down) = (File::read(&migration.up), migration.down.as_ref().map(File::read).transpose());
    let up = match up {
        Ok(up) => up,
        Err(found) => return Ok((vec![every::unreadable(migration, found)], before.clone())),
    };
    let (down, unreadable) = match down {
        Ok(down) => (down, None),
        Err(found) => (None, Some(every::unreadable(migration, found))),
    };
    let mut after = before.clone();
    up.statements().for_each(|statement| after.apply(&statement));
    let change = Change { migration, up, down, before, after, rules };
    let mut findings: Vec<Finding> = unreadable.into_iter().collect();
    findings.extend(general::findings(&change)?);
    for rule in ours().filter(|rule| rules.have(rule.scope)) {
        findings.extend(
            (rule.find)(&change).into_iter().map(|found| finding(migration, (rule.name, rule.level, rule.why), found)),
        );
    }
    let found = locks::findings(&change, locks::RULES).into_iter();
    findings.extend(found.map(|(rule, found)| finding(migration, (rule.name, rule.level, rule.why), found)));
    Ok((findings, change.after))
}

fn finding(migration: &Migration, (rule, level, why): (&str, Level, &str), found: Found) -> Finding {
    Finding {
        migration: migration.name.clone(),
        file: found.file,
        line: found.line,
        rule: rule.to_owned(),
        level,
        message: found.message,
        help: why.to_owned(),
    }
}
