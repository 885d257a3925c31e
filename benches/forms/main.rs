//! What forms cost: a validation, compiled and interpreted, in the backend; an insert with validation and without;
//! publishing; lists over a million submissions.
//!
//! `cargo bench --bench forms`, or with names of parts: `-- validate insert publish million`. One private server
//! that waits for its disk; sides of a comparison take turns, so that what the machine does meanwhile meets all.

mod insert;
mod million;
mod publish;
mod validate;

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::PrivateServer;
use bedplate::models::{FormDefinition, NewFormDefinition, NewTenant, TenantType};
use bedplate::{Config, Database, DatabaseUrl, Environment, Error, TenantContext};
use serde_json::Value;

/// A database with a tenant.
pub(crate) struct Side {
    pub(crate) db: Database,
    pub(crate) owner: DatabaseUrl,
    pub(crate) context: TenantContext,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo test --benches` only asks whether it starts.
    if arguments.iter().any(|argument| argument == "--test") {
        return Ok(());
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(io)?;
    let server = PrivateServer::at(home.path());
    server.start(&mut |_| {}).await?;
    let measured = measure(&server, &arguments).await;
    server.stop()?;
    measured
}

async fn measure(server: &PrivateServer, parts: &[String]) -> Result<(), Error> {
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let urls = server.urls()?.ok_or_else(|| io(std::io::Error::other("the server has no URL")))?;
    migrate::run(&urls.owner, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await?;
    let mut config = Config::new(urls.owner.clone(), Environment::Development);
    config.app_url = Some(urls.app.clone());
    config.pool.max_size = 1;
    let db = Database::connect(config).await?;
    let new = NewTenant { slug: "bench", name: "bench", tenant_type: TenantType::Standard };
    let tenant = db.system_tx("tenant", async |tx| tx.tenants().create(new).await).await?.id;
    let side = Side { db, owner: urls.owner, context: TenantContext::new(tenant) };
    if wanted("validate") {
        validate::run(&side).await?;
    }
    if wanted("insert") {
        insert::run(&side).await?;
    }
    if wanted("publish") {
        publish::run(&side).await?;
    }
    if wanted("million") {
        million::run(&side).await?;
    }
    Ok(())
}

/// Publishes a form.
pub(crate) async fn published(side: &Side, name: &str, definition: &Value) -> Result<FormDefinition, Error> {
    let publish = side.db.tenant_tx("bench.publish", &side.context, async |tx| {
        let new = NewFormDefinition { name, definition, resources: None, assert_formats: false };
        let draft = tx.form_definitions().create(new).await?;
        tx.form_definitions().publish(draft.id).await
    });
    Ok(publish.await?.definition)
}

pub(crate) fn small() -> Result<(Value, Value), Error> {
    Ok((parsed(include_str!("small.json"))?, parsed(include_str!("small_data.json"))?))
}

pub(crate) fn large() -> Result<(Value, Value), Error> {
    Ok((parsed(include_str!("large.json"))?, parsed(include_str!("large_data.json"))?))
}

fn parsed(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| io(error.into()))
}

pub(crate) fn quantile(values: &mut [f64], quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let at = ((values.len() - 1) as f64 * quantile).round() as usize;
    values[at]
}

pub(crate) fn io(source: std::io::Error) -> Error {
    Error::Io { doing: "the benchmark".into(), source }
}
