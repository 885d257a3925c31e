//! What the database has of a subscription: its query, its partitions, and where they stand.
//!
//! Always holds: a worker reads and writes under the query that is stored. The query is part of each condition under
//! which a share moves (see `share.rs`), so a change on purpose ends workers that have the old one.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use super::read::Head;
use super::subscription::Subscription;
use crate::error::{Error, Result};
use crate::sql::cached;

/// Longest part of a query in an error.
const MAX_SHOWN: usize = 1000;

/// What is different in a stored subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionDifference {
    /// `query`, `partitions` or `partition_by`.
    pub what: &'static str,
    /// What is stored.
    pub stored: String,
    /// What was given.
    pub given: String,
}

impl std::fmt::Display for SubscriptionDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}, not {}", self.what, self.stored, self.given)
    }
}

/// Where a subscription goes on whose query was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// At the first event: what was handled under the old query comes again.
    FromStart,
    /// Where it stands: earlier events that only the new query asks for are skipped.
    FromHere,
}

/// Where a share stands, for its workers.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Standing {
    #[diesel(sql_type = Integer)]
    pub(super) partition: i32,
    #[diesel(sql_type = Integer)]
    partitions: i32,
    #[diesel(sql_type = Text)]
    partition_by: String,
    #[diesel(sql_type = BigInt)]
    pub(super) position: i64,
    /// `None`: the worker's own.
    #[diesel(sql_type = Nullable<Jsonb>)]
    other_query: Option<Value>,
}

impl Subscription {
    /// The query as it is stored.
    pub(super) fn stored_query(&self) -> Result<Value> {
        serde_json::to_value(self.query.canonical()).map_err(|error| Error::invalid("query", error.to_string()))
    }

    fn differences(&self, stored: &Standing) -> Result<Vec<SubscriptionDifference>> {
        let (partitions, key) = (i32::from(self.partitions), self.partition_by.to_string());
        let mut differences = Vec::new();
        let mut add = |what, stored: String, given: String| {
            differences.push(SubscriptionDifference { what, stored: cut(stored), given: cut(given) });
        };
        if let Some(query) = &stored.other_query {
            add("query", query.to_string(), self.stored_query()?.to_string());
        }
        if stored.partitions != partitions {
            add("partitions", stored.partitions.to_string(), partitions.to_string());
        }
        // In one share the key says nothing.
        if partitions > 1 && stored.partition_by != key {
            add("partition_by", stored.partition_by.clone(), key);
        }
        Ok(differences)
    }
}

fn cut(text: String) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text;
    }
    text.chars().take(MAX_SHOWN).chain(['…']).collect()
}

/// The head, and then where every share stands.
///
/// # Errors
/// [`Error::SubscriptionDiffers`] for another one than what is stored; [`Error::NotFound`] for a tenant or a
/// subscription that is gone.
pub(super) async fn standings(
    connection: &AsyncPgConnection,
    tenant: Uuid,
    subscription: &Subscription,
) -> Result<(i64, Vec<Standing>)> {
    let (head, standings) = load(connection, tenant, subscription).await?;
    if standings.is_empty() {
        return Err(missing(connection, tenant, &subscription.name).await?);
    }
    refuse_differences(subscription, &standings, &[])?;
    Ok((head, standings))
}

async fn load(
    connection: &AsyncPgConnection,
    tenant: Uuid,
    subscription: &Subscription,
) -> Result<(i64, Vec<Standing>)> {
    let standings = sql_query(
        "SELECT partition, partitions, partition_by, position, CASE WHEN query <> $3 THEN query END AS other_query \
           FROM event_subscriptions WHERE tenant_id = $1 AND name = $2 ORDER BY partition",
    )
    .bind::<SqlUuid, _>(tenant)
    .bind::<Text, _>(&subscription.name)
    .bind::<Jsonb, _>(subscription.stored_query()?);
    let (mut first, mut second) = (connection, connection);
    let (head, standings) = tokio::try_join!(
        cached(sql_query("SELECT event_head() AS head")).get_result::<Head>(&mut first),
        cached(standings).load::<Standing>(&mut second),
    )?;
    Ok((head.head, standings))
}

