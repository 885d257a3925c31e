//! Form definitions: versions of a form, drafted, edited and deleted. How they are published is in
//! [`publish`](super::publish).
//!
//! Always holds: only a draft is edited or deleted; an update names the `lock_version` that it read, so that no
//! change is lost; a name's versions count from 1 (the database holds all three too).

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

use crate::database::TenantTx;
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::schema::form_definitions;
use crate::sql::{cached, columns, text_enum};
use crate::tenancy::TenantId;
use crate::validation::Check;

/// The id of a version of a form.
pub type FormDefinitionId = Id<FormDefinition>;

text_enum! {
    /// Where a version of a form stands.
    FormDefinitionStatus {
        /// Being written; nothing can be filled in.
        Draft = "draft",
        /// The one version of its name that is filled in.
        Active = "active",
        /// What was filled in stays, and can be amended; nothing new comes.
        Archived = "archived",
    }
}

impl FormDefinitionStatus {
    /// Whether a version can go from this status to that one.
    #[must_use]
    pub fn can_become(self, to: Self) -> bool {
        use FormDefinitionStatus::{Active, Archived, Draft};
        matches!((self, to), (Draft, Active) | (Active, Archived))
    }
}

/// A row of `form_definitions`, without what is compiled from it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = form_definitions, check_for_backend(diesel::pg::Pg))]
pub struct FormDefinition {
    /// The form's tenant.
    pub tenant_id: TenantId,
    /// The id of this version, unique inside the tenant.
    pub id: FormDefinitionId,
    /// The form's name, 1 to 100 characters; its versions share it.
    pub name: String,
    /// The version's number, from 1.
    pub version: i32,
    /// JSON Schema as it was written: draft 2020-12, or an older draft that is translated when it is compiled.
    pub definition: Value,
    /// Schemas that the definition refers to: an object, by URI.
    pub resources: Value,
    /// Whether `format` is a rule; otherwise it is a remark.
    pub assert_formats: bool,
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

impl Entity for FormDefinition {
    const NAME: &'static str = "form_definition";
    const TABLE: &'static str = "form_definitions";
}

/// A version to create, as a draft.
#[derive(Debug, Clone, Copy)]
pub struct NewFormDefinition<'a> {
    /// 1 to 100 characters. Where there are versions of this name, it gets the next number.
    pub name: &'a str,
    /// JSON Schema, at most 256 KB: an object or a boolean. What it says is looked at when it is published.
    pub definition: &'a Value,
    /// Schemas that the definition refers to, by URI, at most 512 KB; `None`: it needs none.
    pub resources: Option<&'a Value>,
    /// Whether `format` is a rule.
    pub assert_formats: bool,
}

/// What to change in a draft; `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, Default, AsChangeset)]
#[diesel(table_name = form_definitions)]
pub struct FormDefinitionChanges<'a> {
    /// JSON Schema, at most 256 KB: an object or a boolean.
    pub definition: Option<&'a Value>,
    /// Schemas that the definition refers to, by URI, at most 512 KB.
    pub resources: Option<&'a Value>,
    /// Whether `format` is a rule.
    pub assert_formats: Option<bool>,
}

fn check_schemas(check: &mut Check, definition: Option<&Value>, resources: Option<&Value>) -> Result<()> {
    if let Some(definition) = definition {
        if !definition.is_object() && !definition.is_boolean() {
            check.add("definition", "is no JSON object or boolean".into());
        }
        check.json("definition", definition);
    }
    if let Some(resources) = resources {
        check.object("resources", resources);
    }
    // The database counts a few spaces more, and has the last word.
    for (field, value, limit) in [("definition", definition, 262_144), ("resources", resources, 524_288)] {
        if value.is_some_and(|value| value.to_string().len() > limit) {
            check.add(field, format!("is larger than {} KB", limit / 1024));
        }
    }
    check.finish()
}

/// The tenant's forms, by version.
#[derive(Clone, Copy)]
pub struct FormDefinitionRepository<'t> {
    pub(super) tx: &'t TenantTx,
}

impl TenantTx {
    /// The tenant's forms, by version.
    #[must_use]
    pub fn form_definitions(&self) -> FormDefinitionRepository<'_> {
        FormDefinitionRepository { tx: self }
    }
}

