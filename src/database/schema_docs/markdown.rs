//! The page of a database, and the index of all, in the Markdown that GitHub shows.
//!
//! Always holds: whatever a comment, a default or a name has in it, it is shown as it is, and the table that it
//! stands in stays whole.

use super::catalogue::{Column, Schema, Table};
use super::domains::domain;

const GENERATED: &str = "<!-- Written by `bedplate schema docs` from the catalogue: changes here are lost. -->";

/// `schema.md`: each database with its overview and its tables.
pub(super) fn index(databases: &[(&str, &Schema)]) -> String {
    let mut page = vec![
        GENERATED.to_owned(),
        "# The databases".into(),
        "Pages and pictures come from the catalogue of a migrated database, their words from `COMMENT ON`: \
         `bedplate schema docs` writes them, `bedplate schema docs --check` says whether they are fresh."
            .into(),
    ];
    for (name, schema) in databases {
        page.push(format!("## {}", text(name)));
        let link = format!("schema/{name}");
        page.push(format!("[![The tables of {name} and their keys]({link}-overview.svg)]({link}.md)"));
        page.push(contents(schema, &format!("{link}.md")));
    }
    join(&page)
}

impl Schema {
    /// The page of this database, which is called `name`.
    #[must_use]
    pub fn markdown(&self, name: &str) -> String {
        let mut page = vec![
            GENERATED.to_owned(),
            format!("# Database {}", text(name)),
            format!("[![Every table and column of {name}]({name}.svg)]({name}.svg)"),
            "Opened by itself, the picture shows the comment of a table or column under the pointer. \
             [All databases](../schema.md)."
                .into(),
            contents(self, ""),
        ];
        let mut last = "";
        for table in &self.tables {
            let domain = domain(&table.name);
            if domain != last {
                // Not the bare name: it could be a table's, which then had another anchor.
                page.push(format!("## Domain: {domain}"));
                last = domain;
            }
            page.extend(section(table));
        }
        if !self.functions.is_empty() {
            page.push("## Functions".into());
            let rows = self.functions.iter().map(|f| {
                let runs_as = if f.runs_as.is_empty() { "the caller".into() } else { code(&f.runs_as) };
                [code(&f.name), code(&f.returns), runs_as, names(&f.callers), text(&f.comment)]
            });
            page.push(grid(["function", "returns", "runs as", "may be called by", "what for"], rows));
        }
        page.push("## As Mermaid".into());
        page.push(format!("```mermaid\n{}```", self.mermaid()));
        join(&page)
    }
}

fn contents(schema: &Schema, page: &str) -> String {
    let rows = schema.tables.iter().map(|table| {
        let link = format!("[{}]({page}#{})", text(&table.name), anchor(&table.name));
        [text(domain(&table.name)), link, text(&table.comment)]
    });
    grid(["domain", "table", "what it holds"], rows)
}

fn section(table: &Table) -> Vec<String> {
    let mut parts = vec![format!("### {}", text(&table.name)), text(&table.comment)];
    let mut facts = vec![match table.row_security.as_str() {
        "forced" => "Row-level security is forced, on the owner too.".to_owned(),
        "enabled" => "Row-level security is enabled; the owner is not bound by it.".into(),
        _ => "No row-level security: grants alone protect it.".into(),
    }];
    facts.extend(table.partitioned_by.iter().map(|by| format!("Partitioned by {}.", text(by))));
    parts.push(facts.join(" "));
    let columns = table.columns.iter().map(|column| {
        let null = if column.nullable { "yes" } else { "" };
        let default = column.default.as_deref().map(code).unwrap_or_default();
        [text(&column.name), code(&column.data_type), key(table, column), null.into(), default, text(&column.comment)]
    });
    parts.push(grid(["column", "type", "key", "null", "default", "meaning"], columns));

    let constraints = table.constraints.iter().map(|c| [text(&c.name), code(&c.definition)]);
    parts.push(part("Keys and constraints", grid(["constraint", "definition"], constraints)));
    let indexes = table.indexes.iter().map(|i| [text(&i.name), i.kind.clone(), code(&i.on), text(&i.comment)]);
    parts.push(part("Indexes", grid(["index", "kind", "on", "serves"], indexes)));
    let policies = table.policies.iter().map(|p| {
        let expression = |sql: &Option<String>| sql.as_deref().map(code).unwrap_or_default();
        let (using, check) = (expression(&p.using), expression(&p.check));
        [text(&p.name), names(&p.roles), p.command.clone(), using, check, text(&p.comment)]
    });
    parts.push(part("Policies", grid(["policy", "for role", "command", "sees", "may write", "why"], policies)));
    let grants = table.grants.iter().map(|g| [code(&g.role), text(&g.privileges)]);
    parts.push(part("Grants", grid(["role", "privileges"], grants)));
    let triggers = table.triggers.iter().map(|t| [text(&t.name), text(&t.when), code(&t.function), text(&t.comment)]);
    parts.push(part("Triggers", grid(["trigger", "when", "calls", "what for"], triggers)));
    parts.retain(|part| !part.is_empty());
    parts
}

