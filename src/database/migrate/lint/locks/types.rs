//! Changes of a column's type that leave the table as it is: the server sees that every value is one of the new type
//! already. All others write the table anew.

use std::collections::BTreeMap;

/// A type with its limits.
#[derive(Debug, PartialEq, Eq)]
struct Type {
    base: String,
    limits: Vec<i64>,
    array: bool,
}

/// Whether a column of one type can have the other without a rewrite. Domains without a constraint stand for their
/// types.
pub(super) fn is_harmless(from: &str, to: &str, domains: &BTreeMap<String, String>) -> bool {
    let (from, to) = (resolve(from, domains), resolve(to, domains));
    if from == to {
        return true;
    }
    if from.array || to.array {
        return false;
    }
    let (old, new) = (from.limits.as_slice(), to.limits.as_slice());
    match (from.base.as_str(), to.base.as_str()) {
        ("varchar" | "text", "text") | ("text", "varchar") => new.is_empty(),
        ("varchar", "varchar") | ("varbit", "varbit") => grows(old, new),
        // The scale decides how a value is stored.
        ("numeric", "numeric") => match (old, new) {
            (_, []) => true,
            ([p, s], [q, t]) => q >= p && s == t,
            ([p] | [p, 0], [q]) | ([p], [q, 0]) => q >= p,
            _ => false,
        },
        ("timestamp", "timestamp")
        | ("timestamptz", "timestamptz")
        | ("time", "time")
        | ("timetz", "timetz")
        | ("interval", "interval") => new.is_empty() || new.first() >= Some(&6) || !old.is_empty() && new >= old,
        ("cidr", "inet") => true,
        _ => false,
    }
}

/// A limit that is taken away, or grows.
fn grows(old: &[i64], new: &[i64]) -> bool {
    match (old.first(), new.first()) {
        (_, None) => true,
        (Some(old), Some(new)) => new >= old,
        (None, Some(_)) => false,
    }
}

fn resolve(words: &str, domains: &BTreeMap<String, String>) -> Type {
    let parsed = parse(words);
    match domains.get(&parsed.base) {
        Some(base) if !parsed.array => parse(base),
        _ => parsed,
    }
}

fn parse(words: &str) -> Type {
    let words: Vec<_> = words.split_whitespace().collect();
    let array = words.iter().any(|word| *word == "[" || *word == "array");
    let limits = words.iter().filter_map(|word| word.parse().ok()).collect();
    let names = words.iter().filter(|word| word.chars().next().is_some_and(char::is_alphabetic));
    let names: Vec<_> = names.copied().filter(|word| *word != "array").collect();
    // A schema before the name says nothing about it.
    let name = match names.as_slice() {
        ["pg_catalog" | "public", rest @ ..] => rest.join(" "),
        names => names.join(" "),
    };
    let base = match name.as_str() {
        "character varying" | "char varying" | "national character varying" => "varchar",
        "character" | "bpchar" | "national character" => "char",
        "decimal" | "dec" => "numeric",
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "bit varying" => "varbit",
        "bool" => "boolean",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "time with time zone" => "timetz",
        "time without time zone" => "time",
        other => other,
    };
    Type { base: base.to_owned(), limits, array }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("varchar ( 10 )", "varchar ( 20 )", true)]
    #[case("varchar ( 10 )", "character varying ( 10 )", true)]
    #[case("varchar ( 10 )", "varchar", true)]
    #[case("varchar ( 10 )", "text", true)]
    #[case("varchar ( 10 )", "pg_catalog . text", true)]
    #[case("text", "varchar", true)]
    #[case("varchar ( 10 )", "varchar ( 9 )", false)]
    #[case("text", "varchar ( 9 )", false)]
    #[case("varchar", "varchar ( 9 )", false)]
    #[case("varchar ( 10 ) [ ]", "varchar ( 20 ) [ ]", false)]
    #[case("char ( 2 )", "char ( 3 )", false)]
    #[case("char ( 2 )", "text", false)]
    #[case("varchar ( 2 )", "char ( 3 )", false)]
    #[case("numeric ( 10 , 2 )", "numeric ( 12 , 2 )", true)]
    #[case("numeric ( 10 , 2 )", "decimal", true)]
    #[case("numeric ( 10 )", "numeric ( 12 )", true)]
    #[case("numeric ( 10 , 2 )", "numeric ( 12 , 3 )", false)]
    #[case("numeric ( 10 , 2 )", "numeric ( 9 , 2 )", false)]
    #[case("numeric", "numeric ( 12 , 2 )", false)]
    #[case("timestamptz ( 3 )", "timestamp ( 6 ) with time zone", true)]
    #[case("timestamptz ( 3 )", "timestamptz", true)]
    #[case("timestamptz", "timestamptz ( 6 )", true)]
    #[case("timestamptz", "timestamptz ( 3 )", false)]
    #[case("timestamp", "timestamptz", false)]
    #[case("time ( 2 )", "time ( 3 )", true)]
    #[case("interval ( 2 )", "interval", true)]
    #[case("bit varying ( 4 )", "varbit ( 8 )", true)]
    #[case("bit ( 4 )", "bit ( 8 )", false)]
    #[case("int", "integer", true)]
    #[case("int", "bigint", false)]
    #[case("cidr", "inet", true)]
    #[case("inet", "cidr", false)]
    #[case("json", "jsonb", false)]
    #[case("label", "varchar ( 20 )", true)]
    #[case("varchar ( 10 )", "label", true)]
    #[case("varchar ( 11 )", "label", false)]
    fn what_leaves_the_table_as_it_is(#[case] from: &str, #[case] to: &str, #[case] harmless: bool) {
        let domains = BTreeMap::from([("label".to_owned(), "varchar ( 10 )".to_owned())]);
        assert_eq!(is_harmless(from, to, &domains), harmless);
    }
}
