//! The validator in Rust: the `jsonschema` crate, on a schema that was written from the [`Program`], so that it has
//! nothing left to interpret: every node is a definition of its own, every pattern is one that all engines read alike.
//!
//! Always holds: nothing is fetched, nothing backtracks, numbers are compared as decimals.

use std::collections::{BTreeMap, HashMap, HashSet};

use bigdecimal::{BigDecimal, Zero as _};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Keyword, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::documents::push_segment;
use super::pattern::Pattern;
use super::program::{Node, NodeId, Program, Type};
use super::violations::{self, MAX_DATA_DEPTH, Params, READ_DEPTH, TOO_DEEP, UNREADABLE};
use crate::error::SchemaViolation;
use crate::validation::holds_nul;

/// A validator in this process.
pub(super) struct Edge {
    validator: Validator,
    /// Place, messages and parameters, by node and keyword.
    said: BTreeMap<NodeId, Said>,
    limits_depth: bool,
}

struct Said {
    place: String,
    messages: BTreeMap<String, String>,
    params: BTreeMap<String, Params>,
    dependent: Vec<(String, Vec<String>)>,
}

impl Edge {
    /// # Errors
    /// What the crate refuses, which no schema should come to.
    pub(super) fn new(program: &Program) -> Result<Self, String> {
        let ids = 0..program.nodes.len();
        let mut definitions: Map<_, _> = ids.map(|id| (format!("n{id}"), schema(program, id))).collect();
        for (id, node) in program.nodes.iter().enumerate() {
            for (keyword, part) in in_parts(node) {
                definitions.insert(format!("n{id}.{keyword}"), part);
            }
        }
        let root = json!({"$ref": "#/$defs/n0", "$defs": definitions});
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .with_keyword("multipleOf", |_, divisor, _| Ok(Box::new(MultipleOf::new(divisor)?)))
            .should_validate_formats(false)
            .build(&root)
            .map_err(|error| error.to_string())?;
        let nodes = program.nodes.iter().enumerate();
        let said = nodes.map(|(id, node)| {
            let (mut messages, mut params) = (BTreeMap::new(), BTreeMap::new());
            let ours = ["false", "pattern", "format", "multipleOf", "contains"].map(str::to_owned);
            for keyword in definitions_of(&root, id).chain(ours) {
                messages.insert(keyword.clone(), node.message(&keyword));
                params.insert(keyword.clone(), node.params(&keyword));
            }
            (
                id,
                Said {
                    place: node.place.clone(),
                    messages,
                    params,
                    dependent: node.objects.dependent_required.clone(),
                },
            )
        });
        Ok(Self { said: said.collect(), validator, limits_depth: program.is_recursive() })
    }

    /// What is wrong with the data, see [`violations::arrange`].
    pub(super) fn violations(&self, data: &Value) -> Vec<SchemaViolation> {
        if self.limits_depth && violations::is_deeper(data, MAX_DATA_DEPTH) {
            return vec![of_the_whole("maxDepth", TOO_DEEP, violations::param("limit", MAX_DATA_DEPTH))];
        }
        if violations::is_nested(data, READ_DEPTH) {
            return vec![of_the_whole("maxDepth", UNREADABLE, violations::param("limit", READ_DEPTH))];
        }
        // No database has such data, so none could say that it is valid.
        if holds_nul(data) {
            return vec![of_the_whole("nul", "holds a NUL character, which PostgreSQL cannot store", Params::new())];
        }
        let data = as_stored(data);
        if self.validator.is_valid(&data) {
            return Vec::new();
        }
        let errors: Vec<_> = self.validator.iter_errors(&data).collect();
        let follows = follows(&errors);
        let told = errors.iter().filter(|error| !follows.contains(&asked(error)));
        let mut told = violations::arrange(told.flat_map(|error| self.said(error)).collect());
        // The verdict stands, whatever is told of it.
        if told.is_empty() {
            told.push(of_the_whole("invalid", "is not valid", Params::new()));
        }
        told
    }

