//! Every repository query has an index, as `bedplate_app`, under the policies.
//!
//! The queries are those that the repositories really send: each is prepared on its connection, so after
//! calling everything the server itself lists them, and plans them as generic plans.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bedplate::database::Tx;
use bedplate::models::{OutboxClaim, Outcome, SessionData, SessionId, Settlement, TenantId, UserId};
use bedplate::outbox::Replay;
use bedplate::{Result, TenantContext};
use chrono::Utc;
use diesel::sql_types::{Integer, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use rstest::rstest;

use crate::exercise::{exercise, exercise_marketdata, exercise_rfq};
use crate::support::database::one_connection;
use crate::support::{TestDatabase, connection, db, execute, home, marketdata_db, number, rfq_db, texts};

/// Indexes that no repository's query uses by itself, and why they are there.
const NOT_IN_PLANS: [(&str, &str); 18] = [
    ("agent_results_input_data_idx", "inside search_agent_results()"),
    ("agent_results_insights_idx", "inside search_agent_results()"),
    ("agent_results_output_data_idx", "inside search_agent_results()"),
    ("business_ideas_search_idx", "inside search_business_ideas()"),
    ("evaluations_business_idea_id_open_key", "refuses a second open evaluation"),
    ("api_keys_replaced_by_idx", "foreign key"),
    ("events_created_at_idx", "only where there are many: see event_lists::a_range_of_time_is_found_by_its_index"),
    ("form_submissions_data_idx", "inside search_form_submissions()"),
    ("form_submissions_form_definition_id_idx", "foreign key"),
    ("idempotency_keys_created_at_idx", "keys are pruned by the system"),
    RELAYED[0],
    RELAYED[1],
    RELAYED[2],
    RELAYED[3],
    RELAYED[4],
    ("processed_events_event_id_key", "refuses a second effect"),
    ("tenants_slug_key", "tenants are found by the system"),
    ("tenants_status_idx", "tenants are listed by the system"),
];

/// Those of the relay and of maintenance: see `the_relay_has_its_indexes`.
const RELAYED: [(&str, &str); 5] = [
    ("outbox_events_available_at_idx", "messages are claimed by the system"),
    ("outbox_events_dead_at_idx", "dead letters are brought back by the system"),
    ("outbox_events_entity_id_idx", "messages are claimed by the system"),
    ("outbox_events_published_at_idx", "messages are pruned by the system"),
    ("processed_events_processed_at_idx", "marks are pruned by the system"),
];

#[derive(QueryableByName)]
struct Prepared {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = Integer)]
    parameters: i32,
}

#[rstest]
#[tokio::test]
async fn every_query_has_an_index(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    many_rows(&db).await;
    let database = one_connection(&db.url).await;
    exercise(&database, &home).await;

    let tables = "(business_ideas|evaluations|agent_results|users|tenants|organizations|roles|entitlements|_keys|audit_log|form_|outbox_|processed_|events AS e)";
    let plans = database.tenant_tx("explain", &home.context, async |tx| explain_all(&tx, tables).await).await.unwrap();

    assert!(plans.len() >= 75, "only {} queries were seen", plans.len());
    for query in plans.keys() {
        // A function takes the tenant of the transaction.
        assert!(
            ["tenant_id", "\"tenants\"", "create_form_validator"].iter().any(|named| query.contains(named)),
            "the query carries no tenant: {query}"
        );
    }
    all_by_index(&db, &plans, &NOT_IN_PLANS).await;
}

