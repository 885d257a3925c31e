//! What to connect to and how, from the environment.
//!
//! Always holds: a password is in no `Debug`, no error and no log.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::name::DatabaseName;
use super::private_server::PrivateServer;
use super::url::DatabaseUrl;
use crate::error::{Error, Result};
use crate::sql::text_enum;

text_enum! {
    /// Where this runs (`BEDPLATE_ENV`).
    Environment {
        /// A developer's machine: small pool, seeds for development allowed, warnings instead of refusals.
        Development = "development",
        /// Like production, with data that may be lost.
        Staging = "staging",
        /// The real thing: no development seeds, no superuser, no reset without the database's name.
        Production = "production",
    }
}

/// How many connections, and for how long.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// At most so many connections.
    pub max_size: u32,
    /// So many are kept even when idle.
    pub min_idle: u32,
    /// How long to wait for a free connection before [`Error::Timeout`].
    pub wait: Duration,
    /// An idle connection is closed after this time.
    pub idle_timeout: Duration,
    /// A connection is closed at this age, so that a rotated password or a failover is noticed.
    pub max_lifetime: Duration,
}

/// Everything that [`crate::Database`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The owner's URL (`DATABASE_URL`): migrations and seeds; the application too, when `app_url` is not set.
    pub owner_url: DatabaseUrl,
    /// The application's login (`APP_DATABASE_URL`).
    pub app_url: Option<DatabaseUrl>,
    /// The databases beside `main` that are somewhere else than their default: see [`Config::for_database`].
    pub elsewhere: BTreeMap<DatabaseName, Logins>,
    /// The databases that this deployment has (`BEDPLATE_DATABASES`): by default all.
    pub databases: Vec<DatabaseName>,
    /// Where this runs.
    pub environment: Environment,
    /// The pool's limits.
    pub pool: PoolConfig,
    /// A statement is cancelled after this time.
    pub statement_timeout: Duration,
}

/// The URLs of one database: its owner's (`RFQ_DATABASE_URL`) and its application's (`RFQ_APP_DATABASE_URL`).
#[derive(Debug, Clone)]
pub struct Logins {
    /// The login that owns the tables.
    pub owner: DatabaseUrl,
    /// The application's.
    pub app: Option<DatabaseUrl>,
}

impl Config {
    /// The defaults of an environment, for one URL.
    #[must_use]
    pub fn new(owner_url: DatabaseUrl, environment: Environment) -> Self {
        let max_size = if environment == Environment::Development { 10 } else { 20 };
        let pool = PoolConfig {
            max_size,
            min_idle: 0,
            wait: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(10),
            max_lifetime: Duration::from_mins(30),
        };
        Self {
            owner_url,
            app_url: None,
            elsewhere: BTreeMap::new(),
            databases: DatabaseName::ALL.to_vec(),
            environment,
            pool,
            statement_timeout: Duration::from_secs(30),
        }
    }

    /// The same for another database. Where no URL of its own is set (`RFQ_DATABASE_URL`), it is beside `main`:
    /// same server, same logins, named `<main>_rfq`.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a URL whose database cannot be replaced.
    pub fn for_database(&self, name: DatabaseName) -> Result<Self> {
        let logins = match (name, self.elsewhere.get(&name)) {
            (DatabaseName::Main, _) => return Ok(self.clone()),
            (_, Some(logins)) => logins.clone(),
            (_, None) => {
                let beside = format!("{}_{name}", self.owner_url.database());
                let app = self.app_url.as_ref().map(|app| app.with_database(&beside)).transpose()?;
                Logins { owner: self.owner_url.with_database(&beside)?, app }
            }
        };
        Ok(Self { owner_url: logins.owner, app_url: logins.app, ..self.clone() })
    }

    /// Reads the environment's variables (`.env.example` lists them). Where none names a database, the
    /// private server of `bedplate up` in the current directory is used.
    ///
    /// # Errors
    /// [`Error::Configuration`] where a value is wrong or nothing names a database.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(&env_vars())
    }

    /// Like [`Config::from_env`], with the variables given.
    ///
    /// # Errors
    /// As there.
    pub fn from_vars(vars: &HashMap<String, String>) -> Result<Self> {
        let (owner_url, app_url) = match named_url(vars, "DATABASE_URL")? {
            Some(owner) => (owner, named_url(vars, "APP_DATABASE_URL")?),
            None => match url_of_parts(vars)? {
                Some(owner) => (owner, named_url(vars, "APP_DATABASE_URL")?),
                None => private_urls()?,
            },
        };
        let mut config = Self::new(owner_url, environment(vars)?);
        config.app_url = app_url;
        for name in DatabaseName::ALL.iter().filter(|name| **name != DatabaseName::Main) {
            let prefix = name.as_str().to_uppercase();
            if let Some(owner) = named_url(vars, &format!("{prefix}_DATABASE_URL"))? {
                let app = named_url(vars, &format!("{prefix}_APP_DATABASE_URL"))?;
                config.elsewhere.insert(*name, Logins { owner, app });
            }
        }
        if let Some(databases) = databases(vars)? {
            config.databases = databases;
        }
        if let Some(size) = number(vars, "BEDPLATE_POOL_SIZE")? {
            config.pool.max_size = u32::try_from(size).ok().filter(|size| *size > 0).ok_or_else(|| {
                Error::configuration("BEDPLATE_POOL_SIZE is out of range: write a number from 1 to a few hundred")
            })?;
        }
        for (name, target) in [
            ("BEDPLATE_POOL_WAIT_SECONDS", &mut config.pool.wait),
            ("BEDPLATE_POOL_IDLE_SECONDS", &mut config.pool.idle_timeout),
            ("BEDPLATE_POOL_LIFETIME_SECONDS", &mut config.pool.max_lifetime),
            ("BEDPLATE_STATEMENT_TIMEOUT_SECONDS", &mut config.statement_timeout),
        ] {
            if let Some(seconds) = number(vars, name)? {
                *target = Duration::from_secs(seconds);
            }
        }
        Ok(config)
    }

    /// What the application connects as.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        self.app_url.as_ref().unwrap_or(&self.owner_url)
    }
}

