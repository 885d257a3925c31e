//! What happens to forms and their submissions, as events. Each is appended in the transaction that it tells of, with
//! tags of whatever it names, and of the user who acted.

use serde::{Deserialize, Serialize};

use super::definition::{FormDefinition, FormDefinitionId};
use super::submission::FormSubmissionId;
use crate::error::Result;
use crate::events::NewEvent;

/// An event of a form: [`Event::decode`](crate::events::Event::decode) gives it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum FormEvent {
    /// A version is filled in from now on.
    FormPublished {
        /// Which version.
        form_id: FormDefinitionId,
        /// Of which form.
        name: String,
        /// Its number.
        version: i32,
    },
    /// A version is filled in no longer: it was archived, or a newer one published.
    FormArchived {
        /// Which version.
        form_id: FormDefinitionId,
        /// Of which form.
        name: String,
        /// Its number.
        version: i32,
    },
    /// What was filled in is complete.
    SubmissionSubmitted {
        /// Which submission.
        submission_id: FormSubmissionId,
        /// The version of the form that it matches.
        form_id: FormDefinitionId,
    },
}

impl FormEvent {
    pub(super) fn published(form: &FormDefinition) -> Result<NewEvent> {
        Self::FormPublished { form_id: form.id, name: form.name.clone(), version: form.version }.to_append()
    }

    pub(super) fn archived(form_id: FormDefinitionId, name: &str, version: i32) -> Result<NewEvent> {
        Self::FormArchived { form_id, name: name.to_owned(), version }.to_append()
    }

    pub(super) fn submitted(submission_id: FormSubmissionId, form_id: FormDefinitionId) -> Result<NewEvent> {
        Self::SubmissionSubmitted { submission_id, form_id }.to_append()
    }

    fn to_append(&self) -> Result<NewEvent> {
        let event = NewEvent::of(self)?;
        Ok(match self {
            Self::FormPublished { form_id, .. } | Self::FormArchived { form_id, .. } => event.tag("form", form_id),
            Self::SubmissionSubmitted { submission_id, form_id } => {
                event.tag("form", form_id).tag("submission", submission_id)
            }
        })
    }
}
