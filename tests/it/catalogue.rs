//! The doctor asks the catalogue of each database for the rules of the schema, and each of its checks looks at
//! something. Here stands what only this project has: its lists of policies and grants, the words of its enums, what
//! its databases share. What each role may do in the databases beside `main` is in `rfq::` and `marketdata::`.

use std::collections::BTreeSet;

use bedplate::database::DatabaseName::{self, Main, Marketdata, Rfq};
use bedplate::database::doctor::{self, Rulebook};
use bedplate::error::field_of;
use diesel_async::AsyncPgConnection;
use rstest::rstest;

use crate::support::database::config;
use crate::support::{TestDatabase, connection, db, migrated, texts};

/// Tables that grants alone protect: session stores of other languages know nothing of tenants, and an endpoint takes
/// the messages of all.
pub const WITHOUT_POLICIES: [&str; 2] = ["outbox_stopped_endpoints", "sessions"];

/// What the application's role may delete. Everything else is deleted softly, or by the system.
const APP_DELETES: [&str; 6] = [
    "event_subscriptions",
    "form_definitions",
    "organizations",
    "user_entitlements",
    "user_organizations",
    "user_roles",
];

/// By the clock, so that times are nearly in the order of positions.
const TIMES_BY_CLOCK: [&str; 2] = ["audit_log", "events"];

/// Functions of `bedplate_definer` that ask for the tenant in their own way. `append_events()` reads the setting, and
/// calls `require_tenant()` where it is missing: it runs with every event.
const TENANT_ASKED_FOR_OTHERWISE: [&str; 1] = ["append_events"];

/// Constraints over several columns, which name no single one.
const ABOUT_SEVERAL_COLUMNS: [&str; 2] = ["agent_results_status_times", "evaluations_status_times"];

pub const TABLES: &str = "SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace \
    AND relkind IN ('r', 'p') AND NOT relispartition AND NOT starts_with(relname, '__')";

pub async fn set(owner: &mut AsyncPgConnection, sql: &str) -> BTreeSet<String> {
    texts(owner, sql).await.into_iter().collect()
}

pub fn exactly(found: &BTreeSet<String>, expected: &[&str]) {
    assert_eq!(*found, expected.iter().map(|name| (*name).to_owned()).collect());
}

