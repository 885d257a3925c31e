//! Schemas and documents by chance, out of few names and values, so that they meet.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value, json};

const NAMES: [&str; 16] = [
    "a",
    "b",
    "c",
    "aa",
    "ab",
    "x y",
    "a/b",
    "~",
    "é",
    "😀",
    "",
    "'",
    "\\",
    "\"); DROP TABLE users; --",
    "$ref",
    "__proto__",
];
const TEXTS: [&str; 18] = [
    "",
    "a",
    "ab",
    "abc",
    "A1",
    "12345",
    "é",
    "😀😀",
    "a\nb",
    "a\r",
    " ",
    "\t",
    "'; DROP TABLE users; --",
    "\\",
    "\\'",
    "$$",
    "%s",
    "null",
];
const PATTERNS: [&str; 22] = [
    "^a",
    "b$",
    "^[a-z]+$",
    "^[a-z]{1,3}$",
    ".",
    "^.{2}$",
    "\\d",
    "^\\w*$",
    "\\s",
    "^[^a]",
    "a|b",
    "^(a|é)+$",
    "\\\\",
    "'",
    "^\\S+$",
    "😀",
    "^\\u0061",
    "^(?=.*[a-z])(?!.*b).+$",
    "^$",
    "[\\]\\-^]",
    "\\p{L}",
    "^[\\w.+-]{2,300}$",
];
/// Those that a name's pattern can be.
const NAME_PATTERNS: [&str; 8] = ["^a", "b$", "^[a-z]+$", ".", "^.$", "\\W", "é|😀", "^\\$"];

/// Where binary fractions and decimals differ: whole numbers above 2^53, and decimals of 16 and 17 digits.
const CLOSE: [&str; 21] = [
    "9007199254740992",
    "9007199254740993",
    "9007199254740994.0",
    "10000000000000000",
    "1e16",
    "1152921504606847000",
    "1152921504606846976",
    "1.152921504606847e18",
    "9223372036854775807",
    "9223372036854775808",
    "9.223372036854776e18",
    "18446744073709551614",
    "18446744073709551615",
    "-9007199254740993",
    "-9223372036854775807",
    "0.1234567890123456",
    "0.12345678901234568",
    "0.30000000000000004",
    "1234567.1234567891",
    "123456789012345.67",
    "4503599627370497.5",
];
const DIVISORS: [&str; 8] =
    ["9007199254740993", "0.12345678901234568", "1e-17", "0.00000001", "3", "10000000000000000", "2.5e-7", "5e-324"];

pub struct Generator {
    random: StdRng,
    definitions: usize,
    /// Whether the schema has a dynamic anchor.
    anchored: bool,
    /// Whether numbers of the crate differ from decimals.
    decimals: bool,
    /// Whether numbers are those that binary fractions confuse.
    close: bool,
}

