//! Messages of the outbox: written with what they tell, by their tenant, and by nobody changed.

use bedplate::models::{NewOutboxEvent, TenantId};
use bedplate::{Error, TenantContext};
use chrono::{TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::{TestDatabase, as_app, connection, db, execute, home, number, rfq_db};

#[rstest]
#[tokio::test]
async fn a_message_is_written_with_its_transaction_or_not_at_all(#[future(awt)] db: TestDatabase) {
    let (home, request) = (home(&db).await, Uuid::now_v7());
    let (payload, later) = (json!({"title": "Tea"}), Utc::now() + TimeDelta::days(1));
    let context = home.context.clone().correlation(request);
    let (first, second) = db
        .tenant_tx("write", &context, async |tx| {
            let new = NewOutboxEvent::new("idea.submitted", "business_ideas", "7", &payload);
            let first = tx.outbox().create(new).await?;
            let new = NewOutboxEvent { event_id: Some(Uuid::max()), available_at: Some(later), ..new };
            Ok((first, tx.outbox().create(new).await?))
        })
        .await
        .unwrap();
    assert_eq!((first.tenant_id, first.correlation_id), (home.tenant, Some(request)));
    assert_eq!((first.event_type.as_str(), first.entity_type.as_str()), ("idea.submitted", "business_ideas"));
    assert_eq!((first.entity_id.as_str(), &first.payload, first.retry_count), ("7", &payload, 0));
    assert_eq!(first.available_at, first.created_at);
    assert_eq!((first.claim_id, first.published_at, first.dead_at), (None, None, None));
    assert_eq!(second.event_id, Uuid::max());
    assert_eq!(second.available_at.timestamp_micros(), later.timestamp_micros());
    assert!(first.sequence < second.sequence && first.id < second.id);
    let found = db
        .tenant_tx("find", &context, async |tx| {
            Ok((tx.outbox().find(first.id).await?, tx.outbox().find_by_event_id(Uuid::max()).await?))
        })
        .await
        .unwrap();
    assert_eq!(found, (first, second));

    let failed: Result<(), _> = db
        .tenant_tx("fails", &context, async |tx| {
            tx.outbox().create(NewOutboxEvent::new("idea.submitted", "business_ideas", "8", &payload)).await?;
            Err(Error::invalid("title", "is too dull"))
        })
        .await;
    failed.unwrap_err();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM outbox_events").await, 2);
}

#[rstest]
#[tokio::test]
async fn many_are_written_in_their_order(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let numbers: Vec<_> = (0..2500).map(|n| (n.to_string(), json!(n))).collect();
    let new: Vec<_> = numbers.iter().map(|(id, n)| NewOutboxEvent::new("counted", "numbers", id, n)).collect();
    let created = db.tenant_tx("many", &home.context, async |tx| tx.outbox().create_many(&new).await).await.unwrap();
    assert_eq!(
        created.iter().map(|event| event.payload.as_i64().unwrap()).collect::<Vec<_>>(),
        (0..2500).collect::<Vec<_>>()
    );
    assert!(created.is_sorted_by_key(|event| event.sequence));
    let none = db.tenant_tx("none", &home.context, async |tx| tx.outbox().create_many(&[]).await).await.unwrap();
    assert_eq!(none, []);
}

#[rstest]
#[tokio::test]
async fn bad_messages_are_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let payload = json!({});
    let good = NewOutboxEvent::new("idea.submitted", "business_ideas", "7", &payload);
    let create = async |new| db.tenant_tx("create", &home.context, async |tx| tx.outbox().create(new).await).await;
    let (long, nul) = ("x".repeat(256), json!({"a": "\0"}));
    for (new, expected) in [
        (NewOutboxEvent { event_type: " ", ..good }, "event_type is empty"),
        (NewOutboxEvent { event_type: &long, ..good }, "event_type has 256 characters, allowed are 1 to 255"),
        (NewOutboxEvent { entity_type: &long, ..good }, "entity_type has 256 characters, allowed are 1 to 100"),
        (NewOutboxEvent { entity_id: &long, ..good }, "entity_id has 256 characters, allowed are 1 to 255"),
        (NewOutboxEvent { payload: &nul, ..good }, "payload holds a NUL character"),
    ] {
        let error = create(new).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid { .. }) && error.to_string() == expected, "{error}");
    }
    let known = NewOutboxEvent { event_id: Some(Uuid::max()), ..good };
    create(known).await.unwrap();
    let error = create(known).await.unwrap_err();
    assert!(matches!(&error, Error::Conflict { field, .. } if field == "event_id"), "{error:?}");
    let unknown = db.tenant_tx("find", &home.context, async |tx| tx.outbox().find_by_event_id(Uuid::nil()).await).await;
    assert_eq!(unknown.unwrap_err().to_string(), format!("outbox_event {} does not exist", Uuid::nil()));
}

