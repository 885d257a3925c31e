//! Quotes: what venues answer to an RFQ, and which one is accepted.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::request::{Rfq, RfqId, RfqStatus, Side};
use super::schema::rfq_quotes;
use crate::database::RfqTx;
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::sql::{cached, columns, text_enum};
use crate::tenancy::TenantId;
use crate::validation::Check;

/// The id of a quote.
pub type RfqQuoteId = Id<RfqQuote>;

text_enum! {
    /// Where a quote stands.
    RfqQuoteStatus {
        /// It can be accepted.
        Live = "live",
        /// It was.
        Accepted = "accepted",
        /// Another one was accepted, or the RFQ cancelled.
        Rejected = "rejected",
        /// Its time is over, or the RFQ's.
        Expired = "expired",
    }
}

impl RfqQuoteStatus {
    /// Whether a quote can go from this status to that one.
    #[must_use]
    pub fn can_become(self, to: Self) -> bool {
        self == Self::Live && to != Self::Live
    }
}

/// A row of `rfq_quotes`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = rfq_quotes, check_for_backend(Pg))]
pub struct RfqQuote {
    /// The RFQ's tenant.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: RfqQuoteId,
    /// The RFQ.
    pub rfq_id: RfqId,
    /// Who quotes: a venue's MIC.
    pub venue_code: String,
    /// For one unit. May be negative, as prices of power and oil have been.
    pub price: BigDecimal,
    /// How much at this price.
    pub quantity: BigDecimal,
    /// From then on it is not accepted.
    pub valid_until: DateTime<Utc>,
    /// Where it stands. One whose time is over stays live until [`RfqQuoteRepository::expire`].
    pub status: RfqQuoteStatus,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for RfqQuote {
    const NAME: &'static str = "rfq_quote";
    const TABLE: &'static str = "rfq_quotes";
}

/// A quote to create.
#[derive(Debug, Clone, Copy)]
pub struct NewRfqQuote<'a> {
    /// The RFQ that it answers.
    pub rfq_id: RfqId,
    /// Who quotes: a venue's MIC, four of `A-Z 0-9`.
    pub venue_code: &'a str,
    /// For one unit: at most 8 digits after the point.
    pub price: &'a BigDecimal,
    /// How much: greater than 0, at most 4 digits after the point.
    pub quantity: &'a BigDecimal,
    /// Until when: later than now, by the database's clock.
    pub valid_until: DateTime<Utc>,
}

/// The quotes of the tenant's RFQs.
#[derive(Clone, Copy)]
pub struct RfqQuoteRepository<'t> {
    tx: &'t RfqTx,
}

impl RfqTx {
    /// The quotes of the tenant's RFQs.
    #[must_use]
    pub fn rfq_quotes(&self) -> RfqQuoteRepository<'_> {
        RfqQuoteRepository { tx: self }
    }
}

/// What kept an RFQ from being quoted or a quote from being accepted.
#[derive(QueryableByName)]
struct Standing {
    #[diesel(sql_type = SqlUuid)]
    rfq_id: RfqId,
    #[diesel(sql_type = Text)]
    rfq_status: RfqStatus,
    #[diesel(sql_type = Text)]
    quote_status: RfqQuoteStatus,
    #[diesel(sql_type = Bool)]
    rfq_over: bool,
}

