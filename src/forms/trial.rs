//! Data through all three validators of a schema, side by side, in a database; nothing of it stays.

use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use serde_json::Value;
use uuid::Uuid;

use super::json_schema::JsonSchema;
use crate::database::{Database, TenantContext};
use crate::error::{Error, Result, SchemaViolation};
use crate::tenancy::TenantId;

/// What the validators say of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The functions in PL/pgSQL.
    pub compiled: bool,
    /// The interpreter in the database.
    pub interpreted: Vec<SchemaViolation>,
    /// The `jsonschema` crate.
    pub rust: Vec<SchemaViolation>,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Bool)]
    compiled: bool,
    #[diesel(sql_type = Jsonb)]
    interpreted: Value,
}

/// Runs documents through the validators. May run any number of times, side by side.
///
/// # Errors
/// [`Error::Invalid`] for a schema that is too large, or a document that PostgreSQL cannot store.
pub async fn run(db: &Database, schema: &JsonSchema, documents: &[Value]) -> Result<Vec<Trial>> {
    // A tenant that has no rows, and that nobody is.
    let context = TenantContext::new(TenantId::from(Uuid::nil()));
    let definition = Uuid::now_v7();
    let rows: Vec<Row> = db
        .tenant_tx("forms.trial", &context, async move |tx| {
            let name: Name = sql_query("SELECT form_validator($1, $2) AS name")
                .bind::<SqlUuid, _>(Uuid::nil())
                .bind::<SqlUuid, _>(definition)
                .get_result(&mut tx.connection())
                .await?;
            let bodies = schema.bodies(&name.name)?;
            sql_query("SELECT create_form_validator($1, $2)")
                .bind::<SqlUuid, _>(definition)
                .bind::<Array<Text>, _>(bodies)
                .execute(&mut tx.connection())
                .await?;
            let rows = sql_query(format!(
                "SELECT forms_compiled.{}(data) AS compiled, json_schema_violations($1, data) AS interpreted \
                   FROM unnest($2) WITH ORDINALITY AS d (data, n) ORDER BY n",
                name.name
            ))
            .bind::<Jsonb, _>(schema.program())
            .bind::<Array<Jsonb>, _>(documents)
            .load(&mut tx.connection())
            .await?;
            sql_query("SELECT drop_form_validator($1, $2)")
                .bind::<SqlUuid, _>(Uuid::nil())
                .bind::<SqlUuid, _>(definition)
                .execute(&mut tx.connection())
                .await?;
            Ok(rows)
        })
        .await?;
    let each = rows.into_iter().zip(documents).map(|(row, document)| {
        let interpreted = serde_json::from_value(row.interpreted)
            .map_err(|error| Error::configuration(format!("the interpreter's list cannot be read: {error}")))?;
        Ok(Trial { compiled: row.compiled, interpreted, rust: schema.violations(document) })
    });
    each.collect()
}

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}
