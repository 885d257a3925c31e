//! What the migrations have made so far, as far as rules ask: tables with the types of their columns, enums, functions.

use std::collections::{BTreeMap, BTreeSet};

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::file::{children, first, has, name, words};

/// Of the folder's tables alone: one that something else made is unknown.
#[derive(Debug, Clone, Default)]
pub(super) struct Schema {
    tables: BTreeMap<String, Table>,
    enums: BTreeSet<String>,
    functions: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct Table {
    /// With their types; `None` where a query or another table says them.
    columns: Option<BTreeMap<String, String>>,
    partition_of: Option<String>,
    forced: bool,
}

impl Schema {
    /// What a statement makes of it.
    pub(super) fn apply(&mut self, statement: &SyntaxNode) {
        match statement.kind() {
            SyntaxKind::CREATE_TABLE | SyntaxKind::CREATE_TABLE_AS | SyntaxKind::SELECT_INTO => {
                if let Some(made) = created_table(statement) {
                    self.tables.insert(made, table(statement));
                }
            }
            SyntaxKind::DROP_TABLE => {
                for dropped in children(statement, SyntaxKind::TABLE_NAME_REF) {
                    self.tables.remove(&words(&dropped).pop().unwrap_or_default());
                }
            }
            SyntaxKind::ALTER_TABLE => self.alter(statement),
            SyntaxKind::CREATE_TYPE if has(statement, SyntaxKind::ENUM_TYPE) => {
                self.enums.extend(name(statement, SyntaxKind::TYPE_NAME));
            }
            SyntaxKind::CREATE_FUNCTION => self.functions.extend(name(statement, SyntaxKind::FUNCTION_NAME)),
            SyntaxKind::CREATE_PROCEDURE => self.functions.extend(name(statement, SyntaxKind::PROCEDURE_NAME)),
            _ => {}
        }
    }

    fn alter(&mut self, statement: &SyntaxNode) {
        let Some(mut altered) = altered_table(statement) else { return };
        for action in statement.children() {
            if action.kind() == SyntaxKind::TABLE_RENAME_TO {
                let (old, new) = (self.tables.remove(&altered), name(&action, SyntaxKind::TABLE_NAME));
                if let (Some(old), Some(new)) = (old, new) {
                    self.tables.insert(new.clone(), old);
                    altered = new;
                }
                continue;
            }
            let Some(table) = self.tables.get_mut(&altered) else { continue };
            match action.kind() {
                SyntaxKind::FORCE_RLS => table.forced = true,
                SyntaxKind::NO_FORCE_RLS => table.forced = false,
                SyntaxKind::ADD_COLUMN => {
                    table.columns.iter_mut().for_each(|columns| columns.extend(column(&action)));
                }
                SyntaxKind::ALTER_COLUMN => {
                    let changed = first(&action, SyntaxKind::SET_TYPE).as_ref().and_then(type_of);
                    let changed = name(&action, SyntaxKind::COLUMN_NAME_REF).zip(changed);
                    table.columns.iter_mut().for_each(|columns| columns.extend(changed.clone()));
                }
                _ => {}
            }
        }
    }

    pub(super) fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    pub(super) fn has_function(&self, function: &str) -> bool {
        self.functions.contains(function)
    }

    pub(super) fn is_partition(&self, table: &str) -> bool {
        self.tables.get(table).is_some_and(|table| table.partition_of.is_some())
    }

    /// Also where its columns are unknown: in a database with tenants every table has it but a few.
    pub(super) fn has_tenant_id(&self, table: &str) -> bool {
        let Some(table) = self.tables.get(table) else { return true };
        match (&table.partition_of, &table.columns) {
            (Some(parent), _) => self.has_tenant_id(parent),
            (None, Some(columns)) => columns.contains_key("tenant_id"),
            (None, None) => true,
        }
    }

    /// Whether policies say who sees its rows.
    pub(super) fn is_walled(&self, table: &str) -> bool {
        table == "tenants" || self.has_tenant_id(table)
    }

    /// Whether its owner too sees no row of it.
    pub(super) fn is_forced(&self, table: &str) -> bool {
        self.tables.get(table).is_none_or(|table| table.forced)
    }

    /// The type of a column, where it is known: its words, and `enum` for an enum.
    pub(super) fn type_of(&self, table: &str, column: &str) -> Option<&str> {
        let ty = self.tables.get(table)?.columns.as_ref()?.get(column)?;
        let is_enum = ty.rsplit(' ').next().is_some_and(|last| self.enums.contains(last));
        Some(if is_enum { "enum" } else { ty })
    }
}

/// The table that a statement makes, unless it goes with the session.
pub(super) fn created_table(statement: &SyntaxNode) -> Option<String> {
    let temporary = words(statement).into_iter().take(3).any(|word| word == "temp" || word == "temporary");
    if temporary {
        return None;
    }
    name(statement, SyntaxKind::TABLE_NAME)
}

pub(super) fn altered_table(statement: &SyntaxNode) -> Option<String> {
    name(&first(statement, SyntaxKind::TABLE_RELATION_NAME)?, SyntaxKind::TABLE_NAME_REF)
}

/// The columns that a statement makes, each with its node.
pub(super) fn made_columns(statement: &SyntaxNode) -> Vec<SyntaxNode> {
    let list = children(statement, SyntaxKind::TABLE_ARG_LIST).flat_map(|list| children(&list, SyntaxKind::COLUMN));
    list.chain(children(statement, SyntaxKind::ADD_COLUMN)).collect()
}

/// The words of the type that a column, or its change, names.
pub(super) fn type_of(node: &SyntaxNode) -> Option<String> {
    let ty = node.children().find(|child| ast::Type::can_cast(child.kind()))?;
    Some(words(&ty).join(" "))
}

fn column(node: &SyntaxNode) -> Option<(String, String)> {
    Some((name(node, SyntaxKind::COLUMN_NAME)?, type_of(node).unwrap_or_default()))
}

fn table(statement: &SyntaxNode) -> Table {
    let partition = first(statement, SyntaxKind::PARTITION_OF);
    let said = statement.kind() == SyntaxKind::CREATE_TABLE
        && !has(statement, SyntaxKind::LIKE_CLAUSE)
        && !has(statement, SyntaxKind::INHERITS);
    Table {
        columns: said.then(|| made_columns(statement).iter().filter_map(column).collect()),
        partition_of: partition.and_then(|partition| name(&partition, SyntaxKind::TABLE_NAME_REF)),
        forced: false,
    }
}
