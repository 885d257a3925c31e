//! `bedplate outbox relay`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::super::ui::Progress;
use crate::database::{Database, DatabaseName};
use crate::error::{Error, Result};
use crate::outbox::{Relay, RelayOptions, Relayed, RetryPolicy, Webhook, WebhookSecret};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  BEDPLATE_WEBHOOK_SECRET=whsec_... bedplate outbox relay --webhook https://example.org/hooks\n  \
    bedplate outbox relay --webhook http://localhost:8080/hooks --secret-file secret.txt --once\n  \
    bedplate outbox relay --webhook https://example.org/hooks --workers 4 --database rfq\n  \
    bedplate outbox relay --webhook https://example.org/hooks --secret-file new.txt --secret-file old.txt\n\n\
    Messages are signed as https://www.standardwebhooks.com has it. A message may come more than once: its header webhook-id \
    stays the same. Ctrl-C waits for the messages that are under way.\n\
    A message that fails is tried again, by default ten times in three days. An endpoint that answers 410 is stopped until \
    `bedplate outbox start`. While a secret is replaced, give the new and the old one: each message has a signature of both.\n\
    Exit code 3: with --once, the endpoint is stopped."
)]
pub(super) struct Args {
    /// The URL to post to: http or https
    #[arg(long, value_name = "URL")]
    webhook: String,
    /// A file with the secret that signs: whsec_ and base64, or a text of 24 to 64 bytes, which is used as it is; given
    /// again: one more signature
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    secret_file: Vec<PathBuf>,
    /// The environment variable with the secret; given again: one more signature
    #[arg(long, value_name = "NAME", default_value = "BEDPLATE_WEBHOOK_SECRET")]
    secret_env: Vec<String>,
    /// One pass over the due messages, then an end
    #[arg(long)]
    once: bool,
    /// Number of workers
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Seconds to wait for the receiver, for each message
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// Maximum number of attempts before a message becomes a dead letter
    #[arg(long, value_name = "COUNT", default_value_t = RetryPolicy::default().max_attempts, value_parser = clap::value_parser!(i32).range(1..))]
    max_attempts: i32,
}

pub(super) async fn run(database: &Database, name: DatabaseName, args: &Args) -> Result<()> {
    let mut secrets = secrets(args)?.into_iter();
    let first = secrets.next().ok_or_else(|| Error::configuration("the webhook has no secret"))?;
    let sink = Arc::new(secrets.fold(Webhook::new(&args.webhook, first)?, Webhook::also_sign_with));
    let relay = |worker: u16| {
        let options = RelayOptions::default();
        let options = RelayOptions {
            worker: format!("{}:{worker}", options.worker),
            timeout: Duration::from_secs(args.timeout),
            lease: Duration::from_secs(2 * args.timeout + 40),
            retry: RetryPolicy { max_attempts: args.max_attempts, ..options.retry },
            ..options
        };
        match name {
            DatabaseName::Rfq => Relay::of_rfq(database.rfq(), sink.clone(), options),
            _ => Relay::new(database, sink.clone(), options),
        }
    };
    let relays: Vec<_> = (1..=args.workers).map(relay).collect();
    let (progress, (stop, stopped)) = (Progress::new(), watch::channel(false));
    progress.step(if args.once { "publishing what is due" } else { "publishing; Ctrl-C ends it" });
    let mut work = std::pin::pin!(join_all(relays.iter().map(|relay| {
        let mut stopped = stopped.clone();
        async move {
            if args.once {
                return relay.drain(wait_for(&mut stopped)).await;
            }
            relay.run_until(wait_for(&mut stopped)).await
        }
    })));
    let mut signals = Signals::new()?;
    let mut told = Relayed::default();
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let ended = loop {
        tokio::select! {
            ended = &mut work => break ended,
            () = signals.next() => {
                if stop.send_replace(true) {
                    return Err(Error::configuration("interrupted; what was under way is claimed until its lease ends"));
                }
                // Said when the workers have heard it.
                tokio::select! {
                    biased;
                    ended = &mut work => break ended,
                    () = std::future::ready(()) => progress.step("ending: waiting for what is under way"),
                }
            }
            _ = every.tick() => {
                let now = sum(&relays);
                if now != told {
                    progress.quiet_step(&line(now));
                    told = now;
                }
            }
        }
    };
    progress.finish();
    println!("{}.", line(sum(&relays)));
    // The others have gone on to their end.
    ended.into_iter().try_for_each(|relayed| relayed.map(drop))
}

/// Asked for before anything is published.
fn secrets(args: &Args) -> Result<Vec<WebhookSecret>> {
    let of_file = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).map_err(Error::io(format!("reading {}", file.display())))?;
        // An editor ends a file with a line break: it alone is none of the secret.
        let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        parse(text, &file.display().to_string())
    };
    let of_variable = |name: &String| {
        let text = std::env::var(name).map_err(|_| {
            Error::configuration(format!("{name} is not set: the secret comes from it, or from --secret-file"))
        })?;
        parse(&text, name)
    };
    if args.secret_file.is_empty() {
        return args.secret_env.iter().map(of_variable).collect();
    }
    args.secret_file.iter().map(of_file).collect()
}

fn parse(text: &str, named: &str) -> Result<WebhookSecret> {
    let text = SecretString::from(text);
    text.expose_secret().parse().map_err(|error| Error::configuration(format!("{named}: {error}")))
}

async fn wait_for(stopped: &mut watch::Receiver<bool>) {
    // An error would mean that the sender is gone, and with it this future.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn sum<S: crate::outbox::Sink>(relays: &[Relay<S>]) -> Relayed {
    relays.iter().map(Relay::relayed).fold(Relayed::default(), |sum, one| Relayed {
        published: sum.published + one.published,
        retried: sum.retried + one.retried,
        dead: sum.dead + one.dead,
        lost: sum.lost + one.lost,
    })
}

fn line(relayed: Relayed) -> String {
    let Relayed { published, retried, dead, lost } = relayed;
    format!("{published} published, {retried} failures to try again, {dead} given up, {lost} settled too late")
}

/// Ctrl-C, and what stops a container.
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(Error::io("listening for signals"));
        Ok(Self(listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}
