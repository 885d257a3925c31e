//! Two at once, on events: what a decision has seen, several appends in a transaction, the end of a tenant. Each test
//! tells its scenario in numbered steps, and holds them with locks and open transactions: no sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bedplate::events::{AppendCondition, AppendConflict, EventToken, ReadFrom, Seen};
use bedplate::models::TenantStatus;
use bedplate::{Error, Result, TenantTx};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use tokio::sync::Notify;

use crate::event_conditions::{append_b, append_sql, condition, conflicting_item, event, query, under_way};
use crate::support::database::one_connection;
use crate::support::{Home, TestDatabase, as_app, connection, db, execute, home, number, texts, waits_for_lock};

async fn read_to_decide(db: &TestDatabase, home: &Home, words: &str) -> Seen {
    let query = &query(words);
    db.tenant_tx("decide", &home.context, async move |tx| tx.events().read_to_decide(query).await).await.unwrap()
}

fn since(words: &str, token: EventToken) -> AppendCondition {
    AppendCondition::fail_if(query(words)).after(token)
}

/// A position is no proof of what was seen.
/// 1. A appends an event with the tag x, and does not commit; it has the lower position.
/// 2. B appends one with the tag y, and commits.
/// 3. C reads what has x or y, to decide on it: it sees B's event, and cannot see A's.
/// 4. A commits.
/// 5. To "nothing with x or y after the last position that I saw" A's event is no obstacle: C would decide on half
///    of the truth. With the token of its reading it is refused, and told of A's event.
#[rstest]
#[tokio::test]
async fn a_lower_position_that_commits_later_is_not_overlooked(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut a = under_way(&db, &home, "T x", "").await; // 1
    let second = db.append_events(&home.context, &[event("T y")], None).await.unwrap()[0]; // 2
    let seen = read_to_decide(&db, &home, "x | y").await; // 3
    assert_eq!(seen.events.iter().map(|event| event.position).collect::<Vec<_>>(), [second]);
    execute(&mut a, "COMMIT").await; // 4
    let by_position =
        format!("SELECT count(*) FROM events WHERE tags && '{{t:x, t:y}}' AND position > {}", seen.events[0].position);
    assert_eq!(number(&mut as_app(&db, &home).await, &by_position).await, 0); // 5
    let refused = db.append_events(&home.context, &[event("T z")], Some(&since("x | y", seen.token))).await;
    match refused.unwrap_err() {
        Error::AppendConflict { conflict: AppendConflict::Event { item, position, .. } } => {
            assert_eq!((item, position), (0, second - 1));
        }
        other => panic!("{other:?}"),
    }
}

/// 1. A appends, and does not commit.
/// 2. C decides; nothing is there.
/// 3. A commits.
/// 4. What C decided is refused; decided again, it holds.
#[rstest]
#[case("x")]
#[case("T")]
#[case("*")]
#[case("T x y")]
#[tokio::test]
async fn what_was_under_way_was_not_seen(#[future(awt)] db: TestDatabase, #[case] words: &str) {
    let home = home(&db).await;
    // Positions and transactions before it, so that neither counts from 1.
    db.append_events(&home.context, &[event("U z")], None).await.unwrap();
    let mut a = under_way(&db, &home, "T x y", "").await; // 1
    let seen = read_to_decide(&db, &home, words).await; // 2
    execute(&mut a, "COMMIT").await; // 3
    let append = async |token| db.append_events(&home.context, &[event("T x")], Some(&since(words, token))).await;
    assert_eq!(conflicting_item(append(seen.token).await), Some(0)); // 4
    let seen = read_to_decide(&db, &home, words).await;
    append(seen.token).await.unwrap();
}

