//! Agent results: start, complete, fail, retry, and finding them by what they hold.

use bedplate::Error;
use bedplate::models::{
    AgentOutput, AgentResult, AgentResultFilter, AgentResultId, AgentResultStatus, AgentType, JsonField, Lease,
    PageRequest,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Home, IdeaBuilder, TestDatabase, claimed, db, home};

#[rstest]
#[tokio::test]
async fn an_agent_starts_completes_and_keeps_what_it_said(#[future(awt)] db: TestDatabase) {
    let (home, lease, result) = one(&db).await;
    let lease = &lease;
    let started = db
        .tenant_tx("start", &home.context, async |tx| {
            tx.agent_results().start(lease, result.id, &json!({"title": "Tea"})).await
        })
        .await
        .unwrap();
    assert_eq!((started.status, started.input_data), (AgentResultStatus::Running, Some(json!({"title": "Tea"}))));
    let answer = AgentOutput { output: json!({"size": 3}), score: Some(100.0), insights: Some(json!(["grows"])) };
    let completed = db
        .tenant_tx("complete", &home.context, async |tx| tx.agent_results().complete(lease, result.id, &answer).await)
        .await
        .unwrap();
    assert_eq!((completed.status, completed.score), (AgentResultStatus::Completed, Some(100.0)));
    assert!(completed.started_at <= completed.completed_at);
    let found = db.tenant_tx("find", &home.context, async |tx| tx.agent_results().find(result.id).await).await.unwrap();
    assert_eq!(found, completed);
}

#[rstest]
#[case::score_101(AgentOutput { score: Some(101.0), ..AgentOutput::default() }, "score is 101, allowed are 0 to 100")]
#[case::below_0(AgentOutput { score: Some(-0.1), ..AgentOutput::default() }, "score is -0.1, allowed are 0 to 100")]
#[case::nan(AgentOutput { score: Some(f64::NAN), ..AgentOutput::default() }, "score is NaN, allowed are 0 to 100")]
#[case::nul(AgentOutput { output: json!({"a": "\0"}), ..AgentOutput::default() }, "output_data holds a NUL character")]
#[case::nul_key(AgentOutput { insights: Some(json!({"\0": 1})), ..AgentOutput::default() }, "insights holds a NUL character")]
#[tokio::test]
async fn a_bad_answer_is_refused_and_nothing_is_written(
    #[future(awt)] db: TestDatabase,
    #[case] answer: AgentOutput,
    #[case] message: &str,
) {
    let (home, lease, result) = one(&db).await;
    let (lease, answer) = (&lease, &answer);
    let error = db
        .tenant_tx("complete", &home.context, async |tx| {
            tx.agent_results().start(lease, result.id, &Value::Null).await?;
            tx.agent_results().complete(lease, result.id, answer).await
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), message);
    let there = db.tenant_tx("find", &home.context, async |tx| tx.agent_results().find(result.id).await).await.unwrap();
    assert_eq!(there, result);
}

#[rstest]
#[tokio::test]
async fn every_action_in_a_wrong_state_is_refused(#[future(awt)] db: TestDatabase) {
    use AgentResultStatus::{Completed, Failed, Pending, Running};
    let (home, lease, _) = one(&db).await;
    let results = results(&db, &home, &lease).await;
    let lease = &lease;
    // One result in each state.
    db.tenant_tx("prepare", &home.context, async |tx| {
        for result in &results[1..4] {
            tx.agent_results().start(lease, result.id, &Value::Null).await?;
        }
        tx.agent_results().complete(lease, results[2].id, &AgentOutput::default()).await?;
        tx.agent_results().fail(lease, results[3].id, "no answer").await
    })
    .await
    .unwrap();
    let states = [(&results[0], Pending), (&results[1], Running), (&results[2], Completed), (&results[3], Failed)];
    let mut refused = 0;
    for (result, state) in states {
        for (action, from) in [("start", Pending), ("complete", Running), ("fail", Running), ("retry", Failed)] {
            if from == state {
                continue;
            }
            let id = result.id;
            let error = db
                .tenant_tx("wrong", &home.context, async |tx| match action {
                    "start" => tx.agent_results().start(lease, id, &Value::Null).await,
                    "complete" => tx.agent_results().complete(lease, id, &AgentOutput::default()).await,
                    "fail" => tx.agent_results().fail(lease, id, "no answer").await,
                    _ => tx.agent_results().retry(lease, id).await,
                })
                .await
                .unwrap_err();
            assert_eq!(error.to_string(), format!("agent_result {id} is {state}: {action} is not possible"));
            refused += 1;
        }
    }
    assert_eq!(refused, 12);
}

#[rstest]
#[tokio::test]
async fn a_failed_agent_is_tried_again(#[future(awt)] db: TestDatabase) {
    let (home, lease, result) = one(&db).await;
    let lease = &lease;
    let failed = db
        .tenant_tx("fail", &home.context, async |tx| {
            tx.agent_results().start(lease, result.id, &json!({"try": 1})).await?;
            tx.agent_results().fail(lease, result.id, "no answer").await
        })
        .await
        .unwrap();
    assert_eq!((failed.status, failed.error_message.as_deref()), (AgentResultStatus::Failed, Some("no answer")));
    let completed = db
        .tenant_tx("again", &home.context, async |tx| {
            let pending = tx.agent_results().retry(lease, result.id).await?;
            assert_eq!(
                (pending.status, pending.error_message, pending.started_at),
                (AgentResultStatus::Pending, None, None)
            );
            tx.agent_results().start(lease, result.id, &json!({"try": 2})).await?;
            tx.agent_results().complete(lease, result.id, &AgentOutput::default()).await
        })
        .await
        .unwrap();
    assert_eq!(completed.input_data, Some(json!({"try": 2})));
}

