//! The rules of this design for every database: comments, functions, grants, and what keeps tables ready to be
//! distributed.

use std::collections::BTreeSet;

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::file::{File, children, first, has, name, words};
use super::schema::{altered_table, created_table, made_columns, type_of};
use super::{Change, Found, Level, Rule, Scope};

const fn rule(name: &'static str, why: &'static str, find: fn(&Change<'_>) -> Vec<Found>) -> Rule {
    Rule { name, why, level: Level::Refuse, scope: Scope::Design, find }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "comment-missing",
        "the schema's pages and the docs of schema.rs are made of comments: add COMMENT ON",
        comment_missing,
    ),
    rule(
        "function-without-search-path",
        "what it calls depends on the session that calls it: SET search_path = pg_catalog, pg_temp, or a RETURN body",
        function_without_search_path,
    ),
    rule(
        "definer-without-search-path",
        "a caller could put tables of its own in its way, with the definer's rights: SET search_path = pg_catalog, pg_temp",
        definer_without_search_path,
    ),
    Rule {
        scope: Scope::Tenants,
        ..rule(
            "definer-without-tenant",
            "it steps over the policies and answers for every tenant: begin it with require_tenant()",
            definer_without_tenant,
        )
    },
    rule(
        "granted-to-public",
        "every login of the server has it, those of other databases too; functions are PUBLIC's unless revoked",
        granted_to_public,
    ),
    rule(
        "on-delete-set-null",
        "it would set tenant_id to NULL too, and a distributed database refuses it: CASCADE or RESTRICT",
        on_delete_set_null,
    ),
    rule(
        "deferrable-constraint",
        "it cannot be the arbiter of an upsert, and a distributed database refuses it",
        deferrable_constraint,
    ),
    rule(
        "serial",
        "its sequence has an owner and grants of its own, and a distributed database has none: uuid, or GENERATED ALWAYS AS IDENTITY",
        serial,
    ),
    rule("time-without-zone", "it means another moment to every client: timestamptz", time_without_zone),
    rule(
        "enum-type",
        "under row-level security an enum loses its index, and its values cannot be removed: text with a CHECK",
        enum_type,
    ),
    rule(
        "trigger-by-table-name",
        "on a distributed table TG_TABLE_NAME is the name of a shard: hand the name over as an argument",
        trigger_by_table_name,
    ),
];

fn comment_missing(change: &Change<'_>) -> Vec<Found> {
    let up = &change.up;
    let comments: BTreeSet<_> = up.all(SyntaxKind::COMMENT_ON).filter_map(|comment| commented(&comment)).collect();
    let mut found = Vec::new();
    let mut need = |node: &SyntaxNode, kind: &'static str, name: String| {
        if !comments.contains(&(kind, name.clone())) {
            found.push(up.found(node, format!("{kind} {name} has no comment")));
        }
    };
    for statement in up.statements() {
        match statement.kind() {
            SyntaxKind::CREATE_TABLE | SyntaxKind::CREATE_TABLE_AS | SyntaxKind::SELECT_INTO => {
                let Some(table) = created_table(&statement).filter(|table| change.after.has_table(table)) else {
                    continue;
                };
                need(&statement, "table", table.clone());
                for column in made_columns(&statement) {
                    need(&column, "column", format!("{table}.{}", column_name(&column)));
                }
            }
            SyntaxKind::ALTER_TABLE => {
                let table = altered_table(&statement).unwrap_or_default();
                for column in made_columns(&statement) {
                    need(&column, "column", format!("{table}.{}", column_name(&column)));
                }
            }
            SyntaxKind::CREATE_TYPE => {
                need(&statement, "type", name(&statement, SyntaxKind::TYPE_NAME).unwrap_or_default());
            }
            SyntaxKind::CREATE_DOMAIN => {
                need(&statement, "type", name(&statement, SyntaxKind::DOMAIN).unwrap_or_default());
            }
            _ => {}
        }
    }
    for (node, function) in new_functions(change) {
        need(&node, "function", function);
    }
    found
}

fn column_name(column: &SyntaxNode) -> String {
    name(column, SyntaxKind::COLUMN_NAME).unwrap_or_default()
}

