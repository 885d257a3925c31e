//! The lists: how a page of each is asked for, and how many rows it has.

use std::fmt::Debug;

use bedplate::models::{
    AgentResultFilter, ApiKeyFilter, AuditFilter, BusinessIdeaFilter, BusinessIdeaSort, Cursor, EvaluationFilter,
    EventFilter, FormDefinitionFilter, FormDefinitionId, FormSubmissionFilter, FormSubmissionSort, InstrumentFilter,
    OrganizationId, PageRequest, RfqFilter, UserFilter,
};
use bedplate::pagination::Page;
use bedplate::{Result, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::support::{Home, TestDatabase, connection, execute, number};

/// A list.
pub struct List {
    pub name: &'static str,
    /// The function that it is a case of: file and name.
    pub function: &'static str,
    /// Its rows: what follows `SELECT count(*) FROM`.
    rows: &'static str,
}

const fn list(name: &'static str, function: &'static str, rows: &'static str) -> List {
    List { name, function, rows }
}

pub const LISTS: &[List] = &[
    list("users", "tenancy/user.rs::list", "users"),
    list("organizations", "tenancy/organization.rs::list", "organizations"),
    list(
        "members",
        "tenancy/membership.rs::list_members",
        "user_organizations JOIN organizations AS o ON o.id = organization_id WHERE slug = 'lab'",
    ),
    list(
        "organizations of a user",
        "tenancy/membership.rs::list_organizations",
        "user_organizations JOIN users AS u ON u.id = user_id WHERE username = 'owner'",
    ),
    list("api keys", "tenancy/api_key.rs::list", "api_keys"),
    list("ideas, newest", "ideas/business_idea_list.rs::list", "business_ideas"),
    list("ideas, oldest", "ideas/business_idea_list.rs::list", "business_ideas"),
    list("ideas by title", "ideas/business_idea_list.rs::list", "business_ideas"),
    list("ideas found", "ideas/business_idea_list.rs::list", "business_ideas"),
    list("evaluations", "ideas/evaluation.rs::list", "evaluations"),
    list("agent results", "ideas/agent_result.rs::list", "agent_results"),
    list("forms", "forms/definition_list.rs::list", "form_definitions"),
    list("form versions", "forms/definition_list.rs::list_versions", "form_definitions WHERE name = 'versions'"),
    list("submissions, newest", "forms/submission_list.rs::list", "form_submissions"),
    list("submissions, oldest", "forms/submission_list.rs::list", "form_submissions"),
    list("submissions by priority", "forms/submission_list.rs::list", "form_submissions"),
    list("submissions by title", "forms/submission_list.rs::list", "form_submissions"),
    list("submissions found", "forms/submission_list.rs::list", "form_submissions"),
    list("events", "events/list.rs::list", "events"),
    list("audit log", "audit.rs::list", "audit_log"),
    list("rfqs", "rfq/request.rs::list", "rfqs"),
    list("rfqs that expire", "rfq/request.rs::list_expiring", "rfqs WHERE expires_at > now() AND status = 'open'"),
    list("instruments", "marketdata/instrument.rs::list", "instruments"),
    list("prices", "marketdata/price_tick.rs::range", "price_ticks"),
];

/// Where the lists are.
pub struct Place {
    pub main: TestDatabase,
    pub rfq: TestDatabase,
    pub marketdata: TestDatabase,
    pub home: Home,
    pub lab: OrganizationId,
    pub form: FormDefinitionId,
}

type Answer = (Vec<String>, Option<Cursor>);

#[allow(clippy::unnecessary_wraps, reason = "what each arm of `page` ends with")]
fn answer<T: Debug>(page: Page<T>) -> Result<Answer> {
    Ok((page.items.iter().map(|item| format!("{item:?}")).collect(), page.next))
}

impl Place {
    pub async fn count(&self, list: &List) -> usize {
        let url = match list.function.split('/').next().unwrap() {
            "rfq" => &self.rfq.url,
            "marketdata" => &self.marketdata.url,
            _ => &self.main.url,
        };
        let mut system = connection(url).await;
        execute(&mut system, "SET ROLE bedplate_system").await;
        number(&mut system, &format!("SELECT count(*) FROM {}", list.rows)).await.try_into().unwrap()
    }

    pub async fn page(&self, list: &str, page: &PageRequest) -> Result<Answer> {
        match list {
            "rfqs" | "rfqs that expire" => {
                let work = self.rfq.rfq().tenant_tx("lists", &self.home.context, async |tx| match list {
                    "rfqs" => answer(tx.rfqs().list(&RfqFilter::default(), page).await?),
                    _ => answer(tx.rfqs().list_expiring(page).await?),
                });
                work.await
            }
            "instruments" | "prices" => {
                let (from, until) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
                let from = from.max("-4713-11-24T00:00:00Z".parse().unwrap());
                let work = self.marketdata.marketdata().read_tx("lists", async |tx| match list {
                    "instruments" => answer(tx.instruments().list(&InstrumentFilter::default(), page).await?),
                    _ => answer(tx.price_ticks().range("S", from, until, page).await?),
                });
                work.await
            }
            _ => self.main.tenant_tx("lists", &self.home.context, async |tx| self.of_main(&tx, list, page).await).await,
        }
    }

    async fn of_main(&self, tx: &TenantTx, list: &str, page: &PageRequest) -> Result<Answer> {
        let ideas =
            async |filter: BusinessIdeaFilter, sort| answer(tx.business_ideas().list(&filter, sort, page).await?);
        let submissions = async |sort, contains| {
            let filter = FormSubmissionFilter {
                form_definition_id: Some(self.form),
                contains,
                ..FormSubmissionFilter::default()
            };
            answer(tx.form_submissions().list(&filter, sort, page).await?)
        };
        let all = BusinessIdeaFilter::default;
        match list {
            "users" => answer(tx.users().list(&UserFilter::default(), page).await?),
            "organizations" => answer(tx.organizations().list(page).await?),
            "members" => answer(tx.memberships().list_members(self.lab, page).await?),
            "organizations of a user" => answer(tx.memberships().list_organizations(self.home.user, page).await?),
            "api keys" => answer(tx.api_keys().list(&ApiKeyFilter::default(), page).await?),
            "ideas, newest" => ideas(all(), BusinessIdeaSort::Newest).await,
            "ideas, oldest" => ideas(all(), BusinessIdeaSort::Oldest).await,
            "ideas by title" => ideas(all(), BusinessIdeaSort::Title).await,
            "ideas found" => {
                ideas(BusinessIdeaFilter { search: Some("tea".into()), ..all() }, BusinessIdeaSort::Newest).await
            }
            "evaluations" => answer(tx.evaluations().list(&EvaluationFilter::default(), page).await?),
            "agent results" => answer(tx.agent_results().list(&AgentResultFilter::default(), page).await?),
            "forms" => answer(tx.form_definitions().list(&FormDefinitionFilter::default(), page).await?),
            "form versions" => answer(tx.form_definitions().list_versions("versions", page).await?),
            "submissions, newest" => submissions(FormSubmissionSort::Newest, None).await,
            "submissions, oldest" => submissions(FormSubmissionSort::Oldest, None).await,
            "submissions by priority" => submissions(FormSubmissionSort::Priority, None).await,
            "submissions by title" => submissions(FormSubmissionSort::Title, None).await,
            "submissions found" => submissions(FormSubmissionSort::Newest, Some(json!({"tag": "tea"}))).await,
            "events" => answer(tx.events().list(&EventFilter::default(), page).await?),
            "audit log" => answer(tx.audit().list(&AuditFilter::default(), page).await?),
            other => panic!("no list is named {other}"),
        }
    }
}
