//! Business ideas: create, find, list, update, delete, and every change of status.

use std::collections::BTreeSet;

use bedplate::Error;
use bedplate::models::{
    AgentResultStatus, BusinessIdea, BusinessIdeaChanges, BusinessIdeaFilter, BusinessIdeaId, BusinessIdeaSort,
    BusinessIdeaStatus, Cursor, EvaluationStatus, NewBusinessIdea, PageRequest, UserId,
};
use rstest::rstest;

use crate::support::builders::DESCRIPTION;
use crate::support::{IdeaBuilder, TestDatabase, connection, db, execute, home, number, texts};

#[rstest]
#[tokio::test]
async fn an_idea_is_created_found_and_listed(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).title("Refill stations").create(&db).await;
    assert_eq!((idea.status, idea.lock_version, idea.user_id), (BusinessIdeaStatus::Draft, 0, home.user));
    let (found, page) = db
        .tenant_tx("ideas", &home.context, async |tx| {
            let ideas = tx.business_ideas();
            let list =
                ideas.list(&BusinessIdeaFilter::default(), BusinessIdeaSort::Newest, &PageRequest::default()).await?;
            Ok((ideas.find(idea.id).await?, list))
        })
        .await
        .unwrap();
    assert_eq!(found, idea);
    assert_eq!(page.items, [idea]);
    assert_eq!(page.next, None);
}

#[rstest]
#[case::blank_title("  ", DESCRIPTION, "title is empty")]
#[case::long_title(&"x".repeat(256), DESCRIPTION, "title has 256 characters, allowed are 1 to 255")]
#[case::nul("a\0b", DESCRIPTION, "title holds a NUL character")]
#[case::short_description("Tea", "too short", "description has 9 characters, allowed are 50 to 5000")]
#[case::long_description("Tea", &"x".repeat(5001), "description has 5001 characters, allowed are 50 to 5000")]
#[tokio::test]
async fn bad_texts_are_refused_and_nothing_is_written(
    #[future(awt)] db: TestDatabase,
    #[case] title: &str,
    #[case] description: &str,
    #[case] message: &str,
) {
    let home = home(&db).await;
    let new = NewBusinessIdea { user_id: home.user, title, description };
    let good = NewBusinessIdea { title: "Good", description: DESCRIPTION, ..new };
    let one = db.tenant_tx("one", &home.context, async |tx| tx.business_ideas().create(new).await).await;
    let many =
        db.tenant_tx("many", &home.context, async |tx| tx.business_ideas().create_many(&[good, new]).await).await;
    for error in [one.unwrap_err(), many.unwrap_err()] {
        assert!(matches!(&error, Error::Invalid { violations } if violations.len() == 1), "{error:?}");
        assert_eq!(error.to_string(), message);
    }
    assert_eq!(total(&db, &home).await, 0);
}

#[rstest]
#[tokio::test]
async fn every_violation_is_told_at_once(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let new = NewBusinessIdea { user_id: home.user, title: "", description: "short" };
    let error =
        db.tenant_tx("ideas", &home.context, async |tx| tx.business_ideas().create(new).await).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { violations } if violations.len() == 2));
}

#[rstest]
#[tokio::test]
async fn unknown_users_and_ideas_have_their_errors(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let new = NewBusinessIdea { user_id: UserId::new(), title: "Tea", description: DESCRIPTION };
    let error =
        db.tenant_tx("ideas", &home.context, async |tx| tx.business_ideas().create(new).await).await.unwrap_err();
    assert_eq!(error.to_string(), "user_id refers to a row that does not exist");
    let unknown = BusinessIdeaId::new();
    let title = BusinessIdeaChanges { title: Some("Tea"), description: None };
    let errors = [
        db.tenant_tx("find", &home.context, async |tx| tx.business_ideas().find(unknown).await).await.unwrap_err(),
        db.tenant_tx("update", &home.context, async |tx| tx.business_ideas().update(unknown, 0, title).await)
            .await
            .unwrap_err(),
        db.tenant_tx("delete", &home.context, async |tx| tx.business_ideas().delete(unknown).await).await.unwrap_err(),
        db.tenant_tx("restore", &home.context, async |tx| tx.business_ideas().restore(unknown).await)
            .await
            .unwrap_err(),
        db.tenant_tx("archive", &home.context, async |tx| tx.business_ideas().archive(unknown).await)
            .await
            .unwrap_err(),
        db.tenant_tx("reopen", &home.context, async |tx| tx.business_ideas().reopen(unknown).await).await.unwrap_err(),
        db.tenant_tx("submit", &home.context, async |tx| tx.business_ideas().submit(unknown).await).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), format!("business_idea {unknown} does not exist"));
    }
}

