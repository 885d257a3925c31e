//! Lists of business ideas, page by page, and ideas in numbers.
//!
//! Always holds: each order ends with the id, so that no two rows are equal in it; each is served by an
//! index (the test `plans::every_query_has_an_index`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::business_idea::{BusinessIdea, BusinessIdeaRepository, BusinessIdeaStatus};
use crate::error::Result;
use crate::pagination::{Cursor, Page, PageRequest, older_than};
use crate::schema::business_ideas;
use crate::sql::cached;
use crate::tenancy::UserId;
use crate::validation::Check;

/// Which ideas to list.
#[derive(Debug, Clone, Default)]
pub struct BusinessIdeaFilter {
    /// Only this user's.
    pub user_id: Option<UserId>,
    /// Only those of this status.
    pub status: Option<BusinessIdeaStatus>,
    /// Only those whose title or description match, as people search: `tea OR coffee -milk "cold brew"`.
    pub search: Option<String>,
    /// Those that are deleted, instead of those that are not.
    pub deleted: bool,
}

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusinessIdeaSort {
    /// By creation, newest first.
    #[default]
    Newest,
    /// By creation, oldest first.
    Oldest,
    /// By title, in byte order.
    Title,
}

/// Ideas in numbers, without the deleted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BusinessIdeaStatistics {
    /// All of them.
    pub total: i64,
    /// By status; a status that no idea has is there with 0.
    pub by_status: BTreeMap<BusinessIdeaStatus, i64>,
    /// The mean of the scores of completed evaluations.
    pub average_score: Option<f64>,
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// See the function's comment in the database.
    fn search_business_ideas(query: Text) -> SqlUuid;
}

impl BusinessIdeaRepository<'_> {
    /// One page of a list.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a bad limit, or a cursor of another order.
    pub async fn list(
        &self,
        filter: &BusinessIdeaFilter,
        sort: BusinessIdeaSort,
        page: &PageRequest,
    ) -> Result<Page<BusinessIdea>> {
        let mut query = business_ideas::table
            .filter(business_ideas::tenant_id.eq(self.tx.tenant_id()))
            .limit(page.fetch()?)
            .select(BusinessIdea::as_select())
            .into_boxed::<Pg>();
        query = if filter.deleted {
            query.filter(business_ideas::deleted_at.is_not_null())
        } else {
            query.filter(business_ideas::deleted_at.is_null())
        };
        if let Some(user_id) = filter.user_id {
            query = query.filter(business_ideas::user_id.eq(user_id));
        }
        if let Some(status) = filter.status {
            query = query.filter(business_ideas::status.eq(status));
        }
        if let Some(search) = &filter.search {
            Check::default().text("search", search, 1..=1000).finish()?;
            query = query.filter(business_ideas::id.eq_any(diesel::select(search_business_ideas(search))));
        }
        query = sort.ordered(query);
        if let Some(after) = &page.after {
            query = sort.after(query, after)?;
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last| sort.cursor(last)))
    }

    /// Ideas in numbers.
    ///
    /// # Errors
    /// What the database says.
    pub async fn statistics(&self) -> Result<BusinessIdeaStatistics> {
        let by_status = business_ideas::table
            .filter(business_ideas::tenant_id.eq(self.tx.tenant_id()))
            .filter(business_ideas::deleted_at.is_null())
            .group_by(business_ideas::status)
            .select((business_ideas::status, diesel::dsl::count_star()));
        let score = sql_query(
            "SELECT avg((e.results ->> 'score')::float8) AS score FROM evaluations AS e \
               JOIN business_ideas AS i ON i.tenant_id = e.tenant_id AND i.id = e.business_idea_id \
              WHERE e.tenant_id = $1 AND e.status = 'completed' AND i.tenant_id = $1 AND i.deleted_at IS NULL",
        )
        .bind::<SqlUuid, _>(self.tx.tenant_id());
        let (mut first, mut second) = (self.tx.connection(), self.tx.connection());
        let (counted, score) = tokio::try_join!(
            by_status.load::<(BusinessIdeaStatus, i64)>(&mut first),
            cached(score).get_result::<Score>(&mut second),
        )?;
        let mut by_status: BTreeMap<_, _> = BusinessIdeaStatus::ALL.iter().map(|status| (*status, 0)).collect();
        by_status.extend(counted);
        Ok(BusinessIdeaStatistics { total: by_status.values().sum(), by_status, average_score: score.score })
    }
}

#[derive(QueryableByName)]
struct Score {
    #[diesel(sql_type = Nullable<Double>)]
    score: Option<f64>,
}

type BoxedQuery<'a> = business_ideas::BoxedQuery<'a, Pg, SqlTypeOf<AsSelect<BusinessIdea, Pg>>>;

impl BusinessIdeaSort {
    const fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Title => "title",
        }
    }

    fn ordered(self, query: BoxedQuery<'_>) -> BoxedQuery<'_> {
        match self {
            Self::Newest => query.order((business_ideas::created_at.desc(), business_ideas::id.desc())),
            Self::Oldest => query.order((business_ideas::created_at, business_ideas::id)),
            Self::Title => query.order((business_ideas::title, business_ideas::id)),
        }
    }

    fn after<'a>(self, query: BoxedQuery<'a>, cursor: &Cursor) -> Result<BoxedQuery<'a>> {
        Ok(match self {
            Self::Newest => {
                let (created_at, id) = cursor.decode(self.name())?;
                query.filter(older_than::<business_ideas::table>(created_at, id))
            }
            Self::Oldest => {
                let (created_at, id): (DateTime<Utc>, Uuid) = cursor.decode(self.name())?;
                query.filter(
                    sql::<Bool>("(created_at, id) > (")
                        .bind::<Timestamptz, _>(created_at)
                        .sql(", ")
                        .bind::<SqlUuid, _>(id)
                        .sql(")"),
                )
            }
            Self::Title => {
                let (title, id): (String, Uuid) = cursor.decode(self.name())?;
                query.filter(
                    sql::<Bool>("(title, id) > (").bind::<Text, _>(title).sql(", ").bind::<SqlUuid, _>(id).sql(")"),
                )
            }
        })
    }

    fn cursor(self, last: &BusinessIdea) -> Cursor {
        match self {
            Self::Newest | Self::Oldest => Cursor::new(self.name(), &last.created_at, last.id.as_uuid()),
            Self::Title => Cursor::new(self.name(), &last.title, last.id.as_uuid()),
        }
    }
}
