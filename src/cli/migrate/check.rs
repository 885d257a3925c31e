//! Which arguments of `bedplate migrate` fit together.
//!
//! Not by clap's `requires` and `conflicts_with`: the shared options may stand before the command's name, and there
//! clap does not see them beside the command's own.

use super::target::Which;
use super::{Args, Command};

impl Args {
    /// Says what does not fit together, whatever the order.
    pub(in crate::cli) fn check(&self) -> Result<(), String> {
        let place = &self.place;
        let one = place.dir.is_some() || place.url.is_some();
        let all = place.database == Some(Which::All);
        let refuse = |message: &str| Err(message.to_owned());
        match &self.command {
            Some(Command::Down { count, to, .. }) if place.all && (count.is_some() || to.is_some()) => {
                refuse("`down --all` reverts every migration: leave --count and --to out, or --all")
            }
            Some(Command::Down { .. }) if all && one => {
                refuse("`--database all` is every database, --dir and --url are for one: leave one of them out")
            }
            Some(Command::Down { .. }) => Ok(()),
            Some(Command::Lint { tenants: true }) if place.dir.is_none() => refuse(
                "--tenants is for a folder of your own: add --dir PATH; the databases of bedplate are held to these \
                 rules anyway",
            ),
            Some(Command::Create { .. }) if all || place.all => {
                refuse("a migration is created for one database: write --database NAME")
            }
            _ if place.all && place.database.is_some_and(|which| which != Which::All) => {
                refuse("--all is every database, --database names one: leave one of them out")
            }
            _ if (all || place.all) && one => refuse("all databases, or one by --dir and --url: leave one of them out"),
            _ => Ok(()),
        }
    }
}
