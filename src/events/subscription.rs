//! A subscription: which events a consumer reads, in which shares, and how far it has come.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use uuid::Uuid;

use super::query::{EventQuery, Share};
use super::read::Head;
use crate::database::SystemTx;
use crate::error::Result;
use crate::sql::cached;
use crate::validation::Check;

/// What all events of one share have in common; each share is read in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionBy {
    /// The stream. Events of no stream are one share.
    Aggregate,
    /// The tag with this key: `course` of `course:c1`, the first one by name where there are several. Events
    /// without are one share.
    Tag(String),
    /// The tenant, for a subscription of all.
    Tenant,
}

/// Which events a consumer reads, and how its workers share them.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub(super) name: String,
    pub(super) query: EventQuery,
    pub(super) partitions: u16,
    pub(super) partition_by: PartitionBy,
    key_tag: String,
    pub(super) batch: u32,
    pub(super) lease: Duration,
    pub(super) poll: Duration,
    pub(super) from_head: bool,
}

impl Subscription {
    /// Of a name, 1 to 255 characters: in one share, at most 500 events at a time. The query stays for as long as the
    /// name does: another one is refused, unless [`Database::change_subscription`](crate::Database::change_subscription)
    /// says where it goes on.
    pub fn new(name: impl Into<String>, query: EventQuery) -> Self {
        Self {
            name: name.into(),
            query,
            partitions: 1,
            partition_by: PartitionBy::Aggregate,
            key_tag: String::new(),
            batch: 500,
            lease: Duration::from_mins(1),
            poll: Duration::from_secs(1),
            from_head: false,
        }
    }

    /// In so many shares (1 to 1,000), so that as many workers can be at work. Number and key stay for as long as the
    /// name does: an event would be in another share, perhaps in one that is past it. Another number or key is refused.
    #[must_use]
    pub fn partitions(mut self, partitions: u16, by: PartitionBy) -> Self {
        self.partitions = partitions;
        if let PartitionBy::Tag(key) = &by {
            self.key_tag = format!("{key}:");
        }
        self.partition_by = by;
        self
    }

    /// At most so many events at a time (1 to 10,000): the effect of all of them is one transaction.
    #[must_use]
    pub fn batch(mut self, batch: u32) -> Self {
        self.batch = batch;
        self
    }

    /// How long a worker may take to deliver a batch, before another one may (1 ms to a day).
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How often to look where nobody wakes.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// From now on, where the subscription is made: not from the first event.
    #[must_use]
    pub fn from_head(mut self) -> Self {
        self.from_head = true;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let mut check = Check::default();
        check.text("name", &self.name, 1..=255);
        if let PartitionBy::Tag(key) = &self.partition_by {
            check.text("partition_by", key, 1..=255);
        }
        if !(1..=1000).contains(&self.partitions) {
            check.add("partitions", format!("are {}, allowed are 1 to 1000", self.partitions));
        }
        if !(1..=10_000).contains(&self.batch) {
            check.add("batch", format!("is {}, allowed are 1 to 10000", self.batch));
        }
        check.lease("lease", self.lease);
        check.finish()?;
        self.query.check()
    }

    /// The part of the query that tells one share's events.
    pub(super) fn share(&self, partition: i32) -> Share<'_> {
        let key = match self.partition_by {
            PartitionBy::Aggregate => "e.aggregate_id::text",
            PartitionBy::Tag(_) => "(SELECT t FROM unnest(e.tags) AS t WHERE starts_with(t, {tag}) ORDER BY t LIMIT 1)",
            PartitionBy::Tenant => "e.tenant_id::text",
        };
        let key_tag = Some(self.key_tag.as_str()).filter(|tag| !tag.is_empty());
        Share { key, key_tag, partition, partitions: self.partitions.into() }
    }
}

impl std::fmt::Display for PartitionBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Aggregate => f.write_str("aggregate"),
            Self::Tag(key) => write!(f, "tag:{key}"),
            Self::Tenant => f.write_str("tenant"),
        }
    }
}

/// How far one share of a subscription has come.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, Serialize)]
pub struct SubscriptionLag {
    /// Whose events; the nil UUID: those of all tenants.
    #[diesel(sql_type = SqlUuid)]
    pub tenant_id: Uuid,
    /// Which subscription.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Which share.
    #[diesel(sql_type = Integer)]
    pub partition: i32,
    /// Up to here everything is done.
    #[diesel(sql_type = BigInt)]
    pub position: i64,
    /// Up to here it could be.
    #[diesel(sql_type = BigInt)]
    pub head: i64,
    /// Since when the first event after `position` is there, whether or not it is one of the subscription's.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub waiting_since: Option<DateTime<Utc>>,
}

impl SubscriptionLag {
    /// How many positions are to be gone through, at most as many events.
    #[must_use]
    pub fn behind(&self) -> i64 {
        (self.head - self.position).max(0)
    }
}

/// Of one subscription of a tenant (the nil UUID: of all), or of every one that the transaction sees.
pub(super) async fn lag(
    mut connection: &AsyncPgConnection,
    tenant: Option<Uuid>,
    name: Option<&str>,
) -> Result<Vec<SubscriptionLag>> {
    let head: Head = cached(sql_query("SELECT event_head() AS head")).get_result(&mut connection).await?;
    let query = sql_query(
        "SELECT s.tenant_id, s.name, s.partition, s.position, $3 AS head, \
                CASE WHEN s.position >= $3 THEN NULL WHEN s.tenant_id = '00000000-0000-0000-0000-000000000000' THEN \
                    (SELECT e.created_at FROM events AS e WHERE e.position > s.position ORDER BY e.position LIMIT 1) \
                ELSE \
                    (SELECT e.created_at FROM events AS e WHERE e.tenant_id = s.tenant_id AND e.position > s.position \
                      ORDER BY e.position LIMIT 1) \
                END AS waiting_since \
           FROM event_subscriptions AS s \
          WHERE ($1 IS NULL OR s.tenant_id = $1) AND ($2 IS NULL OR s.name = $2) \
          ORDER BY s.tenant_id, s.name, s.partition",
    )
    .bind::<Nullable<SqlUuid>, _>(tenant)
    .bind::<Nullable<Text>, _>(name)
    .bind::<BigInt, _>(head.head);
    Ok(cached(query).load(&mut connection).await?)
}

impl SystemTx {
    /// How far every share of every subscription has come.
    ///
    /// # Errors
    /// What the database says.
    pub async fn subscription_lags(&self) -> Result<Vec<SubscriptionLag>> {
        lag(self.connection(), None, None).await
    }
}
