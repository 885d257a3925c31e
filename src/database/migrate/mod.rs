//! The migration engine: Diesel's files and Diesel's table, so that everything the diesel CLI applied is known
//! here and the other way round; and what Diesel has not: one runner at a time, a history with checksums,
//! statements one by one, lock timeouts with another try, a way on after a failure.
//!
//! Always holds: a migration is applied entirely or not at all, or, where its `metadata.toml` says
//! `run_in_transaction = false`, the history knows which of its statements are in the database.
//!
//! | what happens | what the runner does |
//! |---|---|
//! | another runner is at work | waits, says for whom, up to [`Options::wait_for_runner`] |
//! | a statement waits for a lock | gives up after [`Options::lock_timeout`], waits until the holders have ended, tries the migration again, up to [`Options::retry_for`] |
//! | a statement fails | the transaction is rolled back; what was outside of one is recorded, and the next run goes on behind it |
//! | a run goes on in another session | settings and roles are set again; what ended with the session is named |
//! | a statement outside of any transaction is interrupted | the next run looks whether it ran, or asks |
//! | the runner is killed | its session ends, and with it its lock and its transaction |
//! | the files are not what was applied | [`Error::Drift`](crate::Error::Drift), nothing runs |
//!
//! How a migration flows: `folder` reads it, `steps` chooses it, `check` looks through its script once (`script`,
//! `reader`, `statement`), `work` sends it in units (`unit`, `send`, `alone`, `batch`) over a `session`, `record` writes
//! into the history, and `history` reads it. After a failure `patience` waits or ends. `resume` goes on with one that stopped half way, from its `state`.

mod alone;
mod baseline;
mod batch;
mod check;
mod create;
mod drift;
mod folder;
mod guard;
mod history;
pub mod lint;
mod lock;
mod observe;
mod part;
mod patience;
mod plan;
mod reader;
mod record;
mod resume;
mod rows;
mod run;
mod schema_rs;
mod scratch;
mod script;
mod send;
mod server_wide;
mod session;
mod shared;
mod snapshot;
mod state;
mod statement;
mod status;
mod steps;
mod unit;
mod verify;
mod work;

use std::time::Duration;

pub use baseline::{Repair, baseline, repair};
pub(crate) use check::transaction_control;
pub use create::create;
#[cfg(feature = "cli")]
pub(crate) use drift::visible;
pub use drift::{Difference, Problem};
pub use folder::{Metadata, Migration, Source};
pub use history::{Outcome, Run, Way};
pub use plan::{PlannedMigration, PlannedStatement, TableLock, TableWork, plan};
pub use run::{run, run_with};
pub use schema_rs::Freshness;
pub use scratch::ScratchServer;
pub use script::Script;
pub use snapshot::{CatalogueColumn, Comparison, catalogue};
pub use statement::Statement;
pub use status::{MigrationState, MigrationStatus, history, status};
pub use verify::{Rows, Verification, Verified, Verify, verify};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direction {
    /// Apply everything that is pending.
    Up,
    /// Apply what is pending up to this version or name, it included.
    UpTo(String),
    /// Revert the last applied ones of the folder, newest first.
    Down {
        /// The number of migrations.
        count: usize,
    },
    /// Revert what is later than this version or name; it stays.
    DownTo(String),
    /// Revert everything of the folder, newest first.
    DownAll,
    /// Revert these, by version or name, newest first; also those of another folder.
    DownThese(Vec<String>),
    /// Revert the last one and apply it again.
    Redo,
}

/// The patience of a runner, and what it is allowed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The time to wait while another runner is at work.
    pub wait_for_runner: Duration,
    /// The time that a statement waits for a lock, and others behind it. By default the `lock_timeout` of the URL or the
    /// login; where they set none, 100 ms, and up to 2 s after several tries.
    pub lock_timeout: Option<Duration>,
    /// The time for which a migration that got no lock is tried again.
    pub retry_for: Duration,
    /// The pending migrations, by version or name, that may be applied although a later one is.
    pub allow_out_of_order: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wait_for_runner: Duration::from_mins(10),
            lock_timeout: None,
            retry_for: Duration::from_mins(10),
            allow_out_of_order: Vec::new(),
        }
    }
}

/// Who is told what a runner does.
pub(crate) type Watcher<'w> = &'w mut (dyn FnMut(Event) + Send);

/// What a runner is doing, for progress.
#[derive(Debug, Clone)]
pub enum Event {
    /// Another runner is at work.
    Waiting {
        /// Which: process id, address, since when.
        runner: String,
    },
    /// Files and database differ in a way that stops nothing.
    Noticed {
        /// How.
        problem: Problem,
    },
    /// The nth of so many migrations starts.
    Started {
        /// Its directory's name.
        name: String,
        /// 1 for the first.
        number: usize,
        /// How many there are to do.
        of: usize,
    },
    /// A statement of it is sent.
    Statement {
        /// 1 for the first.
        number: usize,
        /// How many the migration has.
        of: usize,
        /// Its beginning, in one line.
        text: String,
    },
    /// A statement is at work for a second or more: how it stands, in words. Told again and again.
    Working {
        /// For example `building index: scanning table, 40 %`.
        how: String,
    },
    /// A lock was not to be had in time; what waited is rolled back, and tried again when the lock was let go.
    Blocked {
        /// The statement that waited, and the session that held the lock.
        by: String,
    },
    /// Something that stops nothing, and that should be known.
    Note {
        /// In words.
        text: String,
    },
    /// It is done.
    Finished {
        /// Its directory's name.
        name: String,
        /// How long it took, all tries together.
        took: Duration,
    },
}
