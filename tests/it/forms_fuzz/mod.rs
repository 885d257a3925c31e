//! Three validators, and the `jsonschema` crate on the schema as it was written, over schemas and documents that
//! nobody would write.
//!
//! `BEDPLATE_FUZZ_PAIRS` says how many pairs of a schema and a document there are (`scripts/fuzz-forms` takes a
//! million), `BEDPLATE_FUZZ_SEED` repeats a run.

mod drafts;
mod generate;

use bedplate::database::DatabaseName;
use bedplate::forms::{CompileOptions, JsonSchema, trial};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use crate::support::migrated;
use generate::Generator;

const DOCUMENTS: usize = 100;
/// Functions that were made and rolled back slow a database down, and a backend that ran them: so there is a new one.
const SCHEMAS_A_DATABASE: u64 = 300;

#[tokio::test]
async fn all_validators_agree() {
    let mut db = migrated(DatabaseName::Main).await;
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let pairs = variable("BEDPLATE_FUZZ_PAIRS").unwrap_or(10_000);
    let seed = variable("BEDPLATE_FUZZ_SEED").unwrap_or_else(|| rand::rng().random());
    println!("seed {seed}, {pairs} pairs");
    let (mut done, mut refused, mut valid, mut schemas) = (0, 0_u64, 0_u64, 0_u64);
    while done < pairs {
        let round = seed.wrapping_add(schemas);
        schemas += 1;
        if schemas % SCHEMAS_A_DATABASE == 0 {
            db = migrated(DatabaseName::Main).await;
        }
        let mut generator = Generator::new(StdRng::seed_from_u64(round));
        let definition = generator.schema();
        let schema = match JsonSchema::compile(&definition, &Generator::resources(), CompileOptions::default()) {
            Ok(schema) => schema,
            Err(bedplate::Error::Invalid { violations }) => {
                if std::env::var_os("BEDPLATE_FUZZ_REFUSED").is_some() {
                    println!("refused: {violations:?}");
                }
                refused += 1;
                continue;
            }
            Err(error) => panic!("seed {round}: {error}"),
        };
        let documents: Vec<Value> = (0..DOCUMENTS).map(|_| generator.document(&definition)).collect();
        let original = generator.original(&definition);
        let trials = trial::run(&db, &schema, &documents).await.unwrap_or_else(|error| {
            panic!("seed {round}: {error}\n{definition:#}");
        });
        for (document, trial) in documents.iter().zip(trials) {
            let told = || format!("BEDPLATE_FUZZ_SEED={round}\n{definition:#}\n{document}\n{trial:#?}");
            assert_eq!(trial.compiled, trial.interpreted.is_empty(), "compiled and interpreted: {}", told());
            assert_eq!(trial.compiled, trial.rust.is_empty(), "compiled and rust: {}", told());
            assert_eq!(trial.interpreted, trial.rust, "lists: {}", told());
            // The crate's `.` takes a carriage return for any character; that of ECMA-262 does not.
            let comparable = original.as_ref().filter(|_| !document.to_string().contains("\\r"));
            if let Some(original) = comparable {
                assert_eq!(trial.compiled, original.is_valid(document), "compiled and the schema itself: {}", told());
            }
            done += 1;
            if done % 100_000 == 0 {
                println!("{done} pairs");
            }
            valid += u64::from(trial.compiled);
        }
    }
    println!("{done} pairs of {schemas} schemas ({refused} refused), {valid} valid");
    // What finds everything valid, or nothing, compares nothing.
    assert!(valid > done / 10 && valid < done * 9 / 10, "{valid} of {done} are valid");
    assert!(refused < schemas / 2, "{refused} of {schemas} schemas were refused");
}
