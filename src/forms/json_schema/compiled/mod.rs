//! The [`Program`] as functions in PL/pgSQL: `(d jsonb) RETURNS boolean`, true for valid data, never NULL.
//!
//! Always holds: every name, pattern and value of the schema stands inside of one literal that
//! [`quote_literal`] made; nothing is looked up by a name from the schema; an expression is neither NULL nor an error,
//! whatever the data, for each operator stands behind the type that it needs.
//!
//! What costs time in PL/pgSQL is the number of statements, and more than ten times that a query inside of an
//! expression: so all that can be said of a value without a loop is one expression (`conditions`), and the rest is loops
//! over indexes (`statements`). A schema that is applied at several places, or that leads back to itself, is a function.

mod conditions;
mod statements;
mod unevaluated;

use crate::sql::quote_literal;

use super::check::Shape;
use super::program::{NodeId, Program};
use super::violations::MAX_DATA_DEPTH;

/// The most bytes of all functions of a schema.
const MAX_BYTES: usize = 2 << 20;

/// The schema that the functions are in.
const SCHEMA: &str = "forms_compiled";

/// The bodies, the first is the entry.
pub(super) fn bodies(program: &Program, shape: &Shape, shared: &[bool], name: &str) -> Result<Vec<String>, String> {
    let functions: Vec<NodeId> = (0..program.nodes.len()).filter(|id| shared[*id]).collect();
    let compiler = Compiler { program, shape, functions, name };
    let deep = format!(
        "IF pg_column_size(d) > {} AND jsonb_path_exists(d, '$.**{{{}}}') THEN RETURN false; END IF;\n",
        MAX_DATA_DEPTH * 8,
        MAX_DATA_DEPTH + 1
    );
    // A stored value is unpacked once, and not at each access.
    let first = format!("d := d #> '{{}}';\n{}", if program.is_recursive() { &deep } else { "" });
    let mut bodies = vec![compiler.body(&first, |writer| writer.apply(0, "d", statements::RETURN))];
    for id in &compiler.functions {
        bodies.push(compiler.body("", |writer| writer.node(*id, "d", statements::RETURN)));
    }
    if bodies.iter().map(String::len).sum::<usize>() > MAX_BYTES {
        return Err(format!("its functions would have more than {} MB", MAX_BYTES >> 20));
    }
    Ok(bodies)
}

struct Compiler<'p> {
    program: &'p Program,
    shape: &'p Shape,
    /// Nodes that have a function of their own, in order.
    functions: Vec<NodeId>,
    name: &'p str,
}

impl Compiler<'_> {
    fn body(&self, first: &str, write: impl FnOnce(&mut statements::Writer<'_>)) -> String {
        let mut writer = statements::Writer::new(self);
        write(&mut writer);
        let (declarations, statements) = writer.finish();
        format!("DECLARE\n{declarations}BEGIN\n{first}{statements}RETURN true;\nEND")
    }

    /// The function of a node, where it has one.
    fn function(&self, id: NodeId) -> Option<String> {
        let index = self.functions.binary_search(&id).ok()?;
        Some(format!("{SCHEMA}.{}_{}", self.name, index + 1))
    }
}

/// A value: an expression for it as JSON, and one as text, where it is a string.
struct Operand {
    json: String,
    text: String,
}

impl Operand {
    fn variable(name: &str) -> Self {
        Self { json: name.to_owned(), text: format!("({name} #>> '{{}}')") }
    }

    fn property(of: &str, name: &str) -> Self {
        let name = quote_literal(name);
        Self { json: format!("({of} -> {name})"), text: format!("({of} ->> {name})") }
    }

    fn item(of: &str, index: &str) -> Self {
        Self { json: format!("({of} -> {index})"), text: format!("({of} ->> {index})") }
    }
}

fn texts<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(quote_literal).collect();
    format!("ARRAY[{}]::text[]", names.join(","))
}

fn json(value: &serde_json::Value) -> String {
    format!("{}::jsonb", quote_literal(&value.to_string()))
}

/// An object with these names.
fn named<'a>(names: impl Iterator<Item = &'a String>) -> String {
    json(&serde_json::Value::Object(names.map(|name| (name.clone(), serde_json::Value::Null)).collect()))
}

/// Whether a text matches; the collation says that code points are compared, whatever the database's locale.
fn matches(text: &str, regex: &str) -> String {
    format!("({text} COLLATE \"C\") ~ {}", quote_literal(regex))
}
