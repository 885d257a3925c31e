//! Business ideas and their evaluation by agents.
//!
//! ```text
//! idea         draft ──submit──▶ submitted ──claim──▶ evaluating ──complete──▶ completed ──▶ archived
//!                ▲                   │                    │                        │
//!                └──────cancel───────┴────────fail────────┴─────────reopen─────────┘
//! evaluation                     pending ──claim──▶ analyzing ──complete──▶ completed, or failed
//! agent result                   pending ──start──▶ running ──complete──▶ completed, or failed ──retry──▶ pending
//! ```
//! Every other change of state is refused, here with [`Error::WrongState`](crate::Error::WrongState) and in
//! the database by a trigger (the test `idea_status::transitions` compares the two).

pub mod agent_result;
pub mod business_idea;
pub mod business_idea_list;
pub mod claim;
pub mod evaluation;
pub mod events;
pub mod summary;

pub use agent_result::{
    AgentOutput, AgentResult, AgentResultFilter, AgentResultId, AgentResultRepository, AgentResultStatus, AgentType,
    JsonField,
};
pub use business_idea::{
    BusinessIdea, BusinessIdeaChanges, BusinessIdeaId, BusinessIdeaRepository, BusinessIdeaStatus, NewBusinessIdea,
};
pub use business_idea_list::{BusinessIdeaFilter, BusinessIdeaSort, BusinessIdeaStatistics};
pub use claim::{Claim, Lease};
pub use evaluation::{
    Evaluation, EvaluationFilter, EvaluationId, EvaluationRepository, EvaluationStatus, NewEvaluation, Priority,
};
pub use events::IdeaEvent;
pub use summary::{AgentSummary, EvaluationSummary};
