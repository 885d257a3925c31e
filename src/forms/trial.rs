//! Data through all three validators of a schema, side by side, in a database; nothing of it stays.

use std::sync::{Mutex, PoisonError};

use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use serde_json::Value;
use uuid::Uuid;

use super::json_schema::{JsonSchema, READ_DEPTH, is_nested};
use crate::database::{Database, TenantContext, TenantTx};
use crate::error::{Error, Result, SchemaViolation};
use crate::tenancy::TenantId;
use crate::validation::Check;

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
    let mut check = Check::default();
    for (n, _) in documents.iter().enumerate().filter(|(_, document)| is_nested(document, READ_DEPTH)) {
        check.add(&format!("documents/{n}"), format!("is nested deeper than {READ_DEPTH} levels"));
    }
    check.finish()?;
    // A tenant that has no rows, and that nobody is.
    let context = TenantContext::new(TenantId::from(Uuid::nil()));
    let definition = Uuid::now_v7();
    let found = Mutex::new(None);
    let tried = db.tenant_tx("forms.trial", &context, async |tx| {
        let rows = judge(&tx, schema, definition, documents).await?;
        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
        // So that nothing is left.
        Err::<(), _>(Error::Aborted)
    });
    let tried = tried.await;
    let rows = match (found.into_inner().unwrap_or_else(PoisonError::into_inner), tried) {
        (Some(rows), Err(Error::Aborted)) => rows,
        (_, Err(error)) => return Err(error),
        (_, Ok(())) => Vec::new(),
    };
    let each = rows.into_iter().zip(documents).map(|(row, document)| {
        let interpreted = serde_json::from_value(row.interpreted)
            .map_err(|error| Error::configuration(format!("the interpreter's list cannot be read: {error}")))?;
        Ok(Trial { compiled: row.compiled, interpreted, rust: schema.violations(document) })
    });
    each.collect()
}

async fn judge(tx: &TenantTx, schema: &JsonSchema, definition: Uuid, documents: &[Value]) -> Result<Vec<Row>> {
    let name: Name = sql_query("SELECT form_validator($1, $2) AS name")
        .bind::<SqlUuid, _>(Uuid::nil())
        .bind::<SqlUuid, _>(definition)
        .get_result(&mut tx.connection())
        .await?;
    sql_query("SELECT create_form_validator($1, $2)")
        .bind::<SqlUuid, _>(definition)
        .bind::<Array<Text>, _>(schema.bodies(&name.name)?)
        .execute(&mut tx.connection())
        .await?;
    let judge = sql_query(format!(
        "SELECT forms_compiled.{}(data) AS compiled, json_schema_violations($1, data) AS interpreted \
           FROM unnest($2) WITH ORDINALITY AS d (data, n) ORDER BY n",
        name.name
    ));
    let judge = judge.bind::<Jsonb, _>(schema.program()).bind::<Array<Jsonb>, _>(documents);
    Ok(judge.load(&mut tx.connection()).await?)
}

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}
