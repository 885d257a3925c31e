//! Two at once. Each test tells its scenario in numbered steps, and holds them with barriers and locks: no
//! sleeps. That somebody waits is read from `pg_stat_activity`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bedplate::Error;
use bedplate::models::{AgentOutput, BusinessIdeaChanges, EvaluationStatus};
use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};

use crate::support::{IdeaBuilder, TestDatabase, claimed, connection, db, execute, home, number, waits_for_lock};

/// 1. Twenty evaluations are pending.
/// 2. Eight workers start together and claim until nothing is left.
/// 3. Every evaluation was claimed exactly once.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_claimers_never_get_the_same_evaluation(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    // 1
    let mut pending = BTreeSet::new();
    for _ in 0..20 {
        pending.insert(IdeaBuilder::new(&home).submitted(&db).await.id);
    }
    // 2
    let start = Arc::new(Barrier::new(8));
    let workers = (0..8).map(|n| {
        let (database, context, start) = (db.database.clone(), home.context.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            let mut mine = Vec::new();
            while let Some((evaluation, _)) = claimed(&database, &context, &format!("worker-{n}")).await {
                mine.push(evaluation.id);
            }
            mine
        })
    });
    let claimed: Vec<_> = join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    // 3
    assert_eq!(claimed.len(), 20);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), pending);
}

/// 1. A claims in a transaction that stays open: the row is locked.
/// 2. B claims meanwhile, does not wait, and gets nothing.
/// 3. A commits; B still gets nothing, for A holds the lease.
#[rstest]
#[tokio::test]
async fn a_claimer_does_not_wait_for_another(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    IdeaBuilder::new(&home).submitted(&db).await;
    let home = &home;
    db.tenant_tx("a", &home.context, async |tx| {
        // 1
        let mine = tx.evaluations().claim(bedplate::models::Claim::new("a")).await?;
        assert_eq!(mine.len(), 1);
        // 2
        assert_eq!(claimed(&db, &home.context, "b").await, None);
        Ok(())
    })
    .await
    .unwrap();
    // 3
    assert_eq!(claimed(&db, &home.context, "b").await, None);
}

/// 1. Ten submit the same draft together.
/// 2. One gets the evaluation, nine are told that it is submitted.
/// 3. There is one evaluation, with five results.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_submitters_one_wins(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await;
    // 1
    let start = Arc::new(Barrier::new(10));
    let submitters = (0..10).map(|_| {
        let (database, context, start) = (db.database.clone(), home.context.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            database.tenant_tx("submit", &context, async move |tx| tx.business_ideas().submit(idea.id).await).await
        })
    });
    let outcomes: Vec<_> = join_all(submitters).await.into_iter().map(Result::unwrap).collect();
    // 2
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(error, Error::WrongState { state, .. } if state == "submitted"), "{error:?}");
    }
    // 3
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM evaluations").await, 1);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM agent_results").await, 5);
}

/// 1. A and B read version 0.
/// 2. A updates, and does not commit yet.
/// 3. B updates too, and waits for A's row lock.
/// 4. A commits.
/// 5. B is told that the version is stale; A's change is there.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_is_not_lost(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await; // 1
    let updated = Arc::new(Notify::new());
    let other = {
        let (database, context, updated) = (db.database.clone(), home.context.clone(), updated.clone());
        tokio::spawn(async move {
            updated.notified().await;
            let changes = BusinessIdeaChanges { title: Some("B"), description: None };
            // 3
            database
                .tenant_tx("b.update", &context, async move |tx| tx.business_ideas().update(idea.id, 0, changes).await)
                .await
        })
    };
    db.tenant_tx("a.update", &home.context, async |tx| {
        let changes = BusinessIdeaChanges { title: Some("A"), description: None };
        tx.business_ideas().update(idea.id, 0, changes).await?; // 2
        updated.notify_one();
        waits_for_lock(&db, "b.update").await;
        Ok(()) // 4
    })
    .await
    .unwrap();
    // 5
    assert!(matches!(other.await.unwrap(), Err(Error::StaleVersion { expected: 0, found: 1, .. })));
    let there = db.tenant_tx("find", &home.context, async |tx| tx.business_ideas().find(idea.id).await).await.unwrap();
    assert_eq!((there.title.as_str(), there.lock_version), ("A", 1));
}

