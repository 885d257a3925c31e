//! Rows that tests start from.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bedplate::models::{
    AgentOutput, BusinessIdea, Claim, Evaluation, FormDefinition, FormSubmission, Lease, NewBusinessIdea,
    NewEvaluation, NewFormDefinition, NewFormSubmission, NewOrganization, NewTenant, NewUser, Organization,
    PasswordHash, Priority, TenantId, TenantType, UserId,
};
use bedplate::{Database, TenantContext};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub const PASSWORD: &str = "correct horse battery";
pub const DESCRIPTION: &str =
    "A description that is long enough: it has more than the fifty characters that the form asks for.";

/// A tenant with one user.
#[derive(Debug, Clone)]
pub struct Home {
    pub tenant: TenantId,
    pub user: UserId,
    pub context: TenantContext,
}

/// Hashed once a run: it is slow by design.
pub async fn password_hash() -> &'static PasswordHash {
    static HASH: OnceCell<PasswordHash> = OnceCell::const_new();
    HASH.get_or_init(|| async { PasswordHash::new(&PASSWORD.into()).await.unwrap() }).await
}

/// A new tenant, with a user `owner@example.com`.
pub async fn home(db: &Database) -> Home {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let slug = format!("tenant-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let new = NewTenant { slug: &slug, name: "Tenant", tenant_type: TenantType::Standard };
    let tenant = db.system_tx("tests.tenant", async |tx| tx.tenants().create(new).await).await.unwrap().id;
    let context = TenantContext::new(tenant);
    let hash = password_hash().await;
    let user = db
        .tenant_tx("tests.user", &context, async |tx| {
            let new = NewUser {
                email: "owner@example.com",
                username: "owner",
                name: "Owner",
                display_name: None,
                password_hash: hash,
            };
            tx.users().create(new).await
        })
        .await
        .unwrap()
        .id;
    Home { tenant, user, context: context.acting_as(user) }
}

/// One more user of the tenant.
pub async fn user(db: &Database, home: &Home, name: &str) -> UserId {
    let (email, password_hash) = (format!("{name}@example.com"), password_hash().await);
    let new = NewUser { email: &email, username: name, name, display_name: None, password_hash };
    db.tenant_tx("tests.user", &home.context, async |tx| tx.users().create(new).await).await.unwrap().id
}

/// An organization whose owner is the home's user.
pub async fn organization(db: &Database, home: &Home, slug: &str) -> Organization {
    let new = NewOrganization { name: "Lab", slug, owner: home.user };
    db.tenant_tx("tests.organization", &home.context, async |tx| tx.organizations().create(new).await).await.unwrap()
}

/// `IdeaBuilder::new(&home).title("Tea").submitted(&db).await`
#[derive(Debug, Clone)]
pub struct IdeaBuilder<'h> {
    home: &'h Home,
    title: String,
    priority: Priority,
}

impl<'h> IdeaBuilder<'h> {
    pub fn new(home: &'h Home) -> Self {
        Self { home, title: "Tea by post".into(), priority: Priority::Normal }
    }

    pub fn title(mut self, title: &str) -> Self {
        self.title = title.into();
        self
    }

    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// A draft.
    pub async fn create(self, db: &Database) -> BusinessIdea {
        let new = NewBusinessIdea { user_id: self.home.user, title: &self.title, description: DESCRIPTION };
        db.tenant_tx("tests.idea", &self.home.context, async |tx| tx.business_ideas().create(new).await).await.unwrap()
    }

    /// A submitted one: its evaluation is pending.
    pub async fn submitted(self, db: &Database) -> Evaluation {
        let (context, priority) = (self.home.context.clone(), self.priority);
        let idea = self.create(db).await;
        let how = NewEvaluation { priority, ..NewEvaluation::default() };
        db.tenant_tx("tests.submit", &context, async |tx| tx.business_ideas().submit_with(idea.id, how).await)
            .await
            .unwrap()
    }

    /// One that a worker holds.
    pub async fn analyzing(self, db: &Database) -> (Evaluation, Lease) {
        let context = self.home.context.clone();
        self.submitted(db).await;
        claimed(db, &context, "worker").await.expect("one is pending")
    }

    /// One whose agents all completed, with these scores.
    pub async fn completed(self, db: &Database, score: f64) -> Evaluation {
        let context = self.home.context.clone();
        let (evaluation, lease) = self.analyzing(db).await;
        let (id, lease) = (evaluation.id, &lease);
        db.tenant_tx("tests.complete", &context, async |tx| {
            for result in tx.agent_results().list_by_evaluation(id).await? {
                tx.agent_results().start(lease, result.id, &json!({"title": "Tea"})).await?;
                let answer = AgentOutput {
                    output: json!({"market": "tea"}),
                    score: Some(score),
                    insights: Some(json!(["good"])),
                };
                tx.agent_results().complete(lease, result.id, &answer).await?;
            }
            tx.evaluations().complete(lease).await
        })
        .await
        .unwrap()
    }
}

/// Claims one evaluation for a minute.
pub async fn claimed(db: &Database, context: &TenantContext, worker: &str) -> Option<(Evaluation, Lease)> {
    claim_for(db, context, worker, Duration::from_mins(1)).await
}

/// Claims one evaluation for so long.
pub async fn claim_for(
    db: &Database,
    context: &TenantContext,
    worker: &str,
    lease: Duration,
) -> Option<(Evaluation, Lease)> {
    let claim = Claim::new(worker).lease(lease);
    let claimed = db.tenant_tx("tests.claim", context, async |tx| tx.evaluations().claim(claim).await).await.unwrap();
    claimed.into_iter().next()
}

/// A draft of a form that asks for these names.
pub async fn draft_form(db: &Database, home: &Home, name: &str, required: &[&str]) -> FormDefinition {
    let definition = json!({"required": required});
    let new = NewFormDefinition { name, definition: &definition, resources: None, assert_formats: false };
    db.tenant_tx("tests.form", &home.context, async |tx| tx.form_definitions().create(new).await).await.unwrap()
}

/// The same, published.
pub async fn form(db: &Database, home: &Home, name: &str, required: &[&str]) -> FormDefinition {
    let draft = draft_form(db, home, name, required).await;
    db.tenant_tx("tests.publish", &home.context, async |tx| tx.form_definitions().publish(draft.id).await)
        .await
        .unwrap()
        .definition
}

/// What was filled into it, submitted or as a draft.
pub async fn filled_in(
    db: &Database,
    home: &Home,
    form: &FormDefinition,
    data: &Value,
    submit: bool,
) -> FormSubmission {
    let new = NewFormSubmission { form_definition_id: form.id, data, submit };
    db.tenant_tx("tests.fill", &home.context, async |tx| tx.form_submissions().create(new).await).await.unwrap()
}
