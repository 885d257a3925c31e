//! Grants, policies, views, owners of functions: who can do what.

use super::super::Scope;
use super::super::schema::Schema;
use super::super::table::{Policy, Table};
use super::{Broken, StateRule, broken};

const APPLICATION: &str = "bedplate_app";
const SYSTEM: &str = "bedplate_system";
const ROLES: [&str; 4] = [APPLICATION, SYSTEM, "bedplate_session", "bedplate_definer"];
/// What no role of ours needs: to empty a table, to hang on its rows, to run code with each change.
const TOO_MUCH: [&str; 4] = ["truncate", "references", "trigger", "maintain"];

pub(super) const RULES: &[StateRule] = &[
    StateRule {
        name: "grant-missing",
        why: "no login can work with it: GRANT SELECT, INSERT, UPDATE ON … TO bedplate_app, bedplate_system",
        scope: Scope::Design,
        find: grant_missing,
    },
    StateRule {
        name: "grant-too-much",
        why: "TRUNCATE empties a table past the policies and triggers, and REFERENCES and TRIGGER reach into other tables",
        scope: Scope::Design,
        find: grant_too_much,
    },
    StateRule {
        name: "delete-granted",
        why: "what the application deletes cannot be brought back: let it mark rows, or say in metadata.toml why it may",
        scope: Scope::Design,
        find: delete_granted,
    },
    StateRule {
        name: "partition-granted",
        why: "who reads a partition by its name steps past the policies of its table: grant on the table alone",
        scope: Scope::Tenants,
        find: partition_granted,
    },
    StateRule {
        name: "system-policy-missing",
        why: "system_tx sees none of its rows: CREATE POLICY system ON … TO bedplate_system USING (current_user = \
              'bedplate_system') WITH CHECK (current_user = 'bedplate_system')",
        scope: Scope::Tenants,
        find: system_policy_missing,
    },
    StateRule {
        name: "policy-without-check",
        why: "it says what may be read and only implies what may be written: a row can be given to another tenant once the \
              two differ",
        scope: Scope::Tenants,
        find: policy_without_check,
    },
    StateRule {
        name: "policy-open",
        why: "it shows rows of every tenant: to bedplate_app, or to every owner that inherits from bedplate_system",
        scope: Scope::Tenants,
        find: policy_open,
    },
    StateRule {
        name: "view-not-invoker",
        why: "it shows rows as its owner sees them, past the policies of who asks: WITH (security_invoker = true)",
        scope: Scope::Design,
        find: view_not_invoker,
    },
    StateRule {
        name: "definer-of-another-owner",
        why: "under FORCE its owner loses the index or sees nothing: SELECT give_to_definer('…')",
        scope: Scope::Tenants,
        find: definer_of_another_owner,
    },
];

/// A partition is read through its table.
fn own(schema: &Schema) -> impl Iterator<Item = (&String, &Table)> {
    schema.tables().filter(|(name, table)| table.partition_of.is_none() && !name.starts_with("__"))
}

fn grant_missing(schema: &Schema) -> Vec<Broken> {
    let mut found = Vec::new();
    for (name, table) in own(schema) {
        let anybody = |privilege| ROLES.iter().any(|role| table.may(role, privilege));
        let readers = [APPLICATION, SYSTEM].into_iter().filter(|role| !table.may(role, "select"));
        let mut missing: Vec<_> = readers.map(|role| format!("SELECT to {role}")).collect();
        if !anybody("insert") {
            missing.push("INSERT to any role".to_owned());
        }
        if table.column("updated_at").is_some() && !anybody("update") {
            missing.push("UPDATE to any role".to_owned());
        }
        if !missing.is_empty() {
            found.push(broken(name, format!("table {name} lacks a grant of {}", missing.join(", "))));
        }
    }
    found
}

fn grant_too_much(schema: &Schema) -> Vec<Broken> {
    let mut found = Vec::new();
    for (name, table) in own(schema) {
        for role in table.grants.keys().filter(|role| role.starts_with("bedplate_")) {
            for privilege in TOO_MUCH.iter().filter(|privilege| table.may(role, privilege)) {
                found.push(broken(name, format!("{} on {name} is granted to {role}", privilege.to_uppercase())));
            }
        }
    }
    found
}

fn delete_granted(schema: &Schema) -> Vec<Broken> {
    let granted = own(schema).filter(|(_, table)| table.may(APPLICATION, "delete"));
    granted.map(|(name, _)| broken(name, format!("DELETE on {name} is granted to {APPLICATION}"))).collect()
}

fn partition_granted(schema: &Schema) -> Vec<Broken> {
    let mut found = Vec::new();
    for (name, table) in schema.tables().filter(|(_, table)| table.partition_of.is_some()) {
        let granted =
            table.grants.iter().filter(|(role, granted)| role.starts_with("bedplate_") && !granted.is_empty());
        found.extend(granted.map(|(role, _)| broken(name, format!("the partition {name} is granted to {role}"))));
    }
    found
}

fn system_policy_missing(schema: &Schema) -> Vec<Broken> {
    let serves = |policy: &Policy| {
        policy.is_for(SYSTEM) && policy.command == "all" && policy.using.is_some() && policy.check.is_some()
    };
    let without = schema.tenant_tables().filter(|(_, table)| !table.policies.values().any(serves));
    without
        .map(|(name, _)| broken(name, format!("table {name} has no policy for {SYSTEM} with USING and WITH CHECK")))
        .collect()
}

fn policy_without_check(schema: &Schema) -> Vec<Broken> {
    policies(
        schema,
        |_, policy| ["all", "insert", "update"].contains(&policy.command.as_str()) && policy.check.is_none(),
        "has no WITH CHECK",
    )
}

fn policy_open(schema: &Schema) -> Vec<Broken> {
    let is_true = |clause: &Option<Vec<String>>| {
        let words = clause.iter().flatten().map(String::as_str);
        words.filter(|word| !matches!(*word, "using" | "with" | "check" | "(" | ")")).eq(["true"])
    };
    policies(
        schema,
        |name, policy| {
            schema.is_walled(name)
                && [APPLICATION, SYSTEM, "bedplate_login", "public"].iter().any(|role| policy.is_for(role))
                && (is_true(&policy.using) || is_true(&policy.check))
        },
        "is true for every row",
    )
}

fn policies(schema: &Schema, wrong: impl Fn(&str, &Policy) -> bool, how: &str) -> Vec<Broken> {
    let mut found = Vec::new();
    for (name, table) in schema.tables() {
        for (policy, _) in table.policies.iter().filter(|(_, policy)| wrong(name, policy)) {
            found.push(broken(name, format!("policy {policy} of {name} {how}")));
        }
    }
    found
}

fn view_not_invoker(schema: &Schema) -> Vec<Broken> {
    let others = schema.views().iter().filter(|(_, invoker)| !**invoker);
    others.map(|(name, _)| broken(name, format!("view {name} is not security_invoker"))).collect()
}

fn definer_of_another_owner(schema: &Schema) -> Vec<Broken> {
    let others = schema.functions().iter().filter(|(_, function)| function.definer && !function.given);
    others.map(|(name, _)| broken(name, format!("SECURITY DEFINER function {name} stays the owner's"))).collect()
}
