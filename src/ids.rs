//! Typed ids: an id of a user cannot be passed where one of an idea is asked for.
//!
//! Ids are `UUIDv7` ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562#section-5.7)): they grow with
//! time, so inserts stay on the right edge of their index. An id is unique inside its tenant.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Uuid as SqlUuid;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What an [`Id`] can be the id of.
pub trait Entity: 'static {
    /// The name that errors use, as the table's in the singular: `business_idea`.
    const NAME: &'static str;

    /// The table, as the audit log names it: `business_ideas`.
    const TABLE: &'static str;
}

/// The id of an `E`.
#[derive(AsExpression, FromSqlRow, Serialize, Deserialize)]
#[diesel(sql_type = SqlUuid)]
#[serde(transparent, bound = "")]
pub struct Id<E: Entity>(Uuid, #[serde(skip)] PhantomData<fn() -> E>);

impl<E: Entity> Id<E> {
    /// A new id, greater than those made before on this machine.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default id would be a different one each time")]
    pub fn new() -> Self {
        Self::from(Uuid::now_v7())
    }

    /// The bare UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl<E: Entity> From<Uuid> for Id<E> {
    fn from(id: Uuid) -> Self {
        Self(id, PhantomData)
    }
}

impl<E: Entity> FromStr for Id<E> {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Uuid>().map(Self::from)
    }
}

impl<E: Entity> fmt::Display for Id<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: Entity> fmt::Debug for Id<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", E::NAME, self.0)
    }
}

// By hand, because a derive would ask for `E: Clone` and so on.
impl<E: Entity> Clone for Id<E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E: Entity> Copy for Id<E> {}
impl<E: Entity> PartialEq for Id<E> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<E: Entity> Eq for Id<E> {}
impl<E: Entity> PartialOrd for Id<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E: Entity> Ord for Id<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<E: Entity> Hash for Id<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<E: Entity> ToSql<SqlUuid, Pg> for Id<E> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <Uuid as ToSql<SqlUuid, Pg>>::to_sql(&self.0, out)
    }
}

impl<E: Entity> FromSql<SqlUuid, Pg> for Id<E> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        <Uuid as FromSql<SqlUuid, Pg>>::from_sql(value).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Parcel;
    impl Entity for Parcel {
        const NAME: &'static str = "parcel";
        const TABLE: &'static str = "parcels";
    }

    #[test]
    fn ids_grow_with_time_and_survive_text_and_json() {
        let (first, second) = (Id::<Parcel>::new(), Id::<Parcel>::new());
        assert!(first < second);
        assert_eq!(first.to_string().parse::<Id<Parcel>>().unwrap(), first);
        let json = serde_json::to_string(&first).unwrap();
        assert_eq!(json, format!("\"{first}\""));
        assert_eq!(serde_json::from_str::<Id<Parcel>>(&json).unwrap(), first);
        assert_eq!(format!("{first:?}"), format!("parcel:{first}"));
        assert!("not-an-id".parse::<Id<Parcel>>().is_err());
    }
}
