//! `bedplate up`: server, migrations, seeds, and a table at the end.

use super::ui::Progress;
use super::{config, private_server, sets, status};
use crate::database::DatabaseName;
use crate::database::migrate::{self, Direction, Source};
use crate::database::private_server::Started;
use crate::database::seed::{self, Outcome};
use crate::database::status as database_status;
use crate::error::Result;

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
    progress.step("looking for pending migrations");
    let shown = progress.clone();
    let applied = migrate::run(&config.owner_url, &Source::Embedded(DatabaseName::Main), Direction::Up, move |event| {
        shown.migration(event);
    })
    .await?;
    progress.step("loading seeds");
    let seeded =
        seed::load(&config.owner_url, DatabaseName::Main, config.environment, &sets(config.environment)).await?;
    progress.seeds(&seeded);
    changed |= !applied.is_empty() || seeded.iter().any(|(_, outcome)| *outcome != Outcome::Unchanged);

    progress.step("counting rows");
    let status = database_status::read(&config.owner_url).await?;
    progress.finish();
    status::print(&status);
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
