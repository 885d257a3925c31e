//! Backups as an operator takes and restores them: by the scripts, of a server that is at work.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use bedplate::database::private_server::PrivateServer;
use bedplate::events::NewEvent;
use bedplate::{Database, DatabaseUrl};
use rstest::rstest;
use serde_json::json;
use tokio::sync::Notify;

use crate::scripts::NONSENSE;
use crate::support::cluster::{Primary, Standby};
use crate::support::server::{server, watchdog};
use crate::support::{IdeaBuilder, connection, execute, home, number, texts, until};

fn script(name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name));
    // None of these decides here.
    for name in ["BEDPLATE_DATABASES", "RFQ_DATABASE_URL", "MARKETDATA_DATABASE_URL"] {
        command.env_remove(name);
    }
    command
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Into a folder of its own.
fn back_up(admin: &DatabaseUrl, out: &Path) -> PathBuf {
    let done = script("backup").arg("--out").arg(out).env("BACKUP_DATABASE_URL", admin.reveal()).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert!(!said(&done).contains(&password(admin)), "{}", said(&done));
    let made: Vec<_> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    made[0].clone()
}

fn password(url: &DatabaseUrl) -> String {
    let config: tokio_postgres::Config = url.reveal().parse().unwrap();
    String::from_utf8(config.get_password().unwrap().to_vec()).unwrap()
}

/// A server without anything of ours. Stopped and removed when it is dropped.
struct Empty {
    server: PrivateServer,
    admin: DatabaseUrl,
    _watchdog: Child,
    _home: tempfile::TempDir,
}

