//! `bedplate maintain`: months (and days of prices) ahead, those caught by the default partition, those that are old.

use std::time::Duration;

use bedplate::database::DatabaseName;
use bedplate::database::maintain::{self, Keep, Maintained};
use bedplate::models::{AuditFilter, PageRequest, TenantId};
use futures_util::future::join_all;
use rstest::rstest;

use crate::support::database::config;
use crate::support::server::server;
use crate::support::{TestDatabase, connection, db, execute, home, marketdata_db, migrated, number, rfq_db, texts};

async fn maintain(db: &TestDatabase, keep: Keep) -> Maintained {
    maintain::run(&config(&db.url), keep, |_| {}).await.unwrap()
}

async fn partitions(db: &TestDatabase) -> Vec<String> {
    texts(
        &mut connection(&db.url).await,
        "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'audit_log'::regclass ORDER BY 1",
    )
    .await
}

/// `audit_log_2026_11`, so many months from now.
async fn month(db: &TestDatabase, ahead: i32) -> String {
    let name =
        format!("SELECT 'audit_log_' || to_char(now() AT TIME ZONE 'UTC' + {ahead} * interval '1 month', 'YYYY_MM')");
    texts(&mut connection(&db.url).await, &name).await.remove(0)
}

#[rstest]
#[tokio::test]
async fn months_are_made_ahead_once(#[future(awt)] db: TestDatabase) {
    assert_eq!(maintain(&db, Keep::default()).await, Maintained::default(), "a fresh database has them");
    let ahead = Keep { audit_months_ahead: 5, ..Keep::default() };
    let made = maintain(&db, ahead).await.partitions_created;
    assert_eq!(made, [month(&db, 4).await, month(&db, 5).await]);
    assert_eq!(maintain(&db, ahead).await, Maintained::default());
    assert_eq!(partitions(&db).await.len(), 7, "six months and the default");
    // Each is as closed as the others: see `catalogue::` and `audit::`; the doctor agrees.
    assert_eq!(crate::doctor::examine(&db, DatabaseName::Main).await, []);
}

/// 1. Nobody made the month of the present: its entries are in the default partition, beside older ones.
/// 2. `maintain` makes the months, and moves the entries.
/// 3. No entry is lost, and the log is closed as before.
#[rstest]
#[tokio::test]
async fn a_month_that_the_default_partition_holds_is_made(#[future(awt)] db: TestDatabase) {
    let Some(admin) = &server().admin else { return };
    let mut admin = connection(&admin.with_database(db.url.database()).unwrap()).await;
    // 1
    let present = month(&db, 0).await;
    execute(&mut connection(&db.url).await, &format!("DROP TABLE {present}")).await;
    let home = home(&db).await;
    execute(
        &mut admin,
        &format!(
            "INSERT INTO audit_log (tenant_id, action, entity_type, entity_id, created_at) \
             SELECT '{}', 'old', 'x', n::text, '2020-01-15'::timestamptz + n * interval '10 days' FROM generate_series(1, 9) AS n",
            home.tenant
        ),
    )
    .await;
    let all = "SELECT md5(string_agg(l::text, '' ORDER BY sequence)) FROM audit_log AS l";
    let (before, count) =
        (texts(&mut admin, all).await, number(&mut admin, "SELECT count(*) FROM audit_log_default").await);
    assert_eq!(count, 11, "two of the present, nine old ones");
    // 2
    let made = maintain(&db, Keep::default()).await.partitions_created;
    assert_eq!(made, ["audit_log_2020_01", "audit_log_2020_02", "audit_log_2020_03", "audit_log_2020_04", &present]);
    // 3
    assert_eq!(texts(&mut admin, all).await, before);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM audit_log_default").await, 0);
    assert_eq!(number(&mut admin, &format!("SELECT count(*) FROM {present}")).await, 2);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM pg_class WHERE relname = 'audit_log_caught'").await, 0);
    assert_eq!(crate::doctor::examine(&db, DatabaseName::Main).await, []);
    let page = db
        .tenant_tx("list", &home.context, async |tx| {
            tx.audit().list(&AuditFilter::default(), &PageRequest::default()).await
        })
        .await
        .unwrap();
    assert_eq!(page.items.len(), 11);
}

#[rstest]
#[tokio::test]
async fn months_that_are_old_are_dropped(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    for ahead in [-1, -2, -3] {
        let make =
            format!("SELECT create_audit_partition((now() AT TIME ZONE 'UTC' + {ahead} * interval '1 month')::date)");
        assert_eq!(texts(&mut owner, &make).await, ["true"]);
        assert_eq!(texts(&mut owner, &make).await, ["false"]);
    }
    assert_eq!(maintain(&db, Keep::default()).await, Maintained::default(), "by default all are kept");
    let keep = |months| Keep { audit_months: Some(months), ..Keep::default() };
    assert_eq!(maintain(&db, keep(3)).await.partitions_dropped, Vec::<String>::new());
    assert_eq!(maintain(&db, keep(1)).await.partitions_dropped, [month(&db, -3).await, month(&db, -2).await]);
    assert_eq!(maintain(&db, keep(0)).await.partitions_dropped, [month(&db, -1).await]);
    assert!(partitions(&db).await.contains(&month(&db, 0).await), "the present month stays");
}

