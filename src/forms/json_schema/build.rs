//! From the text of a schema to a [`Program`]: references are followed, `$dynamicRef` by one node for every meaning
//! that it has (<https://json-schema.org/draft/2020-12/json-schema-core#section-8.2.3.2>), keywords are read.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::Refusal;
use super::dialect::Dialect;
use super::documents::{Documents, Place};
use super::formats;
use super::pattern::Pattern;
use super::program::{Condition, Contains, Evaluated, Node, NodeId, Type};

/// How many schemas may stand inside of one another, references followed.
/// Each takes a few kilobytes of the stack.
const MAX_DEPTH: usize = 70;
/// How many schemas there may be, one that means several things counted for each.
const MAX_NODES: usize = 10_000;

/// What each dynamic anchor means: the outermost resource that has it decides.
type Scope<'s> = Rc<BTreeMap<String, Place<'s>>>;

pub(super) struct Builder<'s> {
    documents: Documents<'s>,
    assert_formats: bool,
    nodes: Vec<Node>,
    /// Nodes by the schema's address and what its dynamic anchors mean.
    known: HashMap<(usize, Vec<(String, usize)>), NodeId>,
    dialects: HashMap<Rc<str>, Dialect>,
    depth: usize,
}

type Built<T> = Result<T, Refusal>;

impl<'s> Builder<'s> {
    pub(super) fn new(documents: Documents<'s>, assert_formats: bool) -> Self {
        Self { documents, assert_formats, nodes: Vec::new(), known: HashMap::new(), dialects: HashMap::new(), depth: 0 }
    }

    /// The nodes; the first is the definition. What `unevaluated…` leaves is not computed yet. With them the documents,
    /// in which every schema is known by now.
    pub(super) fn build(mut self) -> Built<(Vec<Node>, Documents<'s>)> {
        let root = self.documents.root.clone();
        self.node(&root, &Scope::default())?;
        Ok((self.nodes, self.documents))
    }

    fn node(&mut self, place: &Place<'s>, scope: &Scope<'s>) -> Built<NodeId> {
        let scope = self.enter(place, scope);
        let key = (place.address(), scope.iter().map(|(name, place)| (name.clone(), place.address())).collect());
        if let Some(id) = self.known.get(&key) {
            return Ok(*id);
        }
        let too_much = |reason: String| Refusal::new(place.name.to_string(), format!("is refused: {reason}"));
        if self.nodes.len() >= MAX_NODES {
            return Err(too_much(format!("there are more than {MAX_NODES} schemas")));
        }
        if self.depth >= MAX_DEPTH {
            return Err(too_much(format!("more than {MAX_DEPTH} schemas stand inside of one another")));
        }
        let id = self.nodes.len();
        self.nodes.push(Node::default());
        self.known.insert(key, id);
        self.depth += 1;
        let mut node = match place.schema {
            Value::Bool(valid) => Node { never: !valid, ..Node::default() },
            Value::Object(schema) => self.keywords(place, schema, &scope)?,
            _ => return Err(too_much("is no schema: an object or a boolean".into())),
        };
        self.depth -= 1;
        node.place = place.name.to_string();
        self.nodes[id] = node;
        Ok(id)
    }

