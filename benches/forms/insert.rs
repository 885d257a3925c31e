//! A submission of the small form inserted, with its validation and without, everything else equal.

use std::time::Instant;

use bedplate::Error;
use diesel::sql_query;
use diesel::sql_types::{Integer, Jsonb, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};

use super::{Side, published, quantile, small};

const ROUNDS: usize = 15;
const ROWS: i32 = 500;

pub(crate) async fn run(side: &Side) -> Result<(), Error> {
    let (definition, data) = small()?;
    let form = published(side, "insert", &definition).await?;
    let form = (form.id.as_uuid(), form.version, side.context.tenant_id().as_uuid());
    println!("\nan insert of a submission of the small form, µs (medians of {ROUNDS} rounds)");
    println!("{:<28} {:>10} {:>10} {:>7}", "", "validated", "not", "ratio");
    for (name, a_statement) in [("one row a statement", 1), ("all rows in one statement", ROWS)] {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (validated, times) in [true, false].into_iter().zip(&mut times) {
                switch(side, validated).await?;
                let took = insert(side, form, &data, a_statement).await?;
                if round > 0 {
                    times.push(took);
                }
            }
        }
        let mut ratios: Vec<_> = times[0].iter().zip(&times[1]).map(|(with, without)| with / without).collect();
        let [with, without] = &mut times;
        let (with, without) = (quantile(with, 0.5), quantile(without, 0.5));
        println!("{name:<28} {with:>10.0} {without:>10.0} {:>6.2}×", quantile(&mut ratios, 0.5));
    }
    switch(side, true).await
}

async fn switch(side: &Side, on: bool) -> Result<(), Error> {
    let word = if on { "ENABLE" } else { "DISABLE" };
    let mut owner = bedplate::database::connect(&side.owner).await?;
    Ok(owner.batch_execute(&format!("ALTER TABLE form_submissions {word} TRIGGER validate_form_submission")).await?)
}

async fn insert(
    side: &Side,
    (form, version, tenant): (uuid::Uuid, i32, uuid::Uuid),
    data: &serde_json::Value,
    a_statement: i32,
) -> Result<f64, Error> {
    let took = side.db.tenant_tx("bench.insert", &side.context, async move |tx| {
        let began = Instant::now();
        for _ in 0..ROWS / a_statement {
            let insert = sql_query(
                "INSERT INTO form_submissions (tenant_id, form_definition_id, form_version, data, status) \
                 SELECT $1, $2, $3, $4, 'submitted' FROM generate_series(1, $5)",
            );
            let insert = insert.bind::<SqlUuid, _>(tenant).bind::<SqlUuid, _>(form).bind::<Integer, _>(version);
            let insert = insert.bind::<Jsonb, _>(data).bind::<Integer, _>(a_statement);
            insert.execute(&mut tx.connection()).await?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(ROWS))
    });
    took.await
}
