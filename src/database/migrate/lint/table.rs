//! One table as the folder has made it: columns, keys, triggers, policies, grants.

use std::collections::{BTreeMap, BTreeSet};

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::file::{children, first, has, name, words};

#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// `None` where a query or another table says them.
    pub(super) columns: Option<BTreeMap<String, Column>>,
    pub(super) partition_of: Option<String>,
    pub(super) enabled: bool,
    pub(super) forced: bool,
    /// By name: keys and indexes.
    pub(super) indexes: BTreeMap<String, Index>,
    pub(super) foreign_keys: BTreeMap<String, ForeignKey>,
    /// Their words, by name.
    pub(super) checks: BTreeMap<String, Check>,
    pub(super) triggers: BTreeMap<String, Trigger>,
    pub(super) policies: BTreeMap<String, Policy>,
    /// By role, then by privilege: whether it is for the whole table.
    pub(super) grants: BTreeMap<String, BTreeMap<String, bool>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    /// Words of its type.
    pub(super) ty: String,
    pub(super) not_null: bool,
    /// Words of its default.
    pub(super) default: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Empty where the folder does not show them: a key that takes over an index of another name.
    pub(super) columns: Vec<String>,
    pub(super) partial: bool,
    /// Whether a constraint made it, so that its name and comment are the constraint's.
    pub(super) of_constraint: bool,
}

#[derive(Debug, Clone)]
pub(super) struct ForeignKey {
    pub(super) columns: Vec<String>,
    pub(super) parent: String,
}

#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) words: Vec<String>,
    /// Whether every row is known to keep it.
    pub(super) valid: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Trigger {
    pub(super) events: BTreeSet<&'static str>,
    pub(super) timing: Timing,
    pub(super) each_row: bool,
    /// `WHEN`, or `UPDATE OF`.
    pub(super) conditional: bool,
    pub(super) function: String,
    /// Without their quotes.
    pub(super) arguments: Vec<String>,
    pub(super) enabled: bool,
}

/// When a trigger fires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Timing {
    /// Or instead of the change.
    #[default]
    Before,
    After,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Policy {
    pub(super) roles: Vec<String>,
    /// `all` where it says none.
    pub(super) command: String,
    pub(super) using: Option<Vec<String>>,
    pub(super) check: Option<Vec<String>>,
}

/// What a table can be given, as the server lists it for ALL.
pub(super) const PRIVILEGES: [&str; 8] =
    ["select", "insert", "update", "delete", "truncate", "references", "trigger", "maintain"];

impl Table {
    /// As a CREATE TABLE says.
    pub(super) fn of(statement: &SyntaxNode, table: &str) -> Self {
        let partition = first(statement, SyntaxKind::PARTITION_OF);
        let said = statement.kind() == SyntaxKind::CREATE_TABLE
            && !has(statement, SyntaxKind::LIKE_CLAUSE)
            && !has(statement, SyntaxKind::INHERITS);
        let mut made = Self {
            columns: said.then(BTreeMap::new),
            partition_of: partition.and_then(|partition| name(&partition, SyntaxKind::TABLE_NAME_REF)),
            ..Self::default()
        };
        for list in children(statement, SyntaxKind::TABLE_ARG_LIST) {
            for part in list.children() {
                match part.kind() {
                    SyntaxKind::COLUMN => made.add_column(table, &part),
                    _ => made.add_constraint(table, &part),
                }
            }
        }
        made
    }

    /// What one action of ALTER TABLE makes of it.
    pub(super) fn alter(&mut self, table: &str, action: &SyntaxNode) {
        let constraint = || name(action, SyntaxKind::CONSTRAINT_NAME_REF).unwrap_or_default();
        let column = || name(action, SyntaxKind::COLUMN_NAME_REF).unwrap_or_default();
        match action.kind() {
            SyntaxKind::ENABLE_RLS => self.enabled = true,
            SyntaxKind::DISABLE_RLS => self.enabled = false,
            SyntaxKind::FORCE_RLS => self.forced = true,
            SyntaxKind::NO_FORCE_RLS => self.forced = false,
            SyntaxKind::ADD_COLUMN => self.add_column(table, action),
            SyntaxKind::DROP_COLUMN => self.drop_column(&column()),
            SyntaxKind::RENAME_COLUMN => {
                let new = name(action, SyntaxKind::COLUMN_NAME).unwrap_or_default();
                self.rename_column(&column(), &new);
            }
            SyntaxKind::ADD_CONSTRAINT => action.children().for_each(|part| self.add_constraint(table, &part)),
            SyntaxKind::DROP_CONSTRAINT => self.drop_constraint(&constraint()),
            SyntaxKind::VALIDATE_CONSTRAINT => {
                if let Some(check) = self.checks.get_mut(&constraint()) {
                    check.valid = true;
                }
            }
            SyntaxKind::ALTER_COLUMN => self.alter_column(&column(), action),
            SyntaxKind::DISABLE_TRIGGER => self.enable_trigger(action, false),
            SyntaxKind::ENABLE_TRIGGER | SyntaxKind::ENABLE_ALWAYS_TRIGGER => self.enable_trigger(action, true),
            _ => {}
        }
    }

