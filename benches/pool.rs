//! Who waits how long for a connection: 1 to 256 tasks over a pool of 20, through `tenant_tx` and, beside it, through a
//! pool of bb8 alone that runs the same statements.
//!
//! `cargo bench --bench pool`. Both in turn, three rounds; the medians. `waits` is the part of the time that a
//! transaction waited for its connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::PrivateServer;
use bedplate::models::{NewTenant, NewUser, PasswordHash, TenantType, UserId};
use bedplate::{Config, Database, Environment, Error, TenantContext};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use futures_util::FutureExt as _;

const POOL: u32 = 20;
const ROUNDS: usize = 3;
const EACH: Duration = Duration::from_secs(3);
const TASKS: [usize; 6] = [1, 4, 16, 32, 64, 256];

type Alone = bb8::Pool<AsyncDieselConnectionManager<AsyncPgConnection>>;

#[derive(Clone)]
struct Bench {
    database: Database,
    alone: Alone,
    context: TenantContext,
    user: UserId,
    begin: Arc<str>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(io)?;
    let server = PrivateServer::at(home.path());
    server.start(&mut |_| {}).await?;
    let measured = Box::pin(measure(&server)).await;
    server.stop()?;
    // A root's is not below the home.
    if let Some(folder) = server.folder()? {
        std::fs::remove_dir_all(folder).map_err(io)?;
    }
    measured
}