/// A list of exemptions that `main` alone needs.
pub fn of_main<'l>(of: DatabaseName, list: &'l [&'l str]) -> &'l [&'l str] {
    if of == Main { list } else { &[] }
}

/// What there is at least to look at: so much in `main`, so much in the smaller ones.
pub fn least(of: DatabaseName, main: usize, others: usize) -> usize {
    if of == Main { main } else { others }
}

/// Offenders must be none, among more than `least` that were looked at.
pub async fn none(owner: &mut AsyncPgConnection, looked_at: &str, least: usize, offenders: &str) {
    let seen = texts(owner, looked_at).await;
    assert!(seen.len() >= least, "only {} were looked at: {seen:?}", seen.len());
    assert_eq!(texts(owner, offenders).await, Vec::<String>::new());
}

/// What a check looks at is there in every database, but for what is listed here.
#[rstest]
#[case::main(Main, &["view-not-invoker"])]
#[case::rfq(Rfq, &["lock-version-without-trigger", "view-not-invoker"])]
#[case::marketdata(Marketdata, &["definer-without-search-path", "sequence-near-end", "serial", "view-not-invoker"])]
#[tokio::test]
async fn the_doctor_finds_nothing_and_each_check_looked_at_something(
    #[case] of: DatabaseName,
    #[case] nothing: &[&str],
) {
    let db = migrated(of).await;
    let (config, rulebook) = (config(&db.url), Rulebook::of(of).unwrap());
    assert_eq!(doctor::examine(&config, &rulebook).await.unwrap(), []);
    let looked = doctor::looked_at(&config, &rulebook).await.unwrap();
    assert!(looked.len() >= least(of, 45, 20), "{looked:?}");
    let empty = looked.iter().filter(|(_, count)| *count == 0).map(|(check, _)| (*check).to_owned()).collect();
    exactly(&empty, nothing);
}

#[rstest]
#[tokio::test]
async fn every_policy_is_one_of_a_few(#[values(Main, Rfq)] of: DatabaseName) {
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    let policies = texts(
        owner,
        "SELECT concat_ws(' / ', tablename, policyname, permissive, roles::text, cmd, qual, with_check) \
        FROM pg_policies ORDER BY tablename, policyname",
    )
    .await;
    let tables = texts(owner, &format!("SELECT relname FROM ({TABLES}) AS t ORDER BY relname")).await;
    let mut expected = Vec::new();
    for table in &tables {
        let column = if table == "tenants" { "id" } else { "tenant_id" };
        let tenant = format!("({column} = ( SELECT current_tenant() AS current_tenant))");
        if WITHOUT_POLICIES.contains(&table.as_str()) {
            continue;
        }
        if ["agent_results", "business_ideas", "form_submissions", "organizations", "tenants", "user_organizations"]
            .contains(&table.as_str())
        {
            expected.push(format!("{table} / definer / PERMISSIVE / {{bedplate_definer}} / SELECT / true"));
        }
        if table == "organizations" {
            expected
                .push(format!("{table} / definer_lock / PERMISSIVE / {{bedplate_definer}} / UPDATE / true / false"));
        }
        match table.as_str() {
            "event_subscriptions" | "event_tags" | "events" => {
                expected.push(format!("{table} / definer / PERMISSIVE / {{bedplate_definer}} / ALL / true / true"));
            }
            _ => {}
        }
        if table == "audit_log" {
            expected.push(format!("{table} / definer_insert / PERMISSIVE / {{bedplate_definer}} / INSERT / true"));
        }
        // Not USING (true): on PostgreSQL 15 the owner inherits from bedplate_system.
        let system = "(CURRENT_USER = 'bedplate_system'::name)";
        expected.push(format!("{table} / system / PERMISSIVE / {{bedplate_system}} / ALL / {system} / {system}"));
        expected.push(format!("{table} / tenant / PERMISSIVE / {{bedplate_app}} / ALL / {tenant} / {tenant}"));
    }
    assert_eq!(policies, expected);
}

/// Those of keys too; a partition's are its table's.
#[rstest]
#[tokio::test]
async fn every_index_says_what_it_serves(#[future(awt)] db: TestDatabase) {
    let owner = &mut connection(&db.url).await;
    let indexes = format!("SELECT indexrelid FROM pg_index JOIN ({TABLES}) AS t ON t.oid = indrelid");
    none(
        owner,
        &indexes,
        50,
        &format!(
            "SELECT indexrelid::regclass FROM ({indexes}) AS i \
              WHERE coalesce(obj_description(indexrelid, 'pg_class'), '') = ''"
        ),
    )
    .await;
}

#[rstest]
#[tokio::test]
async fn every_function_is_pinned_to_the_same_path(#[values(Main, Rfq, Marketdata)] of: DatabaseName) {
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    let ours = "SELECT oid, proname, proconfig, proacl, prosecdef, proowner, prorettype, prosqlbody FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    none(
        owner,
        &format!("SELECT proname FROM ({ours}) AS f"),
        least(of, 8, 3),
        // A body after RETURN or BEGIN ATOMIC is bound when it is made.
        &format!("SELECT proname FROM ({ours}) AS f WHERE prosqlbody IS NULL AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)"),
    )
    .await;
    // What makes functions of forms, and can do nothing else.
    let forms = format!(
        "SELECT proname FROM ({ours}) AS f JOIN pg_roles AS r ON r.oid = proowner WHERE rolname = 'bedplate_forms'"
    );
    exactly(
        &set(owner, &forms).await,
        if of == Main { &["create_form_validator", "drop_form_validator"] } else { &[] },
    );
    let with_tenant = format!(
        "SELECT proname FROM ({ours}) AS f JOIN pg_roles AS r ON r.oid = proowner WHERE prosecdef AND rolname = 'bedplate_definer' AND prorettype <> 'trigger'::regtype \
            AND pg_get_functiondef(f.oid) NOT LIKE '%:= public.require_tenant();%'"
    );
    exactly(&set(owner, &with_tenant).await, of_main(of, &TENANT_ASKED_FOR_OTHERWISE));
}

