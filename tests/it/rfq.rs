//! Requests for quotes: what can be done with them, what is refused, and what each role may do.

use std::collections::BTreeSet;

use bedplate::database::DatabaseName;
use bedplate::models::{
    AuditFilter, NewRfq, NewRfqQuote, PageRequest, Rfq, RfqFilter, RfqId, RfqQuote, RfqQuoteId, RfqQuoteStatus,
    RfqStatus, Side, TenantId, UserId,
};
use bedplate::{Config, Database, Environment, Error, Result, TenantContext};
use bigdecimal::BigDecimal;
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;
use serde_json::json;

use crate::support::database::config;
use crate::support::server::server;
use crate::support::{TestDatabase, connection, execute, rfq_db, texts};

pub fn tenant() -> TenantContext {
    TenantContext::new(TenantId::new()).acting_as(UserId::new())
}

pub fn soon() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

/// An open RFQ of the context's user.
pub async fn request(db: &TestDatabase, context: &TenantContext, side: Side) -> Rfq {
    let quantity = BigDecimal::from(100);
    let new = NewRfq {
        instrument_symbol: "AAPL",
        side,
        quantity: &quantity,
        requested_by: context.user_id().unwrap(),
        expires_at: soon(),
    };
    db.rfq().tenant_tx("tests.rfq", context, async |tx| tx.rfqs().create(new).await).await.unwrap()
}

/// A live quote at a price.
pub async fn quote(db: &TestDatabase, context: &TenantContext, rfq: RfqId, price: &str) -> Result<RfqQuote> {
    let (price, quantity) = (price.parse().unwrap(), BigDecimal::from(100));
    let new = NewRfqQuote { rfq_id: rfq, venue_code: "XNAS", price: &price, quantity: &quantity, valid_until: soon() };
    db.rfq().tenant_tx("tests.quote", context, async |tx| tx.rfq_quotes().create(new).await).await
}

pub async fn find(db: &TestDatabase, context: &TenantContext, id: RfqId) -> Rfq {
    db.rfq().tenant_tx("tests.find", context, async |tx| tx.rfqs().find(id).await).await.unwrap()
}

pub async fn accept(db: &TestDatabase, context: &TenantContext, id: RfqQuoteId) -> Result<RfqQuote> {
    db.rfq().tenant_tx("tests.accept", context, async |tx| tx.rfq_quotes().accept(id).await).await
}

/// The quotes' prices and statuses, the best price first.
pub async fn quotes(db: &TestDatabase, context: &TenantContext, rfq: &Rfq) -> Vec<String> {
    let quotes = db.rfq().tenant_tx("tests.quotes", context, async |tx| tx.rfq_quotes().list_by_rfq(rfq).await);
    quotes.await.unwrap().iter().map(|quote| format!("{} {}", quote.price.normalized(), quote.status)).collect()
}

/// Moves times as the system, which may: they were in the past all along.
pub async fn let_pass(db: &TestDatabase, table: &str, column: &str) {
    execute(
        &mut connection(&db.url).await,
        &format!(
            "SET ROLE bedplate_system; UPDATE {table} SET created_at = now() - interval '2 hours', \
             {column} = now() - interval '1 hour'"
        ),
    )
    .await;
}

#[rstest]
#[case::buy(Side::Buy, ["9.5 accepted", "9.75 rejected", "10 rejected"])]
#[case::sell(Side::Sell, ["10 rejected", "9.75 rejected", "9.5 accepted"])]
#[tokio::test]
async fn an_rfq_is_quoted_and_one_quote_accepted(
    #[future(awt)] rfq_db: TestDatabase,
    #[case] side: Side,
    #[case] expected: [&str; 3],
) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, side).await;
    assert_eq!((rfq.status, Some(rfq.requested_by)), (RfqStatus::Open, context.user_id()));
    let best = quote(&db, &context, rfq.id, "9.5").await.unwrap();
    for price in ["10", "9.75"] {
        assert_eq!(quote(&db, &context, rfq.id, price).await.unwrap().status, RfqQuoteStatus::Live);
    }
    assert_eq!(find(&db, &context, rfq.id).await.status, RfqStatus::Quoted);
    let accepted = accept(&db, &context, best.id).await.unwrap();
    assert_eq!((accepted.id, accepted.status), (best.id, RfqQuoteStatus::Accepted));
    assert_eq!(find(&db, &context, rfq.id).await.status, RfqStatus::Accepted);
    assert_eq!(quotes(&db, &context, &rfq).await, expected);
    // It has ended: nothing more can be done with it.
    let cancel = db.rfq().tenant_tx("cancel", &context, async |tx| tx.rfqs().cancel(rfq.id).await).await;
    for error in [
        accept(&db, &context, best.id).await.unwrap_err(),
        quote(&db, &context, rfq.id, "9").await.unwrap_err(),
        cancel.unwrap_err(),
    ] {
        assert!(error.to_string().starts_with(&format!("rfq {} is accepted: ", rfq.id)), "{error}");
    }
}

