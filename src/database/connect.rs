//! Making a connection: TLS, several hosts, a time limit for each, and the URL read again where the server refuses the
//! login.
//!
//! A pooler in transaction mode hands each transaction another connection of the server, so that nothing of a session
//! holds: no prepared statement, no setting, no LISTEN. [`Session::open`] finds out whether there is one.

use diesel::connection::CacheSize;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Config, Environment, StatementCache};
use super::other_service;
use super::refusal;
use super::session_attrs::{Role, SessionAttrs, role};
use super::url::DatabaseUrl;
use super::wire::{Heard, Opened};
use crate::error::{Error, Result};

/// What reads from the server; with a [`Client`] that writes.
pub(crate) type Connection = tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Asks a direct connection to tell itself: a pooler refuses or drops the setting.
pub(super) const DIRECT: &str = "-c bedplate.direct=yes";

/// The begin of what PgBouncer answers to a setting that it does not know.
const REFUSES_OPTIONS: &str = "startup parameter";

/// Connects once, outside of any pool.
///
/// # Errors
/// [`Error::Configuration`] for what waiting does not mend (unknown login, wrong password, a certificate that is
/// refused), [`Error::NoDatabase`] for an unknown database, [`Error::Unavailable`] for the rest.
pub async fn connect(url: &DatabaseUrl) -> Result<AsyncPgConnection> {
    in_time(url, async {
        let (client, connection) = connect_plainly(url).await?;
        of_diesel(client, connection).await
    })
    .await
}

/// What is sent before a connection is ready counts too: a server that hangs, or a pooler that has no connection to
/// give, would be waited for.
async fn in_time<T>(url: &DatabaseUrl, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Error::Unavailable { message: format!("{url}: no answer in time") };
    timeout(url.connect_timeout(), Box::pin(work)).await.unwrap_or_else(|_| Err(late()))
}

/// What [`connect`] makes its connection of: for what diesel-async does not have.
pub(super) async fn connect_plainly(url: &DatabaseUrl) -> Result<(Client, Connection)> {
    Ok(open(url, &Plainly, set_name).await?)
}

fn set_name(config: &mut tokio_postgres::Config) {
    config.application_name("bedplate");
}

/// How a connection to one host is made.
pub(super) trait Dial {
    type Connected: Send;

    fn dial(
        &self,
        config: tokio_postgres::Config,
        tls: MakeRustlsConnect,
    ) -> impl Future<Output = Result<Self::Connected, Cause>> + Send;

    /// What the server is, for `target_session_attrs`.
    fn role(
        connected: &mut Self::Connected,
    ) -> impl Future<Output = Result<Option<Role>, tokio_postgres::Error>> + Send;
}

/// As the driver makes it.
pub(super) struct Plainly;

impl Dial for Plainly {
    type Connected = (Client, Connection);

    async fn dial(
        &self,
        config: tokio_postgres::Config,
        tls: MakeRustlsConnect,
    ) -> Result<(Client, Connection), Cause> {
        config.connect(tls).await.map_err(Cause::Driver)
    }

    async fn role((client, connection): &mut Self::Connected) -> Result<Option<Role>, tokio_postgres::Error> {
        role(client, connection).await
    }
}

/// Connects, with the driver's settings changed by `set`. What waiting does not mend is tried once more where the URL
/// can be read again and is another one then.
pub(super) async fn open<D: Dial>(
    url: &DatabaseUrl,
    dial: &D,
    set: impl Fn(&mut tokio_postgres::Config),
) -> Result<D::Connected, NotConnected> {
    let Some(origin) = url.origin() else {
        return Box::pin(once(url, dial, &set)).await;
    };
    let as_asked = |read: DatabaseUrl| if url.is_for_reading() { read.for_reading() } else { read };
    let newest = origin.newest().map_or_else(|| url.clone(), as_asked);
    let refused = match Box::pin(once(&newest, dial, &set)).await {
        Err(error) if !error.may_pass() => error,
        other => return other,
    };
    match origin.renewed(&newest).await {
        Some(renewed) => Box::pin(once(&as_asked(renewed), dial, &set)).await,
        None => Err(refused),
    }
}

