//! The load of "more than 100 evaluations at once": 120 ideas are submitted, and workers evaluate them side by
//! side over a pool of 20 connections. An agent is a stub that waits a few milliseconds.
//!
//! ```text
//! cargo run --release --example evaluate_ideas [-- --keep]
//! ```
//! It works in a tenant of its own, which it removes at the end unless `--keep` is given, and ends with 1 if
//! anything was lost or done twice.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bedplate::models::{
    AgentOutput, AgentResult, AgentResultStatus, BusinessIdeaStatus, Claim, EvaluationFilter, EvaluationStatus, Lease,
    NewBusinessIdea, NewTenant, NewUser, PageRequest, PasswordHash, TenantId, TenantStatus, TenantType,
};
use bedplate::{Config, Database, Result, TenantContext};
use clap::Parser;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use futures_util::future::{join_all, try_join_all};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

const IDEAS: usize = 120;
const AGENTS: usize = 5;
const POOL: u32 = 20;
const WORKERS: usize = 24;

#[derive(Parser)]
#[command(about = "Evaluate 120 ideas side by side over a pool of 20 connections")]
struct Args {
    /// Leave the tenant and its rows in the database
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(args.keep).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(keep: bool) -> Result<bool> {
    let _ = dotenvy::dotenv();
    let mut config = Config::from_env()?;
    config.pool.max_size = POOL;
    config.pool.wait = Duration::from_secs(30);
    let db = Database::connect(config).await?;
    let slug = format!("evaluate-{}", TenantId::new());
    let new = NewTenant { slug: &slug, name: "Evaluation of ideas", tenant_type: TenantType::Internal };
    let tenant = db.system_tx("example.tenant", async |tx| tx.tenants().create(new).await).await?;
    let context = TenantContext::new(tenant.id);

    let outcome = evaluate(&db, &context).await;
    if keep {
        println!("The rows stay, in the tenant {slug}.");
    } else {
        db.system_tx("example.remove", async |tx| {
            tx.tenants().set_status(tenant.id, TenantStatus::Closed).await?;
            tx.tenants().delete(tenant.id).await
        })
        .await?;
    }
    outcome
}

async fn evaluate(db: &Database, context: &TenantContext) -> Result<bool> {
    submit(db, context).await?;
    let bar = ProgressBar::new((IDEAS * AGENTS) as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} agents ({elapsed})") {
        bar.set_style(style);
    }
    // Counted here, so that a result that was worked on twice shows even if the database holds it once.
    let runs = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let workers = (0..WORKERS).map(|number| {
        let (db, context, bar, runs) = (db.clone(), context.clone(), bar.clone(), runs.clone());
        tokio::spawn(async move { work(&db, &context, &format!("worker-{number}"), &bar, &runs).await })
    });
    let done = join_all(workers).await;
    let took = started.elapsed();
    bar.finish_and_clear();
    let mut claimed = Vec::new();
    for worker in done {
        claimed.push(worker.map_err(|error| bedplate::Error::Io { doing: "a worker".into(), source: error.into() })??);
    }
    report(db, context, &claimed, runs.load(Ordering::SeqCst), took).await
}

async fn submit(db: &Database, context: &TenantContext) -> Result<()> {
    let password_hash = &PasswordHash::new(&"an example's password".into()).await?;
    let titles: Vec<String> = (1..=IDEAS).map(|n| format!("Idea number {n}")).collect();
    let titles = &titles;
    let ideas = db
        .tenant_tx("example.ideas", context, async |tx| {
            let new = NewUser {
                email: "founder@example.com",
                username: "founder",
                name: "Founder",
                display_name: None,
                password_hash,
            };
            let user_id = tx.users().create(new).await?.id;
            let description = "An idea that is described in more than the fifty characters which the form asks for.";
            let new: Vec<_> = titles.iter().map(|title| NewBusinessIdea { user_id, title, description }).collect();
            tx.business_ideas().create_many(&new).await
        })
        .await?;
    let submitted = ideas
        .iter()
        .map(|idea| db.tenant_tx("example.submit", context, async move |tx| tx.business_ideas().submit(idea.id).await));
    try_join_all(submitted).await.map(|_| ())
}