#[rstest]
#[tokio::test]
async fn sessions_and_idempotency_keys_are_pruned(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "INSERT INTO sessions SELECT n, '{}', now() AT TIME ZONE 'UTC' + (n - 1500) * interval '1 h' FROM generate_series(1, 1600) AS n").await;
    db.tenant_tx("once", &home.context, async |tx| tx.idempotent("old", &1, async { Ok(()) }).await).await.unwrap();
    db.tenant_tx("once", &home.context, async |tx| tx.idempotent("new", &1, async { Ok(()) }).await).await.unwrap();
    execute(&mut owner, "SET ROLE bedplate_system; UPDATE idempotency_keys SET created_at = now() - interval '8 days' WHERE key = 'old'").await;
    let done = maintain(&db, Keep::default()).await;
    assert_eq!((done.sessions_pruned, done.idempotency_keys_pruned), (1500, 1));
    assert_eq!(maintain(&db, Keep::default()).await, Maintained::default());
}

/// What was published long ago goes, in several batches; what is open or dead stays, but for dead letters of a tenant
/// that is gone.
#[rstest]
#[case::main(DatabaseName::Main)]
#[case::rfq(DatabaseName::Rfq)]
#[tokio::test]
async fn old_messages_and_marks_are_deleted(#[case] of: DatabaseName) {
    let db = migrated(of).await;
    let tenant = match of {
        DatabaseName::Main => home(&db).await.tenant,
        _ => TenantId::new(),
    };
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        &format!(
            "SET ROLE bedplate_system; \
             INSERT INTO outbox_events (tenant_id, event_type, entity_type, entity_id, payload, published_at, dead_at) \
             SELECT CASE WHEN what = 'gone' THEN gen_random_uuid() ELSE '{tenant}'::uuid END, what, 'x', n, '1', \
                    CASE what WHEN 'old' THEN now() - interval '8 days' WHEN 'new' THEN now() - interval '6 days' END, \
                    CASE WHEN what IN ('dead', 'gone') THEN now() - interval '8 days' END \
               FROM (VALUES ('old', 5001), ('new', 2), ('dead', 3), ('open', 4), ('gone', 5)) AS t (what, count), \
                    generate_series(1, count) AS n; \
             INSERT INTO processed_events (tenant_id, consumer_group, event_id, event_type, processed_at) \
             SELECT '{tenant}', 'g', gen_random_uuid(), 'x', now() - n * interval '1 day' FROM generate_series(28, 33) AS n"
        ),
    )
    .await;
    let maintain = async || match of {
        DatabaseName::Main => maintain(&db, Keep::default()).await,
        _ => maintain::run_rfq(&config(&db.url), Keep::default(), |_| {}).await.unwrap(),
    };
    let done = maintain().await;
    // Who is a tenant, rfq does not know.
    let orphans = if of == DatabaseName::Main { 5 } else { 0 };
    assert_eq!((done.outbox_events_pruned, done.processed_events_pruned), (5001 + orphans, 4));
    assert_eq!(maintain().await, Maintained::default());
    let left =
        texts(&mut owner, "SELECT concat(event_type, ' ', count(*)) FROM outbox_events GROUP BY event_type ORDER BY 1")
            .await;
    let expected = ["dead 3", "gone 5", "new 2", "open 4"];
    assert_eq!(left, if orphans > 0 { [expected[0], expected[2], expected[3]].to_vec() } else { expected.to_vec() });
    let keep = Keep { outbox_days: 5, processed_days: 27, ..Keep::default() };
    let done = match of {
        DatabaseName::Main => maintain::run(&config(&db.url), keep, |_| {}).await.unwrap(),
        _ => maintain::run_rfq(&config(&db.url), keep, |_| {}).await.unwrap(),
    };
    assert_eq!((done.outbox_events_pruned, done.processed_events_pruned), (2, 2));
}