    /// Going into a schema resource binds its dynamic anchors, where nobody did before.
    fn enter(&self, place: &Place<'s>, scope: &Scope<'s>) -> Scope<'s> {
        let Some(anchors) = self.documents.dynamic_anchors(&place.base) else { return scope.clone() };
        if anchors.keys().all(|name| scope.contains_key(name)) {
            return scope.clone();
        }
        let mut entered = BTreeMap::clone(scope);
        for (name, place) in anchors {
            entered.entry(name.clone()).or_insert_with(|| place.clone());
        }
        entered.into()
    }

    fn dialect(&mut self, place: &Place<'s>) -> Built<Dialect> {
        if let Some(dialect) = self.dialects.get(&place.base) {
            return Ok(*dialect);
        }
        let resource = self.documents.resource(&place.base).unwrap_or(place).clone();
        let mut dialect = Dialect::of(&self.documents, &resource)?;
        dialect.formats |= self.assert_formats;
        self.dialects.insert(place.base.clone(), dialect);
        Ok(dialect)
    }

    fn keywords(&mut self, place: &Place<'s>, schema: &'s Map<String, Value>, scope: &Scope<'s>) -> Built<Node> {
        let dialect = self.dialect(place)?;
        let mut node = Node::default();
        if dialect.validation {
            validation(place, schema, &mut node)?;
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str).filter(|_| dialect.formats) {
            let pattern = formats::pattern(format);
            let pattern = pattern.unwrap_or_else(|| Err(format!("the format {format:?} cannot be asserted here")));
            let pattern = pattern.map_err(|reason| place.refuse("format", reason))?;
            node.strings.format = Some((format.to_owned(), pattern));
        }
        for keyword in ["$ref", "$dynamicRef"] {
            let Some(reference) = schema.get(keyword).and_then(Value::as_str) else { continue };
            let target = self.target(place, keyword, reference, scope)?;
            node.references.push(self.node(&target, scope)?);
        }
        if dialect.applicator {
            self.applicators(place, schema, scope, &mut node)?;
        }
        if dialect.unevaluated {
            let items = self.one(place, schema, "unevaluatedItems", scope)?;
            node.arrays.unevaluated = items.map(|node| (node, Evaluated::default()));
            let properties = self.one(place, schema, "unevaluatedProperties", scope)?;
            node.objects.unevaluated = properties.map(|node| (node, Evaluated::default()));
        }
        Ok(node)
    }

    fn target(&mut self, place: &Place<'s>, keyword: &str, reference: &str, scope: &Scope<'s>) -> Built<Place<'s>> {
        let target = self.documents.resolve(place, keyword, reference)?;
        // It is dynamic only where it finds a dynamic anchor to begin with.
        let anchor = target.schema.get("$dynamicAnchor").and_then(Value::as_str);
        let dynamic = anchor.filter(|anchor| {
            keyword == "$dynamicRef" && reference.split_once('#').is_some_and(|(_, fragment)| fragment == *anchor)
        });
        let bound = dynamic.and_then(|anchor| self.enter(&target, scope).get(anchor).cloned());
        Ok(bound.unwrap_or(target))
    }

    fn one(
        &mut self,
        place: &Place<'s>,
        schema: &'s Map<String, Value>,
        keyword: &str,
        scope: &Scope<'s>,
    ) -> Built<Option<NodeId>> {
        let Some(value) = schema.get(keyword) else { return Ok(None) };
        self.node(&self.documents.child(place, &[keyword], value), scope).map(Some)
    }

    fn list(
        &mut self,
        place: &Place<'s>,
        schema: &'s Map<String, Value>,
        keyword: &str,
        scope: &Scope<'s>,
    ) -> Built<Option<Vec<NodeId>>> {
        let Some(list) = schema.get(keyword).and_then(Value::as_array) else { return Ok(None) };
        let each = list.iter().enumerate();
        let nodes = each.map(|(n, value)| {
            let place = self.documents.child(place, &[keyword, &n.to_string()], value);
            self.node(&place, scope)
        });
        nodes.collect::<Built<_>>().map(Some)
    }

    fn named(
        &mut self,
        place: &Place<'s>,
        schema: &'s Map<String, Value>,
        keyword: &str,
        scope: &Scope<'s>,
    ) -> Built<Vec<(String, NodeId)>> {
        let Some(named) = schema.get(keyword).and_then(Value::as_object) else { return Ok(Vec::new()) };
        let nodes = named.iter().map(|(name, value)| {
            let place = self.documents.child(place, &[keyword, name], value);
            Ok((name.clone(), self.node(&place, scope)?))
        });
        nodes.collect()
    }

    fn applicators(
        &mut self,
        place: &Place<'s>,
        schema: &'s Map<String, Value>,
        scope: &Scope<'s>,
        node: &mut Node,
    ) -> Built<()> {
        node.all_of = self.list(place, schema, "allOf", scope)?.unwrap_or_default();
        node.any_of = self.list(place, schema, "anyOf", scope)?;
        node.one_of = self.list(place, schema, "oneOf", scope)?;
        node.not = self.one(place, schema, "not", scope)?;
        if let Some(test) = self.one(place, schema, "if", scope)? {
            let then = self.one(place, schema, "then", scope)?;
            let otherwise = self.one(place, schema, "else", scope)?;
            node.condition = Some(Condition { test, then, otherwise });
        }
        node.arrays.prefix = self.list(place, schema, "prefixItems", scope)?.unwrap_or_default();
        node.arrays.items = self.one(place, schema, "items", scope)?;
        if let Some(contains) = self.one(place, schema, "contains", scope)? {
            let (min, max) = (integer(place, schema, "minContains")?, integer(place, schema, "maxContains")?);
            let counted = self.dialect(place)?.validation;
            node.arrays.contains =
                Some(Contains { node: contains, min: min.filter(|_| counted), max: max.filter(|_| counted) });
        }
        let objects = &mut node.objects;
        objects.properties = self.named(place, schema, "properties", scope)?;
        for (source, child) in self.named(place, schema, "patternProperties", scope)? {
            let refuse = |reason: String| {
                let place = place.at(&["patternProperties", &source], place.schema);
                Refusal::new(place.name.to_string(), format!("is refused: {reason}"))
            };
            let pattern = Pattern::new(&source).map_err(refuse)?;
            if pattern.parts.iter().any(|part| !part.portable) {
                return Err(refuse("it repeats something more than 255 times".into()));
            }
            // Every name is held against every one of them.
            if pattern.parts.iter().any(|part| part.skips > 20) {
                return Err(refuse("it has more than 20 pieces that may be left out".into()));
            }
            let regex =
                pattern.single().ok_or_else(|| refuse("it looks ahead, which a name's pattern cannot here".into()))?;
            if objects.pattern_properties.iter().any(|(known, _)| known == regex) {
                return Err(refuse("another pattern means the same".into()));
            }
            objects.pattern_properties.push((regex.to_owned(), child));
        }
        objects.additional = self.one(place, schema, "additionalProperties", scope)?;
        objects.names = self.one(place, schema, "propertyNames", scope)?;
        objects.dependent_schemas = self.named(place, schema, "dependentSchemas", scope)?;
        Ok(())
    }
}

