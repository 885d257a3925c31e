//! Text of a schema becomes code only inside of literals: whatever the text, wherever it stands, and however the
//! session reads its strings.

use std::collections::BTreeMap;

use bedplate::Error;
use bedplate::models::{NewFormDefinition, NewFormSubmission};
use diesel::sql_query;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use rstest::rstest;
use serde_json::{Value, json};

use super::{compile, verdicts};
use crate::support::{TestDatabase, connection, db, execute, filled_in, home, number, texts};

const WORDS: [&str; 26] = [
    "'",
    "''",
    "\\",
    "\\'",
    "'\\",
    "\\\\'; --",
    "\"",
    "$$",
    "$a$ $1",
    "E'\\''",
    "'); DROP TABLE users; --",
    "') OR true; DELETE FROM users; END; --",
    "' || (SELECT password_hash FROM users) || '",
    "\\'); DROP TABLE users; --",
    "RETURN true; END $$;",
    "END; $function$; DROP TABLE users; --",
    "d",
    "x1_",
    "%I %L %s %1$s",
    "/* */ -- ;",
    "line\nline\r\n",
    "\u{1}\u{7f}\t",
    "\u{202e}\u{2066}txt\u{2069}",
    "\u{1F600}\u{FEFF}",
    "\u{2019}\u{FF07}\u{02BC}",
    "U&'\\0027' UESCAPE '!'",
];

/// The word wherever a text may stand in a schema; a document that fits and one that does not.
fn schemas(word: &str) -> Vec<(Value, Value, Value)> {
    let escaped: String =
        word.chars().flat_map(|c| r"^$\.*+?()[]{}|/".contains(c).then_some('\\').into_iter().chain([c])).collect();
    let pointer = word.replace('~', "~0").replace('/', "~1");
    let pointer = pointer.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let both = format!("{word}{word}");
    vec![
        (json!({"properties": {word: {"type": "integer"}}}), json!({word: 1}), json!({word: "1"})),
        (json!({"properties": {word: {"items": {"maximum": 1}}}}), json!({word: [1]}), json!({word: [2]})),
        (json!({"required": [word]}), json!({word: 1}), json!({both.as_str(): 1})),
        (json!({"required": [word, both]}), json!({word: 1, both.as_str(): 1}), json!({word: 1})),
        (json!({"dependentRequired": {word: ["q"]}}), json!({"a": 1}), json!({word: 1})),
        (json!({"dependentRequired": {"a": [word]}}), json!({"a": 1, word: 1}), json!({"a": 1})),
        (json!({"dependentSchemas": {word: {"required": ["q"]}}}), json!({word: 1, "q": 1}), json!({word: 1})),
        (
            json!({"properties": {word: true}, "additionalProperties": false}),
            json!({word: 1}),
            json!({both.as_str(): 1}),
        ),
        (
            json!({"properties": {word: true}, "additionalProperties": {"minLength": 2, "minItems": 1, "uniqueItems": true}}),
            json!({word: [], both.as_str(): [1]}),
            json!({both.as_str(): []}),
        ),
        (
            json!({"properties": {word: true}, "unevaluatedProperties": false}),
            json!({word: 1}),
            json!({both.as_str(): 1}),
        ),
        (
            json!({"dependentSchemas": {word: {"properties": {word: true}}}, "unevaluatedProperties": false}),
            json!({word: 1}),
            json!({word: 1, both.as_str(): 1}),
        ),
        (json!({"propertyNames": {"const": word}}), json!({word: 1}), json!({both.as_str(): 1})),
        (json!({"enum": [word, "other"]}), json!(word), json!(both)),
        (json!({"enum": [word, 1]}), json!(word), json!(both)),
        (json!({"enum": [{word: [word]}]}), json!({word: [word]}), json!({word: [both]})),
        (json!({"const": word}), json!(word), json!(both)),
        (json!({"const": {word: [word]}}), json!({word: [word]}), json!({word: [both]})),
        (json!({"pattern": format!("^{escaped}$")}), json!(word), json!(both)),
        (json!({"pattern": format!("^(?!{escaped}$)")}), json!("nothing"), json!(word)),
        (
            json!({"patternProperties": {format!("^{escaped}$"): {"type": "integer"}}}),
            json!({word: 1}),
            json!({word: "1"}),
        ),
        (
            json!({"patternProperties": {format!("^{escaped}$"): true}, "unevaluatedProperties": false}),
            json!({word: 1}),
            json!({both.as_str(): "1"}),
        ),
        (json!({"$ref": format!("#/$defs/{pointer}"), "$defs": {word: {"type": "integer"}}}), json!(1), json!("1")),
        (
            json!({"type": "integer", "$comment": word, "title": word, "description": word, "format": word,
                "default": word, "examples": [word], "contentMediaType": word, word: {"$ref": word}}),
            json!(1),
            json!("1"),
        ),
    ]
}