/// What has a comment now; columns with their table.
fn commented(comment: &SyntaxNode) -> Option<(&'static str, String)> {
    let words = words(comment);
    let text = words.iter().rev().find(|word| *word != ";")?;
    if text == "null" || text == "''" {
        return None;
    }
    let object = |kind| first(comment, kind);
    let last = |kind| words_of(&object(kind)?).pop();
    match words.get(2)?.as_str() {
        "table" => Some(("table", last(SyntaxKind::TABLE_NAME_REF)?)),
        "column" => {
            let mut path = words_of(&object(SyntaxKind::OBJECT_COLUMN)?);
            let column = path.pop()?;
            Some(("column", format!("{}.{column}", path.pop()?)))
        }
        "function" | "procedure" | "routine" => {
            // Of the path before the arguments.
            let named = words.iter().skip(3).take_while(|word| *word != "(" && *word != "is").last();
            Some(("function", named?.clone()))
        }
        "type" | "domain" => {
            let named = words.iter().skip(3).take_while(|word| *word != "is").last();
            Some(("type", named?.clone()))
        }
        _ => None,
    }
}

fn words_of(path: &SyntaxNode) -> Vec<String> {
    words(path).into_iter().filter(|word| word != ".").collect()
}

/// The functions and procedures that were not there before, which have neither a comment nor a REVOKE yet.
fn new_functions<'c>(change: &'c Change<'_>) -> impl Iterator<Item = (SyntaxNode, String)> + 'c {
    functions(&change.up).filter(|(_, function)| !change.before.has_function(function))
}

fn functions(file: &File) -> impl Iterator<Item = (SyntaxNode, String)> + use<> {
    file.statements().filter_map(|statement| {
        let kind = match statement.kind() {
            SyntaxKind::CREATE_FUNCTION => SyntaxKind::FUNCTION_NAME,
            SyntaxKind::CREATE_PROCEDURE => SyntaxKind::PROCEDURE_NAME,
            _ => return None,
        };
        let name = name(&statement, kind)?;
        Some((statement, name))
    })
}

/// A function of the file, and what the rules ask of it.
struct Made {
    node: SyntaxNode,
    name: String,
    definer: bool,
    trigger: bool,
    /// Whether its names mean the same to every caller.
    pinned: bool,
}

fn made(change: &Change<'_>) -> impl Iterator<Item = Made> + use<> {
    functions(&change.up).map(|(node, name)| {
        // A body after RETURN or BEGIN ATOMIC is bound when it is made.
        let bound =
            node.children().any(|child| matches!(child.kind(), SyntaxKind::RETURN_STMT | SyntaxKind::ATOMIC_BODY));
        let options = first(&node, SyntaxKind::FUNC_OPTION_LIST);
        let mut set = options.iter().flat_map(|options| children(options, SyntaxKind::SET_FUNC_OPTION));
        let pinned = bound || set.any(|option| words(&option).contains(&"search_path".to_owned()));
        let definer = options.is_some_and(|options| has(&options, SyntaxKind::SECURITY_DEFINER_FUNC_OPTION));
        let trigger = first(&node, SyntaxKind::RET_TYPE).is_some_and(|ty| words(&ty).contains(&"trigger".to_owned()));
        Made { node, name, definer, trigger, pinned }
    })
}

fn function_without_search_path(change: &Change<'_>) -> Vec<Found> {
    let loose = made(change).filter(|made| !made.definer && !made.pinned);
    loose.map(|made| change.up.found(&made.node, format!("function {} pins no search_path", made.name))).collect()
}

fn definer_without_search_path(change: &Change<'_>) -> Vec<Found> {
    let loose = made(change).filter(|made| made.definer && !made.pinned);
    let message = |name| format!("SECURITY DEFINER function {name} pins no search_path");
    loose.map(|made| change.up.found(&made.node, message(made.name))).collect()
}

