//! What a violation says. The message depends on the schema alone, so that it is written once: the interpreter in the
//! database gets it with the program.
//!
//! The parameters are those of AJV (<https://ajv.js.org/api.html#error-parameters>), which libraries of forms read.
//! Those that depend on the data are found by each validator: the missing property, the items that are equal.

use bigdecimal::BigDecimal;
use serde_json::{Map, Number, Value, json};

use super::program::{Node, Type};
use crate::error::SchemaViolation;

/// The most violations that a list has.
pub(super) const MAX_VIOLATIONS: usize = 100;
/// How deep data may be nested for a schema that goes as deep as the data: `serde_json` reads no deeper.
pub(super) const MAX_DATA_DEPTH: usize = 100;
pub(super) const TOO_DEEP: &str = "is nested deeper than 100 levels";
/// How deep `serde_json` reads. What is stored has 100 levels at most; a schema alone may be tried with more.
pub(in crate::forms) const READ_DEPTH: usize = 127;
pub(super) const UNREADABLE: &str = "is nested deeper than 127 levels";

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
        let number = |limit: &Option<Number>| limit.as_ref().map(ToString::to_string).unwrap_or_default();
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

/// The parameters of a violation.
pub(super) type Params = Map<String, Value>;

impl Node {
    /// The parameters of a keyword, as far as the schema tells them.
    pub(super) fn params(&self, keyword: &str) -> Params {
        let (numbers, strings, arrays, objects) = (&self.numbers, &self.strings, &self.arrays, &self.objects);
        let limit = |limit: Option<u64>| json!({"limit": limit});
        let number = |limit: &Option<Number>| limit.clone().map(|limit| as_returned(&Value::Number(limit)));
        let compared =
            |comparison: &str, limit: &Option<Number>| json!({"comparison": comparison, "limit": number(limit)});
        let params = match keyword {
            "type" => json!({"type": self.types_as_written}),
            "const" => json!({"allowedValue": self.constant.as_ref().map(as_returned)}),
            "enum" => {
                json!({"allowedValues": self.choices.iter().flatten().map(as_returned).collect::<Vec<_>>()})
            }
            "minimum" => compared(">=", &numbers.minimum),
            "maximum" => compared("<=", &numbers.maximum),
            "exclusiveMinimum" => compared(">", &numbers.exclusive_minimum),
            "exclusiveMaximum" => compared("<", &numbers.exclusive_maximum),
            "multipleOf" => json!({"multipleOf": number(&numbers.multiple_of)}),
            "minLength" => limit(strings.min_length),
            "maxLength" => limit(strings.max_length),
            "pattern" => json!({"pattern": strings.pattern.as_ref().map(|pattern| &pattern.source)}),
            "format" => json!({"format": strings.format.as_ref().map(|(name, _)| name)}),
            "minItems" => limit(arrays.min_items),
            "maxItems" => limit(arrays.max_items),
            "minProperties" => limit(objects.min_properties),
            "maxProperties" => limit(objects.max_properties),
            "contains" => match &arrays.contains {
                Some(contains) => match contains.max {
                    Some(max) => json!({"minContains": contains.min.unwrap_or(1), "maxContains": max}),
                    None => json!({"minContains": contains.min.unwrap_or(1)}),
                },
                None => json!({}),
            },
            // Where the data decides which items are evaluated, there is no one limit.
            "unevaluatedItems" => match &arrays.unevaluated {
                Some((_, evaluated)) if evaluated.branches.is_empty() && evaluated.contains.is_empty() => {
                    json!({"limit": evaluated.prefix})
                }
                _ => json!({}),
            },
            _ => json!({}),
        };
        if let Value::Object(params) = params { params } else { Params::new() }
    }
}

/// One parameter.
pub(super) fn param(name: &str, value: impl Into<Value>) -> Params {
    Params::from_iter([(name.to_owned(), value.into())])
}

/// A value of the schema as the database gives it back: `1e16` is `10000000000000000` there.
fn as_returned(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() && number.to_string().contains('e') => {
            whole(number).unwrap_or_else(|| value.clone())
        }
        Value::Number(number) if number.as_f64() == Some(0.0) && number.is_f64() => json!(0.0),
        Value::Array(items) => items.iter().map(as_returned).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), as_returned(value))).collect())
        }
        other => other.clone(),
    }
}

/// The integer of 64 bits that a float is, read as the decimal that it is written as.
pub(super) fn whole(number: &Number) -> Option<Value> {
    let decimal: BigDecimal = number.to_string().parse().ok()?;
    let text = decimal.is_integer().then(|| decimal.with_scale(0).to_string())?;
    text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<i64>().map(Value::from)).ok()
}

/// The last item that is equal to one before it, and the nearest of those: the indexes that AJV tells.
pub(super) fn equal_items(items: &[Value]) -> Params {
    let mut last = std::collections::HashMap::new();
    let mut found = None;
    for (i, item) in items.iter().enumerate() {
        if let Some(j) = last.insert(item, i) {
            found = Some((i, j));
        }
    }
    found.map(|(i, j)| Params::from_iter([("i".to_owned(), i.into()), ("j".to_owned(), j.into())])).unwrap_or_default()
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

/// Whether something stands deeper than these levels.
pub(super) fn is_deeper(data: &Value, levels: usize) -> bool {
    let mut inside: Box<dyn Iterator<Item = &Value>> = match data {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(properties) => Box::new(properties.values()),
        _ => return false,
    };
    // What is in the last level is too deep.
    inside.any(|value| levels == 0 || is_deeper(value, levels - 1))
}

/// Whether more arrays and objects than these stand inside of one another.
pub(in crate::forms) fn is_nested(data: &Value, levels: usize) -> bool {
    let mut inside: Box<dyn Iterator<Item = &Value>> = match data {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(properties) => Box::new(properties.values()),
        _ => return false,
    };
    levels == 0 || inside.any(|value| is_nested(value, levels - 1))
}
