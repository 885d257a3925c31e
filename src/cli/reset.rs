//! `bedplate reset`: back to the beginning.

use super::ui::Progress;
use super::{config, sets, status};
use crate::database::migrate::{self, Direction, Source};
use crate::database::{DatabaseName, Environment, reset, seed, status as database_status};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database's name, to say that you mean it: needed in production
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
                "reset drops everything in {}; in production write `bedplate reset --database {name}`",
                config.owner_url
            ),
        });
    }
    let progress = Progress::new();
    progress.step(&format!("dropping everything in {name}"));
    let ended = async {
        reset::drop_everything(&config.owner_url).await?;
        let shown = progress.clone();
        migrate::run(&config.owner_url, &Source::Embedded(DatabaseName::Main), Direction::Up, move |event| {
            shown.migration(event);
        })
        .await?;
        progress.seeds(
            &seed::load(&config.owner_url, DatabaseName::Main, config.environment, &sets(config.environment)).await?,
        );
        database_status::read(&config.owner_url).await
    }
    .await;
    progress.finish();
    status::print(&ended?);
    Ok(())
}
