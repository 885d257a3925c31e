//! Regular expressions that take others minutes, and what each comes to: a refusal, or the same verdict everywhere.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::{compile, verdicts};
use crate::support::{TestDatabase, db};

/// What such expressions are slow for: long texts that nearly match.
fn texts() -> Vec<Value> {
    let long = 1_000_000;
    let each = [
        "a".repeat(long),
        "a".repeat(long) + "!",
        "ab".repeat(long / 2),
        "\n".repeat(long),
        "\u{1F600}".repeat(long / 4),
    ];
    each.into_iter()
        .map(Value::from)
        .chain([json!(""), json!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"), json!(7)])
        .collect()
}

#[rstest]
#[case::nested(r"^(a+)+$", [true, false, false, false, false, false, false, true])]
#[case::alternatives(r"(a|aa)+$", [true, false, false, false, false, false, false, true])]
#[case::stars(r"([a-zA-Z]+)*$", [true; 8])]
#[case::stars_whole(r"^([a-zA-Z]+)*$", [true, false, true, false, false, true, false, true])]
#[case::twenty(r"(.*a){20}", [true, true, true, false, false, false, true, true])]
#[case::twenty_whole(r"^(.*a){20}$", [true, false, false, false, false, false, false, true])]
#[case::nested_counts(r"^(?:(?:a{1,5}){1,5}){1,5}$", [false, false, false, false, false, false, false, true])]
#[case::optional(r"^(?:a?){30}a{30}$", [false, false, false, false, false, false, false, true])]
#[case::overlapping(r"^.*.*.*.*.*=.*$", [false, false, false, false, false, false, false, true])]
#[case::lookaheads(r"^(?=(a+)+$)(?!(a|aa)+!$)[a-z]*$", [true, false, false, false, false, false, false, true])]
#[case::letters(r"^[\p{L}\p{N}]+$", [true, false, true, false, false, false, false, true])]
#[case::all_but_one(r"^[^\u{1F600}]*$", [true, true, true, true, false, true, true, true])]
#[tokio::test]
async fn what_backtracks_elsewhere_is_judged_alike(
    #[future(awt)] db: TestDatabase,
    #[case] pattern: &str,
    #[case] expected: [bool; 8],
) {
    let schema = compile(&json!({"pattern": pattern}), &BTreeMap::new()).unwrap();
    assert_eq!(verdicts(&db, &schema, &texts()).await, expected);
}

#[rstest]
#[case::optional_groups(&"(?:ab?)?".repeat(130), "more than 1000 characters")]
#[case::many_optional_groups(&format!("^(?:(?:ab)?){{{}}}$", 300), "more than 255 times|may be left out")]
#[case::heavy_optional_groups(r"^(?:(?:abcdefgh)?){200}$", "too large|may be left out")]
#[case::nested_counts(r"((a{1,100}){1,100}){1,100}", "too large|may be left out")]
#[case::nested_counts_of_255(r"(((a{255}){255}){255}){255}", "too large|may be left out")]
#[case::count(r"(ab){1000}", "more than 255 times|too large")]
#[case::long_count(r"a{99999999999}", "repetition|decimal|write")]
#[case::classes(r"\p{L}\p{L}\p{L}\p{L}", "too large")]
#[case::deep_groups(&("(".repeat(200) + "a" + &")".repeat(200)), "nest")]
#[case::back_reference(r"(a+)\1", "refers back")]
#[case::named_back_reference(r"(?<n>a+)\k<n>", "refers back")]
#[case::lookbehind(r"(?<=a)b", "looks ahead or behind")]
#[case::negative_lookbehind(r"(?<!a)b", "looks ahead or behind")]
#[case::lookahead_inside(r"a(?=b)", "looks ahead or behind")]
#[case::lookahead_in_lookahead(r"^(?=(?!a)b)", "looks ahead or behind")]
#[case::lookahead_of_an_alternative(r"^(?=a)b|c", "looks ahead or behind")]
#[case::repeated_lookahead(r"^(?=a)*b", "repeats a lookahead")]
#[case::word_boundary(r"\bword\b", "word boundary")]
#[case::atomic(r"(?>a+)b", "unknown kind")]
#[case::options(r"(?i)a", "unknown kind")]
#[case::director(r"***:a", "repeats nothing")]
#[case::possessive(r"a++", "repeats nothing")]
#[case::open_group(r"(a", "unclosed group")]
#[case::closed_group(r"a)", "unopened group")]
#[case::open_class(r"[a", "does not end")]
#[case::empty_class(r"[]", "empty class")]
#[case::negated_empty_class(r"[^]", "empty class")]
#[case::reversed_range(r"[z-a]", "wrong way around")]
#[case::range_of_a_class(r"[\d-z]", "begins with a class")]
#[case::backslash(r"a\", "ends with a backslash")]
#[case::unknown_escape(r"\y", "unknown escape")]
#[case::anchor_of_others(r"\Aa\z", "unknown escape")]
#[case::unknown_property(r"\p{Nonsense}", "roperty")]
#[case::half_a_pair(r"^\ud83d$", "is no character")]
#[case::beyond_unicode(r"\u{110000}", "is no character")]
#[case::nul(r"a\0", "NUL")]
#[case::posix_class(r"^[[:alpha:]]+$", "which is of POSIX")]
#[case::lone_bracket(r"a]", "without its beginning")]
#[case::lone_brace(r"a}", "without its beginning")]
#[case::escaped_hyphen(r"^\d\-\d$", "the flag u forbids")]
#[case::escaped_at(r"a\@b", "the flag u forbids")]
#[case::escaped_in_a_class(r"[\@]", "the flag u forbids")]
#[case::escaped_underscore(r"\_", "the flag u forbids")]
#[case::open_code_point(r"\u{41", "names no character")]
#[case::signed_code_point(r"\u{+41}", "names no character")]
#[case::open_property(r"\p{L", "names no property")]
#[case::property_of_one_letter(r"\pL", "names no property")]
#[case::script_alone(r"\p{Greek}", "names no property")]
#[case::property_in_other_letters(r"\p{letter}", "names no property")]
#[case::script_in_other_letters(r"\p{Script=greek}", "names no property")]
#[case::age(r"\p{Age=6.0}", "names no property")]
#[case::name_of_a_group(r"(?<1a>a)", "is no identifier")]
#[case::no_name_of_a_group(r"(?<>a)", "is no identifier")]
#[case::two_groups_of_a_name(r"(?<a>a)(?<a>b)", "two groups have the name")]
#[case::open_brace(r"a{", "write \\{")]
#[case::from_one_lower(r"a{,5}", "write \\{")]
#[case::reversed_count(r"a{5,2}", "repetition")]
fn what_no_engine_reads_alike_is_refused(#[case] pattern: &str, #[case] reason: &str) {
    for (definition, field) in [
        (json!({"items": {"pattern": pattern}}), "definition/items/pattern".to_owned()),
        (
            json!({"patternProperties": {pattern: true}}),
            format!("definition/patternProperties/{}", pattern.replace('~', "~0").replace('/', "~1")),
        ),
    ] {
        let why = compile(&definition, &BTreeMap::new()).err().unwrap_or_else(|| panic!("{definition} is taken"));
        assert!(reason.split('|').any(|reason| why[0].message.contains(reason)), "{why:?}");
        assert_eq!((why.len(), &why[0].field), (1, &field));
    }
}

/// A pattern of names has no conditions around it.
#[rstest]
#[case(r"^(?=a)[a-z]*$")]
#[case(r"^(?!admin$)")]
fn names_look_nowhere(#[case] pattern: &str) {
    let why = compile(&json!({"patternProperties": {pattern: true}}), &BTreeMap::new()).unwrap_err();
    assert!(why[0].message.contains("looks ahead"), "{why:?}");
}

/// PostgreSQL repeats nothing more than 255 times; what a length says for a text, it says for a name too, or is refused.
#[rstest]
#[tokio::test]
async fn a_long_repetition_in_a_name_is_refused_or_decided(#[future(awt)] db: TestDatabase) {
    let definition =
        json!({"patternProperties": {"^[a-z]{1,300}$": {"type": "integer"}}, "additionalProperties": false});
    if let Ok(schema) = compile(&definition, &BTreeMap::new()) {
        let (most, more) = ("a".repeat(300), "a".repeat(301));
        let documents = [json!({"a": 1}), json!({most.as_str(): 1}), json!({more: 1}), json!({most: "1"})];
        assert_eq!(verdicts(&db, &schema, &documents).await, [true, true, false, false]);
    }
}
