//! Exemptions, which stand in `metadata.toml` and which the diesel CLI does not read: `"rule" = "the reason"`.
//!
//! | section | meaning |
//! |---|---|
//! | `[lint]` | The rule does not hold for what this migration makes or changes. The doctor honours it too. |
//! | `[unseen]` | The rule holds, and the files do not show it, because a function or an EXECUTE does the work. The doctor asks the catalogue all the same. |

use std::collections::{BTreeMap, BTreeSet};

use super::super::folder::Migration;
use super::{Finding, Level, Rules, Scope, general, locks, ours, state};

/// The rules about exemptions, which have none themselves.
pub(super) const RULES: [(&str, &str); 3] = [
    ("exemption-without-reason", "who reads it later has to see why it does no harm here"),
    ("stale-exemption", "it would hide what comes later: take it out"),
    (
        "unknown-rule",
        "it exempts nothing: the names are those that `bedplate migrate lint` and `bedplate doctor` print",
    ),
];

/// The rules that only a database can be asked, so that nothing here finds an exemption of theirs stale.
pub(in crate::database) const OF_THE_DATABASE: [&str; 13] = [
    "audit-log-open",
    "event-sequence",
    "event-tags-hash",
    "index-duplicate",
    "index-invalid",
    "index-unused",
    "login-bypasses-rls",
    "login-inherits",
    "partition-default-used",
    "partition-missing",
    "role-too-strong",
    "sequence-near-end",
    "time-zone",
];

/// Those of a folder, and which of them were of use.
pub(super) struct Exemptions<'m> {
    of: Vec<BTreeMap<&'m str, &'m str>>,
    used: BTreeSet<(usize, String)>,
    rules: Rules,
}

impl<'m> Exemptions<'m> {
    pub(super) fn of(migrations: &'m [Migration], rules: Rules) -> Self {
        let of = migrations.iter().map(|migration| {
            let both = migration.metadata.lint.iter().chain(&migration.metadata.unseen);
            both.map(|(rule, reason)| (rule.as_str(), reason.as_str())).collect()
        });
        Self { of: of.collect(), used: BTreeSet::new(), rules }
    }

    /// Whether one of these migrations exempts a rule with a reason. All that do are of use then.
    pub(super) fn covers(&mut self, rule: &str, migrations: impl IntoIterator<Item = usize>) -> bool {
        let mut covers = false;
        for number in migrations {
            let reason = self.of.get(number).and_then(|exemptions| exemptions.get(rule));
            if reason.is_some() {
                self.used.insert((number, rule.to_owned()));
            }
            covers |= reason.is_some_and(|reason| !is_empty(reason));
        }
        covers
    }

    /// What is wrong with those of a migration.
    pub(super) fn wrong(&self, number: usize, migration: &Migration) -> Vec<Finding> {
        let mut wrong = Vec::new();
        for (rule, reason) in self.of.get(number).into_iter().flatten() {
            let scopes = scopes(rule);
            let (nth, message) = if scopes.is_empty() && !OF_THE_DATABASE.contains(rule) {
                (2, format!("there is no rule {rule}"))
            } else if is_empty(reason) {
                (0, format!("{rule} is exempt without a reason"))
            // Of a rule that this folder is not asked nothing is known.
            } else if scopes.iter().any(|scope| self.rules.have(*scope))
                && !self.used.contains(&(number, (*rule).to_owned()))
            {
                (1, format!("{rule} finds nothing here"))
            } else {
                continue;
            };
            wrong.push(finding(migration, nth, message));
        }
        wrong
    }
}

pub(super) fn is_empty(reason: &str) -> bool {
    reason.trim().is_empty()
}

/// Which folders are asked a rule; none for a name that no rule has.
fn scopes(rule: &str) -> Vec<Scope> {
    let ours = ours().map(|ours| (ours.name, ours.scope)).chain(state::rules().map(|ours| (ours.name, ours.scope)));
    let ours = ours.chain(locks::RULES.iter().map(|rule| (rule.name, Scope::Every)));
    ours.filter(|(name, _)| *name == rule).map(|(_, scope)| scope).chain(general::scope(rule)).collect()
}

fn finding(migration: &Migration, nth: usize, message: String) -> Finding {
    let (rule, help) = RULES[nth];
    Finding {
        migration: migration.name.clone(),
        file: "metadata.toml",
        line: None,
        rule: rule.to_owned(),
        level: Level::Refuse,
        message,
        help: help.to_owned(),
    }
}
