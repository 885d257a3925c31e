//! An event: what happened, and what it is about.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::tenancy::TenantId;
use crate::validation::{Check, unreadable};

/// The most characters of an event's type, and of a tag.
pub const MAX_NAME: usize = 255;

/// The most events that one append takes.
pub const MAX_EVENTS: usize = 1000;

/// The most tags of an event.
pub const MAX_TAGS: usize = 1000;

/// The id of an event.
pub type EventId = Id<Event>;

/// A row of `events`.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize)]
pub struct Event {
    /// The tenant of the event.
    #[diesel(sql_type = SqlUuid)]
    pub tenant_id: TenantId,
    /// Its place in the order of all events; of two, the one with the lower position can be committed later.
    #[diesel(sql_type = BigInt)]
    pub position: i64,
    /// Unique inside the tenant.
    #[diesel(sql_type = SqlUuid)]
    pub id: EventId,
    /// What happened: `StudentEnrolled`.
    #[diesel(sql_type = Text)]
    pub event_type: String,
    /// The facts.
    #[diesel(sql_type = Jsonb)]
    pub event_data: Value,
    /// An object: `user_id`, `schema_version`, and what the application adds.
    #[diesel(sql_type = Jsonb)]
    pub metadata: Value,
    /// What it is about, `key:value` each, sorted.
    #[diesel(sql_type = Array<Text>)]
    pub tags: Vec<String>,
    /// Of which kind its stream is; `None`: it belongs to none.
    #[diesel(sql_type = Nullable<Text>)]
    pub aggregate_type: Option<String>,
    /// Which stream it belongs to.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub aggregate_id: Option<Uuid>,
    /// Its place in the stream, 1 for the first.
    #[diesel(sql_type = Nullable<Integer>)]
    pub event_version: Option<i32>,
    /// The request that led to it.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub correlation_id: Option<Uuid>,
    /// The event that led to it.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub causation_id: Option<Uuid>,
    /// When it was appended, by the server's clock.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// The columns of an [`Event`], of the table that is called `e`.
pub(super) const COLUMNS: &str = "e.tenant_id, e.position, e.id, e.event_type, e.event_data, e.metadata, e.tags, \
     e.aggregate_type, e.aggregate_id, e.event_version, e.correlation_id, e.causation_id, e.created_at";

impl Entity for Event {
    const NAME: &'static str = "event";
    const TABLE: &'static str = "events";
}

impl Event {
    /// The version of `event_data`'s shape, 1 where none was said.
    #[must_use]
    pub fn schema_version(&self) -> i64 {
        self.metadata.get("schema_version").and_then(Value::as_i64).unwrap_or(1)
    }
}

/// A tag: `tag("course", 7)` is `course:7`.
pub fn tag(key: &str, value: impl std::fmt::Display) -> String {
    format!("{key}:{value}")
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewEvent {
    id: EventId,
    event_type: String,
    event_data: Value,
    metadata: Map<String, Value>,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
}

impl NewEvent {
    /// An event of a type, 1 to [`MAX_NAME`] characters, with its facts: any JSON but null.
    pub fn new(event_type: impl Into<String>, event_data: Value) -> Self {
        Self {
            id: EventId::new(),
            event_type: event_type.into(),
            event_data,
            metadata: Map::new(),
            tags: Vec::new(),
            correlation_id: None,
            causation_id: None,
        }
    }

    /// With this id, so that an append that is sent twice is refused the second time; otherwise it has a new one.
    #[must_use]
    pub fn id(mut self, id: EventId) -> Self {
        self.id = id;
        self
    }

    /// About this: `.tag("course", id)` is the tag `course:` and the id.
    #[must_use]
    pub fn tag(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.tags.push(tag(key, value));
        self
    }

    /// The same, of a tag that is put together already.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// The version of the data's shape; without it 1.
    #[must_use]
    pub fn schema_version(self, version: i64) -> Self {
        self.metadata("schema_version", json!(version))
    }

    /// One more entry of the metadata.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: Value) -> Self {
        self.metadata.insert(key.to_owned(), value);
        self
    }

    /// As a consequence of another event, of whose request it becomes a part.
    #[must_use]
    pub fn caused_by(mut self, cause: &Event) -> Self {
        self.causation_id = Some(cause.id.as_uuid());
        self.correlation_id = cause.correlation_id;
        self
    }

    /// Its id.
    #[must_use]
    pub fn event_id(&self) -> EventId {
        self.id
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Its tags, as they were given.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    fn check(&self, check: &mut Check) {
        check.text("event_type", &self.event_type, 1..=MAX_NAME);
        if self.event_type.chars().any(is_control) {
            check.add("event_type", "holds a control character".into());
        }
        check.json("event_data", &self.event_data);
        if self.event_data.is_null() {
            check.add("event_data", "is missing".into());
        }
        if self.metadata.keys().any(|key| key.contains('\0')) {
            check.add("metadata", "holds a NUL character".into());
        } else if let Some(wrong) = self.metadata.values().find_map(unreadable) {
            check.add("metadata", wrong.into());
        }
        if self.tags.len() > MAX_TAGS {
            check.add("tags", format!("are {}, allowed are at most {MAX_TAGS}", self.tags.len()));
        }
        for tag in self.tags.iter().take(MAX_TAGS) {
            check_tag(check, tag);
        }
    }
}

/// What ASCII and PostgreSQL's `\x01-\x1f` mean: no tag or type may hold it.
fn is_control(character: char) -> bool {
    character < ' '
}

pub(super) fn check_tag(check: &mut Check, tag: &str) {
    let valid = tag.split_once(':').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty());
    if !valid || tag.chars().any(is_control) || tag.chars().count() > MAX_NAME {
        check.add("tags", format!("cannot hold {tag:?}: write key:value, at most {MAX_NAME} characters"));
    }
}

/// What `append_events()` takes, with whom and for which request: what an event does not say itself, the context of
/// the transaction does.
pub(super) fn to_json(events: &[NewEvent], user_id: Option<Uuid>) -> Result<Value> {
    let mut check = Check::default();
    if !(1..=MAX_EVENTS).contains(&events.len()) {
        check.add("events", format!("are {}, allowed are 1 to {MAX_EVENTS}", events.len()));
    }
    for event in events.iter().take(MAX_EVENTS) {
        event.check(&mut check);
    }
    check.finish()?;
    let mut json = serde_json::to_value(events).map_err(|error| Error::invalid("events", error.to_string()))?;
    if let (Some(user_id), Some(events)) = (user_id, json.as_array_mut()) {
        for event in events {
            let metadata = event.get_mut("metadata").and_then(Value::as_object_mut);
            metadata.map(|metadata| metadata.entry("user_id").or_insert_with(|| json!(user_id)));
        }
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_type(NewEvent::new(" ", json!({})), "event_type is empty")]
    #[case::null(NewEvent::new("A", Value::Null), "event_data is missing")]
    #[case::nul(NewEvent::new("A", json!({"a": "\0"})), "event_data holds a NUL character")]
    #[case::control(NewEvent::new("A\u{1f}", json!(1)), "event_type holds a control character")]
    #[case::tag(NewEvent::new("A", json!(1)).tag("", 1), "tags cannot hold \":1\": write key:value, at most 255 characters")]
    #[case::tag_without_value(NewEvent::new("A", json!(1)).tag("a", ""), "tags cannot hold \"a:\": write key:value, at most 255 characters")]
    fn a_bad_event_is_told(#[case] event: NewEvent, #[case] expected: &str) {
        assert_eq!(to_json(&[event], None).unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_user_is_noted_unless_the_event_names_one() {
        let user = Uuid::max();
        let events = [NewEvent::new("A", json!(1)), NewEvent::new("B", json!(1)).metadata("user_id", json!("robot"))];
        let json = to_json(&events, Some(user)).unwrap();
        assert_eq!(json[0]["metadata"]["user_id"], json!(user));
        assert_eq!(json[1]["metadata"]["user_id"], "robot");
        assert!(to_json(&[], None).is_err());
    }
}
