//! Business ideas: what users write, edit, submit, and delete.
//!
//! Always holds: only a draft is edited; an update names the `lock_version` that it read, so that no
//! change is lost; an idea that is being evaluated is not deleted (the database refuses all three too).

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;

use crate::database::{TenantTx, in_chunks};
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::schema::business_ideas;
use crate::sql::{cached, columns, text_enum};
use crate::tenancy::{TenantId, UserId};
use crate::validation::Check;

/// The id of a business idea.
pub type BusinessIdeaId = Id<BusinessIdea>;

text_enum! {
    /// Where an idea stands.
    BusinessIdeaStatus {
        /// Being written.
        Draft = "draft",
        /// Waits for a worker.
        Submitted = "submitted",
        /// Agents are at work.
        Evaluating = "evaluating",
        /// The agents' results are there.
        Completed = "completed",
        /// Put away.
        Archived = "archived",
    }
}

impl BusinessIdeaStatus {
    /// Whether an idea can go from this status to that one.
    #[must_use]
    pub fn can_become(self, to: Self) -> bool {
        use BusinessIdeaStatus::{Archived, Completed, Draft, Evaluating, Submitted};
        matches!(
            (self, to),
            (Draft, Submitted | Archived)
                | (Submitted, Evaluating | Draft)
                | (Evaluating, Completed | Draft)
                | (Completed, Draft | Archived)
        )
    }
}

/// A row of `business_ideas`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = business_ideas, check_for_backend(diesel::pg::Pg))]
pub struct BusinessIdea {
    /// The idea's tenant.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: BusinessIdeaId,
    /// Who owns it.
    pub user_id: UserId,
    /// 1 to 255 characters.
    pub title: String,
    /// 50 to 5,000 characters.
    pub description: String,
    /// Where it stands.
    pub status: BusinessIdeaStatus,
    /// Counts the changes of the row.
    pub lock_version: i32,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for BusinessIdea {
    const NAME: &'static str = "business_idea";
    const TABLE: &'static str = "business_ideas";
}

/// An idea to create, as a draft.
#[derive(Debug, Clone, Copy)]
pub struct NewBusinessIdea<'a> {
    /// Who owns it: a user of the tenant.
    pub user_id: UserId,
    /// 1 to 255 characters.
    pub title: &'a str,
    /// 50 to 5,000 characters.
    pub description: &'a str,
}

impl NewBusinessIdea<'_> {
    fn check(&self) -> Result<()> {
        check_texts(Some(self.title), Some(self.description))
    }
}

fn check_texts(title: Option<&str>, description: Option<&str>) -> Result<()> {
    let mut check = Check::default();
    if let Some(title) = title {
        check.text("title", title, 1..=255);
    }
    if let Some(description) = description {
        check.text("description", description, 50..=5000);
    }
    check.finish()
}

/// What to change in a draft; `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, Default, AsChangeset)]
#[diesel(table_name = business_ideas)]
pub struct BusinessIdeaChanges<'a> {
    /// 1 to 255 characters.
    pub title: Option<&'a str>,
    /// 50 to 5,000 characters.
    pub description: Option<&'a str>,
}

/// The tenant's business ideas.
#[derive(Clone, Copy)]
pub struct BusinessIdeaRepository<'t> {
    pub(super) tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's business ideas.
    #[must_use]
    pub fn business_ideas(&self) -> BusinessIdeaRepository<'_> {
        BusinessIdeaRepository { tx: self }
    }
}

