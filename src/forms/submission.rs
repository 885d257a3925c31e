//! Form submissions: saved as drafts, submitted, amended, put away.
//!
//! Always holds: what is submitted matches its form. It is checked here, before the round trip, and by a trigger,
//! for clients of every language; both give the same list of violations. A change names the `lock_version` that it
//! read, so that no change is lost.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

use super::definition::{FormDefinitionId, FormDefinitionStatus};
use super::events::FormEvent;
use crate::database::{TenantTx, in_chunks};
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::schema::{form_definitions, form_submissions};
use crate::sql::{cached, columns, text_enum};
use crate::tenancy::TenantId;
use crate::validation::Check;

/// The id of a submission.
pub type FormSubmissionId = Id<FormSubmission>;

text_enum! {
    /// Where a submission stands.
    FormSubmissionStatus {
        /// Being filled in: may be incomplete.
        Draft = "draft",
        /// Matches its form.
        Submitted = "submitted",
        /// Put away: its data stay as they are.
        Archived = "archived",
    }
}

impl FormSubmissionStatus {
    /// Whether a submission can go from this status to that one.
    #[must_use]
    pub fn can_become(self, to: Self) -> bool {
        use FormSubmissionStatus::{Archived, Draft, Submitted};
        matches!((self, to), (Draft, Submitted | Archived) | (Submitted, Archived))
    }
}

/// A row of `form_submissions`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = form_submissions, check_for_backend(diesel::pg::Pg))]
pub struct FormSubmission {
    /// The submission's tenant.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: FormSubmissionId,
    /// The version of the form; it stays.
    pub form_definition_id: FormDefinitionId,
    /// That version's number.
    pub form_version: i32,
    /// What was filled in.
    pub data: Value,
    /// Where it stands.
    pub status: FormSubmissionStatus,
    /// The text `data.title`, if it has at most 255 characters.
    pub title: Option<String>,
    /// The number `data.priority`, if it is an integer of 32 bits.
    pub priority: Option<i32>,
    /// Counts the changes of the row.
    pub lock_version: i32,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for FormSubmission {
    const NAME: &'static str = "form_submission";
    const TABLE: &'static str = "form_submissions";
}

/// A submission to create.
#[derive(Debug, Clone, Copy)]
pub struct NewFormSubmission<'a> {
    /// An active version of a form.
    pub form_definition_id: FormDefinitionId,
    /// What was filled in: any JSON, at most 1 MB.
    pub data: &'a Value,
    /// Whether it is complete: then it has to match the form. Otherwise it is a draft.
    pub submit: bool,
}

impl NewFormSubmission<'_> {
    const fn status(&self) -> FormSubmissionStatus {
        if self.submit { FormSubmissionStatus::Submitted } else { FormSubmissionStatus::Draft }
    }

    async fn check(&self, tx: &TenantTx) -> Result<()> {
        Check::default().json("data", self.data).finish()?;
        if self.submit { tx.check_form_data(self.form_definition_id, self.data).await } else { Ok(()) }
    }
}

/// The tenant's submissions.
#[derive(Clone, Copy)]
pub struct FormSubmissionRepository<'t> {
    pub(super) tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's submissions.
    #[must_use]
    pub fn form_submissions(&self) -> FormSubmissionRepository<'_> {
        FormSubmissionRepository { tx: self }
    }
}

