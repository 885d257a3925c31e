//! Numbers that 64 bits do not hold, and nesting that nothing in Rust reads: refused in Rust and in the database alike.

use std::collections::BTreeMap;

use bedplate::Error;
use bedplate::forms::{CompileOptions, JsonSchema, trial};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rstest::rstest;
use serde_json::{Value, json};

use crate::cli::bedplate;
use crate::support::builders::{form, home};
use crate::support::{TestDatabase, as_app, connection, db, texts};

/// A number by chance: any length, any place of the point, near the limits of 64 bits and of a float.
fn number(random: &mut StdRng) -> String {
    let digits = |random: &mut StdRng, most: usize| -> String {
        (0..random.random_range(1..=most)).map(|_| char::from(random.random_range(b'0'..=b'9'))).collect()
    };
    let sign = if random.random_ratio(1, 2) { "-" } else { "" };
    match random.random_range(0..5) {
        0 => format!("{sign}{}", random.random_range(u64::MAX - 4..=u64::MAX).wrapping_add(random.random_range(0..8))),
        1 => format!("{sign}{}", i128::from(i64::MAX) + random.random_range(-3..4)),
        2 => format!("{sign}{}", random.random::<f64>()),
        3 => format!("{sign}1{}.{}", digits(random, 20), digits(random, 20)),
        _ => format!("{sign}1.{}e{}", digits(random, 18), random.random_range(-330..330)),
    }
}

/// What PostgreSQL holds is read in Rust as the same number, or refused by both.
#[rstest]
#[tokio::test]
async fn a_number_is_exact_here_and_there(#[future(awt)] db: TestDatabase) {
    let seed = std::env::var("BEDPLATE_FUZZ_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let fixed = [
        "12345678901234567890123",
        "123456789.123456789123456789",
        "1e400",
        "-1e400",
        "1e-400",
        "5e-324",
        "1e22",
        "9007199254740993",
        "9007199254740993.0",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "0.1",
        "1.0",
        "0.10000000000000000000",
        "0",
        "-0.0",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
    ];
    let numbers: Vec<String> =
        fixed.into_iter().map(str::to_owned).chain((0..300).map(|_| number(&mut random))).collect();
    let list = numbers.iter().map(|number| format!("('{number}'::jsonb)")).collect::<Vec<_>>().join(", ");
    let program = r#"{"root": {"at": ""}, "shared": {}, "deep": false}"#;
    let query = format!(
        "SELECT n::text || ' ' || (json_schema_violations('{program}', jsonb_build_object('a/', jsonb_build_array(n))) #>> '{{}}') \
           FROM (VALUES {list}) AS v (n)"
    );
    // Whatever the session prints of a float.
    let mut owner = connection(&db.url).await;
    texts(&mut owner, "SELECT set_config('extra_float_digits', '-5', false)").await;
    let there = texts(&mut owner, &query).await;
    assert_eq!(there.len(), numbers.len());

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("any.json"), "true").unwrap();
    let mut arguments = vec!["forms".to_owned(), "check".to_owned(), "any.json".to_owned(), "--json".to_owned()];
    for (n, row) in there.iter().enumerate() {
        let stored = row.split(' ').next().unwrap();
        std::fs::write(folder.path().join(format!("{n}.json")), format!("{{\"a/\": [{stored}]}}")).unwrap();
        arguments.push(format!("{n}.json"));
    }
    let checked = bedplate(folder.path(), &[], &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let here: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let mut exact = 0;
    for ((row, number), here) in there.iter().zip(&numbers).zip(here["data"].as_array().unwrap()) {
        let (stored, said) = row.split_once(' ').unwrap();
        let said: Value = serde_json::from_str(said).unwrap();
        assert_eq!(here["valid"], said == json!([]), "{number} {stored} {said} {here}");
        exact += usize::from(said == json!([]));
        if said != json!([]) {
            assert_eq!((&said[0]["instancePath"], &said[0]["keyword"]), (&json!("/a~1/0"), &json!("exact")), "{said}");
        }
    }
    assert!(exact > 50 && exact < numbers.len() - 50, "{exact} of {} are exact", numbers.len());
}

/// A compiled form says the same as an interpreted one, with every place.
#[rstest]
#[tokio::test]
async fn a_client_that_writes_sql_is_told(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &[]).await;
    let mut app = as_app(&db, &home).await;
    let data = r#"{"b": [1, 1e400], "a": {"x": 123456789.123456789123456789}, "c": 0.1}"#;
    let call = format!("SELECT validate_form_data('{}', '{}', '{data}')::text", home.tenant, form.id);
    for _ in 0..22 {
        let said: Value = serde_json::from_str(&texts(&mut app, &call).await[0]).unwrap();
        let places: Vec<_> = said.as_array().unwrap().iter().map(|one| &one["instancePath"]).collect();
        assert_eq!(places, ["/a/x", "/b/1"]);
    }
}

/// 127 levels are read; of one more everybody says that it is too deep.
#[rstest]
#[case(|levels| (1..levels).fold(json!([]), |inner, _| json!([inner])))]
#[case(|levels| (1..levels).fold(json!({"a": 1}), |inner, _| json!({"a": inner})))]
#[tokio::test]
async fn depth_has_a_limit(#[future(awt)] db: TestDatabase, #[case] nested: fn(usize) -> Value) {
    let schema = JsonSchema::compile(&json!(true), &BTreeMap::new(), CompileOptions::default()).unwrap();
    let trial = trial::run(&db, &schema, &[nested(127)]).await.unwrap().remove(0);
    assert!(trial.compiled && trial.interpreted.is_empty() && trial.rust.is_empty(), "{trial:?}");
    let said = schema.violations(&nested(128));
    assert_eq!((said.len(), said[0].keyword.as_str()), (1, "maxDepth"));
    let error = trial::run(&db, &schema, &[nested(128)]).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { violations } if violations[0].field == "documents/0"), "{error:?}");
    let query = format!("SELECT json_schema_violations('{}', '{}')::text", schema.program(), nested(128));
    let there = texts(&mut connection(&db.url).await, &query).await;
    assert_eq!(serde_json::from_str::<Vec<bedplate::SchemaViolation>>(&there[0]).unwrap(), said);
}
