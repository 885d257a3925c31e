//! `bedplate forms` as a person uses it: what it says, and by which exit code.

use std::path::Path;
use std::process::Output;

use rstest::rstest;
use serde_json::{Value, json};

use crate::cli::{bedplate, error, out};
use crate::support::{TestDatabase, db};

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const FILES: [(&str, &str); 8] = [
    (
        "contact.json",
        r#"{"required": ["name"], "properties": {"name": {"minLength": 2}, "email": {"format": "email"}}}"#,
    ),
    ("order.json", r#"{"properties": {"ship_to": {"$ref": "https://example.org/contact"}}}"#),
    ("refused.json", r#"{"properties": {"a": {"pattern": "(?<=a)b"}}}"#),
    ("good.json", r#"{"name": "Ada", "email": "nobody"}"#),
    ("bad.json", r#"{"name": "A", "email": "nobody"}"#),
    ("worse.json", "{}"),
    ("ordered.json", r#"{"ship_to": {}}"#),
    ("broken.json", "{"),
];

fn check(arguments: &[&str]) -> Output {
    let folder = folder(&FILES);
    bedplate(folder.path(), &[], &[&["forms", "check"], arguments].concat())
}

/// What no database can store is not valid, whatever the schema says of it.
#[test]
fn a_nul_character_is_never_valid() {
    let files =
        folder(&[("any.json", "true"), ("nul.json", r#"{"a": ["\u0000"]}"#), ("name.json", r#"{"\u0000": 1}"#)]);
    let path = |name: &str| files.path().join(name).display().to_string();
    for name in ["nul.json", "name.json"] {
        let checked = check(&[&path("any.json"), &path(name)]);
        assert_eq!(checked.status.code(), Some(5), "{checked:?}");
        assert!(out(&checked).contains("holds a NUL character"), "{}", out(&checked));
    }
}

#[test]
fn a_schema_and_data_are_checked_without_a_database() {
    let schema = check(&["contact.json"]);
    assert!(
        schema.status.success() && out(&schema).starts_with("contact.json: can be published ("),
        "{}",
        out(&schema)
    );
    let good = check(&["contact.json", "good.json"]);
    assert!(good.status.success() && out(&good).ends_with("good.json: valid\n"), "{}", out(&good));
    let both = check(&["contact.json", "good.json", "bad.json", "worse.json"]);
    assert!(error(&both, 5).starts_with("error: 2 found: documents that are not valid"), "{both:?}");
    for part in [
        "good.json: valid\n",
        "bad.json: 1 violation\n",
        "/name",
        "must have at least 2 characters",
        "/properties/name/minLength",
        "is missing \"name\"",
    ] {
        assert!(out(&both).contains(part), "{part}: {}", out(&both));
    }
}

#[rstest]
#[case::refused(&["refused.json"], 1, "definition/properties/a/pattern is refused: it looks ahead or behind")]
#[case::refused_with_data(&["refused.json", "good.json"], 1, "definition/properties/a/pattern")]
#[case::no_schema(&["missing.json"], 1, "missing.json")]
#[case::no_json(&["broken.json"], 1, "broken.json: the document is no JSON")]
#[case::no_resource(&["order.json"], 1, "refers to https://example.org/contact, which was not supplied")]
#[case::resource_is_missing(&["order.json", "--resource", "https://example.org/contact=missing.json"], 1, "missing.json")]
fn what_cannot_be_checked_is_one_line(#[case] arguments: &[&str], #[case] code: i32, #[case] reason: &str) {
    let said = error(&check(arguments), code);
    assert!(said.contains(reason), "{said}");
}

#[rstest]
#[case::no_file(&[])]
#[case::no_uri(&["order.json", "--resource", "contact.json"])]
fn wrong_usage_is_told(#[case] arguments: &[&str]) {
    assert_eq!(check(arguments).status.code(), Some(2));
}

#[test]
fn resources_are_brought_along() {
    let with = ["order.json", "ordered.json", "--resource", "https://example.org/contact=contact.json"];
    let checked = check(&with);
    error(&checked, 5);
    for part in ["/ship_to", "is missing \"name\"", "https://example.org/contact#/required"] {
        assert!(out(&checked).contains(part), "{part}: {}", out(&checked));
    }
}

#[test]
fn formats_are_asserted_where_it_is_asked_for() {
    assert!(check(&["contact.json", "good.json"]).status.success());
    let asserted = check(&["--assert-formats", "contact.json", "good.json"]);
    error(&asserted, 5);
    assert!(out(&asserted).contains("must have the format email"), "{}", out(&asserted));
}

#[test]
fn programs_get_json() {
    let checked = check(&["contact.json", "good.json", "bad.json", "--json"]);
    error(&checked, 5);
    let said: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(said["compiledBytes"].as_u64().unwrap() > 100, "{said}");
    assert_eq!(
        (&said["schema"], &said["data"][0]),
        (&json!("contact.json"), &json!({"file": "good.json", "valid": true, "violations": []}))
    );
    assert_eq!(
        said["data"][1],
        json!({"file": "bad.json", "valid": false, "violations": [{
            "instancePath": "/name",
            "schemaPath": "/properties/name/minLength",
            "keyword": "minLength",
            "message": "must have at least 2 characters",
            "params": {"limit": 2},
        }]})
    );
}

/// One document that is missing, no JSON, too deep, or not exact says nothing about the others.
#[test]
fn one_wrong_document_does_not_stop_the_others() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let files = [
        ("contact.json", FILES[0].1),
        ("bad.json", FILES[4].1),
        ("good.json", FILES[3].1),
        ("broken.json", "{"),
        ("deep.json", &deep),
        ("long.json", r#"{"name": "Ada", "sum": [123456789.123456789123456789]}"#),
        ("large.json", "1e400"),
        ("latin.json", "caf\u{e9}"),
    ];
    let folder = folder(&files);
    std::fs::write(folder.path().join("latin.json"), b"\"caf\xe9\"").unwrap();
    let documents =
        ["missing", "broken", "deep", "long", "large", "latin", "bad", "good"].map(|name| format!("{name}.json"));
    let arguments: Vec<_> =
        ["forms", "check", "contact.json"].into_iter().chain(documents.iter().map(|name| &**name)).collect();
    let checked = bedplate(folder.path(), &[], &arguments);
    assert!(error(&checked, 5).starts_with("error: 7 found: "), "{checked:?}");
    for line in [
        "reading missing.json: ",
        "broken.json: the document is no JSON: ",
        "deep.json: /0/0/0",
        "long.json: /sum/0 is 123456789.123456789123456789, which 64 bits do not hold exactly: write it as a text\n",
        "large.json: the document is 1e400, which 64 bits do not hold exactly: write it as a text\n",
        "reading latin.json: ",
        "bad.json: 1 violation\n",
        "good.json: valid\n",
    ] {
        assert!(out(&checked).contains(line), "{line}: {}", out(&checked));
    }
    let checked = bedplate(folder.path(), &[], &[&arguments[..], &["--json"]].concat());
    error(&checked, 5);
    let said: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let valid: Vec<_> = said["data"].as_array().unwrap().iter().map(|one| one["valid"].as_bool().unwrap()).collect();
    assert_eq!(valid, [false, false, false, false, false, false, false, true]);
    assert!(said["data"][3]["error"].as_str().unwrap().contains("/sum/0 is 123456789.123456789123456789"), "{said}");
}

/// A schema with a number that would change is refused as a document is, wherever the number stands.
#[rstest]
#[case::constant(r#"{"const": 12345678901234567890123}"#, "/const is 12345678901234567890123")]
#[case::limit(r#"{"properties": {"a": {"maximum": 0.12345678901234567890}}}"#, "/properties/a/maximum is 0.123456789")]
#[case::remark(r#"{"examples": [1e400]}"#, "/examples/0 is 1e400")]
fn a_schema_with_an_inexact_number_is_refused(#[case] text: &str, #[case] reason: &str) {
    let files = folder(&[("schema.json", text), ("any.json", "true")]);
    let said = error(&bedplate(files.path(), &[], &["forms", "check", "schema.json"]), 1);
    assert!(said.contains(reason) && said.contains("which 64 bits do not hold exactly"), "{said}");
    let resource = ["forms", "check", "any.json", "--resource", "https://example.org/a=schema.json"];
    let said = error(&bedplate(files.path(), &[], &resource), 1);
    assert!(said.contains(reason), "{said}");
}

/// The meta-schema is several schemas, and each of them says what is wrong.
#[test]
fn the_same_error_of_a_schema_is_told_once() {
    let text = r#"{"items": [{"type": 1}], "properties": {"a": {"minLength": -1, "type": "strin", "required": true}}}"#;
    let files = folder(&[("schema.json", text)]);
    let said = error(&bedplate(files.path(), &[], &["forms", "check", "schema.json"]), 1);
    let told: Vec<_> = said.trim_start_matches("error: ").split("; ").collect();
    assert_eq!(
        told,
        [
            "definition/items does not follow the meta-schema: is a list, as in drafts before 2020-12: write prefixItems, or say the draft in $schema",
            "definition/properties/a/minLength does not follow the meta-schema: value is less than the minimum of 0",
            "definition/properties/a/required does not follow the meta-schema: is no list, as in draft-03: list the names beside properties",
            "definition/properties/a/type does not follow the meta-schema: is no type: array, boolean, integer, null, number, object, string",
        ]
    );
}

/// A remark refuses nothing, unless somebody asks for it.
#[test]
fn remarks_are_told_and_strict_refuses() {
    let files = folder(&[
        ("typo.json", r#"{"type": "object", "properites": {"a": {"type": "string"}}, "require": ["a"]}"#),
        ("good.json", r#"{"type": "object", "properties": {"require": {"x-order": 1}}}"#),
        ("data.json", r#"{"a": 1}"#),
    ]);
    let check = |arguments: &[&str]| bedplate(files.path(), &[], &[&["forms", "check"], arguments].concat());
    let told = check(&["typo.json", "data.json"]);
    assert!(told.status.success(), "{told:?}");
    for line in [
        "typo.json: can be published (",
        "remark: definition/properites is not a keyword and has no effect: did you mean properties?\n",
        "remark: definition/require is not a keyword and has no effect: did you mean required?\n",
        "data.json: valid\n",
    ] {
        assert!(out(&told).contains(line), "{line}: {}", out(&told));
    }
    let strict = check(&["typo.json", "data.json", "--strict"]);
    let said = error(&strict, 1);
    assert!(said.contains("typo.json: 2 remarks, which --strict refuses"), "{said}");
    assert!(out(&strict).contains("remark: definition/require ") && !out(&strict).contains("published"), "{strict:?}");
    let json = check(&["typo.json", "data.json", "--strict", "--json"]);
    error(&json, 1);
    let said: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((said["remarks"].as_array().unwrap().len(), &said["data"]), (2, &json!([])));
    assert_eq!(said["remarks"][1]["field"], "definition/require");
    assert!(check(&["good.json", "data.json", "--strict"]).status.success());
}

/// What was translated is told, and no remark.
#[test]
fn a_translation_is_told() {
    let files = folder(&[
        (
            "seven.json",
            r#"{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"card": ["billing"]}}"#,
        ),
        ("card.json", r#"{"card": "x"}"#),
    ]);
    let check = |arguments: &[&str]| bedplate(files.path(), &[], &[&["forms", "check"], arguments].concat());
    let told = check(&["seven.json", "card.json", "--strict"]);
    error(&told, 5);
    for line in [
        "translated: definition/dependencies/card a list of names is dependentRequired\n",
        "translated: definition was read as draft 2020-12: it is of draft-07\n",
        "card.json: 1 violation\n",
        "/dependentRequired",
    ] {
        assert!(out(&told).contains(line), "{line}: {}", out(&told));
    }
    let said: Value = serde_json::from_slice(&check(&["seven.json", "--json"]).stdout).unwrap();
    assert_eq!(said["translation"]["definition"], json!({"dependentRequired": {"card": ["billing"]}}));
    assert_eq!(said["translation"]["changes"].as_array().unwrap().len(), 2);
}

const RIGHT: &str = r#"{"description": "integers", "schema": {"type": "integer"},
    "tests": [{"description": "1", "data": 1, "valid": true}, {"description": "a", "data": "a", "valid": false}]}"#;
const WRONG: &str = r#"{"description": "texts", "schema": {"type": "string"},
    "tests": [{"description": "1 is none", "data": 1, "valid": true}]}"#;
const REFUSED: &str = r#"{"description": "behind", "schema": {"pattern": "(?<=a)b"},
    "tests": [{"description": "ab", "data": "ab", "valid": true}, {"description": "b", "data": "b", "valid": false}]}"#;

fn suite(db: &TestDatabase, folder: &Path, arguments: &[&str]) -> Output {
    let folder_name = folder.to_str().unwrap();
    bedplate(folder, &[("DATABASE_URL", db.url.reveal())], &[&["forms", "suite", folder_name], arguments].concat())
}

#[rstest]
#[tokio::test]
async fn a_suite_is_counted_for_each_validator(#[future(awt)] db: TestDatabase) {
    let cases =
        folder(&[("a.json", &format!("[{RIGHT}]")), ("b.json", &format!("[{REFUSED}]")), ("notes.txt", "no JSON")]);
    let right = suite(&db, cases.path(), &[]);
    assert_eq!(right.status.code(), Some(0), "{right:?}");
    let lines = |wrong| {
        ["compiled", "interpreted", "rust"]
            .map(|name| format!("{name:<12} right 2, refused 2, wrong {wrong}"))
            .join("\n")
            + "\n"
    };
    assert_eq!(out(&right), lines(0));
    let verbose = out(&suite(&db, cases.path(), &["--verbose"]));
    assert!(
        verbose.starts_with("refused: b: behind: definition/pattern is refused: it looks ahead or behind"),
        "{verbose}"
    );

    std::fs::write(cases.path().join("c.json"), format!("[{WRONG}]")).unwrap();
    let wrong = suite(&db, cases.path(), &[]);
    assert!(error(&wrong, 1).contains("3 cases were decided wrongly"), "{wrong:?}");
    assert!(out(&wrong).starts_with("wrong: c: texts: 1 is none: compiled says false\n"), "{}", out(&wrong));
    assert!(out(&wrong).ends_with(&lines(1)), "{}", out(&wrong));
    let wrong = suite(&db, cases.path(), &["--json"]);
    error(&wrong, 1);
    let said: Value = serde_json::from_slice(&wrong.stdout).unwrap();
    assert_eq!(said["scores"]["rust"], json!({"right": 2, "refused": 2, "wrong": 1}));
    assert_eq!((said["wrong"].as_array().unwrap().len(), said["refused"].as_array().unwrap().len()), (3, 1));
}

#[rstest]
#[tokio::test]
async fn remotes_are_found_beside_the_cases(#[future(awt)] db: TestDatabase) {
    let group = r#"[{"description": "remote", "schema": {"$ref": "http://localhost:1234/mine.json#/a"},
        "tests": [{"description": "1", "data": 1, "valid": true}, {"description": "a", "data": "a", "valid": false}]}]"#;
    let cases = folder(&[("a.json", group)]);
    let refused = suite(&db, cases.path(), &[]);
    assert!(refused.status.success() && out(&refused).contains("right 0, refused 2, wrong 0"), "{refused:?}");
    std::fs::create_dir(cases.path().join("remotes")).unwrap();
    std::fs::write(cases.path().join("remotes/mine.json"), r#"{"a": {"type": "integer"}}"#).unwrap();
    let right = suite(&db, cases.path(), &[]);
    assert!(right.status.success() && out(&right).contains("right 2, refused 0, wrong 0"), "{right:?}");
}

#[rstest]
#[case::empty(&[], "there are no .json files")]
#[case::no_groups(&[("a.json", "{}")], "a.json is no file of a suite")]
#[case::no_json(&[("a.json", "[")], "a.json is no file of a suite")]
#[case::no_tests(&[("a.json", r#"[{"description": "a", "schema": true}]"#)], "a.json is no file of a suite")]
#[tokio::test]
async fn what_is_no_suite_is_told(
    #[future(awt)] db: TestDatabase,
    #[case] files: &[(&str, &str)],
    #[case] reason: &str,
) {
    let cases = folder(files);
    let said = error(&suite(&db, cases.path(), &[]), 1);
    assert!(said.contains(reason), "{said}");
}

#[rstest]
#[tokio::test]
async fn a_folder_that_is_not_there_is_told(#[future(awt)] db: TestDatabase) {
    let nowhere = folder(&[]);
    let run = bedplate(nowhere.path(), &[("DATABASE_URL", db.url.reveal())], &["forms", "suite", "nowhere"]);
    assert!(error(&run, 1).contains("reading nowhere"));
}

#[test]
fn a_suite_needs_a_database() {
    let cases = folder(&[("a.json", "[]")]);
    let run = bedplate(cases.path(), &[], &["forms", "suite", "."]);
    assert!(error(&run, 1).contains("no database is configured"));
}
