//! Folders of migrations.

use std::fs;
use std::path::Path;

use bedplate::database::migrate::{self, Direction, Event, MigrationState, Options, Source};
use bedplate::{DatabaseUrl, Result};

/// A folder of migrations in Diesel's layout, gone with the value.
pub struct Folder(tempfile::TempDir);

/// In the metadata of a migration that is no transaction.
pub const BARE: &str = "run_in_transaction = false\n";

impl Folder {
    /// Of (name, up.sql, down.sql).
    pub fn new(migrations: &[(&str, &str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, up, down) in migrations {
            folder.add(name, up, down);
        }
        folder
    }

    pub fn add(&self, name: &str, up: &str, down: &str) {
        for (file, text) in [("up.sql", up), ("down.sql", down), ("metadata.toml", "run_in_transaction = true\n")] {
            self.write(name, file, text);
        }
    }

    /// One that runs statement by statement.
    pub fn add_bare(&self, name: &str, up: &str, down: &str) {
        self.add(name, up, down);
        self.write(name, "metadata.toml", BARE);
    }

    /// One of either kind.
    pub fn add_as(&self, bare: bool, name: &str, up: &str, down: &str) {
        if bare {
            self.add_bare(name, up, down);
        } else {
            self.add(name, up, down);
        }
    }

    pub fn write(&self, name: &str, file: &str, text: &str) {
        fs::create_dir_all(self.path().join(name)).unwrap();
        fs::write(self.path().join(name).join(file), text).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_dir_all(self.path().join(name)).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn source(&self) -> Source {
        Source::Directory(self.path().into())
    }

    /// Applies what is pending.
    pub async fn up(&self, url: &DatabaseUrl) -> Result<Vec<String>> {
        migrate::run(url, &self.source(), Direction::Up, |_| {}).await
    }

    pub async fn down(&self, url: &DatabaseUrl) -> Result<Vec<String>> {
        migrate::run(url, &self.source(), Direction::Down { count: 1 }, |_| {}).await
    }

    /// The same, with options and told events.
    pub async fn up_with(
        &self,
        url: &DatabaseUrl,
        options: Options,
        on_event: impl FnMut(Event) + Send,
    ) -> Result<Vec<String>> {
        migrate::run_with(url, &self.source(), Direction::Up, &options, on_event).await
    }

    /// (name, state, what differs).
    pub async fn status(&self, url: &DatabaseUrl) -> Vec<(String, MigrationState, Vec<&'static str>)> {
        let all = migrate::status(url, &self.source()).await.unwrap();
        all.into_iter()
            .map(|m| (m.name, m.state, m.problems.iter().map(|problem| problem.difference.as_str()).collect()))
            .collect()
    }
}
