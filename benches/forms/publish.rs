//! Publishing a form of 500 fields, from the draft to the commit.

use std::time::Instant;

use bedplate::Error;
use serde_json::{Map, Value, json};

use super::{Side, published, quantile};

const FIELDS: usize = 500;
const ROUNDS: usize = 9;

pub(crate) async fn run(side: &Side) -> Result<(), Error> {
    let definition = definition();
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let began = Instant::now();
        published(side, "wide", &definition).await?;
        if round > 0 {
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    let (median, worst) = (quantile(&mut times, 0.5), quantile(&mut times, 1.0));
    println!("\npublishing a form of {FIELDS} fields: {median:.0} ms, at worst {worst:.0} ms");
    Ok(())
}

/// Fields of all kinds, in sections.
fn definition() -> Value {
    let mut sections = Map::new();
    for section in 0..FIELDS / 10 {
        let fields: Map<_, _> = (0..10).map(|n| (format!("field_{n}"), field(n))).collect();
        let section_of =
            json!({"type": "object", "properties": fields, "required": ["field_0"], "additionalProperties": false});
        sections.insert(format!("section_{section}"), section_of);
    }
    json!({"type": "object", "properties": sections, "required": ["section_0"], "additionalProperties": false})
}

fn field(kind: usize) -> Value {
    match kind {
        0 => json!({"type": "string", "minLength": 1, "maxLength": 80}),
        1 => json!({"type": "integer", "minimum": 0, "maximum": 100}),
        2 => json!({"enum": ["a", "b", "c"]}),
        3 => json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}),
        4 => json!({"type": "boolean"}),
        5 => json!({"type": "array", "items": {"type": "string"}, "maxItems": 10, "uniqueItems": true}),
        6 => json!({"oneOf": [{"type": "null"}, {"type": "number", "multipleOf": 0.01}]}),
        7 => json!({"type": "object", "properties": {"kind": {"const": "x"}}, "required": ["kind"]}),
        8 => json!({"type": "string", "pattern": "^[a-z]{2,40}$"}),
        _ => json!({"type": ["string", "null"], "maxLength": 2000}),
    }
}
