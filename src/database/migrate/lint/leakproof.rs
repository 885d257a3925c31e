//! `index-lost-to-rls`: an index that the application's queries cannot use.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::file::{called, first, name, words};
use super::schema::altered_table;
use super::{Change, Found};

/// Their operators look at values before the policy has looked at the row (facts: `=` on an enum 2.6 → 49 ms).
const TYPES: [&str; 7] = ["enum", "numeric", "decimal", "json", "jsonb", "tsvector", "array"];
/// Their operators are of such types, or of arrays.
const METHODS: [&str; 3] = ["gin", "gist", "spgist"];
/// They are no functions, but parts of the language.
const HARMLESS: [&str; 3] = ["coalesce", "greatest", "least"];

pub(super) fn index_lost_to_rls(change: &Change<'_>) -> Vec<Found> {
    let indexes = change.up.all(SyntaxKind::CREATE_INDEX).filter_map(|index| {
        let table = altered_table(&index).filter(|table| change.after.is_walled(table))?;
        let reason = method(&index).or_else(|| items(&index).find_map(|item| useless(change, &table, &item)))?;
        Some(change.up.found(&index, format!("an index of {table} on {reason}")))
    });
    indexes.collect()
}

fn method(index: &SyntaxNode) -> Option<String> {
    let method = name(index, SyntaxKind::ACCESS_METHOD_REF)?;
    METHODS.contains(&method.as_str()).then_some(method)
}

fn items(index: &SyntaxNode) -> impl Iterator<Item = SyntaxNode> + use<> {
    index.descendants().filter(|node| node.kind() == SyntaxKind::PARTITION_ITEM)
}

/// What makes a column or an expression useless.
fn useless(change: &Change<'_>, table: &str, item: &SyntaxNode) -> Option<String> {
    if let Some(operator) = first(item, SyntaxKind::CUSTOM_OP) {
        return Some(format!("the operator {}", words(&operator).concat()));
    }
    let mut calls = item.descendants().filter(|node| node.kind() == SyntaxKind::CALL_EXPR).map(|call| called(&call));
    if let Some(function) = calls.find(|function| !HARMLESS.contains(&function.as_str())) {
        return Some(format!("{function}()"));
    }
    let column = item.children().find(|node| matches!(node.kind(), SyntaxKind::NAME_REF | SyntaxKind::COLLATE))?;
    let column = words(&column).into_iter().next()?;
    let ty = change.after.type_of(table, &column)?;
    let kind = if ty.ends_with(']') { "array" } else { ty.split(' ').next().unwrap_or_default() };
    TYPES.contains(&kind).then(|| format!("{column}, which is of type {kind}"))
}
