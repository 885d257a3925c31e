//! The diesel CLI runs the same folders, and prints the same `schema.rs`, for each database.

use std::process::{Command, Output};

use bedplate::DatabaseUrl;
use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Source};
use rstest::rstest;

use crate::support::{connection, empty_db, number};

/// The project as the diesel CLI sees it, in a folder of its own: it rewrites the schema's file at every step, in the
/// format that rustfmt finds there.
struct Project {
    folder: tempfile::TempDir,
    config: &'static str,
    schema: &'static str,
}

impl Project {
    fn new(config: &'static str, schema: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in [config, "rustfmt.toml"] {
            std::fs::copy(file, folder.path().join(file)).unwrap();
        }
        std::fs::create_dir_all(folder.path().join(schema).parent().unwrap()).unwrap();
        let migrations = std::path::absolute("migrations").unwrap();
        std::os::unix::fs::symlink(migrations, folder.path().join("migrations")).unwrap();
        Self { folder, config, schema }
    }

    fn diesel(&self, url: &DatabaseUrl, arguments: &[&str]) -> Output {
        let mut diesel = Command::new("diesel");
        diesel.arg("--config-file").arg(self.folder.path().join(self.config)).args(arguments);
        let output = diesel.current_dir(self.folder.path()).env("DATABASE_URL", url.reveal()).output().unwrap();
        assert!(output.status.success(), "diesel {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn schema(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(self.schema)).unwrap()
    }
}

#[rstest]
#[case::main(DatabaseName::Main, "diesel.toml", "src/schema.rs", 7)]
#[case::rfq(DatabaseName::Rfq, "diesel.rfq.toml", "src/rfq/schema.rs", 3)]
#[case::marketdata(DatabaseName::Marketdata, "diesel.marketdata.toml", "src/marketdata/schema.rs", 3)]
#[ignore = "needs the diesel CLI; scripts/diesel-cli installs it and runs this"]
#[tokio::test]
async fn round_trip(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] of: DatabaseName,
    #[case] config: &'static str,
    #[case] file: &'static str,
    #[case] least: i64,
) {
    let mut owner = connection(&empty_db).await;
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    let project = Project::new(config, file);
    let schema = std::fs::read_to_string(file).unwrap();

    project.diesel(&empty_db, &["migration", "run"]);
    assert_eq!(project.schema(), schema, "run `diesel --config-file {config} print-schema > {file}`");
    let printed = project.diesel(&empty_db, &["print-schema"]).stdout;
    assert_eq!(String::from_utf8(printed).unwrap(), schema);
    assert!(number(&mut owner, tables).await > least);
    project.diesel(&empty_db, &["migration", "redo"]);
    project.diesel(&empty_db, &["migration", "redo", "--all"]);
    project.diesel(&empty_db, &["migration", "revert", "--all"]);
    assert_eq!(number(&mut owner, tables).await, 1, "Diesel's own table");
    project.diesel(&empty_db, &["migration", "run"]);
    assert_eq!(project.schema(), schema);

    // What the diesel CLI applied is known to bedplate, and the other way round.
    let status = migrate::status(&empty_db, &Source::Embedded(of)).await.unwrap();
    assert!(!status.is_empty() && status.iter().all(|m| m.state == migrate::MigrationState::Applied));
}
