//! The subcommands that change something.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::target::{Target, each, print_json};
use crate::cli::ui::{Progress, visible};
use crate::database::create_beside;
use crate::database::migrate::{self, Direction, MigrationState, Options, Repair};
use crate::error::{Error, Result};

/// How patient the runner is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Patience {
    /// Seconds to wait while another runner is at work
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    wait: u64,
    /// Milliseconds to wait for a lock, for each statement [default: the `lock_timeout` of the URL or the login, else 100]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=600_000))]
    lock_timeout: Option<u32>,
    /// Seconds to retry a migration that got no lock
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    retry: u64,
    /// A pending migration to apply although a later one is applied; may be given again
    #[arg(long, value_name = "VERSION")]
    allow_out_of_order: Vec<String>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { wait: 600, lock_timeout: None, retry: 600, allow_out_of_order: Vec::new() }
    }
}

impl Patience {
    pub(super) fn options(self) -> Options {
        Options {
            wait_for_runner: Duration::from_secs(self.wait),
            lock_timeout: self.lock_timeout.map(|timeout| Duration::from_millis(timeout.into())),
            retry_for: Duration::from_secs(self.retry),
            allow_out_of_order: self.allow_out_of_order,
        }
    }
}

pub(super) async fn run(targets: &[Target], direction: &Direction, options: &Options, json: bool) -> Result<()> {
    let progress = Progress::new();
    let done = each(targets, |target| {
        let shown = progress.of(&target.name, targets.len());
        async move {
            let Target { url, source, main, .. } = &target;
            let attempt = || {
                let shown = shown.clone();
                migrate::run_with(url, source, direction.clone(), options, move |event| shown.migration(event))
            };
            match (attempt().await, main) {
                (Err(Error::NoDatabase { .. }), Some(main))
                    if matches!(direction, Direction::Up | Direction::UpTo(_)) =>
                {
                    create_beside(main, url).await?;
                    attempt().await
                }
                (done, _) => done,
            }
        }
    })
    .await;
    progress.finish();
    let done = done.inspect_err(show_diffs)?;
    if json {
        print_json(done, |done| serde_json::json!({ "done": done }));
        return Ok(());
    }
    let verb = match direction {
        Direction::Up | Direction::UpTo(_) => "applied",
        Direction::Down { .. } | Direction::DownTo(_) | Direction::DownAll | Direction::DownThese(_) => "reverted",
        Direction::Redo => "reverted and applied again",
    };
    for (name, done) in done {
        let place = if targets.len() > 1 { format!("{name}: ") } else { String::new() };
        match done.len() {
            0 => println!("{place}Nothing to do."),
            1 => println!("{place}1 migration {verb}."),
            n => println!("{place}{n} migrations {verb}."),
        }
    }
    Ok(())
}

/// Reverting everything is asked for where the database has migrations of other folders: they would stay, and may need
/// what goes.
///
/// # Errors
/// [`Error::Forbidden`] where the answer is no, or where nobody can be asked.
pub(super) async fn ask_before_reverting_all(targets: &[Target], yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    for target in targets {
        let migrations = migrate::status(&target.url, &target.source).await?;
        let others = migrations.iter().filter(|migration| migration.state == MigrationState::Foreign);
        let others: Vec<_> = others.map(|migration| migration.name.as_str()).collect();
        if others.is_empty() {
            continue;
        }
        let message = format!(
            "{} has {} migrations of another folder too ({}), which stay and may need what is reverted",
            target.url.database(),
            others.len(),
            others[0]
        );
        let refused =
            || Error::Forbidden { message: format!("{message}: say --yes to revert every one of this folder") };
        if !std::io::stdin().is_terminal() {
            return Err(refused());
        }
        eprint!("{message}. Revert every migration of this folder? [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(Error::io("reading the answer"))?;
        if !answer.trim().eq_ignore_ascii_case("y") {
            return Err(refused());
        }
    }
    Ok(())
}

/// What was edited, before the line that says so.
fn show_diffs(error: &Error) {
    if let Error::Drift { problems } = error {
        problems.iter().filter_map(|problem| problem.diff.as_deref()).for_each(|diff| eprint!("{}", visible(diff)));
    }
}

pub(super) async fn baseline(targets: &[Target], to: Option<&str>, json: bool) -> Result<()> {
    let done = each(targets, async |target: Target| {
        migrate::baseline(&target.url, &target.source, to, &Options::default(), |_| {}).await
    })
    .await?;
    print(done, json, |name| format!("{name}: declared applied"), "Nothing to do: all of them are recorded.");
    Ok(())
}

pub(super) async fn repair(targets: &[Target], repairs: &[Repair], json: bool) -> Result<()> {
    let done = each(targets, async |target: Target| {
        migrate::repair(&target.url, &target.source, repairs, &Options::default(), |_| {}).await
    })
    .await?;
    print(
        done,
        json,
        ToOwned::to_owned,
        "Nothing to mend: files and database agree, or what differs is for you to say.",
    );
    Ok(())
}

fn print(done: Vec<(String, Vec<String>)>, json: bool, line: impl Fn(&str) -> String, nothing: &str) {
    if json {
        print_json(done, |done| serde_json::json!({ "done": done }));
    } else if done.iter().all(|(_, done)| done.is_empty()) {
        println!("{nothing}");
    } else {
        done.iter().flat_map(|(_, done)| done).for_each(|done| println!("{}", line(done)));
    }
}
