//! Rules on input that are checked before the round trip, so that one answer lists everything that is
//! wrong. The database checks them again: its CHECKs are the last word, for clients of every language.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::error::{Error, Result, Violation};

/// Collects violations.
#[derive(Debug, Default)]
pub(crate) struct Check(Vec<Violation>);

impl Check {
    /// Not blank, no NUL, and `length` characters (as PostgreSQL counts them: code points).
    pub(crate) fn text(&mut self, field: &str, text: &str, length: RangeInclusive<usize>) -> &mut Self {
        let count = text.chars().count();
        if text.contains('\0') {
            self.add(field, "holds a NUL character".into());
        } else if text.trim().is_empty() {
            self.add(field, "is empty".into());
        } else if !length.contains(&count) {
            self.add(field, format!("has {count} characters, allowed are {} to {}", length.start(), length.end()));
        }
        self
    }

    /// A finite number in the range.
    pub(crate) fn number(&mut self, field: &str, number: f64, range: &RangeInclusive<f64>) -> &mut Self {
        if !range.contains(&number) {
            self.add(field, format!("is {number}, allowed are {} to {}", range.start(), range.end()));
        }
        self
    }

    /// JSON that `jsonb` can hold: no NUL in any string or key.
    pub(crate) fn json(&mut self, field: &str, value: &Value) -> &mut Self {
        if holds_nul(value) {
            self.add(field, "holds a NUL character".into());
        }
        self
    }

    /// A JSON object that `jsonb` can hold.
    pub(crate) fn object(&mut self, field: &str, value: &Value) -> &mut Self {
        if !value.is_object() {
            self.add(field, "is no JSON object".into());
        }
        self.json(field, value)
    }

    pub(crate) fn add(&mut self, field: &str, message: String) {
        self.0.push(Violation { field: field.to_owned(), message });
    }

    /// [`Error::Invalid`] with everything that was found.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match std::mem::take(&mut self.0) {
            violations if violations.is_empty() => Ok(()),
            violations => Err(Error::Invalid { violations }),
        }
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_violation_is_listed() {
        let error = Check::default()
            .text("title", "  ", 1..=255)
            .text("name", "a\0b", 1..=255)
            .text("description", "läßt", 50..=5000)
            .number("score", f64::NAN, &(0.0..=100.0))
            .json("insights", &json!([{"a\0": 1}]))
            .finish()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "title is empty; name holds a NUL character; \
             description has 4 characters, allowed are 50 to 5000; score is NaN, allowed are 0 to 100; \
             insights holds a NUL character"
        );
    }

    #[test]
    fn good_input_passes() {
        Check::default().text("title", "Tea", 1..=3).number("score", 100.0, &(0.0..=100.0)).finish().unwrap();
    }
}