/// In a new database nothing was analyzed yet, and the planner takes every table for a small one.
#[rstest]
#[tokio::test]
async fn an_event_is_found_by_its_position_before_there_are_statistics(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let database = one_connection(&db.url).await;
    exercise(&database, &home).await;
    let tags = "FROM event_tags AS t";
    let plans = database.tenant_tx("explain", &home.context, async |tx| explain_all(&tx, tags).await).await.unwrap();
    assert!(!plans.is_empty());
    for (query, plan) in &plans {
        // Which of its indexes is the planner's choice, and from 17 on another one.
        let by_position = |line: &&str| line.contains("Index Cond:") && line.contains(r#""position" = t"#);
        let found = plan.lines().filter(by_position).count();
        assert_eq!(found, query.matches(tags).count(), "{query}\n{plan}");
    }
}

/// The same for the database `rfq`.
#[rstest]
#[tokio::test]
async fn every_query_of_rfq_has_an_index(#[future(awt)] rfq_db: TestDatabase) {
    let db = rfq_db;
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "SET ROLE bedplate_system; \
         INSERT INTO rfqs (tenant_id, id, instrument_symbol, side, quantity, requested_by, created_at, expires_at) \
             SELECT md5('t' || t)::uuid, md5(concat(t, 'r', n))::uuid, 'S' || n % 10, 'buy', 1, md5('u' || n % 20)::uuid, \
                    now() - n * interval '1 minute', now() + n * interval '1 hour' \
               FROM generate_series(1, 20) AS t, generate_series(1, 200) AS n; \
         INSERT INTO rfq_quotes (tenant_id, id, rfq_id, venue_code, price, quantity, valid_until) \
             SELECT tenant_id, md5(concat(id, n))::uuid, id, 'XNAS', n, 1, expires_at FROM rfqs, generate_series(1, 5) AS n; \
         RESET ROLE; ANALYZE",
    )
    .await;
    let database = one_connection(&db.url).await;
    let context = TenantContext::new(TenantId::new());
    exercise_rfq(&database, &context).await;
    let plans = database
        .rfq()
        .tenant_tx("explain", &context, async |tx| {
            explain_all(&tx, "(rfqs|rfq_quotes|audit_log|outbox_|processed_)").await
        })
        .await
        .unwrap();
    assert!(plans.len() >= 23, "only {} queries were seen", plans.len());
    for query in plans.keys() {
        assert!(query.contains("tenant_id"), "the query carries no tenant: {query}");
    }
    let refusing = [
        ("rfq_quotes_rfq_id_key", "refuses a second accepted quote"),
        ("processed_events_event_id_key", "refuses a second effect"),
    ];
    let exempt = [refusing.as_slice(), &RELAYED].concat();
    all_by_index(&db, &plans, &exempt).await;
}

/// The same for the database `marketdata`; and the latest prices are looked for in the days of the last day first.
#[rstest]
#[tokio::test]
async fn every_query_of_marketdata_has_an_index(#[future(awt)] marketdata_db: TestDatabase) {
    let db = marketdata_db;
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "SELECT create_price_tick_partition((now() AT TIME ZONE 'UTC')::date - n) FROM generate_series(-3, 30) AS n; \
         SET ROLE bedplate_system; \
         INSERT INTO venues SELECT 'V' || n, 'Venue', 'US', 'UTC' FROM generate_series(100, 300) AS n; \
         INSERT INTO instruments SELECT 'S' || n, 'Instrument', (ARRAY['equity', 'fx', 'bond', 'commodity', 'crypto'])[1 + n % 5], \
                'USD', 1, 1, 'V' || 100 + n % 200 FROM generate_series(1, 2000) AS n; \
         INSERT INTO price_ticks (instrument_symbol, ts, last) SELECT 'S' || n, now() - d * interval '1 day', 1 \
           FROM generate_series(1, 200) AS n, generate_series(0, 30) AS d; \
         RESET ROLE; ANALYZE",
    )
    .await;
    let database = one_connection(&db.url).await;
    let plans = database
        .marketdata()
        .read_tx("exercise", async |tx| {
            exercise_marketdata(&tx).await?;
            explain_all(&tx, "(venues|instruments|price_ticks)").await
        })
        .await
        .unwrap();
    assert!(plans.len() >= 12, "only {} queries were seen", plans.len());
    all_by_index(&db, &plans, &[]).await;
    let (_, recent) = plans.iter().find(|(query, _)| query.contains("interval '1 day'")).expect("the latest prices");
    let days = recent.matches("Index Scan Backward using price_ticks_").count();
    assert!(
        recent.contains("Subplans Removed: 29") && days == 6,
        "yesterday, four from today on, the default:\n{recent}"
    );
}