#[rstest]
#[tokio::test]
async fn each_role_has_the_grants_of_its_list(#[future(awt)] db: TestDatabase) {
    let owner = &mut connection(&db.url).await;
    let grants = format!(
        "SELECT relname, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END AS role, privilege_type \
           FROM ({TABLES}) AS t JOIN pg_class USING (oid, relname), aclexplode(relacl)"
    );
    let deletes =
        |role: &str| format!("SELECT relname FROM ({grants}) AS g WHERE role = '{role}' AND privilege_type = 'DELETE'");
    exactly(&set(owner, &deletes("bedplate_app")).await, &APP_DELETES);
    exactly(
        &set(owner, &deletes("bedplate_system")).await,
        &[
            "event_subscriptions",
            "idempotency_keys",
            "outbox_events",
            "outbox_stopped_endpoints",
            "processed_events",
            "tenants",
            "user_organizations",
        ],
    );
    let of = |role: &str| format!("SELECT relname || ' ' || privilege_type FROM ({grants}) AS g WHERE role = '{role}'");
    exactly(
        &set(owner, &of("bedplate_definer")).await,
        &[
            "audit_log INSERT",
            "event_subscriptions DELETE",
            "event_tags DELETE",
            "event_tags INSERT",
            "event_tags SELECT",
            "events DELETE",
            "events INSERT",
            "events SELECT",
        ],
    );
    exactly(
        &set(owner, &of("bedplate_session")).await,
        &["sessions DELETE", "sessions INSERT", "sessions SELECT", "sessions UPDATE"],
    );
    // What is append-only: append_events() and record_audit() alone write.
    for (role, select) in [
        ("bedplate_app", &["audit_log SELECT", "event_tags SELECT", "events SELECT"][..]),
        ("bedplate_system", &["audit_log SELECT", "event_tags SELECT", "events SELECT"]),
    ] {
        let append_only = format!("{} AND relname IN ('audit_log', 'events', 'event_tags')", of(role));
        exactly(&set(owner, &append_only).await, select);
    }
    // To a partition there is no other way than through its table.
    let partitions = "SELECT relname FROM pg_class, aclexplode(relacl) WHERE relispartition AND relkind = 'r'";
    none(
        owner,
        partitions,
        5,
        &format!(
            "{partitions} AND (grantee <> relowner \
        OR privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE'))"
        ),
    )
    .await;
}

