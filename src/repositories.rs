//! Every repository. One gets them from a transaction: `tx.users()`, `tx.business_ideas()`.

pub use crate::audit::AuditRepository;
pub use crate::events::EventRepository;
pub use crate::forms::{FormDefinitionRepository, FormSubmissionRepository};
pub use crate::ideas::{AgentResultRepository, BusinessIdeaRepository, EvaluationRepository};
pub use crate::marketdata::{InstrumentRepository, PriceTickRepository, VenueRepository};
pub use crate::outbox::{OutboxQueue, OutboxRepository};
pub use crate::rfq::{RfqQuoteRepository, RfqRepository};
pub use crate::tenancy::{
    ApiKeyRepository, EntitlementRepository, MembershipRepository, OrganizationRepository, RoleRepository,
    SessionRepository, TenantRepository, UserRepository,
};
