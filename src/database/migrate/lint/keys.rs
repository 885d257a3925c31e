//! Every table has its tenant, and every key of a table with tenants begins with the tenant.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::file::{children, first, has, name, words};
use super::schema::{altered_table, created_table};
use super::{Change, Found};

const FOREIGN: &str = "foreign key";

const KEYS: [(SyntaxKind, &str); 4] = [
    (SyntaxKind::PRIMARY_KEY_CONSTRAINT, "primary key"),
    (SyntaxKind::UNIQUE_CONSTRAINT, "unique key"),
    (SyntaxKind::FOREIGN_KEY_CONSTRAINT, FOREIGN),
    (SyntaxKind::REFERENCES_CONSTRAINT, FOREIGN),
];

pub(super) fn tenant_id_missing(change: &Change<'_>) -> Vec<Found> {
    let made =
        change.up.all(SyntaxKind::CREATE_TABLE).filter_map(|made| created_table(&made).map(|table| (made, table)));
    // `tenants` is what tenant_id refers to.
    let without = made.filter(|(_, table)| change.after.has_table(table) && !change.after.is_walled(table));
    without.map(|(made, table)| change.up.found(&made, format!("table {table} has no tenant_id"))).collect()
}

pub(super) fn key_without_tenant(change: &Change<'_>) -> Vec<Found> {
    without_tenant(change, false)
}

pub(super) fn foreign_key_without_tenant(change: &Change<'_>) -> Vec<Found> {
    without_tenant(change, true)
}

fn without_tenant(change: &Change<'_>, foreign: bool) -> Vec<Found> {
    let mut found = Vec::new();
    for statement in change.up.statements() {
        let table = match statement.kind() {
            SyntaxKind::CREATE_TABLE => created_table(&statement),
            SyntaxKind::ALTER_TABLE => altered_table(&statement),
            SyntaxKind::CREATE_INDEX if words(&statement).get(1).is_some_and(|word| word == "unique") => {
                altered_table(&statement)
            }
            _ => None,
        };
        let Some(table) = table.filter(|table| change.after.has_tenant_id(table)) else { continue };
        for (node, what, column) in keys(&statement) {
            if column != "tenant_id" && foreign == (what == FOREIGN) {
                let message = format!("a {what} of {table} begins with {column}, not with tenant_id");
                found.push(change.up.found(&node, message));
            }
        }
    }
    found
}

/// The keys of a statement, each with what it is and its first column.
fn keys(statement: &SyntaxNode) -> Vec<(SyntaxNode, &'static str, String)> {
    if statement.kind() == SyntaxKind::CREATE_INDEX {
        let item = first(statement, SyntaxKind::PARTITION_ITEM);
        let column = item.map(|item| words(&item).into_iter().next().unwrap_or_default());
        return column.map(|column| (statement.clone(), "unique index", column)).into_iter().collect();
    }
    let nodes = statement.descendants().filter_map(|node| {
        let (_, what) = KEYS.iter().find(|(kind, _)| *kind == node.kind())?;
        let column = first_column(&node)?;
        Some((node, *what, column))
    });
    nodes.collect()
}

/// `None` for a key that takes over an index.
fn first_column(key: &SyntaxNode) -> Option<String> {
    let of = |list: SyntaxNode| name(&list, SyntaxKind::COLUMN_NAME_REF);
    if key.kind() == SyntaxKind::FOREIGN_KEY_CONSTRAINT {
        return children(key, SyntaxKind::FOREIGN_KEY_COLUMN_LIST).next().and_then(of);
    }
    if has(key, SyntaxKind::USING_INDEX_NAME) {
        return None;
    }
    let list = first(key, SyntaxKind::CONSTRAINT_COLUMN_REF_LIST).and_then(of);
    list.or_else(|| name(&key.parent()?, SyntaxKind::COLUMN_NAME))
}