    /// In our words, and at the place in the schema as it was written.
    fn said(&self, error: &ValidationError<'_>) -> Vec<SchemaViolation> {
        let mut segments = error.schema_path().as_str().split('/').skip(2);
        let definition = segments.next().unwrap_or_default();
        let keyword = segments.next();
        let (node, part) = definition.split_once('.').map_or((definition, None), |(node, part)| (node, Some(part)));
        let said = node.trim_start_matches('n').parse().ok().and_then(|id: NodeId| self.said.get(&id));
        let place = said.map_or("", |said| said.place.as_str());
        let here = error.instance_path().as_str();
        let keyword = match part.or(keyword) {
            // Which of the three it is differs by what was found first.
            Some("minContains" | "maxContains") => "contains",
            Some(keyword) => keyword,
            None => "false",
        };
        let say = |instance_path: String, params: Params| {
            let mut schema_path = place.to_owned();
            if keyword != "false" {
                push_segment(&mut schema_path, keyword);
            }
            let message = said.and_then(|said| said.messages.get(keyword)).cloned();
            let message = message.unwrap_or_else(|| format!("breaks {keyword}"));
            SchemaViolation { instance_path, schema_path, keyword: keyword.to_owned(), message, params }
        };
        let inside = |name: &str| {
            let mut at = here.to_owned();
            push_segment(&mut at, name);
            at
        };
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let missing = property.as_str().unwrap_or_default();
                let params: Vec<_> = if keyword == "dependentRequired" {
                    said.map(|said| said.dependents(error.instance(), missing)).unwrap_or_default()
                } else {
                    vec![violations::param("missingProperty", missing)]
                };
                let each = params.into_iter().map(|params| say(here.to_owned(), params));
                each.map(|violation| SchemaViolation { message: violations::missing(missing), ..violation }).collect()
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let params = |name: &String| violations::param("additionalProperty", name.as_str());
                unexpected.iter().map(|name| say(inside(name), params(name))).collect()
            }
            ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let params = |name: &String| violations::param("unevaluatedProperty", name.as_str());
                unexpected.iter().map(|name| say(inside(name), params(name))).collect()
            }
            ValidationErrorKind::PropertyNames { error } => {
                let name = error.instance().as_str().unwrap_or_default();
                let mut params = params(said, keyword, error);
                params.insert("propertyName".to_owned(), name.into());
                let violation = say(inside(name), params);
                vec![SchemaViolation { message: violations::named(&violation.message), ..violation }]
            }
            _ => vec![say(here.to_owned(), params(said, keyword, error))],
        }
    }
}

impl Said {
    /// Of the properties that are there, those that ask for a missing one.
    fn dependents(&self, object: &Value, missing: &str) -> Vec<Params> {
        let asks = self.dependent.iter().filter(|(name, required)| {
            object.get(name).is_some() && required.iter().any(|required| required == missing)
        });
        let params = asks.map(|(name, required)| {
            let params = json!({"property": name, "missingProperty": missing, "depsCount": required.len(),
                "deps": required.join(", ")});
            params.as_object().cloned().unwrap_or_default()
        });
        params.collect()
    }
}

/// The parameters of a keyword for a value.
fn params(said: Option<&Said>, keyword: &str, error: &ValidationError<'_>) -> Params {
    match error.kind() {
        ValidationErrorKind::OneOfMultipleValid { context } => {
            let passing = context.iter().enumerate().filter(|(_, errors)| errors.is_empty());
            violations::param("passingSchemas", passing.map(|(n, _)| n).take(2).collect::<Vec<_>>())
        }
        ValidationErrorKind::OneOfNotValid { .. } => violations::param("passingSchemas", Value::Null),
        ValidationErrorKind::UniqueItems => {
            error.instance().as_array().map(|items| violations::equal_items(items)).unwrap_or_default()
        }
        _ => said.and_then(|said| said.params.get(keyword)).cloned().unwrap_or_default(),
    }
}

fn of_the_whole(keyword: &str, message: &str, params: Params) -> SchemaViolation {
    SchemaViolation {
        instance_path: String::new(),
        schema_path: String::new(),
        keyword: keyword.to_owned(),
        message: message.to_owned(),
        params,
    }
}

/// An application of a schema: how the schema was come to, and where in the data.
type Application<'e> = (&'e str, &'e str);

/// The application whose `unevaluated…` an error is about; for another error one that there is not.
fn asked<'e>(error: &'e ValidationError<'_>) -> Application<'e> {
    use ValidationErrorKind::{UnevaluatedItems, UnevaluatedProperties};
    if !matches!(error.kind(), UnevaluatedItems { .. } | UnevaluatedProperties { .. }) {
        return ("none", "");
    }
    let path = error.evaluation_path().as_str();
    (path.rsplit_once('/').map_or("", |(schema, _)| schema), error.instance_path().as_str())
}

