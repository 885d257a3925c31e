//! What a transaction offers beside queries: savepoints, bulk inserts, upserts, idempotency.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bedplate::models::{BusinessIdeaFilter, BusinessIdeaSort, NewBusinessIdea, NewUser, PageRequest};
use bedplate::{Error, Result, TenantTx};
use rstest::rstest;
use tokio::sync::Notify;

use crate::support::builders::{DESCRIPTION, password_hash};
use crate::support::{Home, TestDatabase, connection, db, execute, home, number, waits_for_lock};

async fn titles(db: &TestDatabase, home: &Home) -> Vec<String> {
    let (filter, sort) = (BusinessIdeaFilter::default(), BusinessIdeaSort::Title);
    let page = PageRequest::first(200);
    let page =
        db.tenant_tx("list", &home.context, async |tx| tx.business_ideas().list(&filter, sort, &page).await).await;
    page.unwrap().items.into_iter().map(|idea| idea.title).collect()
}

async fn idea(tx: &TenantTx, home: &Home, title: &str) -> Result<()> {
    let new = NewBusinessIdea { user_id: home.user, title, description: DESCRIPTION };
    tx.business_ideas().create(new).await.map(|_| ())
}

#[rstest]
#[tokio::test]
async fn what_fails_in_a_savepoint_is_undone_and_the_rest_is_kept(#[future(awt)] db: TestDatabase) {
    let home = &home(&db).await;
    let hash = password_hash().await;
    db.tenant_tx("savepoints", &home.context, async |tx| {
        idea(&tx, home, "before").await?;
        // The database refuses: without a savepoint the transaction would be lost.
        let taken =
            NewUser { email: "owner@example.com", username: "x", name: "X", display_name: None, password_hash: hash };
        let refused = tx
            .savepoint(async {
                idea(&tx, home, "undone").await?;
                tx.users().create(taken).await
            })
            .await;
        assert!(matches!(refused, Err(Error::Conflict { .. })));
        tx.savepoint(idea(&tx, home, "kept")).await?;
        // Nested: the inner one fails, the outer one is kept.
        tx.savepoint(async {
            idea(&tx, home, "outer").await?;
            let inner: Result<()> = tx
                .savepoint(async {
                    idea(&tx, home, "inner").await?;
                    Err(Error::Unauthenticated)
                })
                .await;
            assert!(matches!(inner, Err(Error::Unauthenticated)));
            idea(&tx, home, "outer too").await
        })
        .await?;
        idea(&tx, home, "after").await
    })
    .await
    .unwrap();
    assert_eq!(titles(&db, home).await, ["after", "before", "kept", "outer", "outer too"]);
}

#[rstest]
#[tokio::test]
async fn an_error_that_is_swallowed_in_a_savepoint_is_told(#[future(awt)] db: TestDatabase) {
    let home = &home(&db).await;
    db.tenant_tx("swallow", &home.context, async |tx| {
        let swallowed = tx
            .savepoint(async {
                idea(&tx, home, "undone").await?;
                let _ = diesel_async::SimpleAsyncConnection::batch_execute(&mut tx.connection(), "SELECT 1 / 0").await;
                Ok(())
            })
            .await;
        assert!(matches!(swallowed, Err(Error::Aborted)), "{swallowed:?}");
        idea(&tx, home, "kept").await
    })
    .await
    .unwrap();
    assert_eq!(titles(&db, home).await, ["kept"]);
}

/// A timeout drops the savepoint's future when half of its work is done: COMMIT would keep that half.
#[rstest]
#[tokio::test]
async fn a_savepoint_that_is_dropped_half_way_commits_nothing(#[future(awt)] db: TestDatabase) {
    let home = &home(&db).await;
    let outcome = db
        .tenant_tx("drop", &home.context, async |tx| {
            idea(&tx, home, "before").await?;
            let reached = Notify::new();
            let half = tx.savepoint(async {
                idea(&tx, home, "half").await?;
                reached.notify_one();
                std::future::pending::<Result<()>>().await
            });
            tokio::select! {
                _ = half => unreachable!("it never ends"),
                () = reached.notified() => {}
            }
            Ok(())
        })
        .await;
    assert!(matches!(outcome, Err(Error::Aborted)), "{outcome:?}");
    assert_eq!(titles(&db, home).await, Vec::<String>::new());
}

/// More rows than a message has binds for (65,535), and more than one chunk.
#[rstest]
#[tokio::test]
async fn many_rows_go_in_as_chunks(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let titles: Vec<_> = (0..2500).map(|n| format!("Idea {n}")).collect();
    let new: Vec<_> =
        titles.iter().map(|title| NewBusinessIdea { user_id: home.user, title, description: DESCRIPTION }).collect();
    let created =
        db.tenant_tx("many", &home.context, async |tx| tx.business_ideas().create_many(&new).await).await.unwrap();
    assert!(created.iter().map(|idea| &idea.title).eq(&titles), "in the order of the input");
    // One bad row in the last chunk: nothing is written.
    let mut bad = new.clone();
    bad[2400].user_id = bedplate::models::UserId::new();
    let refused = db.tenant_tx("bad", &home.context, async |tx| tx.business_ideas().create_many(&bad).await).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })));
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM business_ideas").await, 2500);
}

