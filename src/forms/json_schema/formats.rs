//! Formats, where they are asserted: each comes down to one regular expression, so that every validator decides alike.
//!
//! Those of <https://json-schema.org/draft/2020-12/json-schema-validation#section-7.3> that an expression decides
//! exactly, or closer than forms need; another one is refused at publish.

use super::pattern::Pattern;

const DATE: &str = "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)\
    |02-(?:0[1-9]|1[0-9]|2[0-8]))\
    |(?:[0-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:0[048]|[2468][048]|[13579][26])00)-02-29)";
/// A leap second is one of UTC.
const TIME: &str = "(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])\
    |23:59:60(?:\\.[0-9]+)?(?:[Zz]|[+-]00:00))";
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const LABEL: &str = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";

/// The expression of a format, `None` for one that is not known here.
pub(super) fn pattern(format: &str) -> Option<Result<Pattern, String>> {
    let v4 = format!("{OCTET}(?:\\.{OCTET}){{3}}");
    let source = match format {
        "date" => DATE.to_owned(),
        "time" => TIME.to_owned(),
        "date-time" => format!("{DATE}[Tt]{TIME}"),
        "duration" => duration(),
        "email" => {
            format!("[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+)*@{LABEL}(?:\\.{LABEL})*")
        }
        "hostname" => format!("(?=.{{1,253}}$){LABEL}(?:\\.{LABEL})*"),
        "ipv4" => v4,
        "ipv6" => ipv6(&v4),
        "uuid" => "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}".to_owned(),
        "json-pointer" => "(?:/(?:[^~/]|~[01])*)*".to_owned(),
        "uri" => "[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\\[\\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*".to_owned(),
        _ => return None,
    };
    Some(match source.strip_prefix("(?=.{1,253}$)") {
        // The lookahead has to stand directly behind the ^.
        Some(rest) => Pattern::of_ours(&format!("^(?=.{{1,253}}$)(?:{rest})$")),
        None => Pattern::of_ours(&format!("^(?:{source})$")),
    })
}

/// RFC 3339, appendix A.
fn duration() -> String {
    let time = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)";
    let date = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)";
    format!("P(?:{date}(?:{time})?|{time}|[0-9]+W)")
}

/// RFC 4291, section 2.2: eight groups, or fewer around one `::`.
fn ipv6(v4: &str) -> String {
    let group = "[0-9A-Fa-f]{1,4}";
    let last = format!("(?:{group}:{group}|{v4})");
    let mut forms = vec![format!("(?:{group}:){{6}}{last}")];
    for before in 0..=7_usize {
        let head = match before {
            0 => String::new(),
            1 => format!("(?:{group})?"),
            n => format!("(?:(?:{group}:){{0,{}}}{group})?", n - 1),
        };
        // What may stand behind `::` in place of the groups that are left.
        let left = 7 - before;
        let tail = match left {
            0 => String::new(),
            1 => group.to_owned(),
            2 => last.clone(),
            n => format!("(?:{group}:){{{}}}{last}", n - 2),
        };
        forms.push(format!("{head}::{tail}"));
    }
    forms.join("|")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("date", "2024-02-29", true)]
    #[case("date", "2023-02-29", false)]
    #[case("date", "2000-02-29", true)]
    #[case("date", "1900-02-29", false)]
    #[case("date", "2024-11-31", false)]
    #[case("time", "23:59:60Z", true)]
    #[case("time", "12:00:60Z", false)]
    #[case("time", "12:00:00", false)]
    #[case("date-time", "2024-02-29T12:30:00.25+02:00", true)]
    #[case("duration", "P1Y2M3DT4H5M6S", true)]
    #[case("duration", "P", false)]
    #[case("duration", "PT", false)]
    #[case("duration", "P4W", true)]
    #[case("email", "a.b+c@example.org", true)]
    #[case("email", "a..b@example.org", false)]
    #[case("hostname", "a-b.example", true)]
    #[case("hostname", "-a.example", false)]
    #[case("ipv4", "255.1.0.9", true)]
    #[case("ipv4", "256.1.0.9", false)]
    #[case("ipv6", "::1", true)]
    #[case("ipv6", "1:2:3:4:5:6:7:8", true)]
    #[case("ipv6", "1::2::3", false)]
    #[case("ipv6", "1:2:3:4:5:6:7::", true)]
    #[case("ipv6", "::ffff:192.0.2.1", true)]
    #[case("ipv6", "1:2:3:4:5:6:7:8:9", false)]
    #[case("uuid", "00000000-0000-7000-8000-00000000000A", true)]
    #[case("json-pointer", "/a~1b/c~", false)]
    #[case("uri", "https://example.org/a?b=%20", true)]
    #[case("uri", "no spaces", false)]
    fn a_format_is_its_expression(#[case] format: &str, #[case] text: &str, #[case] valid: bool) {
        let pattern = pattern(format).unwrap().unwrap();
        let matches = |part: &super::super::pattern::Part| {
            let found = regex_automata_matches(&part.regex, text);
            found != part.negated
        };
        assert_eq!(pattern.parts.iter().all(matches), valid);
    }

    fn regex_automata_matches(regex: &str, text: &str) -> bool {
        jsonschema::validator_for(&serde_json::json!({"pattern": regex})).unwrap().is_valid(&text.into())
    }
}
