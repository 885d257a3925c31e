//! Compiled forms, kept from one transaction to the next.
//!
//! Always holds: only what is committed is kept. What a transaction published itself may still be rolled back, and
//! is told by its `published_at`, which is the transaction's own start.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use lru::LruCache;
use serde_json::Value;

use super::definition::{FormDefinition, FormDefinitionId, FormDefinitionStatus};
use super::json_schema::JsonSchema;
use crate::database::TenantTx;
use crate::error::{Error, Result, SchemaViolation};
use crate::schema::form_definitions;
use crate::tenancy::TenantId;

/// How many compiled forms are kept; the one that was not used for longest goes first.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// No `jsonb` is smaller than a sixth of its shortest text (a control character: one byte for `\u0001`), so what is
/// longer than this is refused by the database in any case.
const LONGEST_TEXT: usize = 6 * 1_048_576;

/// See the module.
#[derive(Clone)]
pub(crate) struct Validators(Arc<Mutex<LruCache<(TenantId, FormDefinitionId), Validator>>>);

#[derive(Clone)]
struct Validator {
    schema: Arc<JsonSchema>,
    published_at: Option<DateTime<Utc>>,
}

impl Default for Validators {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(KEPT))))
    }
}

impl Validators {
    fn kept(&self) -> MutexGuard<'_, LruCache<(TenantId, FormDefinitionId), Validator>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TenantTx {
    /// Refuses data that does not match a published version of a form, as the database would.
    ///
    /// # Errors
    /// [`Error::DataInvalid`]; [`Error::NotFound`] and [`Error::WrongState`] where there is nothing to match.
    pub(super) async fn check_form_data(&self, id: FormDefinitionId, data: &Value) -> Result<()> {
        if longer_than(data, LONGEST_TEXT) {
            return Err(too_large());
        }
        let key = (self.tenant_id(), id);
        let kept = self.validators.kept().get(&key).cloned();
        let violations = match &kept {
            Some(validator) => validator.schema.violations(data),
            None => self.read_validator(id).await?.schema.violations(data),
        };
        if violations.is_empty() {
            return Ok(());
        }
        // A tenant that was deleted and made anew with the same ids has other forms: what is kept refuses nobody
        // before it was compared with what is there.
        if let Some(kept) = kept
            && self.published_at(id).await? != kept.published_at
        {
            self.validators.kept().pop(&key);
            let violations = self.read_validator(id).await?.schema.violations(data);
            return if violations.is_empty() { Ok(()) } else { Err(Error::DataInvalid { violations }) };
        }
        Err(Error::DataInvalid { violations })
    }

    async fn read_validator(&self, id: FormDefinitionId) -> Result<Validator> {
        let query = form_definitions::table
            .find((self.tenant_id(), id))
            .select((FormDefinition::as_select(), form_definitions::published_at.lt(now)));
        let found: Option<(FormDefinition, Option<bool>)> =
            query.get_result(&mut self.connection()).await.optional()?;
        let (definition, committed) = found.ok_or_else(|| Error::not_found(id))?;
        if definition.status == FormDefinitionStatus::Draft {
            return Err(Error::wrong_state(id, definition.status, "fill in"));
        }
        let validator = Validator { schema: Arc::new(definition.compile()?), published_at: definition.published_at };
        if committed == Some(true) {
            self.validators.kept().put((self.tenant_id(), id), validator.clone());
        }
        Ok(validator)
    }

    async fn published_at(&self, id: FormDefinitionId) -> Result<Option<DateTime<Utc>>> {
        let query = form_definitions::table.find((self.tenant_id(), id)).select(form_definitions::published_at);
        Ok(query.get_result(&mut self.connection()).await.optional()?.flatten())
    }
}

fn too_large() -> Error {
    Error::DataInvalid {
        violations: vec![SchemaViolation {
            instance_path: String::new(),
            schema_path: String::new(),
            keyword: "maxSize".into(),
            message: "is larger than 1 MB".into(),
            params: serde_json::Map::from_iter([("limit".to_owned(), 1_048_576.into())]),
        }],
    }
}

/// Whether the JSON text is longer: counted, not made.
fn longer_than(data: &Value, limit: usize) -> bool {
    struct Room(usize);
    impl std::io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(limit), data).is_err()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_measured_without_making_it() {
        let data = json!({"a": [1, "é"]});
        let length = data.to_string().len();
        assert!(!longer_than(&data, length));
        assert!(longer_than(&data, length - 1));
    }
}
