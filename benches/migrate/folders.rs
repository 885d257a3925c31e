//! Migrations to measure with: a folder in Diesel's layout, and the same SQL as one file for psql.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate::Error;
use bedplate::database::migrate::Source;

use crate::{Bench, io};

pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// Each migration between BEGIN and COMMIT, where it is a transaction.
    pub(crate) for_psql: PathBuf,
}

impl Folder {
    pub(crate) fn source(&self) -> Source {
        Source::Directory(self.path.clone())
    }
}

impl Bench {
    /// A folder with these `up.sql`, later than the project's own.
    pub(crate) fn folder(&self, name: &str, ups: &[String], in_transaction: bool) -> Result<Folder, Error> {
        let path = self.home.join(name);
        for (n, up) in ups.iter().enumerate() {
            let migration = path.join(format!("2027-01-01-{n:06}_number_{n}"));
            fs::create_dir_all(&migration).map_err(io)?;
            write(&migration.join("up.sql"), up)?;
            write(&migration.join("down.sql"), "SELECT 1;\n")?;
            write(&migration.join("metadata.toml"), &format!("run_in_transaction = {in_transaction}\n"))?;
        }
        let for_psql = self.for_psql(name, ups, in_transaction)?;
        Ok(Folder { path, for_psql })
    }

    pub(crate) fn for_psql(&self, name: &str, ups: &[String], in_transaction: bool) -> Result<PathBuf, Error> {
        let path = self.home.join(name).with_extension("sql");
        let (begin, commit) = if in_transaction { ("BEGIN;\n", "COMMIT;\n") } else { ("", "") };
        let text = ups.iter().fold(String::new(), |mut text, up| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{begin}{up}\n{commit}");
            text
        });
        write(&path, &text)?;
        Ok(path)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(io)
}

/// A table, an index or a column each, with two or three statements.
pub(crate) fn hundred() -> Vec<String> {
    let one = |n: usize| {
        let table = format!("table_{}", n / 3);
        match n % 3 {
            0 => format!(
                "CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);\n\
                 COMMENT ON TABLE {table} IS 'Number {n}.';\n\
                 COMMENT ON COLUMN {table}.name IS 'How it is called.';\n"
            ),
            1 => format!(
                "CREATE INDEX {table}_name ON {table} (name);\nCOMMENT ON INDEX {table}_name IS 'Finds by name.';\n"
            ),
            _ => format!(
                "ALTER TABLE {table} ADD COLUMN size integer NOT NULL DEFAULT 0;\n\
                 COMMENT ON COLUMN {table}.size IS 'How much.';\n"
            ),
        }
    };
    (0..100).map(one).collect()
}
