//! The rules of this design for a database with tenants.

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::file::{called, children, has, name, words};
use super::schema::{Schema, altered_table, created_table, on_table};
use super::table::Table;
use super::{Change, Found, Level, Rule, Scope, keys, leakproof, locks};

const fn rule(name: &'static str, why: &'static str, level: Level, find: fn(&Change<'_>) -> Vec<Found>) -> Rule {
    Rule { name, why, level, scope: Scope::Tenants, find }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "tenant-id-missing",
        "no policy can keep its rows apart, and it cannot be distributed: tenant_id uuid NOT NULL, first in every key",
        Level::Refuse,
        keys::tenant_id_missing,
    ),
    rule(
        "key-without-tenant",
        "a tenant finds out by a conflict what another one has: begin the key with tenant_id",
        Level::Refuse,
        keys::key_without_tenant,
    ),
    rule(
        "foreign-key-without-tenant",
        "checks of foreign keys step over the policies: without tenant_id first a row can hang on another tenant's",
        Level::Refuse,
        keys::foreign_key_without_tenant,
    ),
    rule("rls-off", "without it every tenant sees every row", Level::Refuse, rls_off),
    rule(
        "rls-not-forced",
        "without it the owner sees and changes the rows of every tenant",
        Level::Refuse,
        rls_not_forced,
    ),
    rule(
        "policy-missing",
        "the application sees none of its rows, or those of others: a policy TO bedplate_app with USING and WITH CHECK on \
         (SELECT current_tenant())",
        Level::Refuse,
        policy_missing,
    ),
    rule(
        "policy-bare-call",
        "a bare current_tenant() is called for each row: write (SELECT current_tenant())",
        Level::Refuse,
        policy_bare_call,
    ),
    rule(
        "index-lost-to-rls",
        "under row-level security only leakproof operators use an index: text or bigint with a CHECK, a generated \
         column, a side table, or a function of bedplate_definer",
        Level::Explain,
        leakproof::index_lost_to_rls,
    ),
    rule(
        "policy-restrictive",
        "a distributed database silently takes it for a permissive one: use REVOKE",
        Level::Refuse,
        policy_restrictive,
    ),
    rule(
        "backfill-as-owner",
        "under FORCE the owner sees no row: it changes none, and says nothing. SET LOCAL ROLE bedplate_system before it, \
         RESET ROLE behind it",
        Level::Refuse,
        backfill_as_owner,
    ),
];

fn rls_off(change: &Change<'_>) -> Vec<Found> {
    switched(change, SyntaxKind::ENABLE_RLS, SyntaxKind::DISABLE_RLS, "ENABLE ROW LEVEL SECURITY")
}

fn rls_not_forced(change: &Change<'_>) -> Vec<Found> {
    switched(change, SyntaxKind::FORCE_RLS, SyntaxKind::NO_FORCE_RLS, "FORCE ROW LEVEL SECURITY")
}

/// The tables that are not switched on where they are made, and the statements that switch one off.
fn switched(change: &Change<'_>, on: SyntaxKind, off: SyntaxKind, how: &str) -> Vec<Found> {
    let up = &change.up;
    let is_on = |table: &str| {
        let mut alters = up.all(SyntaxKind::ALTER_TABLE);
        alters.any(|alter| altered_table(&alter).is_some_and(|altered| altered == table) && has(&alter, on))
    };
    let lacking = made_tables(change).filter(|(_, table)| !is_on(table));
    let mut found: Vec<_> =
        lacking.map(|(node, table)| up.found(&node, format!("table {table} lacks {how}"))).collect();
    let actions = up.all(SyntaxKind::ALTER_TABLE).flat_map(|alter| children(&alter, off).collect::<Vec<_>>());
    found.extend(actions.map(|action| up.found(&action, "row-level security is taken away")));
    found
}

/// The tables that need policies, each with the statement that makes it.
fn made_tables<'c>(change: &'c Change<'_>) -> impl Iterator<Item = (SyntaxNode, String)> + 'c {
    let made = change.up.statements().filter(makes_table);
    let made = made.filter_map(|statement| created_table(&statement).map(|table| (statement, table)));
    // One that is dropped again was for this migration alone.
    made.filter(|(_, table)| change.after.has_table(table) && change.after.is_walled(table))
}

fn makes_table(statement: &SyntaxNode) -> bool {
    matches!(statement.kind(), SyntaxKind::CREATE_TABLE | SyntaxKind::CREATE_TABLE_AS | SyntaxKind::SELECT_INTO)
}

