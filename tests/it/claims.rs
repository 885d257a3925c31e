//! Working evaluations off: claim, extend, complete, fail, cancel, take over.

use std::time::Duration;

use bedplate::Error;
use bedplate::models::{
    AgentOutput, AgentResultStatus, AgentType, BusinessIdeaStatus, Claim, Evaluation, EvaluationFilter, EvaluationId,
    EvaluationStatus, EvaluationSummary, Lease, NewEvaluation, PageRequest, Priority,
};
use rstest::rstest;
use serde_json::json;

use crate::support::builders::claim_for;
use crate::support::{Home, IdeaBuilder, TestDatabase, claimed, connection, db, execute, home};

#[rstest]
#[tokio::test]
async fn the_next_evaluation_is_the_one_of_highest_priority_then_age(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut made = Vec::new();
    for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::Normal] {
        made.push(IdeaBuilder::new(&home).priority(priority).submitted(&db).await.id);
    }
    let mut claims = Vec::new();
    while let Some((evaluation, lease)) = claimed(&db, &home.context, "worker").await {
        assert_eq!((evaluation.status, evaluation.attempts), (EvaluationStatus::Analyzing, 1));
        assert_eq!(lease, Lease { evaluation_id: evaluation.id, worker: "worker".into(), attempt: 1 });
        assert_eq!(idea_status(&db, &home, &evaluation).await, BusinessIdeaStatus::Evaluating);
        claims.push(evaluation.id);
    }
    assert_eq!(claims, [made[2], made[1], made[3], made[0]]);
}

#[rstest]
#[tokio::test]
async fn several_are_claimed_at_once_in_the_same_order(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let low = IdeaBuilder::new(&home).priority(Priority::Low).submitted(&db).await.id;
    let high = IdeaBuilder::new(&home).priority(Priority::High).submitted(&db).await.id;
    let normal = IdeaBuilder::new(&home).submitted(&db).await.id;
    let claim = async |limit| {
        let claim = Claim::new("worker").limit(limit);
        let claimed =
            db.tenant_tx("claim", &home.context, async |tx| tx.evaluations().claim(claim).await).await.unwrap();
        claimed.into_iter().map(|(evaluation, _)| evaluation.id).collect::<Vec<_>>()
    };
    assert_eq!(claim(2).await, [high, normal]);
    assert_eq!(claim(1000).await, [low]);
    assert_eq!(claim(1).await, []);
}

