//! The configuration from the environment's variables.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::{Config, Environment, Logins, StatementCache};
use crate::database::name::DatabaseName;
use crate::database::private_server::PrivateServer;
use crate::database::secret::{Origin, Source};
use crate::database::url::{DatabaseUrl, Libpq};
use crate::error::{Error, Result};

/// The most replicas that are asked for.
const MAX_REPLICAS: u8 = 9;

impl Config {
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
        config.direct_url = named_url(vars, "APP_DATABASE_DIRECT_URL")?;
        for n in 1..=MAX_REPLICAS {
            let name = if n == 1 { "APP_REPLICA_URL".to_owned() } else { format!("APP_REPLICA_{n}_URL") };
            config.replicas.extend(named_url(vars, &name)?);
        }
        if let Some(cache) = get(vars, "BEDPLATE_STATEMENT_CACHE") {
            config.statement_cache = cache.parse().map_err(|_| {
                let words: Vec<_> = StatementCache::ALL.iter().map(|word| word.as_str()).collect();
                Error::configuration(format!("BEDPLATE_STATEMENT_CACHE is {cache:?}: write {}", words.join(", ")))
            })?;
        }
        if let Some(milliseconds) = number(vars, "BEDPLATE_SLOW_QUERY_MS")? {
            config.slow_queries.threshold = Duration::from_millis(milliseconds);
        }
        config.slow_queries.plan = match get(vars, "BEDPLATE_SLOW_QUERY_PLAN") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Error::configuration("BEDPLATE_SLOW_QUERY_PLAN: write true or false")),
        };
        for (name, target) in [
            ("BEDPLATE_POOL_WAIT_SECONDS", &mut config.pool.wait),
            ("BEDPLATE_POOL_IDLE_SECONDS", &mut config.pool.idle_timeout),
            ("BEDPLATE_POOL_LIFETIME_SECONDS", &mut config.pool.max_lifetime),
            ("BEDPLATE_STATEMENT_TIMEOUT_SECONDS", &mut config.timeouts.statement),
            ("BEDPLATE_LOCK_TIMEOUT_SECONDS", &mut config.timeouts.lock),
            ("BEDPLATE_IDLE_IN_TRANSACTION_SECONDS", &mut config.timeouts.idle_in_transaction),
            ("BEDPLATE_RETRY_SECONDS", &mut config.retry_budget),
        ] {
            if let Some(seconds) = number(vars, name)? {
                *target = Duration::from_secs(seconds);
            }
        }
        Ok(config)
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
    ["DATABASE_URL", "DATABASE_URL_FILE", "DATABASE_URL_COMMAND", "DB_HOST", "DB_NAME"]
        .iter()
        .any(|name| get(vars, name).is_some())
}

fn environment(vars: &HashMap<String, String>) -> Result<Environment> {
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

/// `NAME`, the content of the file that `NAME_FILE` names, or what the command `NAME_COMMAND` prints.
fn named_url(vars: &HashMap<String, String>, name: &str) -> Result<Option<DatabaseUrl>> {
    let in_context = |error: Error| Error::configuration(format!("{name}: {error}"));
    let libpq = Libpq::of_vars(vars);
    let of = |suffix: &str| get(vars, &format!("{name}{suffix}")).map(str::to_owned);
    let set = [of(""), of("_FILE"), of("_COMMAND")];
    if set.iter().flatten().count() > 1 {
        return Err(Error::configuration(format!(
            "two of {name}, {name}_FILE and {name}_COMMAND are set: leave one of them out"
        )));
    }
    let source = match set {
        [Some(url), _, _] => return DatabaseUrl::read(&url, &libpq).map(Some).map_err(in_context),
        [None, Some(path), _] => Source::File(path),
        [None, None, Some(command)] => Source::Command(command),
        [None, None, None] => return Ok(None),
    };
    let read = source.read().and_then(|url| DatabaseUrl::read(url.expose_secret(), &libpq));
    let url = read.map_err(in_context)?;
    Ok(Some(url.read_from(Origin::new(source))))
}

fn url_of_parts(vars: &HashMap<String, String>) -> Result<Option<DatabaseUrl>> {
    if get(vars, "DB_HOST").is_none() && get(vars, "DB_NAME").is_none() {
        return Ok(None);
    }
    let needed =
        |name| get(vars, name).ok_or_else(|| Error::configuration(format!("{name} is not set, other DB_… are")));
    let port = get(vars, "DB_PORT").unwrap_or("5432");
    let port = port.parse().map_err(|_| Error::configuration(format!("DB_PORT is {port:?}: write a port number")))?;
    let password = SecretString::from(get(vars, "DB_PASSWORD").unwrap_or_default());
    let (host, name, user) = (needed("DB_HOST")?, needed("DB_NAME")?, needed("DB_USER")?);
    DatabaseUrl::of_parts(host, port, name, user, &password, &Libpq::of_vars(vars)).map(Some)
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
        assert!(both.to_string().contains("are set: leave one"), "{both}");
    }

    #[test]
    fn a_command_can_print_the_url() {
        let command = format!("printf '%s' '{URL}'");
        let config = Config::from_vars(&vars(&[("DATABASE_URL_COMMAND", &command)])).unwrap();
        assert_eq!(config.owner_url.reveal(), URL);
        assert!(!format!("{config:?}").contains("s3cr"), "{config:?}");
    }

    #[test]
    fn replicas_and_a_direct_way_are_named() {
        let config = Config::from_vars(&vars(&[
            ("DATABASE_URL", URL),
            ("APP_REPLICA_URL", "postgres://app:x@one/main"),
            ("APP_REPLICA_2_URL", "postgres://app:x@two/main"),
            ("APP_DATABASE_DIRECT_URL", "postgres://app:x@db/main"),
        ]))
        .unwrap();
        let replicas: Vec<_> = config.replicas.iter().map(ToString::to_string).collect();
        assert_eq!(replicas, ["postgres://app@one:5432/main", "postgres://app@two:5432/main"]);
        assert_eq!(config.listen_url().user(), "app");
        assert!(config.for_database(DatabaseName::Rfq).unwrap().replicas.is_empty());
    }

    #[rstest]
    #[case(&[("DATABASE_URL", "mysql://root:pw@db/x")], "DATABASE_URL: the database URL cannot be read")]
    #[case(&[("DATABASE_URL", "postgres://u:pw@host:notaport/x")], "port cannot be read")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_ENV", "prod")], "BEDPLATE_ENV is \"prod\"")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_DATABASES", "main,books")], "BEDPLATE_DATABASES is \"main,books\"")]
    #[case(&[("DATABASE_URL", URL), ("RFQ_DATABASE_URL", "mysql://root:pw@db/x")], "RFQ_DATABASE_URL: the database URL")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_POOL_SIZE", "0")], "BEDPLATE_POOL_SIZE")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_STATEMENT_TIMEOUT_SECONDS", "soon")], "write a number")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_STATEMENT_CACHE", "maybe")], "write auto, on, off")]
    #[case(&[("DATABASE_URL", URL), ("BEDPLATE_SLOW_QUERY_PLAN", "yes")], "write true or false")]
    #[case(&[("DATABASE_URL_COMMAND", "echo postgres://root:pw@db/x; exit 3")], "failed (exit status: 3)")]
    #[case(&[("DATABASE_URL_COMMAND", "echo mysql://root:pw@db/x")], "cannot be read")]
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
        assert_eq!(development.timeouts.statement, Duration::from_secs(30));
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
