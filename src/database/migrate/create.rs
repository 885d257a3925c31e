//! `bedplate migrate create`: a new pair of files.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;

use crate::error::{Error, Result};

const METADATA: &str = "\
# One transaction for the whole migration: it is applied entirely or not at all.
# false is for CREATE INDEX CONCURRENTLY, alone in its file.
run_in_transaction = true
";

/// Makes `<folder>/<time>_<name>/` with `up.sql`, `down.sql` and `metadata.toml`, and returns its path.
///
/// # Errors
/// [`Error::Invalid`] for a name that is not `verb_noun` in lower case; [`Error::Io`] where the folder
/// cannot be written.
pub fn create(folder: &Path, name: &str) -> Result<PathBuf> {
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !good {
        return Err(Error::invalid(
            "name",
            format!("is {name:?}: write lower case with underscores, as add_phone_to_users"),
        ));
    }
    let path = folder.join(format!("{}_{name}", Utc::now().format("%Y-%m-%d-%H%M%S")));
    let write = |file: &str, text: &str| {
        fs::write(path.join(file), text).map_err(Error::io(format!("writing {}", path.join(file).display())))
    };
    fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
    fs::create_dir(&path).map_err(Error::io(format!("making {}", path.display())))?;
    write("up.sql", "-- What changes, and why. Every table and column needs a COMMENT.\n")?;
    write("down.sql", "-- Restores exactly what was there before.\n")?;
    write("metadata.toml", METADATA)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_new_migration_has_its_three_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = create(&folder.path().join("main"), "add_phone_to_users").unwrap();
        assert!(path.file_name().unwrap().to_str().unwrap().ends_with("_add_phone_to_users"));
        for file in ["up.sql", "down.sql", "metadata.toml"] {
            assert!(path.join(file).is_file(), "{file}");
        }
    }

    #[rstest]
    #[case("")]
    #[case("Add Phone")]
    #[case("../evil")]
    #[case("1st")]
    fn a_bad_name_writes_nothing(#[case] name: &str) {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(create(folder.path(), name), Err(Error::Invalid { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