async fn once<D: Dial>(
    url: &DatabaseUrl,
    dial: &D,
    set: &impl Fn(&mut tokio_postgres::Config),
) -> Result<D::Connected, NotConnected> {
    let not_connected = |cause| NotConnected { url: url.clone(), cause };
    let tls = url.tls().connector().map_err(|error| not_connected(Cause::Tls(error)))?;
    let (mut last, mut second_best) = (None, None);
    for (n, host) in url.each_host() {
        let mut config = host.clone();
        set(&mut config);
        let connecting = async {
            let mut connected = dial.dial(config, tls.clone()).await?;
            let fits = match url.attrs() {
                SessionAttrs::Any => true,
                attrs => D::role(&mut connected).await.map_err(Cause::Driver)?.is_some_and(|role| attrs.fit(role)),
            };
            Ok::<_, Cause>((connected, fits))
        };
        // The driver's own limit ends with the TCP connection: a server that hangs would hide the next one.
        let cause = match timeout(url.host_timeout(), Box::pin(connecting)).await {
            Ok(Ok((connected, true))) => {
                url.found(n);
                return Ok(connected);
            }
            Ok(Ok((connected, false))) => {
                second_best.get_or_insert(connected);
                Cause::Unfit
            }
            Ok(Err(Cause::Driver(error))) if other_service::answers(host, &error).await => Cause::OtherService,
            Ok(Err(cause)) => cause,
            Err(_) => Cause::Late,
        };
        let failure = not_connected(cause);
        // The same login is no better elsewhere; and a pooler is asked again, without what it refuses.
        if failure.is_refused_login() || failure.is_of_pooler() {
            url.found(n);
            return Err(failure);
        }
        // A host that may come back is worth waiting for, whatever the others say.
        if failure.may_pass() || last.as_ref().is_none_or(|last: &NotConnected| !last.may_pass()) {
            last = Some(failure);
        }
    }
    match second_best {
        Some(connected) if url.attrs() == SessionAttrs::PreferStandby => Ok(connected),
        _ => Err(last.unwrap_or_else(|| not_connected(Cause::Late))),
    }
}

/// Why there is no connection.
pub(super) struct NotConnected {
    url: DatabaseUrl,
    cause: Cause,
}

pub(super) enum Cause {
    Driver(tokio_postgres::Error),
    /// A socket of this machine.
    Socket(std::io::Error),
    Tls(Error),
    Late,
    /// Another service answers.
    OtherService,
    /// Not what `target_session_attrs` asks for.
    Unfit,
}

impl NotConnected {
    pub(super) fn code(&self) -> Option<&SqlState> {
        match &self.cause {
            Cause::Driver(error) => error.code(),
            Cause::Socket(_) | Cause::Tls(_) | Cause::Late | Cause::OtherService | Cause::Unfit => None,
        }
    }

    /// What the server said.
    fn said(&self) -> Option<&str> {
        match &self.cause {
            Cause::Driver(error) => error.as_db_error().map(tokio_postgres::error::DbError::message),
            Cause::Socket(_) | Cause::Tls(_) | Cause::Late | Cause::OtherService | Cause::Unfit => None,
        }
    }

    fn is_refused_login(&self) -> bool {
        matches!(self.code(), Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION))
    }

    /// Whether waiting may mend it.
    fn may_pass(&self) -> bool {
        match &self.cause {
            Cause::Driver(error) => matches!(refusal::of_driver(&self.url, error), Error::Unavailable { .. }),
            Cause::Tls(_) | Cause::OtherService => false,
            Cause::Socket(error) => matches!(refusal::of_io(&self.url, "", error), Error::Unavailable { .. }),
            Cause::Late | Cause::Unfit => true,
        }
    }

    /// A pooler takes no settings of its own from a client.
    pub(super) fn is_of_pooler(&self) -> bool {
        self.said().is_some_and(|said| said.contains(REFUSES_OPTIONS))
    }
}

impl From<NotConnected> for Error {
    fn from(NotConnected { url, cause }: NotConnected) -> Self {
        match cause {
            Cause::Driver(error) => refusal::of_driver(&url, &error),
            Cause::Socket(error) => refusal::of_io(&url, "error connecting to server", &error),
            Cause::Tls(error) => error,
            Cause::OtherService => Self::configuration(format!("{url}: {}", refusal::not_postgresql())),
            Cause::Late => Self::Unavailable { message: format!("{url}: no answer in time") },
            Cause::Unfit => Self::Unavailable {
                message: format!("{url}: no host is what target_session_attrs={} asks for", url.attrs()),
            },
        }
    }
}

