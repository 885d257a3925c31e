//! Lists of submissions, page by page.
//!
//! Always holds: each order ends with the time and the id, so that no two rows are equal in it; each is served by
//! an index (the test `plans::every_query_has_an_index`).

use chrono::{DateTime, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use super::definition::FormDefinitionId;
use super::submission::{FormSubmission, FormSubmissionRepository, FormSubmissionStatus};
use crate::error::Result;
use crate::pagination::{Condition, Cursor, Page, PageRequest, older_than};
use crate::schema::form_submissions;
use crate::sql::{cached, columns};
use crate::validation::Check;

/// Which submissions to list.
#[derive(Debug, Clone, Default)]
pub struct FormSubmissionFilter {
    /// Only those of this version of a form.
    pub form_definition_id: Option<FormDefinitionId>,
    /// Only those of this status.
    pub status: Option<FormSubmissionStatus>,
    /// Not made before.
    pub created_after: Option<DateTime<Utc>>,
    /// Made before.
    pub created_before: Option<DateTime<Utc>>,
    /// Only those of this priority; needs a form.
    pub priority: Option<i32>,
    /// Only those with this title; needs a form.
    pub title: Option<String>,
    /// Only those whose data contain this, at the same place (`@>`): `{"address": {"city": "Oslo"}}`. Newest first
    /// only.
    pub contains: Option<Value>,
}

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormSubmissionSort {
    /// By creation, newest first.
    #[default]
    Newest,
    /// By creation, oldest first.
    Oldest,
    /// By priority, the highest number first, then newest first; without a priority last. Needs a form.
    Priority,
    /// By title, in byte order, then oldest first; without a title last. Needs a form.
    Title,
}

impl FormSubmissionFilter {
    fn check(&self, sort: FormSubmissionSort) -> Result<()> {
        let mut check = Check::default();
        if self.form_definition_id.is_none() {
            for (asked, field) in [
                (self.priority.is_some(), "priority"),
                (self.title.is_some(), "title"),
                (matches!(sort, FormSubmissionSort::Priority | FormSubmissionSort::Title), "sort"),
            ] {
                if asked {
                    check.add(field, "needs a form_definition_id".into());
                }
            }
        }
        if let Some(contains) = &self.contains {
            check.json("contains", contains);
            if sort != FormSubmissionSort::Newest {
                check.add("sort", "with contains is newest first".into());
            }
        }
        if self.title.as_ref().is_some_and(|title| title.contains('\0')) {
            check.add("title", "holds a NUL character".into());
        }
        check.finish()
    }
}

type BoxedQuery<'a> = form_submissions::BoxedQuery<'a, Pg, SqlTypeOf<AsSelect<FormSubmission, Pg>>>;

/// What a page ended with, in an order whose first key may be missing.
type Key<K> = (Option<K>, DateTime<Utc>);

impl FormSubmissionRepository<'_> {
    /// One page of a list.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a bad limit, a cursor of another order, or what needs a form and has none.
    pub async fn list(
        &self,
        filter: &FormSubmissionFilter,
        sort: FormSubmissionSort,
        page: &PageRequest,
    ) -> Result<Page<FormSubmission>> {
        filter.check(sort)?;
        let fetch = page.fetch()?;
        let rows = match (sort, &filter.contains) {
            (_, Some(contains)) => self.search(filter, contains, fetch, page.after.as_ref()).await?,
            (FormSubmissionSort::Newest | FormSubmissionSort::Oldest, None) => {
                let mut query = sort.ordered(self.filtered(filter)).limit(fetch);
                if let Some(after) = &page.after {
                    let (created_at, id) = after.decode(sort.name())?;
                    query = query.filter(sort.after_time(created_at, id));
                }
                cached(query).load(&mut self.tx.connection()).await?
            }
            (FormSubmissionSort::Priority, None) => {
                let after: Option<(Key<i32>, Uuid)> = page.after.as_ref().map(|c| c.decode(sort.name())).transpose()?;
                let after = after.map(|((priority, at), id)| (priority.map(|p| after_priority(p, at, id)), at, id));
                self.list_keyed(filter, sort, fetch, after).await?
            }
            (FormSubmissionSort::Title, None) => {
                let after: Option<(Key<String>, Uuid)> =
                    page.after.as_ref().map(|c| c.decode(sort.name())).transpose()?;
                let after = after.map(|((title, at), id)| (title.map(|t| after_title(t, at, id)), at, id));
                self.list_keyed(filter, sort, fetch, after).await?
            }
        };
        Ok(Page::new(rows, page, |last| sort.cursor(last)))
    }

    fn filtered(self, filter: &FormSubmissionFilter) -> BoxedQuery<'_> {
        let mut query = form_submissions::table
            .filter(form_submissions::tenant_id.eq(self.tx.tenant_id()))
            .select(FormSubmission::as_select())
            .into_boxed::<Pg>();
        if let Some(form) = filter.form_definition_id {
            query = query.filter(form_submissions::form_definition_id.eq(form));
        }
        if let Some(status) = filter.status {
            query = query.filter(form_submissions::status.eq(status));
        }
        if let Some(from) = filter.created_after {
            query = query.filter(form_submissions::created_at.ge(from));
        }
        if let Some(until) = filter.created_before {
            query = query.filter(form_submissions::created_at.lt(until));
        }
        if let Some(priority) = filter.priority {
            query = query.filter(form_submissions::priority.eq(priority));
        }
        if let Some(title) = &filter.title {
            query = query.filter(form_submissions::title.eq(title));
        }
        query
    }

    /// First the rows that have the key, then those without: a comparison with NULL finds nothing, and one query
    /// for both would not be a range of the index.
    async fn list_keyed(
        &self,
        filter: &FormSubmissionFilter,
        sort: FormSubmissionSort,
        fetch: i64,
        after: Option<(Option<Condition<form_submissions::table>>, DateTime<Utc>, Uuid)>,
    ) -> Result<Vec<FormSubmission>> {
        let (after_key, after_none) = match after {
            None => (None, None),
            Some((Some(condition), ..)) => (Some(condition), None),
            Some((None, created_at, id)) => (None, Some(sort.after_time(created_at, id))),
        };
        let mut rows: Vec<FormSubmission> = Vec::new();
        if after_none.is_none() {
            let mut query = sort.ordered(self.filtered(filter)).filter(sort.has_key(true)).limit(fetch);
            if let Some(condition) = after_key {
                query = query.filter(condition);
            }
            rows = cached(query).load(&mut self.tx.connection()).await?;
        }
        let missing = fetch - i64::try_from(rows.len()).unwrap_or(fetch);
        if missing > 0 {
            let mut query = sort.ordered(self.filtered(filter)).filter(sort.has_key(false)).limit(missing);
            if let Some(condition) = after_none {
                query = query.filter(condition);
            }
            rows.append(&mut cached(query).load(&mut self.tx.connection()).await?);
        }
        Ok(rows)
    }

    /// The function knows the limit and the place: it finds a page's rows and no others.
    async fn search(
        &self,
        filter: &FormSubmissionFilter,
        contains: &Value,
        fetch: i64,
        after: Option<&Cursor>,
    ) -> Result<Vec<FormSubmission>> {
        let after: Option<(DateTime<Utc>, Uuid)> =
            after.map(|cursor| cursor.decode(FormSubmissionSort::Newest.name())).transpose()?;
        let search = sql_query(format!(
            "SELECT {columns} FROM form_submissions WHERE tenant_id = $1 AND id = ANY (ARRAY( \
                 SELECT search_form_submissions($2, $3, $4, $5, $6, $7, $8, $9, $10, $11::int))) \
              ORDER BY created_at DESC, id DESC",
            columns = columns::<FormSubmission>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<Jsonb, _>(contains)
        .bind::<Nullable<SqlUuid>, _>(filter.form_definition_id)
        .bind::<Nullable<Text>, _>(filter.status)
        .bind::<Nullable<Integer>, _>(filter.priority)
        .bind::<Nullable<Text>, _>(filter.title.as_deref())
        .bind::<Nullable<Timestamptz>, _>(filter.created_after)
        .bind::<Nullable<Timestamptz>, _>(filter.created_before)
        .bind::<Nullable<Timestamptz>, _>(after.map(|(created_at, _)| created_at))
        .bind::<Nullable<SqlUuid>, _>(after.map(|(_, id)| id))
        .bind::<BigInt, _>(fetch);
        Ok(cached(search).load(&mut self.tx.connection()).await?)
    }
}

fn after_priority(priority: i32, created_at: DateTime<Utc>, id: Uuid) -> Condition<form_submissions::table> {
    Box::new(
        sql::<Bool>("(priority, created_at, id) < (")
            .bind::<Integer, _>(priority)
            .sql(", ")
            .bind::<Timestamptz, _>(created_at)
            .sql(", ")
            .bind::<SqlUuid, _>(id)
            .sql(")"),
    )
}

fn after_title(title: String, created_at: DateTime<Utc>, id: Uuid) -> Condition<form_submissions::table> {
    Box::new(
        sql::<Bool>("(title, created_at, id) > (")
            .bind::<Text, _>(title)
            .sql(", ")
            .bind::<Timestamptz, _>(created_at)
            .sql(", ")
            .bind::<SqlUuid, _>(id)
            .sql(")"),
    )
}

impl FormSubmissionSort {
    const fn name(self) -> &'static str {
        match self {
            Self::Newest => "submissions.newest",
            Self::Oldest => "submissions.oldest",
            Self::Priority => "submissions.priority",
            Self::Title => "submissions.title",
        }
    }

    fn ordered(self, query: BoxedQuery<'_>) -> BoxedQuery<'_> {
        use form_submissions::{created_at, id, priority, title};
        match self {
            Self::Newest => query.order((created_at.desc(), id.desc())),
            Self::Oldest => query.order((created_at, id)),
            Self::Priority => query.order((priority.desc(), created_at.desc(), id.desc())),
            Self::Title => query.order((title, created_at, id)),
        }
    }

    /// What comes after a row by time alone: also among those without the order's first key.
    fn after_time(self, created_at: DateTime<Utc>, id: Uuid) -> Condition<form_submissions::table> {
        match self {
            Self::Newest | Self::Priority => older_than::<form_submissions::table>(created_at, id),
            Self::Oldest | Self::Title => Box::new(
                sql::<Bool>("(created_at, id) > (")
                    .bind::<Timestamptz, _>(created_at)
                    .sql(", ")
                    .bind::<SqlUuid, _>(id)
                    .sql(")"),
            ),
        }
    }

    /// Whether the row has the order's first key.
    fn has_key(self, has: bool) -> Condition<form_submissions::table> {
        match (self, has) {
            (Self::Title, true) => Box::new(form_submissions::title.is_not_null()),
            (Self::Title, false) => Box::new(form_submissions::title.is_null()),
            (_, true) => Box::new(form_submissions::priority.is_not_null()),
            (_, false) => Box::new(form_submissions::priority.is_null()),
        }
    }

    fn cursor(self, last: &FormSubmission) -> Cursor {
        let id = last.id.as_uuid();
        match self {
            Self::Newest | Self::Oldest => Cursor::new(self.name(), &last.created_at, id),
            Self::Priority => Cursor::new(self.name(), &(last.priority, last.created_at), id),
            Self::Title => Cursor::new(self.name(), &(&last.title, last.created_at), id),
        }
    }
}
