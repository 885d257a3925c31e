//! The proof that migrations come back, on a scratch database: for each one up, down equals what was there before, up
//! again equals what was there after; then the same with rows in the tables; then from the state of a release.

use std::path::PathBuf;

use serde::Serialize;

use super::folder::{Migration, Source};
use super::guard::{self, Skipped};
use super::schema_rs::{Freshness, freshness};
use super::scratch::{Scratch, ScratchServer};
use super::script::Script;
use super::session::{Session, from_postgres};
use super::snapshot::{differences, snapshot};
use super::statement::Kind;
use super::{Direction, Event, Options, Watcher, rows};
use crate::database::DatabaseName;
use crate::database::config::Environment;
use crate::database::seed::{self, Set};
use crate::error::{Error, Result};

/// Rows to put into the tables.
#[derive(Debug, Clone)]
pub enum Rows {
    /// None: only the catalogue is looked at.
    None,
    /// The seeds of this database: reference and development.
    Seeds(DatabaseName),
    /// What this SQL inserts.
    Sql(String),
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Verify {
    /// The migrations.
    pub source: Source,
    /// The rows that have to survive.
    pub rows: Rows,
    /// The migrations of the last release: what is later has to work on its state too.
    pub release: Option<Source>,
    /// The diesel CLI's settings, which name the `schema.rs` that has to be fresh.
    pub diesel_config: Option<PathBuf>,
}

/// What was proven.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// One entry a migration, oldest first.
    pub migrations: Vec<Verified>,
    /// Whether `schema.rs` is what the migrations make; `None` where it was not asked for, or they failed.
    pub schema: Option<Freshness>,
}

impl Verification {
    /// How many things are wrong.
    #[must_use]
    pub fn problems(&self) -> usize {
        let stale = matches!(self.schema, Some(Freshness::Stale { .. }));
        self.migrations.iter().map(|one| one.problems.len()).sum::<usize>() + usize::from(stale)
    }
}

/// What became of one migration.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// Its directory's name.
    pub name: String,
    /// Why it does not come back; empty when it does. Each has a heading and, below, the lines of the catalogue that
    /// differ.
    pub problems: Vec<String>,
    /// The statements that were not executed, because they change the server, and so are not proven.
    pub not_measured: Vec<String>,
    /// What an up–down–up does to rows: nothing, or which are lost or changed. `None` where there were no rows.
    pub rows: Option<Vec<String>>,
}

/// Proves it on a scratch database, made on the server of `server` and dropped at the end.
///
/// # Errors
/// [`Error::Forbidden`] where the login may make no database; what keeps the proof from being tried at all. A migration
/// that fails or does not come back is in the answer.
pub async fn verify(
    server: impl Into<ScratchServer>,
    verify: &Verify,
    mut on_event: impl FnMut(Event) + Send,
) -> Result<Verification> {
    let on_event: Watcher<'_> = &mut on_event;
    let files = verify.source.read()?;
    let server = server.into();
    let proof = Proof { scratch: Scratch::make(&server).await?, source: verify.source.clone() };
    let proven = prove(&proof, &files, verify, on_event).await;
    proof.scratch.end().await;
    let Proven { migrations: mut verified, schema, catalogue: fresh } = proven?;
    if let (Some(release), true) = (&verify.release, verified.iter().all(|one| one.problems.is_empty())) {
        let proof = Proof { scratch: Scratch::make(&server).await?, source: verify.source.clone() };
        let proven = from_release(&proof, &files, release, &fresh, &mut verified, on_event).await;
        proof.scratch.end().await;
        proven?;
    }
    Ok(Verification { migrations: verified, schema })
}

/// Of the first database.
struct Proven {
    migrations: Vec<Verified>,
    schema: Option<Freshness>,
    /// With all migrations.
    catalogue: Vec<String>,
}

struct Proof {
    scratch: Scratch,
    source: Source,
}

impl Proof {
    async fn step(&self, direction: Direction) -> Result<Vec<String>> {
        self.scratch.run(&self.source, direction).await
    }

    async fn catalogue(&self) -> Result<Vec<String>> {
        snapshot(&Session::open(&self.scratch.url, Options::default().lock_timeout).await?).await
    }

    /// Adds the statements that were not executed since the last call.
    fn add_skipped(&self, verified: &mut Verified) {
        for Skipped { line, statement, reason } in self.scratch.skipped() {
            let skipped = format!("line {line} ({statement}): {reason}");
            if !verified.not_measured.contains(&skipped) {
                verified.not_measured.push(skipped);
            }
        }
    }

    /// Up, down, up: what differs is added to `problems`. Returns the catalogue after it, `None` where it failed on the
    /// way: then what comes later cannot be tried.
    async fn comes_back(
        &self,
        migration: &Migration,
        before: &[String],
        problems: &mut Vec<String>,
    ) -> Result<Option<Vec<String>>> {
        let up = || self.step(Direction::UpTo(migration.version.clone()));
        if let Some(failure) = failed(up().await)? {
            problems.push(failure);
            return Ok(None);
        }
        let after = self.catalogue().await?;
        if let Some(failure) = failed(self.step(Direction::Down { count: 1 }).await)? {
            problems.push(failure);
            return Ok(None);
        }
        let back = differences(before, &self.catalogue().await?);
        if !back.is_empty() {
            problems.push(format!("down.sql does not restore what was there:\n{}", back.join("\n")));
        }
        if let Some(failure) = failed(up().await)? {
            problems.push(format!("again, after down.sql: {failure}"));
            return Ok(None);
        }
        let again = differences(&after, &self.catalogue().await?);
        if !again.is_empty() {
            problems.push(format!("up.sql does not make the same again after down.sql:\n{}", again.join("\n")));
        }
        Ok(Some(after))
    }
}

