//! What an evaluation's agents found out, in one document: `evaluations.results`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::agent_result::{AgentResult, AgentResultStatus, AgentType};
use super::evaluation::EvaluationId;
use crate::error::{Error, Result};

/// The results of an evaluation, aggregated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSummary {
    /// The mean of the scores of the agents that gave one.
    pub score: Option<f64>,
    /// How many agents completed.
    pub completed: usize,
    /// How many failed.
    pub failed: usize,
    /// Each agent's own.
    pub agents: BTreeMap<AgentType, AgentSummary>,
}

/// One agent's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// Completed or failed.
    pub status: AgentResultStatus,
    /// Its score.
    pub score: Option<f64>,
    /// What is worth telling.
    pub insights: Option<Value>,
    /// Why it failed.
    pub error_message: Option<String>,
}

impl EvaluationSummary {
    /// # Errors
    /// [`Error::WrongState`] while an agent is not done; [`Error::Invalid`] where none completed.
    pub(super) fn of(evaluation: EvaluationId, results: &[AgentResult]) -> Result<Self> {
        use AgentResultStatus::{Completed, Pending, Running};
        if let Some(open) = results.iter().find(|result| matches!(result.status, Pending | Running)) {
            let state = format!("analyzing ({} is {})", open.agent_type, open.status);
            return Err(Error::wrong_state(evaluation, state, "complete"));
        }
        let completed = results.iter().filter(|result| result.status == Completed).count();
        if completed == 0 {
            return Err(Error::invalid("agent_results", "have all failed: there is nothing to aggregate"));
        }
        let scores: Vec<f64> = results.iter().filter_map(|result| result.score).collect();
        Ok(Self {
            score: mean(&scores),
            completed,
            failed: results.len() - completed,
            agents: results.iter().map(|result| (result.agent_type, AgentSummary::of(result))).collect(),
        })
    }

    /// As it stands in the database. Numbers, texts and JSON always serialise.
    pub(super) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl AgentSummary {
    fn of(result: &AgentResult) -> Self {
        Self {
            status: result.status,
            score: result.score,
            insights: result.insights.clone(),
            error_message: result.error_message.clone(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an evaluation has at most seven agents")]
fn mean(scores: &[f64]) -> Option<f64> {
    if scores.is_empty() { None } else { Some(scores.iter().sum::<f64>() / scores.len() as f64) }
}
