//! What migrating costs, beside psql with the same SQL, the diesel CLI, and a bare connection.
//!
//! `cargo bench --bench migrate -- [--rounds N] [hundred] [nothing] [whole] [backfill] [large]`; without names, all.
//! On a private server that waits for its disk. What is compared takes turns, so that what the machine does meanwhile
//! meets all; a ratio is the median of the rounds' ratios. The diesel CLI and psql have to be on PATH to be compared.

mod data;
mod folders;
mod process;
mod small;
mod table;

use std::path::PathBuf;

use bedplate::database::private_server::PrivateServer;
use bedplate::{DatabaseUrl, Error};
use diesel_async::SimpleAsyncConnection as _;

const ROUNDS: usize = 7;

/// The server, and what was asked for.
struct Bench {
    owner: DatabaseUrl,
    /// The superuser, who may end an autovacuum.
    admin: DatabaseUrl,
    /// The files of the benchmark; `diesel.toml` is there, so that the diesel CLI looks no further.
    home: PathBuf,
    rounds: usize,
    parts: Vec<String>,
    diesel: bool,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(io)?;
    let server = PrivateServer::at(home.path().join("server"));
    server.start(&mut |_| {}).await?;
    let measured = measure(&server, home.path().join("files")).await;
    server.stop()?;
    measured
}

async fn measure(server: &PrivateServer, home: PathBuf) -> Result<(), Error> {
    std::fs::create_dir(&home).map_err(io)?;
    std::fs::write(home.join("diesel.toml"), "").map_err(io)?;
    let urls = server.urls()?.ok_or_else(|| failed("the server has no URL"))?;
    let mut rounds = ROUNDS;
    let mut parts = Vec::new();
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        if argument == "--rounds" {
            let number = arguments.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
            rounds = number.ok_or_else(|| failed("--rounds takes a number"))?;
        } else {
            parts.push(argument);
        }
    }
    let bench = Bench { owner: urls.owner, admin: urls.admin, home, rounds, parts, diesel: process::has("diesel") };
    if bench.wants("hundred") {
        small::hundred(&bench).await?;
    }
    if bench.wants("nothing") {
        small::nothing(&bench).await?;
    }
    if bench.wants("whole") {
        small::whole(&bench).await?;
    }
    if bench.wants("backfill") {
        data::backfill(&bench).await?;
    }
    if bench.wants("large") {
        data::large(&bench).await?;
    }
    Ok(())
}

impl Bench {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    /// These, and `diesel` where it is installed.
    fn with_diesel(&self, sides: &[&'static str]) -> Vec<&'static str> {
        sides.iter().copied().chain(self.diesel.then_some("diesel")).collect()
    }

    /// A new database, empty or a copy, in place of the one that had the name. Copying and dropping both write a
    /// checkpoint, so that none of an earlier round meets the next.
    async fn database(&self, name: &str, template: &str) -> Result<DatabaseUrl, Error> {
        let mut admin = bedplate::database::connect(&self.admin).await?;
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        let mut owner = bedplate::database::connect(&self.owner).await?;
        owner.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")).await?;
        self.owner.with_database(name)
    }
}

fn io(source: std::io::Error) -> Error {
    Error::Io { doing: "the benchmark".into(), source }
}

fn failed(message: &str) -> Error {
    io(std::io::Error::other(message))
}
