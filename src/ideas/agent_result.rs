//! Agent results: what each agent found out in an evaluation.
//!
//! Always holds: each agent has one result an evaluation; only who holds the evaluation's [`Lease`] writes
//! results, and a completed one is never overwritten.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Double, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

use super::claim::{Lease, lost};
use super::evaluation::EvaluationId;
use crate::database::TenantTx;
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::pagination::{Cursor, Page, PageRequest, older_than};
use crate::schema::agent_results;
use crate::sql::{cached, columns, text_enum};
use crate::tenancy::TenantId;
use crate::validation::Check;

/// The id of an agent result.
pub type AgentResultId = Id<AgentResult>;

text_enum! {
    /// Which agent.
    AgentType {
        /// Is there a market?
        MarketResearch = "market-research",
        /// Who else is in it?
        CompetitiveAnalysis = "competitive-analysis",
        /// Who would buy?
        CustomerResearch = "customer-research",
        /// Does it pay?
        FinancialAnalysis = "financial-analysis",
        /// Can it be built?
        TechnicalFeasibility = "technical-feasibility",
        /// What can go wrong?
        RiskAssessment = "risk-assessment",
        /// What does it all come to?
        Synthesis = "synthesis",
    }
}

impl AgentType {
    /// The five that evaluate when nothing else is said.
    pub const DEFAULT: &'static [Self] = Self::ALL.split_at(5).0;
}

text_enum! {
    /// Where an agent stands.
    AgentResultStatus {
        /// Not started.
        Pending = "pending",
        /// At work.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// Came to nothing.
        Failed = "failed",
    }
}

impl AgentResultStatus {
    /// Whether a result can go from this status to that one.
    #[must_use]
    pub fn can_become(self, to: Self) -> bool {
        use AgentResultStatus::{Completed, Failed, Pending, Running};
        matches!((self, to), (Pending, Running | Failed) | (Running, Completed | Failed | Pending) | (Failed, Pending))
    }
}

/// A row of `agent_results`.
#[derive(Debug, Clone, PartialEq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = agent_results, check_for_backend(Pg))]
pub struct AgentResult {
    /// The idea's tenant.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: AgentResultId,
    /// The evaluation.
    pub evaluation_id: EvaluationId,
    /// Which agent.
    pub agent_type: AgentType,
    /// Where it stands.
    pub status: AgentResultStatus,
    /// What it was given.
    pub input_data: Option<Value>,
    /// What it answered.
    pub output_data: Option<Value>,
    /// 0 to 100.
    pub score: Option<f64>,
    /// What is worth telling.
    pub insights: Option<Value>,
    /// When it started, the last time.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for AgentResult {
    const NAME: &'static str = "agent_result";
    const TABLE: &'static str = "agent_results";
}

/// What an agent answers.
#[derive(Debug, Clone, Default)]
pub struct AgentOutput {
    /// The answer.
    pub output: Value,
    /// 0 to 100, if the agent gives one.
    pub score: Option<f64>,
    /// What is worth telling.
    pub insights: Option<Value>,
}

/// Which column's JSON to look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonField {
    /// `input_data`.
    Input,
    /// `output_data`.
    Output,
    /// `insights`.
    Insights,
}

impl JsonField {
    const fn column(self) -> &'static str {
        match self {
            Self::Input => "input_data",
            Self::Output => "output_data",
            Self::Insights => "insights",
        }
    }
}

/// Which results to list.
#[derive(Debug, Clone, Default)]
pub struct AgentResultFilter {
    /// Only this evaluation's.
    pub evaluation_id: Option<EvaluationId>,
    /// Only this agent's.
    pub agent_type: Option<AgentType>,
    /// Only those of this status.
    pub status: Option<AgentResultStatus>,
    /// Only those with this score or a higher one.
    pub min_score: Option<f64>,
    /// Only those whose JSON contains this, as `@>` of PostgreSQL has it.
    pub contains: Option<(JsonField, Value)>,
}

/// The tenant's agent results.
#[derive(Clone, Copy)]
pub struct AgentResultRepository<'t> {
    tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's agent results.
    #[must_use]
    pub fn agent_results(&self) -> AgentResultRepository<'_> {
        AgentResultRepository { tx: self }
    }
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// See the function's comment in the database.
    fn search_agent_results(field: Text, pattern: Jsonb) -> SqlUuid;
}

/// A change of a result by who holds the lease: `$1` to `$5` are tenant, evaluation, worker, attempt and
/// result. The lease is locked FOR SHARE, so that no claim comes between.
fn leased(change: &'static str, from: &'static str) -> String {
    format!(
        "WITH lease AS MATERIALIZED ( \
             SELECT FROM evaluations WHERE tenant_id = $1 AND id = $2 AND claimed_by = $3 AND attempts = $4 \
                AND status = 'analyzing' FOR SHARE) \
         UPDATE agent_results SET {change} \
          WHERE tenant_id = $1 AND evaluation_id = $2 AND id = $5 AND status = '{from}' \
            AND EXISTS (SELECT FROM lease) \
         RETURNING {columns}",
        columns = columns::<AgentResult>("")
    )
}

/// Binds `$1` to `$5` of [`leased`].
macro_rules! leased_query {
    ($repository:expr, $lease:expr, $id:expr, $change:literal, $from:literal) => {
        sql_query(leased($change, $from))
            .bind::<SqlUuid, _>($repository.tx.tenant_id())
            .bind::<SqlUuid, _>($lease.evaluation_id)
            .bind::<Text, _>(&$lease.worker)
            .bind::<Integer, _>($lease.attempt)
            .bind::<SqlUuid, _>($id)
    };
}

