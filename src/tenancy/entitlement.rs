//! Entitlements: what a user may trade, and how much.
//!
//! Always holds: what is not allowed is refused. A user without entitlements may trade nothing; an empty list
//! allows nothing; `*` in a list allows all.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::tenant::TenantId;
use super::user::UserId;
use crate::database::TenantTx;
use crate::error::{Error, Result};
use crate::ids::{Entity, Id};
use crate::schema::user_entitlements;
use crate::sql::{Upserted, cached, inserted};
use crate::validation::Check;

/// What allows everything of a list.
pub const ALL: &str = "*";

/// The id of a user's entitlements.
pub type UserEntitlementId = Id<UserEntitlement>;

/// A row of `user_entitlements`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Serialize)]
#[diesel(table_name = user_entitlements, check_for_backend(diesel::pg::Pg))]
pub struct UserEntitlement {
    /// The tenant of the user.
    pub tenant_id: TenantId,
    /// Unique inside the tenant.
    pub id: UserEntitlementId,
    /// Whose they are.
    pub user_id: UserId,
    /// Allowed asset classes.
    pub asset_classes: Vec<Option<String>>,
    /// Allowed instruments.
    pub instruments: Vec<Option<String>>,
    /// Allowed venues.
    pub venues: Vec<Option<String>>,
    /// Greatest notional of an order; `None`: no limit.
    pub max_notional: Option<BigDecimal>,
    /// Most requests for quotes a minute.
    pub rfq_rate_limit: i32,
    /// Most orders a minute.
    pub order_rate_limit: i32,
    /// Most orders that are open at a time.
    pub max_open_orders: i32,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Entity for UserEntitlement {
    const NAME: &'static str = "user_entitlement";
    const TABLE: &'static str = "user_entitlements";
}

/// An order, as far as entitlements look at it.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// For example `equity`.
    pub asset_class: &'a str,
    /// The symbol.
    pub instrument: &'a str,
    /// The venue's code.
    pub venue: &'a str,
    /// Price times quantity; its sign does not count.
    pub notional: &'a BigDecimal,
}

/// Which limit refuses an order: the first, in this order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user has no entitlements at all.
    #[error("the user has no entitlements")]
    NotEntitled,
    /// The asset class is not allowed.
    #[error("asset class {0} is not allowed")]
    AssetClass(String),
    /// The instrument is not allowed.
    #[error("instrument {0} is not allowed")]
    Instrument(String),
    /// The venue is not allowed.
    #[error("venue {0} is not allowed")]
    Venue(String),
    /// The notional is greater than allowed.
    #[error("notional {notional} is over the limit of {limit}")]
    MaxNotional {
        /// The order's.
        notional: BigDecimal,
        /// The greatest that is allowed.
        limit: BigDecimal,
    },
}

impl UserEntitlement {
    /// Whether an order is allowed, and if not, which limit refuses it.
    ///
    /// # Errors
    /// The first limit that refuses.
    pub fn allows(&self, order: &Order<'_>) -> Result<(), Refusal> {
        let lists = |list: &[Option<String>], word: &str| list.iter().flatten().any(|it| it == ALL || it == word);
        if !lists(&self.asset_classes, order.asset_class) {
            return Err(Refusal::AssetClass(order.asset_class.to_owned()));
        }
        if !lists(&self.instruments, order.instrument) {
            return Err(Refusal::Instrument(order.instrument.to_owned()));
        }
        if !lists(&self.venues, order.venue) {
            return Err(Refusal::Venue(order.venue.to_owned()));
        }
        match &self.max_notional {
            Some(limit) if order.notional.abs() > *limit => {
                Err(Refusal::MaxNotional { notional: order.notional.clone(), limit: limit.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// What a user is entitled to, for [`EntitlementRepository::set`].
#[derive(Debug, Clone)]
pub struct NewEntitlement<'a> {
    /// Allowed asset classes; [`ALL`] allows all.
    pub asset_classes: &'a [&'a str],
    /// Allowed instruments.
    pub instruments: &'a [&'a str],
    /// Allowed venues.
    pub venues: &'a [&'a str],
    /// Greatest notional of an order, with at most 16 digits before the point and rounded to 4 after it;
    /// `None`: no limit.
    pub max_notional: Option<BigDecimal>,
    /// Most requests for quotes a minute.
    pub rfq_rate_limit: i32,
    /// Most orders a minute.
    pub order_rate_limit: i32,
    /// Most orders that are open at a time.
    pub max_open_orders: i32,
}

impl Default for NewEntitlement<'_> {
    /// Nothing is allowed; the rates are those of the table.
    fn default() -> Self {
        Self {
            asset_classes: &[],
            instruments: &[],
            venues: &[],
            max_notional: None,
            rfq_rate_limit: 10,
            order_rate_limit: 100,
            max_open_orders: 100,
        }
    }
}

/// The entitlements of the tenant's users.
#[derive(Clone, Copy)]
pub struct EntitlementRepository<'t> {
    tx: &'t TenantTx,
}

impl TenantTx {
    /// The entitlements of the tenant's users.
    #[must_use]
    pub fn entitlements(&self) -> EntitlementRepository<'_> {
        EntitlementRepository { tx: self }
    }
}

