//! The folder that the program runs in, beside the migrations that are compiled in.
//!
//! A program that somebody installed brings its own migrations along. In a project of theirs, whoever names no folder
//! gets those, and not the ones that lie there: every command says so.

use std::path::{Path, PathBuf};

use crate::database::DatabaseName;
use crate::database::migrate::Source;
use crate::error::{Error, Result};

/// Where Diesel has migrations.
const MIGRATIONS: &str = "migrations";

/// The folder of a database, in a clone of bedplate.
pub(super) fn folder_of(name: DatabaseName) -> PathBuf {
    Path::new(MIGRATIONS).join(name.as_str())
}

/// Where these migrations come from.
pub(super) fn describe(source: &Source) -> String {
    match source {
        Source::Embedded(name) => format!("the migrations that are compiled in ({name})"),
        Source::Directory(path) => path.display().to_string(),
    }
}

/// The folder here that holds migrations without being one of a database: as the diesel CLI has it.
pub(super) fn strangers_folder() -> Option<&'static str> {
    let entries = std::fs::read_dir(MIGRATIONS).ok()?;
    entries.flatten().any(|entry| entry.path().join("up.sql").is_file()).then_some(MIGRATIONS)
}

/// Tells of migrations that lie here and are not taken: those that are compiled in are.
pub(in crate::cli) fn note_what_is_left_out(names: &[DatabaseName]) {
    if let Some(folder) = strangers_folder() {
        let names = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        eprintln!(
            "note: these are the migrations that are compiled in ({names}); your own: bedplate migrate --dir {folder}"
        );
    }
    for name in names {
        let folder = folder_of(*name);
        // A folder that cannot be read is none of this command's business.
        let here = Source::Directory(folder.clone()).read().unwrap_or_default();
        let compiled_in = Source::Embedded(*name).read().unwrap_or_default();
        let others: Vec<_> = here.iter().filter(|migration| !compiled_in.contains(migration)).collect();
        if let Some(first) = others.first() {
            eprintln!(
                "note: {} has {} that this program was not built with, the first {}; build it again, or name the \
                 folder: --dir {}",
                folder.display(),
                super::counted(others.len()),
                first.name,
                folder.display()
            );
        }
    }
}

/// The folder that a new migration goes to where no folder is named.
///
/// # Errors
/// [`Error::Configuration`] where the migrations that lie here are somebody else's: the diesel CLI would not find a
/// migration a level below.
pub(super) fn folder_for_new(name: DatabaseName) -> Result<PathBuf> {
    match strangers_folder() {
        Some(folder) => Err(Error::configuration(format!(
            "the migrations here lie in {folder} itself: write `bedplate migrate create NAME --dir {folder}`"
        ))),
        None => Ok(folder_of(name)),
    }
}