#[rstest]
#[tokio::test]
async fn a_lease_opens_only_its_own_evaluation(#[future(awt)] db: TestDatabase) {
    let (home, lease, _) = one(&db).await;
    let (other, _) = IdeaBuilder::new(&home).analyzing(&db).await;
    let lease = &lease;
    let error = db
        .tenant_tx("foreign", &home.context, async |tx| {
            let foreign = tx.agent_results().list_by_evaluation(other.id).await?.remove(0);
            tx.agent_results().start(lease, foreign.id, &Value::Null).await
        })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let unknown = AgentResultId::new();
    let error = db
        .tenant_tx("unknown", &home.context, async |tx| tx.agent_results().start(lease, unknown, &Value::Null).await)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("agent_result {unknown} does not exist"));
}

#[rstest]
#[tokio::test]
async fn results_are_found_by_what_their_json_holds(#[future(awt)] db: TestDatabase) {
    let (home, lease, _) = one(&db).await;
    let all = results(&db, &home, &lease).await;
    let lease = &lease;
    db.tenant_tx("work", &home.context, async |tx| {
        for (n, result) in all.iter().enumerate().take(3) {
            tx.agent_results().start(lease, result.id, &json!({"lang": "en", "round": n})).await?;
        }
        let answer = |size: i32, score| AgentOutput {
            output: json!({"market": {"name": "tea", "size": size}}),
            score: Some(score),
            insights: Some(json!(["grows", size])),
        };
        tx.agent_results().complete(lease, all[0].id, &answer(1, 40.0)).await?;
        tx.agent_results().complete(lease, all[1].id, &answer(2, 90.0)).await
    })
    .await
    .unwrap();
    let found = async |filter: AgentResultFilter| {
        let list = db
            .tenant_tx("list", &home.context, async |tx| {
                tx.agent_results().list(&filter, &PageRequest::default()).await
            })
            .await
            .unwrap();
        let mut ids: Vec<_> = list.items.iter().map(|result| result.id).collect();
        ids.sort();
        ids
    };
    let by = |field, pattern| AgentResultFilter { contains: Some((field, pattern)), ..AgentResultFilter::default() };
    assert_eq!(found(by(JsonField::Output, json!({"market": {"name": "tea"}}))).await, [all[0].id, all[1].id]);
    assert_eq!(found(by(JsonField::Output, json!({"market": {"size": 2}}))).await, [all[1].id]);
    assert_eq!(found(by(JsonField::Insights, json!([1]))).await, [all[0].id]);
    assert_eq!(found(by(JsonField::Input, json!({"lang": "en"}))).await, [all[0].id, all[1].id, all[2].id]);
    assert_eq!(found(by(JsonField::Output, json!({"market": "'; DROP TABLE users"}))).await, []);
    let scored = AgentResultFilter { min_score: Some(50.0), ..AgentResultFilter::default() };
    assert_eq!(found(scored).await, [all[1].id]);
    let of_agent = AgentResultFilter { agent_type: Some(AgentType::MarketResearch), ..AgentResultFilter::default() };
    assert_eq!(found(of_agent).await, [all[0].id]);
    let running = AgentResultFilter {
        evaluation_id: Some(lease.evaluation_id),
        status: Some(AgentResultStatus::Running),
        ..AgentResultFilter::default()
    };
    assert_eq!(found(running).await, [all[2].id]);
}

#[rstest]
#[tokio::test]
async fn results_are_listed_page_by_page(#[future(awt)] db: TestDatabase) {
    let (home, lease, _) = one(&db).await;
    let mut expected: Vec<_> = results(&db, &home, &lease).await.iter().map(|result| result.id).collect();
    expected.reverse();
    let list = async |page: &PageRequest| {
        let filter = AgentResultFilter::default();
        db.tenant_tx("list", &home.context, async |tx| tx.agent_results().list(&filter, page).await).await.unwrap()
    };
    let first = list(&PageRequest::first(3)).await;
    let second = list(&PageRequest { limit: 3, after: first.next.clone() }).await;
    let seen: Vec<_> = first.items.iter().chain(&second.items).map(|result| result.id).collect();
    assert_eq!((seen, second.next), (expected, None));
}

/// A claimed evaluation, and its first result.
async fn one(db: &TestDatabase) -> (Home, Lease, AgentResult) {
    let home = home(db).await;
    IdeaBuilder::new(&home).submitted(db).await;
    let (_, lease) = claimed(db, &home.context, "worker").await.unwrap();
    let first = results(db, &home, &lease).await.remove(0);
    (home, lease, first)
}

async fn results(db: &TestDatabase, home: &Home, lease: &Lease) -> Vec<AgentResult> {
    let id = lease.evaluation_id;
    db.tenant_tx("list", &home.context, async |tx| tx.agent_results().list_by_evaluation(id).await).await.unwrap()
}
