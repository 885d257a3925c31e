//! What the domains do is there as events, in the same transaction: after the commit with tags, request and user,
//! and not at all after a refusal or a rollback.

use std::time::Duration;

use bedplate::events::{Event, EventQuery, ReadFrom, Upcasters};
use bedplate::models::{
    BusinessIdeaId, Claim, EvaluationId, FormDefinitionId, FormEvent, FormSubmissionId, IdeaEvent, NewFormSubmission,
    Priority,
};
use bedplate::{Database, Error, TenantContext};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::builders::claim_for;
use crate::support::{Home, IdeaBuilder, TestDatabase, claimed, db, draft_form, filled_in, form, home};

/// All events of the tenant, in their order.
async fn events(db: &Database, home: &Home) -> Vec<Event> {
    db.tenant_tx("tests.events", &home.context, async |tx| {
        tx.events().read(&EventQuery::all(), ReadFrom::Start, 10_000).await
    })
    .await
    .unwrap()
}

/// The types of those after `seen`.
async fn types_after(db: &Database, home: &Home, seen: usize) -> Vec<String> {
    events(db, home).await.split_off(seen).into_iter().map(|event| event.event_type).collect()
}

fn idea_tags(home: &Home, idea: BusinessIdeaId, evaluation: EvaluationId) -> Vec<String> {
    let mut tags = vec![format!("idea:{idea}"), format!("evaluation:{evaluation}"), format!("user:{}", home.user)];
    tags.sort();
    tags
}

fn decode<E: serde::de::DeserializeOwned>(event: &Event) -> E {
    event.decode(&Upcasters::new()).unwrap()
}

/// In one request: an idea is submitted, claimed, evaluated.
#[rstest]
#[tokio::test]
async fn an_idea_is_submitted_and_evaluated(#[future(awt)] db: TestDatabase) {
    let mut home = home(&db).await;
    let request = Uuid::now_v7();
    home.context = home.context.correlation(request);
    let evaluation = IdeaBuilder::new(&home).priority(Priority::High).completed(&db, 70.5).await;
    let (idea_id, evaluation_id) = (evaluation.business_idea_id, evaluation.id);
    let all = events(&db, &home).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(
        decode::<IdeaEvent>(&all[0]),
        IdeaEvent::IdeaSubmitted { idea_id, evaluation_id, priority: Priority::High }
    );
    assert_eq!(
        decode::<IdeaEvent>(&all[1]),
        IdeaEvent::EvaluationCompleted { evaluation_id, idea_id, score: Some(70.5) }
    );
    for event in &all {
        assert_eq!(event.tags, idea_tags(&home, idea_id, evaluation_id));
        assert_eq!(event.correlation_id, Some(request));
        assert_eq!(event.metadata["user_id"], json!(home.user));
    }
}

/// By its worker, by who submitted it, and by nobody: its lease ran out too often.
#[rstest]
#[tokio::test]
async fn an_evaluation_fails_in_three_ways(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (failed, lease) = IdeaBuilder::new(&home).analyzing(&db).await;
    let lease = &lease;
    db.tenant_tx("fail", &home.context, async |tx| tx.evaluations().fail(lease, "no answer").await).await.unwrap();
    let cancelled = IdeaBuilder::new(&home).submitted(&db).await;
    db.tenant_tx("cancel", &home.context, async |tx| tx.evaluations().cancel(cancelled.id, "not wanted").await)
        .await
        .unwrap();
    let given_up = IdeaBuilder::new(&home).submitted(&db).await;
    claim_for(&db, &home.context, "dead", Duration::from_millis(1)).await.unwrap();
    // A lease of a millisecond runs out between two transactions.
    while types_after(&db, &home, 5).await.is_empty() {
        let claim = Claim::new("next").max_attempts(1);
        db.tenant_tx("claim", &home.context, async |tx| tx.evaluations().claim(claim).await).await.unwrap();
    }
    let all = events(&db, &home).await;
    let of: Vec<_> = all.iter().filter(|event| event.event_type == "EvaluationFailed").collect();
    assert_eq!(of.len(), 3, "{all:?}");
    for (event, (evaluation, attempts)) in of.into_iter().zip([(failed, 1), (cancelled, 0), (given_up, 1)]) {
        let (evaluation_id, idea_id) = (evaluation.id, evaluation.business_idea_id);
        assert_eq!(decode::<IdeaEvent>(event), IdeaEvent::EvaluationFailed { evaluation_id, idea_id, attempts });
        assert_eq!(event.tags, idea_tags(&home, idea_id, evaluation_id));
    }
}

fn form_tags(home: &Home, form: FormDefinitionId) -> Vec<String> {
    vec![format!("form:{form}"), format!("user:{}", home.user)]
}

#[rstest]
#[tokio::test]
async fn a_form_is_published_replaced_and_archived(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let first = form(&db, &home, "tea", &["title"]).await;
    let second = form(&db, &home, "tea", &["title"]).await;
    db.tenant_tx("archive", &home.context, async |tx| tx.form_definitions().archive(second.id).await).await.unwrap();
    let all = events(&db, &home).await;
    let name = "tea".to_owned();
    let expected = [
        FormEvent::FormPublished { form_id: first.id, name: name.clone(), version: 1 },
        FormEvent::FormArchived { form_id: first.id, name: name.clone(), version: 1 },
        FormEvent::FormPublished { form_id: second.id, name: name.clone(), version: 2 },
        FormEvent::FormArchived { form_id: second.id, name, version: 2 },
    ];
    assert_eq!(all.iter().map(decode::<FormEvent>).collect::<Vec<_>>(), expected);
    for (event, form) in all.iter().zip([first.id, first.id, second.id, second.id]) {
        assert_eq!(event.tags, form_tags(&home, form));
    }
}

