//! Lists of form submissions: every order and filter, pages that end anywhere, and the search inside the data.

use std::collections::BTreeSet;

use bedplate::models::{FormSubmission, FormSubmissionFilter, FormSubmissionSort, FormSubmissionStatus, PageRequest};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Home, TestDatabase, connection, db, execute, filled_in, form, home, texts};

async fn pages(
    db: &TestDatabase,
    home: &Home,
    filter: &FormSubmissionFilter,
    sort: FormSubmissionSort,
    limit: u16,
) -> Vec<FormSubmission> {
    let (mut all, mut page) = (Vec::new(), PageRequest::first(limit));
    loop {
        let request = &page;
        let next = db
            .tenant_tx("list", &home.context, async |tx| tx.form_submissions().list(filter, sort, request).await)
            .await
            .unwrap();
        all.extend(next.items);
        assert!(all.len() < 1000, "the pages do not end");
        page = PageRequest { limit, after: next.next };
        if page.after.is_none() {
            return all;
        }
    }
}

/// With every size of page, so that pages end among rows with and without the key, and between them.
#[rstest]
#[case(FormSubmissionSort::Newest)]
#[case(FormSubmissionSort::Oldest)]
#[case(FormSubmissionSort::Priority)]
#[case(FormSubmissionSort::Title)]
#[tokio::test]
async fn pages_show_every_row_once_and_in_order(#[future(awt)] db: TestDatabase, #[case] sort: FormSubmissionSort) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &[]).await;
    // Made in two transactions: rows of one have the same created_at, so that only the id tells them apart.
    for round in 0..2 {
        for n in 0..5 {
            let data = match n {
                0 => json!({}),
                1 => json!({"title": "Tea"}),
                2 => json!({"priority": 2}),
                _ => json!({"title": format!("Cup {}", n + round), "priority": n}),
            };
            filled_in(&db, &home, &form, &data, n % 2 == 0).await;
        }
    }
    let filter = FormSubmissionFilter { form_definition_id: Some(form.id), ..FormSubmissionFilter::default() };
    let mut sorted = pages(&db, &home, &filter, FormSubmissionSort::Newest, 50).await;
    assert_eq!(sorted.len(), 10);
    match sort {
        FormSubmissionSort::Newest => sorted.sort_by_key(|s| std::cmp::Reverse((s.created_at, s.id))),
        FormSubmissionSort::Oldest => sorted.sort_by_key(|s| (s.created_at, s.id)),
        FormSubmissionSort::Priority => sorted.sort_by_key(|s| std::cmp::Reverse((s.priority, s.created_at, s.id))),
        FormSubmissionSort::Title => sorted.sort_by_key(|s| (s.title.is_none(), s.title.clone(), s.created_at, s.id)),
    }
    for limit in 1..=10 {
        assert_eq!(pages(&db, &home, &filter, sort, limit).await, sorted, "{limit} a page");
    }
}

