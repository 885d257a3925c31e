//! Every method of every repository, called with every filter and order: for `plans`, which looks at what they
//! sent.

use std::time::Duration;

use bedplate::events::{
    AppendCondition, EventFilter, EventQuery, ExpectedVersion, NewEvent, QueryItem, ReadFrom, Stream,
};
use bedplate::models::{
    AgentOutput, AgentResultFilter, AgentResultStatus, AgentType, ApiKeyFilter, AssetClass, AuditFilter, AuditedEntity,
    BusinessIdeaChanges, BusinessIdeaFilter, BusinessIdeaSort, BusinessIdeaStatus, Claim, EvaluationFilter,
    EvaluationStatus, FormDefinitionChanges, FormDefinitionFilter, FormDefinitionStatus, FormSubmissionFilter,
    FormSubmissionSort, FormSubmissionStatus, InstrumentFilter, JsonField, NewApiKey, NewBusinessIdea, NewEntitlement,
    NewFormDefinition, NewFormSubmission, NewOutboxEvent, NewRfq, NewRfqQuote, NewUser, OrganizationChanges,
    OrganizationRole, PageRequest, RfqFilter, RfqStatus, Side, UserChanges, UserFilter, UserId, UserStatus,
};
use bedplate::repositories::AuditRepository;
use bedplate::{Database, MarketdataTx, Result, TenantContext, TenantTx};
use bigdecimal::BigDecimal;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::support::builders::{DESCRIPTION, PASSWORD, password_hash};
use crate::support::{Home, organization, user};

