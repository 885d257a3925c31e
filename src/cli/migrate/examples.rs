//! The examples that `bedplate migrate … --help` shows.

use clap::Command;

const LATER: &str = "bedplate migrate down --to 2026-11-20-101600      reverts what is later; this one stays";

/// By subcommand; a subcommand that is missing here is found by a test of the help.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("up", &["bedplate migrate up", "bedplate migrate up --to 2026-11-20-101600 --lock-timeout 500"]),
    ("down", &["bedplate migrate down", LATER]),
    ("redo", &["bedplate migrate redo                             proves that the last one can be reverted"]),
    ("status", &["bedplate migrate status", "bedplate migrate status --database rfq --json"]),
    ("history", &["bedplate migrate history", "bedplate migrate history --json | jq -r '.runs[0].outcome'"]),
    ("plan", &["bedplate migrate plan", "bedplate migrate plan --scratch postgres://owner:secret@localhost/postgres"]),
    ("verify", &["bedplate migrate verify --all", "bedplate migrate verify --dir migrations --rows tests/rows.sql"]),
    (
        "lint",
        &[
            "bedplate migrate lint --all",
            "bedplate migrate lint --dir migrations --tenants",
            "bedplate migrate lint --json | jq -r '.findings[].rule'",
        ],
    ),
    ("create", &["bedplate migrate create add_phone_to_users", "bedplate migrate create add_index --dir migrations"]),
    ("baseline", &["bedplate migrate baseline --to 2026-11-20-101600"]),
    (
        "repair",
        &["bedplate migrate repair --accept 2026-11-20-101600", "bedplate migrate repair --forget 2026-11-20-101600"],
    ),
];

/// Gives each subcommand its examples.
pub(in crate::cli) fn with_examples(migrate: Command) -> Command {
    migrate.mut_subcommands(|command| {
        let Some((_, examples)) = EXAMPLES.iter().find(|(name, _)| *name == command.get_name()) else {
            return command;
        };
        command.after_help(format!("Examples:\n  {}", examples.join("\n  ")))
    })
}
