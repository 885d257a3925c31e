//! Roles in the tenant, and what a user may trade.

use bedplate::models::{NewEntitlement, Order, Refusal, Upserted, UserId};
use bedplate::{Error, Result};
use bigdecimal::BigDecimal;
use rstest::rstest;

use crate::support::{TestDatabase, db, home, user};

#[rstest]
#[tokio::test]
async fn roles_are_granted_listed_and_revoked(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let ada = user(&db, &home, "ada").await;
    db.tenant_tx("roles", &home.context, async |tx| {
        let roles = tx.roles();
        let granted = roles.grant(home.user, "trader").await?;
        assert_eq!(roles.grant(home.user, "trader").await?, granted, "granting again changes nothing");
        roles.grant(home.user, "compliance").await?;
        roles.grant(ada, "trader").await?;
        assert!(roles.has(home.user, "trader").await? && !roles.has(ada, "compliance").await?);
        let words: Vec<_> = roles.list(home.user).await?.into_iter().map(|role| role.role).collect();
        assert_eq!(words, ["compliance", "trader"]);
        assert_eq!(roles.list_users("trader").await?, [home.user, ada]);
        roles.revoke(home.user, "trader").await?;
        assert!(!roles.has(home.user, "trader").await?);
        assert!(matches!(roles.revoke(home.user, "trader").await, Err(Error::NotFound { .. })));
        Ok(())
    })
    .await
    .unwrap();
}

#[rstest]
#[case("", "role is empty")]
#[case("Trader", "role is not allowed (user_roles_role_check)")]
#[case(&"x".repeat(51), "role has 51 characters, allowed are 1 to 50")]
#[tokio::test]
async fn a_bad_role_is_refused(#[future(awt)] db: TestDatabase, #[case] role: &str, #[case] message: &str) {
    let home = home(&db).await;
    let grant =
        async |who| db.tenant_tx("grant", &home.context, async move |tx| tx.roles().grant(who, role).await).await;
    assert_eq!(grant(home.user).await.unwrap_err().to_string(), message);
    let nobody = db.tenant_tx("grant", &home.context, async |tx| tx.roles().grant(UserId::new(), "trader").await).await;
    assert_eq!(nobody.unwrap_err().to_string(), "user_id refers to a row that does not exist");
}

#[rstest]
#[tokio::test]
async fn entitlements_check_an_order_and_say_which_limit_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let limit: BigDecimal = "1000.5000".parse().unwrap();
    let new = NewEntitlement {
        asset_classes: &["equity"],
        instruments: &["*"],
        venues: &["XNAS", "XLON"],
        max_notional: Some(limit.clone()),
        ..NewEntitlement::default()
    };
    let (within, over): (BigDecimal, BigDecimal) = ("1000.5".parse().unwrap(), "1000.5001".parse().unwrap());
    let order = Order { asset_class: "equity", instrument: "ACME", venue: "XNAS", notional: &within };
    let allows = async |order: Order<'_>| {
        db.tenant_tx("allows", &home.context, async |tx| tx.entitlements().allows(home.user, &order).await)
            .await
            .unwrap()
    };
    assert_eq!(allows(order).await, Err(Refusal::NotEntitled));
    let set = async |new: &NewEntitlement<'_>| {
        db.tenant_tx("set", &home.context, async |tx| tx.entitlements().set(home.user, new).await).await.unwrap()
    };
    assert!(matches!(set(&NewEntitlement::default()).await, Upserted::Inserted(_)));
    assert_eq!(allows(order).await, Err(Refusal::AssetClass("equity".into())), "empty lists allow nothing");
    let Upserted::Updated(row) = set(&new).await else { panic!("it was there") };
    assert_eq!((row.max_notional.as_ref(), row.order_rate_limit), (Some(&limit), 100));
    assert_eq!(allows(order).await, Ok(()));
    assert_eq!(allows(Order { asset_class: "fx", ..order }).await, Err(Refusal::AssetClass("fx".into())));
    assert_eq!(allows(Order { venue: "XETR", ..order }).await, Err(Refusal::Venue("XETR".into())));
    assert_eq!(
        allows(Order { notional: &over, ..order }).await,
        Err(Refusal::MaxNotional { notional: over.clone(), limit })
    );
    db.tenant_tx("delete", &home.context, async |tx| {
        tx.entitlements().delete(home.user).await?;
        assert!(matches!(tx.entitlements().delete(home.user).await, Err(Error::NotFound { .. })));
        assert!(matches!(tx.entitlements().find(home.user).await, Err(Error::NotFound { .. })));
        Ok(())
    })
    .await
    .unwrap();
}

#[rstest]
#[tokio::test]
async fn bad_entitlements_are_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let set = async |who: UserId, new: NewEntitlement<'_>| -> Result<_> {
        db.tenant_tx("set", &home.context, async |tx| tx.entitlements().set(who, &new).await).await
    };
    let bad = NewEntitlement {
        asset_classes: &[""],
        max_notional: Some(BigDecimal::from(-1)),
        rfq_rate_limit: -1,
        ..NewEntitlement::default()
    };
    assert_eq!(
        set(home.user, bad).await.unwrap_err().to_string(),
        "asset_classes is empty; rfq_rate_limit is -1, allowed is 0 or more; \
         max_notional is -1, allowed is 0 to 10000000000000000, that not included"
    );
    let large = NewEntitlement { max_notional: "9999999999999999.99995".parse().ok(), ..NewEntitlement::default() };
    assert!(matches!(set(home.user, large).await, Err(Error::Invalid { .. })), "it would not fit after rounding");
    let greatest = NewEntitlement { max_notional: "9999999999999999.9999".parse().ok(), ..NewEntitlement::default() };
    set(home.user, greatest).await.unwrap();
    let nobody = set(UserId::new(), NewEntitlement::default()).await;
    assert_eq!(nobody.unwrap_err().to_string(), "user_id refers to a row that does not exist");
}
