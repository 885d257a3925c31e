//! The command line as clap has it, without a process.

mod help;
mod orders;

use clap::Command;

/// Every visible command with its path, `bedplate` itself first.
fn commands() -> Vec<(String, Command)> {
    fn walk(path: &str, command: &Command, into: &mut Vec<(String, Command)>) {
        into.push((path.to_owned(), command.clone()));
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            walk(&format!("{path} {}", sub.get_name()), sub, into);
        }
    }
    let mut root = super::help::command();
    root.build();
    let mut all = Vec::new();
    walk("bedplate", &root, &mut all);
    assert!(all.len() > 30, "the tree was walked: {}", all.len());
    all
}