/// A trigger cannot be called: its tenant comes from the row.
fn definer_without_tenant(change: &Change<'_>) -> Vec<Found> {
    let asks = |made: &Made| made.node.text().to_string().contains("require_tenant()");
    let others = made(change).filter(|made| made.definer && !made.trigger && !asks(made));
    let message = |name| format!("SECURITY DEFINER function {name} does not call require_tenant()");
    others.map(|made| change.up.found(&made.node, message(made.name))).collect()
}

fn trigger_by_table_name(change: &Change<'_>) -> Vec<Found> {
    let by_name = made(change)
        .filter(|made| made.trigger && made.node.text().to_string().to_uppercase().contains("TG_TABLE_NAME"));
    by_name
        .map(|made| change.up.found(&made.node, format!("trigger function {} reads TG_TABLE_NAME", made.name)))
        .collect()
}

fn enum_type(change: &Change<'_>) -> Vec<Found> {
    let enums = change.up.all(SyntaxKind::CREATE_TYPE).filter(|made| has(made, SyntaxKind::ENUM_TYPE));
    enums.map(|made| change.up.found(&made, "an enum")).collect()
}

fn granted_to_public(change: &Change<'_>) -> Vec<Found> {
    let up = &change.up;
    let to_public = |node: &SyntaxNode| {
        children(node, SyntaxKind::ROLE_REF_LIST).any(|roles| words(&roles).contains(&"public".to_owned()))
    };
    let granted = up.anywhere(SyntaxKind::GRANT).chain(up.anywhere(SyntaxKind::GRANT_DEFAULT_PRIVILEGES));
    let mut found: Vec<_> = granted.filter(to_public).map(|grant| up.found(&grant, "a grant to PUBLIC")).collect();
    let revoked: Vec<_> = up.all(SyntaxKind::REVOKE).filter(to_public).map(|revoke| words(&revoke)).collect();
    for (node, function) in new_functions(change) {
        let all = ["functions", "routines", "procedures"];
        if !revoked.iter().any(|words| words.iter().any(|word| *word == function || all.contains(&word.as_str()))) {
            found.push(up.found(&node, format!("function {function} stays PUBLIC's: REVOKE EXECUTE … FROM PUBLIC")));
        }
    }
    found
}

fn on_delete_set_null(change: &Change<'_>) -> Vec<Found> {
    let actions = change.up.anywhere(SyntaxKind::ON_DELETE_ACTION);
    let set_null = actions.filter(|action| words(action).contains(&"null".to_owned()));
    set_null.map(|action| change.up.found(&action, "ON DELETE SET NULL")).collect()
}

fn deferrable_constraint(change: &Change<'_>) -> Vec<Found> {
    let options = change.up.anywhere(SyntaxKind::DEFERRABLE_CONSTRAINT_OPTION);
    let options = options.chain(change.up.anywhere(SyntaxKind::INITIALLY_DEFERRED_CONSTRAINT_OPTION));
    options.map(|option| change.up.found(&option, "a deferrable constraint")).collect()
}

fn serial(change: &Change<'_>) -> Vec<Found> {
    const SERIAL: [&str; 6] = ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"];
    let columns = change.up.statements().flat_map(|statement| made_columns(&statement));
    let serial = columns.filter(|column| type_of(column).is_some_and(|ty| SERIAL.contains(&ty.as_str())));
    serial.map(|column| change.up.found(&column, format!("column {} is serial", column_name(&column)))).collect()
}

fn time_without_zone(change: &Change<'_>) -> Vec<Found> {
    const STORED: [SyntaxKind; 4] =
        [SyntaxKind::COLUMN, SyntaxKind::ADD_COLUMN, SyntaxKind::SET_TYPE, SyntaxKind::COMPOSITE_FIELD_DEF];
    let types = change.up.anywhere(SyntaxKind::TIMESTAMP_TYPE).filter(|ty| {
        let mut around = ty.ancestors().skip(1).skip_while(|node| node.kind() == SyntaxKind::ARRAY_TYPE);
        around.next().is_some_and(|node| STORED.contains(&node.kind())) && !has(ty, SyntaxKind::WITH_TIMEZONE)
    });
    types.map(|ty| change.up.found(&ty, "a timestamp without time zone")).collect()
}
