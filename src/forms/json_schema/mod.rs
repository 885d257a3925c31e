//! JSON Schema: a stub until the compiler is there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::{Error, Result, SchemaViolation};

/// A schema that was compiled.
#[derive(Debug, Clone)]
pub struct JsonSchema {
    program: Value,
}

/// How a schema is compiled.
#[derive(Debug, Default, Clone, Copy)]
pub struct CompileOptions {
    /// Whether `format` is a rule.
    pub assert_formats: bool,
}

impl JsonSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no schema.
    pub fn compile(definition: &Value, _resources: &BTreeMap<String, Value>, _options: CompileOptions) -> Result<Self> {
        if !definition.is_object() && !definition.is_boolean() {
            return Err(Error::invalid("definition", "is no object or boolean"));
        }
        let required = definition.get("required").cloned().unwrap_or_else(|| json!([]));
        if !required.is_array() {
            return Err(Error::invalid("definition/required", "is no array"));
        }
        Ok(Self { program: json!({ "required": required }) })
    }

    /// Sorted, at most 100; empty: valid.
    #[must_use]
    pub fn violations(&self, data: &Value) -> Vec<SchemaViolation> {
        let names = self.program["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing = names.filter(|name| data.is_object() && data.get(name).is_none());
        let mut violations: Vec<_> = missing
            .map(|name| SchemaViolation {
                instance_path: String::new(),
                schema_path: "/required".into(),
                keyword: "required".into(),
                message: format!("is missing {name:?}"),
            })
            .collect();
        violations.sort();
        violations.truncate(100);
        violations
    }

    /// What the interpreter in the database runs.
    #[must_use]
    pub fn program(&self) -> &Value {
        &self.program
    }

    /// The bodies of the compiled functions.
    ///
    /// # Errors
    /// None.
    pub fn bodies(&self, _name: &str) -> Result<Vec<String>> {
        Ok(vec!["BEGIN RETURN true; END".into()])
    }
}
