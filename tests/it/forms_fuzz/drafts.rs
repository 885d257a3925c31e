//! Schemas of older drafts by chance: what is translated decides as the `jsonschema` crate does by the older draft.

use std::collections::BTreeMap;

use bedplate::forms::{CompileOptions, JsonSchema};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value};

use super::generate::Generator;

const DOCUMENTS: usize = 30;

/// The same schema with the words of an older draft. What that draft ignores stays.
fn older(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let mut older = Map::new();
            let mut dependencies = Map::new();
            let tuple = members.contains_key("prefixItems");
            for (keyword, value) in members {
                match keyword.as_str() {
                    "const" | "enum" => drop(older.insert(keyword.clone(), value.clone())),
                    "prefixItems" => drop(older.insert("items".to_owned(), self::older(value))),
                    "items" if tuple => drop(older.insert("additionalItems".to_owned(), self::older(value))),
                    "dependentRequired" | "dependentSchemas" => {
                        dependencies.extend(self::older(value).as_object().cloned().unwrap_or_default());
                    }
                    _ => drop(older.insert(keyword.clone(), self::older(value))),
                }
            }
            if !dependencies.is_empty() {
                older.insert("dependencies".to_owned(), Value::Object(dependencies));
            }
            Value::Object(older)
        }
        Value::Array(items) => items.iter().map(older).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_translation_decides_as_the_older_draft() {
    let seed = std::env::var("BEDPLATE_FUZZ_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let (mut compared, mut valid) = (0, 0);
    for round in (0..500).map(|n| u64::wrapping_add(seed, n)) {
        let mut generator = Generator::new(StdRng::seed_from_u64(round));
        let today = generator.schema();
        let (draft, uri) = if round % 2 == 0 {
            (jsonschema::Draft::Draft7, "http://json-schema.org/draft-07/schema#")
        } else {
            (jsonschema::Draft::Draft6, "http://json-schema.org/draft-06/schema#")
        };
        let mut definition = older(&today);
        definition.as_object_mut().unwrap().insert("$schema".into(), uri.into());
        let resources: BTreeMap<_, _> =
            Generator::resources().into_iter().map(|(name, resource)| (name, older(&resource))).collect();
        let Ok(schema) = JsonSchema::compile(&definition, &resources, CompileOptions::default()) else { continue };
        let documents: Vec<_> = (0..DOCUMENTS).map(|_| generator.document(&today)).collect();
        let Some(original) = generator.original_of(&definition, &resources, draft) else { continue };
        for document in documents {
            if document.to_string().contains("\\r") {
                continue;
            }
            let verdict = schema.violations(&document).is_empty();
            assert_eq!(
                verdict,
                original.is_valid(&document),
                "BEDPLATE_FUZZ_SEED={round}\n{definition:#}\n{:#}\n{document}",
                schema.translation().unwrap().definition
            );
            compared += 1;
            valid += u32::from(verdict);
        }
    }
    println!("{compared} pairs, {valid} valid");
    assert!(compared > 1_000 && valid > compared / 10 && valid < compared * 9 / 10, "{valid} of {compared} are valid");
}