async fn measure(server: &PrivateServer) -> Result<(), Error> {
    let bench = Bench::new(server).await?;
    println!("a transaction that finds a user, over {POOL} connections; medians of {ROUNDS} rounds of {EACH:?}");
    println!(
        "tasks | bedplate/s  p50 ms  p99 ms  longest  waits | bb8 alone/s  p50 ms  p99 ms  longest  waits | ratio  p99 ratio"
    );
    for tasks in TASKS {
        let (mut ours, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(bench.run(tasks, true).await?);
            alone.push(bench.run(tasks, false).await?);
        }
        let (ours, alone) = (median(&ours), median(&alone));
        println!(
            "{tasks:>5} | {} | {} | {:>5.2} {:>9.2}",
            ours.row(),
            alone.row(),
            ours.per_second / alone.per_second,
            ours.p99 / alone.p99
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    p50: f64,
    p99: f64,
    longest: f64,
    waits: f64,
}

impl Measured {
    fn row(&self) -> String {
        let Self { per_second, p50, p99, longest, waits } = self;
        format!("{per_second:>10.0} {p50:>7.2} {p99:>7.2} {longest:>8.1} {:>5.0}%", waits * 100.0)
    }
}

fn median(rounds: &[Measured]) -> Measured {
    let of = |field: fn(&Measured) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Measured {
        per_second: of(|m| m.per_second),
        p50: of(|m| m.p50),
        p99: of(|m| m.p99),
        longest: of(|m| m.longest),
        waits: of(|m| m.waits),
    }
}

impl Bench {
    async fn new(server: &PrivateServer) -> Result<Self, Error> {
        let urls = server.urls()?.ok_or_else(|| io(std::io::Error::other("the server has no URL")))?;
        migrate::run(&urls.owner, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await?;
        let mut config = Config::new(urls.owner.clone(), Environment::Development);
        config.app_url = Some(urls.app.clone());
        config.pool.max_size = POOL;
        config.pool.wait = Duration::from_mins(1);
        let database = Box::pin(Database::connect(config)).await?;
        let new = NewTenant { slug: "bench", name: "Bench", tenant_type: TenantType::Standard };
        let tenant = database.system_tx("tenant", async |tx| tx.tenants().create(new).await).await?.id;
        let context = TenantContext::new(tenant);
        let hash = PasswordHash::new(&"a password".into()).await?;
        let new = NewUser {
            email: "bench@example.com",
            username: "bench",
            name: "Bench",
            display_name: None,
            password_hash: &hash,
        };
        let user = database.tenant_tx("user", &context, async |tx| tx.users().create(new).await).await?.id;
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        let url = urls.app.clone();
        manager.custom_setup = Box::new(move |_| {
            let url = url.clone();
            let connected = async move { bedplate::database::connect(&url).await };
            connected
                .map(|done| done.map_err(|error| diesel::ConnectionError::BadConnection(error.to_string())))
                .boxed()
        });
        let alone = bb8::Pool::builder()
            .max_size(POOL)
            .connection_timeout(Duration::from_mins(1))
            .test_on_check_out(false)
            .build_unchecked(AsyncDieselConnectionManager::new_with_config("", manager));
        // What tenant_tx sends.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL ROLE bedplate_app; SET LOCAL app.tenant_id = '{tenant}'; \
             SET LOCAL app.user_id = ''; SET LOCAL app.correlation_id = ''; SET LOCAL app.ip_address = ''; \
             SET LOCAL app.user_agent = ''; SET LOCAL statement_timeout = 30000; SET LOCAL lock_timeout = 10000; \
             SET LOCAL idle_in_transaction_session_timeout = 60000; SET LOCAL client_connection_check_interval = 1000; \
             SET LOCAL application_name = 'bench'"
        );
        Ok(Self { database, alone, context, user, begin: begin.into() })
    }

    /// So many tasks, for a while.
    async fn run(&self, tasks: usize, ours: bool) -> Result<Measured, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let running: Vec<_> = (0..tasks)
            .map(|_| {
                let (bench, stop) = (self.clone(), stop.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        times.push(if ours { bench.ours().await? } else { bench.alone().await? });
                    }
                    Ok::<_, Error>(times)
                })
            })
            .collect();
        tokio::time::sleep(EACH).await;
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for task in running {
            times.extend(task.await.map_err(|error| io(std::io::Error::other(error)))??);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let waited: f64 = times.iter().map(|(waited, _)| waited.as_secs_f64()).sum();
        let mut each: Vec<f64> = times.iter().map(|(_, took)| took.as_secs_f64() * 1e3).collect();
        each.sort_by(f64::total_cmp);
        let all: f64 = each.iter().sum::<f64>() / 1e3;
        #[expect(clippy::cast_precision_loss, reason = "a count of a few seconds")]
        let per_second = each.len() as f64 / seconds;
        let at = |percent: usize| each[(each.len() - 1) * percent / 100];
        Ok(Measured { per_second, p50: at(50), p99: at(99), longest: at(100), waits: waited / all })
    }

    /// The wait for the connection, and all of it.
    async fn ours(&self) -> Result<(Duration, Duration), Error> {
        let (begun, user) = (Instant::now(), self.user);
        let at_work = self
            .database
            .tenant_tx("bench", &self.context, async |tx| {
                let waited = begun.elapsed();
                tx.users().find(user).await?;
                Ok(waited)
            })
            .await?;
        Ok((at_work, begun.elapsed()))
    }

    /// The same statements.
    async fn alone(&self) -> Result<(Duration, Duration), Error> {
        use bedplate::schema::users;
        use diesel::prelude::{ExpressionMethods as _, QueryDsl as _, SelectableHelper as _};
        use diesel_async::RunQueryDsl as _;
        let begun = Instant::now();
        let mut connection = self.alone.get().await.map_err(|error| io(std::io::Error::other(error)))?;
        connection.batch_execute(&self.begin).await?;
        let waited = begun.elapsed();
        let found = users::table
            .filter(users::tenant_id.eq(self.context.tenant_id()))
            .filter(users::id.eq(self.user))
            .filter(users::deleted_at.is_null());
        let _: bedplate::models::User =
            found.select(bedplate::models::User::as_select()).get_result(&mut *connection).await?;
        connection.batch_execute("SELECT 1; COMMIT").await?;
        Ok((waited, begun.elapsed()))
    }
}

fn io(source: std::io::Error) -> Error {
    Error::Io { doing: "the benchmark".into(), source }
}