    fn enable_trigger(&mut self, action: &SyntaxNode, enabled: bool) {
        let named = words(action).pop().unwrap_or_default();
        let all = ["all", "user"].contains(&named.as_str());
        for (_, trigger) in self.triggers.iter_mut().filter(|(name, _)| all || **name == named) {
            trigger.enabled = enabled;
        }
    }

    fn add_column(&mut self, table: &str, node: &SyntaxNode) {
        let Some(column) = name(node, SyntaxKind::COLUMN_NAME) else { return };
        let clauses: Vec<_> = node.children().collect();
        let primary = clauses.iter().any(|clause| clause.kind() == SyntaxKind::PRIMARY_KEY_CONSTRAINT);
        let not_null = clauses.iter().any(|clause| clause.kind() == SyntaxKind::NOT_NULL_CONSTRAINT);
        let default = clauses.iter().find(|clause| clause.kind() == SyntaxKind::DEFAULT_CONSTRAINT);
        let default = default.map(|clause| words(clause).into_iter().skip_while(|word| word != "default"));
        let described = Column {
            ty: type_of(node).unwrap_or_default(),
            not_null: not_null || primary,
            default: default.map(|words| words.skip(1).collect::<Vec<_>>().join(" ")),
        };
        if let Some(columns) = &mut self.columns {
            columns.insert(column.clone(), described);
        }
        for clause in clauses {
            self.add(table, &clause, vec![column.clone()]);
        }
    }

    fn add_constraint(&mut self, table: &str, node: &SyntaxNode) {
        let list = match node.kind() {
            SyntaxKind::FOREIGN_KEY_CONSTRAINT => children(node, SyntaxKind::FOREIGN_KEY_COLUMN_LIST).next(),
            _ => first(node, SyntaxKind::CONSTRAINT_COLUMN_REF_LIST),
        };
        let columns = list.iter().flat_map(|list| {
            list.descendants().filter(|node| node.kind() == SyntaxKind::COLUMN_NAME_REF).collect::<Vec<_>>()
        });
        let columns = columns.filter_map(|node| words(&node).pop()).collect();
        self.add(table, node, columns);
    }

    fn add(&mut self, table: &str, node: &SyntaxNode, columns: Vec<String>) {
        let named = name(node, SyntaxKind::CONSTRAINT_NAME);
        let or = |end: &str| named.clone().unwrap_or_else(|| format!("{table}_{end}"));
        let joined = columns.join("_");
        match node.kind() {
            SyntaxKind::PRIMARY_KEY_CONSTRAINT => {
                for (_, column) in self.columns.iter_mut().flatten().filter(|(name, _)| columns.contains(name)) {
                    column.not_null = true;
                }
                self.add_key(or("pkey"), node, columns);
            }
            SyntaxKind::UNIQUE_CONSTRAINT => self.add_key(or(&format!("{joined}_key")), node, columns),
            SyntaxKind::EXCLUDE_CONSTRAINT => {
                self.indexes.insert(or("excl"), Index { of_constraint: true, ..Index::default() });
            }
            SyntaxKind::FOREIGN_KEY_CONSTRAINT | SyntaxKind::REFERENCES_CONSTRAINT => {
                let parent = name(node, SyntaxKind::TABLE_NAME_REF).unwrap_or_default();
                self.foreign_keys.insert(or(&format!("{joined}_fkey")), ForeignKey { columns, parent });
            }
            SyntaxKind::CHECK_CONSTRAINT => {
                let words = words(node);
                let of_one = if joined.is_empty() { "check".to_owned() } else { format!("{joined}_check") };
                self.checks.insert(or(&of_one), Check { words, valid: !has(node, SyntaxKind::NOT_VALID) });
            }
            SyntaxKind::NOT_NULL_CONSTRAINT => {
                let column = name(node, SyntaxKind::COLUMN_NAME_REF).unwrap_or_default();
                if let Some(column) = self.columns.as_mut().and_then(|columns| columns.get_mut(&column)) {
                    column.not_null = true;
                }
            }
            _ => {}
        }
    }

    /// One of its own, or an index that was there.
    fn add_key(&mut self, named: String, node: &SyntaxNode, columns: Vec<String>) {
        let taken = name(node, SyntaxKind::USING_INDEX_NAME).and_then(|index| self.indexes.remove(&index));
        let key = taken.unwrap_or(Index { columns, ..Index::default() });
        self.indexes.insert(named, Index { of_constraint: true, ..key });
    }

    fn alter_column(&mut self, column: &str, action: &SyntaxNode) {
        let Some(column) = self.columns.as_mut().and_then(|columns| columns.get_mut(column)) else { return };
        for option in action.children() {
            match option.kind() {
                SyntaxKind::SET_TYPE => column.ty = type_of(&option).unwrap_or_default(),
                SyntaxKind::SET_NOT_NULL => column.not_null = true,
                SyntaxKind::DROP_NOT_NULL => column.not_null = false,
                SyntaxKind::SET_DEFAULT => column.default = Some(words(&option)[2..].join(" ")),
                SyntaxKind::DROP_DEFAULT => column.default = None,
                _ => {}
            }
        }
    }

