//! Market data: venues and instruments, prices as they are read, and who may do what.

use bedplate::models::{
    AssetClass, InstrumentFilter, InstrumentStatus, NewInstrument, NewPriceTick, NewVenue, PageRequest, PriceTick,
    VenueStatus,
};
use bedplate::{Error, Result};
use bigdecimal::BigDecimal;
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection as _;
use rstest::rstest;

use crate::support::{TestDatabase, connection, execute, marketdata_db, number, texts};

pub const NASDAQ: NewVenue<'_> =
    NewVenue { code: "XNAS", name: "Nasdaq", country: "US", timezone: "America/New_York", status: VenueStatus::Active };

/// A venue, and instruments of it.
pub async fn instruments(db: &TestDatabase, symbols: &[&str]) {
    let one = BigDecimal::from(1);
    db.marketdata()
        .system_tx("tests.instruments", async |tx| {
            tx.venues().upsert(NASDAQ).await?;
            for symbol in symbols {
                tx.instruments().upsert(instrument(symbol, &one)).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
}

fn instrument<'a>(symbol: &'a str, one: &'a BigDecimal) -> NewInstrument<'a> {
    NewInstrument {
        symbol,
        name: "Instrument",
        asset_class: AssetClass::Equity,
        currency: "USD",
        tick_size: one,
        lot_size: one,
        venue_code: "XNAS",
        status: InstrumentStatus::Active,
    }
}

pub fn tick(symbol: &str, ts: DateTime<Utc>, last: i64) -> NewPriceTick<'_> {
    NewPriceTick { instrument_symbol: symbol, ts, bid: None, ask: None, last: Some(last.into()), volume: None }
}

async fn latest(db: &TestDatabase, symbols: &[&str]) -> Vec<String> {
    let ticks = db.marketdata().read_tx("latest", async |tx| tx.price_ticks().latest(symbols).await).await.unwrap();
    ticks.iter().map(|it| format!("{} {}", it.instrument_symbol, it.last.clone().unwrap().normalized())).collect()
}

#[rstest]
#[tokio::test]
async fn venues_are_made_changed_found_and_listed(#[future(awt)] marketdata_db: TestDatabase) {
    use bedplate::models::Upserted::{Inserted, Updated};
    let db = marketdata_db;
    let upsert = async |new| db.marketdata().system_tx("upsert", async |tx| tx.venues().upsert(new).await).await;
    let Inserted(made) = upsert(NASDAQ).await.unwrap() else { panic!("it was not there") };
    let changed = NewVenue { name: "The Nasdaq", status: VenueStatus::Suspended, ..NASDAQ };
    let Updated(venue) = upsert(changed).await.unwrap() else { panic!("it was there") };
    assert_eq!((venue.name.as_str(), venue.status), ("The Nasdaq", VenueStatus::Suspended));
    assert!(venue.created_at == made.created_at && venue.updated_at > made.updated_at);
    upsert(NewVenue { code: "XLON", country: "GB", timezone: "Europe/London", ..NASDAQ }).await.unwrap();
    let (found, all) = db
        .marketdata()
        .read_tx("read", async |tx| Ok((tx.venues().find("XNAS").await?, tx.venues().list().await?)))
        .await
        .unwrap();
    assert_eq!(found, venue);
    assert_eq!(all.iter().map(|venue| venue.code.as_str()).collect::<Vec<_>>(), ["XLON", "XNAS"]);
    for (new, message) in [
        (
            NewVenue { code: "XN", name: " ", country: "USA", timezone: "", ..NASDAQ },
            "code has 2 characters, allowed are 4 to 4; name is empty; country has 3 characters, allowed are 2 to 2; \
             timezone is empty",
        ),
        (NewVenue { code: "xnas", ..NASDAQ }, "code is not allowed (venues_code_check)"),
        (NewVenue { country: "u1", ..NASDAQ }, "country is not allowed (venues_country_check)"),
    ] {
        assert_eq!(upsert(new).await.unwrap_err().to_string(), message);
    }
    let unknown = db.marketdata().read_tx("find", async |tx| tx.venues().find("XXXX").await).await;
    assert_eq!(unknown.unwrap_err().to_string(), "venue XXXX does not exist");
}

#[rstest]
#[tokio::test]
async fn instruments_are_made_changed_found_and_listed(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    let (one, cent) = (BigDecimal::from(1), "0.01".parse::<BigDecimal>().unwrap());
    instruments(&db, &["A", "B", "C"]).await;
    let upsert = async |new| db.marketdata().system_tx("upsert", async |tx| tx.instruments().upsert(new).await).await;
    upsert(NewInstrument { asset_class: AssetClass::Fx, tick_size: &cent, ..instrument("B", &one) }).await.unwrap();
    let list = async |filter: InstrumentFilter, page: PageRequest| -> Result<_> {
        db.marketdata().read_tx("list", async |tx| tx.instruments().list(&filter, &page).await).await
    };
    let symbols = async |filter| {
        let page = list(filter, PageRequest::default()).await.unwrap();
        page.items.into_iter().map(|it| it.symbol).collect::<Vec<_>>()
    };
    assert_eq!(symbols(InstrumentFilter::default()).await, ["A", "B", "C"]);
    assert_eq!(symbols(InstrumentFilter { asset_class: Some(AssetClass::Fx), venue_code: None }).await, ["B"]);
    let nowhere = InstrumentFilter { asset_class: None, venue_code: Some("XLON".into()) };
    assert_eq!(symbols(nowhere).await, Vec::<String>::new());
    let first = list(InstrumentFilter::default(), PageRequest::first(2)).await.unwrap();
    let second = list(InstrumentFilter::default(), PageRequest { limit: 2, after: first.next }).await.unwrap();
    assert_eq!((second.items[0].symbol.as_str(), second.items.len(), second.next), ("C", 1, None));
    let found = db.marketdata().read_tx("find", async |tx| tx.instruments().find("B").await).await.unwrap();
    assert_eq!((found.tick_size, found.asset_class), (cent.clone(), AssetClass::Fx));
    let bad = NewInstrument { symbol: "", currency: "US", tick_size: &(-1).into(), ..instrument("B", &one) };
    for (new, message) in [
        (bad, "symbol is empty; currency has 2 characters, allowed are 3 to 3; tick_size is not greater than 0"),
        (
            NewInstrument { venue_code: "XLON", ..instrument("B", &one) },
            "venue_code refers to a row that does not exist",
        ),
        (NewInstrument { symbol: "a b", ..instrument("B", &one) }, "symbol is not allowed (instruments_symbol_check)"),
    ] {
        assert_eq!(upsert(new).await.unwrap_err().to_string(), message);
    }
}

/// In the order asked for, whatever day the price is of; without one the instrument is left out.
#[rstest]
#[tokio::test]
async fn the_latest_prices_come_in_the_order_asked_for(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    instruments(&db, &["A", "B", "C", "NEVER"]).await;
    let now = Utc::now();
    let ticks = [
        tick("A", now - TimeDelta::seconds(2), 1),
        tick("A", now - TimeDelta::seconds(1), 2),
        tick("B", now - TimeDelta::days(400), 3),
        tick("B", now - TimeDelta::days(40), 4),
        tick("C", now - TimeDelta::hours(3), 5),
        // A source's clock may be ahead.
        tick("C", now + TimeDelta::hours(30), 6),
    ];
    db.marketdata().load_price_ticks(ticks, |_| {}).await.unwrap();
    assert_eq!(latest(&db, &["C", "NEVER", "B", "A", "unknown"]).await, ["C 6", "B 4", "A 2"]);
    assert_eq!(latest(&db, &["B"]).await, ["B 4"]);
    assert_eq!(latest(&db, &[]).await, Vec::<String>::new());
}

/// From the first time on, before the second one, over midnight and partitions, in pages.
#[rstest]
#[tokio::test]
async fn a_range_has_its_first_time_and_not_its_last(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    instruments(&db, &["A", "B"]).await;
    let midnight = Utc::now().date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc();
    let at = |n: i64| midnight + TimeDelta::hours(n * 6);
    let all = (-10..10).flat_map(|n| [tick("A", at(n), n), tick("B", at(n), -n)]);
    db.marketdata().load_price_ticks(all, |_| {}).await.unwrap();
    let mut page = PageRequest::first(4);
    let mut found: Vec<PriceTick> = Vec::new();
    loop {
        let some = db
            .marketdata()
            .read_tx("range", async |tx| tx.price_ticks().range("A", at(-7), at(6), &page).await)
            .await
            .unwrap();
        assert!(some.items.len() <= 4);
        found.extend(some.items);
        let Some(next) = some.next else { break };
        page.after = Some(next);
    }
    assert_eq!(found.iter().map(|tick| tick.ts).collect::<Vec<_>>(), (-7..6).map(at).collect::<Vec<_>>());
    assert!(found.iter().all(|tick| tick.instrument_symbol == "A"));
    let wrong = PageRequest { limit: 0, after: None };
    let error =
        db.marketdata().read_tx("range", async |tx| tx.price_ticks().range("A", at(0), at(1), &wrong).await).await;
    assert_eq!(error.unwrap_err().to_string(), "limit is 0, allowed are 1 to 200");
}

/// To the letter: the application reads, the system writes and changes no price, nobody else has a right.
#[rstest]
#[tokio::test]
async fn each_role_may_do_what_it_needs(#[future(awt)] marketdata_db: TestDatabase) {
    let mut owner = connection(&marketdata_db.url).await;
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
            "instruments bedplate_app SELECT",
            "instruments bedplate_system INSERT SELECT UPDATE",
            "price_ticks bedplate_app SELECT",
            "price_ticks bedplate_system INSERT SELECT",
            "venues bedplate_app SELECT",
            "venues bedplate_system INSERT SELECT UPDATE",
        ]
    );
    // Partitions by themselves are reached by nobody, and there are some.
    let partitions = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'";
    assert_eq!(number(&mut owner, &format!("{partitions} AND relacl IS NULL")).await, 5);
    assert_eq!(number(&mut owner, partitions).await, 5);
}

