//! Rules on input that are checked before the round trip, so that one answer lists everything that is
//! wrong. The database checks them again: its CHECKs are the last word, for clients of every language.

mod exact;

use std::ops::RangeInclusive;
use std::time::Duration;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::Sign;
use serde_json::Value;
use unicode_normalization::is_nfc;

use crate::error::{Error, Result, Violation};
pub(crate) use exact::{MAX_DEPTH, exact_json, is_exact};

/// Collects violations.
#[derive(Debug, Default)]
pub(crate) struct Check(Vec<Violation>);

impl Check {
    /// Not blank, no NUL, and `length` characters (as PostgreSQL counts them: code points).
    pub(crate) fn text(&mut self, field: &str, text: &str, length: RangeInclusive<usize>) -> &mut Self {
        let count = text.chars().count();
        if text.contains('\0') {
            self.add(field, "holds a NUL character".into());
        } else if text.chars().all(shows_nothing) {
            self.add(field, "is empty".into());
        } else if !length.contains(&count) {
            self.add(field, format!("has {count} characters, allowed are {} to {}", length.start(), length.end()));
        }
        self
    }

    /// No other text looks like it: without characters that show nothing but the space, and in the form NFC.
    pub(crate) fn unmistakable(&mut self, field: &str, text: &str) -> &mut Self {
        if text.chars().any(|character| character != ' ' && shows_nothing(character)) {
            self.add(field, "holds a character that shows nothing".into());
        } else if !is_nfc(text) {
            self.add(field, "is not in the Unicode form NFC".into());
        }
        self
    }

    /// A finite number in the range.
    pub(crate) fn number(&mut self, field: &str, number: f64, range: &RangeInclusive<f64>) -> &mut Self {
        if !range.contains(&number) {
            self.add(field, format!("is {number}, allowed are {} to {}", range.start(), range.end()));
        }
        self
    }

    /// How long somebody may hold what they claimed.
    pub(crate) fn lease(&mut self, field: &str, lease: Duration) -> &mut Self {
        if !(Duration::from_millis(1)..=Duration::from_hours(24)).contains(&lease) {
            self.add(field, "must be from 1 ms to 24 hours".into());
        }
        self
    }

    /// A number that a column `numeric(20, scale)` holds as it is, without rounding.
    pub(crate) fn numeric(&mut self, field: &str, number: &BigDecimal, scale: i64) -> &mut Self {
        // Zeros at the end do not count; nothing is computed, however long the exponent of a client's number is.
        let exact = number.fractional_digit_count() <= scale;
        let normalized = if exact { None } else { Some(number.normalized()) };
        let number = normalized.as_ref().unwrap_or(number);
        let (digits, after) = (i64::try_from(number.digits()).unwrap_or(i64::MAX), number.fractional_digit_count());
        if after > scale {
            self.add(field, format!("has {after} digits after the point, allowed are {scale}"));
        } else if digits.saturating_sub(after) > 20 - scale {
            self.add(field, format!("is too large: allowed are {} digits before the point", 20 - scale));
        }
        self
    }

    /// The same, greater than zero.
    pub(crate) fn positive(&mut self, field: &str, number: &BigDecimal, scale: i64) -> &mut Self {
        if number.sign() != Sign::Plus {
            self.add(field, "is not greater than 0".into());
            return self;
        }
        self.numeric(field, number, scale)
    }

    /// JSON that the database takes, and gives back as it was.
    pub(crate) fn json(&mut self, field: &str, value: &Value) -> &mut Self {
        if let Some(wrong) = unreadable(value) {
            self.add(field, wrong.into());
        }
        self
    }

    /// A JSON object that the database takes, and gives back as it was.
    pub(crate) fn object(&mut self, field: &str, value: &Value) -> &mut Self {
        if !value.is_object() {
            self.add(field, "is no JSON object".into());
        }
        self.json(field, value)
    }

    pub(crate) fn add(&mut self, field: &str, message: String) {
        self.0.push(Violation { field: field.to_owned(), message });
    }

    /// [`Error::Invalid`] with everything that was found.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match std::mem::take(&mut self.0) {
            violations if violations.is_empty() => Ok(()),
            violations => Err(Error::Invalid { violations }),
        }
    }
}

