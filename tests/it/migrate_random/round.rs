//! One round: a folder, a plan of faults, and a person who answers what the engine asks.

use std::path::Path;
use std::sync::{Arc, Mutex};

use diesel_async::AsyncPgConnection;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::compare;
use super::faults::{Fault, Struck, harness, quiet};
use super::generate::{self, Proof, Random, Step};
use super::runner::Runner;
use crate::support::{connection, empty_db, execute, number, server, texts};

/// After the faults, each refusal is answered; this many starts have to be enough.
const STARTS: usize = 16;

/// What happened, over all rounds.
#[derive(Debug, Default)]
pub struct Counts {
    kills: usize,
    cuts: usize,
    locks: usize,
    looks: usize,
    half_applied: usize,
    may_have_run: usize,
    half_run: usize,
    by_hand: usize,
}

impl Counts {
    pub fn add(&mut self, more: &Self) {
        self.kills += more.kills;
        self.cuts += more.cuts;
        self.locks += more.locks;
        self.looks += more.looks;
        self.half_applied += more.half_applied;
        self.may_have_run += more.may_have_run;
        self.half_run += more.half_run;
        self.by_hand += more.by_hand;
    }

    /// A run in which nothing happens proves nothing.
    pub fn saw_something(&self, rounds: u64) {
        assert!(self.looks > 0, "status was never looked at");
        if rounds >= 20 {
            assert!(self.kills > 0 && self.cuts > 0 && self.locks > 0 && self.half_applied > 0, "{self:?}");
        }
    }
}

/// Whether a statement is in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    Yes,
    No,
    /// A procedure that ended its transaction was cut in the middle.
    Half,
    /// It leaves nothing to see.
    Unknown,
}

/// One round.
pub struct Round {
    random: StdRng,
    migrations: Vec<Random>,
    counts: Counts,
    /// The steps taken, for the report.
    pub told: Arc<Mutex<Vec<String>>>,
}

impl Round {
    pub fn new(seed: u64) -> Self {
        let migrations = generate::folder(seed);
        // Not the generator's: an edit of a template must not move the faults.
        let random = StdRng::seed_from_u64(seed ^ 0xfa17);
        Self { random, migrations, counts: Counts::default(), told: Arc::default() }
    }

    fn tell(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
    }

    /// Keeps the folder and both databases where it fails.
    pub async fn run(mut self) -> Result<Counts, String> {
        let home = tempfile::Builder::new().prefix("bedplate-random-").tempdir().unwrap().keep();
        let folder = home.join("migrations");
        self.write(&folder);
        let (engine, psql) = (empty_db().await, empty_db().await);
        self.tell(format!("{}, databases {} and {}", folder.display(), engine.database(), psql.database()));
        for url in [&engine, &psql] {
            execute(&mut connection(url).await, generate::SETUP).await;
        }
        compare::psql_all(&psql, &folder, &self.migrations).await.map_err(|error| format!("the generator: {error}"))?;
        let runner = Runner::new(&folder, &home, &engine);
        let mut watcher = harness(&engine).await;
        self.apply(&runner, &mut watcher).await?;
        compare::difference(&engine, &psql).await?;
        let left = compare::left_indexes(&mut watcher).await;
        if !left.is_empty() {
            return Err(format!("indexes are left: {left:?}"));
        }
        drop(watcher);
        std::fs::remove_dir_all(&home).unwrap();
        let mut owner = connection(&server::server().owner).await;
        for url in [&engine, &psql] {
            execute(&mut owner, &format!("DROP DATABASE {} WITH (FORCE)", url.database())).await;
        }
        Ok(self.counts)
    }

    fn write(&self, folder: &Path) {
        for migration in &self.migrations {
            let home = folder.join(&migration.name);
            std::fs::create_dir_all(&home).unwrap();
            let metadata = format!("run_in_transaction = {}\n", !migration.bare);
            for (file, text) in
                [("up.sql", migration.sql()), ("down.sql", "SELECT 1;\n".into()), ("metadata.toml", metadata)]
            {
                std::fs::write(home.join(file), text).unwrap();
            }
            self.tell(format!(
                "-- {}{}\n{}",
                migration.name,
                if migration.bare { ", bare" } else { "" },
                migration.sql()
            ));
        }
    }

