//! Which events: the queries of the DCB specification (<https://dcb.events/specification/>).
//!
//! A query is a list of items; an event matches it when it matches one of them. It matches an item when its type is
//! one of the item's types, and it has all of the item's tags; an item without types, or without tags, does not ask
//! for them.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use serde::{Deserialize, Serialize};

use super::event::{COLUMNS, check_tag};
use crate::error::Result;
use crate::tenancy::TenantId;
use crate::validation::Check;

/// The most items of a query.
pub const MAX_ITEMS: usize = 100;

/// One of the alternatives of an [`EventQuery`].
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryItem {
    types: Vec<String>,
    tags: Vec<String>,
}

impl QueryItem {
    /// Of this type; said again: or of that one.
    #[must_use]
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.types.push(event_type.into());
        self
    }

    /// With this tag; said again: and with that one. The first one is what appends with this condition wait for: it
    /// should be the narrowest.
    #[must_use]
    pub fn tag(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.tags.push(super::event::tag(key, value));
        self
    }

    /// The same, of a tag that is put together already.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    fn matches(&self, event_type: &str, tags: &[String]) -> bool {
        (self.types.is_empty() || self.types.iter().any(|one| one == event_type))
            && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventQuery {
    items: Vec<QueryItem>,
}

impl From<QueryItem> for EventQuery {
    fn from(item: QueryItem) -> Self {
        Self { items: vec![item] }
    }
}

impl EventQuery {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        QueryItem::default().into()
    }

    /// Those of a type.
    pub fn event_type(event_type: impl Into<String>) -> Self {
        QueryItem::default().event_type(event_type).into()
    }

    /// Those with a tag.
    pub fn tag(key: &str, value: impl std::fmt::Display) -> Self {
        QueryItem::default().tag(key, value).into()
    }

    /// And those that match this item.
    #[must_use]
    pub fn or(mut self, item: QueryItem) -> Self {
        self.items.push(item);
        self
    }

    /// And those that match that query.
    #[must_use]
    pub fn or_query(mut self, mut other: Self) -> Self {
        self.items.append(&mut other.items);
        self
    }

    /// Whether an event of this type and with these tags is one of them.
    #[must_use]
    pub fn matches(&self, event_type: &str, tags: &[String]) -> bool {
        self.items.iter().any(|item| item.matches(event_type, tags))
    }

    /// The same query for every order of its items, types and tags, each of them once.
    pub(super) fn canonical(&self) -> Self {
        let mut items = self.items.clone();
        for item in &mut items {
            for texts in [&mut item.types, &mut item.tags] {
                texts.sort();
                texts.dedup();
            }
        }
        items.sort();
        items.dedup();
        Self { items }
    }

    /// Of each item a tag, or its types: whatever matches has one of them.
    pub(super) fn narrowest(&self) -> impl Iterator<Item = (Option<&str>, Option<&str>)> {
        self.items.iter().flat_map(|item| match item.tags.first() {
            Some(tag) => vec![(Some(tag.as_str()), None)],
            None => item.types.iter().map(|event_type| (None, Some(event_type.as_str()))).collect(),
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        let mut check = Check::default();
        if self.items.len() > MAX_ITEMS {
            check.add("query", format!("has {} items, allowed are {MAX_ITEMS}", self.items.len()));
        }
        for item in &self.items {
            for tag in &item.tags {
                check_tag(&mut check, tag);
            }
            for event_type in &item.types {
                check.text("types", event_type, 1..=super::event::MAX_NAME);
            }
        }
        check.finish()
    }
}

/// A part of the order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// Greater than this.
    pub(super) after: i64,
    /// At most this.
    pub(super) until: i64,
    /// The latest first.
    pub(super) backwards: bool,
    /// At most so many; `None`: all.
    pub(super) limit: Option<i64>,
}

