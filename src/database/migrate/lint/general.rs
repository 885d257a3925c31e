//! The rules for any Diesel project: squawk's (<https://squawkhq.com/docs/rules>). Which of them are asked, and which
//! are not, is a closed list each; the test compares them with squawk's own.

use squawk_linter::{Linter, LinterSettings, Rule, Violation};

use squawk_syntax::SyntaxKind;

use super::file::File;
use super::schema::{altered_table, created_table};
use super::{Change, Finding, Level, Scope};
use crate::error::{Error, Result};

/// The oldest PostgreSQL that is tested.
const POSTGRESQL: &str = "15";

/// A rule that is asked.
#[derive(Clone, Copy)]
struct Asked {
    rule: Rule,
    level: Level,
    scope: Scope,
    /// Whether `down.sql` has to keep it too. Dropping and renaming back is its job, blocking and failing is not.
    down: bool,
    why: &'static str,
}

const fn refuse(rule: Rule, why: &'static str) -> Asked {
    Asked { rule, level: Level::Refuse, scope: Scope::Every, down: false, why }
}

const fn explain(rule: Rule, why: &'static str) -> Asked {
    Asked { level: Level::Explain, ..refuse(rule, why) }
}

const fn both_ways(asked: Asked) -> Asked {
    Asked { down: true, ..asked }
}

const fn others(asked: Asked) -> Asked {
    Asked { scope: Scope::Others, ..asked }
}

const ASKED: &[Asked] = &[
    // What blocks for as long as the table is long.
    both_ways(refuse(Rule::RequireConcurrentIndexCreation, "writers wait for as long as it builds")),
    both_ways(refuse(Rule::RequireConcurrentReindex, "writers wait for as long as it builds")),
    both_ways(explain(
        Rule::RequireConcurrentIndexDeletion,
        "readers and writers wait behind it until it has its lock",
    )),
    explain(Rule::RequireConcurrentPartitionDetach, "readers and writers of the parent wait until it has its lock"),
    refuse(Rule::ConstraintMissingNotValid, "writers wait while every row is checked"),
    refuse(Rule::AddingForeignKeyConstraint, "writers of both tables wait while every row is checked"),
    refuse(Rule::AddingSerialPrimaryKeyField, "readers and writers wait while its index is built"),
    refuse(Rule::DisallowedUniqueConstraint, "readers and writers wait while its index is built"),
    both_ways(refuse(
        Rule::AddingFieldWithDefault,
        "a volatile default writes the table anew while readers and writers wait",
    )),
    refuse(Rule::BanAlterDomainWithAddConstraint, "every table with the domain is locked and checked"),
    explain(
        Rule::BanCreateDomainWithConstraint,
        "its constraint cannot be changed later without locking every table with it",
    ),
    // What fails where there are rows.
    both_ways(refuse(
        Rule::AddingRequiredField,
        "it fails where the table has rows, and the running program's inserts fail behind it",
    )),
    both_ways(refuse(
        Rule::BanUncommittedTransaction,
        "a transaction that does not end is rolled back, and nothing was done",
    )),
    both_ways(refuse(Rule::BanDuplicateColumnAssignments, "PostgreSQL refuses it")),
    both_ways(refuse(Rule::IdentifierTooLong, "PostgreSQL cuts it off silently, and two may become the same")),
    // What the program that still runs relies on.
    refuse(Rule::RenamingColumn, "the running program asks for the old name"),
    refuse(Rule::RenamingTable, "the running program asks for the old name"),
    explain(Rule::RenamingObject, "what asks for the old name fails"),
    refuse(Rule::BanSetSchema, "the running program looks for it where it was"),
    refuse(Rule::BanDropColumn, "the running program asks for it: drop it when no program does any more"),
    refuse(Rule::BanDropTable, "the running program asks for it: drop it when no program does any more"),
    refuse(Rule::BanDropView, "the running program asks for it: drop it when no program does any more"),
    refuse(Rule::BanDropFunction, "the running program may call it: drop it when no program does any more"),
    refuse(Rule::BanDropType, "the running program may name it: drop it when no program does any more"),
    refuse(Rule::BanDropDomain, "the running program may name it: drop it when no program does any more"),
    refuse(Rule::BanDropSequence, "the running program may draw from it: drop it when no program does any more"),
    refuse(Rule::BanDropSchema, "everything that the running program asks of it is gone"),
    refuse(Rule::BanDropExtension, "its types, operators and functions go with it"),
    refuse(Rule::BanDropDefault, "the running program's inserts leave the column out, and fail or write NULL"),
    explain(Rule::BanDropNotNull, "the running program does not expect NULL when it reads"),
    explain(Rule::BanDropConstraint, "what it kept is not kept any more"),
    explain(Rule::BanDropGeneratedExpression, "from here on the program has to fill the column"),
    explain(Rule::BanAlterIdentity, "inserts that give the value, or leave it out, may fail"),
    // What reaches past the migration.
    both_ways(refuse(Rule::BanDropDatabase, "every row of every table is gone")),
    both_ways(refuse(Rule::BanTruncateCascade, "it empties tables that it does not name")),
    both_ways(refuse(
        Rule::BanAlterSystemOptions,
        "it changes every database of the server, and no down.sql of this one takes it back",
    )),
    // What costs later.
    explain(Rule::RequireEnumValueOrdering, "a value without a place goes to the end, and the order cannot be changed"),
    others(explain(Rule::PreferIdentity, "its sequence has an owner and grants of its own")),
    others(explain(Rule::PreferTimestampTz, "it means another moment to every client")),
];