impl Generator {
    pub fn new(random: StdRng) -> Self {
        let mut generator = Self { random, definitions: 0, anchored: false, decimals: false, close: false };
        generator.anchored = generator.chance(30);
        generator.close = generator.chance(25);
        generator
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.random).unwrap()
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.random.random_range(1..=most);
        (0..count).map(|_| make(self)).collect()
    }

    /// A schema, with definitions that refer to one another.
    pub fn schema(&mut self) -> Value {
        self.definitions = self.random.random_range(0..4);
        let definitions: Map<_, _> = (0..self.definitions).map(|n| (format!("d{n}"), self.at(2))).collect();
        let mut schema = loop {
            if let Value::Object(schema) = self.at(4) {
                break schema;
            }
        };
        if !definitions.is_empty() {
            schema.insert("$defs".into(), Value::Object(definitions));
        }
        if self.anchored {
            schema.insert("$dynamicAnchor".into(), json!("node"));
        }
        if self.chance(30) {
            schema.insert("$id".into(), json!("https://example.org/root"));
        }
        Value::Object(schema)
    }

    /// A tree that can be extended, and a plain schema.
    pub fn resources() -> BTreeMap<String, Value> {
        let tree = json!({
            "$id": "https://example.org/tree",
            "$dynamicAnchor": "node",
            "properties": {"a": {"type": ["array", "string"], "items": {"$dynamicRef": "#node"}}, "b": true}
        });
        let plain = json!({"$defs": {"text": {"$anchor": "text", "type": "string", "maxLength": 3}}, "type": ["object", "number"]});
        BTreeMap::from([("https://example.org/tree".to_owned(), tree), ("https://example.org/plain".to_owned(), plain)])
    }

    /// The crate, on the schema as it is; not where it counts in binary fractions.
    pub fn original(&self, schema: &Value) -> Option<jsonschema::Validator> {
        self.original_of(schema, &Self::resources(), jsonschema::Draft::Draft202012)
    }

    /// The same, of a draft.
    pub fn original_of(
        &self,
        schema: &Value,
        resources: &BTreeMap<String, Value>,
        draft: jsonschema::Draft,
    ) -> Option<jsonschema::Validator> {
        if self.decimals {
            return None;
        }
        let pairs = resources.iter().map(|(uri, document)| (uri.as_str(), document));
        let registry = jsonschema::Registry::new().draft(draft).extend(pairs).unwrap().prepare().unwrap();
        let options = jsonschema::options().with_draft(draft);
        Some(options.with_registry(&registry).should_validate_formats(false).build(schema).unwrap())
    }

    fn at(&mut self, depth: usize) -> Value {
        if self.chance(6) {
            return Value::Bool(self.chance(70));
        }
        let mut schema = Map::new();
        let keywords = self.random.random_range(1..=4);
        for _ in 0..keywords {
            let (keyword, value) =
                if depth > 0 && self.chance(60) { self.applicator(depth - 1) } else { self.assertion() };
            schema.insert(keyword.into(), value);
        }
        Value::Object(schema)
    }

    fn assertion(&mut self) -> (&'static str, Value) {
        let small = self.random.random_range(0..4);
        let numbers = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
        match self.random.random_range(0..17) {
            0..3 => {
                let kinds = ["object", "array", "string", "number", "integer", "boolean", "null"];
                let mut types = self.some(4, |own| own.pick(&kinds));
                types.sort_unstable();
                types.dedup();
                ("type", if types.len() == 1 { json!(types[0]) } else { json!(types) })
            }
            3 => ("const", self.value(2)),
            4 => {
                let only_texts = self.chance(50);
                (
                    "enum",
                    Value::Array(self.some(4, |own| if only_texts { own.pick(&TEXTS).into() } else { own.value(2) })),
                )
            }
            5 => (self.pick(&numbers), self.number()),
            6 => {
                self.decimals = true;
                if self.close {
                    return ("multipleOf", serde_json::from_str(self.pick(&DIVISORS)).unwrap());
                }
                ("multipleOf", json!(self.pick(&[1.0, 2.0, 0.1, 0.01, 1.5, 1e-8, 3e200])))
            }
            7 => ("minLength", json!(small)),
            8 => ("maxLength", json!(small)),
            9 => ("pattern", self.pick(&PATTERNS).into()),
            10 => (self.pick(&["minItems", "maxItems"]), json!(small)),
            11 => ("uniqueItems", json!(true)),
            12 => (self.pick(&["minProperties", "maxProperties"]), json!(small)),
            13 => {
                let names = self.names(2);
                ("dependentRequired", json!({self.pick(&NAMES): names}))
            }
            _ => ("required", json!(self.names(2))),
        }
    }

    fn names(&mut self, most: usize) -> Vec<&'static str> {
        let mut names = self.some(most, |own| own.pick(&NAMES));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn applicator(&mut self, depth: usize) -> (&'static str, Value) {
        let list = |own: &mut Self| Value::Array(own.some(3, |own| own.at(depth)));
        match self.random.random_range(0..24) {
            0..6 => (
                "properties",
                Value::Object(self.some(5, |own| (own.pick(&NAMES).to_owned(), own.at(depth))).into_iter().collect()),
            ),
            6 => {
                let each = self.some(2, |own| (own.pick(&NAME_PATTERNS).to_owned(), own.at(depth)));
                ("patternProperties", Value::Object(each.into_iter().collect()))
            }
            7 | 8 => ("additionalProperties", if self.chance(50) { json!(false) } else { self.at(depth) }),
            9 => ("propertyNames", self.at(depth.min(1))),
            10 => ("items", self.at(depth)),
            11 => ("prefixItems", list(self)),
            12 => ("contains", self.at(depth)),
            13 => (self.pick(&["minContains", "maxContains"]), json!(self.random.random_range(0..3))),
            14 => ("dependentSchemas", json!({self.pick(&NAMES): self.at(depth)})),
            15 => ("allOf", list(self)),
            16 => ("anyOf", list(self)),
            17 => ("oneOf", list(self)),
            18 => ("not", self.at(depth)),
            19 => (self.pick(&["if", "then", "else"]), self.at(depth)),
            20 => ("unevaluatedProperties", if self.chance(60) { json!(false) } else { self.at(depth) }),
            21 => ("unevaluatedItems", if self.chance(60) { json!(false) } else { self.at(depth) }),
            22 if self.chance(40) => {
                let target = if self.anchored {
                    self.pick(&["#node", "https://example.org/tree#node"])
                } else {
                    "https://example.org/tree#node"
                };
                ("$dynamicRef", target.into())
            }
            _ => {
                let elsewhere =
                    ["https://example.org/tree", "https://example.org/plain", "https://example.org/plain#text", "#"];
                let target = if self.definitions > 0 && self.chance(70) {
                    format!("#/$defs/d{}", self.random.random_range(0..self.definitions))
                } else {
                    self.pick(&elsewhere).to_owned()
                };
                ("$ref", target.into())
            }
        }
    }

    fn number(&mut self) -> Value {
        if self.close && self.chance(80) {
            self.decimals = true;
            return serde_json::from_str(self.pick(&CLOSE)).unwrap();
        }
        match self.random.random_range(0..14) {
            0 => json!(-1),
            1 => json!(1.0),
            2 => json!(-0.0),
            3 => json!(0.1),
            4 => json!(0.3),
            5 => json!(1.5),
            6 => json!(9_007_199_254_740_993_u64),
            7 => json!(u64::MAX),
            8 => json!(i64::MIN),
            9 => json!(1e300),
            10 => json!(5e-324),
            11 => json!(1_152_921_504_606_846_976.0),
            _ => json!(self.random.random_range(0..5)),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.random.random_range(0..if depth == 0 { 6 } else { 10 }) {
            0 => Value::Null,
            1 => Value::Bool(self.chance(50)),
            2 | 3 => self.number(),
            4 | 5 => self.pick(&TEXTS).into(),
            6 | 7 => {
                let few = self.random.random_range(0..=4);
                (0..few).map(|_| self.value(depth - 1)).collect()
            }
            _ => {
                let few = self.random.random_range(0..=4);
                Value::Object((0..few).map(|_| (self.pick(&NAMES).to_owned(), self.value(depth - 1))).collect())
            }
        }
    }

    /// A document: any, or one that the schema has a chance to like.
    pub fn document(&mut self, schema: &Value) -> Value {
        if self.chance(30) { self.value(3) } else { self.liked(schema, 4) }
    }

    fn liked(&mut self, schema: &Value, depth: usize) -> Value {
        let Some(keywords) = schema.as_object().filter(|_| depth > 0 && !self.chance(5)) else {
            return self.value(depth.min(2));
        };
        if let Some(constant) = keywords.get("const").filter(|_| self.chance(80)) {
            return constant.clone();
        }
        if let Some(values) = keywords.get("enum").and_then(Value::as_array).filter(|_| self.chance(80)) {
            return values.choose(&mut self.random).cloned().unwrap_or_default();
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            if let Some(list) = keywords.get(keyword).and_then(Value::as_array).filter(|_| self.chance(50)) {
                let one = list.choose(&mut self.random).cloned().unwrap_or_default();
                return self.liked(&one, depth - 1);
            }
        }
        let kind = match &keywords.get("type") {
            Some(Value::String(kind)) => kind.clone(),
            Some(Value::Array(kinds)) => {
                kinds.choose(&mut self.random).and_then(Value::as_str).unwrap_or("null").to_owned()
            }
            _ if keywords.contains_key("items")
                || keywords.contains_key("prefixItems")
                || keywords.contains_key("contains") =>
            {
                "array".into()
            }
            _ => "object".into(),
        };
        match kind.as_str() {
            "object" => {
                let mut object = Map::new();
                let properties = keywords.get("properties").and_then(Value::as_object);
                for (name, child) in properties.into_iter().flatten() {
                    if self.chance(70) {
                        object.insert(name.clone(), self.liked(child, depth - 1));
                    }
                }
                for name in keywords.get("required").and_then(Value::as_array).into_iter().flatten() {
                    if self.chance(80) && !object.contains_key(name.as_str().unwrap()) {
                        object.insert(name.as_str().unwrap().to_owned(), self.value(1));
                    }
                }
                if self.chance(25) {
                    object.insert(self.pick(&NAMES).to_owned(), self.value(1));
                }
                Value::Object(object)
            }
            "array" => {
                let prefix = keywords.get("prefixItems").and_then(Value::as_array).cloned().unwrap_or_default();
                let item = keywords.get("items").or(keywords.get("contains")).cloned().unwrap_or(Value::Bool(true));
                let few = self.random.random_range(0..=4);
                (0..few).map(|n| self.liked(prefix.get(n).unwrap_or(&item), depth - 1)).collect()
            }
            "string" => self.pick(&TEXTS).into(),
            "number" | "integer" => self.number(),
            "boolean" => Value::Bool(self.chance(50)),
            _ => Value::Null,
        }
    }
}