    /// Up to the end, through all faults.
    async fn apply(&mut self, runner: &Runner, watcher: &mut AsyncPgConnection) -> Result<(), String> {
        let mut faults = Vec::new();
        for _ in 0..self.random.random_range(1..=4) {
            faults.push(Fault::random(&mut self.random, &self.migrations));
        }
        for _ in 0..STARTS {
            let (mut child, struck) = match faults.pop() {
                Some(fault) => {
                    let (child, struck) = fault.strike(runner, watcher).await;
                    self.tell(format!("{fault:?}: {struck:?}"));
                    (child, struck)
                }
                None => (runner.up(), Struck::Nothing),
            };
            let well = runner.end(&mut child).await?;
            self.tell(format!("`up` ended {}: {}", if well { "well" } else { "badly" }, runner.said().trim()));
            match struck {
                Struck::Nothing => {}
                Struck::Killed => self.counts.kills += 1,
                Struck::Cut => self.counts.cuts += 1,
                Struck::Locked => self.counts.locks += 1,
            }
            // The next runner may also come while the server still works for the one before.
            if struck == Struck::Killed && self.random.random_bool(0.4) {
                continue;
            }
            quiet(watcher).await;
            self.look(runner, watcher, well).await?;
            if well {
                return Ok(());
            }
            if !matches!(struck, Struck::Killed | Struck::Cut) || runner.reason().contains("may have run") {
                self.answer(runner, watcher).await?;
            }
        }
        Err(format!("it was started {STARTS} times; the last time it said: {}", runner.reason()))
    }

    /// Compares what `status` and `history` say with what is in the database.
    async fn look(&mut self, runner: &Runner, watcher: &mut AsyncPgConnection, well: bool) -> Result<(), String> {
        self.counts.looks += 1;
        let status = runner.status().await?;
        let names: Vec<_> = self.migrations.iter().map(|migration| migration.name.as_str()).collect();
        if status.iter().map(|(name, _)| name.as_str()).ne(names) {
            return Err(format!("status shows other migrations: {status:?}"));
        }
        let diesels = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('public.__diesel_schema_migrations')";
        let applied = match number(watcher, diesels).await {
            0 => Vec::new(),
            _ => texts(watcher, "SELECT version FROM public.__diesel_schema_migrations").await,
        };
        for (migration, (name, state)) in self.migrations.clone().iter().zip(&status) {
            let is_applied = applied.contains(&migration.version());
            if (state == "applied") != is_applied || (well && !is_applied) {
                return Err(format!("status says that {name} is {state}; Diesel's table has {applied:?}"));
            }
            let mut seen = Vec::with_capacity(migration.steps.len());
            for step in &migration.steps {
                seen.push(ran(watcher, step).await);
            }
            if is_applied {
                if let Some(n) = seen.iter().position(|ran| matches!(ran, Ran::No | Ran::Half)) {
                    return Err(format!("{name} is applied, and its statement {} did not run", n + 1));
                }
                continue;
            }
            self.half_applied_is_told(runner, migration, state, &seen).await?;
        }
        let doubled = texts(watcher, "SELECT step FROM public.ledger GROUP BY step HAVING count(*) > 1").await;
        if doubled.is_empty() { Ok(()) } else { Err(format!("statements ran twice: steps {doubled:?}")) }
    }

    async fn half_applied_is_told(
        &mut self,
        runner: &Runner,
        migration: &Random,
        state: &str,
        seen: &[Ran],
    ) -> Result<(), String> {
        let name = &migration.name;
        let some = seen.iter().any(|ran| matches!(ran, Ran::Yes | Ran::Half));
        if !migration.bare && some {
            return Err(format!("{name} is a transaction, and a part of it is there: {seen:?}"));
        }
        match (some, state) {
            (true, "interrupted") => self.counts.half_applied += 1,
            (false, "pending" | "interrupted") => {}
            _ => return Err(format!("status says that {name} is {state}; what ran: {seen:?}")),
        }
        let done = runner.statements_done(&migration.version()).await?.unwrap_or(0);
        if let Some(n) = seen.iter().take(done).position(|ran| matches!(ran, Ran::No | Ran::Half)) {
            return Err(format!("history says {done} of {name}; statement {} did not run", n + 1));
        }
        let end = migration.end_of_unit(done);
        if let Some(n) = seen.iter().skip(end).position(|ran| matches!(ran, Ran::Yes | Ran::Half)) {
            return Err(format!("history says {done} of {name}; statement {} ran already", end + n + 1));
        }
        let open = migration.steps.iter().zip(seen).take(end).skip(done);
        let mut unrecorded = open.filter(|(step, ran)| step.recorded_with && matches!(ran, Ran::Yes | Ran::Half));
        match unrecorded.next() {
            Some((step, _)) => {
                Err(format!("history says {done} of {name}; it has no record that this ran: {}", step.sql))
            }
            None => Ok(()),
        }
    }

