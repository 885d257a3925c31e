//! The triggers that a table needs.

use super::super::Scope;
use super::super::schema::Schema;
use super::super::table::{Table, Timing, Trigger};
use super::{Broken, StateRule, broken};

pub(super) const RULES: &[StateRule] = &[
    StateRule {
        name: "audit-missing",
        why: "nobody can tell later who changed a row: CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON … FOR EACH \
              ROW EXECUTE FUNCTION audit('…', 'id')",
        scope: Scope::Tenants,
        find: audit_missing,
    },
    StateRule {
        name: "lock-version-without-trigger",
        why: "two users overwrite one another unnoticed: CREATE TRIGGER increment_lock_version BEFORE UPDATE ON … FOR EACH \
              ROW EXECUTE FUNCTION increment_lock_version()",
        scope: Scope::Tenants,
        find: lock_version_without_trigger,
    },
    StateRule {
        name: "transition-missing",
        why: "any status can follow any other: CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON … FOR EACH ROW WHEN \
              (OLD.status <> NEW.status …) EXECUTE FUNCTION refuse_illegal_transition('…', 'from>to', …)",
        scope: Scope::Tenants,
        find: transition_missing,
    },
    StateRule {
        name: "updated-at-without-trigger",
        why: "it is right only where no program forgets it: CREATE TRIGGER update_updated_at BEFORE UPDATE ON … FOR EACH ROW \
              EXECUTE FUNCTION update_updated_at()",
        scope: Scope::Design,
        find: updated_at_without_trigger,
    },
];

/// Whether it fires before each updated row, whatever has changed.
fn on_each_update(trigger: &Trigger) -> bool {
    trigger.timing == Timing::Before && trigger.each_row && !trigger.conditional && trigger.events.contains("update")
}

fn audit_missing(schema: &Schema) -> Vec<Broken> {
    let audits = |name: &str, trigger: &Trigger| {
        let events = ["insert", "update", "delete"].iter().all(|event| trigger.events.contains(event));
        let named = trigger.arguments.first().is_some_and(|argument| argument == name);
        events && trigger.each_row && trigger.timing == Timing::After && !trigger.conditional && named
    };
    let without =
        schema.tenant_tables().filter(|(name, table)| !table.running("audit").any(|trigger| audits(name, trigger)));
    let message =
        |name: &str| format!("table {name} has no audit trigger for every change, with its name as the argument");
    without.map(|(name, _)| broken(name, message(name))).collect()
}

fn lock_version_without_trigger(schema: &Schema) -> Vec<Broken> {
    let without = schema.tenant_tables().filter(|(_, table)| {
        table.column("lock_version").is_some() && !table.running("increment_lock_version").any(on_each_update)
    });
    without.map(|(name, _)| broken(name, format!("lock_version of {name} has no trigger that counts"))).collect()
}

fn transition_missing(schema: &Schema) -> Vec<Broken> {
    let refuses = |name: &str, trigger: &Trigger| {
        let named = trigger.arguments.first().is_some_and(|argument| argument == name);
        trigger.timing == Timing::Before && trigger.each_row && trigger.events.contains("update") && named
    };
    let without = schema.tenant_tables().filter(|(name, table)| {
        table.column("status").is_some()
            && !table.running("refuse_illegal_transition").any(|trigger| refuses(name, trigger))
    });
    without
        .map(|(name, _)| broken(name, format!("status of {name} has no trigger that refuses illegal transitions")))
        .collect()
}

fn updated_at_without_trigger(schema: &Schema) -> Vec<Broken> {
    let without = schema.tables().filter(|(_, table): &(_, &Table)| {
        table.partition_of.is_none()
            && table.column("updated_at").is_some()
            && !table.running("update_updated_at").any(on_each_update)
    });
    without.map(|(name, _)| broken(name, format!("updated_at of {name} has no trigger that sets it"))).collect()
}
