//! Working evaluations off: claim, extend, complete, fail, cancel.
//!
//! A worker claims evaluations for a limited time, its lease. Until then nobody else gets them; after that
//! another worker may take them over, in case the first one died. Each claim counts `attempts` up, and that
//! number is the fencing token: whatever a worker writes names its [`Lease`], and the write is refused when
//! the evaluation has been claimed again since, however late the worker wakes up.
//!
//! ```text
//! t0  worker A claims, attempts = 1
//! t1  A's lease expires while A hangs
//! t2  worker B claims (takes over), attempts = 2; results that A left running are pending again
//! t3  A wakes up and completes a result with attempt 1: refused, LeaseLost
//! t4  B works on with attempt 2; what A had completed before t2 stays, and is not done twice
//! ```
//! A's write and B's claim cannot cross: A's write locks the evaluation FOR SHARE, B's claim FOR UPDATE,
//! skipping what is locked (the test `races::a_late_worker_is_fenced_off` holds them at each step).

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Double, Integer, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use super::agent_result::AgentResult;
use super::evaluation::{Evaluation, EvaluationId, EvaluationRepository, EvaluationStatus};
use super::events::IdeaEvent;
use super::summary::EvaluationSummary;
use crate::error::{Error, Result};
use crate::schema::{agent_results, evaluations};
use crate::sql::{cached, columns};
use crate::validation::Check;

/// What to claim.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who claims: host and process, for example. 1 to 255 characters.
    pub worker: &'a str,
    /// At most so many: 1 to 1,000.
    pub limit: u16,
    /// For so long; [`EvaluationRepository::extend`] renews it.
    pub lease: Duration,
    /// An evaluation that was claimed so often and whose lease ran out again fails.
    pub max_attempts: i32,
}

impl<'a> Claim<'a> {
    /// One evaluation, for a minute, five attempts.
    #[must_use]
    pub fn new(worker: &'a str) -> Self {
        Self { worker, limit: 1, lease: Duration::from_mins(1), max_attempts: 5 }
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: u16) -> Self {
        self.limit = limit;
        self
    }

    /// For so long.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Fails after so many attempts.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: i32) -> Self {
        self.max_attempts = max_attempts;
        self
    }
}

/// The right to work on an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// On which.
    pub evaluation_id: EvaluationId,
    /// Whose it is.
    pub worker: String,
    /// The fencing token.
    pub attempt: i32,
}

impl Evaluation {
    /// The lease under which it is being worked on; `None` when nobody holds it.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        let worker = self.claimed_by.clone().filter(|_| self.status == EvaluationStatus::Analyzing)?;
        Some(Lease { evaluation_id: self.id, worker, attempt: self.attempts })
    }
}

/// Ends evaluations in failure, with their open results; their ideas are drafts again. `which` is one of the
/// three conditions below: `$1` is the tenant, `$2` the reason.
fn failing(which: &'static str) -> String {
    format!(
        "WITH ended AS ( \
             UPDATE evaluations SET status = 'failed', error_message = $2, lease_expires_at = NULL, \
                    completed_at = greatest(now(), started_at) \
              WHERE tenant_id = $1 AND {which} RETURNING {columns}), \
         result AS ( \
             UPDATE agent_results AS r SET status = 'failed', error_message = $2, \
                    completed_at = greatest(now(), r.started_at) \
               FROM ended WHERE r.tenant_id = $1 AND r.evaluation_id = ended.id \
                AND r.status IN ('pending', 'running')), \
         idea AS ( \
             UPDATE business_ideas AS i SET status = 'draft' \
               FROM ended WHERE i.tenant_id = $1 AND i.id = ended.business_idea_id \
                AND i.status IN ('submitted', 'evaluating')) \
         SELECT {columns} FROM ended",
        columns = columns::<Evaluation>("")
    )
}

