//! What a schema may ask for, as far as its text tells.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Refusal;
use super::program::Node;

const MAX_BYTES: usize = 256 << 10;
const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 10_000;
const MAX_PATTERNS: usize = 200;
const MAX_SKIPS: usize = 1_000;
const MAX_PATTERN_BYTES: usize = 64 << 10;

/// Checks one document, before anything else looks at it. `name`: see [`super::documents::Place::name`].
pub(super) fn check(name: &str, document: &Value) -> Result<(), Refusal> {
    let refuse = |place: String, reason: String| Err(Refusal::new(place, reason));
    let mut open = vec![(document, name.to_owned(), 0)];
    while let Some((value, place, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return refuse(place, format!("stands deeper than {MAX_DEPTH} levels"));
        }
        let mut inside = |value, key: &str| {
            let mut place = place.clone();
            super::documents::push_segment(&mut place, key);
            open.push((value, place, depth + 1));
        };
        match value {
            Value::Object(properties) => {
                for (key, value) in properties {
                    if key.contains('\0') {
                        return refuse(
                            place,
                            "has a name with a NUL character, which no text in PostgreSQL has".into(),
                        );
                    }
                    inside(value, key);
                }
            }
            Value::Array(items) if items.len() > MAX_VALUES => {
                return refuse(place, format!("has more than {MAX_VALUES} values"));
            }
            Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| inside(value, &n.to_string())),
            Value::String(text) if text.contains('\0') => {
                return refuse(place, "has a NUL character, which no text in PostgreSQL has".into());
            }
            // Read as a float, it may be another number than the one that was written.
            Value::Number(number) if number.is_f64() && number.as_f64().is_some_and(is_cut) => {
                return refuse(place, format!("{number} has more than 64 bits"));
            }
            _ => {}
        }
    }
    if document.to_string().len() > MAX_BYTES {
        return refuse(name.to_owned(), format!("has more than {} KB", MAX_BYTES >> 10));
    }
    Ok(())
}

/// Whether a float may stand for a longer whole number, of which the last digits are lost.
fn is_cut(number: f64) -> bool {
    (18_446_744_073_709_551_616.0..1e36).contains(&number) || (-1e36..=-9_223_372_036_854_775_808.0).contains(&number)
}

/// Checks how much the patterns are together: PostgreSQL keeps 32 at hand, and prepares another one anew each time.
pub(super) fn patterns(nodes: &[Node]) -> Result<(), Refusal> {
    let format = nodes.iter().flat_map(|node| &node.strings.format).map(|(_, pattern)| pattern);
    let parts = nodes.iter().flat_map(|node| &node.strings.pattern).chain(format).flat_map(|pattern| &pattern.parts);
    let skips: BTreeMap<_, _> = parts.map(|part| (&part.regex, part.skips)).collect();
    if skips.values().sum::<usize>() > MAX_SKIPS {
        let reason = format!("its patterns together have more than {MAX_SKIPS} pieces that may be left out");
        return Err(Refusal::new(String::new(), reason));
    }
    let regexes = regexes(nodes);
    if regexes.iter().map(String::len).sum::<usize>() > MAX_PATTERN_BYTES {
        let reason = format!("its patterns come to more than {} KB", MAX_PATTERN_BYTES >> 10);
        return Err(Refusal::new(String::new(), reason));
    }
    if regexes.len() > MAX_PATTERNS {
        return Err(Refusal::new(String::new(), format!("has more than {MAX_PATTERNS} patterns")));
    }
    Ok(())
}

/// All regular expressions, as PostgreSQL gets them.
pub(super) fn regexes(nodes: &[Node]) -> BTreeSet<String> {
    let mut regexes = BTreeSet::new();
    for node in nodes {
        let format = node.strings.format.iter().map(|(_, pattern)| pattern);
        for part in node.strings.pattern.iter().chain(format).flat_map(|pattern| &pattern.parts) {
            regexes.insert(part.bounded.as_ref().map_or(&part.regex, |bounded| &bounded.regex).clone());
        }
        regexes.extend(node.objects.pattern_properties.iter().map(|(regex, _)| regex.clone()));
    }
    regexes
}
