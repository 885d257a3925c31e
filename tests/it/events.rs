//! Appending and reading: each operation and each refusal.

use bedplate::Error;
use bedplate::events::{
    AppendCondition, AppendConflict, EventQuery, ExpectedVersion, NewEvent, QueryItem, ReadFrom, Stream,
};
use futures_util::TryStreamExt as _;
use rstest::rstest;
use serde_json::json;

use crate::support::{TestDatabase, db, home};

fn enrolled(course: u32, student: u32) -> NewEvent {
    NewEvent::new("StudentEnrolled", json!({"at": "noon"})).tag("course", course).tag("student", student)
}

#[rstest]
#[tokio::test]
async fn what_is_appended_is_read(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let events = [enrolled(1, 1), enrolled(1, 2), NewEvent::new("CourseClosed", json!(1)).tag("course", 2)];
    let positions = db.append_events(&home.context, &events, None).await.unwrap();
    assert_eq!(positions.len(), 3);
    assert!(positions.is_sorted());
    let read = async |query: EventQuery, from, limit| {
        let query = &query;
        let read =
            db.tenant_tx("read", &home.context, async move |tx| tx.events().read(query, from, limit).await).await;
        read.unwrap().into_iter().map(|event| event.position).collect::<Vec<_>>()
    };
    assert_eq!(read(EventQuery::all(), ReadFrom::Start, 10).await, positions);
    assert_eq!(read(EventQuery::all(), ReadFrom::End, 2).await, [positions[2], positions[1]]);
    assert_eq!(read(EventQuery::all(), ReadFrom::Before(positions[1]), 2).await, [positions[0]]);
    assert_eq!(read(EventQuery::all(), ReadFrom::After(positions[0]), 1).await, [positions[1]]);
    assert_eq!(read(EventQuery::tag("course", 1), ReadFrom::Start, 10).await, positions[..2]);
    assert_eq!(read(EventQuery::event_type("CourseClosed"), ReadFrom::Start, 10).await, positions[2..]);
    let both = QueryItem::default().tag("course", 1).tag("student", 2);
    assert_eq!(read(both.clone().into(), ReadFrom::Start, 10).await, positions[1..2]);
    assert_eq!(
        read(EventQuery::from(both).or(QueryItem::default().tag("course", 1)), ReadFrom::Start, 10).await,
        positions[..2]
    );
}

/// More than the sockets hold, so that the server is still sending when the stream is dropped.
#[rstest]
#[tokio::test]
async fn a_stream_of_events_has_no_limit(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut positions = Vec::new();
    for batch in 0..10 {
        let text = "x".repeat(4000);
        let events: Vec<_> = (0..1000).map(|n| NewEvent::new("T", json!(text)).tag("n", batch * 1000 + n)).collect();
        positions.extend(db.append_events(&home.context, &events, None).await.unwrap());
    }
    let positions = &positions;
    let read = async move |tx: bedplate::TenantTx| {
        let all = EventQuery::all();
        for (from, range, backwards) in [
            (ReadFrom::Start, 0..10_000, false),
            (ReadFrom::After(positions[6999]), 7000..10_000, false),
            (ReadFrom::Before(positions[2]), 0..2, true),
        ] {
            let mut expected = positions[range].to_vec();
            if backwards {
                expected.reverse();
            }
            let read: Vec<_> =
                tx.events().stream(&all, from).await?.map_ok(|event| event.position).try_collect().await?;
            assert_eq!(read, expected);
        }
        let mut dropped = tx.events().stream(&all, ReadFrom::End).await?;
        let first = dropped.try_next().await?.map(|event| event.position);
        assert_eq!(first, positions.last().copied());
        drop(dropped);
        let bad = tx.events().stream(&EventQuery::tag("", 1), ReadFrom::Start).await.err();
        assert!(matches!(bad, Some(Error::Invalid { .. })), "{bad:?}");
        tx.events().head().await
    };
    let head = db.tenant_tx("stream", &home.context, read).await.unwrap();
    assert_eq!(Some(head), positions.last().copied());
}

#[rstest]
#[tokio::test]
async fn a_condition_fails_on_what_was_not_seen(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let query = EventQuery::tag("course", 1);
    let query = &query;
    let decide = async move |tx: bedplate::TenantTx| tx.events().read_to_decide(query).await;
    let seen = db.tenant_tx("decide", &home.context, decide).await.unwrap();
    assert!(seen.events.is_empty());
    let condition = AppendCondition::fail_if(query.clone()).after(seen.token);
    let first = db.append_events(&home.context, &[enrolled(1, 1)], Some(&condition)).await.unwrap();
    let error = db.append_events(&home.context, &[enrolled(1, 2)], Some(&condition)).await.unwrap_err();
    assert!(
        matches!(&error, Error::AppendConflict { conflict: AppendConflict::Event { item: 0, position, .. } } if *position == first[0]),
        "{error}"
    );
    let seen = db.tenant_tx("decide", &home.context, decide).await.unwrap();
    assert_eq!(seen.events.len(), 1);
    let condition = AppendCondition::fail_if(query.clone()).after(seen.token);
    db.append_events(&home.context, &[enrolled(1, 2)], Some(&condition)).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_stream_has_a_version(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let stream = Stream { aggregate_type: "order", aggregate_id: uuid::Uuid::now_v7() };
    let append = async |expected, n: usize| {
        let events: Vec<_> = (0..n).map(|_| enrolled(1, 1)).collect();
        let events = events.as_slice();
        db.tenant_tx("stream", &home.context, async move |tx| {
            tx.events().append_to_stream(stream, expected, events).await
        })
        .await
    };
    append(ExpectedVersion::NoStream, 2).await.unwrap();
    assert!(matches!(
        append(ExpectedVersion::NoStream, 1).await,
        Err(Error::AppendConflict { conflict: AppendConflict::Stream { expected: 0, version: 2, .. } })
    ));
    append(ExpectedVersion::Exact(2), 1).await.unwrap();
    append(ExpectedVersion::Any, 1).await.unwrap();
    let read =
        db.tenant_tx("read", &home.context, async move |tx| tx.events().read_stream(stream, 1).await).await.unwrap();
    assert_eq!(read.iter().map(|event| event.event_version).collect::<Vec<_>>(), [Some(2), Some(3), Some(4)]);
}