/// The token is older than what is read, whichever of the two statements the connection has prepared.
/// 1. The only connection has run the query, and made no token yet.
/// 2. L locks the tags, and appends.
/// 3. C reads to decide, and waits for L.
/// 4. L commits: C reads its event, and the token is from before.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_older_than_what_is_read(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let one = one_connection(&db.url).await;
    let query = query("x");
    let read = async |tx: TenantTx| tx.events().read(&query, ReadFrom::Start, 10).await;
    one.tenant_tx("read", &home.context, read).await.unwrap(); // 1
    let mut lock = connection(&db.url).await;
    let lock_tags =
        "BEGIN; GRANT TRUNCATE ON event_tags TO CURRENT_USER; LOCK TABLE event_tags IN ACCESS EXCLUSIVE MODE";
    execute(&mut lock, lock_tags).await;
    let role = format!("SET LOCAL ROLE bedplate_app; SET LOCAL app.tenant_id = '{}'", home.tenant);
    execute(&mut lock, &format!("{role}; {}", append_sql(&[event("T x")], None))).await; // 2
    let (seen, ()) = tokio::join!(
        one.tenant_tx("c", &home.context, async |tx| tx.events().read_to_decide(&query).await), // 3
        async {
            waits_for_lock(&db, "c").await;
            execute(&mut lock, "COMMIT").await; // 4
        }
    );
    let seen = seen.unwrap();
    assert_eq!(seen.events.len(), 1);
    let refused = db.append_events(&home.context, &[event("T y")], Some(&since("x", seen.token))).await;
    assert_eq!(conflicting_item(refused), Some(0));
}

/// A transaction sees what it appended itself, up to the token.
#[rstest]
#[case::one_item("x")]
#[case::by_type("T")]
#[case::anything("*")]
#[case::two_items("y | x")]
#[tokio::test]
async fn a_token_covers_what_its_transaction_appended_before(#[future(awt)] db: TestDatabase, #[case] words: &str) {
    let home = home(&db).await;
    let (query, item) = (&query(words), usize::from(words == "y | x"));
    db.tenant_tx("own", &home.context, async |tx| {
        let events = tx.events();
        let before = events.token().await?;
        let first = events.append(&[event("T x")], None).await?[0];
        let seen = events.read_to_decide(query).await?;
        assert_eq!(seen.events.len(), 1);
        // Not covered: appended after the token.
        let stale = events_in_savepoint(&tx, &since(words, before)).await.unwrap_err();
        assert!(is_conflict(&stale, item, first), "{stale:?}");
        // Covered.
        let second = events.append(&[event("T x")], Some(&since(words, seen.token.clone()))).await?[0];
        // The second one came after it.
        let again = events_in_savepoint(&tx, &since(words, seen.token)).await.unwrap_err();
        assert!(is_conflict(&again, item, second), "{again:?}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn events_in_savepoint(tx: &TenantTx, condition: &AppendCondition) -> Result<Vec<i64>> {
    tx.savepoint(tx.events().append(&[event("T x")], Some(condition))).await
}

fn is_conflict(error: &Error, item: usize, position: i64) -> bool {
    matches!(error, Error::AppendConflict { conflict: AppendConflict::Event { item: i, position: p, .. } }
        if (*i, *p) == (item, position))
}

/// 1. A transaction appends in a savepoint, which is rolled back: nothing is in the way of its decision.
/// 2. It appends in a savepoint, which is released: a token from before does not cover it, one from after does.
#[rstest]
#[tokio::test]
async fn a_savepoint_counts_as_its_transaction(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    db.tenant_tx("savepoints", &home.context, async |tx| {
        let before = tx.events().token().await?;
        let rolled_back: Result<()> = tx
            .savepoint(async {
                tx.events().append(&[event("T x")], None).await?;
                Err(Error::Unauthenticated)
            })
            .await;
        assert!(matches!(rolled_back, Err(Error::Unauthenticated)));
        tx.events().append(&[event("T y")], Some(&since("x", before.clone()))).await?; // 1
        let position = tx.savepoint(tx.events().append(&[event("T x")], None)).await?[0]; // 2
        let stale = events_in_savepoint(&tx, &since("x", before)).await.unwrap_err();
        assert!(is_conflict(&stale, 0, position), "{stale:?}");
        let after = tx.events().token().await?;
        tx.events().append(&[event("T x")], Some(&since("x", after))).await
    })
    .await
    .unwrap();
}

/// A token may travel to another transaction.
/// 1. A transaction makes a token, appends, makes another one, appends, and commits.
/// 2. To another transaction the first token covers nothing, the second one the first event, one from after both.
/// 3. A transaction whose token is used was rolled back: the token covers what was committed before it.
#[rstest]
#[tokio::test]
async fn a_token_travels(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (first, second, positions) = db
        .tenant_tx("tokens", &home.context, async |tx| {
            let events = tx.events();
            let first = events.token().await?;
            let one = events.append(&[event("T x")], None).await?[0];
            let second = events.token().await?;
            let two = events.append(&[event("T x")], None).await?[0];
            Ok((first, second, [one, two])) // 1
        })
        .await
        .unwrap();
    let append = async |token| db.append_events(&home.context, &[event("T y")], Some(&since("x", token))).await;
    assert!(is_conflict(&append(first).await.unwrap_err(), 0, positions[0])); // 2
    assert!(is_conflict(&append(second).await.unwrap_err(), 0, positions[1]));
    let mut rolled_back = as_app(&db, &home).await;
    execute(&mut rolled_back, &format!("BEGIN; {}", append_sql(&[event("T x")], None))).await;
    let token = EventToken::from_client(texts(&mut rolled_back, "SELECT event_token()").await.remove(0));
    execute(&mut rolled_back, "ROLLBACK").await;
    append(token).await.unwrap(); // 3
}

/// 1. T1 appends under a condition on a, T2 under one on b.
/// 2. T1 goes on to b, and waits for T2.
/// 3. T2 goes on to a. It comes before b, so T2 does not wait: it gives up, lets T1 go on, and runs again.
/// 4. Both commit; neither caller has seen an error.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_in_opposite_order_are_no_deadlock(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (both, runs) = (Arc::new(tokio::sync::Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    // Of a type that nobody appends: what counts are the locks.
    let append = async |tx: &TenantTx, tag: &str| {
        let condition = condition(&format!("Never {tag}"));
        tx.events().append(&[event(&format!("T {tag}"))], condition.as_ref()).await
    };
    let t1 = {
        let (db, context, both) = (db.database.clone(), home.context.clone(), both.clone());
        let first = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            db.tenant_tx("t1", &context, async move |tx| {
                append(&tx, "a").await?; // 1
                if first.fetch_add(1, Ordering::Relaxed) == 0 {
                    both.wait().await;
                }
                append(&tx, "b").await // 2
            })
            .await
        })
    };
    let condition_on = |tag: &str| condition(&format!("Never {tag}"));
    let (a, b) = (condition_on("a"), condition_on("b"));
    db.tenant_tx("t2", &home.context, async |tx| {
        tx.events().append(&[event("T b")], b.as_ref()).await?; // 1
        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
            both.wait().await;
            waits_for_lock(&db, "t1").await; // 2
        }
        tx.events().append(&[event("T a")], a.as_ref()).await // 3
    })
    .await
    .unwrap();
    t1.await.unwrap().unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 2); // 4
    let mut app = as_app(&db, &home).await;
    assert_eq!(
        texts(&mut app, "SELECT tags::text FROM events ORDER BY position").await,
        ["{t:a}", "{t:b}", "{t:b}", "{t:a}"]
    );
}