impl BusinessIdeaRepository<'_> {
    /// Creates a draft.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every rule that the input breaks, also for a user that does not exist.
    pub async fn create(&self, new: NewBusinessIdea<'_>) -> Result<BusinessIdea> {
        new.check()?;
        let insert = diesel::insert_into(business_ideas::table)
            .values((
                business_ideas::tenant_id.eq(self.tx.tenant_id()),
                business_ideas::id.eq(BusinessIdeaId::new()),
                business_ideas::user_id.eq(new.user_id),
                business_ideas::title.eq(new.title),
                business_ideas::description.eq(new.description),
            ))
            .returning(BusinessIdea::as_returning());
        Ok(cached(insert).get_result(&mut self.tx.connection()).await?)
    }

    /// Creates any number of drafts, all or none, in the order given. One statement for each 1,000: arrays
    /// through UNNEST, so that its text is the same for any number.
    ///
    /// # Errors
    /// As for [`Self::create`], for the first that is wrong.
    pub async fn create_many(&self, new: &[NewBusinessIdea<'_>]) -> Result<Vec<BusinessIdea>> {
        new.iter().try_for_each(NewBusinessIdea::check)?;
        in_chunks(new, async |chunk| {
            let insert = sql_query(format!(
                "INSERT INTO business_ideas (tenant_id, id, user_id, title, description) \
                 SELECT $1, id, user_id, title, description \
                   FROM unnest($2, $3, $4, $5) AS new (id, user_id, title, description) RETURNING {columns}",
                columns = columns::<BusinessIdea>("")
            ))
            .bind::<SqlUuid, _>(self.tx.tenant_id())
            .bind::<Array<SqlUuid>, _>(chunk.iter().map(|_| BusinessIdeaId::new()).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(chunk.iter().map(|idea| idea.user_id).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(chunk.iter().map(|idea| idea.title).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(chunk.iter().map(|idea| idea.description).collect::<Vec<_>>());
            let mut rows: Vec<BusinessIdea> = cached(insert).load(&mut self.tx.connection()).await?;
            // RETURNING promises no order; the ids grow in the order of the input.
            rows.sort_by_key(|idea| idea.id);
            Ok(rows)
        })
        .await
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none, or it is deleted.
    pub async fn find(&self, id: BusinessIdeaId) -> Result<BusinessIdea> {
        let query = business_ideas::table
            .find((self.tx.tenant_id(), id))
            .filter(business_ideas::deleted_at.is_null())
            .select(BusinessIdea::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// Changes a draft that still has the version which the caller read.
    ///
    /// # Errors
    /// [`Error::StaleVersion`] if it has another one, [`Error::WrongState`] if it is no draft any more,
    /// [`Error::NotFound`], [`Error::Invalid`].
    pub async fn update(
        &self,
        id: BusinessIdeaId,
        read: i32,
        changes: BusinessIdeaChanges<'_>,
    ) -> Result<BusinessIdea> {
        check_texts(changes.title, changes.description)?;
        let draft = business_ideas::table
            .find((self.tx.tenant_id(), id))
            .filter(business_ideas::lock_version.eq(read))
            .filter(business_ideas::status.eq(BusinessIdeaStatus::Draft))
            .filter(business_ideas::deleted_at.is_null());
        let found = if changes.title.is_none() && changes.description.is_none() {
            draft.select(BusinessIdea::as_select()).get_result(&mut self.tx.connection()).await.optional()?
        } else {
            let update = diesel::update(draft).set(changes).returning(BusinessIdea::as_returning());
            cached(update).get_result(&mut self.tx.connection()).await.optional()?
        };
        if let Some(updated) = found {
            return Ok(updated);
        }
        let there = self.find(id).await?;
        if there.lock_version == read {
            return Err(Error::wrong_state(id, there.status, "edit"));
        }
        Err(Error::StaleVersion {
            entity: BusinessIdea::NAME,
            id: id.to_string(),
            expected: read,
            found: there.lock_version,
        })
    }

    /// Deletes softly; [`Self::restore`] brings it back.
    ///
    /// # Errors
    /// [`Error::WrongState`] while it is submitted or evaluated: cancel that first. [`Error::NotFound`].
    pub async fn delete(&self, id: BusinessIdeaId) -> Result<BusinessIdea> {
        let deletable = business_ideas::table
            .find((self.tx.tenant_id(), id))
            .filter(business_ideas::deleted_at.is_null())
            .filter(business_ideas::status.ne(BusinessIdeaStatus::Submitted))
            .filter(business_ideas::status.ne(BusinessIdeaStatus::Evaluating));
        let update =
            diesel::update(deletable).set(business_ideas::deleted_at.eq(now)).returning(BusinessIdea::as_returning());
        self.or_wrong_state(id, "delete", cached(update).get_result(&mut self.tx.connection()).await.optional()?).await
    }

    /// Brings a deleted idea back as it was.
    ///
    /// # Errors
    /// [`Error::NotFound`] where no deleted idea has this id.
    pub async fn restore(&self, id: BusinessIdeaId) -> Result<BusinessIdea> {
        let deleted =
            business_ideas::table.find((self.tx.tenant_id(), id)).filter(business_ideas::deleted_at.is_not_null());
        let update = diesel::update(deleted)
            .set(business_ideas::deleted_at.eq(None::<DateTime<Utc>>))
            .returning(BusinessIdea::as_returning());
        let found = cached(update).get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::not_found(id))
    }

    /// Puts a draft or a completed idea away.
    ///
    /// # Errors
    /// [`Error::WrongState`], [`Error::NotFound`].
    pub async fn archive(&self, id: BusinessIdeaId) -> Result<BusinessIdea> {
        let moved = match self.set_status(id, BusinessIdeaStatus::Completed, BusinessIdeaStatus::Archived).await? {
            Some(idea) => Some(idea),
            None => self.set_status(id, BusinessIdeaStatus::Draft, BusinessIdeaStatus::Archived).await?,
        };
        self.or_wrong_state(id, "archive", moved).await
    }

    /// Makes a completed idea a draft again, to be edited and submitted once more. Its evaluations stay.
    ///
    /// # Errors
    /// [`Error::WrongState`], [`Error::NotFound`].
    pub async fn reopen(&self, id: BusinessIdeaId) -> Result<BusinessIdea> {
        let moved = self.set_status(id, BusinessIdeaStatus::Completed, BusinessIdeaStatus::Draft).await?;
        self.or_wrong_state(id, "reopen", moved).await
    }

    /// The one UPDATE for every change of status; `None` where the idea does not have the status `from`.
    pub(super) async fn set_status(
        &self,
        id: BusinessIdeaId,
        from: BusinessIdeaStatus,
        to: BusinessIdeaStatus,
    ) -> Result<Option<BusinessIdea>> {
        debug_assert!(from.can_become(to), "{from} > {to}");
        let found = business_ideas::table
            .find((self.tx.tenant_id(), id))
            .filter(business_ideas::status.eq(from))
            .filter(business_ideas::deleted_at.is_null());
        let update = diesel::update(found).set(business_ideas::status.eq(to)).returning(BusinessIdea::as_returning());
        Ok(cached(update).get_result(&mut self.tx.connection()).await.optional()?)
    }

    /// Says why nothing was changed: there is no such idea, or its status does not allow the action.
    pub(super) async fn or_wrong_state(
        &self,
        id: BusinessIdeaId,
        action: &'static str,
        changed: Option<BusinessIdea>,
    ) -> Result<BusinessIdea> {
        match changed {
            Some(idea) => Ok(idea),
            None => Err(Error::wrong_state(id, self.find(id).await?.status, action)),
        }
    }
}
