//! Evaluations: made by submitting an idea, worked off by workers (see [`super::claim`]).
//!
//! Always holds: an idea has at most one open evaluation; evaluation, agent results and the idea's status
//! change in one statement, so that nobody sees one without the others.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

use super::agent_result::{AgentResultId, AgentType};
use super::business_idea::{BusinessIdeaId, BusinessIdeaRepository};
use super::events::IdeaEvent;
use crate::database::TenantTx;
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::pagination::{Cursor, Page, PageRequest, older_than};
use crate::schema::evaluations;
use crate::sql::{cached, columns, text_enum};
use crate::tenancy::TenantId;
use crate::validation::Check;

/// The id of an evaluation.
pub type EvaluationId = Id<Evaluation>;

text_enum! {
    /// Where an evaluation stands.
    EvaluationStatus {
        /// Waits for a worker.
        Pending = "pending",
        /// A worker holds it.
        Analyzing = "analyzing",
        /// The results are there.
        Completed = "completed",
        /// It came to nothing.
        Failed = "failed",
    }
}

impl EvaluationStatus {
    /// Whether an evaluation can go from this status to that one.
    #[must_use]
    pub fn can_become(self, to: Self) -> bool {
        use EvaluationStatus::{Analyzing, Completed, Failed, Pending};
        matches!((self, to), (Pending, Analyzing | Failed) | (Analyzing, Completed | Failed))
    }
}

text_enum! {
    /// Which evaluations are claimed first.
    Priority {
        /// After the others.
        Low = "low",
        /// In between.
        Normal = "normal",
        /// Before the others.
        High = "high",
    }
}

/// A row of `evaluations`.
#[derive(Debug, Clone, PartialEq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = evaluations, check_for_backend(Pg))]
pub struct Evaluation {
    /// The idea's tenant.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: EvaluationId,
    /// The idea.
    pub business_idea_id: BusinessIdeaId,
    /// Where it stands.
    pub status: EvaluationStatus,
    /// How soon it is claimed.
    pub priority: Priority,
    /// When it was first claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// An [`EvaluationSummary`](super::EvaluationSummary), once completed.
    pub results: Option<Value>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// How often it was claimed.
    pub attempts: i32,
    /// Who holds it, or held it last.
    pub claimed_by: Option<String>,
    /// From then on another worker may take it over.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for Evaluation {
    const NAME: &'static str = "evaluation";
    const TABLE: &'static str = "evaluations";
}

/// How to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct NewEvaluation<'a> {
    /// How soon.
    pub priority: Priority,
    /// By which agents, each at most once; [`AgentType::DEFAULT`] are five.
    pub agents: &'a [AgentType],
}

impl Default for NewEvaluation<'_> {
    fn default() -> Self {
        Self { priority: Priority::Normal, agents: AgentType::DEFAULT }
    }
}

/// Which evaluations to list.
#[derive(Debug, Clone, Default)]
pub struct EvaluationFilter {
    /// Only this idea's.
    pub business_idea_id: Option<BusinessIdeaId>,
    /// Only those of this status.
    pub status: Option<EvaluationStatus>,
}

/// The tenant's evaluations.
#[derive(Clone, Copy)]
pub struct EvaluationRepository<'t> {
    pub(super) tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's evaluations.
    #[must_use]
    pub fn evaluations(&self) -> EvaluationRepository<'_> {
        EvaluationRepository { tx: self }
    }
}

impl BusinessIdeaRepository<'_> {
    /// Submits a draft for evaluation by the five default agents, with normal priority.
    ///
    /// # Errors
    /// As for [`Self::submit_with`].
    pub async fn submit(&self, id: BusinessIdeaId) -> Result<Evaluation> {
        self.submit_with(id, NewEvaluation::default()).await
    }

    /// Submits a draft for evaluation: the idea is submitted, its evaluation and one result an agent are
    /// pending, and the event is recorded, all in one statement.
    ///
    /// # Errors
    /// [`Error::WrongState`] for an idea that is no draft (of two submitters one gets this),
    /// [`Error::NotFound`], [`Error::Invalid`] for no agent, or one twice.
    pub async fn submit_with(&self, id: BusinessIdeaId, how: NewEvaluation<'_>) -> Result<Evaluation> {
        let mut check = Check::default();
        if how.agents.is_empty() {
            check.add("agents", "are none".into());
        }
        if let Some((_, twice)) = how.agents.iter().enumerate().find(|(n, agent)| how.agents[..*n].contains(agent)) {
            check.add("agents", format!("name {twice} twice"));
        }
        check.finish()?;
        let evaluation_id = EvaluationId::new();
        let event = IdeaEvent::IdeaSubmitted { idea_id: id, evaluation_id, priority: how.priority }.to_append()?;
        let submit = sql_query(format!(
            "WITH idea AS ( \
                 UPDATE business_ideas SET status = 'submitted' \
                  WHERE tenant_id = $1 AND id = $2 AND status = 'draft' AND deleted_at IS NULL \
                 RETURNING tenant_id, id), \
             evaluation AS ( \
                 INSERT INTO evaluations (tenant_id, id, business_idea_id, priority) \
                 SELECT tenant_id, $3, id, $4 FROM idea RETURNING {columns}), \
             result AS ( \
                 INSERT INTO agent_results (tenant_id, id, evaluation_id, agent_type) \
                 SELECT e.tenant_id, agent.id, e.id, agent.agent_type \
                   FROM evaluation AS e, unnest($5, $6) AS agent (id, agent_type)) \
             SELECT {columns}, append_events($7) FROM evaluation",
            columns = columns::<Evaluation>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(id)
        .bind::<SqlUuid, _>(evaluation_id)
        .bind::<Text, _>(how.priority)
        .bind::<Array<SqlUuid>, _>(how.agents.iter().map(|_| AgentResultId::new()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(how.agents)
        .bind::<Jsonb, _>(self.tx.events().to_record(event)?);
        match cached(submit).get_result(&mut self.tx.connection()).await.optional()? {
            Some(evaluation) => Ok(evaluation),
            None => Err(Error::wrong_state(id, self.find(id).await?.status, "submit")),
        }
    }
}

impl EvaluationRepository<'_> {
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: EvaluationId) -> Result<Evaluation> {
        let query = evaluations::table.find((self.tx.tenant_id(), id)).select(Evaluation::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// Evaluations newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list(&self, filter: &EvaluationFilter, page: &PageRequest) -> Result<Page<Evaluation>> {
        const ORDER: &str = "evaluations";
        let mut query = evaluations::table
            .filter(evaluations::tenant_id.eq(self.tx.tenant_id()))
            .order((evaluations::created_at.desc(), evaluations::id.desc()))
            .limit(page.fetch()?)
            .select(Evaluation::as_select())
            .into_boxed::<Pg>();
        if let Some(idea) = filter.business_idea_id {
            query = query.filter(evaluations::business_idea_id.eq(idea));
        }
        if let Some(status) = filter.status {
            query = query.filter(evaluations::status.eq(status));
        }
        if let Some(after) = &page.after {
            let (created_at, id) = after.decode(ORDER)?;
            query = query.filter(older_than::<evaluations::table>(created_at, id));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &Evaluation| Cursor::new(ORDER, &last.created_at, last.id.as_uuid())))
    }
}
