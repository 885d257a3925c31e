//! The diesel CLI runs the same folders, and prints the same `schema.rs`.

use std::process::{Command, Output};

use bedplate::DatabaseUrl;
use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Source};
use rstest::rstest;

use crate::support::{connection, empty_db, number};

/// The project as the diesel CLI sees it, in a folder of its own: it rewrites `src/schema.rs` at every step.
struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy("diesel.toml", folder.path().join("diesel.toml")).unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let migrations = std::path::absolute("migrations").unwrap();
        std::os::unix::fs::symlink(migrations, folder.path().join("migrations")).unwrap();
        Self(folder)
    }

    fn diesel(&self, url: &DatabaseUrl, arguments: &[&str]) -> Output {
        let mut diesel = Command::new("diesel");
        let output =
            diesel.args(arguments).current_dir(self.0.path()).env("DATABASE_URL", url.reveal()).output().unwrap();
        assert!(output.status.success(), "diesel {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn schema(&self) -> String {
        std::fs::read_to_string(self.0.path().join("src/schema.rs")).unwrap()
    }
}

#[rstest]
#[ignore = "needs the diesel CLI; scripts/diesel-cli installs it and runs this"]
#[tokio::test]
async fn round_trip(#[future(awt)] empty_db: DatabaseUrl) {
    let mut owner = connection(&empty_db).await;
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    let project = Project::new();
    let schema = std::fs::read_to_string("src/schema.rs").unwrap();

    project.diesel(&empty_db, &["migration", "run"]);
    assert_eq!(project.schema(), schema, "run `diesel print-schema > src/schema.rs`");
    let printed = project.diesel(&empty_db, &["print-schema"]).stdout;
    assert_eq!(String::from_utf8(printed).unwrap(), schema);
    assert!(number(&mut owner, tables).await > 7);
    project.diesel(&empty_db, &["migration", "redo"]);
    project.diesel(&empty_db, &["migration", "redo", "--all"]);
    project.diesel(&empty_db, &["migration", "revert", "--all"]);
    assert_eq!(number(&mut owner, tables).await, 1, "Diesel's own table");
    project.diesel(&empty_db, &["migration", "run"]);
    assert_eq!(project.schema(), schema);

    // What the diesel CLI applied is known to bedplate, and the other way round.
    let status = migrate::status(&empty_db, &Source::Embedded(DatabaseName::Main)).await.unwrap();
    assert!(!status.is_empty() && status.iter().all(|m| m.state == migrate::MigrationState::Applied));
}