impl Range {
    pub(super) fn after(after: i64) -> Self {
        Self { after, until: i64::MAX, backwards: false, limit: None }
    }
}

/// Of which share of a subscription: the expression of an event's key, and which of how many.
pub(super) struct Share<'q> {
    pub(super) key: &'static str,
    pub(super) key_tag: Option<&'q str>,
    pub(super) partition: i32,
    pub(super) partitions: i32,
}

type Boxed<'q> = BoxedSqlQuery<'q, Pg, SqlQuery>;

/// Puts a query's text and binds together, in the same order.
struct Builder<'q> {
    sql: String,
    binds: Vec<Bind<'q>>,
}

enum Bind<'q> {
    Texts(&'q [String]),
    Text(&'q str),
    Number(i64),
}

impl<'q> Builder<'q> {
    /// The first four are those of every query: tenant, after, until, limit.
    fn bind(&mut self, bind: Bind<'q>) -> String {
        self.binds.push(bind);
        format!("${}", self.binds.len() + 4)
    }

    fn conditions(&mut self, item: &'q QueryItem, share: Option<&Share<'q>>) -> String {
        let mut conditions = Vec::with_capacity(3);
        if !item.tags.is_empty() {
            conditions.push(format!(" AND e.tags @> {}", self.bind(Bind::Texts(&item.tags))));
        }
        if !item.types.is_empty() {
            conditions.push(format!(" AND e.event_type = ANY ({})", self.bind(Bind::Texts(&item.types))));
        }
        conditions.push(self.share(share));
        conditions.concat()
    }

    fn share(&mut self, share: Option<&Share<'q>>) -> String {
        let Some(share) = share.filter(|share| share.partitions > 1) else { return String::new() };
        let key = match share.key_tag {
            Some(tag) => share.key.replace("{tag}", &self.bind(Bind::Text(tag))),
            None => share.key.to_owned(),
        };
        let partitions = self.bind(Bind::Number(share.partitions.into()));
        let partition = self.bind(Bind::Number(share.partition.into()));
        format!(
            " AND (hashtextextended(coalesce({key}, '') COLLATE \"C\", 0) & 2147483647) % {partitions} = {partition}"
        )
    }
}

/// The events of a tenant that match, in their order. Each item of the query is a branch that an index answers in
/// that order, so that a limit ends it early.
pub(super) fn of_tenant<'q>(
    tenant: TenantId,
    query: &'q EventQuery,
    range: Range,
    share: Option<&Share<'q>>,
) -> Boxed<'q> {
    let (order, wanted) = order(range);
    let mut builder = Builder { sql: String::new(), binds: Vec::new() };
    let mut branches = Vec::with_capacity(query.items.len());
    for item in &query.items {
        // By the types only where there are no tags: then each type is a branch, for an index has one type in order.
        if item.tags.is_empty() && !item.types.is_empty() {
            for event_type in &item.types {
                let event_type = builder.bind(Bind::Text(event_type));
                let share = builder.share(share);
                branches.push(format!(
                    "(SELECT {COLUMNS} FROM events AS e WHERE e.tenant_id = $1 AND e.event_type = {event_type} \
                        AND e.position > $2 AND e.position <= $3{share} ORDER BY e.position {order} LIMIT $4)"
                ));
            }
            continue;
        }
        let conditions = builder.conditions(item, share);
        branches.push(match item.tags.as_slice() {
            [] => format!(
                "(SELECT {COLUMNS} FROM events AS e WHERE e.tenant_id = $1 AND {wanted}{conditions} \
                   ORDER BY e.position {order} LIMIT $4)"
            ),
            [tag, rest @ ..] => {
                let driver = if rest.is_empty() {
                    format!("event_tag_hash({})", builder.bind(Bind::Text(tag)))
                } else {
                    format!("(SELECT rarest_event_tag($1, {}, $2))", builder.bind(Bind::Texts(&item.tags)))
                };
                // OFFSET 0: as a join, a planner without statistics reads the tenant's events for each tag's position.
                // And t.position: the planner does not know that e.position is in the same order.
                let columns = COLUMNS.replace("e.position", "t.position");
                format!(
                    "(SELECT {columns} FROM event_tags AS t CROSS JOIN LATERAL ( \
                          SELECT {COLUMNS} FROM events AS e WHERE e.tenant_id = $1 AND e.position = t.position{conditions} OFFSET 0) AS e \
                       WHERE t.tenant_id = $1 AND t.tag = {driver} AND t.position > $2 AND t.position <= $3 \
                       ORDER BY t.position {order} LIMIT $4)"
                )
            }
        });
    }
    builder.sql = match branches.len() {
        0 => format!("SELECT {COLUMNS} FROM events AS e WHERE e.tenant_id = $1 AND {wanted} AND false LIMIT $4"),
        1 => branches.swap_remove(0),
        // An event may match several items.
        _ => format!(
            "SELECT DISTINCT ON (e.position) {COLUMNS} FROM ({}) AS e ORDER BY e.position {order} LIMIT $4",
            branches.join(" UNION ALL ")
        ),
    };
    finish(builder, tenant, range)
}