    /// What a person does about a refusal: looks, mends, tells.
    async fn answer(&mut self, runner: &Runner, watcher: &mut AsyncPgConnection) -> Result<(), String> {
        let said = runner.reason();
        let status = runner.status().await?;
        let open = status.iter().position(|(_, state)| state != "applied");
        let Some(migration) = open.map(|n| self.migrations[n].clone()) else {
            return Err(format!("`up` failed, and nothing is open: {said}"));
        };
        let done = runner.statements_done(&migration.version()).await?.unwrap_or(0);
        let step = migration.steps.get(done);
        let partition = step.and_then(|step| step.detaches.as_deref());
        if let (Some(partition), true) = (partition, said.contains("pending detach") || said.contains("may have run")) {
            finish_detaching(watcher, partition).await;
        }
        if said.contains("may have run") {
            let step = step.ok_or_else(|| format!("no statement of {} is open: {said}", migration.name))?;
            if !said.contains(&excerpt(&step.sql, 30)) {
                return Err(format!("the refusal does not name {}: {said}", step.sql));
            }
            self.counts.may_have_run += 1;
            let answer = self.truth(watcher, step).await;
            self.tell(format!("the answer is {answer}"));
            return runner.repair(answer, &migration.name).await;
        }
        if partition.is_some() && said.contains("pending detach") {
            return runner.repair("--ran", &migration.name).await;
        }
        // A refusal to go on without the session names the statement that has to be repeated.
        let session = migration.steps.iter().take(done).filter(|step| step.of_session);
        let named = session.map(|step| excerpt(&step.sql, 15)).any(|excerpt| said.contains(&excerpt));
        if said.contains("repeat") && named {
            return self.finish_by_hand(runner, &migration, done).await;
        }
        Err(format!("`up` failed although nothing was in its way: {said}"))
    }

    /// `--ran` or `--not-run`. What ran by half is finished first.
    async fn truth(&mut self, watcher: &mut AsyncPgConnection, step: &Step) -> &'static str {
        match ran(watcher, step).await {
            Ran::Yes => "--ran",
            Ran::No => "--not-run",
            Ran::Half => {
                self.counts.half_run += 1;
                if let Proof::Ledger(steps) = &step.proof {
                    for step in steps {
                        let missing = format!(
                            "INSERT INTO public.ledger (step) SELECT {step} \
                              WHERE NOT EXISTS (SELECT FROM public.ledger WHERE step = {step})"
                        );
                        execute(watcher, &missing).await;
                    }
                }
                "--ran"
            }
            // A batch goes on, a rebuilt index is built once more: both are right to send again, and only that is
            // where something is left to do.
            Ran::Unknown if step.sql.contains("batch") || step.sql.starts_with("REINDEX") => "--not-run",
            Ran::Unknown => ["--ran", "--not-run"][self.random.random_range(0..2)],
        }
    }

    /// The session cannot come back, because a part of it is an effect: what is left is done by psql, with what the
    /// session needs before it.
    async fn finish_by_hand(&mut self, runner: &Runner, migration: &Random, done: usize) -> Result<(), String> {
        self.counts.by_hand += 1;
        let mut sql = Vec::new();
        for step in migration.steps.iter().take(done).filter(|step| step.of_session) {
            match &step.proof {
                // What a DO set, without its other effect.
                Proof::Ledger(steps) => sql.push(format!("SELECT set_config('app.x', 'v{}', false)", steps[0])),
                _ => sql.push(step.sql.clone()),
            }
        }
        sql.extend(migration.steps.iter().skip(done).map(|step| step.sql.clone()));
        let rest = runner.folder.with_file_name("rest.sql");
        std::fs::write(&rest, format!("{};\n", sql.join(";\n"))).unwrap();
        self.tell(format!("by hand: {}", sql.join("; ")));
        compare::psql(&runner.url, &rest, false).await?;
        runner.repair("--accept", &migration.name).await
    }
}

/// The beginning of a statement, in one line.
fn excerpt(sql: &str, characters: usize) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(characters).collect()
}

async fn ran(watcher: &mut AsyncPgConnection, step: &Step) -> Ran {
    match &step.proof {
        Proof::Nothing => Ran::Unknown,
        Proof::Holds(condition) => {
            if number(watcher, &format!("SELECT ({condition})::int")).await > 0 {
                Ran::Yes
            } else {
                Ran::No
            }
        }
        Proof::Ledger(steps) => {
            let list = steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let found =
                number(watcher, &format!("SELECT count(DISTINCT step) FROM public.ledger WHERE step IN ({list})"))
                    .await;
            match usize::try_from(found).unwrap() {
                0 => Ran::No,
                all if all == steps.len() => Ran::Yes,
                _ => Ran::Half,
            }
        }
    }
}

/// A DETACH … CONCURRENTLY that was cut between its two transactions is finished by another statement.
async fn finish_detaching(watcher: &mut AsyncPgConnection, partition: &str) {
    let pending = format!(
        "SELECT count(*) FROM pg_inherits WHERE inhrelid = 'public.{partition}'::regclass AND inhdetachpending"
    );
    if number(watcher, &pending).await > 0 {
        execute(watcher, &format!("ALTER TABLE public.parts DETACH PARTITION public.{partition} FINALIZE")).await;
    }
}
