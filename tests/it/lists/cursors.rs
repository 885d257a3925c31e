//! Cursors: real ones, changed ones, and what is none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

/// A cursor that somebody might send.
pub fn any(random: &mut StdRng, real: &[String]) -> String {
    let cursor = real.choose(random).unwrap();
    match random.random_range(0..10) {
        0 => cursor.clone(),
        1 => damaged(random, cursor),
        2 => {
            let length = random.random_range(0..40);
            URL_SAFE_NO_PAD.encode((0..length).map(|_| random.random()).collect::<Vec<u8>>())
        }
        3 => encoded(&value(random)),
        _ => changed(random, cursor),
    }
}

/// For a message: the JSON in it, where there is some.
pub fn shown(cursor: &str) -> String {
    let json = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let shown = json.unwrap_or_else(|| cursor.to_owned());
    shown.chars().take(300).collect()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// One character is missing, doubled or another one.
fn damaged(random: &mut StdRng, cursor: &str) -> String {
    let mut characters: Vec<char> = cursor.chars().collect();
    let at = random.random_range(0..characters.len());
    match random.random_range(0..4) {
        0 => drop(characters.remove(at)),
        1 => characters.insert(at, characters[at]),
        2 => characters.truncate(at),
        _ => characters[at] = *['A', 'z', '0', '-', '_', '=', '/', '\u{0}', 'é'].choose(random).unwrap(),
    }
    characters.into_iter().collect()
}

/// Right in its form: one value of it is another one, most often in its place and of its kind.
fn changed(random: &mut StdRng, cursor: &str) -> String {
    let mut json: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap();
    let part = *[0, 1, 1, 1, 1, 2].choose(random).unwrap();
    match &mut json[part] {
        Value::Array(keys) if random.random_bool(0.9) => {
            let key = random.random_range(0..keys.len());
            keys[key] = another(random, &keys[key]);
        }
        other => *other = another(random, other),
    }
    if random.random_bool(0.05) {
        json.as_array_mut().unwrap().push(value(random));
    }
    encoded(&json)
}

/// A value like this one, or any.
fn another(random: &mut StdRng, like: &Value) -> Value {
    if random.random_bool(0.3) {
        return value(random);
    }
    match like {
        Value::Number(_) => number(random),
        Value::String(_) => text(random),
        _ => value(random),
    }
}

fn value(random: &mut StdRng) -> Value {
    match random.random_range(0..8) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => number(random),
        3 => json!(number(random).to_string()),
        4 => json!([text(random), number(random)]),
        5 => json!({ "key": text(random) }),
        6 => (0..random.random_range(1..120)).fold(json!(1), |inner, _| json!([inner])),
        _ => text(random),
    }
}

fn number(random: &mut StdRng) -> Value {
    let integers = [0, 1, -1, i64::from(i32::MIN), i64::from(i32::MAX) + 1, i64::MIN, i64::MAX];
    match random.random_range(0..4) {
        0 => json!(u64::MAX),
        1 => json!([1e308, -0.0, 0.5, 5e-324].choose(random).unwrap()),
        2 => json!(random.random::<i64>()),
        _ => json!(integers.choose(random).unwrap()),
    }
}

fn text(random: &mut StdRng) -> Value {
    let texts = [
        "",
        "\0",
        "a\0b",
        r"\u0000",
        "infinity",
        "-infinity",
        "-262143-01-01T00:00:00Z",
        "+262142-12-31T23:59:59.999999999Z",
        "-4713-11-24T00:00:00Z",
        "-4713-11-23T23:59:59.999999Z",
        "0000-01-01T00:00:00Z",
        "+294277-01-01T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2024-06-30T23:59:60Z",
        "2024-06-30T23:59:59.9999999999+23:59",
        "2024-06-30",
        "00000000-0000-0000-0000-000000000000",
        "{ffffffff-ffff-ffff-ffff-ffffffffffff}",
        "ffffffff",
        "newest",
        "title",
        "events",
        "17",
        "\u{10ffff}\u{feff}\u{301}",
        "'; DROP TABLE users; --",
    ];
    match random.random_range(0..8) {
        0 => json!("x".repeat(random.random_range(1000..100_000))),
        1 => json!((0..random.random_range(1..10)).map(|_| random.random::<char>()).collect::<String>()),
        _ => json!(texts.choose(random).unwrap()),
    }
}
