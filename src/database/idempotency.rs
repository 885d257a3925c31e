//! Idempotency: a request that a client repeats, because it did not hear the answer, is done once.
//!
//! Always holds: the key, the work and the response are written in one transaction, so a key that is there has
//! its response; of two requests with one key, the second waits for the first one's commit.

use diesel::sql_types::{Binary, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel::{OptionalExtension as _, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::tenant::{SystemTx, TenantTx};
use crate::error::{Error, Result};
use crate::sql::cached;
use crate::validation::Check;

#[derive(QueryableByName)]
struct First {
    #[diesel(sql_type = Binary)]
    request_hash: Vec<u8>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    response: Option<Value>,
}

impl TenantTx {
    /// What `work` returned when this tenant first sent `key`: the first time it is awaited, later its
    /// response is read. Keys are kept for as long as `bedplate maintain` says, a week by default.
    ///
    /// `request` is what the client asked for: a key that comes with another request is refused. The order of the keys
    /// of a map does not matter, that of a sequence does.
    ///
    /// The value comes from the stored response also the first time, so that each answer is the same: `-0.0` is `0.0`
    /// after JSON, `Some(())` is `None`.
    ///
    /// ```rust,no_run
    /// # async fn example(tx: &bedplate::TenantTx, key: &str, new: bedplate::models::NewBusinessIdea<'_>) -> bedplate::Result<()> {
    /// let id = tx.idempotent(key, &(new.title, new.description), async {
    ///     Ok(tx.business_ideas().create(new).await?.id)
    /// }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Conflict`] for a key that was used for another request, [`Error::Invalid`] for a key that is
    /// empty or longer than 255 characters, and for a request or a response that JSON does not give back, as `f64::NAN`;
    /// and what `work` returns. Then the key is free again.
    pub async fn idempotent<T>(
        &self,
        key: &str,
        request: &impl Serialize,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        Check::default().text("key", key, 1..=255).finish()?;
        let hash = hash_of(request).map_err(|error| Error::invalid("request", error.to_string()))?;
        self.savepoint(self.once(key, &hash, work)).await
    }

    /// Inside a savepoint, so that a key whose work failed is free again, also where the caller goes on.
    async fn once<T>(&self, key: &str, hash: &[u8], work: impl Future<Output = Result<T>>) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        // Whoever has the same key waits here, until the first one commits or rolls back.
        let insert = sql_query(
            "INSERT INTO idempotency_keys (tenant_id, id, key, request_hash) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, key) DO NOTHING",
        )
        .bind::<SqlUuid, _>(self.tenant_id())
        .bind::<SqlUuid, _>(Uuid::now_v7())
        .bind::<Text, _>(key)
        .bind::<Binary, _>(hash);
        if cached(insert).execute(&mut self.connection()).await? == 1 {
            let value = work.await?;
            let response =
                serde_json::to_value(&value).map_err(|error| Error::invalid("response", error.to_string()))?;
            Check::default().json("response", &response).finish()?;
            let update = sql_query(
                "UPDATE idempotency_keys SET response = $3 WHERE tenant_id = $1 AND key = $2 \
                 RETURNING request_hash, response",
            )
            .bind::<SqlUuid, _>(self.tenant_id())
            .bind::<Text, _>(key)
            .bind::<Jsonb, _>(&response);
            let written: First = cached(update).get_result(&mut self.connection()).await?;
            return answer(written);
        }
        let select = sql_query("SELECT request_hash, response FROM idempotency_keys WHERE tenant_id = $1 AND key = $2")
            .bind::<SqlUuid, _>(self.tenant_id())
            .bind::<Text, _>(key);
        let first: Option<First> = cached(select).get_result(&mut self.connection()).await.optional()?;
        match first {
            Some(first) if first.request_hash == hash => answer(first),
            Some(_) => Err(Error::Conflict { constraint: "idempotency_keys_request_hash".into(), field: "key".into() }),
            // Pruned between the two statements: run again, it is a first request.
            None => Err(Error::Contention { message: "the idempotency key was pruned".into() }),
        }
    }
}

/// As everybody hears it.
fn answer<T: DeserializeOwned>(first: First) -> Result<T> {
    let response = first.response.unwrap_or_default();
    serde_json::from_value(response)
        .map_err(|error| Error::invalid("response", format!("cannot be read back from its JSON: {error}")))
}

/// Of the request with the keys of its maps in order, as a `HashMap` has another one each time.
fn hash_of(request: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut request = serde_json::to_value(request)?;
    // Where somebody switched on serde_json's `preserve_order`; otherwise they are in order.
    request.sort_all_objects();
    Ok(Sha256::digest(serde_json::to_vec(&request)?).to_vec())
}

impl SystemTx {
    /// Deletes the keys of all tenants that are older than `days`, and says how many.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune_idempotency_keys(&self, days: u16) -> Result<usize> {
        let delete = sql_query("DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(days => $1)")
            .bind::<diesel::sql_types::Integer, _>(i32::from(days));
        Ok(cached(delete).execute(&mut self.connection()).await?)
    }
}
