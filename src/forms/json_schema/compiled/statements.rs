//! What takes a loop, a variable, or another function.

use std::fmt::Write as _;

use crate::sql::quote_literal;

use super::super::program::{Contains, Node, NodeId};
use super::conditions::between;
use super::{Compiler, Operand, matches, named};

/// What a violation does in a function.
pub(super) const RETURN: &str = "RETURN false;";

/// Writes one function. Variables are named by how deep they are needed, and used again.
pub(super) struct Writer<'c> {
    compiler: &'c Compiler<'c>,
    out: String,
    /// How many variables are in use, and how many there are.
    depth: usize,
    deepest: usize,
}

/// The variables of one depth: a value, a key, a verdict, a count, names, whether an index counts.
const KINDS: [(&str, &str); 7] = [
    ("x", "jsonb"),
    ("k", "text"),
    ("y", "jsonb"),
    ("b", "boolean"),
    ("c", "bigint"),
    ("e", "jsonb"),
    ("s", "boolean[]"),
];

impl<'c> Writer<'c> {
    pub(super) fn new(compiler: &'c Compiler<'c>) -> Self {
        Self { compiler, out: String::new(), depth: 0, deepest: 0 }
    }

    /// Declarations of the variables that are used, and the statements.
    pub(super) fn finish(self) -> (String, String) {
        let mut declarations = String::new();
        for depth in 1..=self.deepest {
            for (name, kind) in KINDS {
                // A variable that is never set costs time at every call, too.
                if self.out.contains(&format!("{name}{depth}_")) {
                    let _ = writeln!(declarations, "{name}{depth}_ {kind};");
                }
            }
        }
        (declarations, self.out)
    }