#[rstest]
#[tokio::test]
async fn many_are_created_in_order(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let titles: Vec<String> = (0..1500).map(|n| format!("Idea {n:04}")).collect();
    let new: Vec<_> =
        titles.iter().map(|title| NewBusinessIdea { user_id: home.user, title, description: DESCRIPTION }).collect();
    let created =
        db.tenant_tx("ideas", &home.context, async |tx| tx.business_ideas().create_many(&new).await).await.unwrap();
    assert_eq!(created.iter().map(|idea| &idea.title).collect::<Vec<_>>(), titles.iter().collect::<Vec<_>>());
    let none =
        db.tenant_tx("ideas", &home.context, async |tx| tx.business_ideas().create_many(&[]).await).await.unwrap();
    assert_eq!(none, []);
    assert_eq!(total(&db, &home).await, 1500);
}

#[rstest]
#[case(BusinessIdeaSort::Newest)]
#[case(BusinessIdeaSort::Oldest)]
#[case(BusinessIdeaSort::Title)]
#[tokio::test]
async fn pages_show_every_row_once_and_in_order(#[future(awt)] db: TestDatabase, #[case] sort: BusinessIdeaSort) {
    let home = home(&db).await;
    // Made in two transactions: rows of one have the same created_at, so that only the id tells them apart.
    for round in 0..2 {
        let titles: Vec<String> = (0..5).map(|n| format!("Idea {}", (n * 7 + round) % 5)).collect();
        let new: Vec<_> = titles
            .iter()
            .map(|title| NewBusinessIdea { user_id: home.user, title, description: DESCRIPTION })
            .collect();
        db.tenant_tx("ideas", &home.context, async |tx| tx.business_ideas().create_many(&new).await).await.unwrap();
    }
    let mut seen: Vec<BusinessIdea> = Vec::new();
    let mut after: Option<Cursor> = None;
    let mut pages = 0;
    loop {
        let request = PageRequest { limit: 4, after };
        let page = db
            .tenant_tx("list", &home.context, async |tx| {
                tx.business_ideas().list(&BusinessIdeaFilter::default(), sort, &request).await
            })
            .await
            .unwrap();
        pages += 1;
        seen.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 10));
    assert_eq!(seen.iter().map(|idea| idea.id).collect::<BTreeSet<_>>().len(), 10);
    let mut sorted = seen.clone();
    match sort {
        BusinessIdeaSort::Newest => sorted.sort_by_key(|idea| std::cmp::Reverse((idea.created_at, idea.id))),
        BusinessIdeaSort::Oldest => sorted.sort_by_key(|idea| (idea.created_at, idea.id)),
        BusinessIdeaSort::Title => sorted.sort_by_key(|idea| (idea.title.clone(), idea.id)),
    }
    assert_eq!(seen, sorted);
}

