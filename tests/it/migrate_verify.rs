//! The proof that migrations come back: our own do, and a faulty one is told.

use std::path::Path;

use bedplate::DatabaseUrl;
use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Freshness, Rows, Source, Verification, Verify};
use rstest::{fixture, rstest};

use crate::support::server::server;
use crate::support::{Folder, connection, empty_db, migrated, number};

const ONE: &str = "2026-01-01-000000_one";
const TWO: &str = "2026-01-02-000000_two";
const THREE: &str = "2026-01-03-000000_three";

async fn verify(source: Source, rows: Rows, release: Option<Source>) -> Verification {
    let what = Verify { source, rows, release, diesel_config: None };
    migrate::verify(&server().owner, &what, |_| {}).await.unwrap()
}

/// Every migration of a database of ours comes back, with the seeds in the tables too: what goes down loses only the
/// rows of its own tables, or of those that the closed list names.
#[rstest]
#[case(DatabaseName::Main)]
#[case(DatabaseName::Rfq)]
#[case(DatabaseName::Marketdata)]
#[tokio::test(flavor = "multi_thread")]
async fn our_migrations_come_back(#[case] name: DatabaseName) {
    // Its roles: a proof makes none.
    let _applied = migrated(name).await;
    let verification = verify(Source::Embedded(name), Rows::Seeds(name), None).await;
    assert!(verification.migrations.len() >= 3, "{}", verification.migrations.len());
    for migration in &verification.migrations {
        assert_eq!(migration.problems, Vec::<String>::new(), "{}", migration.name);
        let lost = migration.rows.iter().flatten();
        let unexpected = lost.filter(|lost| !lost.ends_with("rows go with the table"));
        let expected = REWRITES.iter().filter(|(name, _)| migration.name.ends_with(name)).map(|(_, lost)| *lost);
        assert_eq!(unexpected.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{}", migration.name);
    }
    let looked_at = verification.migrations.iter().filter(|migration| migration.rows.is_some()).count();
    assert!(looked_at * 2 > verification.migrations.len(), "rows were there for only {looked_at}");
}

/// Migrations whose way down and up again changes rows, and why that cannot be otherwise.
const REWRITES: [(&str, &str); 1] = [
    // Nothing is taken out of the log: going down leaves its entries, going up writes them again.
    ("_write_audit_baseline", "audit_log: 67 rows, 121 afterwards"),
];

/// Three good ones: two tables, and an index with a comment, a grant and a policy.
#[fixture]
fn good() -> Folder {
    Folder::new(&[
        (ONE, "CREATE TABLE one (id int PRIMARY KEY, word text)", "DROP TABLE one"),
        (
            TWO,
            "CREATE TABLE two (id int REFERENCES one); ALTER TABLE two ENABLE ROW LEVEL SECURITY; \
             INSERT INTO one VALUES (7, 'seven')",
            "DROP TABLE two; DELETE FROM one",
        ),
        (
            THREE,
            "CREATE INDEX one_word ON one (word); COMMENT ON INDEX one_word IS 'By word.'; COMMENT ON TABLE two IS 'Two.'; \
             GRANT SELECT ON two TO pg_monitor; CREATE POLICY all_of_it ON two USING (true)",
            "DROP POLICY all_of_it ON two; REVOKE SELECT ON two FROM pg_monitor; COMMENT ON TABLE two IS NULL; \
             DROP INDEX one_word",
        ),
    ])
}

/// Each part of the last down.sql, left out, is found and named.
#[rstest]
#[case::nothing("", "")]
#[case::policy("DROP POLICY all_of_it ON two;", "+ policy two all_of_it")]
#[case::grant("REVOKE SELECT ON two FROM pg_monitor;", "+ relation two")]
#[case::comment("COMMENT ON TABLE two IS NULL;", "+ comment on table public.two")]
#[case::index("DROP INDEX one_word", "+ index CREATE INDEX one_word")]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_down_forgets_is_found(good: Folder, #[case] forgotten: &str, #[case] found: &str) {
    let down = std::fs::read_to_string(good.path().join(THREE).join("down.sql")).unwrap();
    good.write(THREE, "down.sql", &down.replace(forgotten, ""));
    let problems = verify(good.source(), Rows::None, None).await.migrations.remove(2).problems;
    match forgotten {
        "" => assert_eq!(problems, Vec::<String>::new()),
        _ => {
            assert!(
                problems[0].starts_with("down.sql does not restore") && problems[0].contains(found),
                "{problems:?}"
            );
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_fails_and_an_up_that_makes_something_else_are_found(good: Folder) {
    good.write(THREE, "down.sql", "DROP INDEX nothing");
    let problems = verify(good.source(), Rows::None, None).await.migrations.remove(2).problems;
    assert!(problems[0].contains("down.sql line 1") && problems[0].contains("does not exist"), "{problems:?}");

    // The second time the column is there already, elsewhere: by its type it differs.
    let up = "ALTER TABLE one ADD COLUMN IF NOT EXISTS more int; COMMENT ON TABLE two IS 'Two.'";
    good.write(THREE, "up.sql", up);
    good.write(THREE, "down.sql", "ALTER TABLE one ALTER COLUMN more TYPE text; COMMENT ON TABLE two IS NULL");
    let problems = verify(good.source(), Rows::None, None).await.migrations.remove(2).problems;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[1].contains("up.sql does not make the same again"), "{problems:?}");
    assert!(problems[1].contains("+ column one more text"), "{problems:?}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_survive_are_told(good: Folder) {
    let rows = || Rows::Sql("INSERT INTO one VALUES (1, 'a'), (2, 'b'); INSERT INTO two VALUES (1)".into());
    let lost = verify(good.source(), rows(), None).await.migrations.into_iter().map(|one| one.rows);
    assert_eq!(
        lost.collect::<Vec<_>>(),
        [
            // The second's way down had emptied it.
            None,
            Some(vec!["one: 3 rows, 1 afterwards".to_owned(), "two: its 1 rows go with the table".to_owned()]),
            Some(vec![])
        ]
    );
    // One that works on empty tables, and not on these.
    good.add(
        "2026-01-04-000000_four",
        "ALTER TABLE one ADD CHECK (id > 1)",
        "ALTER TABLE one DROP CONSTRAINT one_id_check",
    );
    let lenient = Rows::Sql("ALTER TABLE one DROP CONSTRAINT one_id_check; INSERT INTO one VALUES (1, 'a'); ALTER TABLE one ADD CONSTRAINT one_id_check CHECK (id > 1) NOT VALID".into());
    let problems = verify(good.source(), lenient, None).await.migrations.remove(3).problems;
    assert!(
        problems[0].starts_with("with rows in the tables: ") && problems[0].contains("is violated"),
        "{problems:?}"
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_release_is_a_starting_point_too(good: Folder) {
    let release = Folder::new(&[(ONE, "CREATE TABLE one (id int PRIMARY KEY, word text)", "DROP TABLE one")]);
    let problems = |verification: Verification| {
        verification.migrations.into_iter().flat_map(|one| one.problems).collect::<Vec<_>>()
    };
    assert_eq!(problems(verify(good.source(), Rows::None, Some(release.source())).await), Vec::<String>::new());
    // What was released was edited since: a fresh database does not show it.
    release.write(ONE, "up.sql", "CREATE TABLE one (id bigint PRIMARY KEY, word text)");
    let edited = problems(verify(good.source(), Rows::None, Some(release.source())).await);
    assert!(edited.len() == 1 && edited[0].contains("its up.sql was changed after it was applied"), "{edited:?}");
    // The same where nothing is new: nothing runs that would tell by itself.
    good.remove(TWO);
    good.remove(THREE);
    let edited = problems(verify(good.source(), Rows::None, Some(release.source())).await);
    assert!(edited.len() == 1 && edited[0].contains("its up.sql was changed after it was applied"), "{edited:?}");
}

/// Whatever happens, no scratch database stays; the exit code tells.
#[rstest]
#[case::good("SELECT 1", 0)]
#[case::does_not_come_back("CREATE TABLE left_over (id int)", 5)]
#[case::fails("nonsense", 5)]
#[tokio::test(flavor = "multi_thread")]
async fn scratch_databases_are_dropped(good: Folder, #[case] up: &str, #[case] code: i32) {
    good.add("2026-01-04-000000_four", up, "SELECT 1");
    let mut bedplate = std::process::Command::new(env!("CARGO_BIN_EXE_bedplate"));
    bedplate.args(["migrate", "verify", "--dir"]).arg(good.path()).args(["--url", server().owner.reveal()]);
    let child = bedplate.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stdout));
    let left = format!("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'bedplate_scratch_{pid}_')");
    assert_eq!(number(&mut connection(&server().owner).await, &left).await, 0);
}

/// A login without CREATEDB is told what to do.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_make_databases_the_way_out_is_told(#[future(awt)] empty_db: DatabaseUrl, good: Folder) {
    let app = server().app.with_database(empty_db.database()).unwrap();
    let what = Verify { source: good.source(), rows: Rows::None, release: None, diesel_config: None };
    let error = migrate::verify(&app, &what, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("give --scratch the URL"), "{error}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_diesel_config_that_cannot_be_read_is_told(good: Folder) {
    let nowhere = Path::new("nowhere/diesel.toml").to_owned();
    let what = Verify { source: good.source(), rows: Rows::None, release: None, diesel_config: Some(nowhere) };
    assert!(
        migrate::verify(&server().owner, &what, |_| {}).await.unwrap_err().to_string().contains("nowhere/diesel.toml")
    );
}

/// Our schema.rs is fresh, and a stale one is told, where the diesel CLI is installed.
#[rstest]
#[ignore = "needs the diesel CLI; scripts/diesel-cli installs it and runs this"]
#[tokio::test(flavor = "multi_thread")]
async fn diesel_cli_says_whether_schema_rs_is_fresh() {
    // Its roles: a proof makes none.
    let _applied = migrated(DatabaseName::Main).await;
    let fresh = async |config: &Path| {
        let what = Verify {
            source: Source::Embedded(DatabaseName::Main),
            rows: Rows::None,
            release: None,
            diesel_config: Some(config.to_owned()),
        };
        migrate::verify(&server().owner, &what, |_| {}).await.unwrap().schema.unwrap()
    };
    assert_eq!(fresh(Path::new("diesel.toml")).await, Freshness::Fresh);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::copy("diesel.toml", folder.path().join("diesel.toml")).unwrap();
    std::fs::write(folder.path().join("src/schema.rs"), "// stale").unwrap();
    let stale = fresh(&folder.path().join("diesel.toml")).await;
    assert!(matches!(&stale, Freshness::Stale { diff } if diff.contains("+// stale")), "{stale:?}");
}
