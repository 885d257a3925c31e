//! Forms.

pub mod json_schema;
pub mod suite;
pub mod trial;

pub use json_schema::{CompileOptions, JsonSchema};