#[rstest]
#[tokio::test]
async fn times_are_moments_and_begin_with_now(#[values(Main, Rfq, Marketdata)] of: DatabaseName) {
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    let columns = format!(
        "SELECT relname, attname, atttypid, attnotnull, pg_get_expr(adbin, adrelid) AS byte_default \
        FROM ({TABLES}) AS t JOIN pg_attribute AS a ON attrelid = t.oid AND attnum > 0 \
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    );
    none(
        owner,
        &format!("SELECT attname FROM ({columns}) AS c WHERE atttypid = 'timestamptz'::regtype"),
        least(of, 15, 5),
        // For the session stores of other languages.
        &format!("SELECT relname || '.' || attname FROM ({columns}) AS c WHERE atttypid IN ('timestamp'::regtype, 'date'::regtype) \
            AND (relname, attname) <> ('sessions', 'expire')"),
    )
    .await;
    let loose = format!(
        "SELECT relname || '.' || attname FROM ({columns}) AS c \
        WHERE attname IN ('created_at', 'updated_at') AND (NOT attnotnull OR byte_default IS DISTINCT FROM \
            CASE WHEN relname IN ('{}') THEN 'clock_timestamp()' ELSE 'now()' END)",
        TIMES_BY_CLOCK.join("', '")
    );
    exactly(&set(owner, &loose).await, &[]);
}

/// A distributed database has no sequence of its own: the closed list.
#[rstest]
#[tokio::test]
async fn sequences_are_few(#[values(Main, Rfq, Marketdata)] of: DatabaseName) {
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    exactly(
        &set(owner, "SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace AND NOT starts_with(relname, '__')").await,
        match of {
            Main => &["audit_log_sequence_seq", "events_position_seq", "outbox_events_sequence_seq"],
            Rfq => &["audit_log_sequence_seq", "outbox_events_sequence_seq"],
            Marketdata => &[],
        },
    );
}

/// The words of the CHECKs are those of Rust's enums.
#[rstest]
#[tokio::test]
async fn states_are_the_same_in_rust(#[values(Main, Rfq, Marketdata)] of: DatabaseName) {
    use bedplate::models::{
        AgentResultStatus, AgentType, AssetClass, BusinessIdeaStatus, EvaluationStatus, FormDefinitionStatus,
        FormSubmissionStatus, InstrumentStatus, OrganizationRole, Priority, RfqQuoteStatus, RfqStatus, Side,
        TenantStatus, TenantType, UserStatus, VenueStatus,
    };
    fn words<T: ToString>(all: &[T]) -> BTreeSet<String> {
        all.iter().map(ToString::to_string).collect()
    }
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    let main = [
        ("agent_results_agent_type_check", words(AgentType::ALL)),
        ("agent_results_status_check", words(AgentResultStatus::ALL)),
        ("business_ideas_status_check", words(BusinessIdeaStatus::ALL)),
        ("evaluations_priority_check", words(Priority::ALL)),
        ("evaluations_status_check", words(EvaluationStatus::ALL)),
        ("form_definitions_status_check", words(FormDefinitionStatus::ALL)),
        ("form_submissions_status_check", words(FormSubmissionStatus::ALL)),
        ("tenants_status_check", words(TenantStatus::ALL)),
        ("tenants_type_check", words(TenantType::ALL)),
        ("user_organizations_role_check", words(OrganizationRole::ALL)),
        ("users_status_check", words(UserStatus::ALL)),
    ];
    let rfq = [
        ("rfq_quotes_status_check", words(RfqQuoteStatus::ALL)),
        ("rfqs_side_check", words(Side::ALL)),
        ("rfqs_status_check", words(RfqStatus::ALL)),
    ];
    let marketdata = [
        ("instruments_asset_class_check", words(AssetClass::ALL)),
        ("instruments_status_check", words(InstrumentStatus::ALL)),
        ("venues_status_check", words(VenueStatus::ALL)),
    ];
    let rust = match of {
        Main => main.to_vec(),
        Rfq => rfq.to_vec(),
        Marketdata => marketdata.to_vec(),
    };
    let lists = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND pg_get_constraintdef(oid) LIKE '%= ANY (ARRAY%' \
        AND conname LIKE '%\\_check' AND conname <> 'business_ideas_deleted_at_check' AND NOT starts_with(conname, '__')";
    assert_eq!(set(owner, lists).await, rust.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (constraint, expected) in rust {
        let words = format!(
            "SELECT (regexp_matches(pg_get_constraintdef(oid), '''([a-z-]+)''', 'g'))[1] \
            FROM pg_constraint WHERE conname = '{constraint}'"
        );
        assert_eq!(set(owner, &words).await, expected, "{constraint}");
    }
}

/// Errors name the column that a constraint is about, by the constraint's name.
#[rstest]
#[tokio::test]
async fn constraint_names(#[values(Main, Rfq, Marketdata)] of: DatabaseName) {
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    let names = texts(
        owner,
        &format!(
            "SELECT relname || '|' || name FROM ({TABLES}) AS t JOIN ( \
            SELECT conrelid AS oid, conname::text AS name FROM pg_constraint WHERE contype IN ('c', 'f', 'u') \
            UNION SELECT i.indrelid, c.relname::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
             WHERE i.indisunique AND NOT i.indisprimary) AS k USING (oid)"
        ),
    )
    .await;
    assert!(names.len() >= least(of, 30, 10), "{names:?}");
    let expected: &[&str] = match of {
        Main => &ABOUT_SEVERAL_COLUMNS,
        Rfq => &[],
        Marketdata => &["price_ticks_some_price"],
    };
    let mut several = BTreeSet::new();
    for name in names {
        let (table, constraint) = name.split_once('|').unwrap();
        let column = field_of(constraint, table);
        let found = texts(
            owner,
            &format!("SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = '{column}'"),
        )
        .await;
        if found.is_empty() || expected.contains(&constraint) {
            several.insert(constraint.to_owned());
        }
    }
    exactly(&several, expected);
}

/// What `main` shares with the databases beside it: closed lists, both ways, to the letter.
#[rstest]
#[case::rfq(Rfq, &[
    "audit", "audit_as_of", "audit_columns", "audit_fields_as", "close_audit_partition", "create_audit_partition",
    "current_tenant", "drop_audit_partitions", "give_to_definer", "json_is_readable", "json_numbers_are_exact",
    "make_append_only", "names_secret", "record_audit", "redact", "refuse_change_of_audit_log",
    "refuse_illegal_transition", "require_tenant", "update_updated_at", "visible_text",
])]
#[case::marketdata(Marketdata, &["update_updated_at", "visible_text"])]
#[tokio::test]
async fn what_is_shared_is_equal(#[case] of: DatabaseName, #[case] functions: &[&str]) {
    const NAMES: &str = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    // Columns, constraints, indexes, policies, triggers and rights.
    const TABLE: &str = "SELECT line FROM ( \
            SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, \
                             pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)) \
              FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum) \
             WHERE attrelid = to_regclass('{}') AND attnum > 0 \
            UNION ALL SELECT concat_ws(' ', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = to_regclass('{}') \
            UNION ALL SELECT concat_ws(' ', attname, attacl) FROM pg_attribute WHERE attrelid = to_regclass('{}') AND attacl IS NOT NULL \
            UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = to_regclass('{}') \
            UNION ALL SELECT concat_ws(' ', policyname, roles, cmd, qual, with_check) FROM pg_policies WHERE tablename = '{}' \
            UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = to_regclass('{}') AND NOT tgisinternal \
            UNION ALL SELECT concat_ws(' ', relacl, reloptions, obj_description(oid, 'pg_class')) FROM pg_class WHERE oid = to_regclass('{}')) AS lines (line) ORDER BY 1";
    let (main, other) = (migrated(Main).await, migrated(of).await);
    let (main, other) = (&mut connection(&main.url).await, &mut connection(&other.url).await);
    let (names, others) = (set(main, NAMES).await, set(other, NAMES).await);
    exactly(&names.intersection(&others).cloned().collect(), functions);
    // Text, owner, rights and comment.
    let shared = format!(
        "SELECT concat_ws(' / ', pg_get_functiondef(oid), proowner::regrole, proacl, obj_description(oid, 'pg_proc')) \
           FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname IN ('{}') ORDER BY proname",
        functions.join("', '")
    );
    let found = texts(other, &shared).await;
    assert_eq!(found.len(), functions.len());
    assert_eq!(texts(main, &shared).await, found);
    if of == Rfq {
        for (table, least) in [
            ("__bedplate_audit_columns", 4),
            ("audit_log", 15),
            ("outbox_events", 15),
            ("outbox_stopped_endpoints", 8),
            ("processed_events", 15),
        ] {
            let shape = TABLE.replace("{}", table);
            let lines = texts(other, &shape).await;
            assert!(lines.len() > least, "{table}: {lines:?}");
            assert_eq!(texts(main, &shape).await, lines, "{table}");
        }
    }
}
