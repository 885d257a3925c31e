//! `bedplate reset`: back to the beginning.

use super::migrate::here::note_what_is_left_out;
use super::ui::Progress;
use super::{config, each_database, sets, status};
use crate::database::migrate::{self, Direction, Source};
use crate::database::{Environment, reset, seed};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate reset\n  bedplate reset --database app                     confirms the database, as production demands\n\n\
    The migrations and seeds are those that are compiled in."
)]
pub(super) struct Args {
    /// The name of the database, as a confirmation: required in production
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let config = config()?;
    let name = config.owner_url.database();
    let named = args.database.as_deref();
    if named.is_some_and(|named| named != name) || (named.is_none() && config.environment == Environment::Production) {
        return Err(Error::Forbidden {
            message: format!(
                "reset drops everything in {} and the databases beside it; in production write `bedplate reset --database {name}`",
                config.owner_url
            ),
        });
    }
    note_what_is_left_out(&config.databases);
    let progress = Progress::new();
    let ended = async {
        each_database(&config, |name, config| {
            let progress = progress.of(name.as_str(), 2);
            async move {
                progress.step(&format!("dropping everything in {}", config.owner_url.database()));
                reset::drop_everything(&config.owner_url).await?;
                let shown = progress.clone();
                let on_event = move |event| shown.migration(event);
                migrate::run(&config.owner_url, &Source::Embedded(name), Direction::Up, on_event).await?;
                let sets = sets(config.environment);
                progress.seeds(&seed::load(&config.owner_url, name, config.environment, &sets).await?);
                Ok(())
            }
        })
        .await?;
        status::read(&config).await
    }
    .await;
    progress.finish();
    status::print(&ended?);
    Ok(())
}