#[rstest]
#[tokio::test]
async fn a_repeated_request_is_done_once_and_answered_the_same(#[future(awt)] db: TestDatabase) {
    let home = &home(&db).await;
    let submit = async |key: &'static str, title: &'static str| {
        db.tenant_tx("submit", &home.context, async |tx| {
            tx.idempotent(key, &title, async {
                let new = NewBusinessIdea { user_id: home.user, title, description: DESCRIPTION };
                Ok(tx.business_ideas().create(new).await?.id)
            })
            .await
        })
        .await
    };
    let first = submit("one", "Tea").await.unwrap();
    assert_eq!(submit("one", "Tea").await.unwrap(), first);
    assert_ne!(submit("two", "Tea").await.unwrap(), first);
    let other = submit("one", "Coffee").await;
    assert!(matches!(other, Err(Error::Conflict { field, .. }) if field == "key"));
    assert!(matches!(submit("", "Tea").await, Err(Error::Invalid { .. })));
    assert_eq!(titles(&db, home).await, ["Tea", "Tea"]);
    // Another tenant's key is another key.
    let neighbour = crate::support::home(&db).await;
    let theirs =
        db.tenant_tx("submit", &neighbour.context, async |tx| tx.idempotent("one", &"x", async { Ok(7) }).await).await;
    assert_eq!(theirs.unwrap(), 7);
}

#[rstest]
#[tokio::test]
async fn a_key_whose_work_failed_is_free_again(#[future(awt)] db: TestDatabase) {
    let home = &home(&db).await;
    let context = &home.context;
    let failed: Result<u32> = db
        .tenant_tx("fail", context, async |tx| {
            let failed: Result<u32> = tx
                .idempotent("key", &1, async {
                    idea(&tx, home, "undone").await?;
                    Err(Error::Unauthenticated)
                })
                .await;
            // The caller goes on, and commits.
            assert!(matches!(failed, Err(Error::Unauthenticated)));
            Ok(0)
        })
        .await;
    failed.unwrap();
    let again = db.tenant_tx("again", context, async |tx| tx.idempotent("key", &1, async { Ok(2) }).await).await;
    assert_eq!(again.unwrap(), 2);
    assert_eq!(titles(&db, home).await, Vec::<String>::new());
}

/// 1. A sends a request with a key, and has not committed yet.
/// 2. B sends the same request, and waits for A.
/// 3. A commits.
/// 4. B gets A's response, and its own work was not done.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_equal_requests_one_is_done(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let written = Arc::new(Notify::new());
    let other = {
        let (database, context, written) = (db.database.clone(), home.context.clone(), written.clone());
        tokio::spawn(async move {
            written.notified().await;
            // 2
            database
                .tenant_tx("b.once", &context, async |tx| tx.idempotent("key", &1, async { Ok("B".to_owned()) }).await)
                .await
        })
    };
    db.tenant_tx("a.once", &home.context, async |tx| {
        let mine = tx.idempotent("key", &1, async { Ok("A".to_owned()) }).await?; // 1
        written.notify_one();
        waits_for_lock(&db, "b.once").await;
        Ok(mine) // 3
    })
    .await
    .unwrap();
    let theirs = tokio::time::timeout(Duration::from_secs(30), other).await.unwrap().unwrap();
    assert_eq!(theirs.unwrap(), "A"); // 4
}

/// The map of a request has another order each time.
#[rstest]
#[tokio::test]
async fn a_request_with_a_map_is_the_same_in_any_order(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    for _ in 0..20 {
        let request: HashMap<String, HashMap<u32, bool>> =
            (0..20).map(|n| (format!("key {n}"), (0..5).map(|m| (m, n % 2 == 0)).collect())).collect();
        let done =
            db.tenant_tx("map", &home.context, async |tx| tx.idempotent("key", &request, async { Ok(1) }).await).await;
        assert_eq!(done.unwrap(), 1);
    }
    let other = HashMap::from([("key 1", 1)]);
    let refused =
        db.tenant_tx("map", &home.context, async |tx| tx.idempotent("key", &other, async { Ok(1) }).await).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
}

/// What JSON does not give back as it was, is answered alike each time, or refused before it is written.
#[rstest]
#[tokio::test]
async fn a_response_is_read_back_before_it_counts(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let refused = db
        .tenant_tx("nan", &home.context, async |tx| {
            let refused = tx.idempotent("nan", &1, async { Ok(f64::NAN) }).await;
            assert!(matches!(&refused, Err(Error::Invalid { violations }) if violations[0].field == "response"));
            // The key is free again, and nothing is swallowed.
            tx.idempotent("nan", &1, async { Ok(2.0_f64) }).await
        })
        .await;
    assert_eq!(refused.unwrap().to_bits(), 2.0_f64.to_bits());
    for _ in 0..2 {
        let answer = async |tx: TenantTx| {
            let zero = tx.idempotent("zero", &1, async { Ok(-0.0_f64) }).await?;
            let some = tx.idempotent("some", &1, async { Ok(Some(())) }).await?;
            Ok((zero.to_bits(), some))
        };
        assert_eq!(db.tenant_tx("again", &home.context, answer).await.unwrap(), (0.0_f64.to_bits(), None));
    }
}
