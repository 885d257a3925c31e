//! `bedplate migrate lint`.

use super::here;
use super::show::heading;
use super::target::{Folder, print_json};
use crate::database::migrate::Source;
use crate::database::migrate::lint::{Finding, Level, lint};
use crate::error::{Error, Result};

/// The findings in one folder.
struct Linted {
    /// Where the migrations came from.
    folder: String,
    migrations: usize,
    findings: Vec<Finding>,
}

pub(super) fn run(folders: &[Folder], json: bool) -> Result<()> {
    let all = folders.iter().map(|folder| Ok((folder.name.clone(), look(folder)?))).collect::<Result<Vec<_>>>()?;
    note_what_was_not_looked_at(folders);
    let refused: usize = all.iter().map(|(_, linted)| linted.count(Level::Refuse)).sum();
    if json {
        print_json(all, |linted| serde_json::json!({ "folder": linted.folder, "findings": linted.findings }));
    } else {
        for (name, linted) in &all {
            if !linted.findings.is_empty() {
                heading(name, all.len());
            }
            linted.findings.iter().for_each(print);
        }
        for (_, linted) in &all {
            println!("{}", linted.summary());
        }
    }
    match refused {
        0 => Ok(()),
        count => Err(Error::Findings {
            count,
            advice: "change the migration, or say under [lint] in its metadata.toml why it does no harm there",
        }),
    }
}

fn look(folder: &Folder) -> Result<Linted> {
    let read = folder.source.read()?;
    let described = here::describe(&folder.source);
    if read.is_empty() {
        return Err(Error::configuration(format!(
            "{described} holds no migrations: name the folder that holds theirs, as 2026-01-31-120000_add_phone"
        )));
    }
    Ok(Linted { folder: described, migrations: read.len(), findings: lint(&read, folder.rules)? })
}

/// Where nothing of the caller's was looked at, a success is none of theirs.
fn note_what_was_not_looked_at(folders: &[Folder]) {
    let compiled_in = folders.iter().filter_map(|folder| match folder.source {
        Source::Embedded(name) => Some(name.to_string()),
        Source::Directory(_) => None,
    });
    let compiled_in = compiled_in.collect::<Vec<_>>().join(", ");
    if compiled_in.is_empty() {
        return;
    }
    let own = here::strangers_folder().unwrap_or("PATH");
    eprintln!(
        "note: nothing of this folder was looked at for {compiled_in}: it has no migrations/NAME, and the migrations \
         that are compiled in were taken; your own: bedplate migrate lint --dir {own}"
    );
}

impl Linted {
    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    fn summary(&self) -> String {
        let (folder, looked) = (&self.folder, super::counted(self.migrations));
        match (self.count(Level::Refuse), self.count(Level::Explain)) {
            (0, 0) => format!("{folder}: {looked}, nothing found."),
            (refused, explained) => format!("{folder}: {looked}, {refused} refused, {explained} explained."),
        }
    }
}

fn print(finding: &Finding) {
    let Finding { migration, file, rule, message, help, .. } = finding;
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    let level = match finding.level {
        Level::Refuse => "",
        Level::Explain => " (explained only)",
    };
    println!("{migration}/{file}{line} {rule}: {message}{level}\n    {help}");
}
