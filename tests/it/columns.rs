//! What a client of SQL can write, a repository can read: JSON and times.

use std::time::Duration;

use bedplate::models::{AuditFilter, Claim, OrganizationChanges, PageRequest, UserChanges};
use bedplate::{Config, Database, Environment, Error};
use diesel::sql_types::{Array, Bool, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rstest::rstest;
use serde_json::{Value, json};

use crate::boundary::run;
use crate::support::database::config;
use crate::support::{IdeaBuilder, TestDatabase, connection, db, home, marketdata_db, organization, rfq_db, texts};

/// Columns without the CHECK, and why.
const NOT_CHECKED: [(&str, &str); 9] = [
    ("audit_log.old_value", "a row as it was: its columns have CHECKs of their own, and a numeric column is exact"),
    ("audit_log.new_value", "the same"),
    ("audit_log.created_at", "set by a trigger, to clock_timestamp()"),
    ("events.created_at", "set by append_events(), to clock_timestamp()"),
    ("form_definitions.program", "made of the definition, which is checked"),
    ("__bedplate_migrations", "written by the engine alone"),
    ("__bedplate_audit_columns", "written by the trigger of the audit log alone"),
    ("__bedplate_revoked_sessions", "written by the triggers of sessions alone"),
    ("__diesel_schema_migrations", "written by the engine and by the diesel CLI"),
];

/// Both ways: each column of JSON or of time has its CHECK or a reason, and each reason a column.
#[rstest]
#[tokio::test]
async fn every_column_of_json_or_time_has_its_check(
    #[future(awt)] db: TestDatabase,
    #[future(awt)] rfq_db: TestDatabase,
    #[future(awt)] marketdata_db: TestDatabase,
) {
    const COLUMNS: &str = "SELECT concat(c.relname, '.', a.attname, ' ', \
            EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated \
                       AND k.conname = concat(c.relname, '_', a.attname, CASE WHEN a.atttypid = 'jsonb'::regtype THEN '_json' ELSE '_time' END))) \
          FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid \
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 \
           AND NOT a.attisdropped AND a.atttypid IN ('json'::regtype, 'jsonb'::regtype, 'timestamptz'::regtype, 'timestamp'::regtype)";
    let (mut checked, mut excused) = (0, std::collections::BTreeSet::new());
    for db in [&db, &rfq_db, &marketdata_db] {
        for column in texts(&mut connection(&db.url).await, COLUMNS).await {
            let (name, has) = column.split_once(' ').unwrap();
            let table = name.split('.').next().unwrap();
            let excuse = NOT_CHECKED.iter().find(|(excused, _)| *excused == name || *excused == table);
            match (excuse, has) {
                (None, "t") => checked += 1,
                (Some((excuse, _)), "f") => {
                    excused.insert(*excuse);
                }
                _ => panic!("{column}: it has a CHECK or is among NOT_CHECKED"),
            }
        }
    }
    assert!(checked > 70, "only {checked} columns were seen");
    assert_eq!(excused.len(), NOT_CHECKED.len(), "not all are there any more: {excused:?}");
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    readable: bool,
    #[diesel(sql_type = Bool)]
    same: bool,
}

#[derive(QueryableByName)]
struct Written {
    #[diesel(sql_type = Text)]
    written: String,
}

/// Of JSON texts, and what a client makes of each: whether the database takes it, and whether it is the same.
async fn ask(db: &TestDatabase, asked: &[String]) -> Vec<Answer> {
    // As the database writes it.
    let written =
        sql_query("SELECT asked::jsonb::text AS written FROM unnest($1) WITH ORDINALITY AS t (asked, n) ORDER BY n")
            .bind::<Array<Text>, _>(asked)
            .load::<Written>(&mut connection(&db.url).await)
            .await
            .unwrap();
    let again: Vec<String> = written
        .iter()
        .map(|row| &row.written)
        .map(|text| {
            serde_json::from_str::<Value>(text).map_or_else(|_| "\"unreadable\"".into(), |value| value.to_string())
        })
        .collect();
    sql_query(
        "SELECT json_is_readable(asked::jsonb) AS readable, asked::jsonb = again::jsonb AS same \
           FROM unnest($1, $2) WITH ORDINALITY AS t (asked, again, n) ORDER BY n",
    )
    .bind::<Array<Text>, _>(asked)
    .bind::<Array<Text>, _>(again)
    .load(&mut connection(&db.url).await)
    .await
    .unwrap()
}

/// A number of any length, most of them about as long as 64 bits hold.
fn number(random: &mut StdRng) -> String {
    let mut digits = |most: u32| -> String {
        let count = random.random_range(1..=most);
        (0..count).map(|_| char::from(b'0' + random.random_range(0..10))).collect()
    };
    let (whole, fraction) = (digits(20), digits(20));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if random.random() { "-" } else { "" };
    match random.random_range(0..6) {
        0 => format!("{sign}{whole}"),
        1 => format!("{sign}{whole}.0"),
        2 => format!("{sign}{whole}.{fraction}"),
        3 => format!("{sign}0.{fraction}"),
        4 => format!("{sign}{whole}e{}", random.random_range(-330..=330)),
        // What programs write.
        _ => serde_json::to_string(&f64::from_bits(random.random::<u64>())).unwrap().replace("null", "1e999"),
    }
}

/// JSON is taken exactly where a client that reads numbers of 64 bits gives the same back.
#[rstest]
#[tokio::test]
async fn json_is_taken_where_clients_read_it_as_it_was_written(#[future(awt)] db: TestDatabase) {
    let seed = rand::rng().random::<u32>();
    let mut random = StdRng::seed_from_u64(seed.into());
    let mut asked: Vec<String> = [
        "12345678901234567890123",
        "123456789.123456789123456789",
        "1e400",
        "-1e400",
        "1e-400",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "9007199254740993",
        "9007199254740993.0",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "5e-324",
        "4.9e-324",
        "0.1",
        "-0.0",
        "1.10",
        "1e22",
    ]
    .map(str::to_owned)
    .into();
    asked.extend((0..3000).map(|_| number(&mut random)));
    let in_depth =
        asked.iter().map(|number| format!("{{\"a\": [true, {{\"b\": {number}}}], \"c\": \"1234567890123456789012\"}}"));
    let asked: Vec<String> = in_depth.chain(asked.iter().cloned()).collect();
    let (mut taken, mut refused) = (0, 0);
    for (text, answer) in asked.iter().zip(ask(&db, &asked).await) {
        assert_eq!(answer.readable, answer.same, "{text}, seed {seed}");
        if answer.readable { taken += 1 } else { refused += 1 }
    }
    assert!(taken > 500 && refused > 500, "{taken} taken, {refused} refused");
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({"a": inner}) })
}