/// Tables, functions and rows.
async fn counted(owner: &mut AsyncPgConnection) -> Vec<String> {
    let counts = "SELECT 'tables ' || count(*) FROM pg_class UNION ALL SELECT 'functions ' || count(*) FROM pg_proc \
        UNION ALL SELECT 'users ' || count(*) FROM users UNION ALL SELECT 'forms ' || count(*) FROM form_definitions";
    texts(owner, counts).await
}

#[rstest]
#[tokio::test]
async fn all_validators_take_a_hostile_text_for_a_text(#[future(awt)] db: TestDatabase) {
    home(&db).await;
    let mut system = connection(&db.url).await;
    execute(&mut system, "SET ROLE bedplate_system").await;
    let before = counted(&mut system).await;
    assert!(before.contains(&"users 1".to_owned()), "{before:?}");
    for word in WORDS {
        for (definition, fit, misfit) in schemas(word) {
            let schema = compile(&definition, &BTreeMap::new()).unwrap_or_else(|why| panic!("{definition}: {why:?}"));
            assert_eq!(verdicts(&db, &schema, &[fit, misfit]).await, [true, false], "{definition}");
        }
    }
    assert_eq!(counted(&mut system).await, before);
}

/// A text of SQL with every literal emptied.
fn without_literals(sql: &str) -> String {
    let (mut code, mut rest) = (String::new(), sql);
    while let Some(at) = rest.find('\'') {
        let escapes = rest[..at].ends_with('E');
        code.push_str(rest[..at].strip_suffix(" E").unwrap_or(&rest[..at]));
        code.push_str("''");
        let mut inside = rest[at + 1..].char_indices();
        let end = loop {
            match inside.next().expect("a literal that ends") {
                (_, '\\') if escapes => drop(inside.next()),
                (end, '\'') if !inside.as_str().starts_with('\'') => break end,
                (_, '\'') => drop(inside.next()),
                _ => {}
            }
        };
        rest = &rest[at + 1 + end + 1..];
    }
    code + rest
}

/// The functions of a hostile text and of a harmless one differ in literals alone.
#[test]
fn nothing_of_a_text_stands_outside_of_literals() {
    let bodies = |definition: &Value| {
        let schema = compile(definition, &BTreeMap::new()).unwrap_or_else(|why| panic!("{definition}: {why:?}"));
        let bodies = schema.bodies("v").unwrap();
        (bodies.concat(), without_literals(&bodies.concat()))
    };
    let mut literals = 0;
    for word in WORDS {
        for ((hostile, ..), (harmless, ..)) in schemas(word).iter().zip(schemas("zz")) {
            let (whole, code) = bodies(hostile);
            assert_eq!(code, bodies(&harmless).1, "{hostile}");
            literals += usize::from(whole != code);
        }
    }
    assert!(literals > WORDS.len() * 15, "{literals}");
}

