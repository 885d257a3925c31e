//! The [`Program`] as JSON, for `json_schema_violations()` in the database, whose comment says what its keys mean.

use serde_json::{Map, Value, json};

use super::pattern::Pattern;
use super::program::{Evaluated, Node, NodeId, Program, When};

/// What the interpreter runs.
pub(super) fn program(program: &Program, shared: &[bool]) -> Value {
    let writer = Writer { program, shared };
    let nodes = program.nodes.iter().enumerate().filter(|(id, _)| shared[*id]);
    let shared: Map<_, _> = nodes.map(|(id, node)| (id.to_string(), writer.node(node))).collect();
    json!({"root": writer.child(0), "shared": shared, "deep": program.is_recursive()})
}

struct Writer<'p> {
    program: &'p Program,
    shared: &'p [bool],
}

impl Writer<'_> {
    /// A node, or where to find it.
    fn child(&self, id: NodeId) -> Value {
        if self.shared[id] { json!({"go": id.to_string()}) } else { self.node(&self.program.nodes[id]) }
    }

    fn children(&self, ids: &[NodeId]) -> Value {
        ids.iter().map(|id| self.child(*id)).collect()
    }

    fn named(&self, named: &[(String, NodeId)]) -> Value {
        Value::Object(named.iter().map(|(name, id)| (name.clone(), self.child(*id))).collect())
    }

    fn node(&self, node: &Node) -> Value {
        let mut out = Map::new();
        out.insert("at".to_owned(), Value::from(node.place.as_str()));
        let (mut say, mut params) = (Map::new(), Map::new());
        // The interpreter has the values of these two already.
        let params_of = |keyword: &str| match keyword {
            "const" | "enum" => None,
            keyword => Some(node.params(keyword)).filter(|params| !params.is_empty()),
        };
        let mut kinds = [
            ("number", self.number(node)),
            ("string", Self::string(node)),
            ("array", self.array(node)),
            ("object", self.object(node)),
        ];
        for (kind, keywords) in &mut kinds {
            let keywords = std::mem::take(keywords);
            for keyword in keywords.keys() {
                let message = match keyword.as_str() {
                    "required" | "dependentRequired" => continue,
                    keyword => node.message(keyword),
                };
                if !message.starts_with("breaks ") {
                    say.insert(keyword.clone(), message.into());
                }
                params.extend(params_of(keyword).map(|params| (keyword.clone(), Value::Object(params))));
            }
            if !keywords.is_empty() {
                out.insert((*kind).to_owned(), Value::Object(keywords));
            }
        }
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                let message = node.message(key);
                if !message.starts_with("breaks ") {
                    say.insert(key.to_owned(), message.into());
                }
                params.extend(params_of(key).map(|params| (key.to_owned(), Value::Object(params))));
                out.insert(key.to_owned(), value);
            }
        };
        put("false", node.never.then_some(Value::Bool(true)));
        put("type", node.types.as_ref().map(|types| types.iter().map(|kind| kind.as_str()).collect()));
        put("const", node.constant.clone());
        // A list, so that a constant null is one.
        put("enum", node.choices.clone().map(Value::Array));
        let all: Vec<_> = node.references.iter().chain(&node.all_of).map(|id| self.child(*id)).collect();
        put("allOf", Some(Value::Array(all)).filter(|all| all.as_array().is_some_and(|all| !all.is_empty())));
        put("anyOf", node.any_of.as_deref().map(|ids| self.children(ids)));
        put("oneOf", node.one_of.as_deref().map(|ids| self.children(ids)));
        put("not", node.not.map(|id| self.child(id)));
        if let Some(condition) = &node.condition {
            put("if", Some(self.child(condition.test)));
            put("then", condition.then.map(|id| self.child(id)));
            put("else", condition.otherwise.map(|id| self.child(id)));
        }
        if !say.is_empty() {
            out.insert("say".to_owned(), Value::Object(say));
        }
        if !params.is_empty() {
            out.insert("params".to_owned(), Value::Object(params));
        }
        Value::Object(out)
    }

    fn number(&self, node: &Node) -> Map<String, Value> {
        let _ = self;
        let numbers = &node.numbers;
        let limits = [
            ("minimum", &numbers.minimum),
            ("maximum", &numbers.maximum),
            ("exclusiveMinimum", &numbers.exclusive_minimum),
            ("exclusiveMaximum", &numbers.exclusive_maximum),
            ("multipleOf", &numbers.multiple_of),
        ];
        let limits = limits.into_iter().filter_map(|(keyword, limit)| Some((keyword, limit.clone()?)));
        limits.map(|(keyword, limit)| (keyword.to_owned(), Value::Number(limit))).collect()
    }

    fn string(node: &Node) -> Map<String, Value> {
        let strings = &node.strings;
        let pattern = |pattern: &Pattern| -> Value {
            let parts = pattern.parts.iter().map(|part| match &part.bounded {
                Some(bounded) => json!([part.negated, bounded.regex, bounded.min, bounded.max]),
                None => json!([part.negated, part.regex]),
            });
            parts.collect()
        };
        let mut out = Map::new();
        out.extend(strings.min_length.map(|limit| ("minLength".to_owned(), limit.into())));
        out.extend(strings.max_length.map(|limit| ("maxLength".to_owned(), limit.into())));
        out.extend(strings.pattern.as_ref().map(|found| ("pattern".to_owned(), pattern(found))));
        out.extend(strings.format.as_ref().map(|(_, found)| ("format".to_owned(), pattern(found))));
        out
    }

    fn array(&self, node: &Node) -> Map<String, Value> {
        let arrays = &node.arrays;
        let mut out = Map::new();
        let mut put = |key: &str, value: Option<Value>| out.extend(value.map(|value| (key.to_owned(), value)));
        put("minItems", arrays.min_items.map(Value::from));
        put("maxItems", arrays.max_items.map(Value::from));
        put("uniqueItems", arrays.unique.then_some(Value::Bool(true)));
        put("prefixItems", (!arrays.prefix.is_empty()).then(|| self.children(&arrays.prefix)));
        put("items", arrays.items.map(|id| self.child(id)));
        if let Some(contains) = &arrays.contains {
            put("contains", Some(self.child(contains.node)));
            put("minContains", contains.min.map(Value::from));
            put("maxContains", contains.max.map(Value::from));
        }
        if let Some((id, evaluated)) = &arrays.unevaluated {
            put("unevaluatedItems", Some(self.child(*id)));
            put("evaluated", Some(self.evaluated(evaluated)));
        }
        out
    }

    fn object(&self, node: &Node) -> Map<String, Value> {
        let objects = &node.objects;
        let mut out = Map::new();
        let mut put = |key: &str, value: Option<Value>| out.extend(value.map(|value| (key.to_owned(), value)));
        put("minProperties", objects.min_properties.map(Value::from));
        put("maxProperties", objects.max_properties.map(Value::from));
        put("required", (!objects.required.is_empty()).then(|| json!(objects.required)));
        let dependent: Map<_, _> =
            objects.dependent_required.iter().map(|(name, names)| (name.clone(), json!(names))).collect();
        put("dependentRequired", (!dependent.is_empty()).then_some(Value::Object(dependent)));
        put("properties", (!objects.properties.is_empty()).then(|| self.named(&objects.properties)));
        put(
            "patternProperties",
            (!objects.pattern_properties.is_empty()).then(|| self.named(&objects.pattern_properties)),
        );
        let never = objects.additional.is_some_and(|id| self.program.nodes[id].never);
        put(
            "additionalProperties",
            objects.additional.map(|id| if never { Value::Bool(false) } else { self.child(id) }),
        );
        put("propertyNames", objects.names.map(|id| self.child(id)));
        put(
            "dependentSchemas",
            (!objects.dependent_schemas.is_empty()).then(|| self.named(&objects.dependent_schemas)),
        );
        if let Some((id, evaluated)) = &objects.unevaluated {
            put("unevaluatedProperties", Some(self.child(*id)));
            put("evaluated", Some(self.evaluated(evaluated)));
        }
        out
    }

    fn evaluated(&self, evaluated: &Evaluated) -> Value {
        let branches = evaluated.branches.iter().map(|branch| {
            let (key, when) = match &branch.when {
                When::Valid(id) => ("valid", self.child(*id)),
                When::Has(name) => ("has", Value::from(name.as_str())),
            };
            json!({key: when, "then": self.evaluated(&branch.then), "else": self.evaluated(&branch.otherwise)})
        });
        json!({
            "all": evaluated.all,
            "names": evaluated.names,
            "patterns": evaluated.patterns,
            "prefix": evaluated.prefix,
            "contains": self.children(&evaluated.contains),
            "branches": branches.collect::<Vec<_>>(),
        })
    }
}