/// The environment, without what is no Unicode: `std::env::vars` would panic there.
pub(crate) fn env_vars() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Whether the variables name a database, so that no private server is wanted.
#[cfg(feature = "cli")]
pub(crate) fn names_a_database(vars: &HashMap<String, String>) -> bool {
    ["DATABASE_URL", "DATABASE_URL_FILE", "DB_HOST", "DB_NAME"].iter().any(|name| get(vars, name).is_some())
}

pub(crate) fn environment(vars: &HashMap<String, String>) -> Result<Environment> {
    let Some(text) = get(vars, "BEDPLATE_ENV") else {
        return Ok(Environment::Development);
    };
    text.parse().map_err(|_| {
        Error::configuration(format!("BEDPLATE_ENV is {text:?}: write development, staging or production"))
    })
}

/// `main,rfq`: in the order of [`DatabaseName::ALL`]; `main` is always among them.
fn databases(vars: &HashMap<String, String>) -> Result<Option<Vec<DatabaseName>>> {
    let Some(text) = get(vars, "BEDPLATE_DATABASES") else {
        return Ok(None);
    };
    let named: Result<Vec<DatabaseName>> = text.split(',').map(|name| name.trim().parse()).collect();
    let mut named = named.map_err(|_| {
        Error::configuration(format!("BEDPLATE_DATABASES is {text:?}: write some of main,rfq,marketdata"))
    })?;
    named.push(DatabaseName::Main);
    named.sort_unstable();
    named.dedup();
    Ok(Some(named))
}

/// An empty variable counts as not set, as in `.env` files with the value left out.
fn get<'v>(vars: &'v HashMap<String, String>, name: &str) -> Option<&'v str> {
    vars.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn number(vars: &HashMap<String, String>, name: &str) -> Result<Option<u64>> {
    let Some(text) = get(vars, name) else {
        return Ok(None);
    };
    let number = text.parse().ok().filter(|number| (1..=86_400).contains(number));
    number.map(Some).ok_or_else(|| Error::configuration(format!("{name} is {text:?}: write a number from 1 to 86400")))
}

/// `NAME`, or the content of the file that `NAME_FILE` names.
fn named_url(vars: &HashMap<String, String>, name: &str) -> Result<Option<DatabaseUrl>> {
    let in_context = |error: Error| Error::configuration(format!("{name}: {error}"));
    let file_name = format!("{name}_FILE");
    match (get(vars, name), get(vars, &file_name)) {
        (Some(_), Some(_)) => {
            Err(Error::configuration(format!("{name} and {file_name} are both set: leave one of them out")))
        }
        (Some(url), None) => url.parse().map(Some).map_err(in_context),
        (None, Some(path)) => {
            let url = std::fs::read_to_string(path)
                .map_err(|error| Error::configuration(format!("{file_name}: {path} cannot be read: {error}")))?;
            url.parse().map(Some).map_err(in_context)
        }
        (None, None) => Ok(None),
    }
}

fn url_of_parts(vars: &HashMap<String, String>) -> Result<Option<DatabaseUrl>> {
    if get(vars, "DB_HOST").is_none() && get(vars, "DB_NAME").is_none() {
        return Ok(None);
    }
    let needed =
        |name| get(vars, name).ok_or_else(|| Error::configuration(format!("{name} is not set, other DB_… are")));
    let port = get(vars, "DB_PORT").unwrap_or("5432");
    let port = port.parse().map_err(|_| Error::configuration(format!("DB_PORT is {port:?}: write a port number")))?;
    let password = get(vars, "DB_PASSWORD").unwrap_or_default().to_owned().into();
    DatabaseUrl::from_parts(needed("DB_HOST")?, port, needed("DB_NAME")?, needed("DB_USER")?, &password).map(Some)
}