impl RfqQuoteRepository<'_> {
    /// Creates a live quote; its RFQ is quoted from then on.
    ///
    /// # Errors
    /// [`Error::WrongState`] for an RFQ that has ended or is over, [`Error::NotFound`] where there is none,
    /// [`Error::Invalid`] with every rule that the input breaks.
    pub async fn create(&self, new: NewRfqQuote<'_>) -> Result<RfqQuote> {
        Check::default()
            .text("venue_code", new.venue_code, 4..=4)
            .numeric("price", new.price, 8)
            .positive("quantity", new.quantity, 4)
            .finish()?;
        // By the clock of the moment at which the lock is there, which is later than now().
        let quote = sql_query(format!(
            "WITH rfq AS MATERIALIZED ( \
                 SELECT tenant_id, id FROM rfqs \
                  WHERE tenant_id = $1 AND id = $2 AND status IN ('open', 'quoted') AND expires_at > clock_timestamp() \
                    FOR NO KEY UPDATE), \
             quoted AS ( \
                 UPDATE rfqs SET status = 'quoted' FROM rfq \
                  WHERE rfqs.tenant_id = $1 AND rfqs.id = rfq.id AND rfqs.status = 'open') \
             INSERT INTO rfq_quotes (tenant_id, id, rfq_id, venue_code, price, quantity, valid_until) \
             SELECT tenant_id, $3, id, $4, $5, $6, $7 FROM rfq RETURNING {columns}",
            columns = columns::<RfqQuote>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(new.rfq_id)
        .bind::<SqlUuid, _>(RfqQuoteId::new())
        .bind::<Text, _>(new.venue_code)
        .bind::<Numeric, _>(new.price)
        .bind::<Numeric, _>(new.quantity)
        .bind::<Timestamptz, _>(new.valid_until);
        if let Some(quote) = cached(quote).get_result(&mut self.tx.connection()).await.optional()? {
            return Ok(quote);
        }
        let status = match self.tx.rfqs().find(new.rfq_id).await?.status {
            // It would have been quoted if its time were not over.
            RfqStatus::Open | RfqStatus::Quoted => RfqStatus::Expired,
            ended => ended,
        };
        Err(Error::wrong_state(new.rfq_id, status, "quote"))
    }

    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn find(&self, id: RfqQuoteId) -> Result<RfqQuote> {
        let query = rfq_quotes::table.find((self.tx.tenant_id(), id)).select(RfqQuote::as_select());
        query.get_result(&mut self.tx.connection()).await.optional()?.ok_or_else(|| Error::not_found(id))
    }

    /// All quotes of an RFQ, whatever their status, the best price for its side first; of equal ones the earliest.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list_by_rfq(&self, rfq: &Rfq) -> Result<Vec<RfqQuote>> {
        let query = rfq_quotes::table
            .filter(rfq_quotes::tenant_id.eq(self.tx.tenant_id()))
            .filter(rfq_quotes::rfq_id.eq(rfq.id))
            .select(RfqQuote::as_select())
            .into_boxed::<Pg>();
        let query = match rfq.side {
            Side::Buy => query.order((rfq_quotes::price.asc(), rfq_quotes::id)),
            Side::Sell => query.order((rfq_quotes::price.desc(), rfq_quotes::id)),
        };
        Ok(cached(query).load(&mut self.tx.connection()).await?)
    }

    /// Accepts a live quote: its RFQ is accepted, the other live quotes are rejected. Of several at the same time
    /// one wins.
    ///
    /// # Errors
    /// [`Error::WrongState`] that names the RFQ, where another quote of it was accepted (the loser gets this), it was
    /// cancelled or is over; or the quote, where that has ended or is over. [`Error::NotFound`].
    pub async fn accept(&self, id: RfqQuoteId) -> Result<RfqQuote> {
        // 1. Whoever comes second waits here.
        let lock = sql_query(
            "SELECT id FROM rfqs \
              WHERE tenant_id = $1 AND id = (SELECT rfq_id FROM rfq_quotes WHERE tenant_id = $1 AND id = $2) \
                FOR NO KEY UPDATE",
        )
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(id);
        cached(lock).execute(&mut self.tx.connection()).await?;
        // 2. The snapshot is younger than the lock: it sees what the first one did, and every quote; and so is the
        //    clock, which now() is not.
        let accept = sql_query(format!(
            "WITH accepted AS ( \
                 UPDATE rfq_quotes AS q SET status = 'accepted' FROM rfqs AS r \
                  WHERE q.tenant_id = $1 AND q.id = $2 AND q.status = 'live' AND q.valid_until > clock_timestamp() \
                    AND r.tenant_id = $1 AND r.id = q.rfq_id AND r.status = 'quoted' AND r.expires_at > clock_timestamp() \
                 RETURNING {of_quote}), \
             rfq AS ( \
                 UPDATE rfqs AS r SET status = 'accepted' FROM accepted WHERE r.tenant_id = $1 AND r.id = accepted.rfq_id), \
             others AS ( \
                 UPDATE rfq_quotes AS q SET status = 'rejected' FROM accepted \
                  WHERE q.tenant_id = $1 AND q.rfq_id = accepted.rfq_id AND q.id <> accepted.id AND q.status = 'live') \
             SELECT {columns} FROM accepted",
            of_quote = columns::<RfqQuote>("q"),
            columns = columns::<RfqQuote>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(id);
        match cached(accept).get_result(&mut self.tx.connection()).await.optional()? {
            Some(accepted) => Ok(accepted),
            None => Err(self.why_not_accepted(id).await?),
        }
    }

    async fn why_not_accepted(&self, id: RfqQuoteId) -> Result<Error> {
        let standing = sql_query(
            "SELECT q.rfq_id, q.status AS quote_status, r.status AS rfq_status, r.expires_at <= clock_timestamp() AS rfq_over \
               FROM rfq_quotes AS q JOIN rfqs AS r ON r.tenant_id = $1 AND r.id = q.rfq_id \
              WHERE q.tenant_id = $1 AND q.id = $2",
        )
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<SqlUuid, _>(id);
        let standing: Option<Standing> = cached(standing).get_result(&mut self.tx.connection()).await.optional()?;
        let Some(standing) = standing else { return Ok(Error::not_found(id)) };
        Ok(match (standing.rfq_status, standing.quote_status) {
            (RfqStatus::Open | RfqStatus::Quoted, _) if standing.rfq_over => {
                Error::wrong_state(standing.rfq_id, RfqStatus::Expired, "accept")
            }
            // It would have been accepted if its time were not over.
            (RfqStatus::Quoted, RfqQuoteStatus::Live) => Error::wrong_state(id, RfqQuoteStatus::Expired, "accept"),
            (RfqStatus::Quoted, ended) => Error::wrong_state(id, ended, "accept"),
            (rfq, _) => Error::wrong_state(standing.rfq_id, rfq, "accept"),
        })
    }

    /// Expires live quotes whose time is over, also of RFQs that go on: at most `limit`, those first that are over
    /// for longest. Those that somebody else has locked are left out; fewer than `limit` means that no other is left.
    ///
    /// # Errors
    /// What the database says.
    pub async fn expire(&self, limit: u16) -> Result<Vec<RfqQuote>> {
        let expire = sql_query(format!(
            "WITH over AS MATERIALIZED ( \
                 SELECT id FROM rfq_quotes \
                  WHERE tenant_id = $1 AND status = 'live' AND valid_until <= now() \
                  ORDER BY valid_until, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) \
             UPDATE rfq_quotes SET status = 'expired' \
              WHERE tenant_id = $1 AND id IN (SELECT id FROM over) RETURNING {columns}",
            columns = columns::<RfqQuote>("")
        ))
        .bind::<SqlUuid, _>(self.tx.tenant_id())
        .bind::<BigInt, _>(i64::from(limit));
        Ok(cached(expire).load(&mut self.tx.connection()).await?)
    }
}
