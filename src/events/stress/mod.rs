//! A trial of the event store against a real database: writers that decide and append side by side, subscribers that
//! read, and then a look at the whole history.
//!
//! Two tenants are made for it, and deleted afterwards unless something was wrong. What is looked at:
//! - **lost**: an append that was acknowledged and is not there; an event that a subscription did not get;
//! - **doubled**: an event that had its effect twice;
//! - **violations**: a condition that did not hold when its events got their positions. What a writer had seen is
//!   in its event: the events of lower positions that match its query have to be the same ones. Streams without gaps,
//!   names that were taken once, batches in order, nothing of the other tenant.

mod check;
mod reader;
mod writer;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::database::{Database, TenantContext};
use crate::error::{Error, Result};
use crate::tenancy::{NewTenant, TenantStatus, TenantType};

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Stress {
    /// Writers at a time, 1 to 1,000.
    pub writers: u16,
    /// Workers of subscriptions at a time, 1 to 1,000.
    pub readers: u16,
    /// For how long.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StressReport {
    /// Events that are stored.
    pub appended: u64,
    /// Appends that came up against others, and were decided anew.
    pub conflicts: u64,
    /// Effects of events on subscriptions.
    pub handled: u64,
    /// Appends that were acknowledged and are not there; events that a subscription did not get.
    pub lost: u64,
    /// Events that had an effect twice.
    pub doubled: u64,
    /// Conditions that did not hold, and the like.
    pub violations: u64,
}

impl StressReport {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.violations == 0
    }
}

/// What writers and readers share.
struct Arena {
    database: Database,
    tenants: [TenantContext; 2],
    /// Makes the names of its subscriptions its own.
    run: Uuid,
    over: AtomicBool,
    /// Ids of events whose append was acknowledged.
    acknowledged: Mutex<Vec<Uuid>>,
    appended: AtomicU64,
    conflicts: AtomicU64,
    handled: AtomicU64,
    doubled: AtomicU64,
    violations: AtomicU64,
}

impl Arena {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What was counted on the way.
    fn counted(&self) -> StressReport {
        StressReport {
            conflicts: self.conflicts.load(Ordering::Relaxed),
            handled: self.handled.load(Ordering::Relaxed),
            doubled: self.doubled.load(Ordering::Relaxed),
            violations: self.violations.load(Ordering::Relaxed),
            ..StressReport::default()
        }
    }

    fn count(counter: &AtomicU64, by: usize) {
        counter.fetch_add(by as u64, Ordering::Relaxed);
    }
}

impl Stress {
    /// Runs it, or as much of it as there is time for before `stop`, and looks at what came of it. `progress` is told
    /// the events and the effects so far, every second.
    ///
    /// Goes on when the server is gone and comes back. Where something was wrong, the tenants are kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad number; what the database says at the beginning and at the end.
    pub async fn run(
        self,
        database: &Database,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<StressReport> {
        for (field, number) in [("writers", self.writers), ("readers", self.readers)] {
            if !(1..=1000).contains(&number) {
                return Err(Error::invalid(field, format!("are {number}, allowed are 1 to 1000")));
            }
        }
        let run = Uuid::now_v7();
        let arena = std::sync::Arc::new(Arena {
            database: database.clone(),
            tenants: [tenant(database, run, "a").await?, tenant(database, run, "b").await?],
            run,
            over: AtomicBool::new(false),
            acknowledged: Mutex::default(),
            appended: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            doubled: AtomicU64::new(0),
            violations: AtomicU64::new(0),
        });
        let readers = reader::start(&arena, self.readers).await?;
        let writers: Vec<_> =
            (0..self.writers).map(|number| tokio::spawn(writer::write(arena.clone(), number))).collect();
        let end = tokio::time::Instant::now() + self.duration;
        tokio::pin!(stop);
        while tokio::time::Instant::now() < end {
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep_until(end.min(tokio::time::Instant::now() + Duration::from_secs(1))) => {}
            }
            progress(arena.appended.load(Ordering::Relaxed), arena.handled.load(Ordering::Relaxed));
        }
        arena.over.store(true, Ordering::Relaxed);
        for task in writers {
            task.await.map_err(|error| Error::configuration(format!("a writer ended: {error}")))??;
        }
        readers.finish(&arena).await?;
        let report = check::check(&arena).await?;
        if report.is_clean() {
            clean_up(&arena).await?;
        }
        Ok(report)
    }
}

async fn tenant(database: &Database, run: Uuid, which: &str) -> Result<TenantContext> {
    let slug = format!("stress-{run}-{which}");
    let tenant = database
        .system_tx("events.stress", move |tx| {
            let slug = slug.clone();
            async move {
                let new = NewTenant { slug: &slug, name: "Stress", tenant_type: TenantType::Internal };
                tx.tenants().create(new).await
            }
        })
        .await?;
    Ok(TenantContext::new(tenant.id).correlation(run))
}

async fn clean_up(arena: &Arena) -> Result<()> {
    let tenants = [arena.tenants[0].tenant_id(), arena.tenants[1].tenant_id()];
    let run = arena.run;
    arena
        .database
        .system_tx("events.stress", async move |tx| {
            reader::forget(&tx, run, tenants).await?;
            for tenant in tenants {
                tx.tenants().set_status(tenant, TenantStatus::Closed).await?;
                tx.tenants().delete(tenant).await?;
            }
            Ok(())
        })
        .await
}
