//! What auditing costs: single-row updates with the audit trigger and without, side by side.
//!
//! `cargo bench --bench audit`. Two databases on one private server that waits for its disk; rounds of both take
//! turns, so that what the machine does meanwhile meets both. The result is a ratio of one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::PrivateServer;
use bedplate::models::{NewTenant, NewUser, PasswordHash, TenantType, UserChanges, UserId};
use bedplate::{Config, Database, DatabaseUrl, Environment, Error, TenantContext};
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::try_join_all;

const ROUNDS: usize = 12;
const TASKS: [usize; 3] = [1, 8, 16];
const ROUND: Duration = Duration::from_secs(1);
const USERS: usize = 200;

/// A database with a tenant and its users.
struct Side {
    database: Database,
    context: TenantContext,
    users: Arc<[UserId]>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(io)?;
    let server = PrivateServer::at(home.path());
    server.start(&mut |_| {}).await?;
    let measured = measure(&server).await;
    server.stop()?;
    measured
}

async fn measure(server: &PrivateServer) -> Result<(), Error> {
    let urls = server.urls()?.ok_or_else(|| io(std::io::Error::other("the server has no URL")))?;
    let audited = side(&urls.owner, &urls.app, "audited").await?;
    let plain = side(&urls.owner, &urls.app, "plain").await?;
    let mut owner = bedplate::database::connect(&urls.owner.with_database("plain")?).await?;
    owner.batch_execute("DROP TRIGGER audit ON users").await?;
    // Every number of tasks in every round: a checkpoint or a vacuum meets all of them.
    let mut rounds = [const { Vec::new() }; TASKS.len()];
    for round in 0..=ROUNDS {
        for (tasks, rounds) in TASKS.into_iter().zip(&mut rounds) {
            let pair = (rate(&plain, tasks).await?, rate(&audited, tasks).await?);
            // The first one warms up: connections, plans, caches.
            if round > 0 {
                rounds.push(pair);
            }
        }
    }
    println!("tasks   plain/s   audited/s   cost of auditing (median of {ROUNDS} rounds; least, greatest)");
    for (tasks, rounds) in TASKS.into_iter().zip(rounds) {
        let costs: Vec<_> = rounds.iter().map(|(plain, audited)| 100.0 * (1.0 - audited / plain)).collect();
        let (least, greatest) = costs.iter().fold((f64::MAX, f64::MIN), |(l, g), cost| (l.min(*cost), g.max(*cost)));
        let (without, with) = rounds.into_iter().unzip();
        let cost = median(costs);
        println!(
            "{tasks:>5} {:>9.0} {:>11.0} {cost:>11.1} %   ({least:.0} %, {greatest:.0} %)",
            median(without),
            median(with)
        );
    }
    Ok(())
}

async fn side(owner: &DatabaseUrl, app: &DatabaseUrl, name: &str) -> Result<Side, Error> {
    bedplate::database::connect(owner).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
    let url = owner.with_database(name)?;
    migrate::run(&url, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await?;
    let mut config = Config::new(url, Environment::Development);
    config.app_url = Some(app.with_database(name)?);
    config.pool.max_size = 16;
    let database = Database::connect(config).await?;
    let new = NewTenant { slug: name, name, tenant_type: TenantType::Standard };
    let tenant = database.system_tx("tenant", async |tx| tx.tenants().create(new).await).await?.id;
    let hash = PasswordHash::new(&"a password".into()).await?;
    let context = TenantContext::new(tenant)
        .correlation(uuid::Uuid::now_v7())
        .ip_address(std::net::Ipv4Addr::LOCALHOST.into())
        .user_agent("bench/1.0");
    let users = database
        .tenant_tx("users", &context, async |tx| {
            let mut users = Vec::with_capacity(USERS);
            for n in 0..USERS {
                let (email, username) = (format!("user{n}@example.com"), format!("user{n}"));
                let new = NewUser {
                    email: &email,
                    username: &username,
                    name: "User",
                    display_name: None,
                    password_hash: &hash,
                };
                users.push(tx.users().create(new).await?.id);
            }
            Ok(users)
        })
        .await?;
    Ok(Side { database, context: context.acting_as(users[0]), users: users.into() })
}

/// Updates a second, by so many tasks, each with users of its own.
async fn rate(side: &Side, tasks: usize) -> Result<f64, Error> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let start = Instant::now();
    let work = (0..tasks).map(|task| {
        let (database, context, users) = (side.database.clone(), side.context.clone(), side.users.clone());
        async move {
            let mut done = 0_u32;
            let mine: Vec<_> = users.iter().copied().skip(task).step_by(tasks).collect();
            for user in mine.iter().cycle() {
                if start.elapsed() >= ROUND {
                    break;
                }
                let name = format!("User {}", NUMBER.fetch_add(1, Ordering::Relaxed));
                let changes = UserChanges { name: Some(&name), ..UserChanges::default() };
                database
                    .tenant_tx("bench.update", &context, async |tx| tx.users().update(*user, changes).await)
                    .await?;
                done += 1;
            }
            Ok::<_, Error>(done)
        }
    });
    let done: u32 = try_join_all(work.map(|work| async { tokio::spawn(work).await.map_err(|e| io(e.into()))? }))
        .await?
        .into_iter()
        .sum();
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn io(source: std::io::Error) -> Error {
    Error::Io { doing: "the benchmark".into(), source }
}