/// `PK`, and where a foreign key leads. One that is about several columns is told at its last: the first is the
/// tenant, which all have.
fn key(table: &Table, column: &Column) -> String {
    let primary = table.is_primary(&column.name).then(|| "PK".to_owned());
    let leads = table.foreign_keys().filter(|fk| fk.columns.last() == Some(&column.name)).filter_map(|fk| {
        let target = fk.target.as_deref()?;
        Some(format!("→ [{}](#{})", text(target), anchor(target)))
    });
    primary.into_iter().chain(leads).collect::<Vec<_>>().join(" ")
}

fn part(title: &str, grid: String) -> String {
    if grid.is_empty() { grid } else { format!("**{title}**\n\n{grid}") }
}

/// A table of Markdown; nothing where there are no rows. A column that is empty in every row is left out.
fn grid<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    if rows.is_empty() {
        return String::new();
    }
    let shown: Vec<_> = (0..N).filter(|n| rows.iter().any(|row| !row[*n].is_empty())).collect();
    let line = |cells: &[String; N]| {
        let cells: Vec<_> = shown.iter().map(|n| cells[*n].as_str()).collect();
        format!("| {} |", cells.join(" | "))
    };
    let mut lines = vec![line(&headings.map(str::to_owned)), format!("|{}", " --- |".repeat(shown.len()))];
    lines.extend(rows.iter().map(line));
    lines.join("\n")
}

fn join(parts: &[String]) -> String {
    let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
    format!("{}\n", parts.join("\n\n"))
}

/// Text as it is: nothing in it is Markdown, HTML, or the end of a cell.
pub(super) fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    let mut before = ' ';
    let mut rest =
        raw.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect::<Vec<_>>().into_iter().peekable();
    while let Some(c) = rest.next() {
        // Inside a word an underscore is nothing but that.
        let inside = c == '_' && before.is_alphanumeric() && rest.peek().is_some_and(|after| after.is_alphanumeric());
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' if !inside => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// SQL in backticks, more of them than it has itself. A pipe ends a cell also there, unless it is escaped.
pub(super) fn code(sql: &str) -> String {
    let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    if sql.is_empty() {
        return sql;
    }
    let longest = sql.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{sql}{space}{fence}")
}

/// Names after commas, each in backticks.
fn names(list: &str) -> String {
    list.split(", ").filter(|name| !name.is_empty()).map(code).collect::<Vec<_>>().join(", ")
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).collect::<String>().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain user_id, 50 to 5,000", "plain user_id, 50 to 5,000")]
    #[case("a | b\n\n# c", "a \\| b \\# c")]
    #[case("<b> & `x` *y* _z_ [l](u) ~s~ \\", "&lt;b&gt; &amp; \\`x\\` \\*y\\* \\_z\\_ \\[l\\](u) \\~s\\~ \\\\")]
    fn a_text_is_shown_as_it_is(#[case] raw: &str, #[case] expected: &str) {
        assert_eq!(text(raw), expected);
    }

    #[rstest]
    #[case("", "")]
    #[case("now()", "`now()`")]
    #[case("a || b", "`a \\|\\| b`")]
    #[case("'`' or '``'", "``` '`' or '``' ```")]
    fn sql_is_shown_as_it_is(#[case] raw: &str, #[case] expected: &str) {
        assert_eq!(code(raw), expected);
    }

    #[test]
    fn a_grid_leaves_out_what_is_empty_everywhere() {
        let rows = [["a".to_owned(), String::new()], ["b".into(), String::new()]];
        assert_eq!(grid(["x", "y"], rows), "| x |\n| --- |\n| a |\n| b |");
        assert_eq!(grid(["x"], []), "");
    }
}