fn refuse_differences(subscription: &Subscription, standings: &[Standing], allowed: &[&str]) -> Result<()> {
    for standing in standings {
        let mut differences = subscription.differences(standing)?;
        differences.retain(|difference| !allowed.contains(&difference.what));
        if !differences.is_empty() {
            return Err(Error::SubscriptionDiffers { name: subscription.name.clone(), differences });
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// Why there is no row of a subscription.
pub(super) async fn missing(mut connection: &AsyncPgConnection, tenant: Uuid, name: &str) -> Result<Error> {
    let query = sql_query("SELECT EXISTS (SELECT FROM tenants WHERE id = $1) AS found").bind::<SqlUuid, _>(tenant);
    let tenant_is_there = tenant.is_nil() || cached(query).get_result::<Found>(&mut connection).await?.found;
    Ok(if tenant_is_there {
        Error::NotFound { entity: "subscription", id: name.to_owned() }
    } else {
        Error::NotFound { entity: "tenant", id: tenant.to_string() }
    })
}

/// Makes a subscription that is not there; an existing one keeps its place.
pub(super) async fn ensure(
    mut connection: &AsyncPgConnection,
    tenant: Uuid,
    subscription: &Subscription,
) -> Result<()> {
    let (_, stored) = load(connection, tenant, subscription).await?;
    if stored.is_empty() {
        // With delete_events_of_tenant(): what it does not see is not written after it.
        if !tenant.is_nil() {
            let lock = sql_query("SELECT pg_advisory_xact_lock_shared(uuid_hash_extended($1, 0))");
            cached(lock.bind::<SqlUuid, _>(tenant)).execute(&mut connection).await?;
        }
        let insert = sql_query(
            "INSERT INTO event_subscriptions (tenant_id, name, partition, partitions, partition_by, query, position) \
             SELECT $1, $2, n, $3, $4, $5, CASE WHEN $6 THEN event_head() ELSE 0 END FROM generate_series(0, $3 - 1) AS n \
              WHERE $7 OR EXISTS (SELECT FROM tenants WHERE id = $1) \
             ON CONFLICT DO NOTHING",
        )
        .bind::<SqlUuid, _>(tenant)
        .bind::<Text, _>(&subscription.name)
        .bind::<Integer, _>(i32::from(subscription.partitions))
        .bind::<Text, _>(subscription.partition_by.to_string())
        .bind::<Jsonb, _>(subscription.stored_query()?)
        .bind::<Bool, _>(subscription.from_head)
        .bind::<Bool, _>(tenant.is_nil());
        cached(insert).execute(&mut connection).await?;
    }
    // Others may have made it meanwhile, as another one.
    standings(connection, tenant, subscription).await.map(drop)
}

/// Stores another query of a subscription that is there. Whoever delivers under the old one loses its lease.
pub(super) async fn change(
    mut connection: &AsyncPgConnection,
    tenant: Uuid,
    subscription: &Subscription,
    resume: Resume,
) -> Result<()> {
    let (_, stored) = load(connection, tenant, subscription).await?;
    if stored.is_empty() {
        return Err(missing(connection, tenant, &subscription.name).await?);
    }
    refuse_differences(subscription, &stored, &["query"])?;
    let update = sql_query(
        "UPDATE event_subscriptions SET query = $3, position = CASE WHEN $4 THEN 0 ELSE position END, \
                claims = claims + 1, claimed_by = NULL, lease_expires_at = NULL \
          WHERE tenant_id = $1 AND name = $2 AND query <> $3",
    )
    .bind::<SqlUuid, _>(tenant)
    .bind::<Text, _>(&subscription.name)
    .bind::<Jsonb, _>(subscription.stored_query()?)
    .bind::<Bool, _>(resume == Resume::FromStart);
    cached(update).execute(&mut connection).await?;
    Ok(())
}
