//! The states of a business idea: every change that is allowed, and every one that is refused, by Rust and by
//! the database.

use std::collections::BTreeSet;

use bedplate::Error;
use bedplate::models::{
    AgentResultStatus, BusinessIdea, BusinessIdeaChanges, BusinessIdeaId, BusinessIdeaStatus, EvaluationStatus,
};
use rstest::rstest;

use crate::support::{IdeaBuilder, TestDatabase, claimed, connection, db, execute, home, texts};

#[rstest]
#[tokio::test]
async fn only_a_draft_is_edited(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let evaluation = IdeaBuilder::new(&home).submitted(&db).await;
    let id = evaluation.business_idea_id;
    let changes = BusinessIdeaChanges { title: Some("Other"), description: None };
    let error = db
        .tenant_tx("update", &home.context, async |tx| {
            let idea = tx.business_ideas().find(id).await?;
            tx.business_ideas().update(id, idea.lock_version, changes).await
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("business_idea {id} is submitted: edit is not possible"));

    // A client that writes SQL is refused as well.
    let mut app = connection(&db.url).await;
    execute(&mut app, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", home.tenant)).await;
    let error =
        diesel_async::SimpleAsyncConnection::batch_execute(&mut app, "UPDATE business_ideas SET title = 'Other'")
            .await
            .map_err(Error::from)
            .unwrap_err();
    assert_eq!(error.to_string(), "status is not allowed (business_ideas_status_edit)");
}

#[rstest]
#[tokio::test]
async fn a_deleted_idea_is_gone_and_comes_back(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await;
    let deleted =
        db.tenant_tx("delete", &home.context, async |tx| tx.business_ideas().delete(idea.id).await).await.unwrap();
    assert!(deleted.deleted_at.is_some());
    for error in [
        db.tenant_tx("find", &home.context, async |tx| tx.business_ideas().find(idea.id).await).await.unwrap_err(),
        db.tenant_tx("delete", &home.context, async |tx| tx.business_ideas().delete(idea.id).await).await.unwrap_err(),
        db.tenant_tx("submit", &home.context, async |tx| tx.business_ideas().submit(idea.id).await).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    }
    let restored =
        db.tenant_tx("restore", &home.context, async |tx| tx.business_ideas().restore(idea.id).await).await.unwrap();
    assert_eq!((restored.deleted_at, restored.title), (None, idea.title));
    let again = db.tenant_tx("restore", &home.context, async |tx| tx.business_ideas().restore(idea.id).await).await;
    assert!(matches!(again, Err(Error::NotFound { .. })));
}

#[rstest]
#[tokio::test]
async fn an_idea_under_evaluation_is_not_deleted(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let evaluation = IdeaBuilder::new(&home).submitted(&db).await;
    let id = evaluation.business_idea_id;
    let delete = async || db.tenant_tx("delete", &home.context, async |tx| tx.business_ideas().delete(id).await).await;
    assert_eq!(
        delete().await.unwrap_err().to_string(),
        format!("business_idea {id} is submitted: delete is not possible")
    );
    claimed(&db, &home.context, "worker").await.unwrap();
    assert_eq!(
        delete().await.unwrap_err().to_string(),
        format!("business_idea {id} is evaluating: delete is not possible")
    );
    db.tenant_tx("cancel", &home.context, async |tx| tx.evaluations().cancel(evaluation.id, "not wanted").await)
        .await
        .unwrap();
    assert!(delete().await.unwrap().deleted_at.is_some());
}

#[rstest]
#[tokio::test]
async fn submitting_makes_an_evaluation_with_five_agents(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let evaluation = IdeaBuilder::new(&home).submitted(&db).await;
    let (idea, results) = db
        .tenant_tx("read", &home.context, async |tx| {
            // Independent reads, sent without waiting for each other.
            let (ideas, results) = (tx.business_ideas(), tx.agent_results());
            tokio::try_join!(ideas.find(evaluation.business_idea_id), results.list_by_evaluation(evaluation.id))
        })
        .await
        .unwrap();
    assert_eq!((idea.status, evaluation.status), (BusinessIdeaStatus::Submitted, EvaluationStatus::Pending));
    assert!(results.iter().all(|result| result.status == AgentResultStatus::Pending));
    let agents: Vec<_> = results.iter().map(|result| result.agent_type.as_str()).collect();
    assert_eq!(
        agents,
        ["market-research", "competitive-analysis", "customer-research", "financial-analysis", "technical-feasibility"]
    );
    let again = db.tenant_tx("submit", &home.context, async |tx| tx.business_ideas().submit(idea.id).await).await;
    assert_eq!(
        again.unwrap_err().to_string(),
        format!("business_idea {} is submitted: submit is not possible", idea.id)
    );
}

#[rstest]
#[tokio::test]
async fn a_completed_idea_is_archived_or_reopened(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let id = IdeaBuilder::new(&home).completed(&db, 80.0).await.business_idea_id;
    let reopened =
        db.tenant_tx("reopen", &home.context, async |tx| tx.business_ideas().reopen(id).await).await.unwrap();
    assert_eq!(reopened.status, BusinessIdeaStatus::Draft);
    let archived =
        db.tenant_tx("archive", &home.context, async |tx| tx.business_ideas().archive(id).await).await.unwrap();
    assert_eq!(archived.status, BusinessIdeaStatus::Archived);
    for error in [
        db.tenant_tx("archive", &home.context, async |tx| tx.business_ideas().archive(id).await).await.unwrap_err(),
        db.tenant_tx("reopen", &home.context, async |tx| tx.business_ideas().reopen(id).await).await.unwrap_err(),
        db.tenant_tx("submit", &home.context, async |tx| tx.business_ideas().submit(id).await.map(|_| unreachable(id)))
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(&error, Error::WrongState { state, .. } if state == "archived"), "{error:?}");
    }
}

fn unreachable(id: BusinessIdeaId) -> BusinessIdea {
    panic!("{id} was submitted")
}

/// Rust's rules and the trigger's arguments are the same, for each table that has a status to change.
#[rstest]
#[tokio::test]
async fn transitions(#[future(awt)] db: TestDatabase) {
    use bedplate::models::{
        AgentResultStatus as A, BusinessIdeaStatus as B, EvaluationStatus as E, FormDefinitionStatus as D,
        FormSubmissionStatus as S,
    };
    fn pairs<S: Copy + ToString>(all: &[S], can_become: impl Fn(S, S) -> bool) -> BTreeSet<String> {
        let every = all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to)));
        every
            .filter(|(from, to)| can_become(*from, *to))
            .map(|(from, to)| format!("{}>{}", from.to_string(), to.to_string()))
            .collect()
    }
    let rust = [
        ("agent_results", pairs(A::ALL, A::can_become)),
        ("business_ideas", pairs(B::ALL, B::can_become)),
        ("evaluations", pairs(E::ALL, E::can_become)),
        ("form_definitions", pairs(D::ALL, D::can_become)),
        ("form_submissions", pairs(S::ALL, S::can_become)),
    ];
    let mut owner = connection(&db.url).await;
    let guarded = texts(
        &mut owner,
        "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'refuse_illegal_transition' ORDER BY 1",
    )
    .await;
    assert_eq!(guarded, rust.iter().map(|(table, _)| (*table).to_owned()).collect::<Vec<_>>());
    for (table, expected) in rust {
        let definition = format!(
            "SELECT encode(tgargs, 'escape') FROM pg_trigger \
              WHERE tgname = 'refuse_illegal_transition' AND tgrelid = '{table}'::regclass"
        );
        let arguments = texts(&mut owner, &definition).await.remove(0);
        let mut arguments = arguments.split("\\000").filter(|argument| !argument.is_empty());
        assert_eq!(arguments.next(), Some(table), "the table's name comes first");
        assert_eq!(arguments.map(str::to_owned).collect::<BTreeSet<_>>(), expected, "{table}");
    }
}

