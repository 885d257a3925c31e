//! Every row, new row and change, in one place to import from.

pub use crate::audit::{AuditEntry, AuditFilter, AuditedEntity};
pub use crate::error::SchemaViolation;
pub use crate::events::{
    AppendCondition, AppendConflict, Event, EventFilter, EventId, EventQuery, EventToken, ExpectedVersion, NewEvent,
    QueryItem, ReadFrom, Seen, Stream, Subscription, SubscriptionLag,
};
pub use crate::forms::{
    CompileOptions, FormDefinition, FormDefinitionChanges, FormDefinitionFilter, FormDefinitionId,
    FormDefinitionStatus, FormEvent, FormSubmission, FormSubmissionFilter, FormSubmissionId, FormSubmissionSort,
    FormSubmissionStatus, FormVersion, JsonSchema, NewFormDefinition, NewFormSubmission,
};
pub use crate::ideas::{
    AgentOutput, AgentResult, AgentResultFilter, AgentResultId, AgentResultStatus, AgentType, BusinessIdea,
    BusinessIdeaChanges, BusinessIdeaFilter, BusinessIdeaId, BusinessIdeaSort, BusinessIdeaStatistics,
    BusinessIdeaStatus, Claim, Evaluation, EvaluationFilter, EvaluationId, EvaluationStatus, EvaluationSummary,
    IdeaEvent, JsonField, Lease, NewBusinessIdea, NewEvaluation, Priority,
};
pub use crate::marketdata::{
    AssetClass, Instrument, InstrumentFilter, InstrumentStatus, NewInstrument, NewPriceTick, NewVenue, PriceTick,
    Venue, VenueStatus,
};
pub use crate::outbox::{
    NewOutboxEvent, OutboxClaim, OutboxClaimed, OutboxEvent, OutboxEventId, Outcome, RelayOptions, Relayed,
    RetryPolicy, Settlement, StoppedEndpoint,
};
pub use crate::pagination::{Cursor, Page, PageRequest};
pub use crate::processed::Processed;
pub use crate::rfq::{
    NewRfq, NewRfqQuote, Rfq, RfqFilter, RfqId, RfqQuote, RfqQuoteId, RfqQuoteStatus, RfqStatus, Side,
};
pub use crate::sql::Upserted;
pub use crate::tenancy::{
    ApiKey, ApiKeyFilter, ApiKeyId, ApiKeySecret, Membership, NewApiKey, NewEntitlement, NewOrganization, NewTenant,
    NewUser, Order, Organization, OrganizationChanges, OrganizationId, OrganizationRole, PasswordHash, Refusal,
    Session, SessionData, SessionId, Tenant, TenantId, TenantStatus, TenantType, User, UserChanges, UserEntitlement,
    UserEntitlementId, UserFilter, UserId, UserRole, UserRoleId, UserStatus,
};