/// Both proofs on one database, and what it looks like with all migrations.
async fn prove(proof: &Proof, files: &[Migration], verify: &Verify, on_event: Watcher<'_>) -> Result<Proven> {
    let all = files.iter().map(|file| Verified {
        name: file.name.clone(),
        problems: Vec::new(),
        not_measured: Vec::new(),
        rows: None,
    });
    let mut proven = Proven { migrations: all.collect(), schema: None, catalogue: proof.catalogue().await? };
    let of = files.len();
    for (n, file) in files.iter().enumerate() {
        on_event(Event::Started { name: file.name.clone(), number: n + 1, of });
        let after = proof.comes_back(file, &proven.catalogue, &mut proven.migrations[n].problems).await?;
        proof.add_skipped(&mut proven.migrations[n]);
        match after {
            Some(after) => proven.catalogue = after,
            None => return Ok(proven),
        }
    }
    if let Some(config) = &verify.diesel_config {
        proven.schema = Some(freshness(config, &proof.scratch.url)?);
    }
    if proven.migrations.iter().all(|one| one.problems.is_empty()) && put(&verify.rows, &proof.scratch).await? {
        for (n, file) in files.iter().enumerate().rev() {
            on_event(Event::Started { name: format!("{} with rows", file.name), number: of - n, of });
            let survived = survives(proof, file).await;
            proof.add_skipped(&mut proven.migrations[n]);
            match survived {
                Ok(lost) => proven.migrations[n].rows = lost,
                Err(error) => {
                    let failure = failed::<()>(Err(error))?;
                    proven.migrations[n]
                        .problems
                        .extend(failure.map(|said| format!("with rows in the tables: {said}")));
                    break;
                }
            }
        }
    }
    Ok(proven)
}

/// What a migration's failure says, where it failed; everything else ends the proof.
fn failed<T>(outcome: Result<T>) -> Result<Option<String>> {
    match outcome {
        Ok(_) => Ok(None),
        Err(Error::Migration { message, .. }) => Ok(Some(message)),
        Err(Error::Drift { problems }) => {
            Ok(Some(problems.into_iter().map(|p| p.message).collect::<Vec<_>>().join("; ")))
        }
        Err(other) => Err(other),
    }
}

async fn put(rows: &Rows, scratch: &Scratch) -> Result<bool> {
    match rows {
        Rows::None => return Ok(false),
        Rows::Seeds(name) => {
            seed::load(&scratch.url, *name, Environment::Development, &[Set::Reference, Set::Development]).await?;
        }
        Rows::Sql(sql) => insert(sql, scratch).await?,
    }
    Ok(true)
}

/// In one transaction, as a text of several statements is.
async fn insert(sql: &str, scratch: &Scratch) -> Result<()> {
    let session = scratch.session().await?;
    session.run("BEGIN").await?;
    for statement in Script::new("the rows", sql).statements()? {
        if !matches!(statement.kind(), Kind::Begin | Kind::Commit) {
            guard::send(&session, &statement).await.map_err(|error| from_postgres(&error))?;
        }
    }
    session.run("COMMIT").await?;
    match scratch.skipped().first() {
        Some(Skipped { line, statement, reason }) => Err(Error::configuration(format!(
            "the rows, line {line} ({statement}): {reason}, and a dry run does not: leave it out, or use --scratch private"
        ))),
        None => Ok(()),
    }
}

/// The last migration down and up again: what happened to the rows, `None` where there were none any more. Leaves it
/// down.
async fn survives(proof: &Proof, migration: &Migration) -> Result<Option<Vec<String>>> {
    let before = rows::count(&proof.scratch.url).await?;
    proof.step(Direction::Down { count: 1 }).await?;
    let without = rows::count(&proof.scratch.url).await?;
    proof.step(Direction::UpTo(migration.version.clone())).await?;
    let after = rows::count(&proof.scratch.url).await?;
    proof.step(Direction::Down { count: 1 }).await?;
    let fates = before.iter().filter_map(|(table, rows)| rows.fate(table, without.get(table), after.get(table)));
    Ok(before.values().any(|rows| !rows.is_empty()).then(|| fates.collect()))
}

/// From the release's state: what is later applies, comes back, and ends where a fresh database ends.
async fn from_release(
    proof: &Proof,
    files: &[Migration],
    release: &Source,
    fresh: &[String],
    verified: &mut [Verified],
    on_event: Watcher<'_>,
) -> Result<()> {
    on_event(Event::Started { name: "the state of the last release".into(), number: 1, of: 1 });
    let from_there = |problem: &String| format!("from the last release: {problem}");
    proof.scratch.run(release, Direction::Up).await?;
    // The release's own statements belong to no migration that is proven here.
    proof.scratch.skipped();
    let released: Vec<_> = release.read()?.into_iter().map(|file| file.version).collect();
    let mut catalogue = proof.catalogue().await?;
    for (n, file) in files.iter().enumerate().filter(|(_, file)| !released.contains(&file.version)) {
        let mut problems = Vec::new();
        let after = proof.comes_back(file, &catalogue, &mut problems).await?;
        verified[n].problems.extend(problems.iter().map(from_there));
        proof.add_skipped(&mut verified[n]);
        match after {
            Some(after) => catalogue = after,
            None => return Ok(()),
        }
    }
    // Where nothing is new, an edit of what is released is still to be told.
    let edited = failed(proof.step(Direction::Up).await)?;
    let ends = differences(fresh, &catalogue);
    let elsewhere =
        (!ends.is_empty()).then(|| format!("it ends elsewhere than a fresh database:\n{}", ends.join("\n")));
    if let Some(last) = verified.last_mut() {
        last.problems.extend(edited.or(elsewhere).iter().map(from_there));
    }
    Ok(())
}
