//! JSON Schema, draft 2020-12: from the text of a schema to three validators that always agree.
//!
//! ```text
//! text ─ drafts ─ dialect ─ documents ─ build ─ evaluated ─ check ─▶ Program ─┬─ compiled ─▶ functions in PL/pgSQL
//!        older    meta-     references  nodes   unevaluated circles,          ├─ interpreted ─▶ JSON for json_schema_violations()
//!        ones     schema                                    size              └─ edge ─▶ the jsonschema crate, in this process
//! ```
//!
//! Always holds: what is accepted is decided by the letter of the specification; what cannot be is refused with its
//! place and the reason, never decided wrongly. A schema is text of a stranger: there is a limit to its size, its
//! depth and the work that it asks for, nothing is fetched for it, and it becomes code only inside of literals.
//!
//! | limit | |
//! |---|---|
//! | the text of a schema, or of one that it refers to | 256 KB, 64 levels |
//! | schemas, references followed | 10,000 that differ, 50,000 in all, 70 inside of one another |
//! | values of an `enum` | 10,000 |
//! | patterns | 200, of 1,000 characters each, 64 KB in all with their classes spelled out |
//! | what is compiled | 2 MB of functions, 4 MB for the interpreter |
//! | numbers | 64 bits, or decimals that are a 64-bit float |
//! | data | 100 levels, where the schema goes as deep as the data |
//!
//! Formats are asserted where [`CompileOptions::assert_formats`] or the meta-schema asks for it: date, time,
//! date-time, duration, email, hostname, ipv4, ipv6, uuid, json-pointer, uri.

mod build;
mod check;
mod compiled;
mod dialect;
mod documents;
mod drafts;
mod ecma;
mod edge;
mod evaluated;
mod formats;
mod interpreted;
mod limits;
mod pattern;
mod program;
mod remarks;
mod violations;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result, SchemaViolation, Violation};
pub use drafts::Translation;
pub use remarks::Remark;
pub(super) use violations::{READ_DEPTH, is_nested};

/// How a schema is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompileOptions {
    /// Whether `format` is an assertion. By default it is a remark, as the specification has it.
    pub assert_formats: bool,
}

/// A schema that was compiled. Cheap to clone.
#[derive(Clone)]
pub struct JsonSchema(Arc<Parts>);

struct Parts {
    program: program::Program,
    shape: check::Shape,
    /// Nodes that are functions of their own.
    shared: Vec<bool>,
    interpreted: Value,
    edge: edge::Edge,
    translation: Option<Translation>,
    remarks: Vec<Remark>,
}

/// Why a schema is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    place: String,
    reason: String,
    /// The URI of a document that would have to be supplied.
    missing: Option<String>,
}

impl Refusal {
    fn new(place: String, reason: impl Into<String>) -> Self {
        Self { place, reason: reason.into(), missing: None }
    }
}

/// How much a node may come to that is written out wherever it is applied.
const SMALL: usize = 8;
/// The most bytes of a program.
const MAX_PROGRAM: usize = 4 << 20;
/// How deep what is written out may stand inside of itself.
const MAX_NESTING: usize = 30;

impl JsonSchema {
    /// Compiles a definition. `resources`: other schemas that it refers to, by their URI.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the place in the schema as the field: `definition` and a JSON Pointer, or
    /// `resources/`, a URI, `#` and a pointer.
    pub fn compile(definition: &Value, resources: &BTreeMap<String, Value>, options: CompileOptions) -> Result<Self> {
        Self::new(definition, resources, options)
            .map_err(|refusals| Error::Invalid { violations: refusals.into_iter().map(Violation::from).collect() })
    }

    /// The same, with resources taken from where `find` finds them, by their URI. Each is asked for once.
    ///
    /// # Errors
    /// As for [`Self::compile`].
    pub fn compile_with(
        definition: &Value,
        find: impl Fn(&str) -> Option<Value>,
        options: CompileOptions,
    ) -> Result<Self> {
        let mut resources = BTreeMap::new();
        loop {
            let refusals = match Self::new(definition, &resources, options) {
                Ok(schema) => return Ok(schema),
                Err(refusals) => refusals,
            };
            let missing = refusals.iter().find_map(|refusal| refusal.missing.clone());
            let found = missing.and_then(|uri| find(&uri).map(|document| (uri, document)));
            match found {
                Some((uri, document)) if !resources.contains_key(&uri) => resources.insert(uri, document),
                _ => return Err(Error::Invalid { violations: refusals.into_iter().map(Violation::from).collect() }),
            };
        }
    }

