//! Every repository query has an index, as `bedplate_app`, under the policies.
//!
//! The queries are those that the repositories really send: each is prepared on its connection, so after
//! calling everything the server itself lists them, and plans them as generic plans.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bedplate::database::Tx;
use bedplate::models::{
    AgentOutput, AgentResultFilter, AgentResultStatus, AgentType, ApiKeyFilter, AuditFilter, AuditedEntity,
    BusinessIdeaChanges, BusinessIdeaFilter, BusinessIdeaSort, BusinessIdeaStatus, Claim, EvaluationFilter,
    EvaluationStatus, JsonField, NewApiKey, NewBusinessIdea, NewEntitlement, NewUser, OrganizationChanges,
    OrganizationRole, PageRequest, SessionData, SessionId, TenantId, UserChanges, UserFilter, UserId, UserStatus,
};
use bedplate::{Database, Result, TenantTx};
use chrono::Utc;
use diesel::sql_types::{Integer, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::builders::{DESCRIPTION, PASSWORD, password_hash};
use crate::support::database::config;
use crate::support::{Home, TestDatabase, connection, db, execute, home, number, organization, texts, user};

/// Indexes that no repository's query uses by itself, and why they are there.
const NOT_IN_PLANS: [(&str, &str); 9] = [
    ("agent_results_input_data_idx", "inside search_agent_results()"),
    ("agent_results_insights_idx", "inside search_agent_results()"),
    ("agent_results_output_data_idx", "inside search_agent_results()"),
    ("business_ideas_search_idx", "inside search_business_ideas()"),
    ("evaluations_business_idea_id_open_key", "refuses a second open evaluation"),
    ("api_keys_replaced_by_idx", "foreign key"),
    ("idempotency_keys_created_at_idx", "keys are pruned by the system"),
    ("tenants_slug_key", "tenants are found by the system"),
    ("tenants_status_idx", "tenants are listed by the system"),
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
    let mut single = config(&db.url);
    single.pool.max_size = 1;
    let database = Database::connect(single).await.unwrap();
    exercise(&database, &home).await;

    let tables =
        "(business_ideas|evaluations|agent_results|users|tenants|organizations|roles|entitlements|_keys|audit_log)";
    let plans = database.tenant_tx("explain", &home.context, async |tx| explain_all(&tx, tables).await).await.unwrap();

    assert!(plans.len() >= 75, "only {} queries were seen", plans.len());
    let mut used = BTreeSet::new();
    for (query, plan) in &plans {
        assert!(!plan.contains("Seq Scan"), "{query}\n{plan}");
        assert!(query.contains("tenant_id") || query.contains("\"tenants\""), "the query carries no tenant: {query}");
        // A page comes in the index's order. Sorted are a search, which comes through a function, the
        // few that are deleted, and the seven results that an evaluation has at most.
        if query.contains("ORDER BY")
            && query.contains("LIMIT")
            && !["search_", "claimed", "\"evaluation_id\" =", "\"deleted_at\" IS NOT NULL"]
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
    assert_eq!(idle, NOT_IN_PLANS.iter().map(|(index, _)| (*index).to_owned()).collect(), "indexes that no query uses");
}

/// The plan of every statement that was prepared on the transaction's connection and names one of these tables.
async fn explain_all<S>(tx: &Tx<S>, tables: &str) -> Result<BTreeMap<String, String>> {
    let mut connection = tx.connection();
    connection.batch_execute("SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off").await?;
    let prepared: Vec<Prepared> = sql_query(format!(
        "SELECT name, statement, cardinality(parameter_types) AS parameters FROM pg_prepared_statements \
          WHERE statement ~ '{tables}' AND statement !~ 'pg_'"
    ))
    .load(&mut connection)
    .await?;
    let mut plans = BTreeMap::new();
    for query in prepared {
        let nulls = vec!["NULL"; usize::try_from(query.parameters).unwrap()].join(", ");
        let explain = format!("EXPLAIN (COSTS off) EXECUTE \"{}\" ({nulls})", query.name);
        plans.insert(query.statement, lines(tx, &explain).await?);
    }
    Ok(plans)
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
        RESET ROLE; ANALYZE").await;
}

/// Calls every method of every repository, with every filter and order.
async fn exercise(db: &Database, home: &Home) {
    let hash = password_hash().await;
    db.authenticate(&home.context, "owner@example.com", &PASSWORD.into()).await.unwrap();
    db.tenant_tx("exercise", &home.context, async |tx| {
        let page = async |n| -> Result<_> { Ok(PageRequest { limit: n, after: None }) };
        tx.tenant().await?;
        let users = tx.users();
        let new = NewUser { email: "x@example.com", username: "x", name: "X", display_name: None, password_hash: hash };
        let user = users.create(new).await?;
        users.find_by_email("x@example.com").await?;
        users.find_by_username("x").await?;
        users.update(user.id, UserChanges { name: Some("Y"), ..UserChanges::default() }).await?;
        users.set_password(user.id, hash).await?;
        for status in [None, Some(UserStatus::Active)] {
            let first = users.list(&UserFilter { status }, &page(1).await?).await?;
            users.list(&UserFilter { status }, &PageRequest { limit: 1, after: first.next }).await?;
        }
        let ideas = tx.business_ideas();
        let new = NewBusinessIdea { user_id: user.id, title: "Tea", description: DESCRIPTION };
        let idea = ideas.create(new).await?;
        let many = ideas.create_many(&[new; 6]).await?;
        ideas.update(idea.id, 0, BusinessIdeaChanges { title: Some("T"), description: None }).await?;
        ideas.update(idea.id, 1, BusinessIdeaChanges::default()).await?;
        ideas.archive(many[0].id).await?;
        ideas.delete(many[1].id).await?;
        ideas.restore(many[1].id).await?;
        ideas.delete(many[1].id).await?;
        ideas.delete(many[0].id).await?;
        ideas.statistics().await?;
        for sort in [BusinessIdeaSort::Newest, BusinessIdeaSort::Oldest, BusinessIdeaSort::Title] {
            for filter in [
                BusinessIdeaFilter::default(),
                BusinessIdeaFilter { deleted: true, ..BusinessIdeaFilter::default() },
                BusinessIdeaFilter { search: Some("tea".into()), ..BusinessIdeaFilter::default() },
            ] {
                list_ideas(&tx, &filter, sort).await?;
            }
        }
        let newest = BusinessIdeaSort::Newest;
        list_ideas(&tx, &BusinessIdeaFilter { user_id: Some(user.id), ..BusinessIdeaFilter::default() }, newest)
            .await?;
        list_ideas(
            &tx,
            &BusinessIdeaFilter { status: Some(BusinessIdeaStatus::Draft), ..BusinessIdeaFilter::default() },
            newest,
        )
        .await?;
        let evaluations = tx.evaluations();
        let mut open = Vec::new();
        for idea in &many[2..5] {
            open.push(ideas.submit(idea.id).await?);
        }
        evaluations.cancel(open[2].id, "not wanted").await?;
        let claimed = evaluations.claim(Claim::new("worker").limit(2)).await?;
        let (first, second) = (&claimed[0].1, &claimed[1].1);
        evaluations.extend(first, Duration::from_mins(1)).await?;
        let results = tx.agent_results();
        let all = results.list_by_evaluation(first.evaluation_id).await?;
        results.start(first, all[0].id, &json!({})).await?;
        results.fail(first, all[0].id, "no answer").await?;
        results.retry(first, all[0].id).await?;
        for result in &all {
            results.start(first, result.id, &json!({})).await?;
            results.complete(first, result.id, &AgentOutput::default()).await?;
        }
        results.find(all[0].id).await?;
        evaluations.complete(first).await?;
        evaluations.fail(second, "no answer").await?;
        evaluations.find(first.evaluation_id).await?;
        ideas.reopen(claimed[0].0.business_idea_id).await?;
        for filter in [
            EvaluationFilter::default(),
            EvaluationFilter { business_idea_id: Some(many[2].id), status: None },
            EvaluationFilter { business_idea_id: None, status: Some(EvaluationStatus::Completed) },
        ] {
            let first = evaluations.list(&filter, &page(1).await?).await?;
            evaluations.list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
        }
        let by = AgentResultFilter::default;
        for filter in [
            by(),
            AgentResultFilter { evaluation_id: Some(first.evaluation_id), ..by() },
            AgentResultFilter { agent_type: Some(AgentType::MarketResearch), ..by() },
            AgentResultFilter { status: Some(AgentResultStatus::Completed), ..by() },
            AgentResultFilter { min_score: Some(1.0), ..by() },
            AgentResultFilter { contains: Some((JsonField::Output, json!({}))), ..by() },
        ] {
            let first = results.list(&filter, &page(1).await?).await?;
            results.list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
        }
        users.delete(user.id).await.map(|_| ())
    })
    .await
    .unwrap();
    takes_over(db, home).await;
    exercise_identity(db, home).await;
    exercise_audit(db, home).await;
}

async fn exercise_identity(db: &Database, home: &Home) {
    let ada = user(db, home, "ada").await;
    let lab = organization(db, home, "lab").await.id;
    let other = organization(db, home, "other").await.id;
    let settings = json!({});
    let changes = OrganizationChanges { settings: Some(&settings), ..OrganizationChanges::default() };
    let key = db
        .tenant_tx("exercise", &home.context, async |tx| {
            let (organizations, memberships) = (tx.organizations(), tx.memberships());
            organizations.find(lab).await?;
            organizations.find_by_slug("lab").await?;
            organizations.update(lab, changes).await?;
            let first = organizations.list(&PageRequest::first(1)).await?;
            organizations.list(&PageRequest { limit: 1, after: first.next }).await?;
            memberships.add(lab, ada, OrganizationRole::Member).await?;
            memberships.add(other, ada, OrganizationRole::Member).await?;
            memberships.find(lab, ada).await?;
            memberships.set_role(lab, ada, OrganizationRole::Admin).await?;
            memberships.transfer_ownership(lab, home.user, ada).await?;
            let first = memberships.list_members(lab, &PageRequest::first(1)).await?;
            memberships.list_members(lab, &PageRequest { limit: 1, after: first.next }).await?;
            let first = memberships.list_organizations(ada, &PageRequest::first(1)).await?;
            memberships.list_organizations(ada, &PageRequest { limit: 1, after: first.next }).await?;
            memberships.remove(lab, home.user).await?;
            tx.roles().grant(ada, "trader").await?;
            tx.roles().has(ada, "trader").await?;
            tx.roles().list(ada).await?;
            tx.roles().list_users("trader").await?;
            tx.roles().revoke(ada, "trader").await?;
            tx.entitlements().set(ada, &NewEntitlement::default()).await?;
            tx.entitlements().find(ada).await?;
            tx.entitlements().delete(ada).await?;
            let new =
                NewApiKey { user_id: ada, organization_id: Some(lab), name: "Key", scopes: &[], expires_at: None };
            let keys = tx.api_keys();
            let (key, _) = keys.create(new).await?;
            keys.find(key.id).await?;
            keys.rotate(key.id, Duration::ZERO).await?;
            for filter in [
                ApiKeyFilter::default(),
                ApiKeyFilter { organization_id: Some(lab), user_id: None },
                ApiKeyFilter { organization_id: None, user_id: Some(ada) },
            ] {
                let first = keys.list(&filter, &PageRequest::first(1)).await?;
                keys.list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
            }
            keys.revoke(key.id).await?;
            let (_, valid) = keys.create(new).await?;
            for _ in 0..2 {
                tx.idempotent("key", &1, async { Ok(()) }).await?;
            }
            organizations.delete(other).await?;
            Ok(valid)
        })
        .await
        .unwrap();
    // The use is written by a task that needs the only connection: the next transaction comes after it.
    db.authenticate_key(&key.reveal()).await.unwrap();
}

async fn exercise_audit(db: &Database, home: &Home) {
    db.tenant_tx("exercise", &home.context.clone().correlation(Uuid::now_v7()), async |tx| {
        let audit = tx.audit();
        let entity: AuditedEntity = home.user.into();
        audit.record("users.looked_at", entity.clone(), &json!({})).await?;
        audit.as_of(entity.clone(), Utc::now()).await?;
        let all = AuditFilter::default;
        for filter in [
            all(),
            AuditFilter { entity: Some(entity), ..all() },
            AuditFilter { user_id: Some(home.user), ..all() },
            AuditFilter { correlation_id: Some(Uuid::now_v7()), ..all() },
            AuditFilter { from: Some(Utc::now()), until: Some(Utc::now()), ..all() },
        ] {
            let first = audit.list(&filter, &PageRequest::first(1)).await?;
            audit.list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
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
    let mut single = config(&db.url);
    single.pool.max_size = 1;
    let database = Database::connect(single).await.unwrap();
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

async fn list_ideas(tx: &TenantTx, filter: &BusinessIdeaFilter, sort: BusinessIdeaSort) -> Result<()> {
    let first = tx.business_ideas().list(filter, sort, &PageRequest::first(1)).await?;
    if first.next.is_some() {
        tx.business_ideas().list(filter, sort, &PageRequest { limit: 1, after: first.next }).await?;
    }
    Ok(())
}

/// A lease of a millisecond runs out between two transactions.
async fn takes_over(db: &Database, home: &Home) {
    db.tenant_tx("take over", &home.context, async |tx| {
        let new = NewBusinessIdea { user_id: home.user, title: "Tea", description: DESCRIPTION };
        let idea = tx.business_ideas().create(new).await?;
        tx.business_ideas().submit(idea.id).await?;
        tx.evaluations().claim(Claim::new("first").lease(Duration::from_millis(1))).await
    })
    .await
    .unwrap();
    let taken = async || {
        db.tenant_tx("take over", &home.context, async |tx| tx.evaluations().claim(Claim::new("second")).await)
            .await
            .unwrap()
    };
    while taken().await.is_empty() {
        tokio::task::yield_now().await;
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
