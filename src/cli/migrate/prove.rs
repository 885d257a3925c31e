//! The subcommands that try migrations on a scratch database.

use std::path::PathBuf;

use super::target::{Target, each, print_json};
use crate::cli::ui::{Progress, table};
use crate::database::migrate::{
    self, Freshness, PlannedMigration, Rows, Source, TableLock, Verification, Verified, Verify,
};
use crate::database::{DatabaseName, DatabaseUrl};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Scratch {
    /// The URL of a server for the scratch database, with a login that has CREATEDB [default: the database's own]
    #[arg(long, value_name = "URL")]
    scratch: Option<String>,
}

impl Scratch {
    fn server(&self, target: &Target) -> Result<DatabaseUrl> {
        self.scratch.as_ref().map_or_else(|| Ok(target.url.clone()), |url| url.parse())
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The folder with the last release's migrations: later migrations are proven from its state too. For several
    /// databases, the folder that holds their folders
    #[arg(long, value_name = "PATH")]
    release: Option<PathBuf>,
    /// A file of SQL that inserts rows, for a folder of your own [default: the seeds, for bedplate's databases]
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// The diesel CLI's settings that name the schema.rs to compare [default: those of bedplate's databases]
    #[arg(long, value_name = "FILE")]
    diesel_config: Option<PathBuf>,
}

impl What {
    fn of(&self, target: &Target) -> Result<Verify> {
        let rows = match (&self.rows, target.database) {
            (Some(file), _) => {
                let sql = std::fs::read_to_string(file).map_err(Error::io(format!("reading {}", file.display())))?;
                Rows::Sql(sql)
            }
            (None, Some(name)) => Rows::Seeds(name),
            (None, None) => Rows::None,
        };
        let release = self.release.as_ref().map(|path| match target.database {
            Some(name) if path.join(name.as_str()).is_dir() => path.join(name.as_str()),
            _ => path.clone(),
        });
        let own = target.database.map(diesel_config).filter(|file| file.is_file());
        Ok(Verify {
            source: target.source.clone(),
            rows,
            release: release.map(Source::Directory),
            diesel_config: self.diesel_config.clone().or(own),
        })
    }
}

fn diesel_config(name: DatabaseName) -> PathBuf {
    match name {
        DatabaseName::Main => "diesel.toml".into(),
        other => format!("diesel.{other}.toml").into(),
    }
}

pub(super) async fn verify(targets: &[Target], scratch: &Scratch, what: &What, json: bool) -> Result<()> {
    let progress = Progress::new();
    let done = each(targets, |target| {
        let shown = progress.of(&target.name, targets.len());
        async move {
            let (server, verify) = (scratch.server(&target)?, what.of(&target)?);
            migrate::verify(&server, &verify, move |event| shown.migration(event)).await
        }
    })
    .await;
    progress.finish();
    let done = done?;
    let count = done.iter().map(|(_, verification)| verification.problems()).sum();
    if json {
        print_json(done, |verification| serde_json::json!(verification));
    } else {
        for (name, verification) in &done {
            show(name, verification);
        }
    }
    if count == 0 {
        Ok(())
    } else {
        Err(Error::Findings { count, advice: "mend the migrations that are not released yet" })
    }
}

fn show(name: &str, verification: &Verification) {
    println!("{name}");
    let rows = verification.migrations.iter().map(|one| vec![one.name.clone(), comes_back(one), survive(one)]);
    println!("{}", table(&["migration", "comes back", "rows, down and up again"], rows, &[]));
    for one in &verification.migrations {
        one.problems.iter().for_each(|problem| println!("{}: {problem}", one.name));
    }
    match &verification.schema {
        Some(Freshness::Fresh) => println!("schema.rs is what the migrations make."),
        Some(Freshness::Stale { diff }) => println!("schema.rs is stale: run `diesel print-schema`.\n{diff}"),
        Some(Freshness::NotChecked { why }) => println!("schema.rs was not looked at: {why}."),
        None => {}
    }
}

fn comes_back(one: &Verified) -> String {
    if one.problems.is_empty() { "yes" } else { "NO" }.to_owned()
}

fn survive(one: &Verified) -> String {
    match &one.rows {
        None => "not tried".to_owned(),
        Some(lost) if lost.is_empty() => "all survive".to_owned(),
        Some(lost) => lost.join("\n"),
    }
}

pub(super) async fn plan(targets: &[Target], scratch: &Scratch, json: bool) -> Result<()> {
    let progress = Progress::new();
    let planned = each(targets, |target| {
        let shown = progress.of(&target.name, targets.len());
        async move {
            migrate::plan(&target.url, &target.source, &scratch.server(&target)?, move |event| shown.migration(event))
                .await
        }
    })
    .await;
    progress.finish();
    let planned = planned?;
    if json {
        print_json(planned, |migrations| serde_json::json!({ "pending": migrations }));
        return Ok(());
    }
    for (name, migrations) in planned {
        if targets.len() > 1 {
            println!("{name}");
        }
        if migrations.is_empty() {
            println!("Nothing is pending.");
        }
        migrations.iter().for_each(show_plan);
    }
    Ok(())
}

fn show_plan(migration: &PlannedMigration) {
    let way = if migration.run_in_transaction {
        "one transaction: locks are held to its end"
    } else {
        "statement by statement"
    };
    println!("{} ({way})", migration.name);
    let rows = migration.statements.iter().map(|statement| {
        let work = statement.work.iter().map(|work| {
            let verb = if work.rewritten { "rewrites" } else { "reads all of" };
            let meanwhile = work.while_holding.iter().map(|lock| format!("{} of {}", lock.blocks, lock.table));
            let meanwhile = meanwhile.collect::<Vec<_>>().join(", ");
            let blocked = if meanwhile.is_empty() { String::new() } else { format!("; waits meanwhile: {meanwhile}") };
            format!("{verb} {}{blocked}", work.table)
        });
        let locks = statement.locks.iter().map(|TableLock { table, mode, .. }| format!("{mode} {table}"));
        vec![
            statement.line.to_string(),
            statement.statement.clone(),
            locks.collect::<Vec<_>>().join("\n"),
            work.collect::<Vec<_>>().join("\n"),
        ]
    });
    println!("{}", table(&["line", "statement", "locks", "work on whole tables"], rows, &[0]));
}
