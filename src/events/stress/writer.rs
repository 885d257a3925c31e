//! A writer: decides and appends, in every way that there is.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::Arena;
use crate::database::{TenantContext, TenantTx};
use crate::error::{Error, Result};
use crate::events::{AppendCondition, Event, EventQuery, ExpectedVersion, NewEvent, QueryItem, ReadFrom, Stream};

/// What a writer had seen, in the data of its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saw {
    pub(super) query: EventQuery,
    pub(super) count: usize,
    /// Of the positions: with the count, as good as the positions.
    pub(super) sum: i64,
}

impl Saw {
    fn of(query: &EventQuery, events: &[Event]) -> Self {
        let sum = events.iter().map(|event| event.position).sum();
        Self { query: query.clone(), count: events.len(), sum }
    }
}

/// What it does next; numbers move on with the events, so that few writers meet on each, and sets stay small.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Enroll { course: u64, student: u64 },
    TakeName { name: u64 },
    Issue { book: u64 },
    Stream { number: u64 },
    Note { course: u64 },
    EnrollTwice { first: u64, second: u64, student: u64, give_up: bool },
    Close,
}

fn next(events: u64) -> Deed {
    let mut random = rand::rng();
    let mut near = |each: u64, width: u64| events / each + random.random_range(0..width);
    let (course, other, student, name, book) = (near(40, 4), near(40, 4), near(20, 8), near(5, 3), near(200, 2));
    match random.random_range(0..100) {
        0..50 => Deed::Enroll { course, student },
        50..62 => Deed::TakeName { name },
        62..74 => Deed::Issue { book },
        74..86 => Deed::Stream { number: course },
        86..94 => Deed::Note { course },
        94..99 => Deed::EnrollTwice { first: course, second: other, student, give_up: random.random_bool(0.3) },
        _ => Deed::Close,
    }
}

/// Until it is over. Goes on after errors that pass.
pub(super) async fn write(arena: Arc<Arena>, number: u16) -> Result<()> {
    let context = &arena.tenants[usize::from(number) % 2];
    while !arena.is_over() {
        let deed = next(arena.appended.load(Ordering::Relaxed) / 2);
        match act(&arena, context, deed).await {
            Ok(ids) => {
                Arena::count(&arena.appended, ids.len());
                arena.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
            }
            Err(Error::AppendConflict { .. }) => Arena::count(&arena.conflicts, 1),
            Err(
                Error::Unavailable { .. } | Error::CommitUnknown | Error::Timeout { .. } | Error::Contention { .. },
            ) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(Error::HandleEscaped) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn act(arena: &Arena, context: &TenantContext, deed: Deed) -> Result<Vec<Uuid>> {
    arena.database.tenant_tx("events.stress", context, async move |tx| acted(&tx, deed).await).await
}

async fn acted(tx: &TenantTx, deed: Deed) -> Result<Vec<Uuid>> {
    match deed {
        Deed::Enroll { course, student } => enroll(tx, course, student).await,
        Deed::TakeName { name } => {
            let query = EventQuery::tag("name", name);
            let event = event("NameTaken", &Saw::of(&query, &[]))?.tag("name", name).tag("course", name % 7);
            append(tx, vec![event], Some(&AppendCondition::fail_if(query))).await
        }
        Deed::Issue { book } => {
            let event_type = format!("Issued{book}");
            decide(tx, EventQuery::event_type(&event_type), &event_type, |event| event.tag("book", book)).await
        }
        Deed::Stream { number } => {
            let stream = Stream { aggregate_type: "order", aggregate_id: Uuid::from_u64_pair(7, number) };
            let version = tx.events().read_stream(stream, 0).await?.len();
            let expected = ExpectedVersion::Exact(i32::try_from(version).unwrap_or(i32::MAX));
            let events = [NewEvent::new("OrderChanged", json!({})).tag("order", number)];
            tx.events().append_to_stream(stream, expected, &events).await?;
            Ok(ids(&events))
        }
        Deed::Note { course } => {
            let note = |n: u64| NewEvent::new("Noted", json!({ "n": n })).tag("course", course + n % 2);
            append(tx, (0..5).map(note).collect(), None).await
        }
        Deed::EnrollTwice { first, second, student, give_up } => {
            let mut ids = enroll(tx, first, student).await?;
            ids.append(&mut enroll(tx, second, student + 1).await?);
            // What is rolled back leaves gaps.
            if give_up { Err(Error::HandleEscaped) } else { Ok(ids) }
        }
        Deed::Close => {
            // All events of the tenant would be many: the last one stands for them.
            let last = tx.events().token().await?;
            let known = tx.events().read(&EventQuery::event_type("Closed"), ReadFrom::End, 1).await?;
            let event = NewEvent::new("Closed", json!({ "before": known.first().map(|event| event.position) }));
            append(tx, vec![event], Some(&AppendCondition::fail_if(EventQuery::all()).after(last))).await
        }
    }
}

/// A seat in a course, as long as neither the course nor the student has too many.
async fn enroll(tx: &TenantTx, course: u64, student: u64) -> Result<Vec<Uuid>> {
    let item = || QueryItem::default().event_type("Enrolled");
    let query = EventQuery::from(item().tag("course", course)).or(item().tag("student", student));
    decide(tx, query, "Enrolled", |event| event.tag("course", course).tag("student", student)).await
}

async fn decide(
    tx: &TenantTx,
    query: EventQuery,
    event_type: &str,
    tags: impl FnOnce(NewEvent) -> NewEvent,
) -> Result<Vec<Uuid>> {
    let seen = tx.events().read_to_decide(&query).await?;
    let event = tags(event(event_type, &Saw::of(&query, &seen.events))?);
    append(tx, vec![event], Some(&AppendCondition::fail_if(query).after(seen.token))).await
}

fn event(event_type: &str, saw: &Saw) -> Result<NewEvent> {
    let saw = serde_json::to_value(saw).map_err(|error| Error::invalid("saw", error.to_string()))?;
    Ok(NewEvent::new(event_type, json!({ "saw": saw })))
}

async fn append(tx: &TenantTx, events: Vec<NewEvent>, condition: Option<&AppendCondition>) -> Result<Vec<Uuid>> {
    tx.events().append(&events, condition).await?;
    Ok(ids(&events))
}

fn ids(events: &[NewEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.event_id().as_uuid()).collect()
}
