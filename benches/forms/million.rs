//! Reading a form by name and version, and its newest 50 submissions, among a million: as the application does it.

use std::time::Instant;

use bedplate::Error;
use bedplate::forms::{FormSubmissionFilter, FormSubmissionSort};
use bedplate::pagination::PageRequest;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::json;

use super::{Side, published, quantile};

const ROWS: i32 = 1_000_000;
const READS: usize = 300;

pub(crate) async fn run(side: &Side) -> Result<(), Error> {
    let form = published(side, "million", &json!({"type": "object"})).await?;
    published(side, "other", &json!({"type": "object"})).await?;
    let began = Instant::now();
    load(side).await?;
    println!("\n{ROWS} submissions loaded in {:.0} s", began.elapsed().as_secs_f64());
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for read in 0..READS + 20 {
        let [form_read, list_read, both] = &mut times;
        let found = side.db.tenant_tx("bench.read", &side.context, async move |tx| {
            let began = Instant::now();
            let form = tx.form_definitions().find_by_name_and_version("million", 1).await?;
            let found = began.elapsed();
            let filter = FormSubmissionFilter { form_definition_id: Some(form.id), ..FormSubmissionFilter::default() };
            let page = tx.form_submissions().list(&filter, FormSubmissionSort::Newest, &PageRequest::first(50)).await?;
            assert_eq!(page.items.len(), 50);
            Ok((found, began.elapsed()))
        });
        let began = Instant::now();
        let (found, listed) = found.await?;
        if read >= 20 {
            form_read.push(found.as_secs_f64() * 1e3);
            list_read.push((listed.as_secs_f64() - found.as_secs_f64()) * 1e3);
            both.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!("of {READS} reads, ms{:>22} {:>8} {:>8}", "median", "p99", "worst");
    for (name, times) in
        ["a form by name and version", "its newest 50", "both, with the transaction"].iter().zip(&mut times)
    {
        println!(
            "{name:<30} {:>10.2} {:>8.2} {:>8.2}",
            quantile(times, 0.5),
            quantile(times, 0.99),
            quantile(times, 1.0)
        );
    }
    let _ = form;
    Ok(())
}

/// Spread over two forms; without the triggers, which would take an hour and are not what is measured.
async fn load(side: &Side) -> Result<(), Error> {
    let mut owner = bedplate::database::connect(&side.owner).await?;
    owner
        .batch_execute(&format!(
            "ALTER TABLE form_submissions DISABLE TRIGGER USER; SET ROLE bedplate_system; \
             INSERT INTO form_submissions (tenant_id, form_definition_id, form_version, data, status, created_at) \
             SELECT f.tenant_id, f.id, f.version, \
                    jsonb_build_object('title', 'Submission ' || n, 'priority', n % 10, 'city', 'City ' || n % 1000), \
                    (ARRAY['draft', 'submitted', 'archived'])[1 + n % 3], now() - n * interval '1 second' \
               FROM generate_series(1, {ROWS}) AS n \
               JOIN form_definitions AS f ON f.name = CASE WHEN n % 2 = 0 THEN 'million' ELSE 'other' END; \
             RESET ROLE; ALTER TABLE form_submissions ENABLE TRIGGER USER; ANALYZE form_submissions, form_definitions"
        ))
        .await?;
    Ok(())
}
