//! Events after a restart, and after a dump and restore into a server that counts its transactions from the begin:
//! what was restored was seen, what comes now was not.

use std::path::PathBuf;
use std::process::Command;

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::events::{AppendCondition, AppendConflict, EventToken, ExpectedVersion, ReadFrom, Seen, Stream};
use bedplate::models::{NewTenant, TenantType};
use bedplate::{Config, Database, DatabaseUrl, Environment, Error, Result, TenantContext};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use uuid::Uuid;

use crate::event_conditions::{append_sql, conflicting_item, event, query};
use crate::private_server::Own;
use crate::support::{connection, execute, number, texts};

/// A server of its own, with the migrations.
async fn started() -> Own {
    let own = Own::new();
    own.start().await;
    let owner = own.server.urls().unwrap().unwrap().owner;
    migrate::run(&owner, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await.unwrap();
    own
}

async fn database(own: &Own, name: &str) -> Database {
    let urls = own.server.urls().unwrap().unwrap();
    let mut config = Config::new(urls.owner.with_database(name).unwrap(), Environment::Development);
    config.app_url = Some(urls.app.with_database(name).unwrap());
    Database::connect(config).await.unwrap()
}

fn admin(own: &Own, name: &str) -> DatabaseUrl {
    own.server.urls().unwrap().unwrap().admin.with_database(name).unwrap()
}

async fn tenant(db: &Database) -> TenantContext {
    let new = NewTenant { slug: "one", name: "One", tenant_type: TenantType::Standard };
    TenantContext::new(db.system_tx("tenant", async |tx| tx.tenants().create(new).await).await.unwrap().id)
}

async fn read_to_decide(db: &Database, context: &TenantContext, words: &str) -> Seen {
    let query = &query(words);
    db.tenant_tx("decide", context, async move |tx| tx.events().read_to_decide(query).await).await.unwrap()
}

async fn append(db: &Database, context: &TenantContext, words: &str, token: &EventToken) -> Result<Vec<i64>> {
    let condition = AppendCondition::fail_if(query(words)).after(token.clone());
    db.append_events(context, &[event("T x")], Some(&condition)).await
}

fn is_stale(outcome: &Result<Vec<i64>>) -> bool {
    matches!(outcome, Err(Error::AppendConflict { conflict: AppendConflict::StaleToken { stale_token: true } }))
}

/// Snapshots of before say nothing of transactions that ended with the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_stale_after_a_restart() {
    let own = started().await;
    let db = database(&own, "bedplate").await;
    let context = tenant(&db).await;
    db.append_events(&context, &[event("T x")], None).await.unwrap();
    let seen = read_to_decide(&db, &context, "x").await;
    assert!(own.server.stop().unwrap());
    own.start().await;
    for words in ["x", "T", "*", "y | x"] {
        assert!(is_stale(&append(&db, &context, words, &seen.token).await), "{words}");
    }
    let again = read_to_decide(&db, &context, "x").await;
    assert_eq!(again.events, seen.events);
    append(&db, &context, "x", &again.token).await.unwrap();
}

/// A crash of one process ends all others but the first, and transaction ids that were not on disk come again.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_stale_after_a_crash() {
    let own = started().await;
    let db = database(&own, "bedplate").await;
    let context = tenant(&db).await;
    let seen = read_to_decide(&db, &context, "x").await;
    let (mut victim, mut other) =
        (connection(&admin(&own, "bedplate")).await, connection(&admin(&own, "bedplate")).await);
    let pid = texts(&mut victim, "SELECT pg_backend_pid()::text").await.remove(0);
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    while other.batch_execute("SELECT").await.is_ok() {}
    let outcome = loop {
        match append(&db, &context, "x", &seen.token).await {
            Err(Error::Unavailable { .. }) => tokio::task::yield_now().await,
            outcome => break outcome,
        }
    };
    assert!(is_stale(&outcome), "{outcome:?}");
}

