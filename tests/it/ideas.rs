//! Business ideas: create, find, list, update, delete, and every change of status.

use std::collections::BTreeSet;

use bedplate::Error;
use bedplate::models::{
    BusinessIdea, BusinessIdeaChanges, BusinessIdeaFilter, BusinessIdeaId, BusinessIdeaSort, BusinessIdeaStatus,
    Cursor, NewBusinessIdea, PageRequest, UserId,
};
use rstest::rstest;

use crate::support::builders::DESCRIPTION;
use crate::support::{IdeaBuilder, TestDatabase, connection, db, execute, home, number};

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
    assert_eq!(error.to_string(), "cursor does not belong to this list");
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

async fn total(db: &TestDatabase, home: &crate::support::Home) -> i64 {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    number(&mut owner, &format!("SELECT count(*) FROM business_ideas WHERE tenant_id = '{}'", home.tenant)).await
}
