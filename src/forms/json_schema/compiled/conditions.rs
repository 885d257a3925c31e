//! What can be said of a value in one expression.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use crate::sql::quote_literal;

use super::super::pattern::Pattern;
use super::super::program::{Node, NodeId, Numbers, Strings, Type};
use super::{Compiler, Operand, json, matches, texts};

/// Objects with more properties than this are looked through by a loop: `jsonb - text[]` compares each with each.
const MANY_PROPERTIES: usize = 100;
/// How many schemas may be written out in one expression instead of as a function.
const MANY_SCHEMAS: usize = 40;

/// Conditions by the type of a value; `None`: a value of this type is wrong.
struct ByType {
    kinds: [(&'static str, Option<Vec<String>>); 6],
    /// Whether `type` leaves something out.
    narrowed: bool,
    /// What says all in place of the others, see [`range`].
    range: Option<(String, String)>,
}

impl Compiler<'_> {
    /// A condition that is all that a node demands, if there is one. `present`: the value is there; else it may be
    /// missing, which is right.
    pub(super) fn whole(&self, id: NodeId, value: &Operand, present: bool) -> Option<String> {
        if self.function(id).is_some() || self.shape.cost[id] > MANY_SCHEMAS {
            return None;
        }
        let (conditions, complete) = self.conditions(id, value, present);
        complete.then(|| if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") })
    }

    /// Whether a node is small enough to be asked of an expression instead of a variable.
    pub(super) fn is_plain(&self, id: NodeId) -> bool {
        let node = &self.program.nodes[id];
        let mut in_place = node.in_place();
        let (arrays, objects) = (&node.arrays, &node.objects);
        self.function(id).is_none()
            && node.deeper().next().is_none()
            && !arrays.unique
            && objects.required.is_empty()
            && objects.dependent_required.is_empty()
            && objects.min_properties.is_none()
            && objects.max_properties.is_none()
            && objects.dependent_schemas.is_empty()
            && in_place.all(|child| self.shape.cost[child] < 4 && self.is_plain(child))
    }

    /// What can be said at once, and whether that is all.
    pub(super) fn conditions(&self, id: NodeId, value: &Operand, present: bool) -> (Vec<String>, bool) {
        let node = &self.program.nodes[id];
        if node.never {
            return (vec![if present { "false".to_owned() } else { format!("{} IS NULL", value.json) }], true);
        }
        let mut complete = node.arrays.prefix.is_empty()
            && !node.arrays.unique
            && node.arrays.items.is_none_or(|child| self.program.nodes[child].is_trivial())
            && node.arrays.contains.is_none()
            && node.arrays.unevaluated.is_none()
            && node.objects.min_properties.is_none()
            && node.objects.max_properties.is_none()
            && node.objects.dependent_schemas.is_empty()
            && node.objects.unevaluated.is_none()
            && !self.loops_over_properties(node)
            && node.objects.properties.iter().all(|(_, child)| self.is_plain(*child));
        let mut conditions = Vec::new();
        conditions.extend(self.by_type(node, value).sql(value, present));
        let mut more = Vec::new();
        let values = node.choices.iter().filter(|values| !all_strings(values));
        for values in values {
            let values: Vec<_> = values.iter().map(json).collect();
            more.push(if values.is_empty() {
                "false".to_owned()
            } else {
                format!("{} IN ({})", value.json, values.join(","))
            });
        }
        if let Some(constant) = node.constant.as_ref().filter(|constant| !constant.is_string()) {
            more.push(format!("{} = {}", value.json, json(constant)));
        }
        for child in node.references.iter().chain(&node.all_of) {
            match self.whole(*child, value, true) {
                Some(condition) if condition == "true" => {}
                Some(condition) => more.push(condition),
                None => complete = false,
            }
        }
        match self.in_place(node, value) {
            Some(conditions) => more.extend(conditions),
            None => complete = false,
        }
        if !more.is_empty() {
            let more = more.join(" AND ");
            conditions.push(if present { more } else { format!("({} IS NULL OR {more})", value.json) });
        }
        (conditions, complete)
    }

    /// `anyOf`, `oneOf`, `not` and `if`, where all of them can be said at once.
    pub(super) fn in_place(&self, node: &Node, value: &Operand) -> Option<Vec<String>> {
        let mut conditions = Vec::new();
        let each = |ids: &[NodeId]| ids.iter().map(|id| self.whole(*id, value, true)).collect::<Option<Vec<_>>>();
        if let Some(ids) = &node.any_of {
            let any: Vec<_> = each(ids)?.into_iter().map(|condition| format!("({condition})")).collect();
            conditions.push(format!("({})", any.join(" OR ")));
        }
        if let Some(ids) = &node.one_of {
            let sum: Vec<_> = each(ids)?.into_iter().map(|condition| format!("({condition})::int")).collect();
            conditions.push(format!("{} = 1", sum.join(" + ")));
        }
        if let Some(id) = node.not {
            conditions.push(format!("NOT ({})", self.whole(id, value, true)?));
        }
        if let Some(condition) =
            node.condition.as_ref().filter(|condition| condition.then.is_some() || condition.otherwise.is_some())
        {
            let branch = |id: Option<NodeId>| id.map_or(Some("true".to_owned()), |id| self.whole(id, value, true));
            let mut case = String::new();
            let _ = write!(
                case,
                "CASE WHEN {} THEN {} ELSE {} END",
                self.whole(condition.test, value, true)?,
                branch(condition.then)?,
                branch(condition.otherwise)?
            );
            conditions.push(case);
        }
        Some(conditions)
    }

    /// Whether each property has to be looked at, whatever its name.
    pub(super) fn loops_over_properties(&self, node: &Node) -> bool {
        let objects = &node.objects;
        let trivial = |id: NodeId| self.program.nodes[id].is_trivial();
        let never = |id: NodeId| self.program.nodes[id].never;
        objects.pattern_properties.iter().any(|(_, child)| !trivial(*child))
            || objects.names.is_some_and(|child| !trivial(child))
            || objects.additional.is_some_and(|child| {
                !trivial(child)
                    && (!never(child)
                        || !objects.pattern_properties.is_empty()
                        || objects.properties.len() > MANY_PROPERTIES)
            })
    }

    fn by_type(&self, node: &Node, value: &Operand) -> ByType {
        let mut by = ByType::new(node.types.as_deref(), &value.json);
        if let Some(values) = node.choices.as_ref().filter(|values| all_strings(values)) {
            by.only_strings(format!(
                "{} IN ({})",
                value.text,
                values.iter().filter_map(Value::as_str).map(quote_literal).collect::<Vec<_>>().join(",")
            ));
        }
        if let Some(constant) = node.constant.as_ref().and_then(Value::as_str) {
            by.only_strings(format!("{} = {}", value.text, quote_literal(constant)));
        }
        if let Some(conditions) = range(node, &value.json) {
            by.range = Some(conditions);
        } else {
            by.extend("number", numbers(&node.numbers, &value.json));
        }
        for condition in strings(&node.strings, &value.text) {
            by.add("string", condition);
        }
        let length = format!("jsonb_array_length({})", value.json);
        by.extend("array", between(&length, node.arrays.min_items, node.arrays.max_items));
        self.object(node, value, &mut by);
        by
    }

    fn object(&self, node: &Node, value: &Operand, by: &mut ByType) {
        let (objects, object) = (&node.objects, &value.json);
        let has = |names: &[String]| match names {
            [name] => format!("{object} ? {}", quote_literal(name)),
            names => format!("{object} ?& {}", texts(names.iter().map(String::as_str))),
        };
        if !objects.required.is_empty() {
            by.add("object", has(&objects.required));
        }
        if objects.additional.is_some_and(|child| self.program.nodes[child].never) && !self.loops_over_properties(node)
        {
            let names = texts(objects.properties.iter().map(|(name, _)| name.as_str()));
            let rest = if objects.properties.is_empty() { object.clone() } else { format!("({object} - {names})") };
            by.add("object", format!("{rest} = '{{}}'::jsonb"));
        }
        for (name, names) in &objects.dependent_required {
            by.add("object", format!("(NOT {object} ? {} OR {})", quote_literal(name), has(names)));
        }
        for (name, child) in objects.properties.iter().filter(|(_, child)| self.is_plain(*child)) {
            let present = objects.required.contains(name);
            let (conditions, _) = self.conditions(*child, &Operand::property(object, name), present);
            by.extend("object", conditions);
        }
    }
}

impl ByType {
    fn new(types: Option<&[Type]>, json: &str) -> Self {
        let allowed = |kind: Type| types.is_none_or(|types| types.contains(&kind));
        let kind = |name, kind| (name, allowed(kind).then(Vec::new));
        let mut by = Self {
            kinds: [
                kind("object", Type::Object),
                kind("array", Type::Array),
                kind("string", Type::String),
                kind("number", Type::Number),
                kind("boolean", Type::Boolean),
                kind("null", Type::Null),
            ],
            narrowed: types.is_some(),
            range: None,
        };
        if types.is_some_and(|types| types.contains(&Type::Integer) && !types.contains(&Type::Number)) {
            by.kinds[3].1 = Some(vec![format!("{json}::numeric % 1 = 0")]);
        }
        by
    }

    fn add(&mut self, kind: &str, condition: String) {
        let found = self.kinds.iter_mut().find(|(name, _)| *name == kind);
        if let Some((_, Some(conditions))) = found {
            conditions.push(condition);
        }
    }

    fn extend(&mut self, kind: &str, conditions: impl IntoIterator<Item = String>) {
        conditions.into_iter().for_each(|condition| self.add(kind, condition));
    }

    fn only_strings(&mut self, condition: String) {
        self.narrowed = true;
        self.kinds.iter_mut().filter(|(name, _)| *name != "string").for_each(|(_, conditions)| *conditions = None);
        self.add("string", condition);
    }

    fn sql(self, value: &Operand, present: bool) -> Option<String> {
        let Operand { json, .. } = value;
        // What another type makes: wrong where types are named, except where nothing is there.
        let otherwise = match (self.narrowed, present) {
            (false, _) => "true".to_owned(),
            (true, true) => "false".to_owned(),
            (true, false) => format!("{json} IS NULL"),
        };
        if let Some((within, then)) = self.range {
            return Some(format!("CASE WHEN {within} THEN {then} ELSE {otherwise} END"));
        }
        let mut whens = String::new();
        for (kind, conditions) in self.kinds {
            let Some(conditions) = conditions else { continue };
            if conditions.is_empty() && !self.narrowed {
                continue;
            }
            let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
            let _ = write!(whens, " WHEN '{kind}' THEN {conditions}");
        }
        match (whens.is_empty(), self.narrowed) {
            (true, false) => None,
            (true, true) => Some(otherwise),
            (false, _) => Some(format!("CASE jsonb_typeof({json}){whens} ELSE {otherwise} END")),
        }
    }
}

fn all_strings(values: &[Value]) -> bool {
    !values.is_empty() && values.iter().all(Value::is_string)
}

fn numbers(numbers: &Numbers, json: &str) -> Vec<String> {
    let limits: [(&str, &Option<Number>); 4] = [
        (">=", &numbers.minimum),
        (">", &numbers.exclusive_minimum),
        ("<=", &numbers.maximum),
        ("<", &numbers.exclusive_maximum),
    ];
    let limits = limits.into_iter().filter_map(|(operator, limit)| Some((operator, limit.as_ref()?)));
    let mut conditions: Vec<_> =
        limits.map(|(operator, limit)| format!("{json}::numeric {operator} '{limit}'::numeric")).collect();
    conditions
        .extend(numbers.multiple_of.as_ref().map(|divisor| format!("{json}::numeric % '{divisor}'::numeric = 0")));
    conditions
}

/// A number between two limits, of a node that takes numbers alone: what is between two numbers in the order of jsonb
/// is a number, so its type need not be asked (<https://www.postgresql.org/docs/15/datatype-json.html#JSON-INDEXING>:
/// object > array > boolean > number > string > null, but an empty array below them all).
fn range(node: &Node, value: &str) -> Option<(String, String)> {
    let numbers = &node.numbers;
    let integer = match node.types.as_deref()? {
        [Type::Integer] => true,
        [Type::Number] | [Type::Integer, Type::Number] => false,
        _ => return None,
    };
    let condition = |operator: &str, limit: &Option<Number>| {
        limit.as_ref().map(|limit| format!("{value} {operator} '{limit}'::jsonb"))
    };
    let from: Vec<_> =
        [condition(">=", &numbers.minimum), condition(">", &numbers.exclusive_minimum)].into_iter().flatten().collect();
    let to: Vec<_> =
        [condition("<=", &numbers.maximum), condition("<", &numbers.exclusive_maximum)].into_iter().flatten().collect();
    if from.is_empty() || to.is_empty() || node.choices.is_some() || node.constant.is_some() {
        return None;
    }
    let mut then: Vec<_> = integer.then(|| format!("{value}::numeric % 1 = 0")).into_iter().collect();
    then.extend(numbers.multiple_of.as_ref().map(|divisor| format!("{value}::numeric % '{divisor}'::numeric = 0")));
    let then = if then.is_empty() { "true".to_owned() } else { then.join(" AND ") };
    Some(([from, to].concat().join(" AND "), then))
}

fn strings(strings: &Strings, text: &str) -> Vec<String> {
    let mut conditions: Vec<_> =
        between(&format!("length({text})"), strings.min_length, strings.max_length).into_iter().collect();
    conditions.extend(strings.pattern.iter().map(|found| pattern(found, text)));
    conditions.extend(strings.format.iter().map(|(_, found)| pattern(found, text)));
    conditions
}

fn pattern(pattern: &Pattern, text: &str) -> String {
    let parts = pattern.parts.iter().map(|part| {
        let condition = match &part.bounded {
            Some(bounded) => format!(
                "(length({text}) BETWEEN {} AND {} AND {})",
                bounded.min,
                bounded.max,
                matches(text, &bounded.regex)
            ),
            None => matches(text, &part.regex),
        };
        if part.negated { format!("NOT ({condition})") } else { condition }
    });
    parts.collect::<Vec<_>>().join(" AND ")
}

pub(super) fn between(count: &str, min: Option<u64>, max: Option<u64>) -> Option<String> {
    match (min.filter(|min| *min > 0), max) {
        (None, None) => None,
        (Some(min), None) => Some(format!("{count} >= {min}")),
        (None, Some(max)) => Some(format!("{count} <= {max}")),
        (Some(min), Some(max)) => Some(format!("{count} BETWEEN {min} AND {max}")),
    }
}
