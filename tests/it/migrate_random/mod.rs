//! Random migrations under random faults: in the end the database is the one that psql makes of the same files.
//!
//! `BEDPLATE_ROUNDS` says how many rounds there are (`scripts/stress-migrations` takes two thousand), `BEDPLATE_SEED`
//! repeats a run: its first round has this seed, each next one has the next number. The folder and the plan of the
//! faults follow from the seed; the moment of a fault depends on the machine too.

mod compare;
mod faults;
mod generate;
mod round;
mod runner;

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::StreamExt as _;
use rand::RngExt as _;

use crate::support::{connection, server};
use round::{Counts, Round};

/// A round waits most of the time.
const SIDE_BY_SIDE: usize = 3;
/// Further failures are only counted.
const TOLD: usize = 3;

/// 1. psql runs the files of a random folder in one database.
/// 2. The runner applies them to another one. It is killed, its connections are cut, and tables are locked.
/// 3. It is started again. Where it says that a statement may have run, a look into the ledger gives the answer.
/// 4. After each step, `status` and `history` say what is in the database.
/// 5. In the end both databases have the same schema, the same rows, and each row of the ledger once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_migrations_under_faults_end_as_psql_makes_them() {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let asked = variable("BEDPLATE_ROUNDS");
    let rounds = asked.unwrap_or(25);
    let seed = variable("BEDPLATE_SEED").unwrap_or_else(|| rand::rng().random::<u32>().into());
    if !compare::programs_are_there().await {
        assert_eq!(asked, None, "psql and pg_dump are not there");
        eprintln!("left out: psql and pg_dump are not there");
        return;
    }
    println!("BEDPLATE_SEED={seed} BEDPLATE_ROUNDS={rounds}");
    make_role().await;
    let started = Instant::now();
    let all = futures_util::stream::iter(0..rounds).map(|n| async move {
        let seed = seed.wrapping_add(n);
        let round = Round::new(seed);
        let told = round.told.clone();
        // A panic of one round is a failure of that round.
        let ended = tokio::spawn(round.run()).await;
        let failed = match ended {
            Ok(Ok(counts)) => return Ok(counts),
            Ok(Err(message)) => message,
            Err(panicked) => format!("it panicked: {panicked}"),
        };
        Err((seed, failed, told))
    });
    let mut all = all.buffer_unordered(SIDE_BY_SIDE);
    let (mut counts, mut failures) = (Counts::default(), BTreeMap::new());
    while let Some(ended) = all.next().await {
        match ended {
            Ok(more) => counts.add(&more),
            Err((seed, message, told)) => {
                if failures.len() < TOLD {
                    println!(
                        "\n== BEDPLATE_SEED={seed} BEDPLATE_ROUNDS=1\n{}\n{message}\n",
                        told.lock().unwrap().join("\n")
                    );
                }
                failures.insert(seed, message);
            }
        }
    }
    println!("{rounds} rounds in {:?}: {counts:?}", started.elapsed());
    for (seed, message) in &failures {
        let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        println!("seed {seed}: {}", line.chars().take(300).collect::<String>());
    }
    assert!(failures.is_empty(), "{} of {rounds} rounds failed, of the run BEDPLATE_SEED={seed}", failures.len());
    counts.saw_something(rounds);
}

/// Side by side, two databases would make it twice.
async fn make_role() {
    let role = generate::ROLE;
    let mut owner = connection(&server::server().owner).await;
    let sql = format!(
        "DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; \
         DO $$ BEGIN IF NOT pg_has_role('{role}', 'MEMBER') THEN GRANT {role} TO CURRENT_USER; END IF; END $$"
    );
    crate::support::execute(&mut owner, &sql).await;
}