impl EvaluationRepository<'_> {
    /// Claims the next evaluations: those whose lease ran out, then the pending ones by priority and age. Two
    /// workers never get the same one. Their ideas are evaluating from then on.
    ///
    /// Those whose attempts are used up fail instead.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad [`Claim`].
    pub async fn claim(&self, claim: Claim<'_>) -> Result<Vec<(Evaluation, Lease)>> {
        check(claim)?;
        let (tenant, seconds) = (self.tx.tenant_id(), claim.lease.as_secs_f64());
        let exhausted = sql_query(failing(
            "id IN (SELECT id FROM evaluations \
                     WHERE tenant_id = $1 AND status = 'analyzing' AND lease_expires_at < now() AND attempts >= $3 \
                     FOR UPDATE SKIP LOCKED)",
        ))
        .bind::<SqlUuid, _>(tenant)
        .bind::<Text, _>(format!("gave up after {} attempts", claim.max_attempts))
        .bind::<Integer, _>(claim.max_attempts);
        let next = sql_query(format!("WITH expired AS MATERIALIZED ( \
                 SELECT id FROM evaluations \
                  WHERE tenant_id = $1 AND status = 'analyzing' AND lease_expires_at < now() AND attempts < $5 \
                  ORDER BY lease_expires_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
             pending AS MATERIALIZED ( \
                 SELECT id FROM evaluations WHERE tenant_id = $1 AND status = 'pending' \
                  ORDER BY (CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), created_at, id \
                  LIMIT greatest($2 - (SELECT count(*) FROM expired), 0) FOR UPDATE SKIP LOCKED), \
             claimed AS ( \
                 UPDATE evaluations AS e SET status = 'analyzing', claimed_by = $3, attempts = e.attempts + 1, \
                        lease_expires_at = now() + $4 * interval '1 second', started_at = coalesce(e.started_at, now()) \
                  WHERE e.tenant_id = $1 AND e.id IN (SELECT id FROM expired UNION ALL SELECT id FROM pending) \
                 RETURNING {columns}), \
             idea AS ( \
                 UPDATE business_ideas AS i SET status = 'evaluating' \
                   FROM claimed WHERE i.tenant_id = $1 AND i.id = claimed.business_idea_id AND i.status = 'submitted') \
             SELECT {columns} FROM claimed \
              ORDER BY (CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), created_at, id",
 columns = columns::<Evaluation>("")))
        .bind::<SqlUuid, _>(tenant)
        .bind::<BigInt, _>(i64::from(claim.limit))
        .bind::<Text, _>(claim.worker)
        .bind::<Double, _>(seconds)
        .bind::<Integer, _>(claim.max_attempts);
        // Sent together: the two never touch the same evaluation.
        let (mut first, mut second) = (self.tx.connection(), self.tx.connection());
        let (failed, claimed) = tokio::try_join!(
            cached(exhausted).load::<Evaluation>(&mut first),
            cached(next).load::<Evaluation>(&mut second),
        )?;
        self.reset_running(&claimed).await?;
        self.record_failed(&failed).await?;
        Ok(claimed.into_iter().filter_map(|evaluation| evaluation.lease().map(|lease| (evaluation, lease))).collect())
    }

    /// A statement of its own: its snapshot is younger than the locks on the evaluations, so it sees every
    /// result that the worker before managed to start.
    async fn reset_running(&self, claimed: &[Evaluation]) -> Result<()> {
        let taken_over: Vec<_> = claimed.iter().filter(|e| e.attempts > 1).map(|e| e.id).collect();
        if taken_over.is_empty() {
            return Ok(());
        }
        let reset = sql_query(
            "UPDATE agent_results SET status = 'pending', started_at = NULL \
              WHERE tenant_id = $1 AND evaluation_id = ANY ($2) AND status = 'running'",
        )
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<Array<SqlUuid>, _>(taken_over);
        cached(reset).execute(&mut self.tx.connection()).await?;
        Ok(())
    }

    /// Renews a lease, from now on for this long: 1 ms to 24 hours.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::Invalid`] for another duration.
    pub async fn extend(&self, lease: &Lease, by: Duration) -> Result<Evaluation> {
        Check::default().lease("by", by).finish()?;
        let extend = sql_query(format!(
            "UPDATE evaluations SET lease_expires_at = now() + $5 * interval '1 second' \
              WHERE tenant_id = $1 AND id = $2 AND claimed_by = $3 AND attempts = $4 AND status = 'analyzing' \
             RETURNING {columns}",
            columns = columns::<Evaluation>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(lease.evaluation_id)
        .bind::<Text, _>(&lease.worker)
        .bind::<Integer, _>(lease.attempt)
        .bind::<Double, _>(by.as_secs_f64());
        let found = cached(extend).get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| lost(lease))
    }

    /// Completes an evaluation with the [`EvaluationSummary`] of its results; its idea is completed.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::WrongState`] while an agent is pending or running;
    /// [`Error::Invalid`] when every agent failed: fail the evaluation then.
    pub async fn complete(&self, lease: &Lease) -> Result<Evaluation> {
        let held = evaluations::table
            .find((self.tx.tenant_id(), lease.evaluation_id))
            .filter(evaluations::claimed_by.eq(&lease.worker))
            .filter(evaluations::attempts.eq(lease.attempt))
            .filter(evaluations::status.eq(EvaluationStatus::Analyzing))
            .select(evaluations::id)
            .for_update();
        let results = agent_results::table
            .filter(agent_results::tenant_id.eq(self.tx.tenant_id()))
            .filter(agent_results::evaluation_id.eq(lease.evaluation_id))
            .select(AgentResult::as_select());
        // One after the other, the results under the evaluation's lock. Sent together, the one that the connection has
        // prepared would overtake the other.
        let held: Vec<EvaluationId> = held.load(&mut self.tx.connection()).await?;
        let results: Vec<AgentResult> = results.load(&mut self.tx.connection()).await?;
        if held.is_empty() {
            return Err(lost(lease));
        }
        let summary = EvaluationSummary::of(lease.evaluation_id, &results)?;
        let complete = sql_query(format!(
            "WITH ended AS ( \
                 UPDATE evaluations SET status = 'completed', results = $3, lease_expires_at = NULL, \
                        completed_at = greatest(now(), started_at) \
                  WHERE tenant_id = $1 AND id = $2 RETURNING {columns}), \
             idea AS ( \
                 UPDATE business_ideas AS i SET status = 'completed' \
                   FROM ended WHERE i.tenant_id = $1 AND i.id = ended.business_idea_id) \
             SELECT {columns} FROM ended",
            columns = columns::<Evaluation>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(lease.evaluation_id)
        .bind::<Jsonb, _>(summary.to_json());
        let completed: Evaluation = cached(complete).get_result(&mut self.tx.connection()).await?;
        let (evaluation_id, idea_id) = (completed.id, completed.business_idea_id);
        let event = IdeaEvent::EvaluationCompleted { evaluation_id, idea_id, score: summary.score }.to_append()?;
        self.tx.events().record([event]).await?;
        Ok(completed)
    }

    /// Fails an evaluation, with its open results; its idea is a draft again.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::Invalid`] for an empty reason.
    pub async fn fail(&self, lease: &Lease, reason: &str) -> Result<Evaluation> {
        Check::default().text("reason", reason, 1..=10_000).finish()?;
        let fail = sql_query(failing("id = $3 AND claimed_by = $4 AND attempts = $5 AND status = 'analyzing'"))
            .bind::<SqlUuid, _>(self.tx.tenant_id())
            .bind::<Text, _>(reason)
            .bind::<SqlUuid, _>(lease.evaluation_id)
            .bind::<Text, _>(&lease.worker)
            .bind::<Integer, _>(lease.attempt);
        let found = cached(fail).get_result(&mut self.tx.connection()).await.optional()?;
        let failed = found.ok_or_else(|| lost(lease))?;
        self.record_failed(std::slice::from_ref(&failed)).await?;
        Ok(failed)
    }

    /// Ends an open evaluation for somebody who does not hold its lease: who submitted the idea, say. A worker
    /// at work on it gets [`Error::LeaseLost`] with its next write.
    ///
    /// # Errors
    /// [`Error::WrongState`] for one that has ended, [`Error::NotFound`], [`Error::Invalid`] for an empty reason.
    pub async fn cancel(&self, id: EvaluationId, reason: &str) -> Result<Evaluation> {
        Check::default().text("reason", reason, 1..=10_000).finish()?;
        let cancel = sql_query(failing("id = $3 AND status IN ('pending', 'analyzing')"))
            .bind::<SqlUuid, _>(self.tx.tenant_id())
            .bind::<Text, _>(reason)
            .bind::<SqlUuid, _>(id);
        match cached(cancel).get_result(&mut self.tx.connection()).await.optional()? {
            Some(cancelled) => {
                self.record_failed(std::slice::from_ref(&cancelled)).await?;
                Ok(cancelled)
            }
            None => Err(Error::wrong_state(id, self.find(id).await?.status, "cancel")),
        }
    }

    async fn record_failed(&self, failed: &[Evaluation]) -> Result<()> {
        let events: Result<Vec<_>> = failed.iter().map(IdeaEvent::failed).collect();
        self.tx.events().record(events?).await
    }
}

pub(super) fn lost(lease: &Lease) -> Error {
    Error::LeaseLost { of: format!("evaluation {}", lease.evaluation_id) }
}

fn check(claim: Claim<'_>) -> Result<()> {
    let mut check = Check::default();
    check.text("worker", claim.worker, 1..=255);
    if !(1..=1000).contains(&claim.limit) {
        check.add("limit", format!("is {}, allowed are 1 to 1000", claim.limit));
    }
    check.lease("lease", claim.lease);
    if claim.max_attempts < 1 {
        check.add("max_attempts", "must be at least 1".into());
    }
    check.finish()
}