/// Of equal prices the earliest comes first, for either side.
#[rstest]
#[tokio::test]
async fn equal_prices_come_in_the_order_of_their_time(
    #[future(awt)] rfq_db: TestDatabase,
    #[values(Side::Buy, Side::Sell)] side: Side,
) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, side).await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(quote(&db, &context, rfq.id, "-3.00000001").await.unwrap().id);
    }
    let listed = db.rfq().tenant_tx("list", &context, async |tx| tx.rfq_quotes().list_by_rfq(&rfq).await);
    assert_eq!(listed.await.unwrap().iter().map(|quote| quote.id).collect::<Vec<_>>(), expected);
}

#[rstest]
#[tokio::test]
async fn bad_input_is_told_with_every_rule_it_breaks(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let good = NewRfq {
        instrument_symbol: "EUR/USD",
        side: Side::Buy,
        quantity: &BigDecimal::from(1),
        requested_by: context.user_id().unwrap(),
        expires_at: soon(),
    };
    let create = async |new| db.rfq().tenant_tx("create", &context, async |tx| tx.rfqs().create(new).await).await;
    create(good).await.unwrap();
    for (new, message) in [
        (
            NewRfq { instrument_symbol: " ", quantity: &BigDecimal::from(0), ..good },
            "instrument_symbol is empty; quantity is not greater than 0",
        ),
        (
            NewRfq { quantity: &"0.00001".parse().unwrap(), ..good },
            "quantity has 5 digits after the point, allowed are 4",
        ),
        (
            NewRfq { instrument_symbol: "eur/usd", ..good },
            "instrument_symbol is not allowed (rfqs_instrument_symbol_check)",
        ),
        (
            NewRfq { expires_at: Utc::now() - TimeDelta::seconds(1), ..good },
            "expires_at is not allowed (rfqs_expires_at_check)",
        ),
    ] {
        let error = create(new).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert_eq!(error.to_string(), message);
    }
    let rfq = request(&db, &context, Side::Buy).await;
    let (large, negative) = ("1e12".parse().unwrap(), BigDecimal::from(-1));
    let good = NewRfqQuote {
        rfq_id: rfq.id,
        venue_code: "XNAS",
        price: &BigDecimal::from(1),
        quantity: &BigDecimal::from(1),
        valid_until: soon(),
    };
    let create = async |new| db.rfq().tenant_tx("quote", &context, async |tx| tx.rfq_quotes().create(new).await).await;
    for (new, message) in [
        (
            NewRfqQuote { venue_code: "XNA", price: &large, quantity: &negative, ..good },
            "venue_code has 3 characters, allowed are 4 to 4; price is too large: allowed are 12 digits before the \
             point; quantity is not greater than 0",
        ),
        (NewRfqQuote { venue_code: "xnas", ..good }, "venue_code is not allowed (rfq_quotes_venue_code_check)"),
        (
            NewRfqQuote { valid_until: Utc::now() - TimeDelta::seconds(1), ..good },
            "valid_until is not allowed (rfq_quotes_valid_until_check)",
        ),
    ] {
        assert_eq!(create(new).await.unwrap_err().to_string(), message);
    }
    assert!(matches!(create(NewRfqQuote { rfq_id: RfqId::new(), ..good }).await, Err(Error::NotFound { .. })));
    assert_eq!(find(&db, &context, rfq.id).await.status, RfqStatus::Open, "nothing of it was written");
}

