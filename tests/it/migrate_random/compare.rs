//! What psql makes of a folder in one go, and whether two databases are equal.

use std::path::Path;
use std::process::Output;

use bedplate::DatabaseUrl;
use diesel_async::AsyncPgConnection;
use tokio::process::Command;

use super::generate::{ROLE, Random};
use crate::support::{connection, execute, texts};

/// Whether the programs are there; a server from npm has none.
pub async fn programs_are_there() -> bool {
    for program in ["psql", "pg_dump"] {
        if Command::new(program).arg("--version").output().await.is_err() {
            return false;
        }
    }
    true
}

/// Runs one file as a user of psql does.
pub async fn psql(url: &DatabaseUrl, file: &Path, in_transaction: bool) -> Result<(), String> {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url.reveal(), "-f"]).arg(file);
    if in_transaction {
        command.arg("--single-transaction");
    }
    let done = command.output().await.unwrap();
    if done.status.success() { Ok(()) } else { Err(format!("psql {}: {}", file.display(), errors(&done))) }
}

/// Runs the folder, one session a migration.
pub async fn psql_all(url: &DatabaseUrl, folder: &Path, migrations: &[Random]) -> Result<(), String> {
    for migration in migrations {
        psql(url, &folder.join(&migration.name).join("up.sql"), !migration.bare).await?;
    }
    Ok(())
}

fn errors(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// The schema without the engine's own tables.
async fn schema(url: &DatabaseUrl) -> String {
    let mut command = Command::new("pg_dump");
    command.args(["--schema-only", "--exclude-table=public.__*", "-d", url.reveal()]);
    let done = command.output().await.unwrap();
    assert!(done.status.success(), "pg_dump: {}", errors(&done));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    // Newer versions of pg_dump write a line with a random word.
    let same = |line: &&str| !line.starts_with("--") && !line.starts_with('\\') && !line.is_empty();
    text.lines().filter(same).collect::<Vec<_>>().join("\n")
}

/// `table count checksum`, for every table but the engine's.
async fn rows(connection: &mut AsyncPgConnection) -> Vec<String> {
    let tables = "SELECT c.oid::regclass FROM pg_class AS c WHERE c.relkind = 'r' \
                  AND c.relnamespace IN ('public'::regnamespace, 'app'::regnamespace) \
                  AND NOT starts_with(c.relname, '__') ORDER BY 1";
    let mut found = Vec::new();
    for table in texts(connection, tables).await {
        // The owner sees no row of it.
        let role = if table.ends_with("guarded") { ROLE } else { "NONE" };
        execute(connection, &format!("SET ROLE {role}")).await;
        let checksum = format!(
            "SELECT '{table} ' || count(*) || ' ' || md5(coalesce(string_agg(t::text, ';' ORDER BY t::text COLLATE \"C\"), '')) \
               FROM {table} AS t"
        );
        found.extend(texts(connection, &checksum).await);
    }
    execute(connection, "RESET ROLE").await;
    found
}

/// How the first database differs from the second one.
pub async fn difference(engine: &DatabaseUrl, psql: &DatabaseUrl) -> Result<(), String> {
    let (ours, theirs) = tokio::join!(schema(engine), schema(psql));
    if ours.trim().is_empty() {
        return Err("the dump is empty".into());
    }
    if ours != theirs {
        let diff = similar::TextDiff::from_lines(&theirs, &ours);
        let diff = diff.unified_diff().header("by psql", "by the engine").to_string();
        return Err(format!("the schema differs:\n{diff}"));
    }
    let (mut ours, mut theirs) = (connection(engine).await, connection(psql).await);
    let ledger = "SELECT step || ' ' || quote_nullable(seen) FROM public.ledger ORDER BY step";
    let (noted, expected) = (texts(&mut ours, ledger).await, texts(&mut theirs, ledger).await);
    if noted != expected {
        let (noted, expected) = (noted.join("\n"), expected.join("\n"));
        let diff = similar::TextDiff::from_lines(&expected, &noted);
        let diff = diff.unified_diff().header("by psql", "by the engine").to_string();
        return Err(format!("the ledger differs:\n{diff}"));
    }
    let (ours, theirs) = (rows(&mut ours).await, rows(&mut theirs).await);
    if ours != theirs {
        return Err(format!("rows differ: {ours:?} by the engine, {theirs:?} by psql"));
    }
    Ok(())
}

/// Indexes that a broken build left.
pub async fn left_indexes(connection: &mut AsyncPgConnection) -> Vec<String> {
    let left = "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
                WHERE NOT i.indisvalid OR c.relname ~ '_cc(new|old)[0-9]*$' ORDER BY 1";
    texts(connection, left).await
}