/// No plan reads a whole table or sorts a page, and every index is used by one, but for `exempt`.
async fn all_by_index(db: &TestDatabase, plans: &BTreeMap<String, String>, exempt: &[(&str, &str)]) {
    let mut used = BTreeSet::new();
    for (query, plan) in plans {
        assert!(!plan.contains("Seq Scan"), "{query}\n{plan}");
        // A page comes in the index's order. Sorted are a search, which comes through a function, the
        // few that are deleted, the seven results that an evaluation has at most, and events by time: alone, or of a
        // type that is rare (see event_lists::a_range_of_time_is_found_by_its_index).
        if query.contains("ORDER BY")
            && query.contains("LIMIT")
            && ![
                "search_",
                "claimed",
                "\"evaluation_id\" =",
                "\"deleted_at\" IS NOT NULL",
                "e.position + 0",
                "e.event_type = $4 AND ($6",
            ]
            .iter()
            .any(|few| query.contains(few))
        {
            // A Merge Append of months, which are in order each, has a Sort Key and does not sort.
            assert!(!plan.contains("->  Sort") && !plan.contains("Incremental Sort"), "{query}\n{plan}");
        }
        used.extend(
            plan.split_whitespace()
                .zip(plan.split_whitespace().skip(1))
                .filter(|(a, _)| *a == "using" || *a == "on")
                .map(|(_, index)| index.to_owned()),
        );
    }
    let mut owner = connection(&db.url).await;
    let indexes: BTreeSet<_> = texts(
        &mut owner,
        "SELECT indexrelid::regclass FROM pg_index AS i JOIN pg_class AS c ON c.oid = indrelid \
        WHERE relnamespace = 'public'::regnamespace AND NOT starts_with(relname, '__') AND NOT indisprimary \
          AND NOT relispartition AND relname <> 'sessions'",
    )
    .await
    .into_iter()
    .collect();
    // A plan names the indexes of partitions.
    let parents =
        texts(&mut owner, "SELECT concat(inhrelid::regclass, ' ', inhparent::regclass) FROM pg_inherits").await;
    for (partition, parent) in parents.iter().filter_map(|pair| pair.split_once(' ')) {
        if used.contains(partition) {
            used.insert(parent.to_owned());
        }
    }
    let idle: BTreeSet<_> = indexes.difference(&used).cloned().collect();
    assert_eq!(idle, exempt.iter().map(|(index, _)| (*index).to_owned()).collect(), "indexes that no query uses");
}

/// The plan of every statement that was prepared on the transaction's connection and names one of these tables.
async fn explain_all<S>(tx: &Tx<S>, tables: &str) -> Result<BTreeMap<String, String>> {
    let mut connection = tx.connection();
    // A query without binds has kept the plan of its first run.
    let settings = "DISCARD PLANS; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off";
    connection.batch_execute(settings).await?;
    let prepared: Vec<Prepared> = sql_query(format!(
        "SELECT name, statement, cardinality(parameter_types) AS parameters FROM pg_prepared_statements \
          WHERE statement ~ '{tables}' AND statement !~ 'pg_'"
    ))
    .load(&mut connection)
    .await?;
    let mut plans = BTreeMap::new();
    for query in prepared {
        let nulls = vec!["NULL"; usize::try_from(query.parameters).unwrap()].join(", ");
        let nulls = if nulls.is_empty() { nulls } else { format!("({nulls})") };
        let explain = format!("EXPLAIN (COSTS off) EXECUTE \"{}\" {nulls}", query.name);
        plans.insert(query.statement, lines(tx, &explain).await?);
    }
    Ok(plans)
}

/// What relays, `bedplate outbox` and `bedplate maintain` ask for, as `bedplate_system`.
#[rstest]
#[tokio::test]
async fn the_relay_has_its_indexes(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "SET ROLE bedplate_system; \
         INSERT INTO outbox_events (tenant_id, event_type, entity_type, entity_id, payload, published_at, dead_at, created_at) \
             SELECT md5('t' || n % 20)::uuid, 'e' || n % 5, 'x', n % 100, '1', CASE n % 3 WHEN 0 THEN now() - n * interval '1 h' END, \
                    CASE n % 30 WHEN 1 THEN now() - n * interval '1 h' END, now() FROM generate_series(1, 5000) AS n; \
         INSERT INTO processed_events (tenant_id, consumer_group, event_id, event_type, processed_at) \
             SELECT md5('t' || n % 20)::uuid, 'g', gen_random_uuid(), 'e', now() - n * interval '1 h' FROM generate_series(1, 2000) AS n; \
         RESET ROLE; ANALYZE",
    )
    .await;
    let database = one_connection(&db.url).await;
    let plans = database
        .system_tx("exercise", async |tx| {
            let queue = tx.outbox_queue();
            let claimed = queue.claim(OutboxClaim { worker: "w", limit: 50, lease: Duration::from_mins(1) }).await?;
            let outcomes = [Outcome::Published, Outcome::Released];
            let settled: Vec<_> = claimed
                .messages
                .iter()
                .zip(outcomes.into_iter().cycle())
                .map(|(message, outcome)| Settlement::new(message, claimed.claim_id, outcome))
                .collect();
            assert_eq!(queue.settle(&settled).await?, settled.len());
            queue.replay(&Replay::All, Utc::now(), 10).await?;
            queue.list_dead(5).await?;
            queue.prune(7, 100).await?;
            queue.prune_orphans(7, 100).await?;
            tx.prune_processed_events(30, 100).await?;
            explain_all(&tx, "(outbox_|processed_)").await
        })
        .await
        .unwrap();
    assert!(plans.len() >= 10, "{plans:?}");
    for (query, plan) in &plans {
        assert!(!plan.contains("Seq Scan on outbox") && !plan.contains("Seq Scan on processed"), "{query}\n{plan}");
    }
    let all: String = plans.values().cloned().collect();
    for (index, _) in RELAYED {
        assert!(all.contains(index), "{index}: {all}");
    }
}