#[rstest]
#[tokio::test]
async fn a_hundred_levels_are_taken_and_no_more(#[future(awt)] db: TestDatabase) {
    let asked = [100, 101, 127, 500].map(|levels| {
        // Beyond 127 levels serde_json does not write what it could not read.
        if levels > 100 { format!("{}1{}", "[".repeat(levels), "]".repeat(levels)) } else { nested(levels).to_string() }
    });
    let readable: Vec<_> = ask(&db, &asked).await.iter().map(|answer| answer.readable).collect();
    assert_eq!(readable, [true, false, false, false]);
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await.id;
    let update = async |levels| {
        let settings = json!({ "deep": nested(levels) });
        let changes = OrganizationChanges { settings: Some(&settings), ..OrganizationChanges::default() };
        db.tenant_tx("update", &home.context, async |tx| tx.organizations().update(lab, changes).await).await
    };
    update(99).await.unwrap();
    // Before the round trip, and however deep it is.
    for levels in [100, 1_000] {
        let refused = update(levels).await.unwrap_err();
        assert_eq!(refused.to_string(), "settings has more than 100 levels");
    }
}

/// As clients of other languages write: the column is named, and what is wrong.
#[rstest]
#[case(
    "settings = '{\"a\": 12345678901234567890123}'",
    "settings holds a number that 64 bits do not hold exactly (write it as a text), or more than 100 levels"
)]
#[case(
    "settings = '{\"a\": 1e400}'",
    "settings holds a number that 64 bits do not hold exactly (write it as a text), or more than 100 levels"
)]
#[case("created_at = 'infinity'", "created_at is a time outside of the years 1 to 9999")]
#[case("created_at = '-infinity'", "created_at is a time outside of the years 1 to 9999")]
#[case("created_at = '0044-03-15 BC'", "created_at is a time outside of the years 1 to 9999")]
#[case("created_at = '294276-12-31'", "created_at is a time outside of the years 1 to 9999")]
#[case("created_at = '294277-01-01'", "value is a time or a duration that is too large")]
#[tokio::test]
async fn clients_of_sql_are_refused_by_column(#[future(awt)] db: TestDatabase, #[case] set: &str, #[case] said: &str) {
    let home = home(&db).await;
    organization(&db, &home, "lab").await;
    let sql = format!("UPDATE organizations SET {set}");
    let refused = db.system_tx("sql", async |tx| run(tx.connection(), &sql).await).await.unwrap_err();
    assert_eq!(refused.to_string(), said);
    assert!(matches!(refused, Error::Invalid { .. }));
}

