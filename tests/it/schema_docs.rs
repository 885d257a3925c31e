//! The documentation from the catalogue: it is fresh, whole, and shows every text as it is.

use std::collections::BTreeSet;
use std::path::Path;

use bedplate::DatabaseUrl;
use bedplate::database::DatabaseName;
use bedplate::database::schema_docs::{self, Detail, Schema, domain};
use rstest::rstest;

use crate::cli::{bedplate, error, out};
use crate::support::database::migrated;
use crate::support::{TestDatabase, connection, db, empty_db, execute, texts};

const TABLES: &str = "SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace \
    AND relkind IN ('r', 'p') AND NOT relispartition AND NOT starts_with(relname, '__')";

async fn read(db: &TestDatabase) -> Schema {
    schema_docs::read(&db.url).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn the_files_in_docs_are_fresh() {
    let mut schemas = Vec::new();
    for name in DatabaseName::ALL {
        schemas.push((name.as_str(), read(&migrated(*name).await).await));
    }
    let schemas: Vec<_> = schemas.iter().map(|(name, schema)| (*name, schema)).collect();
    let files = schema_docs::render(&schemas);
    assert_eq!(files.len(), 10);
    for file in files {
        let there = std::fs::read_to_string(Path::new("docs").join(&file.path)).unwrap_or_default();
        assert!(there == file.content, "docs/{} is not fresh: run `cargo db schema docs`", file.path);
    }
}

/// `table.column` of each row in the first grid below each heading of a table.
fn columns_of_page(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for section in page.split("\n### ").skip(1) {
        let table = section.lines().next().unwrap();
        let grid = section.split("| column | type |").nth(1).unwrap().lines().skip(2);
        let rows = grid.take_while(|line| line.starts_with('|'));
        found.extend(rows.map(|row| format!("{table}.{}", row.split('|').nth(1).unwrap().trim())));
    }
    found
}

#[rstest]
#[tokio::test]
async fn the_page_has_every_table_and_column(#[future(awt)] db: TestDatabase) {
    let page = read(&db).await.markdown("main");
    let mut owner = connection(&db.url).await;
    let mut names = async |sql: String| -> BTreeSet<String> { texts(&mut owner, &sql).await.into_iter().collect() };
    let columns = names(format!(
        "SELECT relname || '.' || attname FROM ({TABLES}) AS t \
           JOIN pg_attribute ON attrelid = t.oid AND attnum > 0 AND NOT attisdropped"
    ))
    .await;
    assert!(columns.len() > 100);
    assert_eq!(columns_of_page(&page), columns);
    // Everything else that has a name of its own.
    for (least, named) in [
        (50, format!("SELECT indexrelid::regclass FROM pg_index JOIN ({TABLES}) AS t ON t.oid = indrelid")),
        (
            50,
            format!("SELECT conname FROM pg_constraint JOIN ({TABLES}) AS t ON t.oid = conrelid WHERE contype <> 'n'"),
        ),
        (2, "SELECT DISTINCT polname FROM pg_policy".into()),
        (
            4,
            format!(
                "SELECT DISTINCT tgname FROM pg_trigger JOIN ({TABLES}) AS t ON t.oid = tgrelid WHERE NOT tgisinternal"
            ),
        ),
    ] {
        let named = names(named).await;
        assert!(named.len() >= least, "{named:?}");
        let missing: Vec<_> = named.iter().filter(|name| !page.contains(&format!("\n| {name} | "))).collect();
        assert_eq!(missing, Vec::<&String>::new());
    }
}

#[rstest]
#[case(DatabaseName::Main, 13)]
#[case(DatabaseName::Rfq, 3)]
#[case(DatabaseName::Marketdata, 3)]
#[tokio::test]
async fn every_table_has_a_domain(#[case] name: DatabaseName, #[case] least: usize) {
    let db = migrated(name).await;
    let tables = texts(&mut connection(&db.url).await, &format!("SELECT relname FROM ({TABLES}) AS t")).await;
    assert!(tables.len() >= least);
    let without: Vec<_> = tables.iter().filter(|table| domain(table) == "other").collect();
    assert_eq!(without, Vec::<&String>::new(), "they get their place in src/database/schema_docs/domains.rs");
}

/// What differs from one database to the next is not in it: the owner's name, the database's, how many partitions
/// there are, what the engine keeps for itself.
#[rstest]
#[tokio::test]
async fn the_same_schema_gives_the_same_bytes(#[future(awt)] db: TestDatabase) {
    let before = read(&db).await;
    let pages = schema_docs::render(&[("main", &before)]);
    execute(
        &mut connection(&db.url).await,
        "SELECT create_audit_partition('2031-05-01'); CREATE TABLE __bedplate_test (id int); \
         INSERT INTO sessions VALUES ('s', '{}', now())",
    )
    .await;
    let after = read(&db).await;
    assert_eq!(schema_docs::render(&[("main", &after)]), pages);
    let audit_log = after.tables.iter().find(|table| table.name == "audit_log").unwrap();
    assert_eq!(audit_log.partitioned_by.as_deref(), Some("RANGE (created_at), one a month"));
    for file in pages {
        for secret in [db.url.user(), db.url.database(), "audit_log_2", "__diesel"] {
            assert!(!file.content.contains(secret), "{secret} is in {}", file.path);
        }
    }
}

/// Texts that Markdown, XML and Mermaid would take for something else.
#[rstest]
#[tokio::test]
async fn any_text_is_shown_as_it_is(#[future(awt)] empty_db: DatabaseUrl) {
    execute(
        &mut connection(&empty_db).await,
        "CREATE TABLE \"odd | <name>\" (\"a|b\" numeric(20,4) DEFAULT 1, \"c\"\"d\" text[] CHECK (\"c\"\"d\" <> '{`}'), \
             id int PRIMARY KEY REFERENCES \"odd | <name>\"); \
         CREATE TRIGGER \"odd ON name\" BEFORE UPDATE ON \"odd | <name>\" FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); \
         COMMENT ON TABLE \"odd | <name>\" IS E'first | cell\\n\\n# no heading <script> `code` *bold* ]]> & \\x01'; \
         COMMENT ON COLUMN \"odd | <name>\".\"a|b\" IS E'| --- |\\n| x |'",
    )
    .await;
    let schema = schema_docs::read(&empty_db).await.unwrap();
    let page = schema.markdown("main");
    assert!(page.contains("\n### odd \\| &lt;name&gt;\n\nfirst \\| cell \\# no heading &lt;script&gt; \\`code\\` \\*bold\\* \\]\\]&gt; &amp;"));
    assert!(page.contains("| a\\|b | `numeric(20,4)` |  | yes | `1` | \\| --- \\| \\| x \\| |"), "{page}");
    assert!(page.contains("| odd ON name | BEFORE UPDATE | "), "{page}");
    assert!(page.contains("<> '{`}'::text[]") && page.contains("`` CHECK"), "{page}");
    for grid in page.split("\n\n").filter(|part| part.starts_with('|')) {
        let cells: BTreeSet<_> = grid.lines().map(|line| line.replace("\\|", "").matches('|').count()).collect();
        assert_eq!(cells.len(), 1, "{grid}");
    }
    let svg = schema.svg("main", Detail::Columns);
    let picture = roxmltree::Document::parse(&svg).unwrap();
    let title = picture.descendants().filter_map(|node| node.text()).find(|text| text.contains("first"));
    assert_eq!(title, Some("odd | <name>: first | cell\n\n# no heading <script> `code` *bold* ]]> & "));
    assert_eq!(
        schema.mermaid(),
        "erDiagram\n    \"odd | <name>\" ||--o| \"odd | <name>\" : id\n    \"odd | <name>\" {\n        numeric a_b\n        \
         text[] c_d\n        integer id PK, FK\n    }\n"
    );
}

/// As drawn: boxes lie apart, and no line is inside of one.
#[rstest]
#[case(Detail::Columns)]
#[case(Detail::Keys)]
#[tokio::test]
async fn the_picture_is_clear(#[case] detail: Detail, #[future(awt)] db: TestDatabase) {
    let schema = read(&db).await;
    let svg = schema.svg("main", detail);
    let picture = roxmltree::Document::parse(&svg).unwrap();
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| -> i64 { node.attribute(name).unwrap().parse().unwrap() };
    let of_class =
        |class: &str| picture.descendants().filter(|node| node.attribute("class") == Some(class)).collect::<Vec<_>>();
    let boxes: Vec<_> = of_class("box")
        .iter()
        .map(|node| (number(node, "x"), number(node, "y"), number(node, "width"), number(node, "height")))
        .collect();
    assert_eq!(boxes.len(), schema.tables.len());
    for (n, a) in boxes.iter().enumerate() {
        for b in &boxes[..n] {
            assert!(a.0 >= b.0 + b.2 || b.0 >= a.0 + a.2 || a.1 >= b.1 + b.3 || b.1 >= a.1 + a.3, "{a:?} {b:?}");
        }
    }
    // Also the crow's feet: they stand before the boxes.
    let mut seen = 0;
    for path in picture.descendants().filter(|node| node.attribute("class").is_some_and(|c| c.starts_with("edge"))) {
        let points: Vec<i64> = path
            .attribute("d")
            .unwrap()
            .split(|c: char| !c.is_ascii_digit())
            .filter(|number| !number.is_empty())
            .map(|number| number.parse().unwrap())
            .collect();
        if path.attribute("d").unwrap().contains('V') || path.attribute("class").unwrap().contains("sample") {
            continue;
        }
        seen += 1;
        let points: Vec<_> = points.chunks(2).map(|point| (point[0], point[1])).collect();
        for pair in points.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let hit = boxes.iter().find(|(x, y, width, height)| {
                a.0.min(b.0) < x + width && a.0.max(b.0) > *x && a.1.min(b.1) < y + height && a.1.max(b.1) > *y
            });
            assert_eq!(hit, None, "{a:?} to {b:?}");
        }
    }
    assert!(seen >= 13, "only {seen} edges were seen");
    for table in &schema.tables {
        let title = format!("{}: {}", table.name, table.comment);
        assert!(picture.descendants().any(|node| node.has_tag_name("title") && node.text() == Some(&title)), "{title}");
    }
    let legend = "Every table with a tenant_id refers to tenants too: drawn only where it has no other foreign key.";
    assert!(svg.contains(legend));
}