#[rstest]
#[tokio::test]
async fn lists_have_filters_and_pages(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let mut all = Vec::new();
    for n in 0..5 {
        let quantity = BigDecimal::from(1);
        let new = NewRfq {
            instrument_symbol: if n % 2 == 0 { "AAPL" } else { "GC" },
            side: Side::Buy,
            quantity: &quantity,
            requested_by: if n < 3 { context.user_id().unwrap() } else { UserId::new() },
            // Those that were made last expire first.
            expires_at: soon() - TimeDelta::minutes(n),
        };
        all.push(db.rfq().tenant_tx("create", &context, async |tx| tx.rfqs().create(new).await).await.unwrap().id);
    }
    db.rfq().tenant_tx("cancel", &context, async |tx| tx.rfqs().cancel(all[4]).await).await.unwrap();
    request(&db, &tenant(), Side::Buy).await;
    let newest = |which: &[usize]| which.iter().map(|n| all[*n]).collect::<Vec<_>>();
    let listed = async |filter: RfqFilter| {
        let (mut ids, mut page) = (Vec::new(), PageRequest::first(2));
        loop {
            let found =
                db.rfq().tenant_tx("list", &context, async |tx| tx.rfqs().list(&filter, &page).await).await.unwrap();
            ids.extend(found.items.iter().map(|rfq| rfq.id));
            match found.next {
                Some(next) => page.after = Some(next),
                None => return ids,
            }
        }
    };
    let any = RfqFilter::default;
    assert_eq!(listed(any()).await, newest(&[4, 3, 2, 1, 0]));
    assert_eq!(listed(RfqFilter { status: Some(RfqStatus::Open), ..any() }).await, newest(&[3, 2, 1, 0]));
    assert_eq!(listed(RfqFilter { requested_by: context.user_id(), ..any() }).await, newest(&[2, 1, 0]));
    assert_eq!(listed(RfqFilter { instrument_symbol: Some("AAPL".into()), ..any() }).await, newest(&[4, 2, 0]));
    let mut page = PageRequest::first(3);
    let mut expiring = Vec::new();
    for _ in 0..2 {
        let found =
            db.rfq().tenant_tx("expiring", &context, async |tx| tx.rfqs().list_expiring(&page).await).await.unwrap();
        expiring.extend(found.items.iter().map(|rfq| rfq.id));
        page.after = found.next;
    }
    assert_eq!(expiring, newest(&[3, 2, 1, 0]), "the cancelled one is not among them");
    assert!(page.after.is_none());
    let wrong = PageRequest { limit: 1, after: Some(bedplate::models::Cursor::from_client("x")) };
    let error = db.rfq().tenant_tx("list", &context, async |tx| tx.rfqs().list_expiring(&wrong).await).await;
    assert_eq!(error.unwrap_err().to_string(), "cursor does not belong to this list");
}

#[rstest]
#[tokio::test]
async fn a_cancelled_rfq_rejects_its_quotes(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Buy).await;
    let live = quote(&db, &context, rfq.id, "9").await.unwrap();
    let cancelled = db.rfq().tenant_tx("cancel", &context, async |tx| tx.rfqs().cancel(rfq.id).await).await.unwrap();
    assert_eq!(cancelled.status, RfqStatus::Cancelled);
    assert_eq!(quotes(&db, &context, &rfq).await, ["9 rejected"]);
    let error = accept(&db, &context, live.id).await.unwrap_err();
    assert_eq!(error.to_string(), format!("rfq {} is cancelled: accept is not possible", rfq.id));
    let unknown = db.rfq().tenant_tx("cancel", &context, async |tx| tx.rfqs().cancel(RfqId::new()).await).await;
    assert!(matches!(unknown, Err(Error::NotFound { entity: "rfq", .. })), "{unknown:?}");
    let unknown = accept(&db, &context, RfqQuoteId::new()).await;
    assert!(matches!(unknown, Err(Error::NotFound { entity: "rfq_quote", .. })), "{unknown:?}");
}

