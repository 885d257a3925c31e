//! PostgreSQL's programs on this machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::database::programs::program;
use crate::error::{Error, Result};

/// The oldest major version that the migrations run on.
const OLDEST: u32 = 15;

const WAYS_OUT: &str = "install it (Debian: apt-get install postgresql; Red Hat: dnf install postgresql-server; \
    Homebrew: brew install postgresql@17), or set PG_BIN to the folder that holds pg_ctl, \
    or set DATABASE_URL to a server that runs elsewhere";

#[derive(Debug, Clone)]
pub(super) struct Binaries {
    folder: PathBuf,
    pub(super) version: u32,
}

impl Binaries {
    /// The newest that are here, or those of the version that the data was made with.
    pub(super) fn find(data_version: Option<u32>) -> Result<Self> {
        let found: Vec<_> = candidates().into_iter().filter_map(Self::in_folder).collect();
        let fits = |binaries: &&Self| match data_version {
            Some(version) => binaries.version == version,
            None => binaries.version >= OLDEST,
        };
        found.iter().filter(fits).max_by_key(|binaries| binaries.version).cloned().ok_or_else(|| {
            let versions: BTreeSet<_> = found.iter().map(|binaries| binaries.version.to_string()).collect();
            let others = if versions.is_empty() {
                String::new()
            } else {
                format!(" (here: {})", versions.into_iter().collect::<Vec<_>>().join(", "))
            };
            let wanted = data_version.map_or(format!("PostgreSQL {OLDEST} or later"), |version| {
                format!("PostgreSQL {version}, which made the data in .bedplate,")
            });
            Error::configuration(format!("{wanted} is not on this machine{others}: {WAYS_OUT}"))
        })
    }

    fn in_folder(folder: PathBuf) -> Option<Self> {
        if !folder.join("initdb").is_file() || !folder.join("pg_ctl").is_file() {
            return None;
        }
        let output = program(folder.join("postgres")).arg("--version").output().ok()?;
        let version = major_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder, version })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15, `18beta1` is 18.
fn major_version(said: &str) -> Option<u32> {
    let number = said.split(") ").nth(1)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn candidates() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("PG_BIN").filter(|folder| !folder.is_empty()) {
        return vec![folder.into()];
    }
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    if let Ok(output) = program("pg_config").arg("--bindir").output() {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    for (parent, prefix, tail) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql@", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        folders.extend(children(Path::new(parent), prefix).map(|child| child.join(tail)));
    }
    folders
}

fn children(parent: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter(move |entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15))]
    #[case("postgres (PostgreSQL) 18beta1\n", Some(18))]
    #[case("something else", None)]
    fn the_major_version_is_read(#[case] said: &str, #[case] version: Option<u32>) {
        assert_eq!(major_version(said), version);
    }

    #[test]
    fn without_binaries_the_ways_out_are_told() {
        let message = Binaries::find(Some(9)).unwrap_err().to_string();
        for way in ["PostgreSQL 9", "apt-get install", "PG_BIN", "DATABASE_URL"] {
            assert!(message.contains(way), "{message}");
        }
    }
}
