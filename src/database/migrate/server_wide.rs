//! Which statements reach beyond their database: roles, other databases, tablespaces, the server's settings and files.
//! A dry run does not execute them.
//!
//! Recognition reads tokens only. [`super::guard`] sees afterwards what hides in a function, a trigger or a DO block,
//! and takes that back; what no rollback takes back has to be recognised here, in bodies too.

use squawk_lexer::{TokenKind, tokenize};

use super::statement::Statement;

/// Functions with an effect that no rollback takes back, or that reaches beyond the database.
const FUNCTIONS: [&str; 45] = [
    "DBLINK",
    "DBLINK_CONNECT",
    "DBLINK_CONNECT_U",
    "DBLINK_EXEC",
    "DBLINK_OPEN",
    "DBLINK_SEND_QUERY",
    "LO_EXPORT",
    "PG_BACKUP_START",
    "PG_BACKUP_STOP",
    "PG_CANCEL_BACKEND",
    "PG_COPY_LOGICAL_REPLICATION_SLOT",
    "PG_COPY_PHYSICAL_REPLICATION_SLOT",
    "PG_CREATE_LOGICAL_REPLICATION_SLOT",
    "PG_CREATE_PHYSICAL_REPLICATION_SLOT",
    "PG_CREATE_RESTORE_POINT",
    "PG_DROP_REPLICATION_SLOT",
    "PG_FILE_RENAME",
    "PG_FILE_SYNC",
    "PG_FILE_UNLINK",
    "PG_FILE_WRITE",
    "PG_LOG_BACKEND_MEMORY_CONTEXTS",
    "PG_LOG_STANDBY_SNAPSHOT",
    "PG_LOGICAL_EMIT_MESSAGE",
    "PG_LOGICAL_SLOT_GET_BINARY_CHANGES",
    "PG_LOGICAL_SLOT_GET_CHANGES",
    "PG_PROMOTE",
    "PG_RELOAD_CONF",
    "PG_REPLICATION_ORIGIN_ADVANCE",
    "PG_REPLICATION_ORIGIN_CREATE",
    "PG_REPLICATION_ORIGIN_DROP",
    "PG_REPLICATION_ORIGIN_SESSION_SETUP",
    "PG_REPLICATION_ORIGIN_XACT_RESET",
    "PG_REPLICATION_ORIGIN_XACT_SETUP",
    "PG_REPLICATION_SLOT_ADVANCE",
    "PG_ROTATE_LOGFILE",
    "PG_STAT_RESET_REPLICATION_SLOT",
    "PG_STAT_RESET_SHARED",
    "PG_STAT_RESET_SLRU",
    "PG_STAT_RESET_SUBSCRIPTION_STATS",
    "PG_STAT_STATEMENTS_RESET",
    "PG_SWITCH_WAL",
    "PG_SYNC_REPLICATION_SLOTS",
    "PG_TERMINATE_BACKEND",
    "PG_WAL_REPLAY_PAUSE",
    "PG_WAL_REPLAY_RESUME",
];

/// Catalogues that all databases share.
const SHARED: [&str; 11] = [
    "PG_AUTHID",
    "PG_AUTH_MEMBERS",
    "PG_DATABASE",
    "PG_DB_ROLE_SETTING",
    "PG_PARAMETER_ACL",
    "PG_REPLICATION_ORIGIN",
    "PG_SHDEPEND",
    "PG_SHDESCRIPTION",
    "PG_SHSECLABEL",
    "PG_SUBSCRIPTION",
    "PG_TABLESPACE",
];

/// Whether the statement itself changes the server, or does what no rollback takes back.
pub(super) fn changes_server(statement: &Statement) -> bool {
    let words = as_strs(&statement.words);
    command(&words) || calls(&words) || (words.first() == Some(&"DO") && irrevocable(&statement.sql))
}

/// Whether a body, as of a DO block or a function, does what no rollback takes back.
pub(super) fn irrevocable(body: &str) -> bool {
    any_part(body, &|part| {
        called(part) || matches!(part, ["CHECKPOINT" | "LOAD", ..]) || matches!(part, ["COPY", ..] if copies(part))
    })
}

/// Whether a body has anything that may change the server. For a body that ends transactions itself, and so cannot be
/// taken back: text that it puts together counts by its single words.
pub(super) fn may_change_server(body: &str) -> bool {
    const TOLD: [&str; 7] = ["ROLE", "USER", "GROUP", "DATABASE", "TABLESPACE", "SUBSCRIPTION", "SYSTEM"];
    let dynamic = body.to_uppercase().contains("EXECUTE");
    any_part(body, &|part| command(part) || called(part) || (dynamic && part.iter().any(|word| TOLD.contains(word))))
}

