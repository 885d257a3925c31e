//! The server is killed in the middle of everything.

use std::time::Duration;

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::PrivateServer;
use bedplate::events::stress::Stress;
use bedplate::{Config, Database, Environment};
use rstest::rstest;

/// Stops the server, also when the test fails.
struct Killed(PrivateServer);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.stop();
    }
}

/// 1. Writers and readers are at work.
/// 2. The server is killed: nothing is written back, every connection is lost, commits are left unknown.
/// 3. It is started again, and goes through its log; writers and readers go on. Twice more.
/// 4. What was acknowledged is there, each event had its effects once, every condition held.
///
/// `scripts/stress-events` does it ten times over, by `BEDPLATE_KILLS`.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_and_doubles_nothing() {
    let runs: u32 = std::env::var("BEDPLATE_KILLS").map_or(1, |runs| runs.parse().unwrap());
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // It is killed, not the machine: nothing has to wait for the disk.
    let server = Killed(PrivateServer::at(home.path()).option("fsync=off"));
    server.0.start(&mut |_| {}).await.unwrap();
    let urls = server.0.urls().unwrap().unwrap();
    migrate::run(&urls.owner, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await.unwrap();
    let mut config = Config::new(urls.owner, Environment::Development);
    config.app_url = Some(urls.app);
    config.pool.max_size = 14;
    let db = Database::connect(config).await.unwrap();
    for run in 1..=runs {
        let stress = Stress { writers: 8, readers: 3, duration: Duration::from_secs(7) };
        let mut seconds = 0;
        let kills = tokio::sync::mpsc::unbounded_channel();
        let (kill, mut killed) = kills;
        let killer = async {
            while killed.recv().await.is_some() {
                let pid = server.0.process_id().unwrap().unwrap().to_string();
                // An immediate shutdown: every process quits on the spot, as in a crash.
                assert!(std::process::Command::new("kill").args(["-QUIT", &pid]).status().unwrap().success());
                while server.0.is_running().unwrap() {
                    tokio::task::yield_now().await;
                }
                server.0.start(&mut |_| {}).await.unwrap();
            }
        };
        let stressed = async {
            let report = stress
                .run(&db, std::future::pending(), |_, _| {
                    seconds += 1;
                    if seconds % 2 == 0 && seconds < 7 {
                        kill.send(()).unwrap();
                    }
                })
                .await;
            drop(kill);
            report
        };
        let (report, ()) = tokio::join!(stressed, killer);
        let report = report.unwrap();
        println!("run {run}: {report:?}");
        assert!(report.is_clean(), "{report:?}");
        assert!(report.appended > 50, "{report:?}");
    }
}
