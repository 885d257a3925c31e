//! The order of arguments changes nothing.

use std::collections::BTreeSet;

use super::commands;
use crate::cli::parse;

/// A command, and its arguments in groups that stay together. Groups with `^` are shared: they may stand before the
/// command's name too.
const TABLE: &[(&str, &[&str])] = &[
    ("up", &[]),
    ("down", &[]),
    ("url", &["--app", "--database rfq"]),
    ("url", &["--admin", "--database rfq"]),
    ("seed", &["--set reference", "--set development", "--force"]),
    ("reset", &["--database app"]),
    ("status", &["--json"]),
    ("doctor", &["--json", "--dir x", "--tenants"]),
    ("serve", &["--listen 127.0.0.1:1", "--replica-lag 5", "--outbox-age 60"]),
    ("schema docs", &["--out x", "--check", "--json"]),
    (
        "maintain",
        &[
            "--audit-months-ahead 1",
            "--keep-audit-months 2",
            "--keep-revoked-session-days 1",
            "--keep-idempotency-days 3",
            "--keep-outbox-days 4",
            "--keep-processed-days 5",
            "--price-days-ahead 6",
            "--keep-price-days 7",
            "--json",
        ],
    ),
    ("completions", &["bash"]),
    ("events read", &["--tenant a", "--type T", "--tag a:b", "--after 3", "--limit 4", "--json"]),
    ("events read", &["--tenant a", "--backwards", "--json"]),
    ("events read", &["--tenant a", "--to-decide"]),
    (
        "events append",
        &["--tenant a", "--type T", "--data {}", "--tag a:b", "--if-none-match-tag a:b", "--after x", "--json"],
    ),
    ("events tail", &["--tenant a", "--type T", "--tag a:b", "--last 3", "--json"]),
    ("events stress", &["--writers 1", "--readers 2", "--seconds 3", "--json"]),
    ("forms check", &["s.json d.json", "--resource a=b", "--assert-formats", "--strict", "--json"]),
    ("forms suite", &["dir", "--remotes r", "--verbose", "--json"]),
    ("outbox status", &["^--database rfq", "--dead-letters 3", "--json"]),
    ("outbox start", &["^--database rfq", "--all"]),
    ("outbox start", &["^--database main", "--id 5f2a91c03b7d4e18"]),
    ("outbox replay", &["^--database rfq", "--all"]),
    ("outbox replay", &["^--database main", "--type t"]),
    ("outbox replay", &["^--database rfq", "--id 019a7c3e-0000-7000-8000-000000000001"]),
    (
        "outbox relay",
        &[
            "^--database rfq",
            "--webhook http://x",
            "--secret-env E",
            "--once",
            "--workers 2",
            "--timeout 3",
            "--max-attempts 4",
        ],
    ),
    ("outbox relay", &["^--database rfq", "--webhook http://x", "--secret-file f"]),
    (
        "migrate up",
        &[
            "^--dir x",
            "^--url y",
            "^--json",
            "--to 1",
            "--wait 1",
            "--lock-timeout 2",
            "--retry 3",
            "--allow-out-of-order 4",
        ],
    ),
    ("migrate down", &["^--all", "^--dir x", "--yes"]),
    ("migrate down", &["^--dir x", "^--json", "2026-01-01-000000_a"]),
    ("migrate down", &["^--all", "^--dir x", "^--url y", "--wait 1", "--lock-timeout 2", "--retry 3"]),
    ("migrate down", &["^--database rfq", "--count 2", "--allow-out-of-order 4"]),
    ("migrate down", &["^--json", "^--database all", "--to 2"]),
    ("migrate redo", &["^--all", "^--json", "--wait 1", "--lock-timeout 2", "--retry 3", "--allow-out-of-order 4"]),
    ("migrate status", &["^--database rfq", "^--json", "^--dir x"]),
    ("migrate history", &["^--all", "^--json"]),
    ("migrate plan", &["^--dir x", "^--url y", "^--json", "--scratch z"]),
    (
        "migrate verify",
        &["^--dir x", "^--url y", "^--json", "--scratch z", "--release r", "--rows f", "--diesel-config d"],
    ),
    ("migrate lint", &["^--dir x", "^--json", "--tenants"]),
    ("migrate lint", &["^--database all", "^--json"]),
    ("migrate create", &["^--dir x", "^--json", "add_phone"]),
    ("migrate baseline", &["^--database rfq", "^--json", "--to 1"]),
    ("migrate repair", &["^--dir x", "^--json", "--accept 1", "--forget 2"]),
    ("migrate repair", &["^--dir x", "--ran 1", "--not-run 2", "--repeat 3"]),
];