/// The role that the statement makes, as the server names it.
pub(super) fn role_made(statement: &Statement) -> Option<String> {
    match as_strs(&statement.words).as_slice() {
        ["CREATE", "ROLE" | "USER" | "GROUP", name, ..] => Some(plain_name(name)),
        _ => None,
    }
}

/// A name without its quotes, in the case that the server keeps.
fn plain_name(word: &str) -> String {
    match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => word.to_lowercase(),
    }
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// One command of the manual's list.
fn command(words: &[&str]) -> bool {
    match words {
        // A user mapping belongs to its database.
        ["CREATE" | "ALTER" | "DROP", "USER", "MAPPING", "FOR" | "IF", ..] => false,
        [
            "CREATE" | "ALTER" | "DROP",
            "ROLE" | "USER" | "GROUP" | "DATABASE" | "TABLESPACE" | "SUBSCRIPTION" | "SYSTEM",
            ..,
        ]
        | ["CHECKPOINT" | "LOAD", ..]
        | ["PREPARE", "TRANSACTION", ..]
        | ["COMMIT" | "ROLLBACK", "PREPARED", ..] => true,
        ["GRANT", rest @ ..] => grants(rest, "TO"),
        ["REVOKE", rest @ ..] => grants(rest, "FROM"),
        ["COMMENT", "ON", kind, ..] => is_shared_kind(kind),
        ["SECURITY", "LABEL", rest @ ..] => {
            after(rest, "ON").is_some_and(|rest| rest.first().is_some_and(is_shared_kind))
        }
        ["COPY", ..] => copies(words),
        // These two go through the shared catalogues too.
        ["REINDEX", rest @ ..] => matches!(without_options(rest), ["DATABASE" | "SYSTEM", ..]) || names_shared(rest),
        ["LOCK" | "VACUUM" | "CLUSTER" | "ANALYZE", rest @ ..] => names_shared(rest),
        ["INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE", rest @ ..] => names_shared(&rest[..rest.len().min(5)]),
        _ => false,
    }
}

fn is_shared_kind(kind: &&str) -> bool {
    ["DATABASE", "ROLE", "TABLESPACE", "SUBSCRIPTION"].contains(kind)
}

fn names_shared(words: &[&str]) -> bool {
    words.iter().any(|word| SHARED.contains(word))
}

