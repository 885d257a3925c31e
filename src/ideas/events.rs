//! What happens to ideas and their evaluations, as events. Each is appended in the transaction that it tells of, with
//! tags of whatever it names, and of the user who acted.

use serde::{Deserialize, Serialize};

use super::business_idea::BusinessIdeaId;
use super::evaluation::{Evaluation, EvaluationId, Priority};
use crate::error::Result;
use crate::events::NewEvent;

/// An event of an idea: [`Event::decode`](crate::events::Event::decode) gives it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum IdeaEvent {
    /// An idea waits for its evaluation.
    IdeaSubmitted {
        /// Which idea.
        idea_id: BusinessIdeaId,
        /// The evaluation that is pending.
        evaluation_id: EvaluationId,
        /// How soon.
        priority: Priority,
    },
    /// Every agent is done.
    EvaluationCompleted {
        /// Which evaluation.
        evaluation_id: EvaluationId,
        /// Of which idea.
        idea_id: BusinessIdeaId,
        /// The mean of the agents' scores.
        score: Option<f64>,
    },
    /// It failed, was cancelled, or nobody finished it.
    EvaluationFailed {
        /// Which evaluation; its `error_message` says why.
        evaluation_id: EvaluationId,
        /// Of which idea.
        idea_id: BusinessIdeaId,
        /// How often it had been claimed.
        attempts: i32,
    },
}

impl IdeaEvent {
    pub(super) fn failed(evaluation: &Evaluation) -> Result<NewEvent> {
        let (evaluation_id, idea_id) = (evaluation.id, evaluation.business_idea_id);
        Self::EvaluationFailed { evaluation_id, idea_id, attempts: evaluation.attempts }.to_append()
    }

    pub(super) fn to_append(&self) -> Result<NewEvent> {
        let (Self::IdeaSubmitted { idea_id, evaluation_id, .. }
        | Self::EvaluationCompleted { idea_id, evaluation_id, .. }
        | Self::EvaluationFailed { idea_id, evaluation_id, .. }) = self;
        Ok(NewEvent::of(self)?.tag("idea", idea_id).tag("evaluation", evaluation_id))
    }
}
