//! The private PostgreSQL of `bedplate up` and of the tests: this machine's binaries, data under
//! `.bedplate/`, loopback only, with generated passwords.
//!
//! Always holds: port and passwords survive restarts; what is stopped or killed comes back with its data;
//! two `up` at once do not get in each other's way (a file lock).

mod account;
mod binaries;
mod bootstrap;
mod process;

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rand::distr::{Alphanumeric, SampleString as _};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::url::{DatabaseUrl, Libpq};
use crate::error::{Error, Result};
use account::Account;
use binaries::Binaries;

/// The database's name on the private server.
pub const DATABASE: &str = "bedplate";
const OWNER: &str = "bedplate_owner";
const LOGIN: &str = "bedplate_login";
const ADMIN: &str = "postgres";

/// A private server, running or not.
#[derive(Debug, Clone)]
pub struct PrivateServer {
    home: PathBuf,
    options: Vec<String>,
}

/// How to reach a private server.
#[derive(Debug, Clone)]
pub struct Urls {
    /// The login that owns the tables.
    pub owner: DatabaseUrl,
    /// The application's login.
    pub app: DatabaseUrl,
    /// The superuser.
    pub admin: DatabaseUrl,
}

/// What [`PrivateServer::start`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It was running.
    Already,
    /// It was there, and runs again.
    Again,
    /// It is new.
    New,
}

/// What survives restarts: `.bedplate/server.json`, readable by its owner alone.
#[derive(Serialize, Deserialize)]
struct State {
    port: u16,
    /// Under `.bedplate/`, except for a root whose folders the server's account cannot enter.
    folder: PathBuf,
    admin_password: String,
    owner_password: String,
    login_password: String,
}

impl PrivateServer {
    /// The one of the current directory: `.bedplate/`.
    #[must_use]
    pub fn here() -> Self {
        Self::at(".bedplate")
    }