/// Claims until nothing is left, and returns how many evaluations it completed.
async fn work(
    db: &Database,
    context: &TenantContext,
    name: &str,
    bar: &ProgressBar,
    runs: &AtomicUsize,
) -> Result<usize> {
    let mut completed = 0;
    loop {
        let claim = Claim::new(name);
        let claimed = db.tenant_tx("example.claim", context, async |tx| tx.evaluations().claim(claim).await).await?;
        let Some((evaluation, lease)) = claimed.first() else { return Ok(completed) };
        let id = evaluation.id;
        let results = db
            .tenant_tx("example.results", context, async move |tx| tx.agent_results().list_by_evaluation(id).await)
            .await?;
        // The agents of an evaluation work side by side as well.
        try_join_all(results.iter().map(|result| agent(db, context, lease, result, bar, runs))).await?;
        db.tenant_tx("example.complete", context, async move |tx| tx.evaluations().complete(lease).await).await?;
        completed += 1;
    }
}

async fn agent(
    db: &Database,
    context: &TenantContext,
    lease: &Lease,
    result: &AgentResult,
    bar: &ProgressBar,
    runs: &AtomicUsize,
) -> Result<()> {
    let id = result.id;
    let input = &json!({ "agent": result.agent_type });
    db.tenant_tx("example.start", context, async move |tx| tx.agent_results().start(lease, id, input).await).await?;
    // No connection is held while the agent thinks.
    let seed = id.as_uuid().as_u128();
    tokio::time::sleep(Duration::from_millis(u64::try_from(2 + seed % 8).unwrap_or(2))).await;
    let score = f64::from(u8::try_from(seed % 101).unwrap_or(0));
    let answer =
        &AgentOutput { output: json!({ "verdict": "plausible" }), score: Some(score), insights: Some(json!(["stub"])) };
    db.tenant_tx("example.answer", context, async move |tx| tx.agent_results().complete(lease, id, answer).await)
        .await?;
    runs.fetch_add(1, Ordering::SeqCst);
    bar.inc(1);
    Ok(())
}

/// Asks the database what is there, and says whether it is what should be.
async fn report(
    db: &Database,
    context: &TenantContext,
    claimed: &[usize],
    runs: usize,
    took: Duration,
) -> Result<bool> {
    let filter = EvaluationFilter { business_idea_id: None, status: Some(EvaluationStatus::Completed) };
    let (evaluations, results, statistics) = db
        .tenant_tx("example.report", context, async |tx| {
            let mut evaluations = Vec::new();
            let mut page = PageRequest::first(100);
            loop {
                let next = tx.evaluations().list(&filter, &page).await?;
                evaluations.extend(next.items);
                let Some(after) = next.next else { break };
                page.after = Some(after);
            }
            let mut results = Vec::new();
            for evaluation in &evaluations {
                results.extend(tx.agent_results().list_by_evaluation(evaluation.id).await?);
            }
            Ok((evaluations, results, tx.business_ideas().statistics().await?))
        })
        .await?;
    let completed = results.iter().filter(|result| result.status == AgentResultStatus::Completed).count();
    let once = evaluations.iter().all(|evaluation| evaluation.attempts == 1);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).add_rows([
        ["ideas completed".to_owned(), format!("{} of {IDEAS}", statistics.by_status[&BusinessIdeaStatus::Completed])],
        ["evaluations completed, each claimed once".to_owned(), format!("{} of {IDEAS}: {once}", evaluations.len())],
        ["agent results completed".to_owned(), format!("{completed} of {}", IDEAS * AGENTS)],
        ["agents run".to_owned(), runs.to_string()],
        ["workers, connections".to_owned(), format!("{WORKERS}, {POOL}")],
        [
            "evaluations a worker, fewest to most".to_owned(),
            format!("{:?} to {:?}", claimed.iter().min().unwrap_or(&0), claimed.iter().max().unwrap_or(&0)),
        ],
        ["mean score".to_owned(), format!("{:.1}", statistics.average_score.unwrap_or_default())],
        ["time".to_owned(), format!("{:.2} s", took.as_secs_f64())],
    ]);
    println!("{table}");
    let good = evaluations.len() == IDEAS && once && completed == IDEAS * AGENTS && runs == IDEAS * AGENTS;
    println!(
        "{}",
        if good { "Nothing was lost, and nothing was done twice." } else { "Something was lost or done twice!" }
    );
    Ok(good)
}
