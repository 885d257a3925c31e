//! The server: the one that `TEST_DATABASE_URL` names, or a private one for this run.
//!
//! A private server is stopped and removed by a watchdog, a shell that reads from a pipe which this process
//! holds open: however this process ends, the pipe closes, and the shell goes on to stop the server.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use bedplate::DatabaseUrl;
use bedplate::database::private_server::PrivateServer;

pub struct Server {
    /// A login that may make databases and roles, and is no superuser.
    pub owner: DatabaseUrl,
    /// The application's login; on a server that is not ours, the owner's.
    pub app: DatabaseUrl,
    /// The superuser of a private server.
    pub admin: Option<DatabaseUrl>,
}

/// The server of this run, started by the first test that needs it.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        Some(url) => {
            let owner: DatabaseUrl = url.parse().unwrap();
            Server { app: owner.clone(), owner, admin: None }
        }
        None => on_own_runtime(start_private),
    })
}

async fn start_private() -> Server {
    let home =
        tempfile::Builder::new().prefix("bedplate-tests-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    // The data is thrown away: nothing waits for the disk, and nothing is cleaned up meanwhile.
    let server = PrivateServer::at(&home)
        .option("fsync=off")
        .option("autovacuum=off")
        .option("full_page_writes=off")
        .option("wal_level=minimal")
        .option("max_wal_senders=0")
        .option("synchronous_commit=off");
    server.start(&mut |_| {}).await.unwrap();
    let watchdog = watchdog(&server.folder().unwrap().unwrap(), &home);
    // Never dropped: the pipe stays open until this process ends.
    std::mem::forget(watchdog);
    let urls = server.urls().unwrap().unwrap();
    Server { owner: urls.owner, app: urls.app, admin: Some(urls.admin) }
}

/// Stops whatever server has its data below `folder`, frozen or not, and removes both, when its pipe is closed: when it
/// is dropped, or this process ends, however it does.
pub fn watchdog(folder: &Path, home: &Path) -> Child {
    let script = "trap '' INT TERM HUP; cat; \
                  for file in \"$1\"/*/postmaster.pid; do \
                      [ -f \"$file\" ] || continue; \
                      pid=$(head -n 1 \"$file\"); kill -CONT $pid; kill -QUIT $pid; \
                      for n in 1 2 3 4 5 6 7 8 9 10; do kill -0 $pid 2>/dev/null || break; sleep 0.1; done; \
                  done; rm -rf \"$1\" \"$2\"";
    Command::new("sh")
        .args(["-c", script, "watchdog"])
        .args([folder, home])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a future to its end, also from inside another runtime's thread.
pub fn on_own_runtime<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work())
        });
        thread.join().unwrap()
    })
}