    fn drop_column(&mut self, dropped: &str) {
        if let Some(columns) = &mut self.columns {
            columns.remove(dropped);
        }
        let has = |columns: &[String]| columns.iter().any(|column| column == dropped);
        self.indexes.retain(|_, index| !has(&index.columns));
        self.foreign_keys.retain(|_, key| !has(&key.columns));
        self.checks.retain(|_, check| !has(&check.words));
    }

    fn rename_column(&mut self, old: &str, new: &str) {
        if let Some(columns) = &mut self.columns
            && let Some(column) = columns.remove(old)
        {
            columns.insert(new.to_owned(), column);
        }
        let lists = self.indexes.values_mut().map(|index| &mut index.columns);
        let lists = lists.chain(self.foreign_keys.values_mut().map(|key| &mut key.columns));
        let lists = lists.chain(self.checks.values_mut().map(|check| &mut check.words));
        lists.flatten().filter(|name| *name == old).for_each(|name| new.clone_into(name));
    }

    fn drop_constraint(&mut self, dropped: &str) {
        self.indexes.remove(dropped);
        self.foreign_keys.remove(dropped);
        self.checks.remove(dropped);
    }

    /// Whether a role may do something with the table, or with some of its columns.
    pub(super) fn may(&self, role: &str, privilege: &str) -> bool {
        self.grants.get(role).is_some_and(|granted| granted.contains_key(privilege))
    }

    /// The enabled triggers that run a function.
    pub(super) fn running(&self, function: &str) -> impl Iterator<Item = &Trigger> {
        self.triggers.values().filter(move |trigger| trigger.enabled && trigger.function == function)
    }

    pub(super) fn column(&self, column: &str) -> Option<&Column> {
        self.columns.as_ref()?.get(column)
    }
}

impl Trigger {
    /// Its name, its table, and what it is.
    pub(super) fn of(statement: &SyntaxNode) -> Option<(String, String, Self)> {
        let named = name(statement, SyntaxKind::TRIGGER)?;
        let table = words(&first(statement, SyntaxKind::ON_RELATION)?).pop()?;
        let all = words(statement);
        let on = all.iter().rposition(|word| word == "execute")?;
        let head: Vec<_> = all.iter().take_while(|word| *word != "on").map(String::as_str).collect();
        let events = ["insert", "update", "delete", "truncate"].into_iter().filter(|event| head.contains(event));
        // Half a statement may end here.
        let call: Vec<_> = all.get(on + 2..)?.iter().map(String::as_str).collect();
        let open = call.iter().position(|word| *word == "(")?;
        let arguments = call[open + 1..].iter().filter(|word| !matches!(**word, "," | ")" | ";"));
        let trigger = Self {
            events: events.collect(),
            timing: if head.contains(&"after") { Timing::After } else { Timing::Before },
            each_row: has(statement, SyntaxKind::FOR_EACH_ROW),
            conditional: has(statement, SyntaxKind::WHEN_CONDITION) || head.contains(&"of"),
            function: (*call.get(open.checked_sub(1)?)?).to_owned(),
            arguments: arguments.map(|word| word.trim_matches('\'').to_owned()).collect(),
            enabled: true,
        };
        Some((named, table, trigger))
    }
}

impl Policy {
    /// What CREATE POLICY or ALTER POLICY says of it.
    pub(super) fn say(&mut self, statement: &SyntaxNode) {
        let clause = |kind| first(statement, kind).map(|node| words(&node));
        if let Some(roles) = clause(SyntaxKind::POLICY_ROLES) {
            self.roles = roles.into_iter().skip(1).filter(|word| word != ",").collect();
        }
        if let Some(using) = clause(SyntaxKind::USING_EXPR_CLAUSE) {
            self.using = Some(using);
        }
        if let Some(check) = clause(SyntaxKind::WITH_CHECK_EXPR_CLAUSE) {
            self.check = Some(check);
        }
        if statement.kind() == SyntaxKind::CREATE_POLICY {
            let all = words(statement);
            let command = all.iter().position(|word| word == "for").and_then(|at| all.get(at + 1));
            command.map_or("all", String::as_str).clone_into(&mut self.command);
            if self.roles.is_empty() {
                self.roles.push("public".to_owned());
            }
        }
    }

    pub(super) fn is_for(&self, role: &str) -> bool {
        self.roles.iter().any(|word| word == role)
    }

    /// Whether both of its conditions say a word.
    pub(super) fn says(&self, word: &str) -> bool {
        let says =
            |clause: &Option<Vec<String>>| clause.as_ref().is_some_and(|words| words.iter().any(|found| found == word));
        says(&self.using) && says(&self.check)
    }
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
