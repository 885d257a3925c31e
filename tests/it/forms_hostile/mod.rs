//! What a hostile schema, form or document comes to: a refusal with its place and reason, or the same verdict of all
//! validators; never code, and never work without end.

mod documents;
mod injection;
mod patterns;
mod role;
mod role_through_forms;
mod schemas;

use std::collections::BTreeMap;

use bedplate::error::Violation;
use bedplate::forms::{CompileOptions, JsonSchema, trial};
use bedplate::models::SchemaViolation;
use bedplate::{Database, Error};
use serde_json::Value;

fn compile(definition: &Value, resources: &BTreeMap<String, Value>) -> Result<JsonSchema, Vec<Violation>> {
    JsonSchema::compile(definition, resources, CompileOptions::default()).map_err(|error| match error {
        Error::Invalid { violations } => violations,
        other => panic!("{definition}: {other:?}"),
    })
}

/// The lists of violations, on which the validators agree.
async fn lists(db: &Database, schema: &JsonSchema, documents: &[Value]) -> Vec<Vec<SchemaViolation>> {
    let trials = trial::run(db, schema, documents).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(trials.len(), documents.len());
    let each = trials.into_iter().zip(documents).map(|(trial, document)| {
        let told = || format!("{:.200} {:?}", document.to_string(), trial.rust.first());
        assert_eq!(trial.compiled, trial.rust.is_empty(), "compiled and rust: {}", told());
        assert!(trial.interpreted == trial.rust, "interpreted and rust: {} {:?}", told(), trial.interpreted.first());
        trial.rust
    });
    each.collect()
}

/// The verdicts, on which the validators agree.
async fn verdicts(db: &Database, schema: &JsonSchema, documents: &[Value]) -> Vec<bool> {
    lists(db, schema, documents).await.iter().map(Vec::is_empty).collect()
}