    /// The one that lives in `home`.
    pub fn at(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), options: Vec::new() }
    }

    /// With a setting of the server, as `fsync=off`.
    #[must_use]
    pub fn option(mut self, setting: &str) -> Self {
        self.options.push(setting.to_owned());
        self
    }

    /// How to reach it; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] where its state cannot be read.
    pub fn urls(&self) -> Result<Option<Urls>> {
        self.load()?.map(|state| state.urls()).transpose()
    }

    /// Starts it, making it where there is none, and waits until it accepts connections. Does nothing where
    /// it runs. `on_step` is told what takes time.
    ///
    /// # Errors
    /// [`Error::Configuration`] without PostgreSQL's binaries, with the ways out; [`Error::Io`] for files
    /// and processes, with the end of the server's log.
    pub async fn start(&self, on_step: &mut (dyn FnMut(&str) + Send)) -> Result<Started> {
        let _lock = self.lock()?;
        let account = Account::for_server()?;
        let known = self.load()?;
        let mut state = match known {
            Some(state) => state,
            None => self.new_state(&account)?,
        };
        let binaries = Binaries::find(state.data_version()?)?;
        let mut started = Started::Again;
        if !state.data().join("PG_VERSION").exists() {
            on_step(&format!("making a private PostgreSQL {} in {}", binaries.version, state.folder.display()));
            process::initialise(&binaries, &account, &state)?;
            started = Started::New;
        } else if process::is_running(&binaries, &account, &state)? {
            started = Started::Already;
        }
        if started != Started::Already {
            on_step("starting PostgreSQL");
            process::start(&binaries, &account, &mut state, &self.options).await?;
            self.save(&state)?;
        }
        // Also where it ran: an `up` that was interrupted may have left this undone.
        bootstrap::run(&state).await?;
        Ok(started)
    }

    /// Stops it, and waits until it is down; `false` where it did not run. Its data stays.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be stopped.
    pub fn stop(&self) -> Result<bool> {
        let _lock = self.lock()?;
        let Some(state) = self.load()? else {
            return Ok(false);
        };
        let account = Account::for_server()?;
        let binaries = Binaries::find(state.data_version()?)?;
        if !process::is_running(&binaries, &account, &state)? {
            return Ok(false);
        }
        process::stop(&binaries, &account, &state)?;
        Ok(true)
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// As for [`PrivateServer::stop`].
    pub fn is_running(&self) -> Result<bool> {
        let Some(state) = self.load()? else {
            return Ok(false);
        };
        let account = Account::for_server()?;
        let binaries = Binaries::find(state.data_version()?)?;
        process::is_running(&binaries, &account, &state)
    }

    /// The server's process id, for tests that kill it.
    #[doc(hidden)]
    pub fn process_id(&self) -> Result<Option<i32>> {
        Ok(self.load()?.and_then(|state| process::process_id(&state)))
    }

    /// Where data and log are, for tests that remove them.
    #[doc(hidden)]
    pub fn folder(&self) -> Result<Option<PathBuf>> {
        Ok(self.load()?.map(|state| state.folder))
    }

    /// A command of PostgreSQL's programs, as the server's account, for tests that make standbys and backups.
    #[doc(hidden)]
    pub fn command(&self, program: &str) -> Result<std::process::Command> {
        let version = self.load()?.map_or(Ok(None), |state| state.data_version())?;
        Ok(Account::for_server()?.command(&Binaries::find(version)?.program(program)))
    }

    fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.home).map_err(Error::io(format!("making {}", self.home.display())))?;
        // Ignored by git even where the project's .gitignore does not say so.
        let ignore = self.home.join(".gitignore");
        fs::write(&ignore, "*\n").map_err(Error::io(format!("writing {}", ignore.display())))?;
        let path = self.home.join("lock");
        let file = File::create(&path).map_err(Error::io(format!("making {}", path.display())))?;
        file.lock().map_err(Error::io(format!("locking {}", path.display())))?;
        Ok(file)
    }

    fn state_file(&self) -> PathBuf {
        self.home.join("server.json")
    }

    fn load(&self) -> Result<Option<State>> {
        let path = self.state_file();
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|error| {
                Error::configuration(format!("{}: {error}; remove the folder to start anew", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("reading {}", path.display()))(error)),
        }
    }

    fn new_state(&self, account: &Account) -> Result<State> {
        let password = || Alphanumeric.sample_string(&mut rand::rng(), 32);
        let state = State {
            port: free_port()?,
            folder: account.make_folder(&self.home)?,
            admin_password: password(),
            owner_password: password(),
            login_password: password(),
        };
        self.save(&state)?;
        Ok(state)
    }

    /// Written beside and renamed, so that a crash leaves the old one or the new one.
    fn save(&self, state: &State) -> Result<()> {
        let path = self.state_file();
        let doing = || format!("writing {}", path.display());
        let beside = path.with_extension("new");
        let json = serde_json::to_vec_pretty(state).map_err(|error| Error::io(doing())(error.into()))?;
        fs::write(&beside, b"").map_err(Error::io(doing()))?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).map_err(Error::io(doing()))?;
        fs::write(&beside, json).map_err(Error::io(doing()))?;
        fs::rename(&beside, &path).map_err(Error::io(doing()))
    }
}

impl State {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The major version that the data was made with.
    fn data_version(&self) -> Result<Option<u32>> {
        match fs::read_to_string(self.data().join("PG_VERSION")) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("reading {}", self.data().display()))(error)),
        }
    }

    fn urls(&self) -> Result<Urls> {
        Ok(Urls {
            owner: self.url(OWNER, &self.owner_password, DATABASE)?,
            app: self.url(LOGIN, &self.login_password, DATABASE)?,
            admin: self.url(ADMIN, &self.admin_password, DATABASE)?,
        })
    }

    fn url(&self, user: &str, password: &str, database: &str) -> Result<DatabaseUrl> {
        // libpq's variables are those of other servers.
        let password = SecretString::from(password.to_owned());
        DatabaseUrl::of_parts("127.0.0.1", self.port, database, user, &password, &Libpq::nothing())
    }

    fn admin_of(&self, database: &str) -> Result<DatabaseUrl> {
        self.url(ADMIN, &self.admin_password, database)
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::io("looking for a free port"))?;
    Ok(listener.local_addr().map_err(Error::io("looking for a free port"))?.port())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io(format!("finding {}", path.display())))
}