/// How the connections of a pool are made, once the first one was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    /// Each transaction may have another connection of the server.
    pub(super) pooled: bool,
    prepares: bool,
}

impl Session {
    /// The first connection of a pool: whether there is a pooler in between, and whether the login will do.
    pub(super) async fn first(config: &Config) -> Result<(Self, Opened)> {
        in_time(config.url(), Self::asked(config)).await
    }

    async fn asked(config: &Config) -> Result<(Self, Opened)> {
        let url = config.url();
        let mut heard = match Self::open(url).await {
            Err(refused) if refused.is_of_pooler() => open(url, &Listened, set_name).await?,
            opened => opened?,
        };
        let asked = heard.while_driven(async |client| client.simple_query(LOGIN).await).await;
        let asked = asked.map_err(|error| Error::Unavailable { message: format!("{url}: {error}") })?;
        let login = asked.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let fact = |column: &str| login.and_then(|row| row.try_get(column).ok().flatten()).unwrap_or_default();
        check_login(config, fact("bypasses_policies") == "t", fact("messages"))?;
        let pooled = url.says_pooled() || fact("direct") != "yes";
        let prepares = match config.statement_cache {
            StatementCache::On => true,
            StatementCache::Off => false,
            StatementCache::Auto => !pooled,
        };
        let session = Self { pooled, prepares };
        Ok((session, session.of_diesel(heard).await?))
    }

    async fn open(url: &DatabaseUrl) -> Result<Heard, NotConnected> {
        open(url, &Listened, |config| {
            // A pooler takes no settings, and whoever says that there is one is not asked.
            if url.says_pooled() {
                config.application_name("bedplate");
                return;
            }
            let own = config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
            config.application_name("bedplate").options(format!("{own}{DIRECT}"));
        })
        .await
    }

    /// Another one.
    pub(super) async fn connect(self, url: &DatabaseUrl) -> Result<Opened> {
        in_time(url, async { self.of_diesel(open(url, &Listened, set_name).await?).await }).await
    }

    /// diesel-async begins with a statement of its own that it prepares: behind a pooler that needs a transaction.
    async fn of_diesel(self, mut heard: Heard) -> Result<Opened> {
        if self.pooled {
            let begun = heard.while_driven(async |client| client.batch_execute("BEGIN").await).await;
            begun.map_err(|message| Error::Unavailable { message })?;
        }
        let mut opened = heard.of_diesel().await?;
        if !self.prepares {
            opened.diesel.set_prepared_statement_cache_size(CacheSize::Disabled);
        }
        if self.pooled {
            opened.diesel.batch_execute("COMMIT").await?;
        }
        Ok(opened)
    }
}

/// For a pool: with what the server says on it.
struct Listened;

impl Dial for Listened {
    type Connected = Heard;

    async fn dial(&self, config: tokio_postgres::Config, tls: MakeRustlsConnect) -> Result<Heard, Cause> {
        Heard::connect(config, tls).await
    }

    async fn role(heard: &mut Heard) -> Result<Option<Role>, tokio_postgres::Error> {
        heard.role().await
    }
}

/// The server's, or the driver's.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned())
}

async fn of_diesel(client: Client, connection: Connection) -> Result<AsyncPgConnection> {
    AsyncPgConnection::try_from_client_and_connection(client, connection)
        .await
        .map_err(|error| Error::Unavailable { message: error.to_string() })
}

const LOGIN: &str = "SELECT rolsuper OR rolbypassrls AS bypasses_policies, current_setting('lc_messages') AS messages, \
                            current_setting('bedplate.direct', true) AS direct \
                       FROM pg_roles WHERE rolname = current_user";

fn check_login(config: &Config, bypasses_policies: bool, messages: &str) -> Result<()> {
    if bypasses_policies {
        let advice = "the login is a superuser or has BYPASSRLS, so row-level security does not bind it; \
                      use an ordinary login (`.env.example` shows one)";
        if config.environment == Environment::Production {
            return Err(Error::configuration(format!("{}: {advice}", config.url())));
        }
        tracing::warn!(url = %config.url(), "{advice}");
    }
    if !["C", "POSIX", "en"].iter().any(|english| messages.starts_with(english)) && !messages.is_empty() {
        tracing::warn!(
            lc_messages = messages,
            "the server speaks another language than English, so a time limit cannot be told from a cancelled statement; \
             run ALTER DATABASE … SET lc_messages = 'C' as a superuser"
        );
    }
    Ok(())
}
