//! The subcommands that try migrations on a scratch database.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::private::Private;
use super::target::{Target, each, print_json};
use crate::cli::ui::{Progress, table};
use crate::database::migrate::{
    self, Freshness, PlannedMigration, Rows, ScratchServer, Source, TableLock, Verification, Verified, Verify,
};
use crate::database::{DatabaseName, DatabaseUrl};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Scratch {
    /// The URL of a server for the scratch database, with a login that has CREATEDB [default: the database's own].
    /// Statements that change the server are not executed there; `private` starts a server for this command, which
    /// executes them
    #[arg(long, value_name = "URL|private")]
    scratch: Option<String>,
}

impl Scratch {
    /// Starts the private server, where that is wanted.
    async fn private(&self, targets: &[Target]) -> Result<Option<Private>> {
        match (self.scratch.as_deref(), targets.first()) {
            (Some("private"), Some(target)) => Private::start(&target.url).await.map(Some),
            _ => Ok(None),
        }
    }

    fn server(&self, target: &Target, private: Option<&Private>) -> Result<ScratchServer> {
        match (private, &self.scratch) {
            (Some(private), _) => Ok(ScratchServer::throwaway(private.url.clone())),
            (None, Some(url)) => Ok((&url.parse::<DatabaseUrl>()?).into()),
            (None, None) => Ok((&target.url).into()),
        }
    }
}

/// Ends the work on a signal: what is dropped with it takes its scratch databases and servers along.
async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let doing = "trying the migrations";
    let mut terminated = signal(SignalKind::terminate()).map_err(Error::io(doing))?;
    let interrupted = || Err(Error::io(doing)(std::io::ErrorKind::Interrupted.into()));
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => interrupted(),
        _ = terminated.recv() => interrupted(),
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
    let done = until_interrupted(async {
        let private = scratch.private(targets).await?;
        let private = private.as_ref();
        each(targets, |target| {
            let shown = progress.of(&target.name, targets.len());
            async move {
                let (server, verify) = (scratch.server(&target, private)?, what.of(&target)?);
                migrate::verify(server, &verify, move |event| shown.migration(event)).await
            }
        })
        .await
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
        one.not_measured.iter().for_each(|skipped| println!("{}: not measured: {skipped}", one.name));
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
    let planned = until_interrupted(async {
        let private = scratch.private(targets).await?;
        let private = private.as_ref();
        each(targets, |target| {
            let shown = progress.of(&target.name, targets.len());
            async move {
                let server = scratch.server(&target, private)?;
                migrate::plan(&target.url, &target.source, server, move |event| shown.migration(event)).await
            }
        })
        .await
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
        } else {
            println!("Measured without rows: a statement that depends on rows may do more.");
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
        let not_measured = statement.not_measured.iter().map(|reason| format!("not measured: {reason}"));
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
            locks.chain(not_measured).collect::<Vec<_>>().join("\n"),
            work.collect::<Vec<_>>().join("\n"),
        ]
    });
    println!("{}", table(&["line", "statement", "locks", "work on whole tables"], rows, &[0]));
}