/// The rules that are not asked, each with the reason.
#[cfg(test)]
const LEFT_OUT: &[(Rule, &str)] = &[
    (Rule::AddingNotNullableField, "adding-not-nullable-field of locks/ knows the CHECKs of earlier migrations"),
    (Rule::ChangingColumnType, "changing-column-type of locks/ knows the types of the columns"),
    (Rule::RequireTimeoutSettings, "the runner sets lock_timeout itself, and tries again"),
    (Rule::RequireLockTimeout, "the runner sets it itself, and tries again"),
    (Rule::RequireStatementTimeout, "a backfill or an index takes its time; nobody waits behind it but for locks"),
    (
        Rule::PreferRobustStmts,
        "the runner knows which statements ran; IF NOT EXISTS would hide that something else is there",
    ),
    (Rule::TransactionNesting, "the runner knows the file's own BEGIN and COMMIT, and what may stand between"),
    (
        Rule::BanConcurrentIndexCreationInTransaction,
        "one-concurrently says it, of every statement that may be CONCURRENTLY",
    ),
    (Rule::UnusedIgnore, "comments silence nothing here: an exemption stands in metadata.toml"),
    (Rule::PreferTextField, "schema.md demands varchar(n), which says the length to clients"),
    (Rule::BanCharField, "schema.md demands char(2) and char(3) for the codes of ISO"),
    (Rule::PreferBigintOverInt, "counts, limits and versions are int: diesel maps them to i32"),
    (Rule::PreferBigintOverSmallint, "as for int"),
    (Rule::RequireTableSchema, "Diesel's migrations name no schema"),
    (Rule::BanAddColumn, "it is what migrations are for"),
    (Rule::BanAddCompositeAttribute, "as for a column"),
    (Rule::BanAddEnumValue, "nothing that runs breaks"),
    (Rule::BanNewWriteRestriction, "a CHECK or a unique key is wanted; how it is added is asked by other rules"),
    (Rule::BanSetDefault, "nothing that runs breaks"),
    (Rule::BanAlterGeneratedExpression, "PostgreSQL 15 and 16 have no such statement"),
    (Rule::BanAlterSequenceValues, "it is how a sequence is put right"),
    (Rule::BanDetachInheritance, "it is how retention works; the lock is asked by require-concurrent-partition-detach"),
    (Rule::BanDropIndex, "nothing that runs breaks; the lock is asked by require-concurrent-index-deletion"),
    (
        Rule::BanDropTrigger,
        "a trigger is replaced by dropping it; the tests of the catalogue miss one that has to be there",
    ),
    (Rule::PreferRepack, "REPACK comes with PostgreSQL 19"),
    (Rule::BanDisableTrigger, "it finds every ENABLE ROW LEVEL SECURITY too, which every table needs"),
    (Rule::BanReplicaIdentity, "it is for logical replication, which says itself what it needs"),
    (Rule::BanRevoke, "every function revokes from PUBLIC"),
    (Rule::BanCreatePolicy, "every table needs one"),
    (Rule::BanDropPolicy, "a policy is replaced by dropping it; the doctor misses one that has to be there"),
    (Rule::BanAlterPolicyCondition, "as for dropping it"),
    (Rule::BanAlterPolicyRoles, "as for dropping it"),
    (Rule::BanAlterRowLevelSecurity, "every table needs it; rls refuses to take it away"),
    (Rule::BanReplaceViewFunction, "CREATE OR REPLACE keeps name, columns and grants"),
    (Rule::BanAlterFunctionOptions, "it is how search_path is pinned"),
    (Rule::BanAlterViewOptions, "it is how security_invoker is set"),
    (Rule::BanAlterRoleOptions, "it is how the time zone of logins is pinned"),
    (Rule::BanAlterDatabaseOptions, "it is how lc_messages is set"),
    (Rule::BanAlterExtension, "an update of an extension is a migration"),
];

