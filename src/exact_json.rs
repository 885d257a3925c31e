//! JSON of the database, with every number as it is stored there.
//!
//! Always holds: a number that `u64`, `i64` or `f64` would change is a text with its digits. PostgreSQL's numbers have
//! up to 131,072 digits before the point; those of [`Value`] have 17.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{Jsonb, Nullable};
use serde_json::Value;

use crate::validation::is_exact;

/// A `jsonb`.
#[derive(Debug, FromSqlRow)]
pub struct Exact(Value);

/// A `jsonb` that may be NULL.
#[derive(Debug, FromSqlRow)]
pub struct ExactOrNull(Option<Value>);

impl From<Exact> for Value {
    fn from(exact: Exact) -> Self {
        exact.0
    }
}

impl From<ExactOrNull> for Option<Value> {
    fn from(exact: ExactOrNull) -> Self {
        exact.0
    }
}

impl FromSql<Jsonb, Pg> for Exact {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        // The first byte is the format's version.
        let text = value.as_bytes().strip_prefix(&[1]).ok_or("a jsonb of an unknown version")?;
        Ok(Self(serde_json::from_str(&with_exact_numbers(std::str::from_utf8(text)?))?))
    }
}

impl FromSql<Nullable<Jsonb>, Pg> for ExactOrNull {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Some(<Exact as FromSql<Jsonb, Pg>>::from_sql(value)?.into())))
    }

    fn from_nullable_sql(value: Option<PgValue<'_>>) -> deserialize::Result<Self> {
        value.map_or_else(|| Ok(Self(None)), <Self as FromSql<Nullable<Jsonb>, Pg>>::from_sql)
    }
}

/// The same JSON, with quotes around each number that [`Value`] would change.
fn with_exact_numbers(json: &str) -> String {
    let mut exact = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (before, token) = rest.split_at(start);
        exact.push_str(before);
        let length = if token.starts_with('"') { string(token) } else { number(token) };
        let (token, after) = token.split_at(length);
        if token.starts_with('"') || is_exact(token) {
            exact.push_str(token);
        } else {
            exact.extend(["\"", token, "\""]);
        }
        rest = after;
    }
    exact.push_str(rest);
    exact
}

/// The length of the string that `json` begins with.
fn string(json: &str) -> usize {
    let mut escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 2)
}

/// The length of the number that `json` begins with.
fn number(json: &str) -> usize {
    json.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(json.len())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "[1, -1, 0, 1.5, 0.1, 1.50, 1e3, 100000000000000000000, 18446744073709551615, -9223372036854775808, true, null]",
        None
    )]
    #[case("12345678901234567890123", Some(r#""12345678901234567890123""#))]
    #[case("-0.12345678901234567890", Some(r#""-0.12345678901234567890""#))]
    #[case("[9007199254740993.5]", Some(r#"["9007199254740993.5"]"#))]
    #[case("[1e400,1]", Some(r#"["1e400",1]"#))]
    #[case(
        r#"{"a\"12345678901234567890123": 18446744073709551616.1, "\\": "-3"}"#,
        Some(r#"{"a\"12345678901234567890123": "18446744073709551616.1", "\\": "-3"}"#)
    )]
    fn only_numbers_that_would_change_are_texts(#[case] json: &str, #[case] expected: Option<&str>) {
        assert_eq!(with_exact_numbers(json), expected.unwrap_or(json));
    }

    #[test]
    fn a_number_of_any_length_is_read_in_time() {
        let long = "9".repeat(131_072);
        assert_eq!(with_exact_numbers(&long), format!("\"{long}\""));
    }
}
