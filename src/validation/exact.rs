//! Reads JSON text and keeps every number: I-JSON (<https://www.rfc-editor.org/rfc/rfc7493#section-2.2>).
//!
//! `serde_json` reads a number as 64 bits. One that needs more would be stored, sent and signed as another number, so
//! it is refused, and with it what is nested too deeply for some readers.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// How many levels of arrays and objects JSON may have, here and in the CHECKs of the database. `serde_json` reads 127:
/// what is stored can still be put into an envelope.
pub(crate) const MAX_DEPTH: usize = 100;

/// Reads JSON in which nothing changes by being read.
///
/// # Errors
/// [`Error::Invalid`] for what is no JSON, for the first number that would change, and for what is nested too deep. The
/// field is its JSON Pointer.
pub(crate) fn exact_json(text: &str) -> Result<Value> {
    let raw: &RawValue = serde_json::from_str(text).map_err(no_json)?;
    check(raw, &mut String::new(), 0)?;
    serde_json::from_str(text).map_err(no_json)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_json(error: serde_json::Error) -> Error {
    Error::invalid("the document", format!("is no JSON: {error}"))
}

fn check(raw: &RawValue, pointer: &mut String, depth: usize) -> Result<()> {
    let text = raw.get();
    let refuse = |reason: String| {
        let field = if pointer.is_empty() { "the document" } else { pointer.as_str() };
        Err(Error::invalid(field, reason))
    };
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth == MAX_DEPTH => refuse(format!("is nested deeper than {MAX_DEPTH} levels")),
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(no_json)?;
            members.iter().try_for_each(|(name, member)| inside(member, pointer, name, depth))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(no_json)?;
            items.iter().enumerate().try_for_each(|(n, item)| inside(item, pointer, &n.to_string(), depth))
        }
        Some(b'-' | b'0'..=b'9') if !is_exact(text) => {
            let shown: String = text.chars().take(40).collect();
            let cut = if shown.len() < text.len() { "…" } else { "" };
            refuse(format!("is {shown}{cut}, which 64 bits do not hold exactly: write it as a text"))
        }
        _ => Ok(()),
    }
}

fn inside(raw: &RawValue, pointer: &mut String, key: &str, depth: usize) -> Result<()> {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
    check(raw, pointer, depth + 1)?;
    pointer.truncate(length);
    Ok(())
}

/// Whether a number is still the same after it was read and written. Zero has no sign.
pub(crate) fn is_exact(number: &str) -> bool {
    match serde_json::from_str::<serde_json::Number>(number) {
        Ok(read) => decimal(number).is_some_and(|wanted| decimal(&read.to_string()) == Some(wanted)),
        Err(_) => false,
    }
}

/// A decimal as its sign, its digits without zeros around them, and its exponent. Nothing is computed, however long the
/// number or its exponent is.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - significant.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    Some((negative, significant.to_owned(), exponent.parse::<i64>().ok()?.checked_add(zeros)?))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0")]
    #[case("-0")]
    #[case("-0.0")]
    #[case("0e1000000000")]
    #[case("0.0e99999999999999999999")]
    #[case("1.0")]
    #[case("100e-2")]
    #[case("0.1")]
    #[case("0.10000000000000000000000000")]
    #[case("1E+2")]
    #[case("9007199254740993")]
    #[case("18446744073709551615")]
    #[case("-9223372036854775808")]
    #[case("1.7976931348623157e308")]
    #[case("5e-324")]
    #[case("123456789.12345679")]
    #[case("1e22")]
    fn a_number_of_64_bits_is_kept(#[case] number: &str) {
        exact_json(&format!("[{{\"a\": {number}}}]")).unwrap();
    }

    #[rstest]
    #[case("12345678901234567890123")]
    #[case("123456789.123456789123456789")]
    #[case("18446744073709551616")]
    #[case("-9223372036854775809")]
    #[case("9007199254740993.0")]
    #[case("9007199254740993e0")]
    #[case("0.12345678901234567")]
    #[case("1.7976931348623158e308")]
    #[case("1e400")]
    #[case("-1e400")]
    #[case("1e-400")]
    #[case("1e1000000000")]
    #[case("1e99999999999999999999")]
    #[case("1e-99999999999999999999")]
    fn a_number_that_would_change_is_refused(#[case] number: &str) {
        for (text, place) in
            [(number.to_owned(), "the document"), (format!("{{\"b\": [1, {{\"a/~b\": {number}}}]}}"), "/b/1/a~1~0b")]
        {
            let said = exact_json(&text).unwrap_err().to_string();
            assert_eq!(said, format!("{place} is {number}, which 64 bits do not hold exactly: write it as a text"));
        }
    }

    #[rstest]
    #[case(100, "")]
    #[case(101, "is nested deeper than 100 levels")]
    #[case(5_000, "is nested deeper than 100 levels")]
    fn depth_has_a_limit(#[case] levels: usize, #[case] reason: &str) {
        for (open, close) in [("[", "]"), ("{\"\":", "}")] {
            let text = open.repeat(levels) + "1" + &close.repeat(levels);
            let said = exact_json(&text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.ends_with(reason) && said.is_empty() == reason.is_empty(), "{said:.200}");
        }
    }

    #[rstest]
    #[case("")]
    #[case("{")]
    #[case("1 2")]
    #[case("01")]
    #[case("NaN")]
    #[case(r#"["\ud800"]"#)]
    fn what_is_no_json_is_told(#[case] text: &str) {
        assert!(exact_json(text).unwrap_err().to_string().starts_with("the document is no JSON: "), "{text}");
    }

    proptest::proptest! {
        /// The same verdict as arithmetic gives.
        #[test]
        fn exactness_is_that_of_decimals(number in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?") {
            let read = serde_json::from_str::<serde_json::Number>(&number).ok();
            let exact = read.is_some_and(|read| {
                let decimal = |text: &str| text.parse::<bigdecimal::BigDecimal>().unwrap();
                decimal(&read.to_string()) == decimal(&number)
            });
            proptest::prop_assert_eq!(exact_json(&number).is_ok(), exact);
        }
    }
}