impl Empty {
    async fn start() -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = PrivateServer::at(home.path()).option("fsync=off").option("autovacuum=off");
        server.start(&mut |_| {}).await.unwrap();
        let watchdog = watchdog(&server.folder().unwrap().unwrap(), home.path());
        let admin = server.urls().unwrap().unwrap().admin;
        Self { server, admin, _watchdog: watchdog, _home: home }
    }

    async fn databases(&self) -> Vec<String> {
        texts(&mut connection(&self.admin).await, "SELECT datname FROM pg_database ORDER BY datname").await
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = self.server.stop();
        if let Ok(Some(folder)) = self.server.folder() {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// 1. Four tasks write ideas and events, and one goes on doing so until the backup is done.
/// 2. The backup, with rows and checksums of its own snapshot.
/// 3. It is restored into a fresh server, which compares every table with them; so does the rehearsal.
/// 4. What was written before the backup began is there, and the application works with it.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_restored_and_found_whole() {
    let primary = Primary::start(&[]).await;
    let database = Database::connect(primary.config()).await.unwrap();
    let home = home(&database).await;
    let (enough, written) = (Notify::new(), AtomicU32::new(0));
    let write = async || {
        IdeaBuilder::new(&home).create(&database).await;
        let events = [NewEvent::new("Written", json!({})).tag("load", 1)];
        database.tenant_tx("load", &home.context, async |tx| tx.events().append(&events, None).await).await.unwrap();
        if written.fetch_add(1, Ordering::SeqCst) == 200 {
            enough.notify_one();
        }
    };
    let writer = async || loop {
        write().await; // 1
    };
    let folder = tempfile::tempdir().unwrap();
    let backup = async {
        enough.notified().await;
        let (admin, out) = (primary.urls.admin.clone(), folder.path().to_owned());
        let before = written.load(Ordering::SeqCst);
        let backup = tokio::task::spawn_blocking(move || back_up(&admin, &out)).await.unwrap(); // 2
        (before, written.load(Ordering::SeqCst), backup)
    };
    let (before, after, backup) = tokio::select! {
        done = backup => done,
        () = writer() => unreachable!(),
        () = writer() => unreachable!(),
        () = writer() => unreachable!(),
        () = writer() => unreachable!(),
    };
    assert!(after > before, "nothing was written meanwhile");

    let fresh = Empty::start().await; // 3
    let mut restore = script("restore");
    restore.arg(&backup).args(["--suffix", "_restored"]).env("RESTORE_DATABASE_URL", fresh.admin.reveal());
    let restored = restore.output().unwrap();
    assert!(restored.status.success(), "{}", said(&restored));
    let rehearsed = script("rehearse-restore").arg(&backup).output().unwrap();
    assert!(rehearsed.status.success(), "{}", said(&rehearsed));
    println!("{before} written before, {after} after\n{}", said(&rehearsed));

    let url = fresh.admin.with_database("bedplate_restored").unwrap(); // 4
    let mut admin = connection(&url).await;
    let stored = number(&mut admin, "SELECT count(*) FROM business_ideas").await;
    assert!((i64::from(before)..=i64::from(after) + 4).contains(&stored), "{stored} of {before} to {after}");
    let mut config = primary.config();
    let urls = fresh.server.urls().unwrap().unwrap();
    config.owner_url = urls.owner.with_database("bedplate_restored").unwrap();
    config.app_url = Some(urls.app.with_database("bedplate_restored").unwrap());
    let restored = Database::connect(config).await.unwrap();
    IdeaBuilder::new(&home).create(&restored).await;
    assert_eq!(number(&mut admin, "SELECT count(*) FROM business_ideas").await, stored + 1);
}

/// What a person has to change is a failure; a server that may be back later is not reachable.
#[rstest]
#[case::wrong_password("postgres://postgres:wrong@HOST/bedplate", 1)]
#[case::no_password("postgres://postgres@HOST/bedplate", 1)]
#[case::unknown_database("postgres://postgres:PASSWORD@HOST/nowhere", 1)]
#[case::no_tls("postgres://postgres:PASSWORD@HOST/bedplate?sslmode=require", 1)]
#[case::wrong_mode("postgres://postgres:PASSWORD@HOST/bedplate?sslmode=nonsense", 1)]
#[case::no_root("postgres://postgres:PASSWORD@HOST/bedplate?sslmode=verify-ca&sslrootcert=/nowhere", 1)]
#[case::wrong_option("postgres://postgres:PASSWORD@HOST/bedplate?options=-cnonsense%3D1", 1)]
#[case::a_standby("postgres://postgres:PASSWORD@HOST/bedplate?target_session_attrs=standby", 4)]
#[case::a_pooler("postgres://postgres:PASSWORD@HOST/bedplate?pgbouncer=true", 2)]
#[case::a_foreign_option("postgres://postgres:PASSWORD@HOST/bedplate?connection_limit=1", 2)]
#[case::nobody_listens("postgres://postgres:PASSWORD@127.0.0.1:1/bedplate", 4)]
#[case::no_socket("postgres://postgres:PASSWORD@%2Fnowhere/bedplate", 4)]
#[case::unknown_host("postgres://postgres:PASSWORD@nowhere.invalid/bedplate", 4)]
#[tokio::test]
async fn what_is_wrong_with_the_url_has_an_exit_code(#[case] url: &str, #[case] code: i32) {
    let Some(admin) = &server().admin else { return println!("left out: it needs the superuser of a private server") };
    let at = admin.to_string();
    let host = at.split_once('@').unwrap().1.split_once('/').unwrap().0;
    let url = url.replace("PASSWORD", &password(admin)).replace("HOST", host);
    let folder = tempfile::tempdir().unwrap();
    let mut backup = script("backup");
    backup.arg("--out").arg(folder.path()).env("BACKUP_DATABASE_URL", &url).env("HOME", folder.path());
    let done = backup.output().unwrap();
    assert_eq!(done.status.code(), Some(code), "{}", said(&done));
    assert!(!said(&done).contains(&password(admin)), "{}", said(&done));
}

/// 1. A backup. 2. It is restored beside. 3. It is rehearsed. All of it, while each variable of libpq says something else.
#[rstest]
#[tokio::test]
async fn no_variable_of_libpq_steers_them() {
    let fresh = Empty::start().await;
    execute(&mut connection(&fresh.admin).await, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)").await;
    let folder = tempfile::tempdir().unwrap();
    let succeeds = |command: &mut Command| {
        let done = command.envs(NONSENSE).output().unwrap();
        assert!(done.status.success(), "{command:?}: {}", said(&done));
    };
    succeeds(script("backup").arg("--out").arg(folder.path()).env("BACKUP_DATABASE_URL", fresh.admin.reveal())); // 1
    let backup = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let mut restore = script("restore");
    restore.arg(&backup).args(["--suffix", "_restored"]).env("RESTORE_DATABASE_URL", fresh.admin.reveal());
    succeeds(&mut restore); // 2
    let restored = connection(&fresh.admin.with_database("bedplate_restored").unwrap()).await;
    assert_eq!(number(&mut { restored }, "SELECT count(*) FROM kept").await, 1);
    succeeds(script("rehearse-restore").arg(&backup)); // 3
}

/// Refused before anything is written.
#[rstest]
#[case::a_byte("a byte")]
#[case::the_end("the end")]
#[case::a_file("a file")]
#[case::another("another")]
#[tokio::test]
async fn a_damaged_file_is_refused(#[case] damaged: &str) {
    let fresh = Empty::start().await;
    let mut admin = connection(&fresh.admin).await;
    execute(&mut admin, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)").await;
    let folder = tempfile::tempdir().unwrap();
    let backup = back_up(&fresh.admin, folder.path());
    let dump = fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().path());
    let dump = dump.filter(|path| path.extension().is_some_and(|name| name == "dump")).last().unwrap();
    let mut bytes = fs::read(&dump).unwrap();
    match damaged {
        "a byte" => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&dump, bytes).unwrap();
        }
        "the end" => fs::write(&dump, &bytes[..bytes.len() - 1]).unwrap(),
        "a file" => fs::remove_file(&dump).unwrap(),
        _ => fs::write(backup.join("more.dump"), bytes).unwrap(),
    }
    let before = fresh.databases().await;
    for name in ["restore", "rehearse-restore"] {
        let mut restore = script(name);
        restore.arg(&backup).env("RESTORE_DATABASE_URL", fresh.admin.reveal());
        if name == "restore" {
            restore.args(["--suffix", "_restored"]);
        }
        let refused = restore.output().unwrap();
        assert_eq!(refused.status.code(), Some(3), "{name}: {}", said(&refused));
    }
    assert_eq!(fresh.databases().await, before);
}

