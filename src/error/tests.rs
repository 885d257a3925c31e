use diesel::result::DatabaseErrorKind;
use rstest::rstest;

use super::classes::violations_of;
use super::*;

fn said(kind: DatabaseErrorKind, message: &str) -> Error {
    diesel::result::Error::DatabaseError(kind, Box::new(message.to_owned())).into()
}

#[rstest]
#[case("users_email_key", "users", "email")]
#[case("users_pkey", "users", "id")]
#[case("audit_log_action_check", "audit_log_2026_11", "action")]
#[case("agent_results_agent_type_key", "agent_results", "agent_type")]
#[case("evaluations_business_idea_id_open_key", "evaluations", "business_idea_id")]
#[case("agent_results_score_check", "agent_results", "score")]
fn a_constraint_names_its_column(#[case] constraint: &str, #[case] table: &str, #[case] column: &str) {
    assert_eq!(field_of(constraint, table), column);
}

#[rstest]
#[case("connection closed", true)]
#[case("error communicating with the server: broken pipe", true)]
#[case("deadlock detected", true)]
#[case("canceling statement due to statement timeout", false)]
#[case("canceling statement due to lock timeout", false)]
#[case("permission denied for table users", false)]
#[case("value too long for type character varying(255)", false)]
#[case("division by zero", false)]
fn only_what_may_succeed_later_is_transient(#[case] message: &str, #[case] transient: bool) {
    assert_eq!(said(DatabaseErrorKind::Unknown, message).is_transient(), transient);
}

#[rstest]
#[case(DatabaseErrorKind::Unknown, "connection closed", Fault::ConnectionLost, true)]
#[case(DatabaseErrorKind::Unknown, "terminating connection due to administrator command", Fault::ConnectionLost, true)]
#[case(DatabaseErrorKind::Unknown, "server conn crashed?", Fault::ConnectionLost, true)]
#[case(DatabaseErrorKind::Unknown, "invalid server parameter", Fault::ConnectionLost, true)]
#[case(DatabaseErrorKind::Unknown, "sorry, too many clients already", Fault::TooManyConnections, true)]
#[case(DatabaseErrorKind::Unknown, "too many connections for role \"x\"", Fault::TooManyConnections, true)]
#[case(
    DatabaseErrorKind::ReadOnlyTransaction,
    "cannot execute INSERT in a read-only transaction",
    Fault::ReadOnly,
    true
)]
#[case(DatabaseErrorKind::SerializationFailure, "could not serialize access", Fault::Serialization, true)]
#[case(DatabaseErrorKind::Unknown, "deadlock detected", Fault::Deadlock, true)]
#[case(DatabaseErrorKind::Unknown, "canceling statement due to lock timeout", Fault::LockTimeout, false)]
#[case(DatabaseErrorKind::Unknown, "canceling statement due to statement timeout", Fault::StatementTimeout, false)]
fn each_fault_is_told(#[case] kind: DatabaseErrorKind, #[case] said_: &str, #[case] fault: Fault, #[case] again: bool) {
    let error = said(kind, said_);
    assert_eq!(error.fault(), Some(fault), "{error:?}");
    assert_eq!(fault.is_transient(), again);
}

#[test]
fn the_violations_of_the_trigger_are_read_from_its_detail() {
    let detail = r#"[{"instancePath": "/name", "schemaPath": "/properties/name/type", "keyword": "type",
                      "message": "is no string"}]"#;
    let error = Error::DataInvalid { violations: violations_of(Some(detail)) };
    assert_eq!(error.to_string(), "the data does not match the form: /name is no string");
    for unreadable in [None, Some(""), Some("[]"), Some("[{}]"), Some("Key (a)=(b)")] {
        let violations = violations_of(unreadable);
        assert_eq!(violations.len(), 1, "{unreadable:?}");
        assert!(violations[0].message.contains("cannot be read"));
    }
}

#[test]
fn violations_are_listed_in_one_line() {
    let error = Error::Invalid {
        violations: vec![
            Violation { field: "title".into(), message: "is empty".into() },
            Violation { field: "score".into(), message: "is 101".into() },
        ],
    };
    assert_eq!(error.to_string(), "title is empty; score is 101");
}