/// 1. A server that has counted many transactions has events: with tags, of a stream, of an append in a savepoint.
/// 2. It is dumped and restored into a new server, whose transactions have lower numbers.
/// 3. The head is the last event; what is read is what was there.
/// 4. A decision on what was restored holds: it was seen. Without a token it is in the way. The old token is stale.
/// 5. A decision does not hold where a new event came in between, committed before or after it was read.
/// 6. Positions and the stream go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_goes_on() {
    let (old, new) = (started().await, started().await);
    let Some(bin) = programs(&old).await else {
        eprintln!("left out: pg_dump and pg_restore are not there");
        return;
    };
    let db = database(&old, "bedplate").await;
    let context = tenant(&db).await;
    let mut superuser = connection(&admin(&old, "bedplate")).await;
    execute(&mut superuser, "SET synchronous_commit = off").await;
    let count = "DO $$ BEGIN FOR n IN 1 .. 20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    execute(&mut superuser, count).await;
    let stream = Stream { aggregate_type: "order", aggregate_id: Uuid::now_v7() };
    let to_stream = async |db: &Database, expected| {
        let append =
            async move |tx: bedplate::TenantTx| tx.events().append_to_stream(stream, expected, &[event("S")]).await;
        db.tenant_tx("stream", &context, append).await
    };
    db.append_events(&context, &[event("T x"), event("U y"), event("T x y")], None).await.unwrap();
    to_stream(&db, ExpectedVersion::NoStream).await.unwrap(); // 1
    let before = read_to_decide(&db, &context, "*").await;
    dump_and_restore(&bin, &old, &new).await; // 2

    let db = database(&new, "restored").await;
    let mut superuser = connection(&admin(&new, "restored")).await;
    let ahead = "SELECT count(*) FROM events WHERE transaction_id > pg_current_xact_id()";
    assert_eq!(number(&mut superuser, ahead).await, 4, "the new server has to be behind");
    assert_eq!(number(&mut superuser, "SELECT event_head()").await, 4); // 3
    assert_eq!(db.tenant_tx("head", &context, async |tx| tx.events().head().await).await.unwrap(), 4);
    assert_eq!(db.system_tx("head", async |tx| Ok(number_of(tx.connection()).await)).await.unwrap(), 4);
    let all = &query("*");
    let read = db.tenant_tx("read", &context, async move |tx| tx.events().read(all, ReadFrom::Start, 100).await);
    assert_eq!(read.await.unwrap(), before.events);

    for words in ["x", "T", "*", "y | x", "T x y"] {
        let seen = read_to_decide(&db, &context, words).await;
        append(&db, &context, words, &seen.token).await.unwrap_or_else(|error| panic!("{words}: {error}")); // 4
        let never = AppendCondition::fail_if(query(words));
        let refused = db.append_events(&context, &[event("T x")], Some(&never)).await;
        assert!(conflicting_item(refused).is_some(), "{words}");
        assert!(is_stale(&append(&db, &context, words, &before.token).await), "{words}");

        let seen = read_to_decide(&db, &context, words).await;
        let mut under_way = as_app(&new, &context).await;
        execute(&mut under_way, &format!("BEGIN; {}", append_sql(&[event("T x y")], None))).await;
        let beside = read_to_decide(&db, &context, words).await;
        execute(&mut under_way, "COMMIT").await;
        for token in [seen.token, beside.token] {
            assert!(conflicting_item(append(&db, &context, words, &token).await).is_some(), "{words}"); // 5
        }
    }
    assert!(to_stream(&db, ExpectedVersion::NoStream).await.is_err());
    assert!(to_stream(&db, ExpectedVersion::Exact(1)).await.unwrap()[0] > 4); // 6
    assert_eq!(db.tenant_tx("head", &context, async |tx| tx.events().head().await).await.unwrap(), 15);
}

async fn number_of(mut connection: &AsyncPgConnection) -> i64 {
    use diesel_async::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Head {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        head: i64,
    }
    diesel::sql_query("SELECT event_head() AS head").get_result::<Head>(&mut connection).await.unwrap().head
}

async fn as_app(own: &Own, context: &TenantContext) -> AsyncPgConnection {
    let mut app = connection(&own.server.urls().unwrap().unwrap().app.with_database("restored").unwrap()).await;
    execute(&mut app, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", context.tenant_id())).await;
    app
}

/// Where `pg_dump` is; a server from npm has none.
async fn programs(own: &Own) -> Option<PathBuf> {
    let mut superuser = connection(&admin(own, "bedplate")).await;
    let bin: PathBuf =
        texts(&mut superuser, "SELECT setting FROM pg_config WHERE name = 'BINDIR'").await.remove(0).into();
    (bin.join("pg_dump").exists() && bin.join("pg_restore").exists()).then_some(bin)
}

async fn dump_and_restore(bin: &std::path::Path, old: &Own, new: &Own) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump");
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(bin.join(program)).args(arguments).arg(&file).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run("pg_dump", &["--format=custom", "--dbname", admin(old, "bedplate").reveal(), "--file"]);
    let mut superuser = connection(&admin(new, "postgres")).await;
    execute(&mut superuser, "CREATE DATABASE restored OWNER bedplate_owner").await;
    run("pg_restore", &["--exit-on-error", "--dbname", admin(new, "restored").reveal()]);
}
