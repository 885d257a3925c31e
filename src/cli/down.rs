//! `bedplate down`: stop what `up` started, and nothing else.

use super::private_server;
use crate::error::{Error, Result};

pub(super) fn run() -> Result<()> {
    let Some(server) = private_server() else {
        return Err(Error::Forbidden {
            message: "the environment names a database, which `bedplate up` did not start; \
                      unset DATABASE_URL to stop the private server"
                .into(),
        });
    };
    if server.stop()? {
        println!("The private server is stopped; its data stays in .bedplate/.");
    } else {
        println!("The private server was not running: nothing was changed.");
    }
    Ok(())
}