/// The functions that step over the policies use their indexes, which under a policy would be lost.
#[rstest]
#[tokio::test]
async fn searches_use_their_indexes(#[future(awt)] db: TestDatabase) {
    many_rows(&db).await;
    let mut app = connection(db.config().url()).await;
    execute(&mut app, "SET ROLE bedplate_app; SELECT set_config('app.tenant_id', md5('t1')::uuid::text, false)").await;
    for (call, index) in [
        ("search_business_ideas('number77')", "business_ideas_search_idx"),
        ("search_agent_results('input_data', '{\"n\": 77}')", "agent_results_input_data_idx"),
        ("search_agent_results('output_data', '{\"n\": 77}')", "agent_results_output_data_idx"),
        ("search_agent_results('insights', '[\"number77\"]')", "agent_results_insights_idx"),
        (
            "search_form_submissions('{\"n\": 77}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 9)",
            "form_submissions_data_idx",
        ),
    ] {
        let scans = format!("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{index}'");
        let before = number(&mut app, &scans).await;
        execute(&mut app, &format!("SELECT {call}; SELECT pg_stat_force_next_flush()")).await;
        // The statistics of this session are written at its next command.
        execute(&mut app, "SELECT pg_stat_clear_snapshot()").await;
        assert!(number(&mut app, &scans).await > before, "{call} does not use {index}");
    }
}

