//! Many small migrations: a hundred of them, none that is pending, and the project's own.

use std::time::{Duration, Instant};

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::{DatabaseUrl, Error};

use crate::folders::hundred as ups;
use crate::process::run;
use crate::table::{Measured, compare};
use crate::{Bench, failed};

/// One connection is too short to be measured alone.
const CONNECTIONS: u32 = 20;

/// On an empty database.
pub(crate) async fn hundred(bench: &Bench) -> Result<(), Error> {
    let folder = bench.folder("hundred", &ups(), true)?;
    let sides = bench.with_diesel(&["psql", "bedplate", "migrate::run"]);
    compare("100 small migrations on an empty database", bench.rounds, &sides, async |side| {
        let url = bench.database("hundred", "template0").await?;
        match side {
            "psql" => run(&mut bench.psql(&url, &folder.for_psql)),
            "bedplate" => run(&mut bench.bedplate(&url, &folder.path)),
            "diesel" => run(&mut bench.diesel(&url, &folder.path)),
            _ => library(&url, &folder.source()).await,
        }
    })
    .await
}

/// Where all is applied.
pub(crate) async fn nothing(bench: &Bench) -> Result<(), Error> {
    let folder = bench.folder("nothing", &ups(), true)?;
    let url = bench.database("nothing", "template0").await?;
    library(&url, &folder.source()).await?;
    let sides = ["a connection and SELECT 1", "bedplate::database::connect", "migrate::run"];
    let title = format!("nothing pending of 100, {CONNECTIONS} times, in this process");
    compare(&title, bench.rounds, &sides, async |side| {
        let started = Instant::now();
        for _ in 0..CONNECTIONS {
            match side {
                "migrate::run" => drop(library(&url, &folder.source()).await?),
                "bedplate::database::connect" => drop(bedplate::database::connect(&url).await?),
                _ => drop(bare(&url).await.map_err(|error| failed(&error.to_string()))?),
            }
        }
        Ok((started.elapsed() / CONNECTIONS).into())
    })
    .await?;
    let sides = bench.with_diesel(&["psql", "bedplate"]);
    compare("nothing pending of 100, as a process", 3 * bench.rounds, &sides, async |side| {
        run(&mut match side {
            "psql" => bench.psql_select(&url),
            "bedplate" => bench.bedplate(&url, &folder.path),
            _ => bench.diesel(&url, &folder.path),
        })
    })
    .await
}

/// The migrations that are compiled in.
pub(crate) async fn whole(bench: &Bench) -> Result<(), Error> {
    for name in DatabaseName::ALL {
        let source = Source::Embedded(*name);
        let migrations = source.read()?;
        if migrations.is_empty() {
            continue;
        }
        let ups: Vec<_> = migrations
            .iter()
            .map(|migration| migration.up.text().map(std::borrow::Cow::into_owned))
            .collect::<Result<_, _>>()?;
        let file = bench.for_psql(&format!("whole_{name}"), &ups, true)?;
        let title = format!("the {} migrations of {name} on an empty database", ups.len());
        compare(&title, bench.rounds, &["psql", "migrate::run"], async |side| {
            let url = bench.database("whole", "template0").await?;
            if side == "psql" { run(&mut bench.psql(&url, &file)) } else { library(&url, &source).await }
        })
        .await?;
    }
    Ok(())
}

async fn library(url: &DatabaseUrl, source: &Source) -> Result<Measured, Error> {
    let started = Instant::now();
    migrate::run(url, source, Direction::Up, |_| {}).await?;
    Ok(started.elapsed().into())
}

async fn bare(url: &DatabaseUrl) -> Result<Duration, tokio_postgres::Error> {
    let started = Instant::now();
    let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.simple_query("SELECT 1").await?;
    Ok(started.elapsed())
}
