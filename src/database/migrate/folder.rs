//! A folder of migrations in Diesel's layout: `<version>_<name>/{up.sql,down.sql,metadata.toml}`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use super::script::Script;
use crate::database::DatabaseName;
use crate::error::{Error, Result};

const METADATA: &str = "metadata.toml";

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// Where migrations come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The ones of this database that are compiled in.
    Embedded(DatabaseName),
    /// A folder in Diesel's layout.
    Directory(PathBuf),
}

/// One migration, as its files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// What stands before the first `_` of its directory's name, without `-`: Diesel's key.
    pub version: String,
    /// Its directory's name.
    pub name: String,
    /// What it does.
    pub up: Script,
    /// What takes it back; `None` where there is no such file.
    pub down: Option<Script>,
    /// How it is run.
    pub metadata: Metadata,
}

/// `metadata.toml`. Diesel reads `run_in_transaction` alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Whether the migration is one transaction. As Diesel has it: `true` without a file, `false` where the
    /// file does not say.
    #[serde(default)]
    pub run_in_transaction: bool,
    /// Lint rules that do not hold here, each with the reason.
    #[serde(default)]
    pub lint: BTreeMap<String, String>,
    /// Lint rules that hold although the files do not show it, each with the reason. The doctor asks them.
    #[serde(default)]
    pub unseen: BTreeMap<String, String>,
}

impl Source {
    /// The name of the folder, by which the history tells whose migration one is.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Embedded(name) => format!("compiled in: {name}"),
            Self::Directory(path) => path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string(),
        }
    }

    /// The migrations, oldest first.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a folder that cannot be read, a migration without `up.sql`, a broken
    /// `metadata.toml`, and two migrations with one version.
    pub fn read(&self) -> Result<Vec<Migration>> {
        let mut migrations = match self {
            Self::Embedded(name) => embedded(*name)?,
            Self::Directory(path) => directory(path)?,
        };
        migrations.sort_by(|a, b| (&a.version, &a.name).cmp(&(&b.version, &b.name)));
        for pair in migrations.windows(2) {
            if let [a, b] = pair
                && a.version == b.version
            {
                return Err(Error::configuration(format!(
                    "{} and {} have the same version, {}: give the one that is not applied yet a later time",
                    a.name, b.name, a.version
                )));
            }
        }
        Ok(migrations)
    }
}

fn embedded(name: DatabaseName) -> Result<Vec<Migration>> {
    let folders = EMBEDDED.get_dir(name.as_str()).into_iter().flat_map(Dir::dirs);
    let migrations = folders.map(|folder| {
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = |file| folder.get_file(folder.path().join(file)).and_then(|file| file.contents_utf8());
        let script = |file| Ok(text(file).map(|text| Script::new(file, text)));
        migration(name, script, text(METADATA).map(str::to_owned))
    });
    migrations.collect()
}

fn directory(path: &Path) -> Result<Vec<Migration>> {
    let unreadable = |error: std::io::Error| {
        Error::configuration(format!("{}: the folder of migrations cannot be read: {error}", path.display()))
    };
    let (mut migrations, mut loose) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().extension().is_some_and(|extension| extension == "sql") {
            loose.push(name.clone());
        }
        // As Diesel: other files may lie beside.
        if name.starts_with('.') || entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let metadata = Script::read(METADATA, &entry.path())?;
        let metadata = metadata.map(|script| script.text().map(Cow::into_owned)).transpose()?;
        migrations.push(migration(name, |file| Script::read(file, &entry.path()), metadata)?);
    }
    if migrations.is_empty() && !loose.is_empty() {
        loose.sort();
        return Err(Error::configuration(format!(
            "{} has no migration, and .sql files lie in it ({}{}): a migration is a folder <time>_<name> with up.sql and \
             down.sql in it",
            path.display(),
            loose[0],
            if loose.len() > 1 { format!(" and {} more", loose.len() - 1) } else { String::new() }
        )));
    }
    Ok(migrations)
}

/// Characters that a version may have, as Diesel's table says.
const LONGEST_VERSION: usize = 50;

fn migration(
    name: String,
    file: impl Fn(&'static str) -> Result<Option<Script>>,
    metadata: Option<String>,
) -> Result<Migration> {
    let wrong = |what: &str| Error::configuration(format!("{name} is no migration: {what}"));
    let version = name.split('_').next().unwrap_or_default().replace('-', "");
    if version.is_empty() {
        return Err(wrong("its directory's name does not begin with a version, as 2026-01-31-120000_add_phone"));
    }
    if version.chars().count() > LONGEST_VERSION {
        let message =
            format!("its version has {} characters; at most {LONGEST_VERSION} are possible", version.chars().count());
        return Err(wrong(&message));
    }
    let up = file("up.sql")?.ok_or_else(|| wrong("it has no up.sql"))?;
    let metadata = match metadata {
        Some(text) => toml::from_str(&text).map_err(|error| wrong(&format!("metadata.toml: {}", error.message())))?,
        None => Metadata { run_in_transaction: true, lint: BTreeMap::new(), unseen: BTreeMap::new() },
    };
    Ok(Migration { version, up, down: file("down.sql")?, metadata, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_as_diesel_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("2026-01-02-000000_b/up.sql", "SELECT 2");
        write("2026-01-02-000000_b/metadata.toml", "# nothing");
        write("00000000000000_a/up.sql", "SELECT 1");
        write("00000000000000_a/down.sql", "SELECT 0");
        write("README.md", "beside");
        write(".git/up.sql", "hidden");
        let read = || Source::Directory(folder.path().into()).read();
        let migrations = read().unwrap();
        let seen: Vec<_> = migrations
            .iter()
            .map(|m| (m.version.as_str(), m.name.as_str(), m.down.is_some(), m.metadata.run_in_transaction))
            .collect();
        assert_eq!(
            seen,
            [
                ("00000000000000", "00000000000000_a", true, true),
                ("20260102000000", "2026-01-02-000000_b", false, false)
            ]
        );
        write("20260102000000_c/up.sql", "SELECT 3");
        let twice = read().unwrap_err().to_string();
        assert!(twice.starts_with("2026-01-02-000000_b and 20260102000000_c have the same version"), "{twice}");
        fs::remove_dir_all(folder.path().join("20260102000000_c")).unwrap();
        write("2026-01-03-000000_d/metadata.toml", "run_in_transaction = maybe");
        assert!(read().unwrap_err().to_string().contains("it has no up.sql"));
        write("2026-01-03-000000_d/up.sql", "");
        assert!(read().unwrap_err().to_string().contains("metadata.toml"));
        write("2026-01-03-000000_d/metadata.toml", "run_in_transation = true");
        let misspelt = read().unwrap_err().to_string();
        assert!(misspelt.contains("unknown field `run_in_transation`, expected one of"), "{misspelt}");
        fs::remove_dir_all(folder.path().join("2026-01-03-000000_d")).unwrap();
        write("group/2026-01-04-000000_e/up.sql", "");
        assert!(read().unwrap_err().to_string().contains("group is no migration: it has no up.sql"));
        fs::remove_dir_all(folder.path().join("group")).unwrap();
        write("_e/up.sql", "");
        assert!(read().unwrap_err().to_string().contains("does not begin with a version"));
    }

    #[test]
    fn what_is_compiled_in_is_what_the_folders_hold() {
        for name in DatabaseName::ALL {
            let compiled = Source::Embedded(*name).read().unwrap();
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name.as_str());
            if folder.is_dir() {
                assert!(!compiled.is_empty());
                assert_eq!(compiled, Source::Directory(folder).read().unwrap());
            }
        }
    }
}