/// The applications in which something is unevaluated only because the schema that evaluates it failed, which another
/// error tells: one from inside of the same application.
fn follows<'e>(errors: &'e [ValidationError<'_>]) -> HashSet<Application<'e>> {
    let mut applications: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (schema, at) in errors.iter().map(asked).filter(|(schema, _)| *schema != "none") {
        applications.entry(schema).or_default().insert(at);
    }
    let mut found = HashSet::new();
    for error in errors {
        let own = asked(error);
        for schema in parents(came_by(error)) {
            let Some((schema, places)) = applications.get_key_value(schema) else { continue };
            let at = parents(error.instance_path().as_str()).filter_map(|at| places.get(at));
            found.extend(at.map(|at| (*schema, *at)).filter(|application| *application != own));
        }
    }
    found
}

/// By which keywords a schema was come to. Of a name's error the one inside tells.
fn came_by<'e>(error: &'e ValidationError<'_>) -> &'e str {
    match error.kind() {
        ValidationErrorKind::PropertyNames { error } => error.evaluation_path().as_str(),
        _ => error.evaluation_path().as_str(),
    }
}

/// A path, and those that it begins with.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent))
}

fn definitions_of(root: &Value, id: NodeId) -> impl Iterator<Item = String> {
    let keywords = root["$defs"][format!("n{id}")].as_object().map(|schema| schema.keys().cloned().collect::<Vec<_>>());
    keywords.unwrap_or_default().into_iter()
}

/// Keywords of a node that are definitions of their own, by their names: patterns that are several expressions, and
/// `multipleOf`, for the crate does not say how it came to a keyword that is ours.
fn in_parts(node: &Node) -> impl Iterator<Item = (&'static str, Value)> {
    let pattern = node.strings.pattern.iter().filter(|pattern| pattern.single().is_none());
    let pattern = pattern.map(|pattern| ("pattern", all_parts(pattern)));
    let format = node.strings.format.iter().map(|(_, pattern)| ("format", all_parts(pattern)));
    let divisor = node.numbers.multiple_of.iter();
    let multiple = divisor.map(|divisor| ("multipleOf", json!({"anyOf": [{"multipleOf": divisor}]})));
    pattern.chain(format).chain(multiple)
}

fn all_parts(pattern: &Pattern) -> Value {
    let parts = pattern.parts.iter().map(|part| {
        let matches = json!({"pattern": part.regex});
        if part.negated { json!({"type": "string", "not": matches}) } else { matches }
    });
    // One violation, however many parts fail.
    json!({"if": {"type": "string"}, "then": {"anyOf": [{"allOf": parts.collect::<Vec<_>>()}]}})
}

fn reference(id: NodeId) -> Value {
    json!({"$ref": format!("#/$defs/n{id}")})
}

fn references(ids: &[NodeId]) -> Value {
    ids.iter().copied().map(reference).collect()
}

fn by_name(named: &[(String, NodeId)]) -> Value {
    Value::Object(named.iter().map(|(name, id)| (name.clone(), reference(*id))).collect())
}

