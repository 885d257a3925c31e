//! Two at once, about one RFQ. Each test tells its scenario in numbered steps, and holds them with barriers and
//! locks: no sleeps. That somebody waits is read from `pg_stat_activity`.

use std::sync::Arc;

use bedplate::models::{NewRfqQuote, RfqStatus, Side};
use bedplate::{Error, TenantContext};
use bigdecimal::BigDecimal;
use futures_util::future::join_all;
use rstest::rstest;
use tokio::sync::{Barrier, Notify};

use crate::rfq::{find, let_pass, quote, quotes, request, soon, tenant};
use crate::support::{TestDatabase, connection, execute, number, rfq_db, waits_for_lock};

/// 1. An RFQ has eight quotes.
/// 2. Eight accept together, each another one.
/// 3. One wins; the seven losers are told that the RFQ is accepted.
/// 4. One quote is accepted, seven are rejected.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_acceptances_one_wins(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Buy).await;
    let mut live = Vec::new();
    for price in 1..=8 {
        live.push(quote(&db, &context, rfq.id, &price.to_string()).await.unwrap().id); // 1
    }
    let start = Arc::new(Barrier::new(8));
    let acceptances = live.into_iter().map(|id| {
        let (database, context, start) = (db.database.clone(), context.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            // 2
            database.rfq().tenant_tx("accept", &context, async move |tx| tx.rfq_quotes().accept(id).await).await
        })
    });
    let outcomes: Vec<_> = join_all(acceptances).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(error, Error::WrongState { entity: "rfq", state, .. } if state == "accepted"), "3: {error:?}");
    }
    let quotes = quotes(&db, &context, &rfq).await;
    assert_eq!(quotes.iter().filter(|quote| quote.ends_with(" accepted")).count(), 1, "4: {quotes:?}");
    assert_eq!(quotes.iter().filter(|quote| quote.ends_with(" rejected")).count(), 7, "{quotes:?}");
}

/// 1. A accepts a quote in a transaction that stays open.
/// 2. B accepts another one, and waits for the RFQ.
/// 3. A fails after all: what it did is undone.
/// 4. B wins.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_wins_where_the_first_fails(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Buy).await;
    let a = quote(&db, &context, rfq.id, "1").await.unwrap().id;
    let b = quote(&db, &context, rfq.id, "2").await.unwrap().id;
    let accepted = Arc::new(Notify::new());
    let second = {
        let (database, context, accepted) = (db.database.clone(), context.clone(), accepted.clone());
        tokio::spawn(async move {
            accepted.notified().await;
            database.rfq().tenant_tx("b.accepts", &context, async move |tx| tx.rfq_quotes().accept(b).await).await // 2
        })
    };
    let first = db
        .rfq()
        .tenant_tx("a.accepts", &context, async |tx| {
            tx.rfq_quotes().accept(a).await?; // 1
            accepted.notify_one();
            waits_for_lock(&db, "b.accepts").await;
            Err::<(), _>(Error::invalid("nothing", "changed its mind")) // 3
        })
        .await;
    assert!(first.is_err());
    assert_eq!(second.await.unwrap().unwrap().id, b);
    assert_eq!(quotes(&db, &context, &rfq).await, ["1 rejected", "2 accepted"]); // 4
}

/// Who ends an RFQ while a quote is on its way.
#[derive(Clone, Copy)]
enum End {
    Accept,
    Cancel,
    Expire,
}

/// 1. A venue's quote is written in a transaction that stays open.
/// 2. Meanwhile the RFQ is accepted with another quote, cancelled, or expired; the first two wait for its row, the
///    third one skips it and does so again when it is free.
/// 3. The quote's transaction commits.
/// 4. The quote has ended with its RFQ: none stays live.
#[rstest]
#[case::accept(End::Accept, RfqStatus::Accepted, ["1 accepted", "2 rejected"])]
#[case::cancel(End::Cancel, RfqStatus::Cancelled, ["1 rejected", "2 rejected"])]
#[case::expire(End::Expire, RfqStatus::Expired, ["1 expired", "2 expired"])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_quote_stays_live_when_its_rfq_ends(
    #[future(awt)] rfq_db: TestDatabase,
    #[case] end: End,
    #[case] status: RfqStatus,
    #[case] expected: [&str; 2],
) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Buy).await;
    let first = quote(&db, &context, rfq.id, "1").await.unwrap().id;
    let written = Arc::new(Notify::new());
    let ends = {
        let (database, context, written) = (db.database.clone(), context.clone(), written.clone());
        tokio::spawn(async move {
            written.notified().await;
            let work = async move |tx: bedplate::RfqTx| match end {
                End::Accept => tx.rfq_quotes().accept(first).await.map(drop),
                End::Cancel => tx.rfqs().cancel(rfq.id).await.map(drop),
                End::Expire => Ok(()),
            };
            database.rfq().tenant_tx("ends", &context, work).await // 2
        })
    };
    let (price, quantity) = (BigDecimal::from(2), BigDecimal::from(1));
    let new =
        NewRfqQuote { rfq_id: rfq.id, venue_code: "XLON", price: &price, quantity: &quantity, valid_until: soon() };
    db.rfq()
        .tenant_tx("quotes", &context, async |tx| {
            tx.rfq_quotes().create(new).await?; // 1
            written.notify_one();
            if matches!(end, End::Expire) {
                assert_eq!(db.rfq().expire(&context, 10).await?, (0, 0), "its row is locked, or it is not over");
            } else {
                waits_for_lock(&db, "ends").await;
            }
            Ok(()) // 3
        })
        .await
        .unwrap();
    ends.await.unwrap().unwrap();
    if matches!(end, End::Expire) {
        let_pass(&db, "rfqs", "expires_at").await;
        assert_eq!(db.rfq().expire(&context, 10).await.unwrap(), (1, 0));
    }
    assert_eq!(quotes(&db, &context, &rfq).await, expected); // 4
    assert_eq!(find(&db, &context, rfq.id).await.status, status);
}

