//! Commands that run PostgreSQL's programs, and those that use libpq.

use std::ffi::OsStr;
use std::process::Command;

use super::url::DatabaseUrl;

/// A command that none of libpq's or the server's variables steers: a server takes `PGPORT`, `PGDATESTYLE` and
/// others for its settings.
pub(super) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for (variable, _) in std::env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(variable);
        }
    }
    command
}

/// The same for one that connects with this URL, given as `DATABASE_URL`: of the variables, it has those that bedplate
/// reads itself.
pub(super) fn program_with_url(name: &str, url: &DatabaseUrl) -> Command {
    let mut command = program(name);
    command.env("DATABASE_URL", url.reveal()).envs(url.libpq().variables());
    command
}
