//! Every repository. One gets them from a transaction: `tx.users()`, `tx.business_ideas()`.

pub use crate::ideas::{AgentResultRepository, BusinessIdeaRepository, EvaluationRepository};
pub use crate::tenancy::{TenantRepository, UserRepository};
