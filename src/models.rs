//! Every row, new row and change, in one place to import from.

pub use crate::ideas::{
    AgentOutput, AgentResult, AgentResultFilter, AgentResultId, AgentResultStatus, AgentType, BusinessIdea,
    BusinessIdeaChanges, BusinessIdeaFilter, BusinessIdeaId, BusinessIdeaSort, BusinessIdeaStatistics,
    BusinessIdeaStatus, Claim, Evaluation, EvaluationFilter, EvaluationId, EvaluationStatus, EvaluationSummary,
    JsonField, Lease, NewBusinessIdea, NewEvaluation, Priority,
};
pub use crate::pagination::{Cursor, Page, PageRequest};
pub use crate::tenancy::{
    NewTenant, NewUser, PasswordHash, Tenant, TenantId, TenantStatus, TenantType, User, UserChanges, UserFilter,
    UserId, UserStatus,
};