/// Written once, fresh then, and told by its exit code where it is not.
#[rstest]
#[tokio::test]
async fn the_command_writes_and_checks(#[future(awt)] db: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let arguments = [&["schema", "docs"], arguments].concat();
        bedplate(folder.path(), &[("DATABASE_URL", db.url.reveal()), ("BEDPLATE_DATABASES", "main")], &arguments)
    };
    let missing = run(&["--check"]);
    assert_eq!(error(&missing, 5), "error: 4 found: run `bedplate schema docs`");
    assert!(out(&missing).starts_with("docs/schema.md: not fresh\n"), "{}", out(&missing));
    assert!(!folder.path().join("docs").exists(), "a check writes nothing");

    assert!(out(&run(&[])).starts_with("docs/schema.md: written\ndocs/schema/main.md: written\n"));
    assert_eq!(out(&run(&["--check"])), "docs: 4 files, all fresh.\n");
    assert_eq!(out(&run(&[])), "docs: 4 files, all fresh.\n");

    std::fs::write(folder.path().join("docs/schema/main.md"), "by hand").unwrap();
    let stale = run(&["--check", "--json"]);
    error(&stale, 5);
    let json: serde_json::Value = serde_json::from_slice(&stale.stdout).unwrap();
    assert_eq!(json, serde_json::json!({ "files": 4, "stale": ["docs/schema/main.md"] }));
    assert_eq!(out(&run(&["--json"])), "{\"files\":4,\"written\":[\"docs/schema/main.md\"]}\n");
    execute(&mut connection(&db.url).await, "COMMENT ON TABLE users IS 'Somebody else.'").await;
    error(&run(&["--check"]), 5);
    assert!(out(&run(&["--out", "elsewhere"])).contains("elsewhere/schema/main-overview.svg: written"));
}

#[rstest]
#[tokio::test]
async fn what_the_command_cannot_do_it_says(#[future(awt)] empty_db: DatabaseUrl) {
    let folder = tempfile::tempdir().unwrap();
    let env = [("DATABASE_URL", empty_db.reveal()), ("BEDPLATE_DATABASES", "main")];
    let run = |arguments: &[&str]| bedplate(folder.path(), &env, arguments);
    let pending = error(&run(&["schema", "docs"]), 1);
    assert!(
        pending.ends_with(
            "migrations of main are pending: run `bedplate migrate --all`, and write the documentation then"
        ),
        "{pending}"
    );
    assert!(!folder.path().join("docs").exists());
    assert_eq!(run(&["schema"]).status.code(), Some(2));
    assert_eq!(run(&["schema", "docs", "--out"]).status.code(), Some(2));
    run(&["migrate"]);
    std::fs::write(folder.path().join("file"), "").unwrap();
    let no_folder = error(&run(&["schema", "docs", "--out", "file"]), 1);
    assert!(no_folder.starts_with("error: writing file/schema.md: "), "{no_folder}");
}
