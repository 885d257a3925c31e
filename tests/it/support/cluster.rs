//! Servers of a test's own that may be killed, with standbys where it wants some. Stopped and removed when they are
//! dropped.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::{PrivateServer, Urls};
use bedplate::{Config, DatabaseUrl, Environment};

use super::server::watchdog;

/// A server with `main` migrated.
pub struct Primary {
    pub server: PrivateServer,
    pub urls: Urls,
    /// Where this process ends before it can stop anything.
    _watchdog: Child,
    _home: tempfile::TempDir,
}

impl Primary {
    /// It is killed, not the machine: nothing has to wait for the disk, unless `options` says so.
    pub async fn start(options: &[&str]) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = PrivateServer::at(home.path()).option("fsync=off").option("autovacuum=off");
        let server = options.iter().fold(server, |server, option| server.option(option));
        server.start(&mut |_| {}).await.unwrap();
        let watchdog = watchdog(&server.folder().unwrap().unwrap(), home.path());
        let urls = server.urls().unwrap().unwrap();
        let primary = Self { server, urls, _watchdog: watchdog, _home: home };
        migrate::run(&primary.urls.owner, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await.unwrap();
        primary
    }

    /// `main` alone, for the application's login.
    pub fn config(&self) -> Config {
        let mut config = Config::new(self.urls.owner.clone(), Environment::Development);
        config.app_url = Some(self.urls.app.clone());
        config.databases = vec![DatabaseName::Main];
        config
    }

    /// With SIGKILL: nobody writes anything back or says goodbye. Returns when no process is left that could.
    pub fn kill(&self) {
        let pid = self.server.process_id().unwrap().unwrap();
        signal("KILL", pid);
        while self.server.is_running().unwrap() {
            std::thread::yield_now();
        }
    }

    pub async fn start_again(&self) {
        self.server.start(&mut |_| {}).await.unwrap();
    }

    /// Stops answering, without a sign.
    pub fn freeze(&self) {
        to_all("STOP", self.server.process_id().unwrap().unwrap());
    }

    pub fn thaw(&self) {
        to_all("CONT", self.server.process_id().unwrap().unwrap());
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        if self.server.process_id().ok().flatten().is_some() {
            self.thaw();
        }
        let _ = self.server.stop();
        if let Ok(Some(folder)) = self.server.folder() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// To the first process and its children: each of these serves a connection.
fn to_all(name: &str, pid: i32) {
    // First: it makes no more of them.
    signal(name, pid);
    let children = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output().unwrap();
    for child in String::from_utf8_lossy(&children.stdout).split_whitespace() {
        signal(name, child.parse().unwrap());
    }
}

/// A process may have ended already.
fn signal(name: &str, pid: i32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).output();
}

/// A copy of a primary that follows it.
pub struct Standby {
    primary: PrivateServer,
    data: PathBuf,
    port: u16,
}

impl Standby {
    /// Made by `pg_basebackup`, and answering.
    pub fn of(primary: &Primary, name: &str) -> Self {
        let standby = Self::copy(primary, name);
        // Not by --write-recovery-conf: that writes options of its own version, which a server that was built with an
        // older libpq does not know.
        let admin: tokio_postgres::Config = primary.urls.admin.reveal().parse().unwrap();
        let follow = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres password={}'\n",
            admin.get_ports()[0],
            String::from_utf8(admin.get_password().unwrap().to_vec()).unwrap()
        );
        standby.write("postgresql.auto.conf", &follow);
        standby.write("standby.signal", "");
        standby.start();
        standby
    }

    /// A copy that is not started.
    pub fn copy(primary: &Primary, name: &str) -> Self {
        let server = primary.server.clone();
        let data = server.folder().unwrap().unwrap().join(name);
        let admin: tokio_postgres::Config = primary.urls.admin.reveal().parse().unwrap();
        let mut copy = server.command("pg_basebackup").unwrap();
        copy.args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--pgdata"]).arg(&data);
        copy.args(["--host=127.0.0.1", &format!("--port={}", admin.get_ports()[0]), "--username=postgres"]);
        copy.env("PGPASSWORD", String::from_utf8(admin.get_password().unwrap().to_vec()).unwrap());
        done(&mut copy);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { primary: server, data, port }
    }

    /// Adds to a file of it, or makes it, as its owner.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.data.join(name);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, before + text).unwrap();
        let owner = std::fs::metadata(&self.data).unwrap();
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    pub fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c hot_standby=on -c lc_messages=C \
             -c max_connections=200 -c wal_retrieve_retry_interval=100ms -c fsync=off",
            self.port
        );
        let log = self.data.with_extension("log");
        done(self.ctl("start").args(["-t", "60", "-o", &options, "-l"]).arg(log));
    }

    pub fn stop(&self) {
        done(self.ctl("stop").args(["-m", "immediate"]));
    }

    /// Stops answering, without a sign.
    pub fn freeze(&self) {
        to_all("STOP", self.process_id());
    }

    pub fn thaw(&self) {
        to_all("CONT", self.process_id());
    }

    fn process_id(&self) -> i32 {
        let file = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().trim().parse().unwrap()
    }

    /// It becomes a primary. Returns when it takes writes.
    pub fn promote(&self) {
        done(&mut self.ctl("promote"));
    }

    /// The same login and database, here.
    pub fn url(&self, of_primary: &DatabaseUrl) -> DatabaseUrl {
        let mut url = url::Url::parse(of_primary.reveal()).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.as_str().parse().unwrap()
    }

    fn ctl(&self, what: &str) -> Command {
        let mut ctl = self.primary.command("pg_ctl").unwrap();
        ctl.args([what, "-w", "-D"]).arg(&self.data);
        ctl
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        if self.data.join("postmaster.pid").exists() {
            self.thaw();
        }
        let _ = self.ctl("stop").args(["-m", "immediate"]).output();
    }
}

/// Both, for an application that is to find whoever takes writes.
pub fn either(first: &DatabaseUrl, second: &DatabaseUrl) -> DatabaseUrl {
    let port = |url: &DatabaseUrl| url::Url::parse(url.reveal()).unwrap().port().unwrap();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", port(first), port(second));
    first.reveal().replacen(&format!("127.0.0.1:{}", port(first)), &hosts, 1).parse().unwrap()
}

/// What they say goes nowhere: a server that is started keeps its standard output, and a pipe would never end.
fn done(command: &mut Command) {
    use std::process::Stdio;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}
