//! INSERT and UPDATE are parsed once a connection, not on every call.

use bedplate::models::{BusinessIdeaChanges, NewBusinessIdea};
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl as _;
use rstest::rstest;

use crate::support::builders::DESCRIPTION;
use crate::support::database::one_connection;
use crate::support::{TestDatabase, db, home};

#[derive(QueryableByName)]
struct Statement {
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = BigInt)]
    runs: i64,
}

/// The server counts, for each prepared statement, how often it was run. A statement that is parsed anew on
/// every call would be there many times with one run, or not at all.
#[rstest]
#[tokio::test]
async fn each_text_is_parsed_once(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let database = one_connection(&db.url).await;
    for n in 0..20 {
        let titles: Vec<_> = (0..n).map(|n| format!("Idea {n}")).collect();
        let titles = &titles;
        database
            .tenant_tx("write", &home.context, async |tx| {
                let new = NewBusinessIdea { user_id: home.user, title: "Tea", description: DESCRIPTION };
                let idea = tx.business_ideas().create(new).await?;
                let changes = BusinessIdeaChanges { title: Some("Coffee"), description: None };
                tx.business_ideas().update(idea.id, 0, changes).await?;
                tx.business_ideas().submit(idea.id).await?;
                let many: Vec<_> = titles.iter().map(|title| NewBusinessIdea { title, ..new }).collect();
                tx.business_ideas().create_many(&many).await
            })
            .await
            .unwrap();
    }
    let statements: Vec<Statement> = database
        .system_tx("count", async |tx| {
            let counts = sql_query(
                "SELECT statement, generic_plans + custom_plans AS runs FROM pg_prepared_statements WHERE NOT from_sql",
            );
            Ok(counts.load(&mut tx.connection()).await?)
        })
        .await
        .unwrap();
    for (start, runs) in [
        ("INSERT INTO \"business_ideas\"", 20),
        ("UPDATE \"business_ideas\"", 20),
        ("WITH idea AS ( UPDATE business_ideas", 20),
        ("INSERT INTO business_ideas (tenant_id, id, user_id, title, description) SELECT", 19),
    ] {
        let found: Vec<_> = statements.iter().filter(|s| s.statement.starts_with(start)).map(|s| s.runs).collect();
        assert_eq!(found, [runs], "{start}");
    }
}