impl EntitlementRepository<'_> {
    /// Sets what a user is entitled to, in place of what there was.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a negative limit, an empty word in a list, a notional that is too large, a user
    /// who does not exist.
    pub async fn set(&self, user: UserId, new: &NewEntitlement<'_>) -> Result<Upserted<UserEntitlement>> {
        use user_entitlements as e;
        new.check()?;
        let upsert = diesel::insert_into(e::table)
            .values((
                e::tenant_id.eq(self.tx.tenant_id()),
                e::id.eq(UserEntitlementId::new()),
                e::user_id.eq(user),
                e::asset_classes.eq(new.asset_classes),
                e::instruments.eq(new.instruments),
                e::venues.eq(new.venues),
                e::max_notional.eq(&new.max_notional),
                e::rfq_rate_limit.eq(new.rfq_rate_limit),
                e::order_rate_limit.eq(new.order_rate_limit),
                e::max_open_orders.eq(new.max_open_orders),
            ))
            .on_conflict((e::tenant_id, e::user_id))
            .do_update()
            .set((
                e::asset_classes.eq(excluded(e::asset_classes)),
                e::instruments.eq(excluded(e::instruments)),
                e::venues.eq(excluded(e::venues)),
                e::max_notional.eq(excluded(e::max_notional)),
                e::rfq_rate_limit.eq(excluded(e::rfq_rate_limit)),
                e::order_rate_limit.eq(excluded(e::order_rate_limit)),
                e::max_open_orders.eq(excluded(e::max_open_orders)),
            ))
            .returning((UserEntitlement::as_returning(), inserted()));
        Ok(Upserted::new(cached(upsert).get_result(&mut self.tx.connection()).await?))
    }

    /// # Errors
    /// [`Error::NotFound`] for a user who has none.
    pub async fn find(&self, user: UserId) -> Result<UserEntitlement> {
        let query = self.of(user).select(UserEntitlement::as_select());
        let found = query.get_result(&mut self.tx.connection()).await.optional()?;
        found.ok_or_else(|| Error::NotFound { entity: UserEntitlement::NAME, id: user.to_string() })
    }

    /// Whether a user may send an order, and if not, which limit refuses it.
    ///
    /// # Errors
    /// What the database says; that the order is refused is no error.
    pub async fn allows(&self, user: UserId, order: &Order<'_>) -> Result<std::result::Result<(), Refusal>> {
        match self.find(user).await {
            Ok(entitlement) => Ok(entitlement.allows(order)),
            Err(Error::NotFound { .. }) => Ok(Err(Refusal::NotEntitled)),
            Err(error) => Err(error),
        }
    }

    /// Takes everything away.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a user who has none.
    pub async fn delete(&self, user: UserId) -> Result<()> {
        match cached(diesel::delete(self.of(user))).execute(&mut self.tx.connection()).await? {
            0 => Err(Error::NotFound { entity: UserEntitlement::NAME, id: user.to_string() }),
            _ => Ok(()),
        }
    }

    #[diesel::dsl::auto_type(no_type_alias)]
    fn of(self, user: UserId) -> _ {
        let tenant_id: TenantId = self.tx.tenant_id();
        user_entitlements::table
            .filter(user_entitlements::tenant_id.eq(tenant_id))
            .filter(user_entitlements::user_id.eq(user))
    }
}

impl NewEntitlement<'_> {
    fn check(&self) -> Result<()> {
        let mut check = Check::default();
        for (field, list) in
            [("asset_classes", self.asset_classes), ("instruments", self.instruments), ("venues", self.venues)]
        {
            for word in list {
                check.text(field, word, 1..=255);
            }
        }
        let rates = [
            ("rfq_rate_limit", self.rfq_rate_limit),
            ("order_rate_limit", self.order_rate_limit),
            ("max_open_orders", self.max_open_orders),
        ];
        for (field, rate) in rates.into_iter().filter(|(_, rate)| *rate < 0) {
            check.add(field, format!("is {rate}, allowed is 0 or more"));
        }
        if let Some(limit) = &self.max_notional {
            let greatest = BigDecimal::from(10_000_000_000_000_000_i64);
            if limit.sign() == bigdecimal::num_bigint::Sign::Minus || limit.round(4) >= greatest {
                check.add("max_notional", format!("is {limit}, allowed is 0 to {greatest}, that not included"));
            }
        }
        check.finish()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use uuid::Uuid;

    use super::*;

    fn entitled(asset_classes: &[&str], instruments: &[&str], venues: &[&str], limit: Option<&str>) -> UserEntitlement {
        let list = |words: &[&str]| words.iter().map(|word| Some((*word).to_owned())).collect();
        UserEntitlement {
            tenant_id: Uuid::nil().into(),
            id: Uuid::nil().into(),
            user_id: Uuid::nil().into(),
            asset_classes: list(asset_classes),
            instruments: list(instruments),
            venues: list(venues),
            max_notional: limit.map(|limit| limit.parse().unwrap()),
            rfq_rate_limit: 1,
            order_rate_limit: 1,
            max_open_orders: 1,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[rstest]
    #[case::everything(entitled(&["*"], &["*"], &["*"], None), None)]
    #[case::exactly(entitled(&["fx", "equity"], &["ACME"], &["XNAS"], Some("1000.0000")), None)]
    #[case::no_class(entitled(&[], &["*"], &["*"], None), Some("asset class equity is not allowed"))]
    #[case::other_class(entitled(&["fx"], &[], &[], Some("1")), Some("asset class equity is not allowed"))]
    #[case::instrument(entitled(&["*"], &["ACM"], &["*"], None), Some("instrument ACME is not allowed"))]
    #[case::venue(entitled(&["*"], &["*"], &["XLON"], None), Some("venue XNAS is not allowed"))]
    #[case::notional(entitled(&["*"], &["*"], &["*"], Some("999.9999")), Some("notional -1000 is over the limit of 999.9999"))]
    fn an_order_is_refused_by_the_first_limit(#[case] entitled: UserEntitlement, #[case] refusal: Option<&str>) {
        let notional = BigDecimal::from(-1000);
        let order = Order { asset_class: "equity", instrument: "ACME", venue: "XNAS", notional: &notional };
        assert_eq!(entitled.allows(&order).err().map(|refusal| refusal.to_string()).as_deref(), refusal);
    }
}
