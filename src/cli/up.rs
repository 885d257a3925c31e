//! `bedplate up`: server, databases, migrations, seeds, and a table at the end.

use super::migrate::here::note_what_is_left_out;
use super::seed::{of_sets, summary};
use super::ui::Progress;
use super::{config, private_server, sets, status};
use crate::database::migrate::{self, Direction, Source};
use crate::database::private_server::Started;
use crate::database::seed::{self, Outcome};
use crate::database::{Config, DatabaseName, create_beside};
use crate::error::{Error, Result};

pub(super) async fn run() -> Result<()> {
    let progress = Progress::new();
    let ended = bring_up(&progress).await;
    progress.finish();
    ended
}

async fn bring_up(progress: &Progress) -> Result<()> {
    let server = private_server();
    let mut changed = false;
    if let Some(server) = &server {
        let started = server.start(&mut |step| progress.step(step)).await?;
        changed |= started != Started::Already;
        match started {
            Started::New => progress.done("a private PostgreSQL was made and started"),
            Started::Again => progress.done("the private PostgreSQL was started"),
            Started::Already => {}
        }
    }
    let config = config()?;
    note_what_is_left_out(&config.databases);
    let each = config.databases.iter().map(|name| bring_up_one(&config, *name, progress.of(name.as_str(), 2)));
    let mut seeded = Vec::new();
    for database in futures_util::future::join_all(each).await {
        let (migrated, mut outcomes) = database?;
        changed |= migrated || outcomes.iter().any(|(_, outcome)| *outcome != Outcome::Unchanged);
        seeded.append(&mut outcomes);
    }
    progress.step("counting rows");
    let databases = status::read(&config).await?;
    progress.finish();
    status::print(&databases);
    println!(
        "\nSeeds: {} ({}; another folder of seeds/: `bedplate seed --set NAME`).",
        summary(&seeded),
        of_sets(&sets(config.environment))
    );
    if !changed {
        println!("\nEverything was up to date: nothing was changed.");
    }
    let mut next = vec![
        ("psql \"$(cargo db url)\"", "look inside"),
        ("cargo db migrate create NAME", "change the schema"),
        ("cargo run --release --example evaluate_ideas", "120 ideas, evaluated side by side"),
    ];
    if server.is_some() {
        next.push(("cargo db down", "stop the server, keep its data"));
    }
    println!("\nTry next (`cargo db` is `bedplate`):");
    for (command, purpose) in next {
        println!("  {command:<46} {purpose}");
    }
    Ok(())
}

/// Makes, migrates and seeds a database; whether a migration ran, and what became of the seeds.
async fn bring_up_one(main: &Config, name: DatabaseName, progress: Progress) -> Result<(bool, Vec<(String, Outcome)>)> {
    let config = main.for_database(name)?;
    progress.step("looking for pending migrations");
    let source = Source::Embedded(name);
    let attempt = || {
        let shown = progress.clone();
        migrate::run(&config.owner_url, &source, Direction::Up, move |event| shown.migration(event))
    };
    let applied = match attempt().await {
        Err(Error::NoDatabase { .. }) if name != DatabaseName::Main && !main.elsewhere.contains_key(&name) => {
            create_beside(&main.owner_url, &config.owner_url).await?;
            attempt().await?
        }
        done => done?,
    };
    progress.step("loading seeds");
    let seeded = seed::load(&config.owner_url, name, config.environment, &sets(config.environment)).await?;
    progress.seeds(&seeded);
    Ok((!applied.is_empty(), seeded))
}