/// 1. The default partition holds the present month.
/// 2. Four run `maintain` together, while writers write.
/// 3. Each month was made once, and every entry is there once.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn side_by_side_and_under_writers_nothing_is_lost(#[future(awt)] db: TestDatabase) {
    let present = month(&db, 0).await;
    execute(&mut connection(&db.url).await, &format!("DROP TABLE {present}")).await;
    let home = home(&db).await; // 1
    // 2
    let writers = (0..4).map(|n| {
        let (database, home) = (db.database.clone(), home.clone());
        tokio::spawn(async move {
            for m in 0..50 {
                let role = format!("role-{n}-{m}");
                database
                    .tenant_tx("grant", &home.context, async |tx| tx.roles().grant(home.user, &role).await)
                    .await
                    .unwrap();
            }
        })
    });
    let maintainers = (0..4).map(|_| {
        let config = config(&db.url);
        tokio::spawn(async move { maintain::run(&config, Keep::default(), |_| {}).await })
    });
    let (writers, maintainers) = (writers.collect::<Vec<_>>(), maintainers.collect::<Vec<_>>());
    let mut made = Vec::new();
    for done in join_all(maintainers).await {
        made.extend(done.unwrap().unwrap().partitions_created);
    }
    tokio::time::timeout(Duration::from_mins(1), join_all(writers))
        .await
        .unwrap()
        .into_iter()
        .for_each(|done| done.unwrap());
    // 3
    assert_eq!(made, [present]);
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM audit_log WHERE entity_type = 'user_roles'").await, 200);
    assert_eq!(number(&mut owner, "SELECT count(DISTINCT sequence) FROM audit_log").await, 202);
}

#[rstest]
#[tokio::test]
async fn the_audit_log_of_rfq_is_maintained_too(#[future(awt)] rfq_db: TestDatabase) {
    let db = rfq_db;
    let run = async |keep| maintain::run_rfq(&config(&db.url), keep, |_| {}).await.unwrap();
    assert_eq!(run(Keep::default()).await, Maintained::default(), "a fresh database has its months");
    let made = run(Keep { audit_months_ahead: 4, ..Keep::default() }).await.partitions_created;
    assert_eq!(made, [month(&db, 4).await]);
    let make = "SELECT create_audit_partition((now() AT TIME ZONE 'UTC' - interval '2 months')::date)";
    assert_eq!(texts(&mut connection(&db.url).await, make).await, ["true"]);
    let dropped = run(Keep { audit_months: Some(1), ..Keep::default() }).await.partitions_dropped;
    assert_eq!(dropped, [month(&db, -2).await]);
}

/// `price_ticks_2026_11_21`, so many days from now.
async fn day(db: &TestDatabase, ahead: i32) -> String {
    let name = format!("SELECT 'price_ticks_' || to_char((now() AT TIME ZONE 'UTC')::date + {ahead}, 'YYYY_MM_DD')");
    texts(&mut connection(&db.url).await, &name).await.remove(0)
}

/// 1. Prices of today, of yesterday and of long ago are in the default partition: nobody made their days.
/// 2. `maintain` makes the days, and moves the prices; those of the days to come are there already.
/// 3. No price is lost.
/// 4. Old days are dropped with what is in them; the present one stays.
#[rstest]
#[tokio::test]
async fn days_of_prices_are_made_filled_and_dropped(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    let run = async |keep| maintain::run_marketdata(&config(&db.url), keep, |_| {}).await.unwrap();
    assert_eq!(run(Keep::default()).await, Maintained::default(), "a fresh database has its days");
    let mut owner = connection(&db.url).await;
    // 1
    let (today, yesterday) = (day(&db, 0).await, day(&db, -1).await);
    execute(
        &mut owner,
        &format!(
            "DROP TABLE {today}; INSERT INTO venues VALUES ('XNAS', 'Nasdaq', 'US', 'America/New_York'); \
             INSERT INTO instruments VALUES ('AAPL', 'Apple', 'equity', 'USD', 0.01, 1, 'XNAS'); \
             INSERT INTO price_ticks (instrument_symbol, ts, last) \
             SELECT 'AAPL', ts, 1 FROM unnest(ARRAY[now(), now() - interval '1 day', '2020-02-29', '2020-02-29 23:59:59.999999']::timestamptz[]) AS ts"
        ),
    )
    .await;
    let all = "SELECT md5(string_agg(p::text, '' ORDER BY ts)) FROM price_ticks AS p";
    let before = texts(&mut owner, all).await;
    // 2
    let done = run(Keep { price_days_ahead: 4, ..Keep::default() }).await;
    assert_eq!(done.partitions_created, ["price_ticks_2020_02_29", &yesterday, &today, &day(&db, 4).await]);
    // 3
    assert_eq!(texts(&mut owner, all).await, before);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks_default").await, 0);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks_2020_02_29").await, 2);
    // 4
    let keep = |days| Keep { price_days: Some(days), ..Keep::default() };
    assert_eq!(run(keep(1)).await.partitions_dropped, ["price_ticks_2020_02_29"]);
    assert_eq!(run(keep(0)).await.partitions_dropped, [yesterday]);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM price_ticks").await, 1);
}
