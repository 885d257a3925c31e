//! Loading prices by COPY: all or nothing, and the wrong row is named.

use bedplate::Error;
use bedplate::models::NewPriceTick;
use bigdecimal::BigDecimal;
use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;

use crate::marketdata::{instruments, tick};
use crate::support::{TestDatabase, connection, execute, marketdata_db, number, texts, until};

fn decimal(text: &str) -> BigDecimal {
    text.parse().unwrap()
}

/// Every kind of number, to the digit, and every field that may be missing.
#[rstest]
#[tokio::test]
async fn what_is_loaded_is_what_was_given(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    instruments(&db, &["A"]).await;
    let start: DateTime<Utc> = "1999-12-31T23:59:59.999999Z".parse().unwrap();
    let numbers = [
        "0",
        "1",
        "-1",
        "0.00000001",
        "-0.00000001",
        "0.1",
        "9999",
        "10000",
        "10000.0001",
        "123456789012.12345678",
        "-999999999999.99999999",
        "100000000",
        "1e11",
        "5e-8",
        "1.50000000000",
        "-37.63",
    ];
    let ticks: Vec<_> = numbers
        .iter()
        .zip(0..)
        .map(|(number, n)| NewPriceTick {
            instrument_symbol: "A",
            ts: start + TimeDelta::microseconds(n),
            bid: (n % 3 != 0).then(|| decimal(number)),
            ask: Some(decimal(number)),
            last: None,
            volume: (n % 2 != 0).then(|| decimal("1234567890123456.0001")),
        })
        .collect();
    assert_eq!(db.marketdata().load_price_ticks(ticks.clone(), |_| {}).await.unwrap(), 16);
    let read = db
        .marketdata()
        .read_tx("range", async |tx| {
            tx.price_ticks()
                .range("A", start, start + TimeDelta::seconds(1), &bedplate::models::PageRequest::default())
                .await
        })
        .await
        .unwrap();
    let read: Vec<_> = read
        .items
        .iter()
        .map(|it| (it.ts, it.bid.clone(), it.ask.clone(), it.last.clone(), it.volume.clone()))
        .collect();
    let given: Vec<_> = ticks.into_iter().map(|it| (it.ts, it.bid, it.ask, it.last, it.volume)).collect();
    assert_eq!(read, given);
    // And as the server itself writes them.
    let mut owner = connection(&db.url).await;
    let asks = texts(&mut owner, "SELECT trim_scale(ask) FROM price_ticks ORDER BY ts").await;
    let plain: Vec<_> =
        numbers.iter().map(|it| it.parse::<BigDecimal>().unwrap().normalized().to_plain_string()).collect();
    assert_eq!(asks, plain);
}

/// Many days, with and without a partition, many messages; progress grows to the end.
#[rstest]
#[tokio::test]
async fn many_days_are_loaded_at_once(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    instruments(&db, &["A", "B"]).await;
    let midnight = Utc::now().date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc();
    // Ten days of ticks by the minute, for two instruments.
    let ticks = (0..14_400).flat_map(|n| {
        let ts = midnight - TimeDelta::days(6) + TimeDelta::minutes(n);
        [tick("A", ts, n), tick("B", ts, n)]
    });
    let mut told = Vec::new();
    assert_eq!(db.marketdata().load_price_ticks(ticks, |rows| told.push(rows)).await.unwrap(), 28_800);
    assert!(told.len() > 10 && told.is_sorted() && told.last() == Some(&28_800), "{told:?}");
    let mut owner = connection(&db.url).await;
    // Today and three days ahead have partitions; six days before wait in the default one.
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks_default").await, 6 * 2880);
    assert_eq!(number(&mut owner, "SELECT count(DISTINCT tableoid) FROM price_ticks").await, 5);
    let keep = bedplate::database::maintain::Keep::default();
    let config = crate::support::database::config(&db.url);
    let made = bedplate::database::maintain::run_marketdata(&config, keep, |_| {}).await.unwrap();
    assert_eq!(made.partitions_created.len(), 6);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks").await, 28_800);
}

