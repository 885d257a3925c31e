//! Lists of forms, page by page, without the schemas: those can be large.
//!
//! Always holds: both orders are those of the key `(name, version)`.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::definition::{FormDefinitionId, FormDefinitionRepository, FormDefinitionStatus};
use crate::error::Result;
use crate::pagination::{Cursor, Page, PageRequest};
use crate::schema::form_definitions;
use crate::sql::cached;

/// A version of a form, without its schema.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = form_definitions, check_for_backend(Pg))]
pub struct FormVersion {
    /// The id of this version.
    pub id: FormDefinitionId,
    /// The form's name.
    pub name: String,
    /// The version's number, from 1.
    pub version: i32,
    /// Where it stands.
    pub status: FormDefinitionStatus,
    /// When it was published; `None`: a draft.
    pub published_at: Option<DateTime<Utc>>,
    /// Counts the changes of the row.
    pub lock_version: i32,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

/// Which versions to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct FormDefinitionFilter {
    /// Only those of this status.
    pub status: Option<FormDefinitionStatus>,
}

impl FormDefinitionRepository<'_> {
    /// The versions of a name, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a bad limit or cursor.
    pub async fn list_versions(&self, name: &str, page: &PageRequest) -> Result<Page<FormVersion>> {
        const ORDER: &str = "form_versions";
        let mut query = form_definitions::table
            .filter(form_definitions::tenant_id.eq(self.tx.tenant_id()))
            .filter(form_definitions::name.eq(name))
            .order(form_definitions::version.desc())
            .limit(page.fetch()?)
            .select(FormVersion::as_select())
            .into_boxed::<Pg>();
        if let Some(after) = &page.after {
            let (version, _): (i32, Uuid) = after.decode(ORDER)?;
            query = query.filter(form_definitions::version.lt(version));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &FormVersion| Cursor::new(ORDER, &last.version, last.id.as_uuid())))
    }

    /// All versions of all names, by name and version.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a bad limit or cursor.
    pub async fn list(&self, filter: &FormDefinitionFilter, page: &PageRequest) -> Result<Page<FormVersion>> {
        const ORDER: &str = "forms";
        let mut query = form_definitions::table
            .filter(form_definitions::tenant_id.eq(self.tx.tenant_id()))
            .order((form_definitions::name, form_definitions::version))
            .limit(page.fetch()?)
            .select(FormVersion::as_select())
            .into_boxed::<Pg>();
        if let Some(status) = filter.status {
            query = query.filter(form_definitions::status.eq(status));
        }
        if let Some(after) = &page.after {
            let ((name, version), _): ((String, i32), Uuid) = after.decode(ORDER)?;
            query = query.filter(
                sql::<Bool>("(name, version) > (").bind::<Text, _>(name).sql(", ").bind::<Integer, _>(version).sql(")"),
            );
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &FormVersion| {
            Cursor::new(ORDER, &(&last.name, last.version), last.id.as_uuid())
        }))
    }
}
