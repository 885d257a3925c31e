//! What a violation says. The message depends on the schema alone, so that it is written once: the interpreter in the
//! database gets it with the program.

use serde_json::Value;

use super::program::{Node, Type};
use crate::error::SchemaViolation;

/// The most violations that a list has.
pub(super) const MAX_VIOLATIONS: usize = 100;
/// How deep data may be nested for a schema that goes as deep as the data: `serde_json` reads no deeper.
pub(super) const MAX_DATA_DEPTH: usize = 100;
pub(super) const TOO_DEEP: &str = "is nested deeper than 100 levels";

/// The most characters of a value of the schema that a message shows.
const SHOWN: usize = 80;

impl Node {
    /// What a value must be, by the keyword that it breaks.
    pub(super) fn message(&self, keyword: &str) -> String {
        let (arrays, objects) = (&self.arrays, &self.objects);
        let count = |limit: Option<u64>, what: &str| {
            let limit = limit.unwrap_or_default();
            format!("{limit} {what}{}", if limit == 1 { "" } else { "s" })
        };
        let items = |limit| count(limit, "item");
        let number = |limit: &Option<serde_json::Number>| limit.as_ref().map(ToString::to_string).unwrap_or_default();
        match keyword {
            "false" | "additionalProperties" | "unevaluatedProperties" => "is not allowed".to_owned(),
            "type" => {
                let names: Vec<_> = self.types.iter().flatten().map(|kind| Type::as_str(*kind)).collect();
                format!("must be of type {}", names.join(" or "))
            }
            "const" => format!("must be {}", shown(self.constant.as_ref())),
            "enum" => {
                let all: Vec<_> = self.choices.iter().flatten().map(|value| shown(Some(value))).collect();
                cut(format!("must be one of {}", all.join(", ")), 3 * SHOWN)
            }
            "minimum" => format!("must be at least {}", number(&self.numbers.minimum)),
            "maximum" => format!("must be at most {}", number(&self.numbers.maximum)),
            "exclusiveMinimum" => format!("must be more than {}", number(&self.numbers.exclusive_minimum)),
            "exclusiveMaximum" => format!("must be less than {}", number(&self.numbers.exclusive_maximum)),
            "multipleOf" => format!("must be a multiple of {}", number(&self.numbers.multiple_of)),
            "minLength" => format!("must have at least {}", count(self.strings.min_length, "character")),
            "maxLength" => format!("must have at most {}", count(self.strings.max_length, "character")),
            "pattern" => {
                let source = self.strings.pattern.as_ref().map(|pattern| pattern.source.clone());
                cut(format!("must match {}", source.unwrap_or_default()), 2 * SHOWN)
            }
            "format" => {
                let name = self.strings.format.as_ref().map(|(name, _)| name.as_str());
                format!("must have the format {}", name.unwrap_or_default())
            }
            "minItems" => format!("must have at least {}", items(arrays.min_items)),
            "maxItems" => format!("must have at most {}", items(arrays.max_items)),
            "uniqueItems" => "must not have two equal items".to_owned(),
            "contains" => {
                let (min, max) = arrays.contains.as_ref().map_or((None, None), |contains| (contains.min, contains.max));
                let most = max.map(|max| format!(" and at most {max}")).unwrap_or_default();
                format!("must contain at least {}{most} of the kind", items(Some(min.unwrap_or(1))))
            }
            "unevaluatedItems" => "has items that are not allowed".to_owned(),
            "minProperties" => format!("must have at least {}", properties(objects.min_properties)),
            "maxProperties" => format!("must have at most {}", properties(objects.max_properties)),
            "anyOf" => "is none of what it can be".to_owned(),
            "oneOf" => "must be exactly one of what it can be".to_owned(),
            "not" => "is what it must not be".to_owned(),
            other => format!("breaks {other}"),
        }
    }
}

/// What is said of a property that is not there.
pub(super) fn missing(name: &str) -> String {
    format!("is missing {}", Value::from(name))
}

/// What is said of a property whose name breaks a rule.
pub(super) fn named(message: &str) -> String {
    format!("has a name that {message}")
}

/// Sorted, each once, and no more than there may be.
pub(super) fn arrange(mut violations: Vec<SchemaViolation>) -> Vec<SchemaViolation> {
    violations.sort();
    violations.dedup();
    violations.truncate(MAX_VIOLATIONS);
    violations
}

fn properties(limit: Option<u64>) -> String {
    let limit = limit.unwrap_or_default();
    if limit == 1 { "1 property".to_owned() } else { format!("{limit} properties") }
}

fn shown(value: Option<&Value>) -> String {
    cut(value.map(ToString::to_string).unwrap_or_default(), SHOWN)
}

fn cut(text: String, length: usize) -> String {
    if text.chars().count() <= length { text } else { text.chars().take(length - 1).chain(['…']).collect() }
}