/// What is over is refused before anybody has expired it: the database's clock tells.
#[rstest]
#[case::rfq("rfqs", "expires_at")]
#[case::quote("rfq_quotes", "valid_until")]
#[tokio::test]
async fn what_is_over_is_not_accepted(#[future(awt)] rfq_db: TestDatabase, #[case] table: &str, #[case] column: &str) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Buy).await;
    let late = quote(&db, &context, rfq.id, "9").await.unwrap();
    let_pass(&db, table, column).await;
    let error = accept(&db, &context, late.id).await.unwrap_err();
    let another = quote(&db, &context, rfq.id, "8").await;
    if table == "rfqs" {
        assert_eq!(error.to_string(), format!("rfq {} is expired: accept is not possible", rfq.id));
        assert_eq!(another.unwrap_err().to_string(), format!("rfq {} is expired: quote is not possible", rfq.id));
    } else {
        assert_eq!(error.to_string(), format!("rfq_quote {} is expired: accept is not possible", late.id));
        // The RFQ goes on: another quote is accepted, and the late one does not hold it up.
        accept(&db, &context, another.unwrap().id).await.unwrap();
        assert_eq!(quotes(&db, &context, &rfq).await, ["8 accepted", "9 rejected"]);
    }
}

/// In batches that are smaller than what there is; of this tenant alone; with the quotes.
#[rstest]
#[tokio::test]
async fn what_is_over_expires_in_batches(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context, other) = (rfq_db, tenant(), tenant());
    let mut over = Vec::new();
    for _ in 0..7 {
        over.push(request(&db, &context, Side::Buy).await);
    }
    for rfq in &over[..3] {
        quote(&db, &context, rfq.id, "9").await.unwrap();
    }
    let foreign = request(&db, &other, Side::Buy).await;
    let_pass(&db, "rfqs", "expires_at").await;
    let lasting = request(&db, &context, Side::Buy).await;
    quote(&db, &context, lasting.id, "7").await.unwrap();
    let late = format!(
        "SET ROLE bedplate_system; UPDATE rfq_quotes SET created_at = now() - interval '2 hours', \
         valid_until = now() - interval '1 hour' WHERE rfq_id = '{}'",
        lasting.id
    );
    execute(&mut connection(&db.url).await, &late).await;
    quote(&db, &context, lasting.id, "8").await.unwrap();

    let first = db.rfq().tenant_tx("expire", &context, async |tx| tx.rfqs().expire(2).await).await.unwrap();
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|rfq| rfq.status == RfqStatus::Expired));
    assert_eq!(db.rfq().expire(&context, 2).await.unwrap(), (5, 1));
    assert_eq!(db.rfq().expire(&context, 2).await.unwrap(), (0, 0));
    for rfq in &over {
        assert_eq!(find(&db, &context, rfq.id).await.status, RfqStatus::Expired);
    }
    assert_eq!(quotes(&db, &context, &over[0]).await, ["9 expired"]);
    assert_eq!(quotes(&db, &context, &lasting).await, ["7 expired", "8 live"]);
    assert_eq!(find(&db, &context, lasting.id).await.status, RfqStatus::Quoted);
    assert_eq!(find(&db, &other, foreign.id).await.status, RfqStatus::Open);
}

/// The states that Rust allows are those that the triggers allow.
#[rstest]
#[tokio::test]
async fn transitions(#[future(awt)] rfq_db: TestDatabase) {
    fn pairs<S: Copy + ToString>(all: &[S], can_become: impl Fn(S, S) -> bool) -> BTreeSet<String> {
        let every = all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to)));
        let allowed = every.filter(|(from, to)| can_become(*from, *to));
        allowed.map(|(from, to)| format!("{}>{}", from.to_string(), to.to_string())).collect()
    }
    let mut owner = connection(&rfq_db.url).await;
    let triggers = texts(
        &mut owner,
        "SELECT encode(tgargs, 'escape') FROM pg_trigger WHERE tgname = 'refuse_illegal_transition' ORDER BY 1",
    )
    .await;
    let found: Vec<_> = triggers
        .iter()
        .map(|arguments| {
            let mut arguments = arguments.split("\\000").filter(|argument| !argument.is_empty()).map(str::to_owned);
            (arguments.next().unwrap(), arguments.collect::<BTreeSet<_>>())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("rfq_quotes".to_owned(), pairs(RfqQuoteStatus::ALL, RfqQuoteStatus::can_become)),
            ("rfqs".to_owned(), pairs(RfqStatus::ALL, RfqStatus::can_become)),
        ]
    );
}

