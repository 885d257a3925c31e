//! Events as types of Rust, by serde: an enum with `#[serde(tag = "type", content = "data")]`.
//!
//! What is stored outlives the code: when the shape of an event changes, its `schema_version` counts up, and an
//! [`Upcasters`] says how the data of the old one become those of the new one.
//!
//! ```rust
//! use bedplate::events::{NewEvent, Upcasters};
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(tag = "type", content = "data")]
//! enum CourseEvent {
//!     CourseDefined { capacity: u32 },
//!     StudentEnrolled { student: String },
//! }
//!
//! # fn main() -> bedplate::Result<()> {
//! // Version 1 called it `seats`.
//! let upcasters = Upcasters::new().from_version("CourseDefined", 1, |mut data| {
//!     data["capacity"] = data["seats"].take();
//!     data
//! });
//! let event = NewEvent::of(&CourseEvent::CourseDefined { capacity: 30 })?.tag("course", 7).schema_version(2);
//! let old = upcasters.upcast("CourseDefined", 1, json!({"seats": 20}));
//! assert_eq!(old["capacity"], 20);
//! # assert_eq!(event.event_type(), "CourseDefined");
//! # Ok(()) }
//! ```

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::event::{Event, NewEvent};
use crate::error::{Error, Result};

impl NewEvent {
    /// An event of an enum's variant: its name is the type, its fields are the data.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what serde does not write as an object with `type` and, unless there are no data,
    /// `data`; and for what cannot be read back: `f64::NAN`, for example, is written as `null`.
    pub fn of<E: Serialize + DeserializeOwned>(event: &E) -> Result<Self> {
        let refused = |message: String| Error::invalid("event", message);
        let mut value = serde_json::to_value(event).map_err(|error| refused(error.to_string()))?;
        let again = serde_json::from_value::<E>(value.clone());
        again.map_err(|error| refused(format!("cannot be read back from its JSON: {error}")))?;
        let data = value.get_mut("data").map_or_else(|| json!({}), Value::take);
        match value.get("type").and_then(Value::as_str) {
            Some(event_type) => Ok(Self::new(event_type, data)),
            None => Err(refused("has no type: write #[serde(tag = \"type\", content = \"data\")]".into())),
        }
    }
}

impl Event {
    /// The enum's variant that this event is.
    ///
    /// # Errors
    /// [`Error::Invalid`] for data that do not fit the type, and a type that the enum does not have.
    pub fn decode<E: DeserializeOwned>(&self, upcasters: &Upcasters) -> Result<E> {
        let data = upcasters.upcast(&self.event_type, self.schema_version(), self.event_data.clone());
        let unit = data.as_object().is_some_and(serde_json::Map::is_empty);
        let mut tagged = json!({ "type": self.event_type, "data": data });
        let mut decoded = serde_json::from_value(tagged.clone());
        // A variant without data is written without `data`.
        if decoded.is_err() && unit {
            tagged.as_object_mut().and_then(|object| object.remove("data"));
            decoded = serde_json::from_value(tagged);
        }
        decoded.map_err(|error| {
            Error::invalid("event", format!("{} at position {}: {error}", self.event_type, self.position))
        })
    }
}

type Upcast = fn(Value) -> Value;

/// How old data become new: a step from each version to the next.
#[derive(Debug, Clone, Default)]
pub struct Upcasters(HashMap<String, Vec<(i64, Upcast)>>);

impl Upcasters {
    /// None: every event is as it was.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The step from `version` of a type's data to the next one.
    #[must_use]
    pub fn from_version(mut self, event_type: &str, version: i64, step: Upcast) -> Self {
        let steps = self.0.entry(event_type.to_owned()).or_default();
        steps.push((version, step));
        steps.sort_by_key(|(version, _)| *version);
        self
    }

    /// The data of a version as those of the newest one.
    #[must_use]
    pub fn upcast(&self, event_type: &str, version: i64, data: Value) -> Value {
        let steps = self.0.get(event_type).into_iter().flatten();
        steps.filter(|(from, _)| *from >= version).fold(data, |data, (_, step)| step(data))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Door {
        Opened { by: String },
        Closed,
    }

    fn stored(new: &NewEvent) -> Event {
        Event {
            tenant_id: uuid::Uuid::nil().into(),
            position: 7,
            id: new.event_id(),
            event_type: new.event_type().to_owned(),
            event_data: serde_json::to_value(new).unwrap()["event_data"].take(),
            metadata: serde_json::to_value(new).unwrap()["metadata"].take(),
            tags: vec![],
            aggregate_type: None,
            aggregate_id: None,
            event_version: None,
            correlation_id: None,
            causation_id: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_variant_comes_back_as_it_went() {
        for door in [Door::Opened { by: "Ada".into() }, Door::Closed] {
            let event = stored(&NewEvent::of(&door).unwrap());
            assert_eq!(event.decode::<Door>(&Upcasters::new()).unwrap(), door);
        }
        let error = stored(&NewEvent::new("Painted", json!({}))).decode::<Door>(&Upcasters::new()).unwrap_err();
        assert!(error.to_string().starts_with("event Painted at position 7: unknown variant"), "{error}");
        assert!(NewEvent::of(&7).is_err());
    }

    #[test]
    fn old_data_take_every_step_from_their_version_on() {
        let upcasters = Upcasters::new().from_version("Opened", 2, |data| json!({ "by": data["name"] })).from_version(
            "Opened",
            1,
            |data| json!({ "name": data }),
        );
        let old = |data: Value, version| stored(&NewEvent::new("Opened", data).schema_version(version));
        let ada = Door::Opened { by: "Ada".into() };
        assert_eq!(old(json!("Ada"), 1).decode::<Door>(&upcasters).unwrap(), ada);
        assert_eq!(old(json!({"name": "Ada"}), 2).decode::<Door>(&upcasters).unwrap(), ada);
        assert_eq!(old(json!({"by": "Ada"}), 3).decode::<Door>(&upcasters).unwrap(), ada);
    }
}
