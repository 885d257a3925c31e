//! What holds between rows, beyond what one row's constraints can say.

use diesel::sql_types::BigInt;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::error::Result;

/// A rule, and the query that counts the rows that break it.
const RULES: [(&str, &str); 5] = [
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
        "an evaluation has agents",
        "SELECT count(*) AS broken FROM evaluations AS e
          WHERE NOT EXISTS (
                SELECT FROM agent_results AS r WHERE (r.tenant_id, r.evaluation_id) = (e.tenant_id, e.id))",
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
pub async fn check(connection: &mut AsyncPgConnection) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for (rule, count) in RULES {
        let rows: Count = sql_query(count).get_result(connection).await?;
        if rows.broken > 0 {
            broken.push(format!("not so for {} rows: {rule}", rows.broken));
        }
    }
    Ok(broken)
}
