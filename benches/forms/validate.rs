//! A validation, as the backend sees it: the time from before the call to after it, of one warm session.

use bedplate::Error;
use bedplate::forms::{CompileOptions, JsonSchema};
use diesel::sql_query;
use diesel::sql_types::{Bool, Double, Integer, Jsonb};
use diesel_async::RunQueryDsl as _;
use serde_json::Value;

use super::{Side, large, published, quantile, small};

const ROUNDS: usize = 9;

#[derive(diesel::QueryableByName)]
struct Measured {
    #[diesel(sql_type = Double)]
    mean: f64,
    #[diesel(sql_type = Double)]
    p99: f64,
    #[diesel(sql_type = Bool)]
    valid: bool,
}

pub(crate) async fn run(side: &Side) -> Result<(), Error> {
    println!("\na validation in the backend, µs (medians of {ROUNDS} rounds)");
    println!("{:<8} {:>16} {:>16} {:>8} {:>9}", "form", "compiled (p99)", "interpreted (p99)", "ratio", "Rust");
    for (name, (definition, data), calls) in [("small", small()?, 4000), ("large", large()?, 800)] {
        let form = published(side, name, &definition).await?;
        let schema = JsonSchema::compile(&definition, &std::collections::BTreeMap::new(), CompileOptions::default())?;
        let program = schema.program();
        let compiled = format!("forms_compiled.{}(d)", validator(side, form.id.as_uuid()).await?);
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let one = measured(side, &compiled, program, &data, calls).await?;
            let other = measured(side, "json_schema_violations(p, d) = '[]'", program, &data, calls / 4).await?;
            let nothing = measured(side, "p IS NOT NULL AND d IS NOT NULL", program, &data, calls).await?;
            // The first one warms up.
            if round > 0 {
                fast.push((one.mean - nothing.mean, one.p99));
                slow.push((other.mean - nothing.mean, other.p99));
            }
        }
        let median = |of: &[(f64, f64)]| {
            let (mut mean, mut p99): (Vec<_>, Vec<_>) = of.iter().copied().unzip();
            (quantile(&mut mean, 0.5), quantile(&mut p99, 0.5))
        };
        let mut ratios: Vec<_> = fast.iter().zip(&slow).map(|(fast, slow)| slow.0 / fast.0).collect();
        let (fast, slow) = (median(&fast), median(&slow));
        println!(
            "{name:<8} {:>9.2} ({:>4.0}) {:>10.1} ({:>5.0}) {:>7.1}× {:>9.2}",
            fast.0,
            fast.1,
            slow.0,
            slow.1,
            quantile(&mut ratios, 0.5),
            in_rust(&schema, &data),
        );
    }
    Ok(())
}

pub(crate) async fn validator(side: &Side, form: uuid::Uuid) -> Result<String, Error> {
    #[derive(diesel::QueryableByName)]
    struct Name {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
    }
    let tenant = side.context.tenant_id().as_uuid();
    let name = side.db.tenant_tx("bench.name", &side.context, async move |tx| {
        let query = sql_query("SELECT form_validator($1, $2) AS name");
        let query = query.bind::<diesel::sql_types::Uuid, _>(tenant).bind::<diesel::sql_types::Uuid, _>(form);
        Ok(query.get_result::<Name>(&mut tx.connection()).await?.name)
    });
    name.await
}

async fn measured(side: &Side, call: &str, program: &Value, data: &Value, calls: i32) -> Result<Measured, Error> {
    let sql = format!(
        "WITH given AS MATERIALIZED (SELECT $1 AS d, $2 AS p), \
              calls AS MATERIALIZED (SELECT clock_timestamp() AS began, {call} AS valid, clock_timestamp() AS ended \
                                       FROM generate_series(1, $3), given) \
         SELECT avg(us) AS mean, percentile_cont(0.99) WITHIN GROUP (ORDER BY us) AS p99, bool_and(valid) AS valid \
           FROM (SELECT (extract(epoch FROM ended - began) * 1e6)::float8 AS us, valid FROM calls) AS times"
    );
    let one = side.db.tenant_tx("bench.validate", &side.context, async move |tx| {
        let query = sql_query(sql).bind::<Jsonb, _>(data).bind::<Jsonb, _>(program).bind::<Integer, _>(calls);
        Ok(query.get_result::<Measured>(&mut tx.connection()).await?)
    });
    let one = one.await?;
    if one.valid { Ok(one) } else { Err(Error::invalid("data", "is not valid")) }
}

/// Microseconds a validation by the `jsonschema` crate.
fn in_rust(schema: &JsonSchema, data: &Value) -> f64 {
    let began = std::time::Instant::now();
    let calls = 20_000;
    let wrong: usize = (0..calls).map(|_| schema.violations(std::hint::black_box(data)).len()).sum();
    assert_eq!(wrong, 0);
    began.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}
