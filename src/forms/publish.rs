//! Publishing: a draft becomes the active version of its name, and never changes again.
//!
//! Always holds: what the database runs was compiled from exactly the definition that it stores. Of two publishers
//! at once one wins; the other gets [`Error::WrongState`] (of the same draft) or [`Error::Conflict`] (of another
//! draft of the name).

use std::collections::BTreeMap;

use diesel::dsl::{now, sql};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

use super::definition::{FormDefinition, FormDefinitionId, FormDefinitionRepository, FormDefinitionStatus};
use super::events::FormEvent;
use super::json_schema::{CompileOptions, JsonSchema, Remark};
use crate::error::{Error, Result};
use crate::schema::form_definitions;
use crate::sql::{cached, columns};

/// A version that was published, and what its publisher should know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublishedForm {
    /// The version.
    pub definition: FormDefinition,
    /// What its schema says without effect, see [`JsonSchema::remarks`].
    pub remarks: Vec<Remark>,
    /// What was translated, where the schema is of an older draft. What is stored stays as it was written.
    pub translated: Vec<Remark>,
}

impl FormDefinition {
    /// Compiles the schema.
    pub(super) fn compile(&self) -> Result<JsonSchema> {
        let resources: BTreeMap<String, Value> = match &self.resources {
            Value::Object(members) => members.iter().map(|(uri, schema)| (uri.clone(), schema.clone())).collect(),
            _ => BTreeMap::new(),
        };
        JsonSchema::compile(&self.definition, &resources, CompileOptions { assert_formats: self.assert_formats })
    }
}

impl FormDefinitionRepository<'_> {
    /// Makes a draft the active version of its name. The version that was active is archived.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no schema or cannot be compiled exactly, with the place in it.
    /// [`Error::WrongState`] if it is published already; [`Error::Conflict`] where another version of the name is
    /// published at the same time. [`Error::NotFound`].
    pub async fn publish(&self, id: FormDefinitionId) -> Result<PublishedForm> {
        let lock = form_definitions::table
            .find((self.tx.tenant_id(), id))
            .select((FormDefinition::as_select(), form_definitions::validator))
            .for_update();
        let locked: Option<(FormDefinition, String)> = lock.get_result(&mut self.tx.connection()).await.optional()?;
        let (draft, validator) = locked.ok_or_else(|| Error::not_found(id))?;
        if !draft.status.can_become(FormDefinitionStatus::Active) {
            return Err(Error::wrong_state(id, draft.status, "publish"));
        }
        let schema = draft.compile()?;
        let bodies = schema.bodies(&validator)?;
        let bytes: usize = bodies.iter().map(String::len).sum();
        self.prepare_patterns(&schema).await?;
        let archived = self.archive_active(&draft.name).await?;
        let as_read = form_definitions::table
            .find((self.tx.tenant_id(), id))
            .filter(form_definitions::definition.eq(&draft.definition))
            .filter(form_definitions::resources.eq(&draft.resources));
        let publish = diesel::update(as_read)
            .set((
                form_definitions::status.eq(FormDefinitionStatus::Active),
                form_definitions::program.eq(schema.program()),
                form_definitions::compiled_bytes.eq(i32::try_from(bytes).ok()),
                form_definitions::published_at.eq(now),
            ))
            .returning(FormDefinition::as_returning());
        let published = cached(publish).get_result(&mut self.tx.connection()).await.optional()?;
        // The row is locked, so it is what was read, but for what Rust's numbers could not hold.
        let published =
            published.ok_or_else(|| Error::invalid("definition", "has a number that cannot be represented exactly"))?;
        let create =
            sql_query("SELECT create_form_validator($1, $2)").bind::<SqlUuid, _>(id).bind::<Array<Text>, _>(bodies);
        let archived = archived.map(|(before, version)| FormEvent::archived(before, &draft.name, version));
        let events = archived.transpose()?.into_iter().chain([FormEvent::published(&published)?]);
        // Sent together: where one fails, the other is undone.
        let (mut connection, recorded) = (self.tx.connection(), self.tx.events());
        let create = async { Ok(cached(create).execute(&mut connection).await?) };
        tokio::try_join!(create, recorded.record(events))?;
        Ok(PublishedForm {
            definition: published,
            remarks: schema.remarks().to_vec(),
            translated: schema.translation().map(|translation| translation.changes.clone()).unwrap_or_default(),
        })
    }

    /// What this server cannot prepare would be an error for every submission.
    async fn prepare_patterns(&self, schema: &JsonSchema) -> Result<()> {
        let patterns = schema.patterns();
        if patterns.is_empty() {
            return Ok(());
        }
        let prepare = sql_query("SELECT bool_or('' ~ pattern COLLATE \"C\") FROM unnest($1) AS pattern")
            .bind::<Array<Text>, _>(patterns);
        match cached(prepare).execute(&mut self.tx.connection()).await.map_err(Error::from) {
            Err(Error::Database(said)) => Err(Error::invalid("definition", format!("has a pattern that {said}"))),
            done => done.map(drop),
        }
    }

    /// Which it was; `None`, where no version of the name is active.
    async fn archive_active(&self, name: &str) -> Result<Option<(FormDefinitionId, i32)>> {
        let active = form_definitions::table
            .filter(form_definitions::tenant_id.eq(self.tx.tenant_id()))
            .filter(form_definitions::name.eq(name))
            // In the words of the index, which a bind would hide from the planner.
            .filter(sql::<Bool>("status = 'active'"));
        let archive = diesel::update(active)
            .set(form_definitions::status.eq(FormDefinitionStatus::Archived))
            .returning((form_definitions::id, form_definitions::version));
        Ok(cached(archive).get_result(&mut self.tx.connection()).await.optional()?)
    }

    /// Ends the active version: nothing new is filled in.
    ///
    /// # Errors
    /// [`Error::WrongState`], [`Error::NotFound`].
    pub async fn archive(&self, id: FormDefinitionId) -> Result<FormDefinition> {
        let active = form_definitions::table
            .find((self.tx.tenant_id(), id))
            .filter(form_definitions::status.eq(FormDefinitionStatus::Active));
        let archive = diesel::update(active)
            .set(form_definitions::status.eq(FormDefinitionStatus::Archived))
            .returning(FormDefinition::as_returning());
        let found = cached(archive).get_result(&mut self.tx.connection()).await.optional()?;
        let archived = self.or_wrong_state(id, "archive", found).await?;
        self.tx.events().record([FormEvent::archived(id, &archived.name, archived.version)?]).await?;
        Ok(archived)
    }

    /// A new draft with the next number of the name, which says what this version says.
    ///
    /// # Errors
    /// [`Error::Conflict`] where somebody else makes a version of this name at the same time.
    /// [`Error::NotFound`].
    pub async fn clone_version(&self, id: FormDefinitionId) -> Result<FormDefinition> {
        let insert = sql_query(format!(
            "INSERT INTO form_definitions (tenant_id, id, name, version, definition, resources, assert_formats) \
             SELECT tenant_id, $3, name, \
                    (SELECT max(version) + 1 FROM form_definitions WHERE tenant_id = $1 AND name = source.name), \
                    definition, resources, assert_formats \
               FROM form_definitions AS source WHERE tenant_id = $1 AND id = $2 RETURNING {columns}",
            columns = columns::<FormDefinition>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(id)
        .bind::<SqlUuid, _>(FormDefinitionId::new());
        let cloned = cached(insert).get_result(&mut self.tx.connection()).await.optional()?;
        cloned.ok_or_else(|| Error::not_found(id))
    }
}
