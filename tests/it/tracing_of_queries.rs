//! What an operator sees of a transaction: in `pg_stat_activity`, in spans, and in the log of slow queries.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bedplate::models::NewBusinessIdea;
use bedplate::{Database, TraceParent};
use rstest::rstest;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::boundary::{one_text, run};
use crate::support::builders::DESCRIPTION;
use crate::support::database::config;
use crate::support::{TestDatabase, db, home};

/// What is logged by this thread, for as long as the guard lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const SECRET: &str = "nobody-may-read-this";

/// A slow query is logged with its transaction and its plan, and without what was bound; so are the spans.
#[rstest]
#[tokio::test]
async fn a_slow_query_is_logged_with_its_plan_and_without_values(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut slow = config(&db.url);
    slow.slow_queries.threshold = Duration::ZERO;
    slow.slow_queries.plan = true;
    let database = Database::connect(slow).await.unwrap();
    let log = Log::default();
    let logged = log.begin();
    let trace: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let context = home.context.clone().trace(trace);
    let new = NewBusinessIdea { user_id: home.user, title: SECRET, description: DESCRIPTION };
    let idea = database
        .tenant_tx("ideas.slow", &context, async |tx| {
            let idea = tx.business_ideas().create(new).await?;
            tx.business_ideas().find(idea.id).await
        })
        .await
        .unwrap();
    // One plan is made at a time: the query is run until it is its turn.
    let planned = async {
        let seen = |what: &str| log.text().contains(what);
        while !(seen("Index Scan") && seen("Insert on business_ideas") && seen("query{")) {
            // Other tests' threads have no subscriber: what they find out about a span goes for all.
            tracing::callsite::rebuild_interest_cache();
            let again = database.tenant_tx("ideas.slow", &context, async |tx| tx.business_ideas().find(idea.id).await);
            again.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), planned).await.unwrap_or_else(|_| panic!("{}", log.text()));
    drop(logged);
    let text = log.text();
    assert!(text.contains("transaction=\"ideas.slow\""), "{text}");
    assert!(text.contains("trace_id=4bf92f3577b34da6a3ce929d0e0e4736"), "{text}");
    assert!(text.contains("outcome=Committed") && text.contains("query{"), "{text}");
    for value in [SECRET, &idea.id.to_string(), "postgres:"] {
        assert!(!text.contains(value), "{value} is in the log");
    }
}

/// Of a query that no plan can be had for, the log says so.
#[rstest]
#[tokio::test]
async fn what_cannot_be_planned_is_logged_without(#[future(awt)] db: TestDatabase) {
    let mut slow = config(&db.url);
    slow.slow_queries.threshold = Duration::from_millis(10);
    slow.slow_queries.plan = true;
    let database = Database::connect(slow).await.unwrap();
    let log = Log::default();
    let _logged = log.begin();
    let sleep = "SELECT pg_sleep(0.02); SELECT 1";
    database
        .system_tx("several", async |tx| {
            Ok(diesel_async::SimpleAsyncConnection::batch_execute(&mut tx.connection(), sleep).await?)
        })
        .await
        .unwrap();
    while !log.text().contains("not to be had") {
        tokio::task::yield_now().await;
    }
}

/// The name of the transaction and the trace's id, for whoever looks at the server.
#[rstest]
#[tokio::test]
async fn the_server_shows_which_code_runs(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let trace: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let shown = "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let context = home.context.clone().trace(trace);
    let name = db.tenant_tx("ideas.look", &context, async |tx| one_text(tx.connection(), shown).await).await.unwrap();
    assert_eq!(name, "ideas.look 4bf92f3577b34da6a3ce929d0e0e4736");
    let without = db.tenant_tx("ideas.look", &home.context, async |tx| {
        run(tx.connection(), "SELECT 1").await?;
        one_text(tx.connection(), shown).await
    });
    assert_eq!(without.await.unwrap(), "ideas.look");
}