#[rstest]
#[case(Claim::new(""), "worker is empty")]
#[case(Claim::new("w").limit(0), "limit is 0, allowed are 1 to 1000")]
#[case(Claim::new("w").lease(Duration::ZERO), "lease must be from 1 ms to 24 hours")]
#[case(Claim::new("w").max_attempts(0), "max_attempts must be at least 1")]
#[tokio::test]
async fn a_bad_claim_is_refused(#[future(awt)] db: TestDatabase, #[case] claim: Claim<'static>, #[case] message: &str) {
    let home = home(&db).await;
    let error = db.tenant_tx("claim", &home.context, async |tx| tx.evaluations().claim(claim).await).await.unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[rstest]
#[tokio::test]
async fn an_expired_lease_is_taken_over_and_finished_results_stay(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let evaluation = IdeaBuilder::new(&home).submitted(&db).await;
    // Both claims are by one name, as of a worker that is started again: only the attempt tells them apart.
    let (_, first) = claimed(&db, &home.context, "worker").await.unwrap();
    let lease = &first;
    db.tenant_tx("work", &home.context, async |tx| {
        let results = tx.agent_results().list_by_evaluation(evaluation.id).await?;
        tx.agent_results().start(lease, results[0].id, &json!({})).await?;
        tx.agent_results().complete(lease, results[0].id, &answer(50.0)).await?;
        tx.agent_results().start(lease, results[1].id, &json!({})).await
    })
    .await
    .unwrap();
    assert_eq!(claimed(&db, &home.context, "worker").await, None, "the lease has not expired");
    expire(&db).await;
    let (taken, second) = claimed(&db, &home.context, "worker").await.unwrap();
    assert_eq!((taken.id, second.attempt), (evaluation.id, 2));
    assert!(taken.started_at.unwrap() < taken.updated_at, "it started when it was first claimed");
    assert_eq!(
        statuses(&db, &home, evaluation.id).await[..3],
        [AgentResultStatus::Completed, AgentResultStatus::Pending, AgentResultStatus::Pending]
    );
    // The first worker wakes up: whatever it tries, it has lost the lease.
    for error in [
        db.tenant_tx("extend", &home.context, async |tx| tx.evaluations().extend(lease, Duration::from_mins(1)).await)
            .await,
        db.tenant_tx("complete", &home.context, async |tx| tx.evaluations().complete(lease).await).await,
        db.tenant_tx("fail", &home.context, async |tx| tx.evaluations().fail(lease, "late").await).await,
    ] {
        assert_eq!(error.unwrap_err().to_string(), format!("evaluation {}: the lease is lost", evaluation.id));
    }
    for action in ["start", "complete", "fail", "retry"] {
        let error = db
            .tenant_tx("late", &home.context, async |tx| {
                let results = tx.agent_results().list_by_evaluation(evaluation.id).await?;
                match action {
                    "start" => tx.agent_results().start(lease, results[2].id, &json!({})).await,
                    "complete" => tx.agent_results().complete(lease, results[1].id, &answer(1.0)).await,
                    "fail" => tx.agent_results().fail(lease, results[1].id, "late").await,
                    _ => tx.agent_results().retry(lease, results[1].id).await,
                }
            })
            .await
            .unwrap_err();
        assert!(matches!(error, Error::LeaseLost { .. }), "{action}: {error:?}");
    }
}

#[rstest]
#[tokio::test]
async fn an_extended_lease_is_not_taken_over(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    IdeaBuilder::new(&home).submitted(&db).await;
    let (_, lease) = claim_for(&db, &home.context, "first", Duration::from_millis(1)).await.unwrap();
    let lease = &lease;
    let extended = db
        .tenant_tx("extend", &home.context, async |tx| tx.evaluations().extend(lease, Duration::from_mins(5)).await)
        .await
        .unwrap();
    assert_eq!(extended.lease().as_ref(), Some(lease), "the token is the same");
    assert_eq!(claimed(&db, &home.context, "second").await, None);
}

#[rstest]
#[tokio::test]
async fn after_so_many_attempts_an_evaluation_fails(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let evaluation = IdeaBuilder::new(&home).submitted(&db).await;
    for attempt in 1..=2 {
        let claim = Claim::new("worker").max_attempts(2);
        let claims =
            db.tenant_tx("claim", &home.context, async |tx| tx.evaluations().claim(claim).await).await.unwrap();
        assert_eq!(claims[0].1.attempt, attempt);
        expire(&db).await;
    }
    let claim = Claim::new("worker").max_attempts(2);
    let claims = db.tenant_tx("claim", &home.context, async |tx| tx.evaluations().claim(claim).await).await.unwrap();
    assert_eq!(claims, []);
    let failed = find(&db, &home, evaluation.id).await;
    assert_eq!(
        (failed.status, failed.error_message.as_deref()),
        (EvaluationStatus::Failed, Some("gave up after 2 attempts"))
    );
    assert_eq!(idea_status(&db, &home, &failed).await, BusinessIdeaStatus::Draft);
    assert_eq!(statuses(&db, &home, evaluation.id).await, [AgentResultStatus::Failed; 5]);
}

#[rstest]
#[tokio::test]
async fn a_completed_evaluation_sums_its_results_up(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let agents = [AgentType::MarketResearch, AgentType::RiskAssessment, AgentType::Synthesis];
    let idea = IdeaBuilder::new(&home).create(&db).await;
    let how = NewEvaluation { priority: Priority::High, agents: &agents };
    let submitted = db
        .tenant_tx("submit", &home.context, async |tx| tx.business_ideas().submit_with(idea.id, how).await)
        .await
        .unwrap();
    let (_, lease) = claimed(&db, &home.context, "worker").await.unwrap();
    let lease = &lease;
    let completed = db
        .tenant_tx("work", &home.context, async |tx| {
            let results = tx.agent_results().list_by_evaluation(submitted.id).await?;
            for result in &results {
                tx.agent_results().start(lease, result.id, &json!({})).await?;
            }
            tx.agent_results().complete(lease, results[0].id, &answer(70.0)).await?;
            let without_score = AgentOutput { output: json!("fine"), score: None, insights: None };
            tx.agent_results().complete(lease, results[1].id, &without_score).await?;
            tx.agent_results().fail(lease, results[2].id, "no answer").await?;
            tx.evaluations().complete(lease).await
        })
        .await
        .unwrap();
    assert_eq!((completed.status, completed.lease()), (EvaluationStatus::Completed, None));
    assert!(completed.started_at <= completed.completed_at);
    let summary: EvaluationSummary = serde_json::from_value(completed.results.clone().unwrap()).unwrap();
    assert_eq!((summary.score, summary.completed, summary.failed), (Some(70.0), 2, 1));
    assert_eq!(summary.agents[&AgentType::Synthesis].error_message.as_deref(), Some("no answer"));
    assert_eq!(idea_status(&db, &home, &completed).await, BusinessIdeaStatus::Completed);
    let again = db.tenant_tx("again", &home.context, async |tx| tx.evaluations().complete(lease).await).await;
    assert!(matches!(again, Err(Error::LeaseLost { .. })));
}

#[rstest]
#[tokio::test]
async fn an_evaluation_with_open_or_only_failed_agents_is_not_completed(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (evaluation, lease) = IdeaBuilder::new(&home).analyzing(&db).await;
    let lease = &lease;
    let complete =
        async || db.tenant_tx("complete", &home.context, async |tx| tx.evaluations().complete(lease).await).await;
    let open = complete().await.unwrap_err();
    assert!(
        open.to_string().ends_with("is analyzing (market-research is pending): complete is not possible"),
        "{open}"
    );
    db.tenant_tx("work", &home.context, async |tx| {
        for result in tx.agent_results().list_by_evaluation(evaluation.id).await? {
            tx.agent_results().start(lease, result.id, &json!({})).await?;
            tx.agent_results().fail(lease, result.id, "no answer").await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let failed = complete().await.unwrap_err();
    assert_eq!(failed.to_string(), "agent_results have all failed: there is nothing to aggregate");
    let ended =
        db.tenant_tx("fail", &home.context, async |tx| tx.evaluations().fail(lease, "no answers").await).await.unwrap();
    assert_eq!((ended.status, ended.error_message.as_deref()), (EvaluationStatus::Failed, Some("no answers")));
    assert_eq!(idea_status(&db, &home, &ended).await, BusinessIdeaStatus::Draft);
    // Mended, it is submitted once more.
    let again = db
        .tenant_tx("submit", &home.context, async |tx| tx.business_ideas().submit(ended.business_idea_id).await)
        .await
        .unwrap();
    assert_ne!(again.id, ended.id);
}

#[rstest]
#[tokio::test]
async fn an_open_evaluation_is_cancelled_and_its_worker_stopped(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (evaluation, lease) = IdeaBuilder::new(&home).analyzing(&db).await;
    let (id, lease) = (evaluation.id, &lease);
    let cancel = async |id, reason| {
        db.tenant_tx("cancel", &home.context, async |tx| tx.evaluations().cancel(id, reason).await).await
    };
    assert_eq!(cancel(id, " ").await.unwrap_err().to_string(), "reason is empty");
    assert_eq!(cancel(id, "not wanted").await.unwrap().status, EvaluationStatus::Failed);
    assert_eq!(idea_status(&db, &home, &evaluation).await, BusinessIdeaStatus::Draft);
    let late = db
        .tenant_tx("late", &home.context, async |tx| tx.evaluations().extend(lease, Duration::from_mins(1)).await)
        .await;
    assert!(matches!(late, Err(Error::LeaseLost { .. })));
    assert!(matches!(cancel(id, "twice").await, Err(Error::WrongState { .. })));
    assert!(matches!(cancel(EvaluationId::new(), "unknown").await, Err(Error::NotFound { .. })));
}

#[rstest]
#[case(&[], "agents are none")]
#[case(&[AgentType::Synthesis, AgentType::MarketResearch, AgentType::Synthesis], "agents name synthesis twice")]
#[tokio::test]
async fn agents_are_named_once(
    #[future(awt)] db: TestDatabase,
    #[case] agents: &'static [AgentType],
    #[case] message: &str,
) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await;
    let how = NewEvaluation { agents, ..NewEvaluation::default() };
    let error = db
        .tenant_tx("submit", &home.context, async |tx| tx.business_ideas().submit_with(idea.id, how).await)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[rstest]
#[tokio::test]
async fn evaluations_are_listed_page_by_page(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(IdeaBuilder::new(&home).submitted(&db).await);
    }
    made.reverse();
    let list = async |filter: &EvaluationFilter, page: &PageRequest| {
        let page =
            db.tenant_tx("list", &home.context, async |tx| tx.evaluations().list(filter, page).await).await.unwrap();
        (page.items.iter().map(|evaluation| evaluation.id).collect::<Vec<_>>(), page.next)
    };
    let all = EvaluationFilter::default();
    let (first, next) = list(&all, &PageRequest::first(2)).await;
    let (second, end) = list(&all, &PageRequest { limit: 2, after: next }).await;
    assert_eq!([first, second].concat(), made.iter().map(|evaluation| evaluation.id).collect::<Vec<_>>());
    assert_eq!(end, None);
    let of_idea =
        EvaluationFilter { business_idea_id: Some(made[1].business_idea_id), status: Some(EvaluationStatus::Pending) };
    assert_eq!(list(&of_idea, &PageRequest::default()).await.0, [made[1].id]);
    let failed = EvaluationFilter { status: Some(EvaluationStatus::Failed), ..all };
    assert_eq!(list(&failed, &PageRequest::default()).await.0, []);
    let unknown = EvaluationId::new();
    let error = db.tenant_tx("find", &home.context, async |tx| tx.evaluations().find(unknown).await).await.unwrap_err();
    assert_eq!(error.to_string(), format!("evaluation {unknown} does not exist"));
}

fn answer(score: f64) -> AgentOutput {
    AgentOutput { output: json!({"done": true}), score: Some(score), insights: None }
}

/// Lets every lease run out, as time would.
async fn expire(db: &TestDatabase) {
    let mut owner = connection(&db.url).await;
    let sql = "SET ROLE bedplate_system; UPDATE evaluations SET lease_expires_at = now() - interval '1 second' WHERE status = 'analyzing'";
    execute(&mut owner, sql).await;
}

async fn find(db: &TestDatabase, home: &Home, id: EvaluationId) -> Evaluation {
    db.tenant_tx("find", &home.context, async |tx| tx.evaluations().find(id).await).await.unwrap()
}

async fn idea_status(db: &TestDatabase, home: &Home, evaluation: &Evaluation) -> BusinessIdeaStatus {
    let id = evaluation.business_idea_id;
    db.tenant_tx("find", &home.context, async |tx| tx.business_ideas().find(id).await).await.unwrap().status
}

async fn statuses(db: &TestDatabase, home: &Home, id: EvaluationId) -> Vec<AgentResultStatus> {
    let results =
        db.tenant_tx("list", &home.context, async |tx| tx.agent_results().list_by_evaluation(id).await).await.unwrap();
    results.iter().map(|result| result.status).collect()
}
