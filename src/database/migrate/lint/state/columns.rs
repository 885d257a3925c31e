//! Columns, keys and comments.

use super::super::Scope;
use super::super::schema::Schema;
use super::super::table::Table;
use super::{Broken, StateRule, broken};

pub(super) const RULES: &[StateRule] = &[
    StateRule {
        name: "tenant-id-nullable",
        why: "a row without a tenant belongs to nobody, and no policy shows it: tenant_id uuid NOT NULL",
        scope: Scope::Tenants,
        find: tenant_id_nullable,
    },
    StateRule {
        name: "tenant-foreign-key-missing",
        why: "rows of a tenant that never existed, or is deleted, stay for ever: FOREIGN KEY (tenant_id) REFERENCES tenants \
              (id) ON DELETE CASCADE, or (tenant_id, …) to a table that has it",
        scope: Scope::Tenants,
        find: tenant_foreign_key_missing,
    },
    StateRule {
        name: "status-without-check",
        why: "a word that no program knows can be stored: status text NOT NULL CHECK (status IN ('…'))",
        scope: Scope::Design,
        find: status_without_check,
    },
    StateRule {
        name: "time-without-default",
        why: "an insert that leaves it out fails or writes NULL: timestamptz NOT NULL DEFAULT now()",
        scope: Scope::Design,
        find: time_without_default,
    },
    StateRule {
        name: "foreign-key-without-index",
        why: "to delete or change a parent reads the whole child table, and locks wait meanwhile",
        scope: Scope::Design,
        find: foreign_key_without_index,
    },
    StateRule {
        name: "comment-missing",
        why: "the schema's pages are made of comments: COMMENT ON INDEX says which query it serves, COMMENT ON POLICY who \
              sees what",
        scope: Scope::Design,
        find: comment_missing,
    },
];

/// A partition has what its table has.
fn own(schema: &Schema) -> impl Iterator<Item = (&String, &Table)> {
    schema.tables().filter(|(_, table)| table.partition_of.is_none())
}

fn tenant_id_nullable(schema: &Schema) -> Vec<Broken> {
    let wrong = own(schema).filter(|(_, table)| {
        table.column("tenant_id").is_some_and(|column| column.ty.to_lowercase() != "uuid" || !column.not_null)
    });
    wrong.map(|(name, _)| broken(name, format!("tenant_id of {name} is not uuid NOT NULL"))).collect()
}

fn tenant_foreign_key_missing(schema: &Schema) -> Vec<Broken> {
    // A database beside has no table of tenants.
    if !schema.has_table("tenants") {
        return Vec::new();
    }
    let without = schema.tenant_tables().filter(|(name, table)| *name != "tenants" && !leads(schema, name, table));
    without.map(|(name, _)| broken(name, format!("tenant_id of {name} refers to no tenant"))).collect()
}

/// Whether a foreign key ends at the tenants, by way of other tables where it has to.
fn leads(schema: &Schema, name: &str, table: &Table) -> bool {
    let mut keys =
        table.foreign_keys.values().filter(|key| key.columns.first().is_some_and(|first| first == "tenant_id"));
    keys.any(|key| {
        key.parent == "tenants"
            || key.parent != name
                && schema.table(&key.parent).is_some_and(|parent| {
                    parent.foreign_keys.values().any(|key| key.parent == "tenants" && key.columns == ["tenant_id"])
                })
    })
}

fn status_without_check(schema: &Schema) -> Vec<Broken> {
    let mut found = Vec::new();
    for (name, table) in own(schema) {
        let Some(status) = table.column("status") else { continue };
        let listed = table.checks.values().any(|check| {
            let mut words =
                check.words.iter().map(String::as_str).skip_while(|word| *word != "check").filter(|w| *w != "(");
            words.nth(1) == Some("status") && check.words.iter().any(|word| word == "in" || word == "any")
        });
        if schema.type_of(name, "status") != Some("text") || !status.not_null {
            found.push(broken(name, format!("status of {name} is not text NOT NULL")));
        } else if !listed {
            found.push(broken(name, format!("status of {name} has no CHECK that lists its words")));
        }
    }
    found
}

fn time_without_default(schema: &Schema) -> Vec<Broken> {
    let mut found = Vec::new();
    for (name, table) in own(schema) {
        for column in ["created_at", "updated_at"] {
            let Some(described) = table.column(column) else { continue };
            let default = described.default.as_deref().unwrap_or_default().replace(' ', "");
            let now = ["now()", "clock_timestamp()", "current_timestamp"].contains(&default.as_str());
            if !described.not_null || !now {
                found.push(broken(name, format!("{column} of {name} is not NOT NULL DEFAULT now()")));
            }
        }
    }
    found
}

fn foreign_key_without_index(schema: &Schema) -> Vec<Broken> {
    let mut found = Vec::new();
    for (name, table) in own(schema) {
        let indexed = |columns: &[String]| {
            table.indexes.values().any(|index| !index.partial && index.columns.starts_with(columns))
        };
        for (key, _) in table.foreign_keys.iter().filter(|(_, key)| !indexed(&key.columns)) {
            found.push(broken(name, format!("no index of {name} begins with the columns of {key}")));
        }
    }
    found
}

fn comment_missing(schema: &Schema) -> Vec<Broken> {
    let mut found = Vec::new();
    for (name, table) in own(schema) {
        let indexes = table.indexes.iter().filter(|(_, index)| !index.of_constraint);
        for (index, _) in indexes.filter(|(index, _)| !schema.has_comment(&format!("index {index}"))) {
            found.push(broken(name, format!("index {index} has no comment")));
        }
        for policy in table.policies.keys().filter(|policy| !schema.has_comment(&format!("policy {policy} on {name}")))
        {
            found.push(broken(name, format!("policy {policy} of {name} has no comment")));
        }
    }
    found
}