/// Where a text has to be a name or a URI, it is refused at its place, or means what it says.
#[rstest]
#[tokio::test]
async fn names_and_uris_are_refused_or_taken_as_they_are(#[future(awt)] db: TestDatabase) {
    let (mut taken, mut refused) = (0, 0);
    for word in WORDS.into_iter().chain(["\u{0}", "a\u{0}b"]) {
        let uri = format!("https://example.org/{word}");
        for (definition, resources) in [
            (json!({"$id": word, "type": "integer"}), json!({})),
            (json!({"$id": uri, "type": "integer", "properties": {"a": {"$ref": uri}}}), json!({})),
            (json!({"$anchor": word, "type": "integer"}), json!({})),
            (json!({"$dynamicAnchor": word, "type": "integer"}), json!({})),
            (json!({"$ref": word, "type": "integer"}), json!({})),
            (json!({"$ref": format!("#{word}"), "type": "integer"}), json!({})),
            (json!({"$dynamicRef": format!("#/{word}"), "type": "integer"}), json!({})),
            (json!({"$schema": word, "type": "integer"}), json!({})),
            (json!({"$vocabulary": {word: true}, "type": "integer"}), json!({})),
            (json!({"$ref": uri}), json!({uri.as_str(): {"type": "integer"}})),
            (json!({"type": "integer"}), json!({word: {"type": "string"}})),
        ] {
            let resources = resources.as_object().unwrap().clone().into_iter().collect();
            match compile(&definition, &resources) {
                Ok(schema) => {
                    assert_eq!(verdicts(&db, &schema, &[json!(1), json!("a")]).await, [true, false], "{definition}");
                    taken += 1;
                }
                Err(why) => {
                    let placed = |field: &str| field.starts_with("definition") || field.starts_with("resources/");
                    let told = why.iter().all(|one| placed(&one.field) && one.message.len() > 10);
                    assert!(told && !why.is_empty(), "{definition}: {why:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(taken > 40 && refused > 100, "{taken} {refused}");
}

/// 1. A form full of hostile texts is published by a session that reads strings in one way or the other.
/// 2. Sessions of both kinds fill it in until it is compiled, and what does not fit is refused there too.
#[rstest]
#[case("on")]
#[case("off")]
#[tokio::test]
async fn published_forms_hold_however_strings_are_read(#[future(awt)] db: TestDatabase, #[case] publisher: &str) {
    let home = home(&db).await;
    let mut all = Vec::new();
    let (mut fit, mut misfit) = (serde_json::Map::new(), serde_json::Map::new());
    for (n, word) in WORDS.iter().enumerate() {
        let (definition, good, bad) = schemas(word).swap_remove(7);
        all.push(json!({"properties": {format!("{n}{word}"): definition, format!("text{n}"): {"enum": [word, {}]}}}));
        fit.insert(format!("{n}{word}"), good);
        fit.insert(format!("text{n}"), json!(word));
        misfit.insert(format!("{n}{word}"), bad);
    }
    let (definition, fit, misfit) = (json!({"allOf": all}), Value::Object(fit), Value::Object(misfit));
    // 1
    let publish = db.tenant_tx("publish", &home.context, async |tx| {
        let set = format!("SET LOCAL standard_conforming_strings = {publisher}");
        sql_query(set).execute(&mut tx.connection()).await?;
        let new = NewFormDefinition { name: "tea", definition: &definition, resources: None, assert_formats: false };
        let draft = tx.form_definitions().create(new).await?;
        tx.form_definitions().publish(draft.id).await
    });
    let form = publish.await.unwrap().definition;
    let (good, bad) =
        (filled_in(&db, &home, &form, &fit, true).await, filled_in(&db, &home, &form, &misfit, false).await);
    let new = NewFormSubmission { form_definition_id: form.id, data: &misfit, submit: true };
    let error =
        db.tenant_tx("fill", &home.context, async |tx| tx.form_submissions().create(new).await).await.unwrap_err();
    let Error::DataInvalid { violations: expected } = error else { panic!("{error:?}") };
    assert_eq!(expected.len(), WORDS.len());
    // 2
    for reader in ["on", "off"] {
        let mut app = connection(db.config().url()).await;
        let copy = format!(
            "INSERT INTO form_submissions (tenant_id, form_definition_id, form_version, status, data) \
             SELECT tenant_id, form_definition_id, form_version, 'submitted', data FROM form_submissions, \
                    generate_series(1, 25) WHERE id = '{}'",
            good.id
        );
        execute(
            &mut app,
            &format!(
                "SET standard_conforming_strings = {reader}; SET backslash_quote = off; SET escape_string_warning = off; \
                 SET ROLE bedplate_app; SET app.tenant_id = '{}'; {copy}",
                home.tenant
            ),
        )
        .await;
        let compiled = format!(
            "SELECT count(*) FROM form_definitions WHERE current_setting('bedplate_forms.' || validator) = 'compiled' AND id = '{}'",
            form.id
        );
        assert_eq!(number(&mut app, &compiled).await, 1, "the functions were used");
        let submit = format!("UPDATE form_submissions SET status = 'submitted' WHERE id = '{}'", bad.id);
        let error = Error::from(app.batch_execute(&submit).await.unwrap_err());
        assert!(matches!(&error, Error::DataInvalid { violations } if *violations == expected), "{error:?}");
    }
}
