//! The rules.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::super::Level;
use super::super::file::{called, children, first, has, name, words};
use super::super::schema::{altered_table, type_of};
use super::types::is_harmless;
use super::walk::{Hit, LockRule, Walk};

const fn both(name: &'static str, why: &'static str, find: fn(&Walk<'_>) -> Vec<Hit>) -> LockRule {
    LockRule { name, why, level: Level::Refuse, down: true, find }
}

/// What reverting may do: it takes back what `up.sql` did.
const fn up(name: &'static str, why: &'static str, find: fn(&Walk<'_>) -> Vec<Hit>) -> LockRule {
    LockRule { down: false, ..both(name, why, find) }
}

pub(in super::super) const RULES: &[LockRule] = &[
    both("vacuum-full", "readers and writers wait while the table is written anew: VACUUM without FULL", vacuum_full),
    both("cluster", "readers and writers wait while the table is written anew", |at| {
        message(at.node.kind() == SyntaxKind::CLUSTER, "CLUSTER")
    }),
    both("lock-table", "readers or writers wait to the end of the transaction", lock_table),
    both(
        "set-logged",
        "readers and writers wait while the table is written anew; an unlogged table is empty after a crash",
        |at| {
            actions(at, &[SyntaxKind::SET_LOGGED, SyntaxKind::SET_UNLOGGED], "is switched between logged and unlogged")
        },
    ),
    both("set-tablespace", "readers and writers wait while the table or the index is copied", set_tablespace),
    both("set-access-method", "readers and writers wait while the table is written anew", |at| {
        actions(at, &[SyntaxKind::SET_ACCESS_METHOD], "gets another access method")
    }),
    up(
        "changing-column-type",
        "readers and writers wait while the table is written anew; the running program may not know the type. A wider \
         varchar or numeric, varchar to text, and more digits of a second are harmless",
        changing_type,
    ),
    LockRule {
        level: Level::Explain,
        ..up(
            "changing-checked-column",
            "the table is not written anew, but readers and writers wait while its CHECK is asked of every row",
            changing_checked,
        )
    },
    both("set-expression", "readers and writers wait while the table is written anew", |at| {
        let changed = altered(at, SyntaxKind::SET_EXPRESSION).into_iter();
        changed
            .map(|(table, column, part)| at.hit_at(&part, format!("{column} of {table} gets another expression")))
            .collect()
    }),
    both(
        "adding-computed-field",
        "readers and writers wait while the table is written anew: add a plain column, fill it in batches",
        adding_computed,
    ),
    both(
        "adding-field-with-constraint",
        "readers and writers wait while every row is checked, or an index is built: add the column, then the constraint",
        adding_with_constraint,
    ),
    up(
        "adding-not-nullable-field",
        "readers and writers wait while every row is checked: ADD CHECK (… IS NOT NULL) NOT VALID, then VALIDATE in a later \
         migration, then SET NOT NULL",
        set_not_null,
    ),
    both("adding-exclusion-constraint", "readers and writers wait while its index is built", adding_exclusion),
    both(
        "attach-partition",
        "readers and writers of the partition wait while every row is checked: first a valid CHECK that says the bounds",
        attach_partition,
    ),
    both("split-partition", "readers and writers wait while rows are copied", |at| {
        actions(at, &[SyntaxKind::SPLIT_PARTITION, SyntaxKind::MERGE_PARTITIONS], "has partitions split or merged")
    }),
    both(
        "refresh-not-concurrently",
        "readers wait while the query runs: REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index",
        refresh,
    ),
    both("checking-domain", "writers of every table with the domain wait while every row is checked", checking_domain),
    up("truncating-table", "its rows are lost, and no down.sql brings them back", truncating),
    up(
        "change-without-where",
        "every row is locked to the end of the transaction, and a DELETE loses them all: a WHERE, and batches for many rows",
        without_where,
    ),
    both(
        "set-local-without-transaction",
        "outside of a transaction it has no effect: SET, and RESET behind it, or BEGIN and COMMIT around both",
        set_local,
    ),
];

fn vacuum_full(at: &Walk<'_>) -> Vec<Hit> {
    let full = at.node.kind() == SyntaxKind::VACUUM && words(at.node).contains(&"full".to_owned());
    message(full, "VACUUM FULL")
}

fn adding_exclusion(at: &Walk<'_>) -> Vec<Hit> {
    let adds = children(at.node, SyntaxKind::ADD_CONSTRAINT).any(|add| has(&add, SyntaxKind::EXCLUDE_CONSTRAINT));
    message(adds && old_table(at).is_some(), "an exclusion constraint is added")
}

fn checking_domain(at: &Walk<'_>) -> Vec<Hit> {
    let checks = [SyntaxKind::SET_NOT_NULL, SyntaxKind::VALIDATE_CONSTRAINT];
    let checks = at.node.kind() == SyntaxKind::ALTER_DOMAIN && checks.iter().any(|kind| has(at.node, *kind));
    message(checks, "a domain is checked")
}

fn message(found: bool, message: &str) -> Vec<Hit> {
    found.then(|| Walk::hit(message)).into_iter().collect()
}

/// The table that a statement alters, where the file has not made it.
fn old_table(at: &Walk<'_>) -> Option<String> {
    let alters = at.node.kind() == SyntaxKind::ALTER_TABLE;
    altered_table(at.node).filter(|table| alters && at.is_old(table))
}

/// Actions of ALTER TABLE.
fn actions(at: &Walk<'_>, kinds: &[SyntaxKind], how: &str) -> Vec<Hit> {
    let Some(table) = old_table(at) else { return Vec::new() };
    let actions = at.node.children().filter(|action| kinds.contains(&action.kind()));
    actions.map(|action| at.hit_at(&action, format!("table {table} {how}"))).collect()
}

/// The columns that an ALTER TABLE changes in one way, with the action.
fn altered(at: &Walk<'_>, kind: SyntaxKind) -> Vec<(String, String, SyntaxNode)> {
    let Some(table) = old_table(at) else { return Vec::new() };
    let columns = children(at.node, SyntaxKind::ALTER_COLUMN).filter_map(|action| {
        let option = children(&action, kind).next()?;
        Some((table.clone(), name(&action, SyntaxKind::COLUMN_NAME_REF)?, option))
    });
    columns.collect()
}

fn lock_table(at: &Walk<'_>) -> Vec<Hit> {
    if at.node.kind() != SyntaxKind::LOCK {
        return Vec::new();
    }
    let all = words(at.node).join(" ");
    let weak = ["in access share mode", "in row share mode", "in row exclusive mode", "in share update exclusive mode"];
    let mut tables = at.node.descendants().filter(|node| node.kind() == SyntaxKind::RELATION_NAME);
    let old = tables.any(|table| words(&table).pop().is_some_and(|table| at.is_old(&table)));
    message(old && !weak.iter().any(|mode| all.contains(mode)), "LOCK TABLE in a mode that others wait for")
}

fn set_tablespace(at: &Walk<'_>) -> Vec<Hit> {
    let alters = [SyntaxKind::ALTER_TABLE, SyntaxKind::ALTER_INDEX, SyntaxKind::ALTER_MATERIALIZED_VIEW];
    let moves = alters.contains(&at.node.kind()) && has(at.node, SyntaxKind::SET_TABLESPACE);
    let new =
        at.node.kind() == SyntaxKind::ALTER_TABLE && altered_table(at.node).is_some_and(|table| !at.is_old(&table));
    message(moves && !new, "it is moved to another tablespace")
}

/// The new type of each column, and whether the table stays as it is.
fn changes_of_type(at: &Walk<'_>) -> Vec<(String, String, SyntaxNode, bool)> {
    let changed = altered(at, SyntaxKind::SET_TYPE).into_iter().map(|(table, column, option)| {
        let old = at.schema.table(&table).and_then(|table| table.column(&column)).map(|column| column.ty.clone());
        let new = type_of(&option).unwrap_or_default();
        let collated = has(&option, SyntaxKind::COLLATE)
            && at
                .schema
                .table(&table)
                .is_none_or(|table| table.indexes.values().any(|index| index.columns.contains(&column)));
        let harmless = old.is_some_and(|old| is_harmless(&old, &new, at.schema.domains()));
        let harmless = harmless && !collated && uses_itself(&option, &column);
        (table, column, option, harmless)
    });
    changed.collect()
}

/// Without USING, or with one that only names the column and the type.
fn uses_itself(option: &SyntaxNode, column: &str) -> bool {
    let Some(using) = first(option, SyntaxKind::USING_EXPR) else { return true };
    let ty = type_of(option).unwrap_or_default();
    let said = words(&using).join(" ");
    let said = said.strip_prefix("using ").unwrap_or(&said);
    let said = said.strip_prefix("( ").and_then(|said| said.strip_suffix(" )")).unwrap_or(said).replace(": :", "::");
    [column.to_owned(), format!("{column} :: {ty}"), format!("cast ( {column} as {ty} )")].contains(&said)
}

fn changing_type(at: &Walk<'_>) -> Vec<Hit> {
    let rewrites = changes_of_type(at).into_iter().filter(|(.., harmless)| !harmless);
    let mut found: Vec<_> = rewrites
        .map(|(table, column, part, _)| at.hit_at(&part, format!("{column} of {table} gets another type")))
        .collect();
    let attribute = at.node.kind() == SyntaxKind::ALTER_TYPE && has(at.node, SyntaxKind::ALTER_ATTRIBUTE);
    found.extend(message(attribute, "an attribute gets another type"));
    found
}

fn changing_checked(at: &Walk<'_>) -> Vec<Hit> {
    let kept = changes_of_type(at).into_iter().filter(|(.., harmless)| *harmless);
    let checked = kept.filter_map(|(table, column, part, _)| {
        let checks = &at.schema.table(&table)?.checks;
        let (check, _) = checks.iter().find(|(_, check)| check.valid && check.words.contains(&column))?;
        Some(at.hit_at(&part, format!("{column} of {table} has the CHECK {check}")))
    });
    checked.collect()
}

/// The columns that a statement adds to a table that is there.
fn added(at: &Walk<'_>) -> Vec<(String, SyntaxNode)> {
    if old_table(at).is_none() {
        return Vec::new();
    }
    let added = children(at.node, SyntaxKind::ADD_COLUMN);
    added.map(|column| (name(&column, SyntaxKind::COLUMN_NAME).unwrap_or_default(), column)).collect()
}

fn adding_computed(at: &Walk<'_>) -> Vec<Hit> {
    const SERIAL: [&str; 6] = ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"];
    let computed = added(at).into_iter().filter(|(_, node)| {
        let virtual_one = words(node).contains(&"virtual".to_owned());
        has(node, SyntaxKind::GENERATED_CONSTRAINT) && !virtual_one
            || type_of(node).is_some_and(|ty| SERIAL.contains(&ty.as_str()))
    });
    computed.map(|(column, part)| at.hit_at(&part, format!("{column} is computed for every row"))).collect()
}

fn adding_with_constraint(at: &Walk<'_>) -> Vec<Hit> {
    let kinds = [SyntaxKind::CHECK_CONSTRAINT, SyntaxKind::UNIQUE_CONSTRAINT, SyntaxKind::PRIMARY_KEY_CONSTRAINT];
    let checked =
        added(at).into_iter().filter(|(_, node)| node.children().any(|clause| kinds.contains(&clause.kind())));
    checked.map(|(column, part)| at.hit_at(&part, format!("{column} is added with a constraint"))).collect()
}

fn set_not_null(at: &Walk<'_>) -> Vec<Hit> {
    let said = |table: &str, column: &str| {
        let Some(table) = at.schema.table(table) else { return false };
        let is_not_null = |words: &[String]| {
            let said: Vec<_> = words.iter().map(String::as_str).skip_while(|word| *word != "check").skip(1).collect();
            let said: Vec<_> = said
                .into_iter()
                .filter(|word| !matches!(*word, "(" | ")" | "no" | "inherit" | "not" | "valid"))
                .collect();
            said == [column, "is", "null"] && words.iter().any(|word| word == "not")
        };
        table.checks.values().any(|check| check.valid && is_not_null(&check.words))
            || table.column(column).is_some_and(|column| column.not_null)
    };
    let scanned = altered(at, SyntaxKind::SET_NOT_NULL).into_iter().filter(|(table, column, _)| !said(table, column));
    scanned
        .map(|(table, column, part)| {
            at.hit_at(&part, format!("{column} of {table} becomes NOT NULL, and no valid CHECK says it"))
        })
        .collect()
}

fn attach_partition(at: &Walk<'_>) -> Vec<Hit> {
    if at.node.kind() != SyntaxKind::ALTER_TABLE {
        return Vec::new();
    }
    let attached = children(at.node, SyntaxKind::ATTACH_PARTITION);
    let attached = attached.filter_map(|action| name(&action, SyntaxKind::TABLE_NAME_REF));
    let checked =
        |table: &str| at.schema.table(table).is_some_and(|table| table.checks.values().any(|check| check.valid));
    let scanned = attached.filter(|table| at.is_old(table) && !checked(table));
    scanned.map(|table| Walk::hit(format!("{table} has no valid CHECK that says the bounds"))).collect()
}

fn refresh(at: &Walk<'_>) -> Vec<Hit> {
    let all = words(at.node);
    let view = name(at.node, SyntaxKind::VIEW_REF).unwrap_or_default();
    let blocks = at.node.kind() == SyntaxKind::REFRESH && !all.contains(&"concurrently".to_owned());
    message(blocks && at.is_old(&view), "REFRESH MATERIALIZED VIEW without CONCURRENTLY")
}

fn truncating(at: &Walk<'_>) -> Vec<Hit> {
    if at.node.kind() != SyntaxKind::TRUNCATE {
        return Vec::new();
    }
    let tables = at.node.descendants().filter(|node| node.kind() == SyntaxKind::PATH_REF);
    let old = tables.filter_map(|table| words(&table).pop()).filter(|table| at.is_old(table));
    old.map(|table| Walk::hit(format!("table {table} is emptied"))).collect()
}

fn without_where(at: &Walk<'_>) -> Vec<Hit> {
    // A function that is made here changes nothing yet.
    let runs = [SyntaxKind::UPDATE, SyntaxKind::DELETE, SyntaxKind::SELECT, SyntaxKind::INSERT, SyntaxKind::MERGE];
    if !runs.contains(&at.node.kind()) || at.batch {
        return Vec::new();
    }
    let changes = at.node.descendants().filter(|node| matches!(node.kind(), SyntaxKind::UPDATE | SyntaxKind::DELETE));
    let everything = changes.filter_map(|change| {
        let condition = children(&change, SyntaxKind::WHERE_CLAUSE).next().map(|clause| words(&clause).join(" "));
        let table = name(&children(&change, SyntaxKind::RELATION_NAME).next()?, SyntaxKind::PATH_REF)?;
        let all = condition.is_none_or(|condition| condition == "where true");
        (all && at.is_old(&table)).then(|| at.hit_at(&change, format!("every row of {table} is changed or deleted")))
    });
    everything.collect()
}

/// `SET LOCAL`, `SET TRANSACTION`, and `set_config()` with `true`.
fn set_local(at: &Walk<'_>) -> Vec<Hit> {
    if at.in_transaction {
        return Vec::new();
    }
    let all = words(at.node);
    let local = all.first().is_some_and(|word| word == "set")
        && all.get(1).is_some_and(|word| ["local", "transaction", "constraints"].contains(&word.as_str()));
    let mut calls =
        at.node.descendants().filter(|node| node.kind() == SyntaxKind::CALL_EXPR && called(node) == "set_config");
    let call = at.node.kind() == SyntaxKind::SELECT
        && calls.any(|call| words(&call).iter().rev().nth(1).is_some_and(|last| last == "true"));
    message(local || call, "it ends with its statement: no transaction is open")
}