/// As docs/recovery.md does it:
/// 1. The log is archived, and a base backup is taken.
/// 2. Something is written; the moment is noted; then somebody deletes it.
/// 3. The base backup is started with that moment as its target: what was deleted is there, and writes are taken.
#[rstest]
#[tokio::test]
async fn a_moment_in_the_past_is_brought_back() {
    let home_of_archive = tempfile::tempdir().unwrap();
    let archive = home_of_archive.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let archiving = format!("archive_command=\"'test ! -f {0}/%f && cp %p {0}/%f'\"", archive.display());
    let primary = Primary::start(&["wal_level=replica", "max_wal_senders=4"]).await; // 1
    let data = primary.server.folder().unwrap().unwrap().join("data");
    let owner = fs::metadata(&data).unwrap();
    for folder in [home_of_archive.path(), &archive] {
        std::os::unix::fs::chown(folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let settings = archiving.replacen('=', " = ", 1).replace("\"'", "'").replace("'\"", "'");
    let auto = data.join("postgresql.auto.conf");
    fs::write(&auto, format!("{}archive_mode = on\n{settings}\n", fs::read_to_string(&auto).unwrap())).unwrap();
    primary.server.stop().unwrap();
    primary.start_again().await;
    let database = Database::connect(primary.config()).await.unwrap();
    let home = home(&database).await;
    let base = Standby::copy(&primary, "base");

    let idea = IdeaBuilder::new(&home).create(&database).await; // 2
    let mut admin = connection(&primary.urls.admin).await;
    let moment = texts(&mut admin, "SELECT clock_timestamp()").await.remove(0);
    database.tenant_tx("mistake", &home.context, async |tx| tx.business_ideas().delete(idea.id).await).await.unwrap();
    let segment = texts(&mut admin, "SELECT pg_walfile_name(pg_switch_wal())").await.remove(0);
    until(&mut admin, &format!("SELECT count(*) FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}'")).await;

    // 3
    let recovery = format!(
        "archive_mode = off\nrestore_command = 'cp {}/%f %p'\nrecovery_target_time = '{moment}'\n\
         recovery_target_action = 'promote'\n",
        archive.display()
    );
    base.write("postgresql.auto.conf", &recovery);
    base.write("recovery.signal", "");
    base.start();
    let url = base.url(&primary.urls.admin);
    let mut recovered = connection(&url).await;
    until(&mut recovered, "SELECT (NOT pg_is_in_recovery())::int").await;
    let mut config = primary.config();
    config.owner_url = base.url(&primary.urls.owner);
    config.app_url = Some(base.url(&primary.urls.app));
    let past = Database::connect(config).await.unwrap();
    let found =
        past.tenant_tx("look", &home.context, async |tx| tx.business_ideas().find(idea.id).await).await.unwrap();
    assert_eq!(found.id, idea.id);
    let gone = database.tenant_tx("look", &home.context, async |tx| tx.business_ideas().find(idea.id).await).await;
    gone.unwrap_err();
    IdeaBuilder::new(&home).create(&past).await;
}