/// The vocabulary that asserts something by itself. Its values have the types that the meta-schema demands.
fn validation(place: &Place<'_>, schema: &Map<String, Value>, node: &mut Node) -> Built<()> {
    let number = |keyword: &str| schema.get(keyword).and_then(Value::as_number).cloned();
    let integer = |keyword: &str| integer(place, schema, keyword);
    node.types = match schema.get("type") {
        Some(Value::String(one)) => Some(types([one.as_str()].into_iter())),
        Some(Value::Array(several)) => Some(types(several.iter().filter_map(Value::as_str))),
        _ => None,
    };
    node.types_as_written = schema.get("type").cloned().unwrap_or_default();
    node.constant = schema.get("const").cloned();
    node.choices = schema.get("enum").and_then(Value::as_array).cloned();
    node.numbers.minimum = number("minimum");
    node.numbers.maximum = number("maximum");
    node.numbers.exclusive_minimum = number("exclusiveMinimum");
    node.numbers.exclusive_maximum = number("exclusiveMaximum");
    node.numbers.multiple_of = number("multipleOf");
    node.strings.min_length = integer("minLength")?;
    node.strings.max_length = integer("maxLength")?;
    if let Some(source) = schema.get("pattern").and_then(Value::as_str) {
        node.strings.pattern =
            Some(Pattern::new(source).map_err(|reason| place.refuse("pattern", format!("is refused: {reason}")))?);
    }
    node.arrays.min_items = integer("minItems")?;
    node.arrays.max_items = integer("maxItems")?;
    node.arrays.unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
    node.objects.min_properties = integer("minProperties")?;
    node.objects.max_properties = integer("maxProperties")?;
    node.objects.required = strings(schema.get("required"));
    if let Some(dependent) = schema.get("dependentRequired").and_then(Value::as_object) {
        let each = dependent.iter().map(|(name, required)| (name.clone(), strings(Some(required))));
        node.objects.dependent_required = each.filter(|(_, required)| !required.is_empty()).collect();
    }
    Ok(())
}

fn types<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Type> {
    let names: Vec<_> = names.collect();
    Type::ALL.into_iter().filter(|known| names.contains(&known.as_str())).collect()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A limit; 2.0 is one, too.
fn integer(place: &Place<'_>, schema: &Map<String, Value>, keyword: &str) -> Built<Option<u64>> {
    let Some(number) = schema.get(keyword).and_then(Value::as_number) else { return Ok(None) };
    let limit = number.as_u64().or_else(|| whole(number));
    match limit.filter(|limit| i64::try_from(*limit).is_ok()) {
        Some(limit) => Ok(Some(limit)),
        None => Err(place.refuse(keyword, "is no whole number from 0 to 2^63")),
    }
}

/// The whole number that a decimal is.
fn whole(number: &Number) -> Option<u64> {
    use bigdecimal::{BigDecimal, ToPrimitive as _};
    let number: BigDecimal = number.to_string().parse().ok()?;
    if number.is_integer() { number.to_u64() } else { None }
}
