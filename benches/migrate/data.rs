//! Migrations with much data: a backfill of a million rows, and a file of 20 MB.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Event, Source};
use bedplate::{DatabaseUrl, Error};
use diesel_async::SimpleAsyncConnection as _;

use crate::folders::Folder;
use crate::process::run_watched;
use crate::table::{Measured, compare};
use crate::{Bench, failed, io};

const ROWS: u32 = 1_000_000;
const UPDATE: &str = "UPDATE people SET display_name = name WHERE display_name IS NULL";
const LARGE: usize = 20_000_000;

/// In batches and in one piece; as the owner of a plain table, and as `bedplate_system` under row-level security.
pub(crate) async fn backfill(bench: &Bench) -> Result<(), Error> {
    let first = bench.database("plain", "template0").await?;
    // Makes the roles.
    migrate::run(&first, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await?;
    let mut owner = bedplate::database::connect(&first).await?;
    owner
        .batch_execute(&format!(
            "CREATE TABLE people (tenant_id uuid, id bigint, name text NOT NULL, display_name text, \
                 about text NOT NULL, PRIMARY KEY (tenant_id, id)); \
             INSERT INTO people SELECT md5((n % 100)::text)::uuid, n, 'User ' || n, NULL, repeat('about ', 10) \
               FROM generate_series(1, {ROWS}) AS n"
        ))
        .await?;
    owner.batch_execute("VACUUM (FREEZE, ANALYZE) people").await?;
    drop(owner);
    let tenants = bench.database("tenants", "plain").await?;
    let mut owner = bedplate::database::connect(&tenants).await?;
    owner
        .batch_execute(
            "ALTER TABLE people ENABLE ROW LEVEL SECURITY; ALTER TABLE people FORCE ROW LEVEL SECURITY; \
             CREATE POLICY tenant ON people TO bedplate_app \
                 USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant())); \
             CREATE POLICY system ON people TO bedplate_system \
                 USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system'); \
             GRANT SELECT, UPDATE ON people TO bedplate_system",
        )
        .await?;
    drop(owner);
    for (template, role) in [("plain", ""), ("tenants", "SET ROLE bedplate_system;\n")] {
        let up = format!("{role}{UPDATE} /* batch */;\nRESET ROLE;\n");
        let folder = bench.folder(&format!("backfill_{template}"), &[up], false)?;
        let sides = bench.with_diesel(&["psql, one UPDATE", "bedplate", "migrate::run"]);
        let title = format!("a backfill of {ROWS} rows, {template}");
        compare(&title, bench.rounds.min(3), &sides, async |side| {
            let url = bench.database("backfill", template).await?;
            let measured = match side {
                "bedplate" => run_watched(&mut bench.bedplate(&url, &folder.path))?,
                "migrate::run" => batches(&url, &folder).await?,
                "diesel" => run_watched(&mut bench.diesel(&url, &folder.path))?,
                _ => run_watched(&mut bench.psql(&url, &folder.for_psql))?,
            };
            all_are_filled(&url, role).await?;
            Ok(measured)
        })
        .await?;
    }
    let steps = plan(&tenants).await?;
    println!("the plan of a batch under row-level security: {steps}");
    // Otherwise each batch would read the whole table.
    if steps.contains("Tid Range Scan") { Ok(()) } else { Err(failed("a batch reads more than its own blocks")) }
}

/// The runner tells where it is after each batch.
async fn batches(url: &DatabaseUrl, folder: &Folder) -> Result<Measured, Error> {
    let (source, started) = (folder.source(), Instant::now());
    let (mut last, mut longest) = (started, Duration::ZERO);
    let done = migrate::run(url, &source, Direction::Up, |event| {
        if matches!(event, Event::Working { how } if how.contains(" rows, ")) {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
    });
    done.await?;
    Ok(Measured { took: started.elapsed(), peak: None, longest: Some(longest) })
}

async fn all_are_filled(url: &DatabaseUrl, role: &str) -> Result<(), Error> {
    let filled = first_column(url, &format!("{role}SELECT count(display_name) FROM people")).await?;
    if filled == [ROWS.to_string()] { Ok(()) } else { Err(failed(&format!("{filled:?} rows are filled"))) }
}

/// How the rows of a batch are found.
async fn plan(url: &DatabaseUrl) -> Result<String, Error> {
    let range = "people.ctid >= '(128,0)'::tid AND people.ctid < '(256,0)'::tid";
    let explain = format!("SET ROLE bedplate_system; EXPLAIN (COSTS OFF) {UPDATE} AND {range}");
    let lines = first_column(url, &explain).await?;
    Ok(lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" / "))
}

async fn first_column(url: &DatabaseUrl, sql: &str) -> Result<Vec<String>, Error> {
    let wrong = |error: tokio_postgres::Error| failed(&error.to_string());
    let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.map_err(wrong)?;
    tokio::spawn(connection);
    let answers = client.simple_query(sql).await.map_err(wrong)?;
    let texts = answers.iter().filter_map(|answer| match answer {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(texts.collect())
}

/// With a statement a row, and with thousands of rows a statement, as dumps have it.
pub(crate) async fn large(bench: &Bench) -> Result<(), Error> {
    let text = "a note; it''s ".repeat(12);
    for rows in [1, 5000] {
        let mut up = String::from("CREATE TABLE notes (id bigint PRIMARY KEY, text text NOT NULL);\n");
        let mut n = 0;
        while up.len() < LARGE {
            let values: Vec<_> = (n..n + rows).map(|id| format!("({id}, '{text}')")).collect();
            writeln!(up, "INSERT INTO notes VALUES {};", values.join(",\n"))
                .map_err(|error| failed(&error.to_string()))?;
            n += rows;
        }
        let folder = bench.folder(&format!("large_{rows}"), &[up], true)?;
        let sides = bench.with_diesel(&["psql", "bedplate"]);
        let title = format!("a file of 20 MB, {n} rows, {rows} a statement");
        compare(&title, bench.rounds.min(3), &sides, async |side| {
            let url = bench.database("large", "template0").await?;
            run_watched(&mut match side {
                "psql" => bench.psql(&url, &folder.for_psql),
                "bedplate" => bench.bedplate(&url, &folder.path),
                _ => bench.diesel(&url, &folder.path),
            })
        })
        .await?;
        std::fs::remove_dir_all(&folder.path).map_err(io)?;
    }
    Ok(())
}