    fn new(
        definition: &Value,
        resources: &BTreeMap<String, Value>,
        options: CompileOptions,
    ) -> Result<Self, Vec<Refusal>> {
        let one = |refusal| vec![refusal];
        limits::check("", definition).map_err(one)?;
        for (uri, document) in resources {
            limits::check(&format!("{uri}#"), document).map_err(one)?;
        }
        let translation = drafts::translate(definition, resources)?;
        let (definition, resources) = match &translation {
            Some(translation) => (&translation.definition, &translation.resources),
            None => (definition, resources),
        };
        let documents = documents::Documents::new(definition, resources, translation.is_none()).map_err(one)?;
        dialect::check(&documents.root, resources)?;
        for uri in resources.keys() {
            if let Some(place) = documents.resource(uri) {
                dialect::check(place, resources)?;
            }
        }
        let (mut nodes, documents) = build::Builder::new(documents, options.assert_formats).build().map_err(one)?;
        let mut remarks = remarks::remarks(&documents);
        remarks.extend(translation.iter().flat_map(|translation| translation.remarks.clone()));
        remarks.sort();
        check::circles(&nodes).map_err(one)?;
        evaluated::fill(&mut nodes).map_err(one)?;
        let shape = check::shape(&nodes).map_err(one)?;
        limits::patterns(&nodes).map_err(one)?;
        let program = program::Program { recursive: shape.recursive.clone(), nodes };
        let shared = shared(&program, &shape);
        let interpreted = interpreted::program(&program, &shared);
        let whole = |reason: String| one(Refusal::new(String::new(), reason));
        if interpreted.to_string().len() > MAX_PROGRAM {
            return Err(whole(format!("comes to more than {} MB, references followed", MAX_PROGRAM >> 20)));
        }
        let edge = edge::Edge::new(&program).map_err(whole)?;
        Ok(Self(Arc::new(Parts { program, shape, shared, interpreted, edge, translation, remarks })))
    }

    /// What is wrong with the data: sorted by place, each once, at most 100. Empty: the data is valid.
    #[must_use]
    pub fn violations(&self, data: &Value) -> Vec<SchemaViolation> {
        self.0.edge.violations(data)
    }

    /// What the schema says without effect: keywords of other drafts, probable typing errors, keywords at the wrong
    /// level. At most 100 by place, and what an older draft ignores.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.0.remarks
    }

    /// What a schema of draft-04, draft-06 or draft-07 became; `None`: it was not translated.
    #[must_use]
    pub fn translation(&self) -> Option<&Translation> {
        self.0.translation.as_ref()
    }

    /// What `json_schema_violations()` in the database runs.
    #[must_use]
    pub fn program(&self) -> &Value {
        &self.0.interpreted
    }

    /// The bodies of the functions in PL/pgSQL. The first is the entry, `name`; the nth after it is `name_n`.
    ///
    /// # Errors
    /// [`Error::Invalid`] where they are too long.
    pub fn bodies(&self, name: &str) -> Result<Vec<String>> {
        let Parts { program, shape, shared, .. } = &*self.0;
        compiled::bodies(program, shape, shared, name).map_err(|reason| Error::invalid("definition", reason))
    }

    /// The regular expressions, as PostgreSQL gets them.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        limits::regexes(&self.0.program.nodes).into_iter().collect()
    }
}

impl fmt::Debug for JsonSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonSchema").field("nodes", &self.0.program.nodes.len()).finish_non_exhaustive()
    }
}

impl From<Refusal> for Violation {
    fn from(Refusal { place, reason, .. }: Refusal) -> Self {
        Self { field: remarks::field(&place), message: reason }
    }
}

/// Which nodes get a function, or a name in the program: where a circle comes back, what is large and applied at
/// several places, and what stands too deep inside of others.
fn shared(program: &program::Program, shape: &check::Shape) -> Vec<bool> {
    let nodes = &program.nodes;
    let mut uses = vec![0_usize; nodes.len()];
    let mut shared = vec![false; nodes.len()];
    let children: Vec<Vec<_>> = nodes.iter().map(|node| check::leads_to(node).collect()).collect();
    for (id, node) in nodes.iter().enumerate() {
        for child in &children[id] {
            uses[*child] += 1;
        }
        for target in &node.references {
            shared[*target] |= shape.component[*target] == shape.component[id];
        }
    }
    let mut height = vec![0; nodes.len()];
    for id in &shape.order {
        let deepest = children[*id].iter().filter(|child| !shared[**child]).map(|child| height[*child]).max();
        height[*id] = 1 + deepest.unwrap_or(0);
        shared[*id] |= (uses[*id] > 1 && shape.cost[*id] > SMALL) || height[*id] > MAX_NESTING;
    }
    shared
}