fn private_urls() -> Result<(DatabaseUrl, Option<DatabaseUrl>)> {
    let server = PrivateServer::here();
    let Some(urls) = server.urls()? else {
        return Err(Error::configuration(
            "no database is configured: set DATABASE_URL, or run `bedplate up` for a private PostgreSQL",
        ));
    };
    Ok((urls.owner, Some(urls.app)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const URL: &str = "postgres://owner:s3cr%40t@db.example:5433/main";

    fn vars(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = Config::from_vars(&vars(&[("DATABASE_URL", URL)])).unwrap();
        assert_eq!(config.owner_url.to_string(), "postgres://owner@db.example:5433/main");
        assert!(!format!("{config:?}").contains("s3cr"), "{config:?}");
        assert_eq!(config.owner_url.reveal(), URL);
    }

    #[test]
    fn parts_make_a_url_and_are_escaped() {
        let config = Config::from_vars(&vars(&[
            ("DB_HOST", "db.example"),
            ("DB_NAME", "main"),
            ("DB_USER", "o/wner"),
            ("DB_PASSWORD", "a@b:c/d"),
        ]))
        .unwrap();
        let parsed = config.owner_url.tokio_postgres();
        assert_eq!(parsed.get_user(), Some("o/wner"));
        assert_eq!(parsed.get_password(), Some(&b"a@b:c/d"[..]));
        assert_eq!(config.owner_url.database(), "main");
    }

    #[test]
    fn a_file_can_hold_the_url() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{URL}\n")).unwrap();
        let path = file.path().to_str().unwrap();
        let config = Config::from_vars(&vars(&[("DATABASE_URL_FILE", path)])).unwrap();
        assert_eq!(config.owner_url.reveal(), URL);
        let both = Config::from_vars(&vars(&[("DATABASE_URL_FILE", path), ("DATABASE_URL", URL)])).unwrap_err();
        assert!(both.to_string().contains("both set"), "{both}");
    }

    #[rstest]
    #[case(&[("DATABASE_URL", "mysql://root:pw@db/x")], "DATABASE_URL: the database URL cannot be read")]
    #[case(&[("DATABASE_URL", "postgres://u:pw@host:notaport/x")], "cannot be read")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_ENV", "prod")], "BEDPLATE_ENV is \"prod\"")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_DATABASES", "main,books")], "BEDPLATE_DATABASES is \"main,books\"")]
    #[case(&[("DATABASE_URL", URL), ("RFQ_DATABASE_URL", "mysql://root:pw@db/x")], "RFQ_DATABASE_URL: the database URL")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_POOL_SIZE", "0")], "BEDPLATE_POOL_SIZE")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_STATEMENT_TIMEOUT_SECONDS", "soon")], "write a number")]
    #[case(&[("DB_HOST", "db"), ("DB_NAME", "x")], "DB_USER is not set")]
    #[case(&[("DB_HOST", "db"), ("DB_NAME", "x"), ("DB_USER", "u"), ("DB_PORT", "x")], "DB_PORT")]
    #[case(&[("DATABASE_URL_FILE", "/nowhere/url")], "cannot be read")]
    fn what_is_wrong_is_told_without_secrets(#[case] pairs: &[(&str, &str)], #[case] expected: &str) {
        let message = Config::from_vars(&vars(pairs)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("pw"), "{message}");
    }

    #[test]
    fn other_databases_are_beside_main_or_where_their_url_says() {
        let config = Config::from_vars(&vars(&[
            ("DATABASE_URL", URL),
            ("APP_DATABASE_URL", "postgres://app:x@db/main"),
            ("RFQ_DATABASE_URL", "postgres://trader:x@elsewhere/desk"),
            ("BEDPLATE_DATABASES", "rfq, main"),
        ]))
        .unwrap();
        let url = |name| config.for_database(name).unwrap().owner_url.to_string();
        assert_eq!(url(DatabaseName::Main), "postgres://owner@db.example:5433/main");
        assert_eq!(url(DatabaseName::Rfq), "postgres://trader@elsewhere:5432/desk");
        assert_eq!(url(DatabaseName::Marketdata), "postgres://owner@db.example:5433/main_marketdata");
        let app = config.for_database(DatabaseName::Marketdata).unwrap().app_url.unwrap();
        assert_eq!(app.to_string(), "postgres://app@db:5432/main_marketdata");
        assert!(config.for_database(DatabaseName::Rfq).unwrap().app_url.is_none());
        assert_eq!(config.databases, [DatabaseName::Main, DatabaseName::Rfq]);
    }

    #[test]
    fn environments_have_their_defaults_and_variables_win() {
        let development = Config::from_vars(&vars(&[("DATABASE_URL", URL)])).unwrap();
        assert_eq!((development.environment, development.pool.max_size), (Environment::Development, 10));
        assert_eq!(development.statement_timeout, Duration::from_secs(30));
        let production = Config::from_vars(&vars(&[
            ("DATABASE_URL", URL),
            ("BEDPLATE_ENV", "production"),
            ("BEDPLATE_POOL_SIZE", "33"),
            ("BEDPLATE_POOL_WAIT_SECONDS", "2"),
            ("APP_DATABASE_URL", "postgres://app:x@db/main"),
        ]))
        .unwrap();
        assert_eq!((production.environment, production.pool.max_size), (Environment::Production, 33));
        assert_eq!(production.pool.wait, Duration::from_secs(2));
        assert_eq!(production.url().user(), "app");
    }
}