impl AgentResultRepository<'_> {
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: AgentResultId) -> Result<AgentResult> {
        let query = agent_results::table.find((self.tx.tenant_id(), id)).select(AgentResult::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// All of an evaluation, in the order in which its agents were named.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list_by_evaluation(&self, id: EvaluationId) -> Result<Vec<AgentResult>> {
        let query = agent_results::table
            .filter(agent_results::tenant_id.eq(self.tx.tenant_id()))
            .filter(agent_results::evaluation_id.eq(id))
            .order(agent_results::id)
            .select(AgentResult::as_select());
        Ok(query.load(&mut self.tx.connection()).await?)
    }

    /// Results newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit, cursor or pattern.
    pub async fn list(&self, filter: &AgentResultFilter, page: &PageRequest) -> Result<Page<AgentResult>> {
        const ORDER: &str = "agent_results";
        let mut query = agent_results::table
            .filter(agent_results::tenant_id.eq(self.tx.tenant_id()))
            .order((agent_results::created_at.desc(), agent_results::id.desc()))
            .limit(page.fetch()?)
            .select(AgentResult::as_select())
            .into_boxed::<Pg>();
        if let Some(evaluation) = filter.evaluation_id {
            query = query.filter(agent_results::evaluation_id.eq(evaluation));
        }
        if let Some(agent_type) = filter.agent_type {
            query = query.filter(agent_results::agent_type.eq(agent_type));
        }
        if let Some(status) = filter.status {
            query = query.filter(agent_results::status.eq(status));
        }
        if let Some(score) = filter.min_score {
            query = query.filter(agent_results::score.ge(score));
        }
        if let Some((field, pattern)) = &filter.contains {
            Check::default().json("contains", pattern).finish()?;
            let found = diesel::select(search_agent_results(field.column(), pattern));
            query = query.filter(agent_results::id.eq_any(found));
        }
        if let Some(after) = &page.after {
            let (created_at, id) = after.decode(ORDER)?;
            query = query.filter(older_than::<agent_results::table>(created_at, id));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &AgentResult| Cursor::new(ORDER, &last.created_at, last.id.as_uuid())))
    }

    /// Starts a pending agent, and keeps what it is given.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], [`Error::WrongState`], [`Error::NotFound`] (also for another evaluation's),
    /// [`Error::Invalid`].
    pub async fn start(&self, lease: &Lease, id: AgentResultId, input: &Value) -> Result<AgentResult> {
        Check::default().json("input_data", input).finish()?;
        let start =
            leased_query!(self, lease, id, "status = 'running', started_at = now(), input_data = $6", "pending")
                .bind::<Jsonb, _>(input);
        let found = cached(start).get_result(&mut self.tx.connection()).await.optional()?;
        self.or_refused(lease, id, "start", found).await
    }

    /// Completes a running agent with its answer.
    ///
    /// # Errors
    /// As for [`Self::start`]; [`Error::Invalid`] for a score that is not from 0 to 100.
    pub async fn complete(&self, lease: &Lease, id: AgentResultId, answer: &AgentOutput) -> Result<AgentResult> {
        let mut check = Check::default();
        check.json("output_data", &answer.output);
        if let Some(score) = answer.score {
            check.number("score", score, &(0.0..=100.0));
        }
        if let Some(insights) = &answer.insights {
            check.json("insights", insights);
        }
        check.finish()?;
        let complete = leased_query!(
            self,
            lease,
            id,
            "status = 'completed', completed_at = greatest(now(), started_at), error_message = NULL, \
             output_data = $6, score = $7, insights = $8",
            "running"
        )
        .bind::<Jsonb, _>(&answer.output)
        .bind::<Nullable<Double>, _>(answer.score)
        .bind::<Nullable<Jsonb>, _>(answer.insights.as_ref());
        let found = cached(complete).get_result(&mut self.tx.connection()).await.optional()?;
        self.or_refused(lease, id, "complete", found).await
    }

    /// Fails a running agent. The evaluation goes on: other agents may do, or [`Self::retry`].
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn fail(&self, lease: &Lease, id: AgentResultId, reason: &str) -> Result<AgentResult> {
        Check::default().text("reason", reason, 1..=10_000).finish()?;
        let fail = leased_query!(
            self,
            lease,
            id,
            "status = 'failed', completed_at = greatest(now(), started_at), error_message = $6",
            "running"
        )
        .bind::<Text, _>(reason);
        let found = cached(fail).get_result(&mut self.tx.connection()).await.optional()?;
        self.or_refused(lease, id, "fail", found).await
    }

    /// Makes a failed agent pending again.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn retry(&self, lease: &Lease, id: AgentResultId) -> Result<AgentResult> {
        let retry = leased_query!(
            self,
            lease,
            id,
            "status = 'pending', started_at = NULL, completed_at = NULL, error_message = NULL",
            "failed"
        );
        let found = cached(retry).get_result(&mut self.tx.connection()).await.optional()?;
        self.or_refused(lease, id, "retry", found).await
    }

    /// Says why nothing was changed.
    async fn or_refused(
        &self,
        lease: &Lease,
        id: AgentResultId,
        action: &'static str,
        changed: Option<AgentResult>,
    ) -> Result<AgentResult> {
        if let Some(result) = changed {
            return Ok(result);
        }
        let there = self.find(id).await?;
        if there.evaluation_id != lease.evaluation_id {
            return Err(Error::not_found(id));
        }
        let evaluation = self.tx.evaluations().find(lease.evaluation_id).await?;
        if evaluation.lease().as_ref() == Some(lease) {
            return Err(Error::wrong_state(id, there.status, action));
        }
        Err(lost(lease))
    }
}