impl FormDefinitionRepository<'_> {
    /// Creates a draft: the first version of its name, or the next one.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every rule that the input breaks. [`Error::Conflict`] where somebody else makes a
    /// version of this name at the same time.
    pub async fn create(&self, new: NewFormDefinition<'_>) -> Result<FormDefinition> {
        let mut check = Check::default();
        check.text("name", new.name, 1..=100);
        check_schemas(&mut check, Some(new.definition), new.resources)?;
        let insert = sql_query(format!(
            "INSERT INTO form_definitions (tenant_id, id, name, version, definition, resources, assert_formats) \
             SELECT $1, $2, $3, coalesce(max(version), 0) + 1, $4, $5, $6 FROM form_definitions \
              WHERE tenant_id = $1 AND name = $3 RETURNING {columns}",
            columns = columns::<FormDefinition>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(FormDefinitionId::new())
        .bind::<Text, _>(new.name)
        .bind::<Jsonb, _>(new.definition)
        .bind::<Jsonb, _>(new.resources.cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new())))
        .bind::<Bool, _>(new.assert_formats);
        Ok(cached(insert).get_result(&mut self.tx.connection()).await?)
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: FormDefinitionId) -> Result<FormDefinition> {
        let query = form_definitions::table.find((self.tx.tenant_id(), id)).select(FormDefinition::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find_by_name_and_version(&self, name: &str, version: i32) -> Result<FormDefinition> {
        let query = form_definitions::table
            .filter(form_definitions::tenant_id.eq(self.tx.tenant_id()))
            .filter(form_definitions::name.eq(name))
            .filter(form_definitions::version.eq(version))
            .select(FormDefinition::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: FormDefinition::NAME, id: format!("{name} version {version}") })
    }

    /// The version of a name that is filled in.
    ///
    /// # Errors
    /// [`Error::NotFound`] where none is active.
    pub async fn find_active(&self, name: &str) -> Result<FormDefinition> {
        let query = form_definitions::table
            .filter(form_definitions::tenant_id.eq(self.tx.tenant_id()))
            .filter(form_definitions::name.eq(name))
            // In the words of the index, which a bind would hide from the planner.
            .filter(sql::<Bool>("status = 'active'"))
            .select(FormDefinition::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: FormDefinition::NAME, id: name.to_owned() })
    }

    /// Changes a draft that still has the version which the caller read.
    ///
    /// # Errors
    /// [`Error::StaleVersion`] if it has another one, [`Error::WrongState`] if it is published,
    /// [`Error::NotFound`], [`Error::Invalid`].
    pub async fn update(
        &self,
        id: FormDefinitionId,
        read: i32,
        changes: FormDefinitionChanges<'_>,
    ) -> Result<FormDefinition> {
        check_schemas(&mut Check::default(), changes.definition, changes.resources)?;
        let draft = form_definitions::table
            .find((self.tx.tenant_id(), id))
            .filter(form_definitions::lock_version.eq(read))
            .filter(form_definitions::status.eq(FormDefinitionStatus::Draft));
        let unchanged = changes.definition.is_none() && changes.resources.is_none() && changes.assert_formats.is_none();
        let found = if unchanged {
            draft.select(FormDefinition::as_select()).get_result(&mut self.tx.connection()).await.optional()?
        } else {
            let update = diesel::update(draft).set(changes).returning(FormDefinition::as_returning());
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
            entity: FormDefinition::NAME,
            id: id.to_string(),
            expected: read,
            found: there.lock_version,
        })
    }

    /// Deletes a draft.
    ///
    /// # Errors
    /// [`Error::WrongState`] for a published version: archive that. [`Error::NotFound`].
    pub async fn delete(&self, id: FormDefinitionId) -> Result<FormDefinition> {
        let draft = form_definitions::table
            .find((self.tx.tenant_id(), id))
            .filter(form_definitions::status.eq(FormDefinitionStatus::Draft));
        let delete = diesel::delete(draft).returning(FormDefinition::as_returning());
        self.or_wrong_state(id, "delete", cached(delete).get_result(&mut self.tx.connection()).await.optional()?).await
    }

    /// Says why nothing was changed: there is no such version, or its status does not allow the action.
    pub(super) async fn or_wrong_state(
        &self,
        id: FormDefinitionId,
        action: &'static str,
        changed: Option<FormDefinition>,
    ) -> Result<FormDefinition> {
        match changed {
            Some(definition) => Ok(definition),
            None => Err(Error::wrong_state(id, self.find(id).await?.status, action)),
        }
    }
}