/// Calls every method of every repository, with every filter and order.
pub async fn exercise(db: &Database, home: &Home) {
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
    exercise_forms(db, home).await;
    exercise_audit(db, home).await;
    exercise_events(db, home).await;
    exercise_outbox(db, home).await;
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

async fn exercise_forms(db: &Database, home: &Home) {
    let (schema, data) = (json!({"required": ["title"]}), json!({"title": "Tea", "priority": 1}));
    let new = NewFormDefinition { name: "tea", definition: &schema, resources: None, assert_formats: false };
    let form = db
        .tenant_tx("exercise", &home.context, async |tx| {
            let forms = tx.form_definitions();
            let form = forms.create(new).await?;
            let changes = FormDefinitionChanges { definition: Some(&schema), ..FormDefinitionChanges::default() };
            forms.update(form.id, 0, changes).await?;
            forms.update(form.id, 1, FormDefinitionChanges::default()).await?;
            forms.publish(form.id).await?;
            let next = forms.clone_version(form.id).await?;
            forms.publish(next.id).await?;
            forms.clone_version(next.id).await?;
            let draft = forms.clone_version(form.id).await?;
            forms.delete(draft.id).await?;
            forms.find(form.id).await?;
            forms.find_by_name_and_version("tea", 1).await?;
            let first = forms.list_versions("tea", &PageRequest::first(1)).await?;
            forms.list_versions("tea", &PageRequest { limit: 1, after: first.next }).await?;
            for status in [None, Some(FormDefinitionStatus::Active)] {
                let filter = FormDefinitionFilter { status };
                let first = forms.list(&filter, &PageRequest::first(1)).await?;
                forms.list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
            }
            forms.find_active("tea").await
        })
        .await
        .unwrap();
    db.tenant_tx("exercise", &home.context, async |tx| {
        let submissions = tx.form_submissions();
        let new = NewFormSubmission { form_definition_id: form.id, data: &data, submit: false };
        let draft = submissions.create(new).await?;
        submissions.create(NewFormSubmission { submit: true, ..new }).await?;
        // What is kept is compared with what is there before it refuses.
        submissions.create(NewFormSubmission { submit: true, data: &json!({}), ..new }).await.unwrap_err();
        submissions.create_many(&[new, NewFormSubmission { data: &json!({}), ..new }, new]).await?;
        submissions.create_many(&[NewFormSubmission { data: &json!({}), ..new }; 2]).await?;
        submissions.save(draft.id, 0, &data).await?;
        submissions.submit(draft.id, 1).await?;
        submissions.amend(draft.id, 2, &data).await?;
        submissions.archive(draft.id).await?;
        let all = FormSubmissionFilter::default;
        let of_form = || FormSubmissionFilter { form_definition_id: Some(form.id), ..all() };
        for filter in [
            all(),
            FormSubmissionFilter { status: Some(FormSubmissionStatus::Draft), ..all() },
            FormSubmissionFilter { created_after: Some(yesterday()), created_before: Some(Utc::now()), ..all() },
            FormSubmissionFilter { contains: Some(json!({"title": "Tea"})), ..all() },
            of_form(),
            FormSubmissionFilter { status: Some(FormSubmissionStatus::Draft), ..of_form() },
            FormSubmissionFilter { priority: Some(1), ..of_form() },
            FormSubmissionFilter { title: Some("Tea".into()), ..of_form() },
        ] {
            list_submissions(&tx, &filter, FormSubmissionSort::Newest).await?;
        }
        list_submissions(&tx, &of_form(), FormSubmissionSort::Oldest).await?;
        list_submissions(&tx, &of_form(), FormSubmissionSort::Priority).await?;
        list_submissions(&tx, &of_form(), FormSubmissionSort::Title).await?;
        tx.form_definitions().archive(form.id).await.map(|_| ())
    })
    .await
    .unwrap();
}

fn yesterday() -> chrono::DateTime<Utc> {
    Utc::now() - TimeDelta::days(1)
}

/// Every page: the last ones are of the rows without a priority or title.
async fn list_submissions(tx: &TenantTx, filter: &FormSubmissionFilter, sort: FormSubmissionSort) -> Result<()> {
    let mut page = PageRequest::first(2);
    loop {
        page.after = tx.form_submissions().list(filter, sort, &page).await?.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

async fn exercise_events(db: &Database, home: &Home) {
    let event = || NewEvent::new("SeatTaken", json!({})).tag("course", 1).tag("skipper", 2);
    let stream = Stream { aggregate_type: "course", aggregate_id: Uuid::now_v7() };
    let by_tag = EventQuery::tag("course", 1);
    let queries = [
        EventQuery::all(),
        EventQuery::event_type("SeatTaken"),
        EventQuery::from(QueryItem::default().event_type("SeatTaken").event_type("SeatGiven")),
        by_tag.clone(),
        QueryItem::default().tag("course", 1).tag("skipper", 2).event_type("SeatTaken").into(),
        by_tag.clone().or(QueryItem::default().event_type("SeatTaken")),
    ];
    let (by_tag, queries) = (&by_tag, &queries);
    db.tenant_tx("exercise", &home.context.clone().correlation(Uuid::now_v7()), async move |tx| {
        let events = tx.events();
        let seen = events.read_to_decide(by_tag).await?;
        let condition = AppendCondition::fail_if(by_tag.clone()).after(seen.token);
        events.append(&[event()], Some(&condition)).await?;
        events.append_to_stream(stream, ExpectedVersion::NoStream, &[event()]).await?;
        for query in queries {
            for from in [ReadFrom::Start, ReadFrom::After(1), ReadFrom::End, ReadFrom::Before(9)] {
                events.read(query, from, 10).await?;
            }
        }
        let all = EventFilter::default;
        for filter in [
            all(),
            EventFilter { event_type: Some("SeatTaken".into()), ..all() },
            EventFilter { correlation_id: Some(Uuid::now_v7()), ..all() },
            EventFilter { from: Some(yesterday()), until: Some(Utc::now()), ..all() },
            EventFilter { event_type: Some("SeatTaken".into()), from: Some(yesterday()), ..all() },
            EventFilter { correlation_id: Some(Uuid::now_v7()), until: Some(Utc::now()), ..all() },
        ] {
            let first = events.list(&filter, &PageRequest::first(1)).await?;
            events.list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
        }
        events.correlation_chain(Uuid::now_v7()).await?;
        let found = events.read_stream(stream, 0).await?;
        events.find(found[0].id).await?;
        events.head().await.map(drop)
    })
    .await
    .unwrap();
}

async fn exercise_outbox(db: &Database, home: &Home) {
    let (payload, event) = (json!({}), Uuid::now_v7());
    db.tenant_tx("exercise", &home.context, async |tx| {
        let written = tx.outbox().create(NewOutboxEvent::new("tea.brewed", "pots", "7", &payload)).await?;
        tx.outbox().find(written.id).await?;
        tx.outbox().find_by_event_id(written.event_id).await?;
        tx.process_once("exercise", event, "tea.brewed", async { Ok(()) }).await
    })
    .await
    .map(drop)
    .unwrap();
}

async fn exercise_audit(db: &Database, home: &Home) {
    db.tenant_tx("exercise", &home.context.clone().correlation(Uuid::now_v7()), async |tx| {
        // Of a moment ago the log cannot tell, where a migration beside this adds columns.
        tx.audit().as_of(home.user, Utc::now() + TimeDelta::minutes(1)).await?;
        exercise_audit_log(tx.audit(), home.user.into(), home.user).await
    })
    .await
    .unwrap();
}

async fn exercise_audit_log(audit: AuditRepository<'_>, entity: AuditedEntity, user: UserId) -> Result<()> {
    audit.record("users.looked_at", entity.clone(), &json!({})).await?;
    let all = AuditFilter::default;
    for filter in [
        all(),
        AuditFilter { entity: Some(entity), ..all() },
        AuditFilter { user_id: Some(user), ..all() },
        AuditFilter { correlation_id: Some(Uuid::now_v7()), ..all() },
        AuditFilter { from: Some(Utc::now()), until: Some(Utc::now()), ..all() },
    ] {
        let first = audit.list(&filter, &PageRequest::first(1)).await?;
        audit.list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
    }
    Ok(())
}

/// Likewise for the database `rfq`.
pub async fn exercise_rfq(db: &Database, context: &TenantContext) {
    let (one, user, later) = (BigDecimal::from(1), UserId::new(), Utc::now() + TimeDelta::hours(1));
    let rfq = db
        .rfq()
        .tenant_tx("exercise", context, async |tx| {
            let new = |side| NewRfq {
                instrument_symbol: "AAPL",
                side,
                quantity: &one,
                requested_by: user,
                expires_at: later,
            };
            let (rfqs, quotes) = (tx.rfqs(), tx.rfq_quotes());
            let (buy, sell) = (rfqs.create(new(Side::Buy)).await?, rfqs.create(new(Side::Sell)).await?);
            for rfq in [&buy, &sell] {
                let new =
                    NewRfqQuote { rfq_id: rfq.id, venue_code: "XNAS", price: &one, quantity: &one, valid_until: later };
                let quote = quotes.create(new).await?;
                quotes.find(quote.id).await?;
                quotes.list_by_rfq(rfq).await?;
                if rfq.side == Side::Buy {
                    quotes.accept(quote.id).await?;
                    // The second time it asks why not.
                    quotes.accept(quote.id).await.unwrap_err();
                }
            }
            rfqs.find(sell.id).await?;
            rfqs.cancel(sell.id).await?;
            rfqs.create(new(Side::Buy)).await?;
            rfqs.create(new(Side::Sell)).await?;
            let all = RfqFilter::default;
            for filter in [
                all(),
                RfqFilter { status: Some(RfqStatus::Open), ..all() },
                RfqFilter { requested_by: Some(user), ..all() },
                RfqFilter { instrument_symbol: Some("AAPL".into()), ..all() },
            ] {
                let first = rfqs.list(&filter, &PageRequest::first(1)).await?;
                rfqs.list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
            }
            let first = rfqs.list_expiring(&PageRequest::first(1)).await?;
            rfqs.list_expiring(&PageRequest { limit: 1, after: first.next }).await?;
            quotes.expire(10).await?;
            rfqs.expire(10).await?;
            let payload = json!({});
            let written = tx.outbox().create(NewOutboxEvent::new("rfq.opened", "rfqs", "7", &payload)).await?;
            tx.outbox().find(written.id).await?;
            tx.outbox().find_by_event_id(written.event_id).await?;
            tx.process_once("exercise", written.event_id, "rfq.opened", async { Ok(()) }).await.map(drop)?;
            Ok(buy.id)
        })
        .await
        .unwrap();
    db.rfq()
        .tenant_tx("exercise", &context.clone().acting_as(user).correlation(Uuid::now_v7()), async |tx| {
            tx.audit().as_of(rfq, Utc::now() + TimeDelta::minutes(1)).await?;
            exercise_audit_log(tx.audit(), rfq.into(), user).await
        })
        .await
        .unwrap();
}

/// Likewise for the database `marketdata`, as its readers.
pub async fn exercise_marketdata(tx: &MarketdataTx) -> Result<()> {
    tx.venues().find("V100").await?;
    tx.venues().list().await?;
    tx.instruments().find("S1").await?;
    for filter in [
        InstrumentFilter::default(),
        InstrumentFilter { asset_class: Some(AssetClass::Fx), venue_code: None },
        InstrumentFilter { asset_class: None, venue_code: Some("V101".into()) },
    ] {
        let first = tx.instruments().list(&filter, &PageRequest::first(1)).await?;
        tx.instruments().list(&filter, &PageRequest { limit: 1, after: first.next }).await?;
    }
    // Both of its queries: nothing is found of the last one.
    tx.price_ticks().latest(&["S1", "S2", "nothing"]).await?;
    let (from, until) = (Utc::now() - TimeDelta::days(3), Utc::now());
    let first = tx.price_ticks().range("S1", from, until, &PageRequest::first(1)).await?;
    tx.price_ticks().range("S1", from, until, &PageRequest { limit: 1, after: first.next }).await?;
    Ok(())
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