/// What holds for a table that the same file makes, too. All else does no harm there: it is empty, and no program
/// knows it.
const OF_NEW_TABLES_TOO: [Rule; 5] = [
    Rule::BanUncommittedTransaction,
    Rule::BanDuplicateColumnAssignments,
    Rule::IdentifierTooLong,
    Rule::PreferIdentity,
    Rule::PreferTimestampTz,
];

/// The tables that a file makes, each with its place.
fn tables_made(file: &File) -> Vec<(String, usize)> {
    let made = file
        .statements()
        .filter_map(|made| created_table(&made).map(|table| (table, made.text_range().start().into())));
    made.collect()
}

/// Whether the statement at a place alters or indexes a table that the file has made before.
fn is_about_one_of(file: &File, new: &[(String, usize)], at: usize) -> bool {
    let statement = file.statements().find(|statement| {
        let range = statement.text_range();
        (range.start().into()..range.end().into()).contains(&at)
    });
    let kinds = [SyntaxKind::ALTER_TABLE, SyntaxKind::CREATE_INDEX];
    let altered = statement.filter(|statement| kinds.contains(&statement.kind()));
    let altered = altered.and_then(|statement| altered_table(&statement));
    altered.is_some_and(|altered| new.iter().any(|(table, made)| *table == altered && *made < at))
}

/// The names of those that are asked.
pub(super) fn names() -> impl Iterator<Item = String> {
    ASKED.iter().map(|asked| asked.rule.to_string())
}

/// Which folders a rule is about; `None` for a name that is none of those asked.
pub(super) fn scope(name: &str) -> Option<Scope> {
    ASKED.iter().find(|asked| asked.rule.to_string() == name).map(|asked| asked.scope)
}

/// What squawk finds in both files.
pub(super) fn findings(change: &Change<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (file, down) in std::iter::once((&change.up, false)).chain(change.down.iter().map(|file| (file, true))) {
        let asked: Vec<_> =
            ASKED.iter().filter(|asked| change.rules.have(asked.scope) && (asked.down || !down)).collect();
        let new = tables_made(file);
        for violation in ask(file, &asked, change.migration.metadata.run_in_transaction)? {
            let about_new = || is_about_one_of(file, &new, violation.text_range.start().into());
            if let Some(asked) = asked.iter().find(|asked| asked.rule == violation.code)
                && (OF_NEW_TABLES_TOO.contains(&asked.rule) || !about_new())
            {
                findings.push(finding(change, file, asked, violation));
            }
        }
    }
    Ok(findings)
}