impl FormSubmissionRepository<'_> {
    /// Creates a draft, or submits at once.
    ///
    /// # Errors
    /// [`Error::DataInvalid`] for what is submitted and does not match the form, or is larger than 1 MB.
    /// [`Error::WrongState`] for a form that is not active, [`Error::NotFound`] for one that is not there.
    pub async fn create(&self, new: NewFormSubmission<'_>) -> Result<FormSubmission> {
        new.check(self.tx).await?;
        let id = FormSubmissionId::new();
        let event = if new.submit {
            Some(self.tx.events().to_record(FormEvent::submitted(id, new.form_definition_id)?)?)
        } else {
            None
        };
        let insert = sql_query(format!(
            "WITH created AS ( \
                 INSERT INTO form_submissions (tenant_id, id, form_definition_id, form_version, data, status) \
                 SELECT tenant_id, $3, id, version, $4, $5 FROM form_definitions \
                  WHERE tenant_id = $1 AND id = $2 AND status = 'active' RETURNING {columns}) \
             SELECT {columns}, CASE WHEN $6 IS NOT NULL THEN append_events($6) END FROM created",
            columns = columns::<FormSubmission>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(new.form_definition_id)
        .bind::<SqlUuid, _>(id)
        .bind::<Jsonb, _>(new.data)
        .bind::<Text, _>(new.status())
        .bind::<Nullable<Jsonb>, _>(event);
        match cached(insert).get_result(&mut self.tx.connection()).await.optional()? {
            Some(created) => Ok(created),
            None => Err(not_active(new.form_definition_id, self.status_of(new.form_definition_id).await?)),
        }
    }

    /// Creates any number, all or none, in the order given. One statement for each 1,000: arrays through UNNEST, so
    /// that its text is the same for any number.
    ///
    /// # Errors
    /// As for [`Self::create`], for the first that is refused: [`Error::Row`] with its number. What only the
    /// database refuses (a size between 1 and 6 MB of text) comes without.
    pub async fn create_many(&self, new: &[NewFormSubmission<'_>]) -> Result<Vec<FormSubmission>> {
        let mut forms = BTreeMap::new();
        for (row, submission) in (1..).zip(new) {
            let id = submission.form_definition_id;
            let checked = async {
                if let std::collections::btree_map::Entry::Vacant(form) = forms.entry(id) {
                    form.insert(self.status_of(id).await?);
                }
                match forms.get(&id) {
                    Some(FormDefinitionStatus::Active) | None => submission.check(self.tx).await,
                    Some(status) => Err(not_active(id, *status)),
                }
            };
            checked.await.map_err(|error| Error::Row { row, error: error.into() })?;
        }
        let created = in_chunks(new, async |chunk| {
            let insert = sql_query(format!(
                "INSERT INTO form_submissions (tenant_id, id, form_definition_id, form_version, data, status) \
                 SELECT $1, new.id, form.id, form.version, new.data, new.status \
                   FROM unnest($2, $3, $4, $5) AS new (id, form_definition_id, data, status) \
                   JOIN form_definitions AS form ON form.id = new.form_definition_id \
                  WHERE form.tenant_id = $1 AND form.status = 'active' RETURNING {columns}",
                columns = columns::<FormSubmission>("")
            ))
            .bind::<SqlUuid, _>(self.tx.tenant_id())
            .bind::<Array<SqlUuid>, _>(chunk.iter().map(|_| FormSubmissionId::new()).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(chunk.iter().map(|new| new.form_definition_id).collect::<Vec<_>>())
            .bind::<Array<Jsonb>, _>(chunk.iter().map(|new| new.data).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(chunk.iter().map(NewFormSubmission::status).collect::<Vec<_>>());
            let mut rows: Vec<FormSubmission> = cached(insert).load(&mut self.tx.connection()).await?;
            if rows.len() < chunk.len() {
                // Run again, the transaction says which row.
                return Err(Error::Contention { message: "a form was archived while it was filled in".into() });
            }
            // RETURNING promises no order; the ids grow in the order of the input.
            rows.sort_by_key(|submission| submission.id);
            Ok(rows)
        })
        .await?;
        let submitted = created.iter().filter(|submission| submission.status == FormSubmissionStatus::Submitted);
        let events: Result<Vec<_>> =
            submitted.map(|submission| FormEvent::submitted(submission.id, submission.form_definition_id)).collect();
        self.tx.events().record(events?).await?;
        Ok(created)
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: FormSubmissionId) -> Result<FormSubmission> {
        let query = form_submissions::table.find((self.tx.tenant_id(), id)).select(FormSubmission::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// Replaces the data of a draft that still has the version which the caller read. They may be incomplete.
    ///
    /// # Errors
    /// [`Error::StaleVersion`], [`Error::WrongState`], [`Error::NotFound`]; [`Error::DataInvalid`] for more than
    /// 1 MB.
    pub async fn save(&self, id: FormSubmissionId, read: i32, data: &Value) -> Result<FormSubmission> {
        Check::default().json("data", data).finish()?;
        self.set_data(id, read, FormSubmissionStatus::Draft, "save", data).await
    }

    /// Submits a draft that still has the version which the caller read.
    ///
    /// # Errors
    /// [`Error::DataInvalid`] with what is missing or wrong; [`Error::StaleVersion`], [`Error::WrongState`],
    /// [`Error::NotFound`].
    pub async fn submit(&self, id: FormSubmissionId, read: i32) -> Result<FormSubmission> {
        let there = self.find(id).await?;
        there.refuse_unless(read, FormSubmissionStatus::Draft, "submit")?;
        self.tx.check_form_data(there.form_definition_id, &there.data).await?;
        let event = FormEvent::submitted(id, there.form_definition_id)?;
        let submit = sql_query(format!(
            "WITH submitted AS ( \
                 UPDATE form_submissions SET status = 'submitted' \
                  WHERE tenant_id = $1 AND id = $2 AND lock_version = $3 AND status = 'draft' RETURNING {columns}) \
             SELECT {columns}, append_events($4) FROM submitted",
            columns = columns::<FormSubmission>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(id)
        .bind::<Integer, _>(read)
        .bind::<Jsonb, _>(self.tx.events().to_record(event)?);
        match cached(submit).get_result(&mut self.tx.connection()).await.optional()? {
            Some(submitted) => Ok(submitted),
            None => Err(self.find(id).await?.why_not(read, "submit")),
        }
    }

    /// Replaces the data of what was submitted and still has the version which the caller read.
    ///
    /// # Errors
    /// [`Error::DataInvalid`] for what does not match the form; [`Error::StaleVersion`], [`Error::WrongState`],
    /// [`Error::NotFound`].
    pub async fn amend(&self, id: FormSubmissionId, read: i32, data: &Value) -> Result<FormSubmission> {
        Check::default().json("data", data).finish()?;
        let there = self.find(id).await?;
        there.refuse_unless(read, FormSubmissionStatus::Submitted, "amend")?;
        self.tx.check_form_data(there.form_definition_id, data).await?;
        self.set_data(id, read, FormSubmissionStatus::Submitted, "amend", data).await
    }

    async fn set_data(
        &self,
        id: FormSubmissionId,
        read: i32,
        status: FormSubmissionStatus,
        action: &'static str,
        data: &Value,
    ) -> Result<FormSubmission> {
        let found = form_submissions::table
            .find((self.tx.tenant_id(), id))
            .filter(form_submissions::lock_version.eq(read))
            .filter(form_submissions::status.eq(status));
        let update =
            diesel::update(found).set(form_submissions::data.eq(data)).returning(FormSubmission::as_returning());
        match cached(update).get_result(&mut self.tx.connection()).await.optional()? {
            Some(changed) => Ok(changed),
            None => Err(self.find(id).await?.why_not(read, action)),
        }
    }

    /// Puts a draft or a submitted one away.
    ///
    /// # Errors
    /// [`Error::WrongState`] if it is archived already, [`Error::NotFound`].
    pub async fn archive(&self, id: FormSubmissionId) -> Result<FormSubmission> {
        let open = form_submissions::table
            .find((self.tx.tenant_id(), id))
            .filter(form_submissions::status.ne(FormSubmissionStatus::Archived));
        let update = diesel::update(open)
            .set(form_submissions::status.eq(FormSubmissionStatus::Archived))
            .returning(FormSubmission::as_returning());
        match cached(update).get_result(&mut self.tx.connection()).await.optional()? {
            Some(archived) => Ok(archived),
            None => Err(Error::wrong_state(id, self.find(id).await?.status, "archive")),
        }
    }

    async fn status_of(&self, form: FormDefinitionId) -> Result<FormDefinitionStatus> {
        let query = form_definitions::table.find((self.tx.tenant_id(), form)).select(form_definitions::status);
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(form))
    }
}

impl FormSubmission {
    fn refuse_unless(&self, read: i32, status: FormSubmissionStatus, action: &'static str) -> Result<()> {
        if self.lock_version == read && self.status == status { Ok(()) } else { Err(self.why_not(read, action)) }
    }

    fn why_not(&self, read: i32, action: &'static str) -> Error {
        if self.lock_version == read {
            return Error::wrong_state(self.id, self.status, action);
        }
        Error::StaleVersion { entity: Self::NAME, id: self.id.to_string(), expected: read, found: self.lock_version }
    }
}

fn not_active(form: FormDefinitionId, status: FormDefinitionStatus) -> Error {
    Error::wrong_state(form, status, "fill in")
}
