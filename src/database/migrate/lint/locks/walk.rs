//! The statements of both files, each with what was there before it.

use std::collections::BTreeSet;

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::super::file::{File, name, words};
use super::super::schema::Schema;
use super::super::{Change, Found, Level};
use crate::database::migrate::statement::Mark;

/// A statement, also one of a DO block, and what was there before it.
pub(in super::super) struct Walk<'w> {
    pub(in super::super) node: &'w SyntaxNode,
    pub(in super::super) schema: &'w Schema,
    /// The tables and views that this file has made, those of the session too.
    pub(in super::super) made: &'w BTreeSet<String>,
    /// Whether a transaction is open.
    pub(in super::super) in_transaction: bool,
    /// Whether it is sent in batches.
    pub(in super::super) batch: bool,
}

/// What was found in a statement.
pub(in super::super) struct Hit {
    /// From the statement's first byte.
    at: usize,
    message: String,
}

impl Walk<'_> {
    /// Of the whole statement.
    pub(in super::super) fn hit(message: impl Into<String>) -> Hit {
        Hit { at: 0, message: message.into() }
    }

    /// Of a part of it.
    pub(in super::super) fn hit_at(&self, part: &SyntaxNode, message: impl Into<String>) -> Hit {
        let at = part.text_range().start() - self.node.text_range().start();
        Hit { at: at.into(), message: message.into() }
    }

    /// Whether rows and readers of a table may be there already.
    pub(in super::super) fn is_old(&self, table: &str) -> bool {
        !self.made.contains(table)
    }
}

/// A rule about single statements, for every folder.
pub(in super::super) struct LockRule {
    pub(in super::super) name: &'static str,
    pub(in super::super) why: &'static str,
    pub(in super::super) level: Level,
    /// Whether `down.sql` has to keep it too.
    pub(in super::super) down: bool,
    pub(in super::super) find: fn(&Walk<'_>) -> Vec<Hit>,
}

/// What the rules find in both files. One walk for all of them: the schema is made once.
pub(in super::super) fn findings(change: &Change<'_>, rules: &'static [LockRule]) -> Vec<(&'static LockRule, Found)> {
    let all: Vec<_> = rules.iter().collect();
    let mut found = through(change, &change.up, change.before.clone(), &all);
    if let Some(down) = &change.down {
        let both: Vec<_> = rules.iter().filter(|rule| rule.down).collect();
        found.extend(through(change, down, change.after.clone(), &both));
    }
    found
}

fn through(
    change: &Change<'_>,
    file: &File,
    mut schema: Schema,
    rules: &[&'static LockRule],
) -> Vec<(&'static LockRule, Found)> {
    let mut found = Vec::new();
    let mut made = BTreeSet::new();
    let mut in_transaction = change.migration.metadata.run_in_transaction;
    for statement in file.statements() {
        match statement.kind() {
            SyntaxKind::BEGIN => in_transaction = true,
            kind if ast::Commit::can_cast(kind) => in_transaction = false,
            _ => {}
        }
        let line = file.found(&statement, "").line;
        let batch = file.script.iter().any(|sent| Some(sent.line) == line && sent.mark == Some(Mark::Batch));
        let start: usize = statement.text_range().start().into();
        // A block is one statement, and so in a transaction.
        let pieces = inside(&statement).into_iter().map(|(node, byte)| (node, byte, true));
        for (node, byte, in_transaction) in pieces.chain([(statement.clone(), start, in_transaction)]) {
            let walk = Walk { node: &node, schema: &schema, made: &made, in_transaction, batch };
            for rule in rules {
                let hits = (rule.find)(&walk).into_iter();
                found.extend(hits.map(|hit| (*rule, file.found_at(byte + hit.at, hit.message))));
            }
        }
        match statement.kind() {
            SyntaxKind::CREATE_TABLE | SyntaxKind::CREATE_TABLE_AS | SyntaxKind::SELECT_INTO => {
                made.extend(name(&statement, SyntaxKind::TABLE_NAME));
            }
            SyntaxKind::CREATE_MATERIALIZED_VIEW => made.extend(name(&statement, SyntaxKind::VIEW)),
            _ => {}
        }
        schema.apply(&statement);
    }
    found
}

/// The statements of a DO block in PL/pgSQL, each with its place in the file. What EXECUTE runs cannot be read.
pub(in super::super) fn inside(statement: &SyntaxNode) -> Vec<(SyntaxNode, usize)> {
    let Some(block) = ast::Do::cast(statement.clone()) else { return Vec::new() };
    let Some(body) = block.plpgsql() else { return Vec::new() };
    let sql = body.syntax().descendants().filter(|node| ast::Stmt::can_cast(node.kind()) && !words(node).is_empty());
    sql.map(|node| {
        let place = body.source_range(node.text_range()).start();
        (node, place.into())
    })
    .collect()
}