fn ask(file: &File, asked: &[&Asked], in_transaction: bool) -> Result<Vec<Violation>> {
    let pg_version = POSTGRESQL
        .parse()
        .map_err(|error| Error::configuration(format!("squawk does not know PostgreSQL {POSTGRESQL}: {error}")))?;
    let mut linter = Linter::from(asked.iter().map(|asked| asked.rule));
    linter.settings = LinterSettings { pg_version, assume_in_transaction: in_transaction };
    Ok(linter.lint(&file.parse, &file.sql))
}

fn finding(change: &Change<'_>, file: &File, asked: &Asked, violation: Violation) -> Finding {
    let found = file.found_at(violation.text_range.start().into(), violation.message);
    Finding {
        migration: change.migration.name.clone(),
        file: found.file,
        line: found.line,
        rule: asked.rule.to_string(),
        level: asked.level,
        message: found.message,
        help: violation.help.map_or_else(|| asked.why.to_owned(), |help| format!("{}. {help}", asked.why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All rules of squawk, and a `match` without `_`: a rule that a new squawk brings does not compile here until
    /// it is named, and is not in a list until it is decided on. A macro, because both need the same names.
    macro_rules! every_rule {
        ($($name:ident)*) => {{
            let named = |rule: Rule| match rule { $(Rule::$name => stringify!($name),)* };
            let rules = [$(Rule::$name,)*];
            assert!(rules.iter().all(|rule| format!("{rule:?}") == named(*rule)));
            rules
        }};
    }

    #[test]
    fn every_rule_of_squawk_is_decided_on_once_and_with_a_reason() {
        let rules = every_rule! {
            RequireConcurrentIndexCreation RequireConcurrentIndexDeletion ConstraintMissingNotValid AddingFieldWithDefault
            AddingForeignKeyConstraint ChangingColumnType AddingNotNullableField AddingSerialPrimaryKeyField RenamingColumn
            RenamingTable DisallowedUniqueConstraint BanDropDatabase PreferBigintOverInt PreferBigintOverSmallint
            PreferIdentity PreferRepack PreferRobustStmts PreferTextField PreferTimestampTz BanCharField BanDropColumn
            BanDropTable BanDropNotNull TransactionNesting AddingRequiredField BanConcurrentIndexCreationInTransaction
            UnusedIgnore BanCreateDomainWithConstraint BanAlterDomainWithAddConstraint BanTruncateCascade
            RequireTimeoutSettings BanUncommittedTransaction RequireEnumValueOrdering RequireTableSchema IdentifierTooLong
            RequireConcurrentPartitionDetach RequireConcurrentReindex RequireLockTimeout RequireStatementTimeout
            BanDuplicateColumnAssignments BanDropView BanDropFunction BanDropType BanDropDefault BanDropTrigger
            BanDropSchema BanDropSequence BanDropDomain BanDropConstraint BanDropGeneratedExpression RenamingObject
            BanSetSchema BanAlterIdentity BanDropExtension BanAlterGeneratedExpression BanDropIndex BanSetDefault
            BanDisableTrigger BanReplicaIdentity BanDropPolicy BanRevoke BanReplaceViewFunction BanAlterPolicyCondition
            BanAlterPolicyRoles BanCreatePolicy BanAlterFunctionOptions BanAlterViewOptions BanAlterRoleOptions
            BanAlterDatabaseOptions BanAlterRowLevelSecurity BanNewWriteRestriction BanAddEnumValue
            BanAddCompositeAttribute BanAddColumn BanDetachInheritance BanAlterSequenceValues BanAlterSystemOptions
            BanAlterExtension
        };
        let decided: Vec<_> =
            ASKED.iter().map(|asked| (asked.rule, asked.why)).chain(LEFT_OUT.iter().copied()).collect();
        for rule in rules {
            let times = decided.iter().filter(|(decided, _)| *decided == rule).count();
            assert_eq!(times, 1, "{rule} is in the two lists {times} times");
        }
        assert_eq!(decided.len(), rules.len());
        assert!(decided.iter().all(|(_, why)| !why.is_empty()));
    }
}
