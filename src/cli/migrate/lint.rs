//! `bedplate migrate lint`.

use super::show::heading;
use super::target::{Folder, print_json};
use crate::database::migrate::lint::{Finding, Level, lint};
use crate::error::{Error, Result};

pub(super) fn run(folders: &[Folder], json: bool) -> Result<()> {
    let mut all = Vec::new();
    let mut migrations = 0;
    for folder in folders {
        let read = folder.source.read()?;
        migrations += read.len();
        all.push((folder.name.clone(), lint(&read, folder.rules)?));
    }
    let (refused, explained): (Vec<_>, Vec<_>) =
        all.iter().flat_map(|(_, findings)| findings).partition(|finding| finding.level == Level::Refuse);
    let (refused, explained) = (refused.len(), explained.len());
    if json {
        print_json(all, |findings| serde_json::json!({ "findings": findings }));
    } else {
        for (name, findings) in &all {
            if !findings.is_empty() {
                heading(name, all.len());
            }
            findings.iter().for_each(print);
        }
        println!("{}", summary(migrations, refused, explained));
    }
    match refused {
        0 => Ok(()),
        count => Err(Error::Findings {
            count,
            advice: "change the migration, or say under [lint] in its metadata.toml why it does no harm there",
        }),
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

fn summary(migrations: usize, refused: usize, explained: usize) -> String {
    let looked = match migrations {
        1 => "1 migration".to_owned(),
        n => format!("{n} migrations"),
    };
    match (refused, explained) {
        (0, 0) => format!("{looked}, nothing found."),
        _ => format!("{looked}: {refused} refused, {explained} explained."),
    }
}
