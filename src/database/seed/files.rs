//! Sets of seeds: the folders of `seeds/`, which are compiled in, and those of the folder that the program runs in.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};

use crate::database::name::DatabaseName;
use crate::error::{Error, Result};

static SEEDS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/seeds");

/// The folder of the same name where the program runs.
const HERE: &str = "seeds";

/// A folder of seeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    /// What every environment needs.
    Reference,
    /// What a developer looks at. Refused in production.
    Development,
    /// Any other folder of `seeds/`.
    Named(String),
}

impl Set {
    /// The folder's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Reference => "reference",
            Self::Development => "development",
            Self::Named(name) => name,
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Set {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(match name {
            "reference" => Self::Reference,
            "development" => Self::Development,
            other => Self::Named(other.to_owned()),
        })
    }
}

/// One seed file.
#[derive(Debug, Clone)]
pub struct SeedFile {
    /// `development/main/010_tenants.sql`: the ledger's key.
    pub name: String,
    /// What it says.
    pub sql: String,
}

impl SeedFile {
    pub(super) fn checksum(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.sql.as_bytes()))
    }
}

/// The names of all sets, sorted.
#[must_use]
pub fn sets() -> Vec<String> {
    let compiled_in = SEEDS.dirs().filter_map(|dir| dir.path().to_str().map(ToOwned::to_owned));
    let here = std::fs::read_dir(HERE).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let here = here.filter_map(|entry| entry.file_name().into_string().ok());
    compiled_in.chain(here).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The files of a set for a database, in the order of their names. A set that is not compiled in is read from
/// `seeds/` in the folder that the program runs in.
///
/// # Errors
/// [`Error::Invalid`] for a set that is no folder of either; [`Error::Configuration`] for a file that cannot be read.
pub fn files(set: &Set, database: DatabaseName) -> Result<Vec<SeedFile>> {
    let mut files =
        if SEEDS.get_dir(set.as_str()).is_some() { compiled_in(set, database) } else { here(set, database)? };
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn compiled_in(set: &Set, database: DatabaseName) -> Vec<SeedFile> {
    let files = SEEDS.get_dir(format!("{set}/{database}")).into_iter().flat_map(Dir::files);
    files
        .filter(|file| is_sql(file.path()))
        .filter_map(|file| {
            Some(SeedFile { name: file.path().to_str()?.to_owned(), sql: file.contents_utf8()?.to_owned() })
        })
        .collect()
}

fn here(set: &Set, database: DatabaseName) -> Result<Vec<SeedFile>> {
    // One name below `seeds/`, and no path to somewhere else.
    if !sets().iter().any(|name| name == set.as_str()) {
        return Err(Error::invalid(
            "set",
            format!("{:?} is no folder of seeds/: there are {}", set.as_str(), sets().join(", ")),
        ));
    }
    let folder = Path::new(HERE).join(set.as_str()).join(database.as_str());
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
        let path = entry.map_err(|error| unreadable(&folder, &error))?.path();
        if is_sql(&path) {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let sql = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            files.push(SeedFile { name: format!("{set}/{database}/{file}"), sql });
        }
    }
    Ok(files)
}

fn is_sql(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sql")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::configuration(format!("{} cannot be read: {error}", path.display()))
}
