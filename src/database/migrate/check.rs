//! One pass over a script before any of it is sent. A statement that cannot run is refused while nothing is written.

use super::batch::Batches;
use super::folder::Migration;
use super::history::Way;
use super::reader::Reader;
use super::script::Script;
use super::statement::{Kind, Mark, Statement};
use crate::error::{Error, Result};

/// What is known of a script that can run.
#[derive(Debug, Clone, Default)]
pub(super) struct Checked {
    /// The number of statements.
    pub(super) statements: usize,
    /// Of the SQL.
    pub(super) checksum: String,
    /// The same of `up.sql`, as the history keeps it.
    pub(super) up_checksum: String,
    /// Whether something of the session may be changed behind it: a setting, a role, an object of the session.
    pub(super) changes_session: bool,
    /// The BEGIN of the file that asks for an isolation level; it is the first statement then.
    pub(super) begin: Option<String>,
    /// The line of the file's own COMMIT that does not end the file, in a migration that is one transaction.
    pub(super) left_out: Option<usize>,
}

/// The script of a migration that goes one way.
pub(super) fn script(migration: &Migration, way: Way) -> Result<&Script> {
    match way {
        Way::Down => migration.down.as_ref().ok_or_else(|| failed(migration, "it has no down.sql")),
        Way::Up | Way::Baseline | Way::Repair => Ok(&migration.up),
    }
}

/// Reads the script once.
///
/// # Errors
/// [`Error::Migration`] for a statement that cannot run, with its line.
pub(super) fn check(migration: &Migration, script: &Script, escapes: bool) -> Result<Checked> {
    let of_file = |error: Error| failed(migration, &error.to_string());
    let transaction = migration.metadata.run_in_transaction;
    let mut checked = Checked::default();
    let mut reader = script.reader(escapes).map_err(of_file)?;
    let (mut block, mut commit) = (None, None);
    while let Some(statement) = reader.next().map_err(of_file)? {
        let wrong = |why: &str| Err(failed(migration, &format!("{} line {}: {why}", script.file, statement.line)));
        if let Some(why) = refusal(&statement, transaction, block.is_some(), reader.count == 1) {
            return wrong(&why);
        }
        if statement.mark == Some(Mark::Batch) {
            Batches::of(&statement).map_err(|error| failed(migration, &format!("{} {error}", script.file)))?;
        }
        match statement.kind() {
            Kind::Begin => {
                block.get_or_insert(statement.line);
                if transaction && statement.has_modes() {
                    checked.begin = Some(statement.sql.clone());
                }
            }
            Kind::Commit => {
                block = None;
                commit = Some(statement.line);
            }
            Kind::Alone | Kind::Ordinary => checked.left_out = checked.left_out.or(commit.filter(|_| transaction)),
        }
        checked.changes_session |= !statement.is_quiet();
    }
    if let Some(line) = block.filter(|_| !transaction) {
        let why =
            format!("{} line {line}: this BEGIN has no COMMIT, so that nothing behind it would stay", script.file);
        return Err(failed(migration, &why));
    }
    checked.statements = reader.count;
    checked.checksum = reader.checksum();
    // While a long statement is on its way there is no room to read the file once more.
    checked.up_checksum = if escapes || script.file != migration.up.file {
        migration.up.sql_checksum().unwrap_or_default()
    } else {
        checked.checksum.clone()
    };
    Ok(checked)
}

/// Why a statement cannot run where it stands.
fn refusal(statement: &Statement, transaction: bool, in_block: bool, first: bool) -> Option<String> {
    const NEEDS: &str = "needs `run_in_transaction = false` in metadata.toml";
    if let Some(why) = statement.refusal() {
        return Some(format!("the statement ({}) {why}", statement.excerpt()));
    }
    let marked = statement.mark.map(|mark| match mark {
        Mark::Batch => "/* batch */",
        Mark::Alone => "/* alone */",
    });
    if transaction {
        return match marked {
            Some(mark) => Some(format!("{mark} {NEEDS}")),
            None if statement.is_read_only() => Some(format!(
                "a migration that is one transaction cannot be READ ONLY, for it is recorded in it: this {NEEDS}"
            )),
            None if statement.has_modes() && !first => {
                Some(format!("a second transaction with modes of its own {NEEDS}"))
            }
            None => None,
        };
    }
    match (marked, in_block) {
        (Some(mark), true) => Some(format!("{mark} cannot stand in the file's own BEGIN … COMMIT: take it out of there")),
        (None, true) if statement.kind() == Kind::Alone => Some(
            "PostgreSQL refuses this statement in a transaction: take it out of the file's own BEGIN … COMMIT".to_owned(),
        ),
        (_, false) => statement.needs_transaction().map(|what| {
            format!(
                "{what} has no effect outside of a transaction: put it between BEGIN and COMMIT with the statements that it \
                 is for, or set it for the session (SET without LOCAL; the next migration does not see it)"
            )
        }),
        _ => None,
    }
}

pub(super) fn failed(migration: &Migration, message: &str) -> Error {
    Error::Migration { name: migration.name.clone(), message: message.to_owned() }
}

/// The first statement of a file that begins or ends a transaction, with its line: for files that are a part of one.
///
/// # Errors
/// [`Error::Invalid`] for what is not SQL: a quote that does not end, a command of psql, rows of COPY.
pub(crate) fn transaction_control(sql: &str) -> Result<Option<(usize, String)>> {
    let mut reader = Reader::of_text("", sql, false);
    while let Some(statement) = reader.next()? {
        let words: Vec<&str> = statement.words.iter().take(2).map(String::as_str).collect();
        let ends = match words.as_slice() {
            ["ROLLBACK" | "ABORT", ..] => !statement.words.iter().take(8).any(|word| word == "TO"),
            ["PREPARE", "TRANSACTION"] => true,
            _ => matches!(statement.kind(), Kind::Begin | Kind::Commit),
        };
        if ends {
            return Ok(Some((statement.line, statement.excerpt())));
        }
    }
    Ok(None)
}
