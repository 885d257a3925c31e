//! RFQs: asked for by a user, open for a while.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::dsl::{now, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use super::schema::rfqs;
use crate::database::{RfqDatabase, RfqTx, TenantContext};
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::pagination::{Cursor, Page, PageRequest, older_than};
use crate::sql::{cached, columns, text_enum};
use crate::tenancy::{TenantId, UserId};
use crate::validation::Check;

/// The id of an RFQ.
pub type RfqId = Id<Rfq>;

text_enum! {
    /// What the requester wants to do.
    Side {
        /// The lowest price is the best.
        Buy = "buy",
        /// The highest price is the best.
        Sell = "sell",
    }
}

text_enum! {
    /// Where an RFQ stands.
    RfqStatus {
        /// Waits for quotes.
        Open = "open",
        /// There is a quote.
        Quoted = "quoted",
        /// A quote was accepted.
        Accepted = "accepted",
        /// Its time is over.
        Expired = "expired",
        /// The requester has taken it back.
        Cancelled = "cancelled",
    }
}

impl RfqStatus {
    /// Whether an RFQ can go from this status to that one.
    #[must_use]
    pub fn can_become(self, to: Self) -> bool {
        use RfqStatus::{Accepted, Cancelled, Expired, Open, Quoted};
        matches!((self, to), (Open, Quoted | Expired | Cancelled) | (Quoted, Accepted | Expired | Cancelled))
    }
}

/// A row of `rfqs`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = rfqs, check_for_backend(Pg))]
pub struct Rfq {
    /// The tenant that asks.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: RfqId,
    /// What to trade.
    pub instrument_symbol: String,
    /// Whether to buy or to sell it.
    pub side: Side,
    /// How much, in units of the instrument.
    pub quantity: BigDecimal,
    /// Where it stands. One whose time is over stays open or quoted until [`RfqRepository::expire`].
    pub status: RfqStatus,
    /// Who asks.
    pub requested_by: UserId,
    /// From then on it is neither quoted nor accepted.
    pub expires_at: DateTime<Utc>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for Rfq {
    const NAME: &'static str = "rfq";
    const TABLE: &'static str = "rfqs";
}

/// An RFQ to create.
#[derive(Debug, Clone, Copy)]
pub struct NewRfq<'a> {
    /// What to trade: 1 to 64 of `A-Z 0-9 . / _ -`.
    pub instrument_symbol: &'a str,
    /// Whether to buy or to sell it.
    pub side: Side,
    /// How much: greater than 0, at most 4 digits after the point.
    pub quantity: &'a BigDecimal,
    /// Who asks: a user of the tenant. That there is one is not checked: users are in the database `main`.
    pub requested_by: UserId,
    /// Until when: later than now, by the database's clock.
    pub expires_at: DateTime<Utc>,
}

/// Which RFQs to list.
#[derive(Debug, Clone, Default)]
pub struct RfqFilter {
    /// Only those of this status.
    pub status: Option<RfqStatus>,
    /// Only this user's.
    pub requested_by: Option<UserId>,
    /// Only for this instrument.
    pub instrument_symbol: Option<String>,
}

/// The tenant's RFQs.
#[derive(Clone, Copy)]
pub struct RfqRepository<'t> {
    tx: &'t RfqTx,
}

impl RfqTx {
    /// The tenant's RFQs.
    #[must_use]
    pub fn rfqs(&self) -> RfqRepository<'_> {
        RfqRepository { tx: self }
    }
}

