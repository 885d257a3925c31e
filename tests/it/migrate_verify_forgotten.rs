//! Every kind of change that a migration can make and its down.sql can forget is found.
//!
//! One database serves all kinds: for each there is a migration of its own, and its down.sql is empty.

use bedplate::database::migrate::{self, Rows, ScratchServer, Verify};
use rstest::rstest;

use crate::support::server::server;
use crate::support::{Folder, connection, number};

/// The first major version that knows it, the kind, what is there before, the statement that is forgotten.
type Planted = (i64, &'static str, &'static str, &'static str);

mod objects;
mod relations;
mod restored;
mod rights;

const SETUP: &str = "2026-01-01-000000_setup";

/// Runs the statement once: the second up.sql finds it done.
fn once(name: &str, statement: &str) -> String {
    format!(
        "DO $once$ BEGIN IF NOT EXISTS (SELECT FROM done WHERE what = '{name}') THEN \
         EXECUTE $planted${statement}$planted$; INSERT INTO done VALUES ('{name}'); END IF; END $once$"
    )
}

/// The up.sql of what all kinds need.
fn setup<'s>(statements: impl Iterator<Item = &'s str>) -> String {
    let planted = statements.enumerate().filter(|(_, statement)| !statement.is_empty());
    let planted = planted.map(|(n, statement)| once(&format!("setup {n}"), statement) + ";\n");
    "CREATE TABLE IF NOT EXISTS done (what text);\n".to_owned() + &planted.collect::<String>()
}

#[rstest]
#[case::of_relations(relations::PLANTED, 100)]
#[case::of_other_objects(objects::PLANTED, 100)]
#[case::of_rights_and_comments(rights::PLANTED, 50)]
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_forgotten_change_is_found(#[case] planted: &[Planted], #[case] at_least: usize) {
    let Some(admin) = &server().admin else {
        println!("left out: half of the kinds need a superuser");
        return;
    };
    let version =
        number(&mut connection(admin).await, "SELECT current_setting('server_version_num')::int / 10000").await;
    let known: Vec<_> = planted.iter().filter(|(since, ..)| *since <= version).collect();
    assert!(known.len() >= at_least, "only {} kinds", known.len());

    let folder = Folder::new(&[(SETUP, &setup(known.iter().map(|(_, _, before, _)| *before)), "SELECT 1")]);
    for (n, (_, _, _, forgotten)) in known.iter().enumerate() {
        folder.add(&format!("2026-01-02-{n:06}_kind"), &once(&format!("kind {n}"), forgotten), "SELECT 1");
    }
    let what = Verify { source: folder.source(), rows: Rows::None, release: None, diesel_config: None };
    // Subscriptions belong to the server: they are made where that is thrown away.
    let server = ScratchServer::throwaway(admin.clone());
    let verified = migrate::verify(server, &what, |_| {}).await.unwrap().migrations;
    assert_eq!(verified.len(), known.len() + 1);
    // A second problem would be a setup that failed, after which nothing is tried.
    assert_eq!(verified[0].problems.len(), 1, "{:?}", verified[0]);

    let mut missed = Vec::new();
    for (migration, (_, kind, _, forgotten)) in verified[1..].iter().zip(&known) {
        let found = migration.problems.iter().any(|problem| problem.starts_with("down.sql does not restore"));
        let others: Vec<_> =
            migration.problems.iter().filter(|problem| !problem.starts_with("down.sql does not restore")).collect();
        if !found || !others.is_empty() {
            missed.push(format!("{kind}: {forgotten} {others:?}"));
        }
    }
    assert!(missed.is_empty(), "{} of {} were missed:\n{}", missed.len(), known.len(), missed.join("\n"));
}

/// A down.sql that restores everything is no finding, whatever traces it leaves: else nobody would believe the others.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_is_no_difference() {
    let Some(admin) = &server().admin else {
        println!("left out: some of the kinds need a superuser");
        return;
    };
    let known: Vec<_> = restored::RESTORED.iter().collect();
    let folder = Folder::new(&[(SETUP, &setup(known.iter().map(|(_, before, ..)| *before)), "SELECT 1")]);
    for (n, (_, _, up, down)) in known.iter().enumerate() {
        folder.add(&format!("2026-01-02-{n:06}_kind"), up, down);
    }
    let what = Verify { source: folder.source(), rows: Rows::None, release: None, diesel_config: None };
    // Subscriptions belong to the server: they are made where that is thrown away.
    let server = ScratchServer::throwaway(admin.clone());
    let verified = migrate::verify(server, &what, |_| {}).await.unwrap().migrations;
    assert_eq!(verified.len(), known.len() + 1);
    assert_eq!(verified[0].problems.len(), 1, "{:?}", verified[0]);
    let found: Vec<_> = verified[1..].iter().zip(&known).filter(|(one, _)| !one.problems.is_empty()).collect();
    assert!(known.len() > 20 && found.is_empty(), "{found:#?}");
}
