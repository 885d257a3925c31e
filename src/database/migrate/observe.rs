//! What a long statement is doing, asked on a connection beside: how far an index is built, who holds the lock
//! that it waits for, and when that is let go.

use std::time::{Duration, Instant};

use super::session::Session;
use super::{Event, Watcher};
use crate::database::url::DatabaseUrl;

/// Before a statement gives up on a lock: who holds it is only seen while it waits.
const FIRST_LOOK: Duration = Duration::from_millis(40);
/// Before something is told: nobody wants to read about what is quicker.
const FIRST_WORD: Duration = Duration::from_secs(1);
const NEXT_LOOK: Duration = Duration::from_millis(500);
/// Between two looks whether a lock was let go.
const POLL: Duration = Duration::from_millis(25);

/// Looks at the runner's session. Connects when there is something to look at, and stays silent where it cannot.
pub(super) struct Observer {
    url: DatabaseUrl,
    session: Option<Session>,
    pid: i32,
    /// Who held the lock that was waited for, at the last look.
    pub(super) blocked: Option<Blocked>,
}

/// Who holds a lock.
#[derive(Debug, Clone)]
pub(super) struct Blocked {
    /// In words.
    pub(super) by: String,
    /// The transactions that hold it, as `pg_locks` names them.
    holders: Vec<String>,
}

impl Observer {
    pub(super) fn new(url: &DatabaseUrl, pid: i32) -> Self {
        Self { url: url.clone(), session: None, pid, blocked: None }
    }

    /// The same for another session of the runner.
    pub(super) fn turn_to(&mut self, pid: i32) {
        self.pid = pid;
    }

    /// Waits for `work`, and tells every half second how it stands when it takes longer than a second.
    pub(super) async fn watch<T>(&mut self, work: impl Future<Output = T>, on_event: Watcher<'_>) -> T {
        tokio::pin!(work);
        self.blocked = None;
        let started = Instant::now();
        let mut pause = FIRST_LOOK;
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(pause) => {}
            }
            // The statement may end while this looks.
            tokio::select! {
                done = &mut work => return done,
                how = self.look() => if let Some(how) = how.filter(|_| started.elapsed() >= FIRST_WORD) {
                    on_event(Event::Working { how });
                },
            }
            pause = FIRST_WORD.checked_sub(started.elapsed()).unwrap_or(NEXT_LOOK);
        }
    }

    /// Waits until the transactions that hold a lock have ended, or somebody else got in line before them, for `most`.
    /// Nobody waits behind the runner meanwhile. Returns whether there was something to wait for.
    pub(super) async fn until_let_go(&mut self, blocked: &Blocked, most: Duration) -> bool {
        let started = Instant::now();
        let holders: Vec<_> = blocked.holders.iter().map(|holder| format!("'{holder}'")).collect();
        if holders.is_empty() {
            return false;
        }
        let sql =
            format!("SELECT 1 FROM pg_locks WHERE granted AND virtualtransaction IN ({}) LIMIT 1", holders.join(", "));
        while started.elapsed() < most {
            let Some(session) = &self.session else { return false };
            match session.rows(&sql).await {
                Ok(rows) if rows.is_empty() => return true,
                Ok(_) => tokio::time::sleep(POLL).await,
                Err(_) => {
                    self.session = None;
                    return false;
                }
            }
        }
        true
    }

    /// Connects, where it has not yet.
    pub(super) async fn connect(&mut self) {
        if self.session.is_none() {
            self.session = Session::open(&self.url, Some(Duration::from_secs(1))).await.ok();
        }
    }

    async fn look(&mut self) -> Option<String> {
        self.connect().await;
        let pid = self.pid;
        let session = self.session.as_ref()?;
        let rows = session
            .rows(&format!(
                "SELECT p.command || ': ' || p.phase \
                        || CASE WHEN p.blocks_total > 0 THEN ', ' || 100 * p.blocks_done / p.blocks_total || ' %' \
                                WHEN p.tuples_total > 0 THEN ', ' || 100 * p.tuples_done / p.tuples_total || ' %' \
                                WHEN p.lockers_total > 0 THEN ', ' || p.lockers_done || ' of ' || p.lockers_total || ' ended' \
                                ELSE '' END, \
                        (SELECT string_agg('pid ' || b.pid || coalesce(' (' || concat_ws(', ', a.usename, nullif(a.application_name, ''), \
                                    a.state, 'transaction since ' || to_char(a.xact_start, 'HH24:MI:SS')) || ')', ''), ', ') \
                           FROM unnest(pg_blocking_pids({pid})) AS b (pid) LEFT JOIN pg_stat_activity AS a USING (pid)), \
                        (SELECT string_agg(DISTINCT l.virtualtransaction, ',') FROM pg_locks AS l \
                          WHERE l.granted AND l.pid = ANY (pg_blocking_pids({pid}))) \
                   FROM (VALUES ({pid})) AS runner (pid) LEFT JOIN pg_stat_progress_create_index AS p USING (pid)"
            ))
            .await;
        let Ok(rows) = rows else {
            self.session = None;
            return None;
        };
        let row = rows.first()?;
        self.blocked = row.get(1).map(|by| Blocked {
            by: by.to_owned(),
            holders: row
                .get(2)
                .unwrap_or_default()
                .split(',')
                .filter(|one| !one.is_empty())
                .map(str::to_owned)
                .collect(),
        });
        let waits = self.blocked.as_ref().map(|blocked| format!("waits for {}", blocked.by));
        let parts: Vec<_> = row.get(0).map(str::to_owned).into_iter().chain(waits).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
