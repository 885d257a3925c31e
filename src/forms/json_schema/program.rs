//! A schema after all that its text leaves open has been settled: no reference is by name, no keyword is without
//! effect. The three validators are made of it, so that they cannot read a schema differently.

use std::collections::BTreeSet;

use serde_json::{Number, Value};

use super::pattern::Pattern;

/// The nth node of a [`Program`].
pub(super) type NodeId = usize;

/// What a schema demands.
#[derive(Debug)]
pub(super) struct Program {
    /// The first is the schema itself.
    pub(super) nodes: Vec<Node>,
    /// Whether some node leads back to itself, deeper in the data.
    pub(super) recursive: Vec<bool>,
}

impl Program {
    /// Whether the data may be nested without end.
    pub(super) fn is_recursive(&self) -> bool {
        self.recursive.contains(&true)
    }
}

/// What one schema in the text demands of a value; a keyword that is not there demands nothing.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Where it stands, see [`super::documents::Place::name`].
    pub(super) place: String,
    /// The schema `false`.
    pub(super) never: bool,
    pub(super) types: Option<Vec<Type>>,
    /// `type` as it stands in the schema.
    pub(super) types_as_written: Value,
    pub(super) constant: Option<Value>,
    pub(super) choices: Option<Vec<Value>>,
    pub(super) numbers: Numbers,
    pub(super) strings: Strings,
    pub(super) arrays: Arrays,
    pub(super) objects: Objects,
    /// `$ref` and `$dynamicRef`.
    pub(super) references: Vec<NodeId>,
    pub(super) all_of: Vec<NodeId>,
    pub(super) any_of: Option<Vec<NodeId>>,
    pub(super) one_of: Option<Vec<NodeId>>,
    pub(super) not: Option<NodeId>,
    pub(super) condition: Option<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Type {
    Array,
    Boolean,
    Integer,
    Null,
    Number,
    Object,
    String,
}

impl Type {
    pub(super) const ALL: [Self; 7] =
        [Self::Array, Self::Boolean, Self::Integer, Self::Null, Self::Number, Self::Object, Self::String];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Null => "null",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) minimum: Option<Number>,
    pub(super) maximum: Option<Number>,
    pub(super) exclusive_minimum: Option<Number>,
    pub(super) exclusive_maximum: Option<Number>,
    pub(super) multiple_of: Option<Number>,
}

#[derive(Debug, Default)]
pub(super) struct Strings {
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) pattern: Option<Pattern>,
    /// Where formats are asserted: its name, and what it comes down to.
    pub(super) format: Option<(String, Pattern)>,
}

#[derive(Debug, Default)]
pub(super) struct Arrays {
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) unique: bool,
    pub(super) prefix: Vec<NodeId>,
    pub(super) items: Option<NodeId>,
    pub(super) contains: Option<Contains>,
    pub(super) unevaluated: Option<(NodeId, Evaluated)>,
}

#[derive(Debug)]
pub(super) struct Contains {
    pub(super) node: NodeId,
    pub(super) min: Option<u64>,
    pub(super) max: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) required: Vec<String>,
    pub(super) dependent_required: Vec<(String, Vec<String>)>,
    pub(super) properties: Vec<(String, NodeId)>,
    /// By the expression, as all engines read it.
    pub(super) pattern_properties: Vec<(String, NodeId)>,
    pub(super) additional: Option<NodeId>,
    pub(super) names: Option<NodeId>,
    pub(super) dependent_schemas: Vec<(String, NodeId)>,
    pub(super) unevaluated: Option<(NodeId, Evaluated)>,
}

/// `if`, `then`, `else`.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) test: NodeId,
    pub(super) then: Option<NodeId>,
    pub(super) otherwise: Option<NodeId>,
}

/// Which properties or items a schema and those applied at the same place evaluate, for `unevaluated…`.
#[derive(Debug, Default)]
pub(super) struct Evaluated {
    /// All of them.
    pub(super) all: bool,
    pub(super) names: BTreeSet<String>,
    /// Those whose name one of the expressions matches.
    pub(super) patterns: BTreeSet<String>,
    /// The first items.
    pub(super) prefix: usize,
    /// Items that one of these accepts.
    pub(super) contains: Vec<NodeId>,
    /// More, under conditions.
    pub(super) branches: Vec<Branch>,
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) when: When,
    pub(super) then: Evaluated,
    pub(super) otherwise: Evaluated,
}

#[derive(Debug)]
pub(super) enum When {
    /// The value is valid for a node.
    Valid(NodeId),
    /// The object has a property.
    Has(String),
}

impl Evaluated {
    pub(super) fn is_empty(&self) -> bool {
        !self.all
            && self.names.is_empty()
            && self.patterns.is_empty()
            && self.prefix == 0
            && self.contains.is_empty()
            && self.branches.is_empty()
    }
}

impl Node {
    /// Schemas that are applied to the value itself.
    pub(super) fn in_place(&self) -> impl Iterator<Item = NodeId> {
        let lists = [&self.references, &self.all_of].into_iter().chain(&self.any_of).chain(&self.one_of).flatten();
        let condition = self
            .condition
            .iter()
            .flat_map(|condition| [Some(condition.test), condition.then, condition.otherwise].into_iter().flatten());
        let dependent = self.objects.dependent_schemas.iter().map(|(_, node)| *node);
        lists.copied().chain(self.not).chain(condition).chain(dependent)
    }

    /// Schemas that are applied to what is in the value.
    pub(super) fn deeper(&self) -> impl Iterator<Item = NodeId> {
        let (arrays, objects) = (&self.arrays, &self.objects);
        let named = objects.properties.iter().chain(&objects.pattern_properties).map(|(_, node)| *node);
        let unevaluated = [&arrays.unevaluated, &objects.unevaluated].into_iter().flatten().map(|(node, _)| *node);
        let single = [arrays.items, objects.additional, objects.names].into_iter().flatten();
        let contains = arrays.contains.iter().map(|contains| contains.node);
        arrays.prefix.iter().copied().chain(named).chain(unevaluated).chain(single).chain(contains)
    }

    /// Whether anything is valid.
    pub(super) fn is_trivial(&self) -> bool {
        let (arrays, objects) = (&self.arrays, &self.objects);
        !self.never
            && self.types.is_none()
            && self.constant.is_none()
            && self.choices.is_none()
            && self.numbers.is_empty()
            && self.strings.is_empty()
            && arrays.min_items.is_none()
            && arrays.max_items.is_none()
            && !arrays.unique
            && objects.min_properties.is_none()
            && objects.max_properties.is_none()
            && objects.required.is_empty()
            && objects.dependent_required.is_empty()
            && self.any_of.is_none()
            && self.one_of.is_none()
            && self.not.is_none()
            && self.in_place().next().is_none()
            && self.deeper().next().is_none()
    }
}

impl Numbers {
    pub(super) fn is_empty(&self) -> bool {
        [&self.minimum, &self.maximum, &self.exclusive_minimum, &self.exclusive_maximum, &self.multiple_of]
            .into_iter()
            .all(Option::is_none)
    }
}

impl Strings {
    pub(super) fn is_empty(&self) -> bool {
        self.min_length.is_none() && self.max_length.is_none() && self.pattern.is_none() && self.format.is_none()
    }
}