fn policy_missing(change: &Change<'_>) -> Vec<Found> {
    let has_policy = |table: &str| change.after.table(table).is_some_and(has_wall);
    // A partition is read through its parent, whose policies hold then.
    let lacking = made_tables(change).filter(|(_, table)| !change.after.is_partition(table) && !has_policy(table));
    let mut found: Vec<_> = lacking
        .map(|(node, table)| change.up.found(&node, format!("table {table} has no policy that keeps tenants apart")))
        .collect();
    let changed = [SyntaxKind::DROP_POLICY, SyntaxKind::ALTER_POLICY].into_iter().flat_map(|kind| change.up.all(kind));
    let lost = changed.filter(|change_of| {
        let table = on_table(change_of);
        let before = change.before.table(&table).is_some_and(has_wall);
        before && change.after.has_table(&table) && !has_policy(&table)
    });
    found.extend(lost.map(|lost| change.up.found(&lost, "the policy that keeps tenants apart is taken away")));
    found
}

fn has_wall(table: &Table) -> bool {
    table.policies.values().any(|policy| policy.is_for("bedplate_app") && policy.says("current_tenant"))
}

fn policy_bare_call(change: &Change<'_>) -> Vec<Found> {
    let up = &change.up;
    let clauses = up.anywhere(SyntaxKind::USING_EXPR_CLAUSE).chain(up.anywhere(SyntaxKind::WITH_CHECK_EXPR_CLAUSE));
    let calls = clauses.flat_map(|clause| bare_calls(&clause).collect::<Vec<_>>());
    calls.map(|call| up.found(&call, "a bare current_tenant()")).collect()
}

fn bare_calls(clause: &SyntaxNode) -> impl Iterator<Item = SyntaxNode> + use<> {
    let clause = clause.clone();
    let calls =
        clause.descendants().filter(|node| node.kind() == SyntaxKind::CALL_EXPR && called(node) == "current_tenant");
    calls.filter(move |call| {
        let mut around = call.ancestors().take_while(|node| *node != clause);
        !around.any(|node| node.kind() == SyntaxKind::SELECT)
    })
}

fn policy_restrictive(change: &Change<'_>) -> Vec<Found> {
    let policies = change.up.anywhere(SyntaxKind::AS_POLICY_TYPE);
    let restrictive = policies.filter(|ty| words(ty).contains(&"restrictive".to_owned()));
    restrictive.map(|ty| change.up.found(&ty, "a RESTRICTIVE policy")).collect()
}

fn backfill_as_owner(change: &Change<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut schema = change.before.clone();
    let mut in_transaction = change.migration.metadata.run_in_transaction;
    let (mut role, mut local_role) = (false, false);
    for statement in change.up.statements() {
        match statement.kind() {
            SyntaxKind::BEGIN => in_transaction = true,
            kind if ast::Commit::can_cast(kind) => (in_transaction, local_role) = (false, false),
            SyntaxKind::RESET_ROLE => (role, local_role) = (false, false),
            SyntaxKind::SET_ROLE => {
                let set = !has(&statement, SyntaxKind::SET_ROLE_NONE);
                if has(&statement, SyntaxKind::LOCAL_SCOPE) {
                    // Outside of a transaction it does nothing.
                    local_role = set && in_transaction;
                } else {
                    (role, local_role) = (set, set);
                }
            }
            SyntaxKind::UPDATE | SyntaxKind::DELETE | SyntaxKind::MERGE | SyntaxKind::SELECT | SyntaxKind::INSERT
                if !role && !local_role =>
            {
                let forced = changed(&statement).into_iter().filter(|(_, table)| schema.is_forced(table));
                found.extend(
                    forced.map(|(node, table)| {
                        change.up.found(&node, format!("rows of {table} are changed by the owner"))
                    }),
                );
            }
            SyntaxKind::DO if !role && !local_role => found.extend(in_block(change, &statement, &schema)),
            _ => {}
        }
        schema.apply(&statement);
    }
    found
}

/// The changes of a DO block up to its own SET ROLE.
fn in_block(change: &Change<'_>, block: &SyntaxNode, schema: &Schema) -> Vec<Found> {
    let as_owner = locks::inside(block).into_iter().take_while(|(node, _)| node.kind() != SyntaxKind::SET_ROLE);
    let changes = as_owner.flat_map(|(node, byte)| changed(&node).into_iter().map(move |(_, table)| (byte, table)));
    let forced = changes.filter(|(_, table)| schema.is_forced(table));
    forced.map(|(byte, table)| change.up.found_at(byte, format!("rows of {table} are changed by the owner"))).collect()
}

/// What UPDATE, DELETE or MERGE is in a statement, the queries of its WITH included, and of which table.
fn changed(statement: &SyntaxNode) -> Vec<(SyntaxNode, String)> {
    let changes = statement.descendants().filter_map(|node| {
        let table = match node.kind() {
            SyntaxKind::UPDATE | SyntaxKind::DELETE => children(&node, SyntaxKind::RELATION_NAME).next(),
            SyntaxKind::MERGE => children(&node, SyntaxKind::TABLE_RELATION_NAME).next(),
            _ => None,
        }?;
        let table = name(&table, SyntaxKind::PATH_REF)?;
        Some((node, table))
    });
    changes.collect()
}
