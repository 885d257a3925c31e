//! A folder of migrations in Diesel's layout: `<version>_<name>/{up.sql,down.sql,metadata.toml}`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use super::script::Script;
use crate::database::DatabaseName;
use crate::error::{Error, Result};

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
pub struct Metadata {
    /// Whether the migration is one transaction. As Diesel has it: `true` without a file, `false` where the
    /// file does not say.
    #[serde(default)]
    pub run_in_transaction: bool,
    /// Lint rules that do not hold here, each with the reason.
    #[serde(default)]
    pub lint: BTreeMap<String, String>,
}

impl Source {
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
        migration(name, |file| {
            Ok(folder.get_file(folder.path().join(file)).and_then(|file| file.contents_utf8()).map(str::to_owned))
        })
    });
    migrations.collect()
}

fn directory(path: &Path) -> Result<Vec<Migration>> {
    let unreadable = |error: std::io::Error| {
        Error::configuration(format!("{}: the folder of migrations cannot be read: {error}", path.display()))
    };
    let mut migrations = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // As Diesel: other files may lie beside.
        if name.starts_with('.') || entry.path().is_file() {
            continue;
        }
        migrations.push(migration(name, |file| read_file(&entry.path().join(file)))?);
    }
    Ok(migrations)
}

fn read_file(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::configuration(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn migration(name: String, file: impl Fn(&str) -> Result<Option<String>>) -> Result<Migration> {
    let wrong = |what: &str| Error::configuration(format!("{name} is no migration: {what}"));
    let version = name.split('_').next().unwrap_or_default().replace('-', "");
    if version.is_empty() {
        return Err(wrong("its directory's name does not begin with a version, as 2026-01-31-120000_add_phone"));
    }
    let up = file("up.sql")?.ok_or_else(|| wrong("it has no up.sql"))?;
    let metadata = match file("metadata.toml")? {
        Some(text) => toml::from_str(&text).map_err(|error| wrong(&format!("metadata.toml: {}", error.message())))?,
        None => Metadata { run_in_transaction: true, lint: BTreeMap::new() },
    };
    Ok(Migration {
        version,
        up: Script { file: "up.sql", sql: up },
        down: file("down.sql")?.map(|sql| Script { file: "down.sql", sql }),
        metadata,
        name,
    })
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