/// 1. A's lease has expired; A completes a result in a transaction that stays open.
/// 2. B claims meanwhile: the evaluation is locked, so B skips it and does not wait.
/// 3. A commits: its result counts.
/// 4. B claims again and takes over.
/// 5. A, late, starts another result: refused, the lease is lost.
/// 6. B starts it, and what A completed stays completed.
#[rstest]
#[tokio::test]
async fn a_late_worker_is_fenced_off(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (evaluation, lease) = IdeaBuilder::new(&home).analyzing(&db).await;
    let (a, id) = (&lease, evaluation.id);
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "SET ROLE bedplate_system; UPDATE evaluations SET lease_expires_at = now() - interval '1 second'",
    )
    .await;
    let results =
        db.tenant_tx("list", &home.context, async |tx| tx.agent_results().list_by_evaluation(id).await).await.unwrap();
    // In a transaction of its own: a second change of the row in one transaction would lock the evaluation by
    // the check of the foreign key, and hide whether the lease is locked.
    db.tenant_tx("a.start", &home.context, async |tx| tx.agent_results().start(a, results[0].id, &Value::Null).await)
        .await
        .unwrap();
    db.tenant_tx("a.complete", &home.context, async |tx| {
        // 1
        let answer = AgentOutput { output: json!("A"), ..AgentOutput::default() };
        tx.agent_results().complete(a, results[0].id, &answer).await?;
        // 2
        assert_eq!(claimed(&db, &home.context, "b").await, None);
        Ok(())
    })
    .await
    .unwrap(); // 3
    let (_, b) = claimed(&db, &home.context, "b").await.expect("4");
    assert_eq!(b.attempt, 2);
    let late = db
        .tenant_tx("a.late", &home.context, async |tx| tx.agent_results().start(a, results[1].id, &Value::Null).await)
        .await;
    assert!(matches!(late, Err(Error::LeaseLost { .. })), "5: {late:?}");
    let b = &b;
    let (first, second) = db
        .tenant_tx("b.start", &home.context, async |tx| {
            let second = tx.agent_results().start(b, results[1].id, &Value::Null).await?;
            Ok((tx.agent_results().find(results[0].id).await?, second))
        })
        .await
        .unwrap();
    // 6
    assert_eq!((first.output_data, second.status.as_str()), (Some(json!("A")), "running"));
}

/// 1. The last agents of an evaluation complete in a transaction that stays open.
/// 2. Its worker completes the evaluation meanwhile, and waits.
/// 3. The agents commit.
/// 4. The summary holds their scores: it was read under the lock.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_summary_misses_no_result(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (evaluation, lease) = IdeaBuilder::new(&home).analyzing(&db).await;
    let written = Arc::new(Notify::new());
    let worker = {
        let (database, context, lease, written) =
            (db.database.clone(), home.context.clone(), lease.clone(), written.clone());
        tokio::spawn(async move {
            written.notified().await;
            let lease = &lease;
            // 2
            database.tenant_tx("w.complete", &context, async move |tx| tx.evaluations().complete(lease).await).await
        })
    };
    let lease = &lease;
    db.tenant_tx("agents", &home.context, async |tx| {
        for result in tx.agent_results().list_by_evaluation(evaluation.id).await? {
            tx.agent_results().start(lease, result.id, &Value::Null).await?;
            let answer = AgentOutput { score: Some(60.0), ..AgentOutput::default() };
            tx.agent_results().complete(lease, result.id, &answer).await?; // 1
        }
        written.notify_one();
        waits_for_lock(&db, "w.complete").await;
        Ok(()) // 3
    })
    .await
    .unwrap();
    // 4
    let completed = worker.await.unwrap().unwrap();
    assert_eq!(completed.status, EvaluationStatus::Completed);
    assert_eq!(completed.results.unwrap()["completed"], json!(5));
}