/// What does not fit together, in each order.
const REFUSED: &[(&str, &[&str])] = &[
    ("migrate lint", &["--tenants", "^--json"]),
    ("migrate lint", &["--tenants", "^--all"]),
    ("migrate lint", &["^--all", "^--dir x"]),
    ("migrate status", &["^--all", "^--dir x"]),
    ("migrate up", &["^--database all", "^--url x"]),
    ("migrate plan", &["^--all", "^--database rfq"]),
    ("migrate create", &["^--all", "add_phone"]),
    ("migrate create", &["^--database all", "add_phone"]),
    ("migrate down", &["^--all", "--to 1"]),
    ("migrate down", &["^--all", "--count 1"]),
    ("migrate down", &["^--database all", "^--dir x"]),
    ("migrate down", &["--count 1", "--to 1"]),
    ("outbox replay", &["^--database rfq", "--all", "--type t"]),
    ("events read", &["--tenant a", "--after 1", "--backwards"]),
];

/// Rotated, backwards, and with each choice of shared groups before the command's name.
fn orders(command: &str, groups: &[&str]) -> Vec<Vec<String>> {
    let (parent, name) = command.rsplit_once(' ').unwrap_or(("", command));
    let shared: Vec<_> = groups.iter().filter(|group| group.starts_with('^')).collect();
    let mut all = Vec::new();
    for choice in 0..(1_u32 << shared.len()) {
        let before = |group: &&str| shared.iter().position(|one| *one == group).is_some_and(|n| choice & (1 << n) != 0);
        let (first, then): (Vec<_>, Vec<_>) = groups.iter().partition(|group| before(group));
        for turn in 0..then.len().max(1) {
            for backwards in [false, true] {
                let mut then = then.clone();
                then.rotate_left(turn);
                if backwards {
                    then.reverse();
                }
                let words = [vec![&"bedplate", &parent], first.clone(), vec![&name], then].concat();
                let words = words.iter().flat_map(|group| group.trim_start_matches('^').split_whitespace());
                all.push(words.map(str::to_owned).collect());
            }
        }
    }
    all
}

#[test]
fn every_order_of_arguments_means_the_same() {
    for (command, groups) in TABLE {
        let mut meant = BTreeSet::new();
        for order in orders(command, groups) {
            // What is repeated keeps its order: this is no difference.
            let parsed = parse(&order).unwrap_or_else(|error| panic!("{order:?}: {error}"));
            meant.insert(format!("{parsed:?}").replace("[Development, Reference]", "[Reference, Development]"));
        }
        assert_eq!(meant.len(), 1, "{command}: {meant:#?}");
    }
}

#[test]
fn wrong_usage_is_refused_in_every_order() {
    for (command, groups) in REFUSED {
        for order in orders(command, groups) {
            let error = parse(&order).map(|parsed| format!("{parsed:?}")).expect_err(&format!("{order:?}"));
            assert_eq!(error.exit_code(), 2, "{order:?}");
            assert!(error.to_string().starts_with("error: "), "{order:?}: {error}");
        }
    }
}

/// The table above has every command with every option: a new one is missed here.
#[test]
fn every_option_is_in_the_table() {
    let listed: BTreeSet<String> = TABLE
        .iter()
        .flat_map(|(command, groups)| groups.iter().map(move |group| (command, group.trim_start_matches('^'))))
        .filter_map(|(command, group)| Some(format!("bedplate {command} {}", group.split(' ').next()?)))
        .filter(|option| option.contains(" --"))
        .collect();
    let mut there = BTreeSet::new();
    for (path, command) in commands() {
        if command.get_subcommands().next().is_some() {
            continue;
        }
        assert!(TABLE.iter().any(|(command, _)| format!("bedplate {command}") == path), "{path}");
        let own = command.get_arguments().filter(|option| !option.is_hide_set()).filter_map(|option| option.get_long());
        there.extend(own.filter(|name| *name != "help").map(|name| format!("{path} --{name}")));
    }
    let missing: Vec<_> = there.difference(&listed).collect();
    assert!(missing.is_empty() && there.len() > 50, "{missing:?}");
    let shared: BTreeSet<_> = commands().iter().map(|(path, _)| path.clone()).collect();
    let gone: Vec<_> = TABLE.iter().filter(|(command, _)| !shared.contains(&format!("bedplate {command}"))).collect();
    assert!(gone.is_empty(), "{gone:?}");
}