/// Every pair of statuses, written as SQL by the application's role: what Rust refuses, the database refuses.
#[rstest]
#[tokio::test]
async fn the_database_refuses_every_illegal_change(#[future(awt)] db: TestDatabase) {
    use diesel_async::SimpleAsyncConnection as _;
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await;
    let mut owner = connection(&db.url).await;
    let (mut refused, mut allowed) = (0, 0);
    for from in BusinessIdeaStatus::ALL {
        for to in BusinessIdeaStatus::ALL.iter().filter(|to| *to != from) {
            execute(
                &mut owner,
                &format!("SET ROLE bedplate_system; UPDATE business_ideas SET status = '{from}'; RESET ROLE"),
            )
            .await;
            execute(&mut owner, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", home.tenant)).await;
            let update = owner
                .batch_execute(&format!("UPDATE business_ideas SET status = '{to}' WHERE id = '{}'", idea.id))
                .await;
            execute(&mut owner, "RESET ROLE").await;
            assert_eq!(update.is_ok(), from.can_become(*to), "{from} > {to}: {update:?}");
            if let Err(error) = update {
                refused += 1;
                assert_eq!(Error::from(error).to_string(), "status is not allowed (business_ideas_status_transition)");
            } else {
                allowed += 1;
            }
        }
    }
    assert_eq!((allowed, refused), (8, 12));
}