/// Twenty tenants with two hundred ideas each, so that the planner has something to choose.
async fn many_rows(db: &TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system; \
        INSERT INTO tenants (id, slug, name) SELECT md5('t' || n)::uuid, 'many-' || n, 'Many' FROM generate_series(1, 20) AS n; \
        INSERT INTO users (tenant_id, id, email, username, name, password_hash) \
            SELECT t.id, md5('u' || n)::uuid, 'u' || n || '@example.com', 'u' || n, 'User', '$argon2id$x' \
              FROM tenants AS t, generate_series(1, 20) AS n WHERE starts_with(t.slug, 'many-'); \
        INSERT INTO business_ideas (tenant_id, id, user_id, title, description, status, created_at) \
            SELECT u.tenant_id, md5(u.id::text || n)::uuid, u.id, 'Idea number' || n, repeat('long enough ', 6), \
                   'submitted', now() - n * interval '1 minute' \
              FROM users AS u, generate_series(1, 10) AS n WHERE u.email LIKE 'u%'; \
        INSERT INTO business_ideas (tenant_id, id, user_id, title, description) \
            SELECT tenant_id, md5('x' || n)::uuid, user_id, 'Idea number' || n, repeat('long enough ', 6) \
              FROM (SELECT tenant_id, user_id FROM business_ideas LIMIT 1) AS i, generate_series(50, 250) AS n; \
        INSERT INTO evaluations (tenant_id, id, business_idea_id, created_at) \
            SELECT tenant_id, id, id, created_at FROM business_ideas WHERE status = 'submitted'; \
        INSERT INTO agent_results (tenant_id, id, evaluation_id, agent_type, input_data, output_data, insights) \
            SELECT tenant_id, id, id, (ARRAY['synthesis', 'market-research', 'risk-assessment', 'customer-research'])[1 + n % 4], json, json, jsonb_build_array('number' || n) \
              FROM (SELECT *, row_number() OVER () AS n FROM evaluations) AS e, \
                   LATERAL (SELECT jsonb_build_object('n', n) AS json) AS j; \
        INSERT INTO organizations (tenant_id, id, name, slug, created_at) \
            SELECT t.id, md5('o' || n)::uuid, 'Organization', 'o' || n, now() - n * interval '1 minute' \
              FROM tenants AS t, generate_series(1, 200) AS n WHERE starts_with(t.slug, 'many-'); \
        INSERT INTO user_organizations (tenant_id, organization_id, user_id) \
            SELECT o.tenant_id, o.id, u.id FROM organizations AS o JOIN users AS u USING (tenant_id) \
             WHERE hashtext(o.id::text || u.id::text) % 10 = 0; \
        INSERT INTO api_keys (tenant_id, id, organization_id, user_id, name, prefix, key_hash, created_at) \
            SELECT o.tenant_id, o.id, o.id, u.id, 'Key', 'bp_', sha256('x'), o.created_at \
              FROM organizations AS o JOIN users AS u ON u.tenant_id = o.tenant_id AND u.username = 'u' || (1 + abs(hashtext(o.slug)) % 20); \
        INSERT INTO user_roles (tenant_id, id, user_id, role) \
            SELECT tenant_id, md5(id::text || n)::uuid, id, 'role' || n FROM users, generate_series(1, 20) AS n WHERE email LIKE 'u%'; \
        INSERT INTO user_entitlements (tenant_id, id, user_id) SELECT tenant_id, id, id FROM users WHERE email LIKE 'u%'; \
        INSERT INTO form_definitions (tenant_id, id, name, version, status, definition, program, published_at) \
            SELECT t.id, md5(concat('f', f, v))::uuid, 'form' || f, v, CASE v WHEN 1 THEN 'archived' ELSE 'active' END, \
                   '{}', '{}', now() \
              FROM tenants AS t, generate_series(1, 100) AS f, generate_series(1, 2) AS v WHERE starts_with(t.slug, 'many-'); \
        INSERT INTO form_submissions (tenant_id, id, form_definition_id, form_version, status, data, created_at) \
            SELECT t.id, md5('s' || n)::uuid, md5(concat('f', 1 + n % 5, 2))::uuid, 2, 'draft', \
                   jsonb_build_object('n', n, 'title', 'Title' || n % 100, 'priority', nullif(n % 50, 0)), \
                   now() - n * interval '1 minute' \
              FROM tenants AS t, generate_series(1, 2500) AS n WHERE t.slug = 'many-1' OR (starts_with(t.slug, 'many-') AND n <= 200); \
        SET ROLE bedplate_app; \
        DO $$ BEGIN FOR t IN 1 .. 20 LOOP \
            PERFORM set_config('app.tenant_id', md5('t' || t)::uuid::text, true); \
            PERFORM append_events(jsonb_agg(jsonb_build_object( \
                    'event_type', 'Type' || n % 20, 'event_data', '{}'::jsonb, 'correlation_id', md5('r' || n / 3)::uuid, \
                    'tags', jsonb_build_array('course:' || n % 30, 'skipper:' || n)))) \
               FROM generate_series(1, 200) AS n; \
        END LOOP; END $$; \
        SET app.tenant_id = ''; \
        RESET ROLE; SELECT gin_clean_pending_list('form_submissions_data_idx'); ANALYZE").await;
}

/// As their own role, which no policy binds.
#[rstest]
#[tokio::test]
async fn sessions_have_their_indexes(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        "INSERT INTO sessions SELECT n, json_build_object('tenant_id', n, 'user_id', n), now() + n * interval '1 s' \
        FROM generate_series(-2000, 2000) AS n; ANALYZE sessions",
    )
    .await;
    let database = one_connection(&db.url).await;
    let (id, data, end) = (SessionId::new(), SessionData::new(), Utc::now() + chrono::TimeDelta::hours(1));
    let plans = database
        .session_tx("exercise", async |tx| {
            let sessions = tx.sessions();
            sessions.create(&id, &data, end).await?;
            sessions.find(&id).await?;
            sessions.save(&id, &data, end).await?;
            sessions.touch(&id, end).await?;
            let id = sessions.cycle_id(&id).await?;
            sessions.delete(&id).await?;
            sessions.revoke_user(TenantId::new(), UserId::new()).await?;
            sessions.prune(10).await?;
            explain_all(&tx, "sessions").await
        })
        .await
        .unwrap();
    assert!(plans.len() >= 8, "{plans:?}");
    let all: String = plans.values().cloned().collect();
    for (query, plan) in &plans {
        assert!(!plan.contains("Seq Scan"), "{query}\n{plan}");
    }
    for index in ["sessions_pkey", "sessions_user_idx", "sessions_expire_idx"] {
        assert!(all.contains(index), "{index}: {all}");
    }
}

async fn lines<S>(tx: &Tx<S>, explain: &str) -> Result<String> {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let lines: Vec<Line> = sql_query(explain).load(&mut tx.connection()).await?;
    Ok(lines.into_iter().map(|line| line.line).collect::<Vec<_>>().join("\n"))
}