/// Nothing of another tenant is found, by any method.
#[rstest]
#[tokio::test]
async fn nothing_of_another_tenant_is_found(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context, other) = (rfq_db, tenant(), tenant());
    let rfq = request(&db, &other, Side::Buy).await;
    let live = quote(&db, &other, rfq.id, "9").await.unwrap();
    for error in [
        db.rfq().tenant_tx("find", &context, async |tx| tx.rfqs().find(rfq.id).await).await.map(drop),
        db.rfq().tenant_tx("cancel", &context, async |tx| tx.rfqs().cancel(rfq.id).await).await.map(drop),
        db.rfq().tenant_tx("find", &context, async |tx| tx.rfq_quotes().find(live.id).await).await.map(drop),
        quote(&db, &context, rfq.id, "8").await.map(drop),
        accept(&db, &context, live.id).await.map(drop),
    ] {
        assert!(matches!(error, Err(Error::NotFound { .. })), "{error:?}");
    }
    assert_eq!(quotes(&db, &context, &rfq).await, Vec::<String>::new());
    assert_eq!(quotes(&db, &other, &rfq).await, ["9 live"]);
}

/// Who did what, and how it was; the terms of an RFQ and of a quote can be changed by nobody who is no system.
#[rstest]
#[tokio::test]
async fn every_change_is_audited_and_terms_stay_as_they_are(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Buy).await;
    let before = Utc::now();
    let live = quote(&db, &context, rfq.id, "9").await.unwrap();
    accept(&db, &context, live.id).await.unwrap();
    let (entries, was) = db
        .rfq()
        .tenant_tx("audit", &context, async |tx| {
            tx.audit().record("rfqs.looked_at", rfq.id, &json!({"by": "a test"})).await?;
            let filter = AuditFilter { entity: Some(rfq.id.into()), ..AuditFilter::default() };
            let entries = tx.audit().list(&filter, &PageRequest::default()).await?.items;
            Ok((entries, tx.audit().as_of(rfq.id, before).await?.unwrap()))
        })
        .await
        .unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["rfqs.looked_at", "update", "update", "insert"]);
    assert!(entries.iter().all(|entry| entry.user_id == context.user_id()));
    assert_eq!(was["status"], "open");

    let mut app = connection(db.config().url()).await;
    execute(&mut app, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", context.tenant_id())).await;
    for change in [
        "UPDATE rfqs SET quantity = 1",
        "UPDATE rfqs SET expires_at = now() + interval '1 day'",
        "UPDATE rfq_quotes SET price = 1",
        "UPDATE rfq_quotes SET valid_until = now() + interval '1 day'",
        "DELETE FROM rfqs",
        "DELETE FROM rfq_quotes",
    ] {
        let error = Error::from(app.batch_execute(change).await.unwrap_err());
        assert!(matches!(error, Error::Forbidden { .. }), "{change}: {error:?}");
    }
    let reopen = app.batch_execute("UPDATE rfqs SET status = 'open'").await.map_err(Error::from).unwrap_err();
    assert_eq!(reopen.to_string(), "status is not allowed (rfqs_status_transition)");
}

/// Also for a client that knows nothing of the repository.
#[rstest]
#[tokio::test]
async fn the_database_refuses_a_second_accepted_quote(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Buy).await;
    quote(&db, &context, rfq.id, "1").await.unwrap();
    quote(&db, &context, rfq.id, "2").await.unwrap();
    let mut app = connection(db.config().url()).await;
    execute(&mut app, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", context.tenant_id())).await;
    let both = app.batch_execute("UPDATE rfq_quotes SET status = 'accepted'").await.map_err(Error::from).unwrap_err();
    assert_eq!(both.to_string(), "rfq_id is in conflict with another row (rfq_quotes_rfq_id_key)");
}