const UNREADABLE: &str =
    "payload holds a number that 64 bits do not hold exactly (write it as a text), or more than 100 levels";

/// What PostgreSQL stores and a relay could not read, or not in any number.
#[rstest]
#[case::number_beyond("'{\"a\": 1e400}'", "now()", UNREADABLE)]
#[case::deep("(repeat('[', 110) || repeat(']', 110))::jsonb", "now()", UNREADABLE)]
#[case::large("to_jsonb(repeat('x', 1048576))", "now()", "payload is not allowed (outbox_events_payload_check)")]
#[case::late("'1'", "'290000-01-01'", "available_at is a time outside of the years 1 to 9999")]
#[case::never("'1'", "'infinity'", "available_at is a time outside of the years 1 to 9999")]
#[tokio::test]
async fn what_no_relay_can_read_is_refused(
    #[future(awt)] db: TestDatabase,
    #[case] payload: &str,
    #[case] available_at: &str,
    #[case] expected: &str,
) {
    let home = home(&db).await;
    let insert = format!(
        "INSERT INTO outbox_events (tenant_id, event_type, entity_type, entity_id, payload, available_at) \
         SELECT current_tenant(), 'x', 'x', 'x', {payload}, {available_at}"
    );
    let error = as_app(&db, &home).await.batch_execute(&insert).await.map_err(Error::from).unwrap_err();
    assert!(matches!(&error, Error::Invalid { .. }) && error.to_string() == expected, "{error}");
}

/// What was published is for the relay alone to say; a message that is written stays as it is.
#[rstest]
#[case("UPDATE outbox_events SET published_at = now()")]
#[case("UPDATE outbox_events SET payload = '1'")]
#[case("DELETE FROM outbox_events")]
#[case(
    "INSERT INTO outbox_events (tenant_id, event_type, entity_type, entity_id, payload, published_at) \
        SELECT current_tenant(), 'x', 'x', 'x', '1', now()"
)]
#[case(
    "INSERT INTO outbox_events (tenant_id, event_type, entity_type, entity_id, payload, created_at) \
        SELECT current_tenant(), 'x', 'x', 'x', '1', now()"
)]
#[case("SELECT FROM outbox_events FOR UPDATE")]
#[tokio::test]
async fn the_application_only_writes_and_reads(#[future(awt)] db: TestDatabase, #[case] sql: &str) {
    let home = home(&db).await;
    let error = as_app(&db, &home).await.batch_execute(sql).await.map_err(Error::from).unwrap_err();
    assert!(matches!(&error, Error::Forbidden { .. }), "{error:?}");
    // Clients of other languages write like this.
    let insert = "INSERT INTO outbox_events (tenant_id, event_type, entity_type, entity_id, payload) \
                  SELECT current_tenant(), 'x', 'x', 'x', '1'";
    execute(&mut as_app(&db, &home).await, insert).await;
}

#[rstest]
#[tokio::test]
async fn rfq_has_an_outbox_of_its_own(#[future(awt)] rfq_db: TestDatabase) {
    let (db, tenant, request) = (rfq_db, TenantId::new(), Uuid::now_v7());
    let context = TenantContext::new(tenant).correlation(request);
    let payload = json!({"price": "101.5"});
    let created = db
        .rfq()
        .tenant_tx("write", &context, async |tx| {
            tx.outbox().create(NewOutboxEvent::new("rfq.accepted", "rfqs", "7", &payload)).await
        })
        .await
        .unwrap();
    assert_eq!((created.tenant_id, created.correlation_id), (tenant, Some(request)));
    let find = async |context: TenantContext| {
        db.rfq().tenant_tx("find", &context, async |tx| tx.outbox().find(created.id).await).await
    };
    assert_eq!(find(context).await.unwrap(), created);
    assert!(matches!(find(TenantContext::new(TenantId::new())).await, Err(Error::NotFound { .. })));
}
