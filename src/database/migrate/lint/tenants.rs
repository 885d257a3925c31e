//! The rules of this design for a database with tenants.

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::file::{called, children, first, has, name, words};
use super::schema::{altered_table, created_table};
use super::{Change, Found, Level, Rule, Scope, keys, leakproof};

const fn rule(name: &'static str, why: &'static str, level: Level, find: fn(&Change<'_>) -> Vec<Found>) -> Rule {
    Rule { name, why, level, scope: Scope::Tenants, find }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "tenant-key",
        "checks of keys step over the policies: without tenant_id first a row can hang on another tenant's, or tell \
         what another one has",
        Level::Refuse,
        keys::tenant_key,
    ),
    rule(
        "rls",
        "without it every tenant, or the owner, sees every row; a bare current_tenant() is called for each row",
        Level::Refuse,
        rls,
    ),
    rule(
        "not-leakproof",
        "under row-level security only leakproof operators use an index: text or bigint with a CHECK, a generated \
         column, a side table, or a function of bedplate_definer",
        Level::Explain,
        leakproof::not_leakproof,
    ),
    rule(
        "restrictive-policy",
        "a distributed database silently takes it for a permissive one: use REVOKE",
        Level::Refuse,
        restrictive_policy,
    ),
    rule(
        "backfill-as-owner",
        "under FORCE the owner sees no row: it changes none, and says nothing. SET LOCAL ROLE bedplate_system before it, \
         RESET ROLE behind it",
        Level::Refuse,
        backfill_as_owner,
    ),
];

fn rls(change: &Change<'_>) -> Vec<Found> {
    let up = &change.up;
    let mut found = Vec::new();
    for statement in up.statements() {
        let Some(table) = created_table(&statement).filter(|_| makes_table(&statement)) else { continue };
        // One that is dropped again was for this migration alone.
        if !change.after.has_table(&table) || !change.after.is_walled(&table) {
            continue;
        }
        let missing = missing(change, &table);
        if !missing.is_empty() {
            found.push(up.found(&statement, format!("table {table} lacks {}", missing.join(", "))));
        }
    }
    let off = up.all(SyntaxKind::ALTER_TABLE).flat_map(|alter| alter.children().collect::<Vec<_>>());
    for action in off.filter(|action| matches!(action.kind(), SyntaxKind::DISABLE_RLS | SyntaxKind::NO_FORCE_RLS)) {
        found.push(up.found(&action, "row-level security is taken away"));
    }
    for clause in up.anywhere(SyntaxKind::USING_EXPR_CLAUSE).chain(up.anywhere(SyntaxKind::WITH_CHECK_EXPR_CLAUSE)) {
        found.extend(
            bare_calls(&clause).map(|call| up.found(&call, "a bare current_tenant(): write (SELECT current_tenant())")),
        );
    }
    found
}

fn makes_table(statement: &SyntaxNode) -> bool {
    matches!(statement.kind(), SyntaxKind::CREATE_TABLE | SyntaxKind::CREATE_TABLE_AS | SyntaxKind::SELECT_INTO)
}

fn missing(change: &Change<'_>, table: &str) -> Vec<&'static str> {
    let altered = |kind: SyntaxKind| {
        let mut alters = change.up.all(SyntaxKind::ALTER_TABLE);
        alters.any(|alter| altered_table(&alter).is_some_and(|altered| altered == table) && has(&alter, kind))
    };
    let mut missing = Vec::new();
    if !altered(SyntaxKind::ENABLE_RLS) {
        missing.push("ENABLE ROW LEVEL SECURITY");
    }
    if !altered(SyntaxKind::FORCE_RLS) {
        missing.push("FORCE ROW LEVEL SECURITY");
    }
    // A partition is read through its parent, whose policies hold then.
    if !change.after.is_partition(table)
        && !change.up.all(SyntaxKind::CREATE_POLICY).any(|policy| walls(&policy, table))
    {
        missing.push("a policy for bedplate_app with USING and WITH CHECK on (SELECT current_tenant())");
    }
    missing
}

fn walls(policy: &SyntaxNode, table: &str) -> bool {
    let says =
        |kind, word: &str| first(policy, kind).is_some_and(|node| words(&node).iter().any(|found| found == word));
    first(policy, SyntaxKind::ON_TABLE)
        .and_then(|on| name(&on, SyntaxKind::TABLE_NAME_REF))
        .is_some_and(|on| on == table)
        && says(SyntaxKind::POLICY_ROLES, "bedplate_app")
        && says(SyntaxKind::USING_EXPR_CLAUSE, "current_tenant")
        && says(SyntaxKind::WITH_CHECK_EXPR_CLAUSE, "current_tenant")
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

fn restrictive_policy(change: &Change<'_>) -> Vec<Found> {
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
            _ => {}
        }
        schema.apply(&statement);
    }
    found
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
