//! What the migrations have made so far, as far as rules ask: tables, views, functions, enums, comments.
//!
//! Always holds: it knows what the folder's statements say. What a function or an EXECUTE makes is unknown.

use std::collections::{BTreeMap, BTreeSet};

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::file::{called, children, first, has, name, words};
use super::grants;
use super::table::{Index, Table, Trigger};
pub(super) use super::table::{made_columns, type_of};

/// Of the folder's tables alone: one that something else made is unknown.
#[derive(Debug, Clone, Default)]
pub(super) struct Schema {
    tables: BTreeMap<String, Table>,
    enums: BTreeSet<String>,
    /// Those without a constraint, with the words of their types.
    domains: BTreeMap<String, String>,
    functions: BTreeMap<String, Function>,
    /// Whether each shows rows as its caller sees them.
    views: BTreeMap<String, bool>,
    /// Of policies (`policy x on t`) and indexes (`index x`).
    comments: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Function {
    pub(super) definer: bool,
    /// Whether it was given to a role of its own.
    pub(super) given: bool,
}

impl Schema {
    /// What a statement makes of it.
    pub(super) fn apply(&mut self, statement: &SyntaxNode) {
        match statement.kind() {
            SyntaxKind::CREATE_TABLE | SyntaxKind::CREATE_TABLE_AS | SyntaxKind::SELECT_INTO => {
                if let Some(made) = created_table(statement) {
                    let table = Table::of(statement, &made);
                    self.tables.insert(made, table);
                }
            }
            SyntaxKind::DROP_TABLE => {
                for dropped in children(statement, SyntaxKind::TABLE_NAME_REF) {
                    self.tables.remove(&words(&dropped).pop().unwrap_or_default());
                }
            }
            SyntaxKind::ALTER_TABLE => self.alter(statement),
            SyntaxKind::CREATE_INDEX => self.index(statement),
            SyntaxKind::DROP_INDEX => {
                let dropped: BTreeSet<_> = words(statement).into_iter().collect();
                self.tables.values_mut().for_each(|table| table.indexes.retain(|name, _| !dropped.contains(name)));
            }
            SyntaxKind::CREATE_TRIGGER => {
                if let Some((named, table, trigger)) = Trigger::of(statement) {
                    self.with(&table, |table| table.triggers.insert(named, trigger));
                }
            }
            SyntaxKind::DROP_TRIGGER => {
                let dropped = name(statement, SyntaxKind::TRIGGER_REF).unwrap_or_default();
                self.with(&on_table(statement), |table| table.triggers.remove(&dropped));
            }
            SyntaxKind::CREATE_POLICY | SyntaxKind::ALTER_POLICY => {
                let kind = [SyntaxKind::POLICY, SyntaxKind::POLICY_REF];
                let policy = kind.into_iter().find_map(|kind| name(statement, kind)).unwrap_or_default();
                self.with(&on_table(statement), |table| table.policies.entry(policy).or_default().say(statement));
            }
            SyntaxKind::DROP_POLICY => {
                let dropped = name(statement, SyntaxKind::POLICY_REF).unwrap_or_default();
                self.with(&on_table(statement), |table: &mut Table| table.policies.remove(&dropped));
            }
            SyntaxKind::GRANT | SyntaxKind::REVOKE => grants::apply(&words(statement), &mut self.tables),
            SyntaxKind::CREATE_TYPE if has(statement, SyntaxKind::ENUM_TYPE) => {
                self.enums.extend(name(statement, SyntaxKind::TYPE_NAME));
            }
            SyntaxKind::CREATE_DOMAIN => self.domain(statement),
            SyntaxKind::CREATE_FUNCTION | SyntaxKind::CREATE_PROCEDURE => self.function(statement),
            SyntaxKind::ALTER_FUNCTION => {
                let function = altered_function(statement).and_then(|name| self.functions.get_mut(&name));
                if let Some(function) = function
                    && has(statement, SyntaxKind::OWNER_TO)
                {
                    function.given = true;
                }
            }
            SyntaxKind::SELECT | SyntaxKind::DO => self.give(statement),
            SyntaxKind::CREATE_VIEW => {
                if let Some(view) = name(statement, SyntaxKind::VIEW) {
                    self.views
                        .insert(view, first(statement, SyntaxKind::WITH_PARAMS).is_some_and(|with| invoker(&with)));
                }
            }
            SyntaxKind::ALTER_VIEW => {
                let view = name(statement, SyntaxKind::VIEW_REF).and_then(|view| self.views.get_mut(&view));
                if let (Some(view), Some(set)) = (view, first(statement, SyntaxKind::SET_OPTIONS)) {
                    *view = *view || invoker(&set);
                }
            }
            SyntaxKind::DROP_VIEW => {
                for dropped in words(statement) {
                    self.views.remove(&dropped);
                }
            }
            SyntaxKind::COMMENT_ON => self.comment(statement),
            _ => {}
        }
    }

