//! The diagram as Mermaid, for places that draw it themselves.
//!
//! It knows no parameters of types and no group of tables: `numeric(20,4)` becomes `numeric`.

use super::catalogue::{Constraint, Schema, Table};

impl Schema {
    /// An `erDiagram` with every table and column. Left out is what [`Schema::svg`] leaves out.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut lines = vec!["erDiagram".to_owned()];
        for table in &self.tables {
            lines.extend(self.edges(table).map(|fk| relation(table, fk)));
        }
        for table in &self.tables {
            lines.push(format!("    {} {{", quoted(&table.name)));
            for column in &table.columns {
                let data_type = column.data_type.split('(').next().unwrap_or_default();
                let suffix = if column.data_type.ends_with("[]") && !data_type.ends_with("[]") { "[]" } else { "" };
                let keys = match (table.is_primary(&column.name), table.is_foreign(&column.name)) {
                    (true, true) => " PK, FK",
                    (true, false) => " PK",
                    (false, true) => " FK",
                    (false, false) => "",
                };
                lines.push(format!("        {}{suffix} {}{keys}", word(data_type), word(&column.name)));
            }
            lines.push("    }".into());
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// The foreign keys that a picture shows: one that is about the tenant alone is left out where the table has
    /// another, through which the tenant is found as well.
    pub(super) fn edges<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t Constraint> {
        let of_tenant = |fk: &Constraint| fk.columns == ["tenant_id"];
        let others = table.foreign_keys().any(|fk| !of_tenant(fk));
        let known: Vec<_> = self.tables.iter().map(|table| table.name.clone()).collect();
        table
            .foreign_keys()
            .filter(move |fk| !(others && of_tenant(fk)))
            .filter(move |fk| fk.target.as_ref().is_some_and(|target| known.contains(target)))
    }
}

/// Whether a row may refer to nothing.
pub(super) fn is_optional(table: &Table, fk: &Constraint) -> bool {
    fk.columns.iter().filter_map(|name| table.column(name)).any(|column| column.nullable)
}

fn relation(table: &Table, fk: &Constraint) -> String {
    let one = if is_optional(table, fk) { "|o" } else { "||" };
    let many = if table.is_key(&fk.columns) { "o|" } else { "o{" };
    let (target, column) = (fk.target.as_deref().unwrap_or_default(), fk.columns.last().map_or("", String::as_str));
    format!("    {} {one}--{many} {} : {}", quoted(target), quoted(&table.name), word(column))
}

/// A name is quoted where it is no word, and by no quote of its own.
fn quoted(name: &str) -> String {
    if word(name) == name { name.to_owned() } else { format!("\"{}\"", name.replace('"', "'")) }
}

/// Letters, digits, underscores and brackets: what an attribute can be made of.
fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "_[]".contains(c) { c } else { '_' }).collect()
}
