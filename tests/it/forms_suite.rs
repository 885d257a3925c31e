//! The official suite, where it is there, and cases of our own.

use std::collections::BTreeMap;
use std::path::Path;

use bedplate::forms::{CompileOptions, JsonSchema, suite, trial};
use rstest::rstest;
use serde_json::Value;

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

/// Every format that can be asserted, by all validators; the texts are those of the unit tests and some hostile ones.
#[rstest]
#[tokio::test]
async fn formats_are_decided_alike(#[future(awt)] db: TestDatabase) {
    let cases = [
        ("date", "2024-02-29", "2023-02-29"),
        ("time", "23:59:60Z", "12:00:00"),
        ("date-time", "2024-02-29T12:30:00.25+02:00", "2024-02-29 12:30:00"),
        ("duration", "P1Y2M3DT4H5M6S", "P"),
        ("email", "a.b+c@example.org", "a..b@example.org"),
        ("hostname", "a-b.example", "-a.example"),
        ("ipv4", "255.1.0.9", "256.1.0.9"),
        ("ipv6", "::ffff:192.0.2.1", "1::2::3"),
        ("uuid", "00000000-0000-7000-8000-00000000000A", "00000000"),
        ("json-pointer", "/a~1b", "/c~"),
        ("uri", "https://example.org/a?b=%20", "no spaces"),
    ];
    let others = ["", "a\n", "😀", "'; DROP TABLE users; --", &"a".repeat(300), &"1:".repeat(200), "::", "٣"];
    for (format, good, bad) in cases {
        let definition = serde_json::json!({"format": format});
        let options = CompileOptions { assert_formats: true };
        let schema = JsonSchema::compile(&definition, &BTreeMap::new(), options).unwrap();
        let documents: Vec<Value> = [good, bad].into_iter().chain(others).map(Value::from).chain([7.into()]).collect();
        let trials = trial::run(&db, &schema, &documents).await.unwrap();
        assert_eq!((trials[0].compiled, trials[1].compiled, trials[10].compiled), (true, false, true), "{format}");
        for (document, trial) in documents.iter().zip(trials) {
            assert_eq!(
                (trial.compiled, &trial.interpreted),
                (trial.rust.is_empty(), &trial.rust),
                "{format} {document}"
            );
        }
    }
}
