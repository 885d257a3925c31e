//! Forms: versions of a JSON Schema, and what was filled in.
//!
//! ```text
//! definition   draft ──publish──▶ active ──archive, or a newer one is published──▶ archived
//! submission   draft ──submit──▶ submitted ──archive──▶ archived
//!                └────────────────archive──────────────────▲
//! ```
//! Every other change of state is refused, here with [`Error::WrongState`](crate::Error::WrongState) and in
//! the database by a trigger (the test `idea_status::transitions` compares the two). A published definition never
//! changes, and what is submitted matches it: both also for clients that write SQL.

pub mod definition;
pub mod definition_list;
pub mod events;
pub mod json_schema;
pub mod publish;
pub mod submission;
pub mod submission_list;
pub mod suite;
pub mod trial;
mod validators;

pub use definition::{
    FormDefinition, FormDefinitionChanges, FormDefinitionId, FormDefinitionRepository, FormDefinitionStatus,
    NewFormDefinition,
};
pub use definition_list::{FormDefinitionFilter, FormVersion};
pub use events::FormEvent;
pub use json_schema::{CompileOptions, JsonSchema, Remark, Translation};
pub use publish::PublishedForm;
pub use submission::{
    FormSubmission, FormSubmissionId, FormSubmissionRepository, FormSubmissionStatus, NewFormSubmission,
};
pub use submission_list::{FormSubmissionFilter, FormSubmissionSort};
pub(crate) use validators::Validators;
