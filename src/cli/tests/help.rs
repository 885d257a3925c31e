//! Every help text: there, once, with an example, in plain words.

use std::collections::BTreeMap;

use clap::{Arg, Command};

use super::commands;

/// Words that a help text does without, as it is shown, in lower case.
const FORBIDDEN: &[&str] =
    &["so many", "so long", "whose", "for so ", "comes back", "come back", "shows that", "is told", "told apart"];

/// What a command's help begins with: a verb in the imperative.
const VERBS: &[&str] = &[
    "Append", "Apply", "Bring", "Check", "Create", "Document", "Drop", "Load", "Print", "Prove", "Publish", "Read",
    "Record", "Repair", "Revert", "Run", "Serve", "Show", "Start", "Stop", "Write",
];

/// What an option's help does not begin with: it is a noun phrase.
const NO_NOUNS: &[&str] = &[
    "After", "Also", "Append", "Apply", "At", "Begin", "Beside", "Delete", "Drop", "For", "How", "In", "Not", "Of",
    "Only", "Print", "Publish", "Read", "Revert", "Say", "Show", "So", "Take", "That", "Those", "Up", "What", "When",
    "Where", "Which", "Who", "With", "Write",
];

fn long_help(command: &Command) -> String {
    command.clone().render_long_help().to_string()
}

/// The options and arguments that a command's help shows, without `--help` and `--version`.
fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
}

#[test]
fn no_two_commands_show_the_same_help() {
    let mut seen = BTreeMap::new();
    for (path, command) in commands() {
        // Below the usage, which differs by the name alone.
        let help = long_help(&command);
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        for text in [help, about] {
            if let Some(other) = seen.insert(text.clone(), path.clone()) {
                panic!("{path} and {other} show the same: {text}");
            }
        }
    }
}

/// What several commands share is explained in one place: in the help of their parent, or by one type of the source.
#[test]
fn no_command_repeats_the_options_of_its_parent() {
    let all = commands();
    let mut shared = 0;
    for (path, command) in &all {
        let global: Vec<_> = shown(command).filter(|option| option.is_global_set()).map(Arg::get_id).collect();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            for option in shown(sub) {
                assert!(!global.contains(&option.get_id()), "{path} {}: --{} again", sub.get_name(), option.get_id());
            }
            if !global.is_empty() {
                shared += 1;
                let help = long_help(sub);
                let pointer = format!("see `{path} --help`");
                assert_eq!(help.replace('\n', " ").matches(&pointer).count(), 1, "{path} {}: {help}", sub.get_name());
            }
        }
    }
    assert!(shared > 10, "shared options were seen: {shared}");
}

/// Two options with one name mean the same: one text.
#[test]
fn a_text_for_programs_is_one() {
    let texts: Vec<_> = commands()
        .iter()
        .flat_map(|(_, command)| shown(command).map(|option| (option.get_id().to_string(), option.get_help().cloned())))
        .filter(|(id, _)| id == "json")
        .map(|(_, help)| help.map(|help| help.to_string()).unwrap_or_default())
        .collect();
    assert!(texts.len() > 8, "{texts:?}");
    assert!(texts.iter().all(|text| text.starts_with("Output as JSON")), "{texts:?}");
}

#[test]
fn every_command_has_an_example() {
    for (path, command) in commands().into_iter().skip(1) {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (heading, examples) = after.split_once('\n').unwrap_or_default();
        assert!(["Example:", "Examples:"].contains(&heading), "{path}: {after}");
        let count =
            examples.lines().take_while(|line| line.starts_with("  ")).filter(|l| l.contains("bedplate ")).count();
        assert!(count > 0, "{path}: {after}");
        let own = examples.lines().any(|line| line.contains(path.as_str()));
        assert!(own, "{path}: no example of it: {after}");
    }
}

#[test]
fn every_option_has_a_help_that_is_a_noun_phrase() {
    let mut seen = 0;
    for (path, command) in commands() {
        for option in shown(&command) {
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            let first = help.split_whitespace().next().unwrap_or_default();
            assert!(!first.is_empty(), "{path}: {} has no help", option.get_id());
            assert!(!NO_NOUNS.contains(&first), "{path}: {}: {help}", option.get_id());
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn the_help_of_a_command_begins_with_a_verb() {
    for (path, command) in commands().into_iter().skip(1) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let first = about.split_whitespace().next().unwrap_or_default().trim_end_matches(',');
        assert!(VERBS.contains(&first), "{path}: {about}");
    }
}

#[test]
fn the_words_are_plain() {
    for (path, command) in commands() {
        let help = long_help(&command).to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        for word in FORBIDDEN {
            assert!(!help.contains(word), "{path}: {word:?} in: {help}");
        }
    }
}
