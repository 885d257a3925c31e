//! `bedplate url`: what to hand to psql, or to an application's environment.

use super::{config, private_server};
use crate::database::DatabaseName;
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  psql \"$(bedplate url)\"\n  export APP_DATABASE_URL=\"$(bedplate url --app)\"")]
pub(super) struct Args {
    /// The URL of the application's login, which sees nothing before it takes a tenant
    #[arg(long, conflicts_with = "admin")]
    app: bool,
    /// The database: main, rfq or marketdata
    #[arg(long, value_name = "NAME", default_value = "main")]
    database: DatabaseName,
    /// The URL of the private server's superuser
    #[arg(long)]
    admin: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.admin {
        let Some(server) = private_server() else {
            return Err(Error::Forbidden { message: "the superuser is known for the private server only".into() });
        };
        let urls = server.urls()?;
        let urls = urls.ok_or_else(|| Error::configuration("there is no private server yet: run `bedplate up`"))?;
        println!("{}", urls.admin.reveal());
        return Ok(());
    }
    let config = config()?.for_database(args.database)?;
    if args.app {
        let app = config.app_url.ok_or_else(|| {
            Error::configuration("APP_DATABASE_URL is not set: the application uses the owner's URL and switches roles")
        })?;
        println!("{}", app.reveal());
        return Ok(());
    }
    println!("{}", config.owner_url.reveal());
    Ok(())
}