#[rstest]
#[tokio::test]
async fn filters_narrow_the_list(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let refill = IdeaBuilder::new(&home).title("Refill stations").create(&db).await;
    let solar = IdeaBuilder::new(&home).title("Rooftop solar heat maps").create(&db).await;
    let submitted = IdeaBuilder::new(&home).title("Knives").submitted(&db).await.business_idea_id;
    let deleted = IdeaBuilder::new(&home).title("Gone").create(&db).await.id;
    db.tenant_tx("delete", &home.context, async |tx| tx.business_ideas().delete(deleted).await).await.unwrap();

    let all = BusinessIdeaFilter::default;
    let cases = [
        (all(), vec![refill.id, solar.id, submitted]),
        (BusinessIdeaFilter { user_id: Some(home.user), ..all() }, vec![refill.id, solar.id, submitted]),
        (BusinessIdeaFilter { user_id: Some(UserId::new()), ..all() }, vec![]),
        (BusinessIdeaFilter { status: Some(BusinessIdeaStatus::Submitted), ..all() }, vec![submitted]),
        (BusinessIdeaFilter { search: Some("station".into()), ..all() }, vec![refill.id]),
        (BusinessIdeaFilter { search: Some("\"solar heat\" OR knives".into()), ..all() }, vec![solar.id, submitted]),
        (BusinessIdeaFilter { search: Some("description -solar -knives -refill".into()), ..all() }, vec![]),
        (BusinessIdeaFilter { search: Some("'; DROP TABLE users; --".into()), ..all() }, vec![]),
        (BusinessIdeaFilter { deleted: true, ..all() }, vec![deleted]),
    ];
    for (filter, expected) in cases {
        let page = db
            .tenant_tx("list", &home.context, async |tx| {
                tx.business_ideas().list(&filter, BusinessIdeaSort::Oldest, &PageRequest::default()).await
            })
            .await
            .unwrap();
        assert_eq!(page.items.iter().map(|idea| idea.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_cursor_of_another_order_is_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    for _ in 0..2 {
        IdeaBuilder::new(&home).create(&db).await;
    }
    let list = async |sort, page: &PageRequest| {
        db.tenant_tx("list", &home.context, async |tx| {
            tx.business_ideas().list(&BusinessIdeaFilter::default(), sort, page).await
        })
        .await
    };
    let first = list(BusinessIdeaSort::Title, &PageRequest::first(1)).await.unwrap();
    let next = PageRequest { limit: 1, after: first.next };
    let error = list(BusinessIdeaSort::Newest, &next).await.unwrap_err();
    assert_eq!(error.to_string(), "cursor is none of this list");
    assert!(matches!(list(BusinessIdeaSort::Newest, &PageRequest::first(0)).await, Err(Error::Invalid { .. })));
}

#[rstest]
#[tokio::test]
async fn an_update_names_the_version_that_it_read(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let idea = IdeaBuilder::new(&home).create(&db).await;
    let update = async |version, title| {
        let changes = BusinessIdeaChanges { title: Some(title), description: None };
        db.tenant_tx("update", &home.context, async |tx| tx.business_ideas().update(idea.id, version, changes).await)
            .await
    };
    let updated = update(0, "Coffee by post").await.unwrap();
    assert_eq!((updated.title.as_str(), updated.lock_version), ("Coffee by post", 1));
    assert_eq!(updated.description, idea.description);
    assert!(updated.updated_at > idea.updated_at);
    match update(0, "Cocoa by post").await.unwrap_err() {
        Error::StaleVersion { expected: 0, found: 1, .. } => {}
        other => panic!("{other:?}"),
    }
    let unchanged = db
        .tenant_tx("none", &home.context, async |tx| {
            tx.business_ideas().update(idea.id, 1, BusinessIdeaChanges::default()).await
        })
        .await
        .unwrap();
    assert_eq!(unchanged, updated);
    assert!(matches!(update(1, " ").await, Err(Error::Invalid { .. })));
}

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
    crate::support::claimed(&db, &home.context, "worker").await.unwrap();
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

#[rstest]
#[tokio::test]
async fn statistics_count_and_average(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let none = db.tenant_tx("stats", &home.context, async |tx| tx.business_ideas().statistics().await).await.unwrap();
    assert_eq!((none.total, none.average_score), (0, None));
    IdeaBuilder::new(&home).completed(&db, 80.0).await;
    IdeaBuilder::new(&home).completed(&db, 60.0).await;
    IdeaBuilder::new(&home).create(&db).await;
    let deleted = IdeaBuilder::new(&home).create(&db).await.id;
    db.tenant_tx("delete", &home.context, async |tx| tx.business_ideas().delete(deleted).await).await.unwrap();
    let some = db.tenant_tx("stats", &home.context, async |tx| tx.business_ideas().statistics().await).await.unwrap();
    assert_eq!((some.total, some.average_score), (3, Some(70.0)));
    assert_eq!(some.by_status[&BusinessIdeaStatus::Completed], 2);
    assert_eq!(some.by_status[&BusinessIdeaStatus::Archived], 0);
}

/// Rust's rules and the trigger's arguments are the same, for the three tables that have a status to change.
#[rstest]
#[tokio::test]
async fn transitions(#[future(awt)] db: TestDatabase) {
    use bedplate::models::{AgentResultStatus as A, BusinessIdeaStatus as B, EvaluationStatus as E};
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

async fn total(db: &TestDatabase, home: &crate::support::Home) -> i64 {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    number(&mut owner, &format!("SELECT count(*) FROM business_ideas WHERE tenant_id = '{}'", home.tenant)).await
}
