//! A PgBouncer of a test's own.

use std::io::BufReader;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bedplate::DatabaseUrl;
use nix::unistd::{User, geteuid};

/// Stopped when it is dropped.
pub struct PgBouncer {
    child: Child,
    /// To the server's database, through it.
    pub url: DatabaseUrl,
    settings: PathBuf,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    /// In front of this database, and ready, with so many connections to it. `ignored`: the startup parameters that it
    /// drops instead of refusing.
    pub fn start(server: &DatabaseUrl, mode: &str, connections: usize, ignored: &str) -> Self {
        let account = account();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            give(&path, account.as_ref());
            path
        };
        let mut url = url::Url::parse(server.reveal()).unwrap();
        let (host, behind) = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let config: tokio_postgres::Config = server.reveal().parse().unwrap();
        let password = String::from_utf8(config.get_password().unwrap_or_default().to_vec()).unwrap();
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let users = write("users", format!("{} {}\n", quoted(server.user()), quoted(&password)));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = write(
            "pgbouncer.ini",
            format!(
                "[databases]\n* = host={host} port={behind}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n\
                 default_pool_size = {connections}\nmax_client_conn = 500\n\
                 server_login_retry = 0.1\nignore_startup_parameters = {ignored}\n",
                users.display()
            ),
        );
        give(folder.path(), account.as_ref());

        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        Self { child: spawn(&settings), url: url.as_str().parse().unwrap(), settings, _folder: folder }
    }

    /// Ends it at once, with whatever goes through it, and starts it again on the same port.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.settings);
    }
}

fn spawn(settings: &Path) -> Child {
    let mut command = Command::new(program());
    if let Some(user) = account() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let started = command.arg(settings).current_dir("/").stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = started.unwrap_or_else(|error| panic!("pgbouncer: {error}; scripts/check-pooler installs it"));
    wait_until_up(BufReader::new(child.stderr.take().unwrap()));
    child
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads on to the end, so that it never waits for a reader.
fn wait_until_up(log: impl std::io::BufRead + Send + 'static) {
    let mut lines = log.lines().map_while(Result::ok);
    let mut before = Vec::new();
    while !before.last().is_some_and(|line: &String| line.contains("process up")) {
        before.push(lines.next().unwrap_or_else(|| panic!("pgbouncer ended: {before:#?}")));
    }
    std::thread::spawn(move || lines.for_each(drop));
}

/// It refuses to run as root, as PostgreSQL does.
fn account() -> Option<User> {
    let unprivileged = || ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).unwrap());
    geteuid().is_root().then(|| unprivileged().unwrap())
}

fn give(path: &Path, account: Option<&User>) {
    if let Some(user) = account {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

/// Debian's is in a folder that is not on everybody's PATH.
fn program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/pgbouncer");
    if debian.exists() { debian } else { "pgbouncer".into() }
}