/// The events of all tenants that match, in their order: those after a position are gone through.
pub(super) fn of_all_tenants<'q>(query: &'q EventQuery, range: Range, share: Option<&Share<'q>>) -> Boxed<'q> {
    let (order, wanted) = order(range);
    let mut builder = Builder { sql: String::new(), binds: Vec::new() };
    let items: Vec<_> = query.items.iter().map(|item| format!("(true{})", builder.conditions(item, None))).collect();
    let items = if items.is_empty() { "false".to_owned() } else { items.join(" OR ") };
    let share = builder.share(share);
    // $1 has to be there, and its type known.
    builder.sql = format!(
        "SELECT {COLUMNS} FROM events AS e WHERE $1::uuid IS NOT NULL AND {wanted} AND ({items}){share} \
          ORDER BY e.position {order} LIMIT $4"
    );
    finish(builder, uuid::Uuid::nil().into(), range)
}

fn order(range: Range) -> (&'static str, &'static str) {
    (if range.backwards { "DESC" } else { "ASC" }, "e.position > $2 AND e.position <= $3")
}

fn finish(builder: Builder<'_>, tenant: TenantId, range: Range) -> Boxed<'_> {
    let query = sql_query(builder.sql)
        .into_boxed::<Pg>()
        .bind::<SqlUuid, _>(tenant)
        .bind::<BigInt, _>(range.after)
        .bind::<BigInt, _>(range.until)
        .bind::<Nullable<BigInt>, _>(range.limit);
    builder.binds.into_iter().fold(query, |query, bind| match bind {
        Bind::Texts(texts) => query.bind::<Array<Text>, _>(texts),
        Bind::Text(text) => query.bind::<Text, _>(text),
        Bind::Number(number) => query.bind::<BigInt, _>(number),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_alternatives_and_tags_are_not() {
        let query = EventQuery::tag("course", 1).or(QueryItem::default()
            .event_type("A")
            .event_type("B")
            .tag("student", 2)
            .tag("term", "x"));
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert!(query.matches("Z", &tags(&["course:1"])));
        assert!(query.matches("B", &tags(&["term:x", "student:2"])));
        assert!(!query.matches("B", &tags(&["student:2"])));
        assert!(!query.matches("C", &tags(&["term:x", "student:2"])));
        assert!(EventQuery::all().matches("Z", &[]));
    }

    #[test]
    fn a_query_in_json_is_what_the_database_takes() {
        let query = EventQuery::tag("course", 1).or(QueryItem::default().event_type("A"));
        assert_eq!(
            serde_json::to_string(&query).unwrap(),
            r#"[{"types":[],"tags":["course:1"]},{"types":["A"],"tags":[]}]"#
        );
    }
}
