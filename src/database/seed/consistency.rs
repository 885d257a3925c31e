//! What holds between rows, beyond what one row's constraints can say.

use diesel::sql_types::BigInt;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::database::DatabaseName;
use crate::error::Result;

/// A rule, and the query that counts the rows that break it.
type Rule = (&'static str, &'static str);

const OF_MAIN: &[Rule] = &[
    (
        "a submitted or evaluating idea has one open evaluation, any other idea has none",
        "SELECT count(*) AS broken FROM business_ideas AS i
          WHERE (i.status IN ('submitted', 'evaluating')) <> EXISTS (
                SELECT FROM evaluations AS e WHERE (e.tenant_id, e.business_idea_id) = (i.tenant_id, i.id)
                   AND e.status IN ('pending', 'analyzing'))",
    ),
    (
        "an idea is evaluating while a worker holds its evaluation",
        "SELECT count(*) AS broken FROM business_ideas AS i
           JOIN evaluations AS e ON (e.tenant_id, e.business_idea_id) = (i.tenant_id, i.id)
          WHERE (e.status = 'pending' AND i.status <> 'submitted')
             OR (e.status = 'analyzing' AND i.status <> 'evaluating')",
    ),
    (
        "a completed idea has a completed evaluation",
        "SELECT count(*) AS broken FROM business_ideas AS i
          WHERE i.status = 'completed' AND NOT EXISTS (
                SELECT FROM evaluations AS e WHERE (e.tenant_id, e.business_idea_id) = (i.tenant_id, i.id)
                   AND e.status = 'completed')",
    ),
    (
        "no agent is at work in an evaluation that ended",
        "SELECT count(*) AS broken FROM agent_results AS r
           JOIN evaluations AS e ON (e.tenant_id, e.id) = (r.tenant_id, r.evaluation_id)
          WHERE e.status IN ('completed', 'failed') AND r.status IN ('pending', 'running')",
    ),
    (
        "an evaluation has at least one agent",
        "SELECT count(*) AS broken FROM evaluations AS e
          WHERE NOT EXISTS (
                SELECT FROM agent_results AS r WHERE (r.tenant_id, r.evaluation_id) = (e.tenant_id, e.id))",
    ),
];

const OF_RFQ: &[Rule] = &[
    (
        "an accepted RFQ has one accepted quote, any other RFQ has none",
        "SELECT count(*) AS broken FROM rfqs AS r
          WHERE (r.status = 'accepted')::int <> (
                SELECT count(*) FROM rfq_quotes AS q WHERE (q.tenant_id, q.rfq_id) = (r.tenant_id, r.id)
                   AND q.status = 'accepted')",
    ),
    (
        "an open RFQ has no quote, a quoted or accepted one has some",
        "SELECT count(*) AS broken FROM rfqs AS r
          WHERE r.status IN ('open', 'quoted', 'accepted') AND (r.status = 'open') = EXISTS (
                SELECT FROM rfq_quotes AS q WHERE (q.tenant_id, q.rfq_id) = (r.tenant_id, r.id))",
    ),
    (
        "no quote of an RFQ that ended is live",
        "SELECT count(*) AS broken FROM rfq_quotes AS q
           JOIN rfqs AS r ON (r.tenant_id, r.id) = (q.tenant_id, q.rfq_id)
          WHERE q.status = 'live' AND r.status NOT IN ('open', 'quoted')",
    ),
];

const OF_MARKETDATA: &[Rule] = &[
    (
        "the time zone of a venue is one that PostgreSQL knows",
        "SELECT count(*) AS broken FROM venues WHERE timezone NOT IN (SELECT name FROM pg_timezone_names)",
    ),
    (
        "an active instrument is traded at a venue that is not closed",
        "SELECT count(*) AS broken FROM instruments AS i JOIN venues AS v ON v.code = i.venue_code
          WHERE i.status = 'active' AND v.status = 'closed'",
    ),
];

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    broken: i64,
}

/// The broken rules, each with its number of rows; empty when all is well. Needs a role that sees every
/// tenant.
///
/// # Errors
/// What the database says.
pub async fn check(connection: &mut AsyncPgConnection, database: DatabaseName) -> Result<Vec<String>> {
    let rules = match database {
        DatabaseName::Main => OF_MAIN,
        DatabaseName::Rfq => OF_RFQ,
        DatabaseName::Marketdata => OF_MARKETDATA,
    };
    let mut broken = Vec::new();
    for (rule, count) in rules {
        let rows: Count = sql_query(*count).get_result(connection).await?;
        if rows.broken > 0 {
            broken.push(match rows.broken {
                1 => format!("1 row violates the rule \"{rule}\""),
                rows => format!("{rows} rows violate the rule \"{rule}\""),
            });
        }
    }
    Ok(broken)
}