    fn with<T>(&mut self, table: &str, change: impl FnOnce(&mut Table) -> T) {
        if let Some(table) = self.tables.get_mut(table) {
            change(table);
        }
    }

    fn alter(&mut self, statement: &SyntaxNode) {
        let Some(mut altered) = altered_table(statement) else { return };
        for action in statement.children() {
            match action.kind() {
                SyntaxKind::TABLE_RENAME_TO => {
                    let (old, new) = (self.tables.remove(&altered), name(&action, SyntaxKind::TABLE_NAME));
                    if let (Some(old), Some(new)) = (old, new) {
                        self.tables.insert(new.clone(), old);
                        altered = new;
                    }
                }
                SyntaxKind::ATTACH_PARTITION => {
                    let partition = name(&action, SyntaxKind::TABLE_NAME_REF).unwrap_or_default();
                    self.with(&partition, |table| table.partition_of = Some(altered.clone()));
                }
                SyntaxKind::DETACH_PARTITION => {
                    let partition = name(&action, SyntaxKind::TABLE_NAME_REF).unwrap_or_default();
                    self.with(&partition, |table| table.partition_of = None);
                }
                _ => {
                    let name = altered.clone();
                    self.with(&altered, |table| table.alter(&name, &action));
                }
            }
        }
    }

    fn index(&mut self, statement: &SyntaxNode) {
        let Some(table) = altered_table(statement) else { return };
        let items = statement.descendants().filter(|node| node.kind() == SyntaxKind::PARTITION_ITEM);
        let columns: Vec<_> = items.filter_map(|item| words(&item).into_iter().next()).collect();
        let named = name(statement, SyntaxKind::INDEX);
        let named = named.unwrap_or_else(|| format!("{table}_{}_idx", columns.join("_")));
        let partial = children(statement, SyntaxKind::WHERE_CLAUSE).next().is_some();
        let index = Index { columns, partial, of_constraint: false };
        self.with(&table, |table| table.indexes.insert(named, index));
    }

    fn domain(&mut self, statement: &SyntaxNode) {
        let constraints = [SyntaxKind::CHECK_CONSTRAINT, SyntaxKind::NOT_NULL_CONSTRAINT];
        if let (Some(domain), Some(ty)) = (name(statement, SyntaxKind::DOMAIN), type_of(statement))
            && !constraints.iter().any(|kind| has(statement, *kind))
        {
            self.domains.insert(domain, ty);
        }
    }

    fn function(&mut self, statement: &SyntaxNode) {
        let kinds = [SyntaxKind::FUNCTION_NAME, SyntaxKind::PROCEDURE_NAME];
        let Some(named) = kinds.into_iter().find_map(|kind| name(statement, kind)) else { return };
        let function = self.functions.entry(named).or_default();
        function.definer = has(statement, SyntaxKind::SECURITY_DEFINER_FUNC_OPTION);
    }

    /// `SELECT give_to_definer('f(uuid)')`, or a block that hands functions over.
    fn give(&mut self, statement: &SyntaxNode) {
        let all = words(statement);
        let calls = all.iter().any(|word| word == "give_to_definer");
        let text = all.join(" ");
        let hands_over = calls || statement.kind() == SyntaxKind::DO && text.contains("OWNER TO");
        if !hands_over {
            return;
        }
        for (_, function) in self.functions.iter_mut().filter(|(name, _)| text.contains(&format!("{name}("))) {
            function.given = true;
        }
    }

    fn comment(&mut self, statement: &SyntaxNode) {
        let all = words(statement);
        let empty = all.iter().rev().find(|word| *word != ";").is_some_and(|text| text == "null" || text == "''");
        let is = all.iter().rposition(|word| word == "is").unwrap_or_default();
        let Some(object) = all.get(2).zip(all.get(3..is)) else { return };
        let path = |words: &[String]| words.last().cloned().unwrap_or_default();
        let key = match (object.0.as_str(), object.1.iter().position(|word| word == "on")) {
            ("index", _) => format!("index {}", path(object.1)),
            ("policy", Some(on)) => format!("policy {} on {}", path(&object.1[..on]), path(&object.1[on..])),
            _ => return,
        };
        if empty {
            self.comments.remove(&key);
        } else {
            self.comments.insert(key);
        }
    }