/// At another level, a snapshot is older than the locks.
#[rstest]
#[case::repeatable_read("REPEATABLE READ")]
#[case::serializable("SERIALIZABLE")]
#[tokio::test]
async fn another_isolation_level_is_refused(#[future(awt)] db: TestDatabase, #[case] level: &str) {
    let home = home(&db).await;
    for condition in [None, condition("x"), condition("*")] {
        let mut app = as_app(&db, &home).await;
        execute(&mut app, &format!("BEGIN ISOLATION LEVEL {level}")).await;
        let refused = app.batch_execute(&append_sql(&[event("T x")], condition.as_ref())).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("append_events() works at READ COMMITTED, not at {level}"));
    }
    // Also where it is the default, and nobody says BEGIN.
    let mut app = as_app(&db, &home).await;
    execute(&mut app, &format!("SET default_transaction_isolation = '{}'", level.to_lowercase())).await;
    app.batch_execute(&append_sql(&[event("T x")], None)).await.unwrap_err();
    let read = db.tenant_tx("read", &home.context, async |tx| tx.events().read(&query("*"), ReadFrom::Start, 9).await);
    assert_eq!(read.await.unwrap(), []);
}

pub async fn close(db: &TestDatabase, home: &Home) {
    db.system_tx("close", async |tx| tx.tenants().set_status(home.tenant, TenantStatus::Closed).await).await.unwrap();
}

/// How many rows of the tenant are there, of events, tags and subscriptions.
async fn rows_of(db: &TestDatabase, home: &Home) -> Vec<String> {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let count = |table: &str| format!("SELECT count(*) FROM {table} WHERE tenant_id = '{}'", home.tenant);
    texts(&mut owner, &["events", "event_tags", "event_subscriptions"].map(count).join(" UNION ALL ")).await
}

