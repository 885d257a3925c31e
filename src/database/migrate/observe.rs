//! What a long statement is doing, asked on a connection beside: how far an index is built, who holds the lock
//! that it waits for.

use std::time::Duration;

use super::session::Session;
use super::{Event, Watcher};
use crate::database::url::DatabaseUrl;

/// Nobody wants to read about what is quicker.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const NEXT_LOOK: Duration = Duration::from_millis(500);

/// Looks at the runner's session. Connects when there is something to look at, and stays silent where it cannot.
pub(super) struct Observer {
    url: DatabaseUrl,
    session: Option<Session>,
    pid: i32,
    /// Who held the lock that was waited for, at the last look.
    pub(super) blocked_by: Option<String>,
}

impl Observer {
    pub(super) fn new(url: &DatabaseUrl, pid: i32) -> Self {
        Self { url: url.clone(), session: None, pid, blocked_by: None }
    }

    /// Waits for `work`, and tells every half second how it stands when it takes longer than a second.
    pub(super) async fn watch<T>(&mut self, work: impl Future<Output = T>, on_event: Watcher<'_>) -> T {
        tokio::pin!(work);
        self.blocked_by = None;
        let mut pause = FIRST_LOOK;
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(pause) => {}
            }
            // The statement may end while this looks.
            tokio::select! {
                done = &mut work => return done,
                how = self.look() => if let Some(how) = how { on_event(Event::Working { how }) },
            }
            pause = NEXT_LOOK;
        }
    }

    async fn look(&mut self) -> Option<String> {
        if self.session.is_none() {
            self.session = Session::open(&self.url, Duration::from_secs(1)).await.ok();
        }
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
                           FROM unnest(pg_blocking_pids({pid})) AS b (pid) LEFT JOIN pg_stat_activity AS a USING (pid)) \
                   FROM (VALUES ({pid})) AS runner (pid) LEFT JOIN pg_stat_progress_create_index AS p USING (pid)"
            ))
            .await;
        let Ok(rows) = rows else {
            self.session = None;
            return None;
        };
        let row = rows.first()?;
        self.blocked_by = row.get(1).map(str::to_owned);
        let waits = self.blocked_by.as_ref().map(|by| format!("waits for {by}"));
        let parts: Vec<_> = row.get(0).map(str::to_owned).into_iter().chain(waits).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