/// 1. An RFQ is accepted in a transaction that stays open.
/// 2. A venue quotes meanwhile, and waits for the RFQ.
/// 3. The acceptance commits.
/// 4. The venue is told that the RFQ is accepted; its quote is not there.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_that_comes_too_late_is_refused(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Sell).await;
    let live = quote(&db, &context, rfq.id, "1").await.unwrap().id;
    let accepted = Arc::new(Notify::new());
    let late = {
        let (database, context, accepted) = (db.database.clone(), context.clone(), accepted.clone());
        tokio::spawn(async move {
            accepted.notified().await;
            let (price, quantity) = (BigDecimal::from(2), BigDecimal::from(1));
            let new = NewRfqQuote {
                rfq_id: rfq.id,
                venue_code: "XLON",
                price: &price,
                quantity: &quantity,
                valid_until: soon(),
            };
            database.rfq().tenant_tx("late", &context, async |tx| tx.rfq_quotes().create(new).await).await // 2
        })
    };
    db.rfq()
        .tenant_tx("accepts", &context, async |tx| {
            tx.rfq_quotes().accept(live).await?; // 1
            accepted.notify_one();
            waits_for_lock(&db, "late").await;
            Ok(()) // 3
        })
        .await
        .unwrap();
    let error = late.await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::WrongState { state, .. } if state == "accepted"), "4: {error:?}");
    assert_eq!(quotes(&db, &context, &rfq).await, ["1 accepted"]);
}

/// 1. An RFQ that lasts for another moment is locked by somebody.
/// 2. A quote is accepted, and waits for it.
/// 3. The moment passes while it waits: the RFQ's row is committed with a time that is over.
/// 4. The acceptance is refused: the clock counts after the lock, not before.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_counts_after_the_lock(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let rfq = request(&db, &context, Side::Buy).await;
    let live = quote(&db, &context, rfq.id, "1").await.unwrap().id;
    let mut owner = connection(&db.url).await;
    // Times of the middle of this transaction: later than the acceptance's now(), earlier than its clock.
    execute(&mut owner, "SET ROLE bedplate_system; BEGIN; SELECT FROM rfqs FOR UPDATE").await; // 1
    let acceptance = {
        let (database, context) = (db.database.clone(), context.clone());
        tokio::spawn(async move {
            database.rfq().tenant_tx("accepts", &context, async move |tx| tx.rfq_quotes().accept(live).await).await // 2
        })
    };
    waits_for_lock(&db, "accepts").await;
    execute(
        &mut owner,
        "UPDATE rfqs SET created_at = now() - interval '1 hour', expires_at = clock_timestamp(); COMMIT", // 3
    )
    .await;
    let error = acceptance.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), format!("rfq {} is expired: accept is not possible", rfq.id)); // 4
}

/// 1. Sixty RFQs are over, each with a quote.
/// 2. Four expire them together, in small batches.
/// 3. Each was expired once, nobody waited for another, no quote is left.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn expirers_side_by_side_share_the_work(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    let mut owner = connection(&db.url).await;
    let id = context.tenant_id();
    // 1
    execute(
        &mut owner,
        &format!(
            "SET ROLE bedplate_system; \
             INSERT INTO rfqs (tenant_id, id, instrument_symbol, side, quantity, status, requested_by, created_at, expires_at) \
             SELECT '{id}', md5('r' || n)::uuid, 'AAPL', 'buy', 1, 'quoted', '{id}', now() - interval '2 h', now() - n * interval '1 minute' \
               FROM generate_series(1, 60) AS n; \
             INSERT INTO rfq_quotes (tenant_id, rfq_id, venue_code, price, quantity, valid_until) \
             SELECT tenant_id, id, 'XNAS', 1, 1, now() + interval '1 hour' FROM rfqs"
        ),
    )
    .await;
    // 2
    let start = Arc::new(Barrier::new(4));
    let expirers = (0..4).map(|_| {
        let (database, context, start) = (db.database.clone(), context.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            let mut mine = 0;
            loop {
                let expired =
                    database.rfq().tenant_tx("expire", &context, async |tx| tx.rfqs().expire(3).await).await.unwrap();
                mine += expired.len();
                if expired.is_empty() {
                    return mine;
                }
            }
        })
    });
    let expired: usize = join_all(expirers).await.into_iter().map(Result::unwrap).sum();
    // 3
    assert_eq!(expired, 60);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM rfqs WHERE status = 'expired'").await, 60);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM rfq_quotes WHERE status = 'expired'").await, 60);
    let twice = "SELECT count(*) FROM audit_log WHERE entity_type = 'rfqs' AND action = 'update'";
    assert_eq!(number(&mut owner, twice).await, 60);
}

/// 1. An RFQ is over; somebody holds its row.
/// 2. It is expired meanwhile: that does not wait, and leaves it out.
/// 3. The row is free: it expires.
#[rstest]
#[tokio::test]
async fn an_expirer_does_not_wait(#[future(awt)] rfq_db: TestDatabase) {
    let (db, context) = (rfq_db, tenant());
    request(&db, &context, Side::Buy).await;
    let_pass(&db, "rfqs", "expires_at").await;
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system; BEGIN; SELECT FROM rfqs FOR UPDATE").await; // 1
    let expire = async |context: &TenantContext| db.rfq().expire(context, 10).await.unwrap();
    assert_eq!(expire(&context).await, (0, 0)); // 2
    execute(&mut owner, "COMMIT").await;
    assert_eq!(expire(&context).await, (1, 0)); // 3
}
