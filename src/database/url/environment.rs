//! What libpq's variables say where a URL leaves a part out
//! (<https://www.postgresql.org/docs/15/libpq-envars.html>).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// The variables that count, and where the file of passwords is by default. The rest of libpq's are settings of psql
/// and its kin: an application is not configured by them.
const READ: [&str; 9] =
    ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT", "HOME"];

/// The variables that a URL was read with. Kept, for URLs that are made of it.
#[derive(Clone, Default)]
pub(in crate::database) struct Libpq(BTreeMap<&'static str, SecretString>);

impl Libpq {
    /// For a URL that says everything itself.
    pub(in crate::database) fn nothing() -> Self {
        Self::default()
    }

    pub(super) fn of_process() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    pub(in crate::database) fn of_vars(vars: &HashMap<String, String>) -> Self {
        Self::of(|name| vars.get(name).cloned())
    }

    /// An empty variable counts as not set.
    fn of(value: impl Fn(&str) -> Option<String>) -> Self {
        let set = READ.iter().filter_map(|name| Some((*name, value(name).filter(|value| !value.is_empty())?.into())));
        Self(set.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(ExposeSecret::expose_secret)
    }

    /// Without the home directory.
    pub(in crate::database) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let set = self.0.iter().filter(|(name, _)| **name != "HOME");
        set.map(|(name, value)| (*name, value.expose_secret()))
    }

    /// The file of passwords, which need not be there.
    pub(super) fn passfile(&self) -> Option<PathBuf> {
        let named = self.get("PGPASSFILE").map(PathBuf::from);
        named.or_else(|| Some(Path::new(self.get("HOME")?).join(".pgpass")))
    }
}
