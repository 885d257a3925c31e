//! Which SQLSTATE becomes which error: docs/errors.md, held to the program.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bedplate::Error;
use rstest::rstest;

use crate::boundary::run;
use crate::support::database::one_connection;
use crate::support::server::server;
use crate::support::{TestDatabase, connection, db, execute, texts, waits_for_lock};

const PAGE: &str = include_str!("../../docs/errors.md");

/// Of the first table: patterns, error, fault, whether it is run again.
fn rows() -> Vec<(Vec<&'static str>, &'static str, &'static str, bool)> {
    let table = PAGE.lines().skip_while(|line| !line.starts_with("| SQLSTATE")).skip(2);
    table
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" |").map(str::trim).collect();
            let [codes, _, error, fault, again] = cells[..] else { panic!("{line}") };
            let codes = codes.split(' ').map(|code| code.trim_matches('`')).collect();
            (codes, error.trim_matches('`'), fault.trim_matches('`'), again.starts_with("yes"))
        })
        .collect()
}

/// Every SQLSTATE of an error that this server knows.
async fn codes(db: &TestDatabase) -> Vec<String> {
    let mut admin = connection(server().admin.as_ref().unwrap_or(&db.url)).await;
    let folder = texts(&mut admin, "SELECT setting FROM pg_config() WHERE name = 'SHAREDIR'").await;
    let list = std::fs::read_to_string(format!("{}/errcodes.txt", folder[0])).unwrap();
    let errors = list.lines().filter(|line| line.split_whitespace().nth(1) == Some("E"));
    errors.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[rstest]
#[tokio::test]
async fn each_sqlstate_becomes_what_the_page_says(#[future(awt)] db: TestDatabase) {
    let (rows, codes) = (rows(), codes(&db).await);
    assert!(codes.len() > 200 && rows.len() > 20, "{} codes, {} rows", codes.len(), rows.len());
    let mut seen = BTreeSet::new();
    for code in &codes {
        let fits = |pattern: &&str| pattern.strip_suffix('…').map_or(*pattern == code, |class| code.starts_with(class));
        let row = rows.iter().position(|(patterns, ..)| patterns.iter().any(&fits));
        let (_, error, fault, again) = &rows[row.unwrap()];
        seen.insert(row);
        // The message is in no language.
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'x'; END $$");
        let told = Mutex::new(None);
        let tells = &told;
        // What the closure is told is kept, and nothing is run again.
        let ended = db
            .system_tx("raise", async |tx| {
                *tells.lock().unwrap() = run(tx.connection(), &raise).await.err();
                Err::<(), _>(Error::LastOwner)
            })
            .await;
        assert!(matches!(ended, Err(Error::LastOwner)), "{ended:?}");
        let told = told.into_inner().unwrap().unwrap();
        let name = format!("{told:?}");
        let name = name.split([' ', '(']).next().unwrap();
        let is = (name, told.fault().map_or("", bedplate::error::Fault::as_str), told.is_transient());
        assert_eq!(is, (*error, *fault, *again), "{code}: {told:?}");
    }
    assert_eq!(seen.len(), rows.len(), "a row of the page is of no SQLSTATE");
}

/// 1. A waits for a row that B holds. 2. An operator cancels A's statement. 3. A is told so, and it is not run again.
#[rstest]
#[tokio::test]
async fn a_statement_that_an_operator_cancels_is_told(#[future(awt)] db: TestDatabase) {
    let mut operator = connection(server().admin.as_ref().unwrap_or(&db.url)).await;
    let mut holder = connection(&db.url).await;
    execute(
        &mut holder,
        "CREATE TABLE held (id int); INSERT INTO held VALUES (1); GRANT ALL ON held TO bedplate_system",
    )
    .await;
    execute(&mut holder, "BEGIN; SELECT FROM held FOR UPDATE").await;
    let waits = async {
        db.system_tx("waits", async |tx| run(tx.connection(), "SELECT FROM held FOR UPDATE").await).await // 1
    };
    let cancels = async {
        waits_for_lock(&db, "waits").await;
        let sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits' \
                   AND datname = '";
        texts(&mut operator, &format!("{sql}{}'", db.url.database())).await // 2
    };
    let (told, _) = tokio::join!(waits, cancels);
    assert!(matches!(told, Err(Error::Cancelled { .. })), "{told:?}"); // 3
}

#[rstest]
#[tokio::test]
async fn a_row_that_is_locked_is_told_to_who_does_not_wait(#[future(awt)] db: TestDatabase) {
    let mut holder = connection(&db.url).await;
    execute(
        &mut holder,
        "CREATE TABLE held (id int); INSERT INTO held VALUES (1); GRANT ALL ON held TO bedplate_system",
    )
    .await;
    execute(&mut holder, "BEGIN; SELECT FROM held FOR UPDATE").await;
    let told = db.system_tx("asks", async |tx| run(tx.connection(), "SELECT FROM held FOR UPDATE NOWAIT").await).await;
    assert!(matches!(told, Err(Error::Locked { .. })), "{told:?}");
}

/// By its SQLSTATE, as the words are French.
#[rstest]
#[tokio::test]
async fn a_server_that_speaks_another_language_is_understood(#[future(awt)] db: TestDatabase) {
    let database = one_connection(&db.url).await;
    let told = database
        .system_tx("french", async |tx| {
            let raise = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'droit refusé'; END $$";
            run(tx.connection(), raise).await
        })
        .await;
    assert!(matches!(&told, Err(Error::Forbidden { message }) if message == "droit refusé"), "{told:?}");
}