/// White space, control and format characters, noncharacters, and others that show nothing: those of `visible_text()` in
/// the database.
const SHOWS_NOTHING: [(char, char); 43] = [
    ('\u{1}', '\u{20}'),
    ('\u{7f}', '\u{a0}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2000}', '\u{200f}'),
    ('\u{2028}', '\u{202f}'),
    ('\u{205f}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fdd0}', '\u{fdef}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{fffe}', '\u{ffff}'),
    ('\u{1107f}', '\u{1107f}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{16fe4}', '\u{16fe4}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{1fffe}', '\u{1ffff}'),
    ('\u{2fffe}', '\u{2ffff}'),
    ('\u{3fffe}', '\u{3ffff}'),
    ('\u{4fffe}', '\u{4ffff}'),
    ('\u{5fffe}', '\u{5ffff}'),
    ('\u{6fffe}', '\u{6ffff}'),
    ('\u{7fffe}', '\u{7ffff}'),
    ('\u{8fffe}', '\u{8ffff}'),
    ('\u{9fffe}', '\u{9ffff}'),
    ('\u{afffe}', '\u{affff}'),
    ('\u{bfffe}', '\u{bffff}'),
    ('\u{cfffe}', '\u{cffff}'),
    ('\u{dfffe}', '\u{dffff}'),
    ('\u{e0000}', '\u{e0fff}'),
    ('\u{ffffe}', '\u{fffff}'),
    ('\u{10fffe}', '\u{10ffff}'),
];

/// Whether a reader sees nothing of it. NUL, which no text in the database has, is not among them.
pub(crate) fn shows_nothing(character: char) -> bool {
    SHOWS_NOTHING.iter().any(|(first, last)| (*first..=*last).contains(&character))
}

/// Why a CHECK whose name ends with `_json` refuses a value.
pub(crate) const UNREADABLE: &str =
    "holds a number that 64 bits do not hold exactly (write it as a text), or more than 100 levels";

/// Why the database does not take this JSON, or would not give it back as it is: a NUL, which `jsonb` cannot store; more
/// levels than clients read; a number of an application that switched on `serde_json`'s `arbitrary_precision`, and that
/// others would read as another one.
pub(crate) fn unreadable(value: &Value) -> Option<&'static str> {
    below(value, 0)
}

/// Whether a text or a name in it has a NUL, which `jsonb` cannot store.
pub(crate) fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn below(value: &Value, depth: usize) -> Option<&'static str> {
    const NUL: &str = "holds a NUL character";
    match value {
        Value::String(text) if text.contains('\0') => Some(NUL),
        Value::Number(number) if !(number.is_i64() || number.is_u64() || is_exact(&number.to_string())) => {
            Some("holds a number that 64 bits do not hold exactly: write it as a text")
        }
        Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => Some("has more than 100 levels"),
        Value::Array(items) => items.iter().find_map(|item| below(item, depth + 1)),
        Value::Object(members) => {
            members.iter().find_map(|(key, value)| if key.contains('\0') { Some(NUL) } else { below(value, depth + 1) })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("0.0001", "")]
    #[case("9999999999999999.9999", "")]
    #[case("1.00000000000000", "")]
    #[case("0", "quantity is not greater than 0")]
    #[case("-1", "quantity is not greater than 0")]
    #[case("0.00001", "quantity has 5 digits after the point, allowed are 4")]
    #[case("10000000000000000", "quantity is too large: allowed are 16 digits before the point")]
    #[case("1e1000000000", "quantity is too large: allowed are 16 digits before the point")]
    #[case("1e-1000000000", "quantity has 1000000000 digits after the point, allowed are 4")]
    fn a_number_fits_its_column_or_is_told(#[case] number: &str, #[case] expected: &str) {
        let told = Check::default().positive("quantity", &number.parse().unwrap(), 4).finish();
        assert_eq!(told.map_err(|error| error.to_string()).err().unwrap_or_default(), expected);
    }

    #[test]
    fn every_violation_is_listed() {
        let error = Check::default()
            .text("title", "  ", 1..=255)
            .text("name", "a\0b", 1..=255)
            .text("description", "läßt", 50..=5000)
            .number("score", f64::NAN, &(0.0..=100.0))
            .json("insights", &json!([{"a\0": 1}]))
            .finish()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "title is empty; name holds a NUL character; \
             description has 4 characters, allowed are 50 to 5000; score is NaN, allowed are 0 to 100; \
             insights holds a NUL character"
        );
    }

    #[test]
    fn good_input_passes() {
        Check::default().text("title", "Tea", 1..=3).number("score", 100.0, &(0.0..=100.0)).finish().unwrap();
    }
}
