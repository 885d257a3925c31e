//! The look at the whole history.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::writer::Saw;
use super::{Arena, StressReport, reader};
use crate::database::{TenantContext, TenantTx};
use crate::error::Result;
use crate::events::{Event, EventQuery, ReadFrom};
use crate::sql::cached;

/// Events that are read at a time.
const PAGE: u32 = 5000;

#[derive(QueryableByName)]
struct Marked {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
}

pub(super) async fn check(arena: &Arena) -> Result<StressReport> {
    let mut report = arena.counted();
    let mut stored = HashSet::new();
    for tenant in &arena.tenants {
        let events = history(arena, tenant).await?;
        report.appended += events.len() as u64;
        report.violations +=
            violations(&events) + events.iter().filter(|e| e.tenant_id != tenant.tenant_id()).count() as u64;
        stored.extend(events.iter().map(|event| event.id.as_uuid()));
        for all in [false, true] {
            let marked = marks(arena, tenant, all).await?;
            report.lost += events.iter().filter(|event| !marked.contains(&event.id.as_uuid())).count() as u64;
        }
    }
    let acknowledged = arena.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    report.lost += acknowledged.iter().filter(|id| !stored.contains(*id)).count() as u64;
    Ok(report)
}

async fn history(arena: &Arena, tenant: &TenantContext) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let from = events.last().map_or(ReadFrom::Start, |last| ReadFrom::After(last.position));
        let page = async move |tx: TenantTx| tx.events().read(&EventQuery::all(), from, PAGE).await;
        let mut page = arena.database.tenant_tx("events.stress", tenant, page).await?;
        if page.is_empty() {
            return Ok(events);
        }
        events.append(&mut page);
    }
}

async fn marks(arena: &Arena, tenant: &TenantContext, all: bool) -> Result<HashSet<Uuid>> {
    let group = reader::group(arena.run, all);
    let group = group.as_str();
    let marked = async move |tx: TenantTx| {
        let query = sql_query("SELECT event_id FROM processed_events WHERE tenant_id = $1 AND consumer_group = $2")
            .bind::<SqlUuid, _>(tx.tenant_id())
            .bind::<Text, _>(group);
        Ok(cached(query).load::<Marked>(&mut tx.connection()).await?)
    };
    let marked = arena.database.tenant_tx("events.stress", tenant, marked).await?;
    Ok(marked.into_iter().map(|row| row.event_id).collect())
}

/// What a writer had seen has to be what has lower positions: an event that came in between, or that was seen and is
/// gone, makes a difference. `events` are one tenant's, in their order.
fn violations(events: &[Event]) -> u64 {
    let mut violations = 0;
    let mut by_tag: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut by_type: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut versions: HashMap<Uuid, i32> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        let saw = event.event_data.get("saw").cloned().map(serde_json::from_value::<Saw>);
        match saw {
            None => {}
            Some(Ok(saw)) => {
                let earlier = earlier(&saw.query, events, &by_tag, &by_type);
                let sum: i64 = earlier.iter().map(|index| events[*index].position).sum();
                violations += u64::from((saw.count, saw.sum) != (earlier.len(), sum));
            }
            Some(Err(_)) => violations += 1,
        }
        if event.event_type == "Closed" {
            let before = by_type.get("Closed").and_then(|all| all.last()).map(|index| events[*index].position);
            violations += u64::from(event.event_data["before"].as_i64() != before);
        }
        if let (Some(stream), Some(version)) = (event.aggregate_id, event.event_version) {
            let last = versions.entry(stream).or_default();
            violations += u64::from(version != *last + 1);
            *last = version;
        }
        for tag in &event.tags {
            by_tag.entry(tag).or_default().push(index);
        }
        by_type.entry(&event.event_type).or_default().push(index);
    }
    violations
}

/// The events so far that match, by the indexes that there are.
fn earlier(
    query: &EventQuery,
    events: &[Event],
    by_tag: &HashMap<&str, Vec<usize>>,
    by_type: &HashMap<&str, Vec<usize>>,
) -> HashSet<usize> {
    let keys = query.narrowest();
    let candidates = keys.flat_map(|(tag, event_type)| {
        let found = tag.map_or_else(|| by_type.get(event_type.unwrap_or_default()), |tag| by_tag.get(tag));
        found.into_iter().flatten()
    });
    let matches = |index: &&usize| query.matches(&events[**index].event_type, &events[**index].tags);
    candidates.filter(matches).copied().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::NewEvent;

    fn event(position: i64, event_type: &str, tag: &str, saw: Option<(EventQuery, usize, i64)>) -> Event {
        let data = saw.map_or_else(|| json!({}), |(query, count, sum)| json!({ "saw": Saw { query, count, sum } }));
        Event {
            tenant_id: Uuid::nil().into(),
            position,
            id: NewEvent::new("A", json!(1)).event_id(),
            event_type: event_type.to_owned(),
            event_data: data,
            metadata: json!({}),
            tags: vec![tag.to_owned()],
            aggregate_type: None,
            aggregate_id: None,
            event_version: None,
            correlation_id: None,
            causation_id: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_condition_that_did_not_hold_is_found() {
        let query = || EventQuery::tag("course", 1);
        let history = |count, sum| {
            [
                event(3, "A", "course:1", None),
                event(4, "A", "course:2", None),
                event(9, "B", "course:1", Some((query(), count, sum))),
            ]
        };
        assert_eq!(violations(&history(1, 3)), 0);
        assert_eq!(violations(&history(0, 0)), 1, "it did not see what was before");
        assert_eq!(violations(&history(2, 7)), 1, "it saw what is not there");
        let by_type = EventQuery::event_type("A");
        assert_eq!(violations(&[event(1, "A", "a:1", None), event(2, "B", "a:1", Some((by_type, 1, 1)))]), 0);
    }

    #[test]
    fn a_gap_of_a_stream_is_found() {
        let of = |position, version| Event {
            aggregate_id: Some(Uuid::max()),
            event_version: Some(version),
            ..event(position, "A", "a:1", None)
        };
        assert_eq!(violations(&[of(1, 1), of(2, 2)]), 0);
        assert_eq!(violations(&[of(1, 1), of(2, 3)]), 1);
    }
}