/// To the letter, columns included: nobody else has a right.
#[rstest]
#[tokio::test]
async fn each_role_may_do_what_it_needs(#[future(awt)] rfq_db: TestDatabase) {
    let mut owner = connection(&rfq_db.url).await;
    let grants = texts(
        &mut owner,
        "SELECT concat_ws(' ', name, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END, \
                          string_agg(privilege_type, ' ' ORDER BY privilege_type)) \
           FROM (SELECT relname::text AS name, relacl AS acl, relowner FROM pg_class WHERE relnamespace = 'public'::regnamespace \
                 UNION ALL SELECT concat(relname, '.', attname), attacl, relowner FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid \
                            WHERE relnamespace = 'public'::regnamespace) AS objects, aclexplode(acl) \
          WHERE grantee <> relowner AND NOT starts_with(name, '__') GROUP BY name, grantee ORDER BY 1",
    )
    .await;
    assert_eq!(
        grants,
        [
            "audit_log bedplate_app SELECT",
            "audit_log bedplate_definer INSERT",
            "audit_log bedplate_system SELECT",
            "outbox_events bedplate_app SELECT",
            "outbox_events bedplate_system DELETE INSERT SELECT UPDATE",
            "outbox_events.available_at bedplate_app INSERT",
            "outbox_events.entity_id bedplate_app INSERT",
            "outbox_events.entity_type bedplate_app INSERT",
            "outbox_events.event_id bedplate_app INSERT",
            "outbox_events.event_type bedplate_app INSERT",
            "outbox_events.id bedplate_app INSERT",
            "outbox_events.payload bedplate_app INSERT",
            "outbox_events.tenant_id bedplate_app INSERT",
            "outbox_stopped_endpoints bedplate_system DELETE INSERT SELECT",
            "processed_events bedplate_app INSERT SELECT",
            "processed_events bedplate_system DELETE INSERT SELECT",
            "rfq_quotes bedplate_app INSERT SELECT",
            "rfq_quotes bedplate_system INSERT SELECT UPDATE",
            "rfq_quotes.status bedplate_app UPDATE",
            "rfqs bedplate_app INSERT SELECT",
            "rfqs bedplate_system INSERT SELECT UPDATE",
            "rfqs.status bedplate_app UPDATE",
        ]
    );
}

/// 1. Neither database beside `main` is there: `main` works.
/// 2. The first use tells which one is missing, and the next one again.
/// 3. A deployment without it says so.
#[rstest]
#[tokio::test]
async fn the_databases_beside_main_are_connected_when_they_are_used(#[future(awt)] rfq_db: TestDatabase) {
    let mut config = config(&rfq_db.url);
    config.elsewhere.clear();
    let database = Database::connect(config.clone()).await.unwrap();
    database.system_tx("main", async |_| Ok(())).await.unwrap(); // 1
    for _ in 0..2 {
        let error = database.rfq().system_tx("rfq", async |_| Ok(())).await.unwrap_err();
        let beside = format!("{}_rfq", rfq_db.url.database());
        assert!(matches!(&error, Error::NoDatabase { database, .. } if *database == beside), "{error:?}"); // 2
    }
    config.databases = vec![DatabaseName::Main];
    let database = Database::connect(config).await.unwrap();
    let error = database.marketdata().read_tx("marketdata", async |_| Ok(())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "this deployment has no database marketdata: BEDPLATE_DATABASES leaves it out" // 3
    );
}

/// A superuser is refused in production at the first use, as for `main`.
#[rstest]
#[tokio::test]
async fn a_login_that_no_policy_binds_is_refused_in_production(#[future(awt)] rfq_db: TestDatabase) {
    let Some(admin) = &server().admin else { return };
    let mut config = Config::new(rfq_db.url.clone(), Environment::Production);
    let owner = admin.with_database(rfq_db.url.database()).unwrap();
    config.elsewhere.insert(DatabaseName::Rfq, bedplate::database::config::Logins { owner, app: None });
    let database = Database::connect(config).await.unwrap();
    let error = database.rfq().system_tx("rfq", async |_| Ok(())).await.unwrap_err();
    assert!(error.to_string().contains("is a superuser"), "{error}");
}

/// As with `main`: spawned, with what the closure borrows.
#[rstest]
#[tokio::test]
async fn futures_can_be_spawned(#[future(awt)] rfq_db: TestDatabase) {
    let (database, context) = (rfq_db.database.clone(), tenant());
    let user = context.user_id().unwrap();
    tokio::spawn(async move {
        let (symbol, quantity) = ("AAPL".to_owned(), BigDecimal::from(5));
        let new = NewRfq {
            instrument_symbol: &symbol,
            side: Side::Sell,
            quantity: &quantity,
            requested_by: user,
            expires_at: soon(),
        };
        database.rfq().tenant_tx("spawned", &context, async |tx| tx.rfqs().create(new).await).await.unwrap();
        database.marketdata().read_tx("spawned", async |_| Ok(())).await.unwrap();
    })
    .await
    .unwrap();
}
