//! Which databases, and which folders.

use std::path::PathBuf;

use super::here;
use crate::cli::config;
use crate::database::migrate::Source;
use crate::database::migrate::lint::Rules;
use crate::database::{DatabaseName, DatabaseUrl};
use crate::error::{Error, Result};

/// Where a command works.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The database: main, rfq, marketdata, or all [default: main]
    #[arg(long, global = true, value_name = "NAME", value_parser = parse_name)]
    pub(super) database: Option<Which>,
    /// All databases, side by side; with `down`, all migrations
    #[arg(long, global = true)]
    pub(super) all: bool,
    /// A folder of Diesel migrations [default: the migrations that are compiled in]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) dir: Option<PathBuf>,
    /// The URL of the database [default: from the environment]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    One(DatabaseName),
}

fn parse_name(text: &str) -> std::result::Result<Which, String> {
    if text == "all" {
        return Ok(Which::All);
    }
    text.parse().map(Which::One).map_err(|_| "there are three databases: main, rfq, marketdata; or all".to_owned())
}

/// One database with its folder.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// What to call it, where there are several.
    pub(super) name: String,
    pub(super) url: DatabaseUrl,
    pub(super) source: Source,
    /// `None` for a folder of somebody else's.
    pub(super) database: Option<DatabaseName>,
    /// `main`, where this database is beside it and may be made.
    pub(super) main: Option<DatabaseUrl>,
}

/// A folder without its database.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    /// The database, or the path.
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) rules: Rules,
}

impl Where {
    pub(super) fn targets(&self) -> Result<Vec<Target>> {
        if self.all || self.database == Some(Which::All) {
            let config = config()?;
            return config.databases.iter().map(|name| self.target(*name)).collect();
        }
        Ok(vec![self.target(self.one())?])
    }

    fn one(&self) -> DatabaseName {
        match self.database {
            Some(Which::One(name)) => name,
            _ => DatabaseName::Main,
        }
    }

    fn target(&self, name: DatabaseName) -> Result<Target> {
        let (url, main) = if let Some(url) = &self.url {
            (url.parse()?, None)
        } else {
            let config = config()?;
            let main = (!config.elsewhere.contains_key(&name)).then(|| config.owner_url.clone());
            (config.for_database(name)?.owner_url, main)
        };
        let source = self.dir.as_ref().map_or(Source::Embedded(name), |path| Source::Directory(path.clone()));
        if self.dir.is_some() {
            return Ok(Target { name: url.database().to_owned(), url, source, database: None, main: None });
        }
        Ok(Target { name: name.to_string(), url, source, database: Some(name), main })
    }

    /// What to lint, without a database: the folder as it is here, else what is compiled in.
    pub(super) fn folders(&self, tenants: bool) -> Vec<Folder> {
        if let Some(path) = &self.dir {
            let rules = if tenants { Rules::Tenants } else { Rules::General };
            return vec![Folder { name: path.display().to_string(), source: Source::Directory(path.clone()), rules }];
        }
        let folder = |name: DatabaseName| {
            let path = here::folder_of(name);
            let source = if path.is_dir() { Source::Directory(path) } else { Source::Embedded(name) };
            Folder { name: name.to_string(), source, rules: Rules::of(name) }
        };
        self.names().into_iter().map(folder).collect()
    }

    /// The databases that are meant, without asking the environment.
    fn names(&self) -> Vec<DatabaseName> {
        if self.all || self.database == Some(Which::All) { DatabaseName::ALL.to_vec() } else { vec![self.one()] }
    }

    /// Tells of migrations that lie here and are not taken, because no folder is named.
    pub(super) fn note_what_is_left_out(&self) {
        if self.dir.is_none() {
            here::note_what_is_left_out(&self.names());
        }
    }

    /// Where a new migration goes.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        self.dir.clone().map_or_else(|| here::folder_for_new(self.one()), Ok)
    }
}

/// Runs the same for every target, side by side, and hands out the first error when all have ended.
pub(super) async fn each<T, Fut>(targets: &[Target], work: impl Fn(Target) -> Fut) -> Result<Vec<(String, T)>>
where
    Fut: Future<Output = Result<T>>,
{
    let all = targets.iter().map(|target| async {
        let done = work(target.clone())
            .await
            .map_err(|error| if targets.len() > 1 { named(&target.name, error) } else { error });
        done.map(|done| (target.name.clone(), done))
    });
    futures_util::future::join_all(all).await.into_iter().collect()
}

fn named(name: &str, error: Error) -> Error {
    match error {
        Error::Migration { name: migration, message } => {
            Error::Migration { name: format!("{name}/{migration}"), message }
        }
        other => other,
    }
}

/// One database: its answer. Several: an answer by name.
pub(super) fn print_json<T>(mut all: Vec<(String, T)>, answer: impl Fn(T) -> serde_json::Value) {
    let json = if all.len() == 1 {
        answer(all.remove(0).1)
    } else {
        let by_name = all.into_iter().map(|(name, one)| (name, answer(one)));
        serde_json::json!({ "databases": by_name.collect::<serde_json::Map<_, _>>() })
    };
    println!("{json}");
}
