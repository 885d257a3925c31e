//! The official suite, where it is there, and cases of our own.

use std::path::Path;

use bedplate::forms::suite;
use rstest::rstest;

use crate::support::{TestDatabase, db};

/// The suite's folder: as `JSON_SCHEMA_SUITE` says, or where the team keeps it.
fn official() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("JSON_SCHEMA_SUITE").map(Into::into);
    let folder = named.unwrap_or_else(|| Path::new("../shared/json-schema-suite/draft2020-12").to_owned());
    folder.is_dir().then_some(folder)
}

#[rstest]
#[tokio::test]
async fn no_verdict_on_the_official_suite_is_wrong(#[future(awt)] db: TestDatabase) {
    let Some(folder) = official() else {
        eprintln!("the official suite is not there (JSON_SCHEMA_SUITE): only the project's own cases are run");
        return;
    };
    let report = suite::run(&db, &folder, None, |_| {}).await.unwrap();
    assert_eq!(report.wrong, Vec::<String>::new());
    assert_eq!(report.scores.len(), 3);
    for (validator, score) in report.scores {
        let all = score.right + score.refused;
        assert!(all > 500 && score.right * 100 >= all * 99, "{validator}: {score:?} {:#?}", report.refused);
    }
}

#[rstest]
#[tokio::test]
async fn no_verdict_on_the_projects_own_cases_is_wrong(#[future(awt)] db: TestDatabase) {
    let report = suite::run(&db, Path::new("tests/json-schema/cases"), None, |_| {}).await.unwrap();
    assert_eq!(report.wrong, Vec::<String>::new());
    assert_eq!(report.refused, Vec::<String>::new());
    assert_eq!(report.scores.len(), 3);
    assert!(report.scores.values().all(|score| score.right > 500), "{:?}", report.scores);
}
