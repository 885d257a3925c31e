//! Lists of events: newest first, by type, request and time; and the tree of a request.

use bedplate::events::{Event, EventFilter, NewEvent};
use bedplate::models::PageRequest;
use bedplate::sql::quote_literal;
use bedplate::{Error, TenantContext};
use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Home, TestDatabase, as_app, connection, db, execute, home};

/// Every page of three.
async fn positions(db: &TestDatabase, home: &Home, filter: &EventFilter) -> Vec<i64> {
    let (mut positions, mut page) = (Vec::new(), PageRequest::first(3));
    loop {
        let request = &page;
        let list = db.tenant_tx("list", &home.context, async move |tx| tx.events().list(filter, request).await);
        let found = list.await.unwrap();
        assert!(found.items.len() <= 3);
        positions.extend(found.items.iter().map(|event| event.position));
        match found.next {
            Some(next) => page.after = Some(next),
            None => return positions,
        }
    }
}

/// 1. Ten events, of two types and three requests, one a minute.
/// 2. Each filter finds its own, newest first, over several pages; filters together hold together.
#[rstest]
#[tokio::test]
async fn events_are_listed(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let requests = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    for n in 0..10_usize {
        let context = home.context.clone().correlation(requests[n % 3]);
        let event = NewEvent::new(if n % 2 == 0 { "Even" } else { "Odd" }, json!(n));
        db.append_events(&context, &[event], None).await.unwrap();
    }
    let begin: DateTime<Utc> = "2026-05-01T12:00:00Z".parse().unwrap();
    let minute = |n: i64| begin + TimeDelta::minutes(n);
    set_times(&db, begin).await; // 1
    let by = EventFilter::default;
    let filters = [
        (by(), vec![10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (EventFilter { event_type: Some("Odd".into()), ..by() }, vec![10, 8, 6, 4, 2]),
        (EventFilter { event_type: Some("None".into()), ..by() }, vec![]),
        (EventFilter { correlation_id: Some(requests[0]), ..by() }, vec![10, 7, 4, 1]),
        (EventFilter { from: Some(minute(7)), ..by() }, vec![10, 9, 8, 7]),
        (EventFilter { until: Some(minute(4)), ..by() }, vec![3, 2, 1]),
        (EventFilter { from: Some(minute(3)), until: Some(minute(9)), ..by() }, vec![8, 7, 6, 5, 4, 3]),
        (EventFilter { from: Some(minute(9)), until: Some(minute(3)), ..by() }, vec![]),
        (
            EventFilter { event_type: Some("Odd".into()), from: Some(minute(3)), until: Some(minute(9)), ..by() },
            vec![8, 6, 4],
        ),
        (
            EventFilter {
                correlation_id: Some(requests[1]),
                event_type: Some("Odd".into()),
                from: Some(minute(3)),
                ..by()
            },
            vec![8],
        ),
    ];
    for (filter, expected) in filters {
        assert_eq!(positions(&db, &home, &filter).await, expected, "{filter:?}"); // 2
    }
    let stranger = TenantContext::new(crate::support::home(&db).await.tenant);
    let list = async |tx: bedplate::TenantTx| tx.events().list(&EventFilter::default(), &PageRequest::default()).await;
    assert_eq!(db.tenant_tx("list", &stranger, list).await.unwrap().items, []);
}

/// As if they had been appended a minute apart: nobody can write a time.
async fn set_times(db: &TestDatabase, begin: DateTime<Utc>) {
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        &format!(
            "ALTER TABLE events DISABLE TRIGGER append_only, NO FORCE ROW LEVEL SECURITY; GRANT UPDATE ON events TO CURRENT_USER; \
             UPDATE events SET created_at = {}::timestamptz + position * interval '1 minute'; \
             REVOKE UPDATE ON events FROM CURRENT_USER; \
             ALTER TABLE events ENABLE ALWAYS TRIGGER append_only, FORCE ROW LEVEL SECURITY",
            quote_literal(&begin.to_rfc3339())
        ),
    )
    .await;
}

#[rstest]
#[tokio::test]
async fn a_page_of_another_list_is_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    for page in [
        PageRequest::first(0),
        PageRequest::first(201),
        PageRequest { limit: 1, after: Some(bedplate::models::Cursor::from_client("x")) },
    ] {
        let list = async |tx: bedplate::TenantTx| tx.events().list(&EventFilter::default(), &page).await;
        assert!(matches!(db.tenant_tx("list", &home.context, list).await, Err(Error::Invalid { .. })));
    }
}