fn submission_tags(home: &Home, form: FormDefinitionId, submission: FormSubmissionId) -> Vec<String> {
    vec![format!("form:{form}"), format!("submission:{submission}"), format!("user:{}", home.user)]
}

/// At once, from a draft, and 1,001 at a time, of which some are drafts.
#[rstest]
#[tokio::test]
async fn a_submission_is_submitted_in_three_ways(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &["title"]).await;
    let data = json!({"title": "Tea"});
    let at_once = filled_in(&db, &home, &form, &data, true).await;
    let draft = filled_in(&db, &home, &form, &data, false).await;
    assert_eq!(types_after(&db, &home, 1).await, ["SubmissionSubmitted"], "a draft is no event");
    db.tenant_tx("submit", &home.context, async |tx| tx.form_submissions().submit(draft.id, 0).await).await.unwrap();
    let new = NewFormSubmission { form_definition_id: form.id, data: &data, submit: true };
    let mut many = vec![new; 1002];
    many[0].submit = false;
    let many = &many;
    let created =
        db.tenant_tx("many", &home.context, async |tx| tx.form_submissions().create_many(many).await).await.unwrap();
    let expected = [at_once.id, draft.id].into_iter().chain(created[1..].iter().map(|created| created.id));
    let all = events(&db, &home).await.split_off(1);
    assert_eq!(all.len(), 1003);
    for (event, submission_id) in all.iter().zip(expected) {
        assert_eq!(decode::<FormEvent>(event), FormEvent::SubmissionSubmitted { submission_id, form_id: form.id });
        assert_eq!(event.tags, submission_tags(&home, form.id, submission_id));
    }
}

/// A refusal that the caller goes on after, in the same transaction: what was refused leaves no event.
#[rstest]
#[tokio::test]
async fn what_is_refused_is_no_event(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let evaluation = IdeaBuilder::new(&home).submitted(&db).await;
    let form = form(&db, &home, "tea", &["title"]).await;
    let submitted = filled_in(&db, &home, &form, &json!({"title": "Tea"}), true).await;
    let empty = filled_in(&db, &home, &form, &json!({}), false).await;
    let archived = draft_form(&db, &home, "coffee", &[]).await;
    db.tenant_tx("publish", &home.context, async |tx| {
        tx.form_definitions().publish(archived.id).await?;
        tx.form_definitions().archive(archived.id).await
    })
    .await
    .unwrap();
    let (_, lease) = claimed(&db, &home.context, "worker").await.unwrap();
    let seen = events(&db, &home).await.len();
    assert_eq!(seen, 5);
    let lease = &bedplate::models::Lease { attempt: 7, ..lease };
    db.tenant_tx("refused", &home.context, async |tx| {
        let new = NewFormSubmission { form_definition_id: archived.id, data: &json!({}), submit: true };
        let refused = [
            tx.business_ideas().submit(evaluation.business_idea_id).await.map(drop),
            tx.evaluations().fail(lease, "no answer").await.map(drop),
            tx.evaluations().complete(lease).await.map(drop),
            tx.evaluations().cancel(EvaluationId::new(), "not wanted").await.map(drop),
            tx.form_definitions().publish(form.id).await.map(drop),
            tx.form_definitions().archive(archived.id).await.map(drop),
            tx.form_submissions().create(new).await.map(drop),
            tx.form_submissions().submit(submitted.id, 1).await.map(drop),
            tx.form_submissions().submit(submitted.id, 0).await.map(drop),
            tx.form_submissions().submit(empty.id, 0).await.map(drop),
            tx.form_submissions().create_many(&[new]).await.map(drop),
        ];
        for (n, refused) in refused.into_iter().enumerate() {
            assert!(refused.is_err(), "number {n} was not refused");
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(types_after(&db, &home, seen).await, Vec::<String>::new());
}

#[rstest]
#[tokio::test]
async fn what_is_rolled_back_is_no_event(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await;
    let form = draft_form(&db, &home, "tea", &[]).await;
    let rolled_back: Result<(), _> = db
        .tenant_tx("rolled back", &home.context, async |tx| {
            tx.business_ideas().submit(idea.id).await?;
            tx.form_definitions().publish(form.id).await?;
            let new = NewFormSubmission { form_definition_id: form.id, data: &json!({}), submit: true };
            tx.form_submissions().create(new).await?;
            assert_eq!(tx.events().read(&EventQuery::all(), ReadFrom::Start, 10).await?.len(), 3);
            Err(Error::not_found(idea.id))
        })
        .await;
    rolled_back.unwrap_err();
    assert_eq!(events(&db, &home).await, []);
}

/// Without a user and a request there is neither.
#[rstest]
#[tokio::test]
async fn who_acts_for_nobody_is_noted_as_nobody(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await;
    let nobody = TenantContext::new(home.tenant);
    let submitted =
        db.tenant_tx("submit", &nobody, async |tx| tx.business_ideas().submit(idea.id).await).await.unwrap();
    let all = events(&db, &home).await;
    assert_eq!(all[0].tags, [format!("evaluation:{}", submitted.id), format!("idea:{}", idea.id)]);
    assert_eq!((all[0].correlation_id, all[0].metadata.clone()), (None, json!({})));
}