    pub(super) fn has_comment(&self, object: &str) -> bool {
        self.comments.contains(object)
    }

    pub(super) fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    pub(super) fn has_function(&self, function: &str) -> bool {
        self.functions.contains_key(function)
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = (&String, &Table)> {
        self.tables.iter()
    }

    /// Those that a tenant has rows in, the tenants themselves included. A partition is read through its table.
    pub(super) fn tenant_tables(&self) -> impl Iterator<Item = (&String, &Table)> {
        self.tables.iter().filter(|(name, table)| self.is_walled(name) && table.partition_of.is_none())
    }

    pub(super) fn domains(&self) -> &BTreeMap<String, String> {
        &self.domains
    }

    pub(super) fn views(&self) -> &BTreeMap<String, bool> {
        &self.views
    }

    pub(super) fn functions(&self) -> &BTreeMap<String, Function> {
        &self.functions
    }

    pub(super) fn table(&self, table: &str) -> Option<&Table> {
        self.tables.get(table)
    }

    pub(super) fn is_partition(&self, table: &str) -> bool {
        self.tables.get(table).is_some_and(|table| table.partition_of.is_some())
    }

    /// The table that a partition is read through.
    pub(super) fn root<'t>(&'t self, table: &'t str) -> &'t str {
        let parent = self.tables.get(table).and_then(|found| found.partition_of.as_deref());
        parent.filter(|parent| *parent != table).map_or(table, |parent| self.root(parent))
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
        let ty = self.tables.get(table)?.column(column)?.ty.as_str();
        let is_enum = ty.rsplit(' ').next().is_some_and(|last| self.enums.contains(last));
        Some(if is_enum { "enum" } else { ty })
    }
}

fn invoker(options: &SyntaxNode) -> bool {
    let all = words(options).join(" ");
    ["true", "on", "1"].iter().any(|yes| all.contains(&format!("security_invoker = {yes}")))
        || all.replace("security_invoker =", "").contains("security_invoker")
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

pub(super) fn altered_function(statement: &SyntaxNode) -> Option<String> {
    let all = words(statement);
    let named = all.iter().skip(2).take_while(|word| *word != "(").last();
    named.cloned()
}

/// The table of CREATE, ALTER or DROP POLICY and of DROP TRIGGER.
pub(super) fn on_table(statement: &SyntaxNode) -> String {
    let on = [SyntaxKind::ON_TABLE, SyntaxKind::ON_RELATION].into_iter().find_map(|kind| first(statement, kind));
    on.and_then(|on| words(&on).pop()).unwrap_or_default()
}

/// The tables and functions that a statement makes or changes: what an exemption of its migration is about.
pub(super) fn touched(statement: &SyntaxNode) -> Vec<String> {
    let one = match statement.kind() {
        SyntaxKind::CREATE_TABLE | SyntaxKind::CREATE_TABLE_AS | SyntaxKind::SELECT_INTO => created_table(statement),
        SyntaxKind::ALTER_TABLE | SyntaxKind::CREATE_INDEX => altered_table(statement),
        SyntaxKind::CREATE_TRIGGER
        | SyntaxKind::DROP_TRIGGER
        | SyntaxKind::CREATE_POLICY
        | SyntaxKind::ALTER_POLICY
        | SyntaxKind::DROP_POLICY => Some(on_table(statement)),
        SyntaxKind::GRANT | SyntaxKind::REVOKE => return grants::tables(&words(statement)),
        SyntaxKind::CREATE_FUNCTION => name(statement, SyntaxKind::FUNCTION_NAME),
        SyntaxKind::CREATE_PROCEDURE => name(statement, SyntaxKind::PROCEDURE_NAME),
        SyntaxKind::ALTER_FUNCTION => altered_function(statement),
        SyntaxKind::CREATE_VIEW => name(statement, SyntaxKind::VIEW),
        SyntaxKind::ALTER_VIEW => name(statement, SyntaxKind::VIEW_REF),
        SyntaxKind::CREATE_TYPE => name(statement, SyntaxKind::TYPE_NAME),
        SyntaxKind::SELECT => children(statement, SyntaxKind::SELECT_CLAUSE)
            .flat_map(|clause| clause.descendants().collect::<Vec<_>>())
            .find(|node| node.kind() == SyntaxKind::CALL_EXPR && called(node) == "give_to_definer")
            .and_then(|call| words(&call).into_iter().find(|word| word.starts_with('\'')))
            .map(|word| word.trim_matches('\'').split('(').next().unwrap_or_default().to_owned()),
        _ => None,
    };
    one.into_iter().collect()
}
