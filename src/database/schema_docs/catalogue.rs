//! The catalogue as plain structs.
//!
//! Always holds: tables come in the order of their domains, columns in theirs, everything else by its name. Left
//! out are partitions, the engine's own tables (a leading `__`) and what extensions brought.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text};

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// By domain.
    pub tables: Vec<Table>,
    /// By name and arguments.
    pub functions: Vec<Function>,
}

/// A table with all that hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub comment: String,
    /// How rows are protected: `forced`, `enabled` or `off`.
    pub row_security: String,
    /// For example `RANGE (created_at), one a month`.
    pub partitioned_by: Option<String>,
    /// In their order.
    pub columns: Vec<Column>,
    /// Keys first, then what is checked.
    pub constraints: Vec<Constraint>,
    /// Those of keys too.
    pub indexes: Vec<Index>,
    /// Of row-level security.
    pub policies: Vec<Policy>,
    /// The owner's first.
    pub grants: Vec<Grant>,
    /// Without those of foreign keys.
    pub triggers: Vec<Trigger>,
}

impl Table {
    /// Whether a column is part of the primary key.
    #[must_use]
    pub fn is_primary(&self, column: &str) -> bool {
        self.constraints.iter().any(|c| c.kind == ConstraintKind::Primary && c.has(column))
    }

    /// Whether a column is part of a foreign key.
    #[must_use]
    pub fn is_foreign(&self, column: &str) -> bool {
        self.foreign_keys().any(|c| c.has(column))
    }

    /// The constraints that are foreign keys.
    pub fn foreign_keys(&self) -> impl Iterator<Item = &Constraint> {
        self.constraints.iter().filter(|c| c.kind == ConstraintKind::Foreign)
    }

    /// Whether these columns are a whole key, so that at most one row has their values.
    #[must_use]
    pub fn is_key(&self, columns: &[String]) -> bool {
        let is_key = |c: &&Constraint| matches!(c.kind, ConstraintKind::Primary | ConstraintKind::Unique);
        let mut keys = self.constraints.iter().filter(is_key);
        keys.any(|key| key.columns.iter().all(|column| columns.contains(column)))
    }

    /// A column by its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Column {
    #[diesel(sql_type = Text)]
    pub(super) of: String,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// As a migration writes it: `varchar(255)`, `timestamptz`.
    #[diesel(sql_type = Text)]
    pub data_type: String,
    /// Whether it may be NULL.
    #[diesel(sql_type = Bool)]
    pub nullable: bool,
    /// The default, or how it is generated.
    #[diesel(sql_type = Nullable<Text>)]
    pub default: Option<String>,
    /// What it means.
    #[diesel(sql_type = Text)]
    pub comment: String,
}

/// What a constraint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    /// The primary key.
    Primary,
    /// A unique key.
    Unique,
    /// A foreign key.
    Foreign,
    /// CHECK, or an exclusion.
    Check,
}

/// A constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ConstraintKind,
    /// In SQL.
    pub definition: String,
    /// The columns it is about, in its order.
    pub columns: Vec<String>,
    /// Of a foreign key: the table it refers to.
    pub target: Option<String>,
    /// Of a foreign key: the columns there.
    pub target_columns: Vec<String>,
}

impl Constraint {
    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Index {
    #[diesel(sql_type = Text)]
    pub(super) of: String,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// `primary key`, `unique` or nothing.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Method, columns and predicate.
    #[diesel(sql_type = Text)]
    pub on: String,
    /// Which query it serves.
    #[diesel(sql_type = Text)]
    pub comment: String,
}

/// A policy of row-level security.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Policy {
    #[diesel(sql_type = Text)]
    pub(super) of: String,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Whom it lets: role names.
    #[diesel(sql_type = Text)]
    pub roles: String,
    /// For which command, and `restrictive` where it takes instead of giving.
    #[diesel(sql_type = Text)]
    pub command: String,
    /// Which rows are seen.
    #[diesel(sql_type = Nullable<Text>)]
    pub using: Option<String>,
    /// Which rows may be written.
    #[diesel(sql_type = Nullable<Text>)]
    pub check: Option<String>,
    /// Why.
    #[diesel(sql_type = Text)]
    pub comment: String,
}

/// What a role may do with a table.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Grant {
    #[diesel(sql_type = Text)]
    pub(super) of: String,
    /// The role.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// `SELECT, UPDATE (id)`; ALL for everything that PostgreSQL 15 knows.
    #[diesel(sql_type = Text)]
    pub privileges: String,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Trigger {
    #[diesel(sql_type = Text)]
    pub(super) of: String,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// `BEFORE UPDATE`.
    #[diesel(sql_type = Text)]
    pub when: String,
    /// The function that it calls.
    #[diesel(sql_type = Text)]
    pub function: String,
    /// What that function is for.
    #[diesel(sql_type = Text)]
    pub comment: String,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Function {
    /// Name and arguments.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// What it returns.
    #[diesel(sql_type = Text)]
    pub returns: String,
    /// With whose rights it works: a role's, or nothing for the caller's.
    #[diesel(sql_type = Text)]
    pub runs_as: String,
    /// Who may call it, besides its owner.
    #[diesel(sql_type = Text)]
    pub callers: String,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub comment: String,
}
