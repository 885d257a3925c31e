//! Exemptions: `[lint]` in `metadata.toml`, which the diesel CLI does not read. `"rule" = "why it does no harm here"`.

use std::collections::BTreeSet;

use super::super::folder::Migration;
use super::{Finding, Level, Rules, Scope, general, ours};

/// The rules about exemptions, which have none themselves.
pub(super) const RULES: [(&str, &str); 3] = [
    ("exemption-without-reason", "who reads it later has to see why it does no harm here"),
    ("stale-exemption", "it would hide what comes later: take it out"),
    ("unknown-rule", "it exempts nothing: the names are those that `bedplate migrate lint` prints"),
];

/// The findings that are left, and what is wrong with the exemptions.
pub(super) fn apply(migration: &Migration, findings: Vec<Finding>, rules: Rules) -> Vec<Finding> {
    let exemptions = &migration.metadata.lint;
    let is_exempt = |finding: &Finding| exemptions.get(&finding.rule).is_some_and(|reason| !is_empty(reason));
    let found: BTreeSet<_> = findings.iter().map(|finding| finding.rule.clone()).collect();
    let mut left: Vec<_> = findings.into_iter().filter(|finding| !is_exempt(finding)).collect();
    for (rule, reason) in exemptions {
        let (nth, message) = match scope(rule) {
            None => (2, format!("there is no rule {rule}")),
            Some(_) if is_empty(reason) => (0, format!("{rule} is exempt without a reason")),
            // Of a rule that this folder is not asked nothing is known.
            Some(scope) if rules.have(scope) && !found.contains(rule) => (1, format!("{rule} finds nothing here")),
            Some(_) => continue,
        };
        left.push(finding(migration, nth, message));
    }
    left
}

fn is_empty(reason: &str) -> bool {
    reason.trim().is_empty()
}

fn scope(rule: &str) -> Option<Scope> {
    ours().find(|ours| ours.name == rule).map(|ours| ours.scope).or_else(|| general::scope(rule))
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