    pub(super) fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// Runs with a depth of its own, by whose number its variables are named.
    pub(super) fn deeper(&mut self, write: impl FnOnce(&mut Self, usize)) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        write(self, self.depth);
        self.depth -= 1;
    }

    pub(super) fn demand(&mut self, conditions: &[String], fail: &str) {
        if !conditions.is_empty() {
            self.line(&format!("IF ({}) IS NOT TRUE THEN {fail} END IF;", conditions.join(" AND ")));
        }
    }

    /// Applies a node to a variable, by its function where it has one.
    pub(super) fn apply(&mut self, id: NodeId, variable: &str, fail: &str) {
        match self.compiler.function(id) {
            Some(function) => self.line(&format!("IF NOT {function}({variable}) THEN {fail} END IF;")),
            None => self.node(id, variable, fail),
        }
    }

    /// Applies a node to a variable.
    pub(super) fn node(&mut self, id: NodeId, variable: &str, fail: &str) {
        let compiler = self.compiler;
        let node = &compiler.program.nodes[id];
        let value = Operand::variable(variable);
        let (conditions, complete) = compiler.conditions(id, &value, true);
        self.demand(&conditions, fail);
        if complete {
            return;
        }
        self.properties(node, variable, fail);
        self.each_property(node, variable, fail);
        self.items(node, variable, fail);
        for child in node.references.iter().chain(&node.all_of) {
            if compiler.whole(*child, &value, true).is_none() {
                self.apply(*child, variable, fail);
            }
        }
        if compiler.in_place(node, &value).is_none() {
            self.in_place(node, variable, fail);
        }
        self.unevaluated_properties(node, variable, fail);
        self.unevaluated_items(node, variable, fail);
    }

    pub(super) fn is_trivial(&self, id: NodeId) -> bool {
        self.compiler.program.nodes[id].is_trivial()
    }

    fn properties(&mut self, node: &Node, variable: &str, fail: &str) {
        let objects = &node.objects;
        let many = between("c", objects.min_properties, objects.max_properties);
        if many.is_some() {
            self.deeper(|writer, depth| {
                let count = format!("c{depth}_");
                let demanded = between(&count, objects.min_properties, objects.max_properties).unwrap_or_default();
                writer.line(&format!("IF jsonb_typeof({variable}) = 'object' THEN"));
                writer.line(&format!("{count} := count(*) FROM jsonb_object_keys({variable});"));
                writer.demand(&[demanded], fail);
                writer.line("END IF;");
            });
        }
        for (name, child) in &objects.properties {
            if self.compiler.is_plain(*child) || self.is_trivial(*child) {
                continue;
            }
            self.deeper(|writer, depth| {
                let inner = format!("x{depth}_");
                writer.line(&format!("{inner} := {variable} -> {};", quote_literal(name)));
                writer.line(&format!("IF {inner} IS NOT NULL THEN"));
                writer.apply(*child, &inner, fail);
                writer.line("END IF;");
            });
        }
        for (name, child) in &objects.dependent_schemas {
            let name = quote_literal(name);
            self.line(&format!(
                "IF (CASE jsonb_typeof({variable}) WHEN 'object' THEN {variable} ? {name} ELSE false END) THEN"
            ));
            self.apply(*child, variable, fail);
            self.line("END IF;");
        }
    }

    fn each_property(&mut self, node: &Node, variable: &str, fail: &str) {
        if !self.compiler.loops_over_properties(node) {
            return;
        }
        let objects = &node.objects;
        self.deeper(|writer, depth| {
            let (key, value, name) = (format!("k{depth}_"), format!("x{depth}_"), format!("y{depth}_"));
            writer.line(&format!("IF jsonb_typeof({variable}) = 'object' THEN"));
            writer.line(&format!("FOR {key}, {value} IN SELECT key, value FROM jsonb_each({variable}) LOOP"));
            if let Some(names) = objects.names.filter(|names| !writer.is_trivial(*names)) {
                writer.line(&format!("{name} := to_jsonb({key});"));
                writer.apply(names, &name, fail);
            }
            for (regex, child) in &objects.pattern_properties {
                if !writer.is_trivial(*child) {
                    writer.line(&format!("IF {} THEN", matches(&key, regex)));
                    writer.apply(*child, &value, fail);
                    writer.line("END IF;");
                }
            }
            if let Some(additional) = objects.additional.filter(|child| !writer.is_trivial(*child)) {
                let mut other = Vec::new();
                if !objects.properties.is_empty() {
                    // Looked up in an object: by halves, and not one after the other.
                    let names = named(objects.properties.iter().map(|(name, _)| name));
                    other.push(format!("NOT {names} ? {key}"));
                }
                other.extend(
                    objects.pattern_properties.iter().map(|(regex, _)| format!("NOT {}", matches(&key, regex))),
                );
                let other = if other.is_empty() { "true".to_owned() } else { other.join(" AND ") };
                writer.line(&format!("IF {other} THEN"));
                writer.apply(additional, &value, fail);
                writer.line("END IF;");
            }
            writer.line("END LOOP;");
            writer.line("END IF;");
        });
    }

    fn items(&mut self, node: &Node, variable: &str, fail: &str) {
        let arrays = &node.arrays;
        let items = arrays.items.filter(|items| !self.is_trivial(*items));
        let prefix = arrays.prefix.iter().any(|child| !self.is_trivial(*child));
        if items.is_none() && !prefix && arrays.contains.is_none() && !arrays.unique {
            return;
        }
        self.line(&format!("IF jsonb_typeof({variable}) = 'array' THEN"));
        for (n, child) in arrays.prefix.iter().enumerate() {
            if !self.is_trivial(*child) {
                self.deeper(|writer, depth| {
                    let inner = format!("x{depth}_");
                    writer.line(&format!("{inner} := {variable} -> {n};"));
                    writer.line(&format!("IF {inner} IS NOT NULL THEN"));
                    writer.apply(*child, &inner, fail);
                    writer.line("END IF;");
                });
            }
        }
        if let Some(items) = items {
            self.each_item(variable, &arrays.prefix.len().to_string(), |writer, index, depth| {
                writer.item(items, variable, index, depth, fail);
            });
        }
        if arrays.unique {
            self.unique(variable, fail);
        }
        if let Some(contains) = &arrays.contains {
            self.contains(contains, variable, fail);
        }
        self.line("END IF;");
    }

    pub(super) fn each_item(&mut self, variable: &str, from: &str, write: impl FnOnce(&mut Self, &str, usize)) {
        self.deeper(|writer, depth| {
            let index = format!("i{depth}_");
            writer.line(&format!("FOR {index} IN {from}..jsonb_array_length({variable}) - 1 LOOP"));
            write(writer, &index, depth);
            writer.line("END LOOP;");
        });
    }

    pub(super) fn item(&mut self, id: NodeId, variable: &str, index: &str, depth: usize, fail: &str) {
        let compiler = self.compiler;
        if compiler.is_plain(id)
            && let Some(test) = compiler.whole(id, &Operand::item(variable, index), true)
        {
            self.demand(&[test], fail);
            return;
        }
        let inner = format!("x{depth}_");
        self.line(&format!("{inner} := {variable} -> {index};"));
        self.apply(id, &inner, fail);
    }

    /// Up to three items each with each, more by sorting.
    fn unique(&mut self, variable: &str, fail: &str) {
        let item = |n: usize| format!("({variable} -> {n})");
        self.line(&format!("CASE jsonb_array_length({variable}) WHEN 0, 1 THEN NULL;"));
        self.line(&format!("WHEN 2 THEN IF {} = {} THEN {fail} END IF;", item(0), item(1)));
        self.line(&format!(
            "WHEN 3 THEN IF {0} = {1} OR {1} = {2} OR {0} = {2} THEN {fail} END IF;",
            item(0),
            item(1),
            item(2)
        ));
        self.line(&format!(
            "ELSE IF (SELECT count(*) <> count(DISTINCT item) FROM jsonb_array_elements({variable}) AS item) THEN {fail} END IF; END CASE;"
        ));
    }

    fn contains(&mut self, contains: &Contains, variable: &str, fail: &str) {
        let min = contains.min.unwrap_or(1);
        self.deeper(|writer, depth| {
            let count = format!("c{depth}_");
            writer.line(&format!("{count} := 0;"));
            writer.each_item(variable, "0", |writer, index, depth| {
                let inner = format!("x{depth}_");
                writer.line(&format!("{inner} := {variable} -> {index};"));
                writer.verdict(contains.node, &inner, |writer, valid| {
                    writer.line(&format!("IF {valid} THEN {count} := {count} + 1; END IF;"));
                });
            });
            writer.demand(&between(&count, Some(min), contains.max).into_iter().collect::<Vec<_>>(), fail);
        });
    }

    /// Whether a variable is valid for a node, as an expression for what is written then.
    pub(super) fn verdict(&mut self, id: NodeId, variable: &str, write: impl FnOnce(&mut Self, &str)) {
        let compiler = self.compiler;
        if let Some(function) = compiler.function(id) {
            return write(self, &format!("{function}({variable})"));
        }
        if let Some(test) = compiler.whole(id, &Operand::variable(variable), true) {
            return write(self, &format!("({test})"));
        }
        self.deeper(|writer, depth| {
            let (verdict, label) = (format!("b{depth}_"), format!("l{depth}_"));
            writer.line(&format!("{verdict} := true;"));
            writer.line(&format!("<<{label}>> BEGIN"));
            writer.node(id, variable, &format!("{verdict} := false; EXIT {label};"));
            writer.line(&format!("END {label};"));
            write(writer, &verdict);
        });
    }

    fn in_place(&mut self, node: &Node, variable: &str, fail: &str) {
        for (ids, one) in [(&node.any_of, false), (&node.one_of, true)] {
            let Some(ids) = ids else { continue };
            self.deeper(|writer, depth| {
                let count = format!("c{depth}_");
                writer.line(&format!("{count} := 0;"));
                for (n, id) in ids.iter().enumerate() {
                    // One is enough for anyOf; two are too many for oneOf.
                    let enough = if one { 2 } else { 1 };
                    let needed = n >= enough;
                    if needed {
                        writer.line(&format!("IF {count} < {enough} THEN"));
                    }
                    writer.verdict(*id, variable, |writer, valid| {
                        writer.line(&format!("IF {valid} THEN {count} := {count} + 1; END IF;"));
                    });
                    if needed {
                        writer.line("END IF;");
                    }
                }
                let demanded = if one { format!("{count} = 1") } else { format!("{count} > 0") };
                writer.demand(&[demanded], fail);
            });
        }
        if let Some(id) = node.not {
            self.verdict(id, variable, |writer, valid| writer.line(&format!("IF {valid} THEN {fail} END IF;")));
        }
        if let Some(condition) = &node.condition {
            self.verdict(condition.test, variable, |writer, valid| {
                writer.line(&format!("IF {valid} THEN"));
                condition.then.into_iter().for_each(|id| writer.apply(id, variable, fail));
                writer.line("ELSE");
                condition.otherwise.into_iter().for_each(|id| writer.apply(id, variable, fail));
                writer.line("END IF;");
            });
        }
    }
}