#[rstest]
#[tokio::test]
async fn extreme_durations_and_times_are_invalid(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (_, lease) = IdeaBuilder::new(&home).analyzing(&db).await;
    let lease = &lease;
    for by in [Duration::MAX, Duration::ZERO] {
        let refused = db.tenant_tx("extend", &home.context, async |tx| tx.evaluations().extend(lease, by).await).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        let claim = Claim::new("worker").lease(by);
        let refused = db.tenant_tx("claim", &home.context, async |tx| tx.evaluations().claim(claim).await).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    for at in [chrono::DateTime::<chrono::Utc>::MIN_UTC, chrono::DateTime::<chrono::Utc>::MAX_UTC] {
        let looked = db.tenant_tx("as_of", &home.context, async |tx| tx.audit().as_of(home.user, at).await).await;
        assert!(!matches!(looked, Err(Error::Database(_))), "{looked:?}");
        let filter = AuditFilter { from: Some(at), until: Some(at), ..AuditFilter::default() };
        let list = db
            .tenant_tx("list", &home.context, async |tx| tx.audit().list(&filter, &PageRequest::default()).await)
            .await;
        assert!(!matches!(list, Err(Error::Database(_))), "{list:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_time_that_no_server_takes_is_a_matter_of_configuration(#[future(awt)] db: TestDatabase) {
    let changes: [fn(&mut Config); 5] = [
        |config| config.timeouts.statement = Duration::MAX,
        |config| config.timeouts.lock = Duration::from_hours(24 * 25),
        |config| config.retry_budget = Duration::MAX,
        |config| config.pool.wait = Duration::MAX,
        |config| config.pool.max_lifetime = Duration::MAX,
    ];
    for change in changes {
        let mut config = config(&db.url);
        change(&mut config);
        assert_eq!(config.environment, Environment::Development);
        let refused = Database::connect(config).await.unwrap_err();
        assert_eq!(refused.to_string(), "a time of the pool or a timeout is above 24 days");
    }
}

/// Of every character: whether the database and Rust take a title of it for an empty one.
#[rstest]
#[tokio::test]
async fn what_shows_nothing_is_the_same_in_both(#[future(awt)] db: TestDatabase) {
    let blank = "SELECT chr(n) FROM generate_series(1, 1114111) AS n \
                  WHERE n NOT BETWEEN 55296 AND 57343 AND visible_text(chr(n)) = '' ORDER BY n";
    let in_sql = texts(&mut connection(&db.url).await, blank).await;
    let home = home(&db).await;
    let title = |title: String| {
        let (db, home) = (&db, &home);
        async move {
            let changes = UserChanges { name: Some(&title), ..UserChanges::default() };
            db.tenant_tx("rename", &home.context, async |tx| tx.users().update(home.user, changes).await).await
        }
    };
    assert!((4_000..5_000).contains(&in_sql.len()), "{}", in_sql.len());
    let all: String = in_sql.concat();
    // All that the database takes for blank, in pieces that are short enough; and what is next to them is not.
    for piece in all.chars().collect::<Vec<_>>().chunks(200) {
        let refused = title(piece.iter().collect()).await.unwrap_err();
        assert_eq!(refused.to_string(), "name is empty");
    }
    let edges = in_sql.iter().flat_map(|text| text.chars()).flat_map(|character| {
        let code = u32::from(character);
        [code - 1, code + 1].into_iter().filter_map(char::from_u32)
    });
    let edges: std::collections::BTreeSet<_> = edges.filter(|edge| *edge != '\0' && !all.contains(*edge)).collect();
    assert!(edges.len() > 30);
    for edge in edges {
        title(edge.to_string()).await.unwrap_or_else(|error| panic!("{edge:?}: {error}"));
    }
}