/// Behind the first such word.
fn after<'w>(words: &'w [&'w str], word: &str) -> Option<&'w [&'w str]> {
    words.iter().position(|found| *found == word).map(|n| &words[n + 1..])
}

/// Without the options in parentheses that it begins with.
fn without_options<'w>(words: &'w [&'w str]) -> &'w [&'w str] {
    if words.first() == Some(&"(") { after(words, ")").unwrap_or(words) } else { words }
}

/// Memberships have no ON; of what is granted on something, three kinds belong to the server.
fn grants(words: &[&str], to: &str) -> bool {
    let until = words.iter().position(|word| *word == to).unwrap_or(words.len());
    match after(&words[..until], "ON") {
        None => true,
        // A table may have such a name: then no other name follows.
        Some(object) => {
            matches!(object, ["DATABASE" | "TABLESPACE" | "PARAMETER", next, ..] if ![",", "."].contains(next))
        }
    }
}

/// Writes a file of the server, or starts a program there.
fn copies(words: &[&str]) -> bool {
    let mut depth = 0_usize;
    words.windows(2).any(|pair| {
        match pair[0] {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
            && match pair {
                ["TO", target] => *target == "PROGRAM" || is_text(target),
                ["FROM", source] => *source == "PROGRAM",
                _ => false,
            }
    })
}

fn is_text(word: &str) -> bool {
    ["'", "E'", "e'", "U&'", "u&'", "$"].iter().any(|begin| word.starts_with(begin))
}

/// Calls one of [`FUNCTIONS`]; a statement that only defines, or grants, calls nothing.
fn calls(words: &[&str]) -> bool {
    let defines = match words {
        ["GRANT" | "REVOKE" | "COMMENT" | "SECURITY" | "DROP" | "ALTER", ..] => true,
        ["CREATE", rest @ ..] => {
            let rest = if rest.starts_with(&["OR", "REPLACE"]) { &rest[2..] } else { rest };
            let kind = rest.iter().find(|word| !["TEMP", "TEMPORARY", "RECURSIVE", "CONSTRAINT"].contains(word));
            ["FUNCTION", "PROCEDURE", "VIEW", "RULE", "TRIGGER", "AGGREGATE"].iter().any(|known| kind == Some(known))
        }
        _ => false,
    };
    !defines && called(words)
}

fn called(words: &[&str]) -> bool {
    words
        .windows(2)
        .any(|pair| pair[1] == "(" && FUNCTIONS.contains(&pair[0].trim_matches('"').to_uppercase().as_str()))
}

/// Tokens without comments; keywords and names in upper case, as [`Statement::words`] has them.
fn words(text: &str) -> Vec<String> {
    let mut at = 0;
    let mut words = Vec::new();
    for token in tokenize(text) {
        let start = at;
        at += token.len as usize;
        let word = &text[start..at];
        match token.kind {
            TokenKind::Eof => break,
            TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => {}
            TokenKind::Ident => words.push(word.to_uppercase()),
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// What a text in quotes says. A text that the lexer did not take for one is none.
fn content(word: &str) -> Option<String> {
    if let Some(rest) = word.strip_prefix('$') {
        let tag = rest.find('$').map(|end| &word[..end + 2])?;
        return word[tag.len()..].strip_suffix(tag).map(str::to_owned);
    }
    let start = word.find('\'').filter(|_| is_text(word))?;
    word[start + 1..].strip_suffix('\'').map(|inner| inner.replace("''", "'"))
}

/// Whether any statement in a body is such a one: also in texts, which it may execute.
fn any_part(body: &str, is_one: &dyn Fn(&[&str]) -> bool) -> bool {
    const BEFORE: [&str; 8] = [";", "BEGIN", "THEN", "ELSE", "LOOP", "EXECUTE", "DO", ":="];
    let words = words(body);
    let words = as_strs(&words);
    words.split(|word| BEFORE.contains(word)).any(is_one)
        || words.iter().filter_map(|word| content(word)).any(|inner| any_part(&inner, is_one))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::script::Script;
    use super::*;

    fn statement(sql: &str) -> Statement {
        Script::new("up.sql", sql).statements().unwrap().remove(0)
    }

    #[rstest]
    #[case("create role r")]
    #[case("CREATE USER mapping")]
    #[case("CREATE GROUP r")]
    #[case("ALTER ROLE r IN DATABASE d SET statement_timeout = '5s'")]
    #[case("ALTER ROLE ALL RESET ALL")]
    #[case("ALTER USER r PASSWORD 'x'")]
    #[case("ALTER GROUP g ADD USER r")]
    #[case("DROP ROLE IF EXISTS r")]
    #[case("GRANT a TO b WITH ADMIN OPTION")]
    #[case("GRANT a, b TO c")]
    #[case("REVOKE ADMIN OPTION FOR a FROM b")]
    #[case("GRANT CONNECT ON DATABASE d TO r")]
    #[case("REVOKE GRANT OPTION FOR CREATE ON TABLESPACE s FROM r")]
    #[case("GRANT SET ON PARAMETER log_statement TO r")]
    #[case("CREATE DATABASE d")]
    #[case("ALTER DATABASE d SET work_mem = '1MB'")]
    #[case("DROP DATABASE d WITH (FORCE)")]
    #[case("CREATE TABLESPACE s LOCATION '/x'")]
    #[case("ALTER TABLESPACE s RENAME TO t")]
    #[case("DROP TABLESPACE s")]
    #[case("ALTER SYSTEM SET work_mem = '1MB'")]
    #[case("COMMENT ON DATABASE d IS 'x'")]
    #[case("COMMENT ON ROLE r IS 'x'")]
    #[case("COMMENT ON TABLESPACE s IS 'x'")]
    #[case("COMMENT ON SUBSCRIPTION s IS 'x'")]
    #[case("SECURITY LABEL FOR p ON ROLE r IS 'x'")]
    #[case("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p")]
    #[case("ALTER SUBSCRIPTION s DISABLE")]
    #[case("DROP SUBSCRIPTION s")]
    #[case("COPY t TO '/x'")]
    #[case("COPY (SELECT a FROM t) TO E'/x' WITH (FORMAT csv)")]
    #[case("COPY t TO PROGRAM 'x'")]
    #[case("COPY t (a) FROM PROGRAM 'x'")]
    #[case("CHECKPOINT")]
    #[case("LOAD 'x'")]
    #[case("PREPARE TRANSACTION 'x'")]
    #[case("COMMIT PREPARED 'x'")]
    #[case("REINDEX (VERBOSE) DATABASE d")]
    #[case("REINDEX SYSTEM d")]
    #[case("LOCK TABLE pg_catalog.pg_authid")]
    #[case("UPDATE pg_database SET datconnlimit = 1")]
    #[case("VACUUM FULL pg_authid")]
    #[case("SELECT pg_reload_conf()")]
    #[case("SELECT pg_catalog.\"pg_terminate_backend\"(pid) FROM pg_stat_activity")]
    #[case("SELECT pg_create_physical_replication_slot('x')")]
    #[case("INSERT INTO t SELECT lo_export(o, '/x') FROM t")]
    #[case("CREATE TABLE t AS SELECT * FROM dblink('x', 'y') AS (a int)")]
    #[case("DO $$ BEGIN PERFORM pg_switch_wal(); END $$")]
    #[case("DO $$ BEGIN IF true THEN COPY t TO PROGRAM 'x'; END IF; END $$")]
    #[case("DO 'BEGIN EXECUTE ''COPY t TO ''''/x''''''; END'")]
    #[case("DO $$ BEGIN CHECKPOINT; END $$")]
    fn what_reaches_beyond_the_database_is_recognised(#[case] sql: &str) {
        assert!(changes_server(&statement(sql)));
    }

    #[rstest]
    #[case("GRANT SELECT ON t TO r")]
    #[case("GRANT SELECT (a, b) ON t TO r")]
    #[case("GRANT SELECT ON database TO r")]
    #[case("GRANT SELECT ON parameter, t TO r")]
    #[case("REVOKE ALL ON SCHEMA s FROM r")]
    #[case("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO r")]
    #[case("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r")]
    #[case("ALTER TABLE t SET (fillfactor = 50)")]
    #[case("ALTER TABLE t OWNER TO r")]
    #[case("ALTER TABLE t ADD COLUMN role text, ADD COLUMN database text")]
    #[case("CREATE TABLE role (\"user\" text)")]
    #[case("CREATE TABLE tablespace (id int)")]
    #[case("CREATE USER MAPPING FOR r SERVER s")]
    #[case("DROP USER MAPPING IF EXISTS FOR r SERVER s")]
    #[case("COMMENT ON TABLE t IS 'database'")]
    #[case("COMMENT ON COLUMN t.role IS 'x'")]
    #[case("SECURITY LABEL ON TABLE t IS 'x'")]
    #[case("COPY t FROM '/x'")]
    #[case("INSERT INTO t SELECT datname FROM pg_database")]
    #[case("SELECT pg_reload_conf FROM t")]
    #[case("CREATE FUNCTION f() RETURNS boolean RETURN pg_reload_conf()")]
    #[case("CREATE OR REPLACE VIEW v AS SELECT pg_reload_conf()")]
    #[case("REINDEX TABLE database")]
    #[case("SET ROLE r")]
    #[case("PREPARE p AS SELECT 1")]
    #[case("DROP OWNED BY r")]
    #[case("DO $$ BEGIN CREATE ROLE r; END $$")]
    #[case("DO $$ BEGIN RAISE NOTICE 'it is a role of the database'; END $$")]
    fn what_stays_in_the_database_is_not(#[case] sql: &str) {
        assert!(!changes_server(&statement(sql)));
    }

    #[rstest]
    #[case("DO $$ BEGIN COMMIT; CREATE ROLE r; END $$", true)]
    #[case("DO $$ BEGIN COMMIT; EXECUTE 'CREATE ROLE r'; END $$", true)]
    #[case("DO $$ BEGIN COMMIT; EXECUTE 'CREATE ' || 'ROLE' || ' r'; END $$", true)]
    #[case("DO $$ BEGIN IF x THEN GRANT a TO b; END IF; COMMIT; END $$", true)]
    #[case("DO $$ BEGIN COMMIT; INSERT INTO t (role) VALUES ('x'); END $$", false)]
    #[case("DO $$ BEGIN COMMIT; EXECUTE 'DELETE FROM t'; END $$", false)]
    fn a_body_that_may_change_the_server_is_recognised(#[case] sql: &str, #[case] expected: bool) {
        assert_eq!(may_change_server(sql), expected);
    }

    #[rstest]
    #[case("CREATE ROLE Made LOGIN", Some("made"))]
    #[case("CREATE USER \"Made \"\"x\"", Some("Made \"x"))]
    #[case("DROP ROLE made", None)]
    fn the_role_that_a_statement_makes_is_found(#[case] sql: &str, #[case] role: Option<&str>) {
        assert_eq!(role_made(&statement(sql)).as_deref(), role);
    }
}