/// A tenant that is deleted takes its events along; another one keeps its own.
#[rstest]
#[tokio::test]
async fn a_tenants_events_go_with_it(#[future(awt)] db: TestDatabase) {
    let (gone, kept) = (home(&db).await, home(&db).await);
    for home in [&gone, &kept] {
        db.append_events(&home.context, &[event("T x y"), event("T")], None).await.unwrap();
        let mut app = as_app(&db, home).await;
        let subscribe = format!(
            "INSERT INTO event_subscriptions (tenant_id, name, query) VALUES ('{}', 'mailer', '[]')",
            home.tenant
        );
        execute(&mut app, &subscribe).await;
    }
    close(&db, &gone).await;
    db.system_tx("delete", async |tx| tx.tenants().delete(gone.tenant).await).await.unwrap();
    assert_eq!(rows_of(&db, &gone).await, ["0", "0", "0"]);
    assert_eq!(rows_of(&db, &kept).await, ["2", "2", "1"]);
    let appended = db.append_events(&gone.context, &[event("T x")], None).await;
    assert_eq!(appended.unwrap_err().to_string(), "tenant_id refers to a row that does not exist");
}

/// 1. An append is under way, and does not commit.
/// 2. The tenant is deleted: that waits for it.
/// 3. The append commits; the tenant goes, and its event with it.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_deleted_after_an_append(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    close(&db, &home).await;
    let mut a = under_way(&db, &home, "T x", "").await; // 1
    let (database, tenant) = (db.database.clone(), home.tenant);
    let deleted =
        tokio::spawn(async move { database.system_tx("b", async |tx| tx.tenants().delete(tenant).await).await });
    waits_for_lock(&db, "b").await; // 2
    execute(&mut a, "COMMIT").await; // 3
    deleted.await.unwrap().unwrap();
    assert_eq!(rows_of(&db, &home).await, ["0", "0", "0"]);
}

/// 1. The tenant is deleted, and that is not committed yet.
/// 2. An append waits for it.
/// 3. It is committed: the append finds no tenant. Or it is rolled back: the event is there.
#[rstest]
#[case::committed(true)]
#[case::rolled_back(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_after_a_tenant_was_deleted(#[future(awt)] db: TestDatabase, #[case] committed: bool) {
    let home = home(&db).await;
    close(&db, &home).await;
    let appended = Arc::new(Notify::new());
    let b = {
        let (db, home, appended) = (db.database.clone(), home.clone(), appended.clone());
        tokio::spawn(async move {
            appended.notified().await;
            db.tenant_tx("b", &home.context, async |tx| tx.events().append(&[event("T x")], None).await).await
        })
    };
    let deleted: Result<()> = db
        .system_tx("delete", async |tx| {
            tx.tenants().delete(home.tenant).await?; // 1
            appended.notify_one();
            waits_for_lock(&db, "b").await; // 2
            if committed { Ok(()) } else { Err(Error::Unauthenticated) } // 3
        })
        .await;
    assert_eq!(deleted.is_ok(), committed);
    let outcome = b.await.unwrap();
    if committed {
        assert_eq!(outcome.unwrap_err().to_string(), "tenant_id refers to a row that does not exist");
    } else {
        outcome.unwrap();
    }
    assert_eq!(rows_of(&db, &home).await[0], if committed { "0" } else { "1" });
}

/// 1. A appends with the tag x, and does not commit.
/// 2. B, in its transaction, has appended with y, and goes on to x under a condition: x comes before y, so it does
///    not wait but gives up, and runs again; then it waits.
/// 3. A commits; B is refused by its condition, and not by a lock.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_append_does_not_wait_out_of_order(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut a = under_way(&db, &home, "T x", "").await; // 1
    let runs = Arc::new(AtomicUsize::new(0));
    let b = {
        let (db, context, runs) = (db.database.clone(), home.context.clone(), runs.clone());
        tokio::spawn(async move {
            let condition = &condition("x");
            db.tenant_tx("b", &context, async |tx| {
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    tx.events().append(&[event("T y")], None).await?;
                }
                tx.events().append(&[event("T z")], condition.as_ref()).await // 2
            })
            .await
        })
    };
    waits_for_lock(&db, "b").await;
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    execute(&mut a, "COMMIT").await; // 3
    assert_eq!(conflicting_item(b.await.unwrap()), Some(0));
    let _ = append_b(&db, &home, "T v", "").await.unwrap().unwrap();
}
