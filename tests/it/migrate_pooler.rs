//! A pooler in between: the application may have one, migrations go past it, and are refused where they do not.
//!
//! The pooler is a PgBouncer of the test's own, in front of the tests' server.

use std::sync::atomic::{AtomicBool, Ordering};

use bedplate::database::migrate;
use bedplate::{DatabaseUrl, Error};
use futures_util::future::join_all;
use rstest::rstest;
use tokio::sync::Barrier;

use crate::support::pgbouncer::PgBouncer;
use crate::support::{Folder, connection, empty_db, execute, number};

const CLIENTS: usize = 4;
/// So that clients take turns on one.
const CONNECTIONS: usize = 2;

/// 1. Clients of the application work through PgBouncer, over fewer connections than they are.
/// 2. Migrations go to the server itself meanwhile: a column, and an index that is built beside the work.
/// 3. Every transaction of the application passed, and the last one of each client uses the column.
///
/// The clients send plain queries: the application's `Database` prepares its statements, which PgBouncer knows from
/// 1.21 on.
#[rstest]
#[ignore = "needs PgBouncer; scripts/check-pooler installs it and runs this"]
#[tokio::test]
async fn the_application_works_through_a_pooler_while_migrations_go_past_it(#[future(awt)] empty_db: DatabaseUrl) {
    let notes = "CREATE TABLE notes (client int, backend int DEFAULT pg_backend_pid())";
    let mut owner = connection(&empty_db).await;
    execute(&mut owner, notes).await;
    let pooler = PgBouncer::start(&empty_db, "transaction", CONNECTIONS, "");
    let folder = Folder::new(&[(
        "2026-01-01-000000_mark",
        "ALTER TABLE notes ADD COLUMN mark text",
        "ALTER TABLE notes DROP COLUMN mark",
    )]);
    let index = "2026-01-02-000000_index";
    folder.add_bare(index, "CREATE INDEX CONCURRENTLY notes_client ON notes (client)", "DROP INDEX notes_client");

    let (at_work, migrated) = (Barrier::new(CLIENTS + 1), AtomicBool::new(false));
    let clients = join_all((0..CLIENTS).map(|number| client(&pooler.url, number, &at_work, &migrated))); // 1
    let migrations = async {
        at_work.wait().await;
        let done = folder.up(&empty_db).await; // 2
        migrated.store(true, Ordering::Release);
        done
    };
    let (written, done) = tokio::join!(clients, migrations);
    assert_eq!(done.unwrap().len(), 2);
    let count = async |what: &str, owner: &mut _| number(owner, &format!("SELECT count({what}) FROM notes")).await;
    assert_eq!(count("*", &mut owner).await, written.iter().sum::<i64>()); // 3
    assert_eq!(count("DISTINCT client", &mut owner).await, i64::try_from(CLIENTS).unwrap());
    assert_eq!(count("mark", &mut owner).await, i64::try_from(CLIENTS).unwrap());
    assert!(count("DISTINCT backend", &mut owner).await <= i64::try_from(CONNECTIONS).unwrap());
}

/// Writes a note a transaction until one was written after the migration, and tells how many.
async fn client(url: &DatabaseUrl, number: usize, at_work: &Barrier, migrated: &AtomicBool) -> i64 {
    let client = plain(url).await;
    let mut written = 0;
    loop {
        let last = migrated.load(Ordering::Acquire);
        let (column, mark) = if last { (", mark", ", 'after'") } else { ("", "") };
        let insert = format!("INSERT INTO notes (client{column}) VALUES ({number}{mark})");
        for sql in ["BEGIN", &insert, "COMMIT"] {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        written += 1;
        if last {
            return written;
        }
        if written == 1 {
            at_work.wait().await;
        }
    }
}

/// A connection that prepares nothing.
async fn plain(url: &DatabaseUrl) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Nothing is written, and the connection that others use next has no setting of the runner's.
#[rstest]
#[case::refuses_options("transaction", "")]
#[case::drops_options("transaction", "options,extra_float_digits")]
#[case::refuses_options_of_sessions("session", "")]
#[case::drops_options_of_sessions("session", "options,extra_float_digits")]
#[ignore = "needs PgBouncer; scripts/check-pooler installs it and runs this"]
#[tokio::test]
async fn migrations_through_a_pooler_are_refused(
    #[future(awt)] empty_db: DatabaseUrl,
    #[case] mode: &str,
    #[case] ignored: &str,
) {
    let pooler = PgBouncer::start(&empty_db, mode, CONNECTIONS, ignored);
    let folder = Folder::new(&[("2026-01-01-000000_one", "CREATE TABLE one (id int)", "DROP TABLE one")]);
    let refused = [
        folder.up(&pooler.url).await.map(drop),
        folder.down(&pooler.url).await.map(drop),
        migrate::status(&pooler.url, &folder.source()).await.map(drop),
        migrate::history(&pooler.url).await.map(drop),
    ];
    for result in refused {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::Configuration { message } if message == &format!(
                "{} goes through a pooler: migrations need a session of their own (locks, settings); \
                 give them the server's own address, as DATABASE_URL or --url", pooler.url)),
            "{error:?}"
        );
    }
    let relations = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(number(&mut connection(&empty_db).await, relations).await, 0);

    let next = plain(&pooler.url).await;
    let settings = "SELECT name FROM pg_settings WHERE source = 'session' AND name LIKE '%\\_timeout' \
                    OR name = 'client_connection_check_interval' AND setting <> reset_val";
    let left = next.simple_query(settings).await.unwrap();
    let left: Vec<_> = left
        .iter()
        .filter_map(|answer| match answer {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");

    // Past it, the same folder works.
    assert_eq!(folder.up(&empty_db).await.unwrap().len(), 1);
}
