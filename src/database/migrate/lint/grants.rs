//! What GRANT and REVOKE say of tables.

use std::collections::BTreeMap;

use super::table::{PRIVILEGES, Table};

/// What is no table.
const OTHERS: [&str; 15] = [
    "function",
    "functions",
    "procedure",
    "routine",
    "sequence",
    "schema",
    "database",
    "type",
    "domain",
    "language",
    "large",
    "foreign",
    "parameter",
    "tablespace",
    "property",
];

/// The privileges on tables, the tables, the roles.
struct Said<'w> {
    privileges: Vec<(&'w str, bool)>,
    /// `None`: all of the schema.
    tables: Option<Vec<String>>,
    roles: Vec<&'w str>,
}

/// The tables that a GRANT or REVOKE names.
pub(super) fn tables(words: &[String]) -> Vec<String> {
    said(words).and_then(|said| said.tables).unwrap_or_default()
}

/// Gives or takes the privileges.
pub(super) fn apply(words: &[String], tables: &mut BTreeMap<String, Table>) {
    let Some(said) = said(words) else { return };
    let named = |table: &str| said.tables.as_ref().is_none_or(|names| names.iter().any(|name| name == table));
    let given = words.first().is_some_and(|word| word == "grant");
    for (_, table) in tables.iter_mut().filter(|(name, _)| named(name)) {
        for role in &said.roles {
            let granted = table.grants.entry((*role).to_owned()).or_default();
            for (privilege, whole) in &said.privileges {
                if given {
                    *granted.entry((*privilege).to_owned()).or_default() |= *whole;
                } else if *whole {
                    granted.remove(*privilege);
                }
            }
        }
    }
}

fn said(words: &[String]) -> Option<Said<'_>> {
    let words: Vec<_> = words.iter().map(String::as_str).filter(|word| *word != ";").collect();
    let on = words.iter().position(|word| *word == "on")?;
    let to = on + words[on..].iter().position(|word| *word == "to" || *word == "from")?;
    let mut start = 1;
    if words.get(1..4) == Some(&["grant", "option", "for"]) {
        start = 4;
    }
    let privileges = privileges(words.get(start..on)?);
    let objects = words.get(on + 1..to)?;
    let tables = match objects {
        ["all", "tables", ..] => None,
        ["all", ..] => return None,
        [first, ..] if OTHERS.contains(first) => return None,
        ["table", names @ ..] | names => Some(self::names(names)),
    };
    let end = ["with", "granted", "cascade", "restrict"];
    let roles = words[to + 1..].iter().take_while(|word| !end.contains(*word));
    let roles = roles.filter(|word| !matches!(**word, "," | "group")).copied().collect();
    Some(Said { privileges, tables, roles })
}

/// Each, and whether it is of the whole table.
fn privileges<'w>(words: &[&'w str]) -> Vec<(&'w str, bool)> {
    let mut found = Vec::new();
    let mut depth = 0;
    for (at, word) in words.iter().enumerate() {
        match *word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "all" if depth == 0 => {
                let whole = !words[at + 1..].contains(&"(");
                found.extend(PRIVILEGES.iter().map(|privilege| (*privilege, whole)));
            }
            word if depth == 0 && word != "," && word != "privileges" => {
                found.push((word, words.get(at + 1) != Some(&"(")));
            }
            _ => {}
        }
    }
    found
}

/// Names, each the end of a path.
fn names(words: &[&str]) -> Vec<String> {
    words.split(|word| *word == ",").filter_map(|path| path.last()).map(|name| (*name).to_owned()).collect()
}