/// A node as a schema.
fn schema(program: &Program, id: NodeId) -> Value {
    let node = &program.nodes[id];
    if node.never {
        return Value::Bool(false);
    }
    let mut schema = Map::new();
    let mut put = |keyword: &str, value: Option<Value>| {
        if let Some(value) = value {
            schema.insert(keyword.to_owned(), value);
        }
    };
    let number = |number: &Option<serde_json::Number>| number.clone().map(Value::Number);
    let (numbers, strings, arrays, objects) = (&node.numbers, &node.strings, &node.arrays, &node.objects);
    put("type", node.types.as_ref().map(|types| types.iter().map(|kind| Type::as_str(*kind)).collect()));
    put("const", node.constant.as_ref().map(as_stored));
    put("enum", node.choices.as_ref().map(|choices| choices.iter().map(as_stored).collect()));
    put("minimum", number(&numbers.minimum).as_ref().map(as_stored));
    put("maximum", number(&numbers.maximum).as_ref().map(as_stored));
    put("exclusiveMinimum", number(&numbers.exclusive_minimum).as_ref().map(as_stored));
    put("exclusiveMaximum", number(&numbers.exclusive_maximum).as_ref().map(as_stored));
    put("minLength", strings.min_length.map(Value::from));
    put("maxLength", strings.max_length.map(Value::from));
    put("pattern", strings.pattern.as_ref().and_then(Pattern::single).map(Value::from));
    put("minItems", arrays.min_items.map(Value::from));
    put("maxItems", arrays.max_items.map(Value::from));
    put("uniqueItems", arrays.unique.then_some(Value::Bool(true)));
    put("prefixItems", Some(references(&arrays.prefix)).filter(|_| !arrays.prefix.is_empty()));
    put("items", arrays.items.map(reference));
    put("contains", arrays.contains.as_ref().map(|contains| reference(contains.node)));
    put("minContains", arrays.contains.as_ref().and_then(|contains| contains.min).map(Value::from));
    put("maxContains", arrays.contains.as_ref().and_then(|contains| contains.max).map(Value::from));
    put("unevaluatedItems", arrays.unevaluated.as_ref().map(|(node, _)| reference(*node)));
    put("minProperties", objects.min_properties.map(Value::from));
    put("maxProperties", objects.max_properties.map(Value::from));
    put("required", Some(json!(objects.required)).filter(|_| !objects.required.is_empty()));
    let dependent = objects.dependent_required.iter().map(|(name, required)| (name.clone(), json!(required)));
    put("dependentRequired", Some(Value::Object(dependent.collect())));
    put("properties", Some(by_name(&objects.properties)));
    put("patternProperties", Some(by_name(&objects.pattern_properties)));
    // Literally: the crate then tells the names.
    let unless_never = |id: NodeId| if program.nodes[id].never { Value::Bool(false) } else { reference(id) };
    put("additionalProperties", objects.additional.map(unless_never));
    put("propertyNames", objects.names.map(reference));
    put("dependentSchemas", Some(by_name(&objects.dependent_schemas)));
    put("unevaluatedProperties", objects.unevaluated.as_ref().map(|(node, _)| unless_never(*node)));
    put("anyOf", node.any_of.as_deref().map(references));
    put("oneOf", node.one_of.as_deref().map(references));
    put("not", node.not.map(reference));
    if let Some(condition) = &node.condition {
        put("if", Some(reference(condition.test)));
        put("then", condition.then.map(reference));
        put("else", condition.otherwise.map(reference));
    }
    let all = node.references.iter().chain(&node.all_of).copied().map(reference);
    let all: Vec<_> =
        all.chain(in_parts(node).map(|(keyword, _)| json!({"$ref": format!("#/$defs/n{id}.{keyword}")}))).collect();
    put("allOf", Some(Value::Array(all)).filter(|all| all.as_array().is_some_and(|all| !all.is_empty())));
    Value::Object(schema)
}

/// The 64-bit float that the smallest integer of 64 bits is.
const LEAST_INTEGER: f64 = -9_223_372_036_854_775_808.0;

/// The data as the database stores it: a decimal that is a whole number of 64 bits is that number, and not the binary
/// fraction next to it.
fn as_stored(data: &Value) -> Value {
    match data {
        Value::Number(number) if number.is_f64() => {
            // Read as binary it is -2^63; as the decimal that it is written as, it is less. No schema has it.
            if number.as_f64() == Some(LEAST_INTEGER) {
                return LEAST_INTEGER.next_down().into();
            }
            violations::whole(number).unwrap_or_else(|| data.clone())
        }
        Value::Array(items) => items.iter().map(as_stored).collect(),
        Value::Object(properties) => {
            Value::Object(properties.iter().map(|(name, value)| (name.clone(), as_stored(value))).collect())
        }
        other => other.clone(),
    }
}

/// `multipleOf` on decimals, as PostgreSQL's `numeric` counts: 0.3 is three times 0.1.
struct MultipleOf(BigDecimal);

impl MultipleOf {
    fn new(divisor: &Value) -> Result<Self, ValidationError<'static>> {
        let divisor = divisor.to_string().parse().map_err(|_| ValidationError::custom("is no number"))?;
        Ok(Self(divisor))
    }
}

impl<'i> Keyword<'i> for MultipleOf {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) { Ok(()) } else { Err(ValidationError::custom("is no multiple")) }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        let Value::Number(number) = instance else { return true };
        let number: Option<BigDecimal> = number.to_string().parse().ok();
        number.is_some_and(|number| (number % &self.0).is_zero())
    }
}