impl RfqRepository<'_> {
    /// Creates an open RFQ.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every rule that the input breaks.
    pub async fn create(&self, new: NewRfq<'_>) -> Result<Rfq> {
        Check::default()
            .text("instrument_symbol", new.instrument_symbol, 1..=64)
            .positive("quantity", new.quantity, 4)
            .finish()?;
        let insert = diesel::insert_into(rfqs::table)
            .values((
                rfqs::tenant_id.eq(self.tx.tenant_id()),
                rfqs::id.eq(RfqId::new()),
                rfqs::instrument_symbol.eq(new.instrument_symbol),
                rfqs::side.eq(new.side),
                rfqs::quantity.eq(new.quantity),
                rfqs::requested_by.eq(new.requested_by),
                rfqs::expires_at.eq(new.expires_at),
            ))
            .returning(Rfq::as_returning());
        Ok(cached(insert).get_result(&mut self.tx.connection()).await?)
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: RfqId) -> Result<Rfq> {
        let query = rfqs::table.find((self.tx.tenant_id(), id)).select(Rfq::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// RFQs newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list(&self, filter: &RfqFilter, page: &PageRequest) -> Result<Page<Rfq>> {
        const ORDER: &str = "rfqs";
        let mut query = rfqs::table
            .filter(rfqs::tenant_id.eq(self.tx.tenant_id()))
            .order((rfqs::created_at.desc(), rfqs::id.desc()))
            .limit(page.fetch()?)
            .select(Rfq::as_select())
            .into_boxed::<Pg>();
        if let Some(status) = filter.status {
            query = query.filter(rfqs::status.eq(status));
        }
        if let Some(user) = filter.requested_by {
            query = query.filter(rfqs::requested_by.eq(user));
        }
        if let Some(symbol) = &filter.instrument_symbol {
            query = query.filter(rfqs::instrument_symbol.eq(symbol));
        }
        if let Some(after) = &page.after {
            let (created_at, id) = after.decode(ORDER)?;
            query = query.filter(older_than::<rfqs::table>(created_at, id));
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &Rfq| Cursor::new(ORDER, &last.created_at, last.id.as_uuid())))
    }

    /// Open and quoted RFQs that are not over, those that expire first before the others.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad limit or cursor.
    pub async fn list_expiring(&self, page: &PageRequest) -> Result<Page<Rfq>> {
        const ORDER: &str = "rfqs.expiring";
        let mut query = rfqs::table
            .filter(rfqs::tenant_id.eq(self.tx.tenant_id()))
            // In the words of the index, which a bind would hide from the planner.
            .filter(sql::<Bool>("status IN ('open', 'quoted')"))
            .filter(rfqs::expires_at.gt(now))
            .order((rfqs::expires_at, rfqs::id))
            .limit(page.fetch()?)
            .select(Rfq::as_select())
            .into_boxed::<Pg>();
        if let Some(after) = &page.after {
            let (expires_at, id): (DateTime<Utc>, Uuid) = after.decode(ORDER)?;
            query = query.filter(
                sql::<Bool>("(expires_at, id) > (")
                    .bind::<Timestamptz, _>(expires_at)
                    .sql(", ")
                    .bind::<SqlUuid, _>(id)
                    .sql(")"),
            );
        }
        let rows = cached(query).load(&mut self.tx.connection()).await?;
        Ok(Page::new(rows, page, |last: &Rfq| Cursor::new(ORDER, &last.expires_at, last.id.as_uuid())))
    }

    /// Takes an RFQ back; its live quotes are rejected.
    ///
    /// # Errors
    /// [`Error::WrongState`] for one that has ended, [`Error::NotFound`].
    pub async fn cancel(&self, id: RfqId) -> Result<Rfq> {
        let cancel = sql_query(format!(
            "UPDATE rfqs SET status = 'cancelled' \
              WHERE tenant_id = $1 AND id = $2 AND status IN ('open', 'quoted') RETURNING {columns}",
            columns = columns::<Rfq>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(id);
        let Some(cancelled) = cached(cancel).get_result(&mut self.tx.connection()).await.optional()? else {
            return Err(Error::wrong_state(id, self.find(id).await?.status, "cancel"));
        };
        self.end_quotes(&[id], "UPDATE rfq_quotes SET status = 'rejected'").await?;
        Ok(cancelled)
    }

    /// Expires RFQs whose time is over, with their live quotes: at most `limit`, those first that are over for
    /// longest. Those that somebody else has locked are left out; fewer than `limit` means that no other is left.
    ///
    /// # Errors
    /// What the database says.
    pub async fn expire(&self, limit: u16) -> Result<Vec<Rfq>> {
        let expire = sql_query(format!(
            "WITH over AS MATERIALIZED ( \
                 SELECT id FROM rfqs \
                  WHERE tenant_id = $1 AND status IN ('open', 'quoted') AND expires_at <= now() \
                  ORDER BY expires_at, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) \
             UPDATE rfqs SET status = 'expired' \
              WHERE tenant_id = $1 AND id IN (SELECT id FROM over) RETURNING {columns}",
            columns = columns::<Rfq>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<BigInt, _>(i64::from(limit));
        let expired: Vec<Rfq> = cached(expire).load(&mut self.tx.connection()).await?;
        if !expired.is_empty() {
            let ids: Vec<_> = expired.iter().map(|rfq| rfq.id).collect();
            self.end_quotes(&ids, "UPDATE rfq_quotes SET status = 'expired'").await?;
        }
        Ok(expired)
    }

    /// A statement of its own: its snapshot is younger than the lock on the RFQs, so it sees every quote.
    async fn end_quotes(&self, ids: &[RfqId], update: &'static str) -> Result<()> {
        let end = sql_query(format!("{update} WHERE tenant_id = $1 AND rfq_id = ANY ($2) AND status = 'live'"))
            .bind::<SqlUuid, _>(self.tx.tenant_id())
            .bind::<Array<SqlUuid>, _>(ids);
        cached(end).execute(&mut self.tx.connection()).await?;
        Ok(())
    }
}

impl RfqDatabase {
    /// Expires everything of a tenant whose time is over, RFQs and quotes, in transactions of at most `batch` rows;
    /// how many RFQs and how many quotes of RFQs that go on. May run any number of times, also side by side.
    ///
    /// # Errors
    /// Those of [`RfqDatabase::tenant_tx`]; what was done before stays.
    pub async fn expire(&self, context: &TenantContext, batch: u16) -> Result<(usize, usize)> {
        let (mut rfqs, mut quotes) = (0, 0);
        loop {
            let (some, others) = self
                .tenant_tx("rfq.expire", context, async |tx| {
                    Ok((tx.rfqs().expire(batch).await?.len(), tx.rfq_quotes().expire(batch).await?.len()))
                })
                .await?;
            (rfqs, quotes) = (rfqs + some, quotes + others);
            if some.max(others) < usize::from(batch.max(1)) {
                return Ok((rfqs, quotes));
            }
        }
    }
}