/// What the grants say, tried: each table, each way to change it, by the application and before any SET ROLE.
#[rstest]
#[tokio::test]
async fn readers_change_nothing(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    instruments(&db, &["A"]).await;
    db.marketdata().load_price_ticks([tick("A", Utc::now(), 1)], |_| {}).await.unwrap();
    let mut app = connection(db.config().url()).await;
    for role in ["SET ROLE bedplate_app", "SET ROLE bedplate_session"] {
        execute(&mut app, role).await;
        for change in [
            "INSERT INTO venues SELECT * FROM venues",
            "UPDATE venues SET name = 'x'",
            "DELETE FROM venues",
            "UPDATE instruments SET status = 'halted'",
            "DELETE FROM instruments",
            "INSERT INTO price_ticks (instrument_symbol, ts, last) VALUES ('A', now(), 1)",
            "UPDATE price_ticks SET last = 2",
            "DELETE FROM price_ticks",
            "TRUNCATE price_ticks",
            "SELECT FROM price_ticks_default",
        ] {
            let error = Error::from(app.batch_execute(change).await.unwrap_err());
            assert!(matches!(error, Error::Forbidden { .. }), "{role}: {change}: {error:?}");
        }
    }
    execute(&mut app, "SET ROLE bedplate_system").await;
    for change in ["UPDATE price_ticks SET last = 2", "DELETE FROM price_ticks", "DELETE FROM venues"] {
        let error = Error::from(app.batch_execute(change).await.unwrap_err());
        assert!(matches!(error, Error::Forbidden { .. }), "{change}: {error:?}");
    }
}