#[rstest]
#[tokio::test]
async fn filters_narrow_the_list(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (tea, coffee) = (form(&db, &home, "tea", &[]).await, form(&db, &home, "coffee", &[]).await);
    let black =
        json!({"title": "Black", "priority": 1, "address": {"city": "Oslo", "zip": "0150"}, "tags": ["a", "b"]});
    let black = filled_in(&db, &home, &tea, &black, true).await;
    let green = filled_in(&db, &home, &tea, &json!({"title": "Green", "priority": 2}), false).await;
    let mocha = filled_in(&db, &home, &coffee, &json!({"title": "Black", "address": {"city": "Oslo"}}), true).await;
    let all = FormSubmissionFilter::default;
    let of_tea = || FormSubmissionFilter { form_definition_id: Some(tea.id), ..all() };
    for (filter, expected) in [
        (all(), vec![&mocha, &green, &black]),
        (of_tea(), vec![&green, &black]),
        (FormSubmissionFilter { status: Some(FormSubmissionStatus::Submitted), ..all() }, vec![&mocha, &black]),
        (FormSubmissionFilter { status: Some(FormSubmissionStatus::Submitted), ..of_tea() }, vec![&black]),
        (FormSubmissionFilter { created_after: Some(green.created_at), ..all() }, vec![&mocha, &green]),
        (FormSubmissionFilter { created_before: Some(green.created_at), ..all() }, vec![&black]),
        (FormSubmissionFilter { priority: Some(2), ..of_tea() }, vec![&green]),
        (FormSubmissionFilter { title: Some("Black".into()), ..of_tea() }, vec![&black]),
        (FormSubmissionFilter { contains: Some(json!({"address": {"city": "Oslo"}})), ..all() }, vec![&mocha, &black]),
        (FormSubmissionFilter { contains: Some(json!({"address": {"city": "Oslo"}})), ..of_tea() }, vec![&black]),
        (FormSubmissionFilter { contains: Some(json!({"tags": ["b"]})), ..all() }, vec![&black]),
        (FormSubmissionFilter { contains: Some(json!({"tags": ["c"]})), ..all() }, vec![]),
        (
            FormSubmissionFilter { contains: Some(json!({})), status: Some(FormSubmissionStatus::Draft), ..all() },
            vec![&green],
        ),
        (FormSubmissionFilter { contains: Some(json!({})), priority: Some(1), ..of_tea() }, vec![&black]),
        (FormSubmissionFilter { contains: Some(json!({})), title: Some("Green".into()), ..of_tea() }, vec![&green]),
        (
            FormSubmissionFilter {
                contains: Some(json!({})),
                created_after: Some(green.created_at),
                created_before: Some(mocha.created_at),
                ..all()
            },
            vec![&green],
        ),
    ] {
        for limit in [1, 50] {
            let found = pages(&db, &home, &filter, FormSubmissionSort::Newest, limit).await;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
        }
    }
    let list = async |filter: FormSubmissionFilter, sort, page: PageRequest| {
        let (filter, page) = (&filter, &page);
        let list = db.tenant_tx("list", &home.context, async |tx| tx.form_submissions().list(filter, sort, page).await);
        list.await.unwrap_err().to_string()
    };
    let first = PageRequest::default;
    for (filter, sort, message) in [
        (all(), FormSubmissionSort::Priority, "sort needs a form_definition_id"),
        (
            FormSubmissionFilter { title: Some("T".into()), priority: Some(1), ..all() },
            FormSubmissionSort::Newest,
            "priority needs a form_definition_id; title needs a form_definition_id",
        ),
        (
            FormSubmissionFilter { contains: Some(json!({})), ..of_tea() },
            FormSubmissionSort::Title,
            "sort with contains is newest first",
        ),
        (
            FormSubmissionFilter { contains: Some(json!("\u{0}")), ..all() },
            FormSubmissionSort::Newest,
            "contains holds a NUL character",
        ),
        (
            FormSubmissionFilter { title: Some("\u{0}".into()), ..of_tea() },
            FormSubmissionSort::Newest,
            "title holds a NUL character",
        ),
    ] {
        assert_eq!(list(filter, sort, first()).await, message);
    }
    assert!(list(all(), FormSubmissionSort::Newest, PageRequest::first(0)).await.starts_with("limit is 0"));
    let (filter, one) = (&of_tea(), &PageRequest::first(1));
    let page = db
        .tenant_tx("list", &home.context, async |tx| {
            tx.form_submissions().list(filter, FormSubmissionSort::Title, one).await
        })
        .await
        .unwrap();
    for sort in [FormSubmissionSort::Newest, FormSubmissionSort::Oldest, FormSubmissionSort::Priority] {
        let elsewhere = PageRequest { limit: 1, after: page.next.clone() };
        assert_eq!(list(of_tea(), sort, elsewhere).await, "cursor does not belong to this list");
    }
}

/// Each step of the search answers: what the newest rows hold, what the index finds, and what many old rows hold.
/// Compared with a plain query by the system, page by page.
#[rstest]
#[case(json!({"even": true}), 3)]
#[case(json!({"n": 12_345}), 1)]
#[case(json!({"city": {"n": 7}}), 2)]
#[case(json!({"old": true}), 2)]
#[case(json!({"none": true}), 1)]
#[tokio::test]
async fn a_search_finds_the_newest_of_few_and_of_many(
    #[future(awt)] db: TestDatabase,
    #[case] contains: Value,
    #[case] pages: usize,
) {
    let home = home(&db).await;
    let form = form(&db, &home, "tea", &[]).await;
    let mut system = connection(&db.url).await;
    execute(
        &mut system,
        &format!(
            "SET ROLE bedplate_system; \
             INSERT INTO form_submissions (tenant_id, form_definition_id, form_version, status, data, created_at) \
             SELECT '{}', '{}', 1, 'draft', jsonb_build_object('n', n, 'even', n % 2 = 0, 'old', n > 2200, \
                    'city', jsonb_build_object('n', n % 200)), now() - (n / 3) * interval '1 s' \
               FROM generate_series(1, 12500) AS n",
            home.tenant, form.id
        ),
    )
    .await;
    let filter = FormSubmissionFilter { contains: Some(contains.clone()), ..FormSubmissionFilter::default() };
    let mut found: Vec<FormSubmission> = Vec::new();
    let mut page = PageRequest::first(30);
    for _ in 0..pages {
        let (filter, request) = (&filter, &page);
        let next = db
            .tenant_tx("list", &home.context, async |tx| {
                tx.form_submissions().list(filter, FormSubmissionSort::Newest, request).await
            })
            .await
            .unwrap();
        found.extend(next.items);
        page.after = next.next;
    }
    let plain = format!(
        "SELECT id FROM (SELECT id FROM form_submissions WHERE data @> '{contains}' \
          ORDER BY created_at DESC, id DESC LIMIT {}) AS s",
        30 * pages
    );
    let expected = texts(&mut system, &plain).await;
    assert_eq!(found.iter().map(|one| one.id.to_string()).collect::<Vec<_>>(), expected);
    assert_eq!(found.iter().map(|one| one.id).collect::<BTreeSet<_>>().len(), found.len());
}