/// One event leads to two, one of them to another: all carry the request, and each names its cause.
#[rstest]
#[tokio::test]
async fn a_request_is_a_tree(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let request = Uuid::now_v7();
    let context = home.context.clone().correlation(request);
    let chain = async || {
        let read = async |tx: bedplate::TenantTx| tx.events().correlation_chain(request).await;
        db.tenant_tx("chain", &home.context, read).await.unwrap()
    };
    let of = |event_type: &str, cause: Option<&Event>| {
        let event = NewEvent::new(event_type, json!({}));
        cause.map_or(event.clone(), |cause| event.caused_by(cause))
    };
    db.append_events(&context, &[of("Root", None)], None).await.unwrap();
    let root = chain().await.remove(0);
    // What follows later has no request of its own, or another one.
    let another = home.context.clone().correlation(Uuid::now_v7());
    db.append_events(&home.context, &[of("Left", Some(&root))], None).await.unwrap();
    db.append_events(&another, &[of("Right", Some(&root)), of("Unrelated", None)], None).await.unwrap();
    let left = chain().await.remove(1);
    db.append_events(&another, &[of("Leaf", Some(&left))], None).await.unwrap();
    let tree: Vec<_> =
        chain().await.into_iter().map(|event| (event.event_type, event.correlation_id, event.causation_id)).collect();
    let caused =
        |name: &str, cause: Option<&Event>| (name.to_owned(), Some(request), cause.map(|cause| cause.id.as_uuid()));
    assert_eq!(
        tree,
        [caused("Root", None), caused("Left", Some(&root)), caused("Right", Some(&root)), caused("Leaf", Some(&left))]
    );
}

/// A short range among many events: the plan with its values goes by time.
#[rstest]
#[tokio::test]
async fn a_range_of_time_is_found_by_its_index(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut app = as_app(&db, &home).await;
    // 200 appends of 500 events.
    execute(
        &mut app,
        "DO $$ BEGIN FOR n IN 1 .. 200 LOOP \
            PERFORM append_events(jsonb_agg(jsonb_build_object('event_type', 'T', 'event_data', 1))) FROM generate_series(1, 500); \
         END LOOP; END $$",
    )
    .await;
    set_times(&db, "2026-05-01T12:00:00Z".parse().unwrap()).await;
    let mut owner = connection(&db.url).await;
    // The index summarises what vacuum has seen; here none goes about.
    execute(&mut owner, "SELECT brin_summarize_new_values('events_created_at_idx'); ANALYZE events").await;
    let explain = format!(
        "EXPLAIN SELECT * FROM events AS e WHERE e.tenant_id = '{}' AND e.position + 0 < 9999999 \
            AND e.created_at >= coalesce('2026-06-01'::timestamptz, '-infinity') \
            AND e.created_at < coalesce('2026-06-01 01:00'::timestamptz, 'infinity') \
          ORDER BY e.position + 0 DESC LIMIT 51",
        home.tenant
    );
    let plan = explained(&mut app, &explain).await;
    assert!(plan.contains("Bitmap Index Scan on events_created_at_idx"), "{plan}");
    // Of a type that is not rare: in the order of its index, and not all of them for a page.
    let explain = format!(
        "EXPLAIN SELECT * FROM events AS e WHERE e.tenant_id = '{}' AND e.position < 9999999 AND e.event_type = 'T' \
            AND ('2026-06-01' IS NULL OR e.created_at >= '2026-06-01') AND (NULL::timestamptz IS NULL OR e.created_at < NULL) \
          ORDER BY e.position DESC LIMIT 51",
        home.tenant
    );
    let plan = explained(&mut app, &explain).await;
    assert!(plan.contains("Index Scan Backward using events_") && !plan.contains("Sort"), "{plan}");
    let from = "2026-06-01T00:00:00Z".parse().unwrap();
    let hour = EventFilter { from: Some(from), until: Some(from + TimeDelta::hours(1)), ..EventFilter::default() };
    assert_eq!(positions(&db, &home, &hour).await.len(), 60);
}

async fn explained(app: &mut diesel_async::AsyncPgConnection, explain: &str) -> String {
    use diesel_async::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let lines: Vec<Line> = diesel::sql_query(explain).load(app).await.unwrap();
    lines.into_iter().map(|line| line.line).collect::<Vec<_>>().join("\n")
}