/// The 20,001st row is wrong, long after the first message was sent: it is named, and nothing is there.
#[rstest]
#[case::unknown(|t: &mut NewPriceTick<'static>| t.instrument_symbol = "NOPE", "instrument_symbol \"NOPE\" is no instrument")]
#[case::no_price(|t: &mut NewPriceTick<'static>| t.last = None, "last is missing, and so are bid and ask")]
#[case::digits(|t: &mut NewPriceTick<'static>| t.bid = Some(decimal("0.123456789")), "bid has 9 digits after the point, allowed are 8")]
#[case::large(|t: &mut NewPriceTick<'static>| t.ask = Some(decimal("1e12")), "ask is too large: allowed are 12 digits before the point")]
#[case::negative(|t: &mut NewPriceTick<'static>| t.volume = Some(decimal("-1")), "volume is less than 0")]
#[case::there_already(|t: &mut NewPriceTick<'static>| t.ts = start(), "ts is in conflict with another row (price_ticks_pkey)")]
#[case::too_early(|t: &mut NewPriceTick<'static>| t.ts = DateTime::<Utc>::MIN_UTC, "timestamp out of range")]
#[tokio::test]
async fn a_wrong_row_is_named_and_nothing_is_loaded(
    #[future(awt)] marketdata_db: TestDatabase,
    #[case] spoil: impl FnOnce(&mut NewPriceTick<'static>),
    #[case] message: &str,
) {
    let db = marketdata_db;
    instruments(&db, &["A"]).await;
    let mut ticks: Vec<_> = (0..30_000).map(|n| tick("A", start() + TimeDelta::seconds(n), n)).collect();
    spoil(&mut ticks[20_000]);
    let error = db.marketdata().load_price_ticks(ticks, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Row { row: 20_001, .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("row 20001: {message}; nothing was loaded"));
    let mut owner = connection(&db.url).await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks").await, 0);
}

fn start() -> DateTime<Utc> {
    "2026-01-05T09:00:00Z".parse().unwrap()
}

/// A load that is sent twice is refused the second time, and the first one stays.
#[rstest]
#[tokio::test]
async fn the_same_load_twice_is_refused(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    instruments(&db, &["A"]).await;
    let ticks: Vec<_> = (0..10).map(|n| tick("A", start() + TimeDelta::seconds(n), n)).collect();
    assert_eq!(db.marketdata().load_price_ticks(ticks.clone(), |_| {}).await.unwrap(), 10);
    let error = db.marketdata().load_price_ticks(ticks, |_| {}).await.unwrap_err();
    assert!(matches!(&error, Error::Row { row: 1, error } if matches!(**error, Error::Conflict { .. })), "{error:?}");
    assert_eq!(db.marketdata().load_price_ticks(Vec::<NewPriceTick<'_>>::new(), |_| {}).await.unwrap(), 0);
    assert_eq!(number(&mut connection(&db.url).await, "SELECT count(*) FROM price_ticks").await, 10);
}

/// 1. A load is half sent, and given up: its future is dropped.
/// 2. Its connection ends, and nothing of it is there.
#[rstest]
#[tokio::test]
async fn a_load_that_is_given_up_was_never_there(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    instruments(&db, &["A"]).await;
    let (sent, half) = tokio::sync::oneshot::channel();
    let mut sent = Some(sent);
    let endless = (0..).map(|n| tick("A", start() + TimeDelta::seconds(n), n));
    let load = db.marketdata().load_price_ticks(endless, |_| {
        if let Some(sent) = sent.take() {
            let _ = sent.send(());
        }
    });
    tokio::select! {
        _ = load => panic!("it has no end"),
        half = half => half.unwrap(), // 1
    }
    let mut owner = connection(&db.url).await;
    let gone = "SELECT (NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'marketdata.load'))::int";
    until(&mut owner, gone).await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks").await, 0); // 2
}

/// 1. A load is at work in a day that has no partition.
/// 2. `maintain` makes the day, and waits for it.
/// 3. The load commits; the day is made, with its prices.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_made_while_a_load_is_at_work(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    instruments(&db, &["A"]).await;
    let mut loader = connection(&db.url).await;
    execute(
        &mut loader,
        "BEGIN; SET LOCAL ROLE bedplate_system; \
         INSERT INTO price_ticks (instrument_symbol, ts, last) VALUES ('A', '2026-01-05 09:00:00+00', 1)",
    )
    .await; // 1
    let making = {
        let url = db.url.clone();
        tokio::spawn(async move {
            let mut owner = connection(&url).await;
            execute(&mut owner, "SET application_name = 'making'").await;
            texts(&mut owner, "SELECT create_price_tick_partition('2026-01-05')").await // 2
        })
    };
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name = 'making' AND wait_event_type = 'Lock'";
    let mut owner = connection(&db.url).await;
    until(&mut owner, waits).await;
    execute(&mut loader, "COMMIT").await;
    assert_eq!(making.await.unwrap(), ["true"]); // 3
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks_2026_01_05").await, 1);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks_default").await, 0);
}
