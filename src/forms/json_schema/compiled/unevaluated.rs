//! What `unevaluatedProperties` and `unevaluatedItems` take: names or indexes are gathered, the rest is looked at.

use crate::sql::quote_literal;

use super::super::program::{Evaluated, Node, When};
use super::statements::Writer;
use super::{matches, named};

impl Writer<'_> {
    pub(super) fn unevaluated_properties(&mut self, node: &Node, variable: &str, fail: &str) {
        let Some((id, evaluated)) = &node.objects.unevaluated else { return };
        if evaluated.all || self.is_trivial(*id) {
            return;
        }
        self.deeper(|writer, depth| {
            let (key, value, names) = (format!("k{depth}_"), format!("x{depth}_"), format!("e{depth}_"));
            writer.line(&format!("IF jsonb_typeof({variable}) = 'object' THEN"));
            writer.line(&format!("{names} := '{{}}';"));
            writer.evaluated_properties(evaluated, variable, &names);
            writer.line(&format!("FOR {key}, {value} IN SELECT key, value FROM jsonb_each({variable}) LOOP"));
            writer.line(&format!("IF NOT {names} ? {key} THEN"));
            writer.apply(*id, &value, fail);
            writer.line("END IF;");
            writer.line("END LOOP;");
            writer.line("END IF;");
        });
    }

    /// Adds the names that are evaluated, as those of an object, which finds a name by halves.
    fn evaluated_properties(&mut self, evaluated: &Evaluated, variable: &str, names: &str) {
        if evaluated.all {
            return self.line(&format!("{names} := {variable};"));
        }
        if !evaluated.names.is_empty() {
            self.line(&format!("{names} := {names} || {};", named(evaluated.names.iter())));
        }
        for regex in &evaluated.patterns {
            let matching = matches("name", regex);
            self.line(&format!(
                "{names} := {names} || (SELECT coalesce(jsonb_object_agg(name, NULL), '{{}}') \
                 FROM jsonb_object_keys({variable}) AS name WHERE {matching});"
            ));
        }
        self.branches(evaluated, variable, |writer, evaluated| writer.evaluated_properties(evaluated, variable, names));
    }

    fn branches(&mut self, evaluated: &Evaluated, variable: &str, collect: impl Fn(&mut Self, &Evaluated)) {
        for branch in &evaluated.branches {
            let both = |writer: &mut Self, valid: &str| {
                writer.line(&format!("IF {valid} THEN"));
                collect(writer, &branch.then);
                if !branch.otherwise.is_empty() {
                    writer.line("ELSE");
                    collect(writer, &branch.otherwise);
                }
                writer.line("END IF;");
            };
            match &branch.when {
                When::Valid(id) => self.verdict(*id, variable, both),
                When::Has(name) => {
                    let name = quote_literal(name);
                    let has = format!(
                        "(CASE jsonb_typeof({variable}) WHEN 'object' THEN {variable} ? {name} ELSE false END)"
                    );
                    both(self, &has);
                }
            }
        }
    }

    pub(super) fn unevaluated_items(&mut self, node: &Node, variable: &str, fail: &str) {
        let Some((id, evaluated)) = &node.arrays.unevaluated else { return };
        if evaluated.all || self.is_trivial(*id) {
            return;
        }
        self.deeper(|writer, depth| {
            let (first, indexes) = (format!("c{depth}_"), format!("s{depth}_"));
            writer.line(&format!("IF jsonb_typeof({variable}) = 'array' THEN"));
            writer
                .line(&format!("{first} := 0; {indexes} := array_fill(false, ARRAY[jsonb_array_length({variable})]);"));
            writer.evaluated_items(evaluated, variable, &first, &indexes);
            writer.each_item(variable, &format!("{first}::int"), |writer, index, depth| {
                writer.line(&format!("IF NOT {indexes}[{index} + 1] THEN"));
                writer.item(*id, variable, index, depth, fail);
                writer.line("END IF;");
            });
            writer.line("END IF;");
        });
    }

    /// Moves on behind the first items that are evaluated, and adds the indexes of others.
    fn evaluated_items(&mut self, evaluated: &Evaluated, variable: &str, first: &str, indexes: &str) {
        if evaluated.all {
            return self.line(&format!("{first} := jsonb_array_length({variable});"));
        }
        if evaluated.prefix > 0 {
            self.line(&format!("{first} := greatest({first}, {});", evaluated.prefix));
        }
        for id in &evaluated.contains {
            self.each_item(variable, "0", |writer, index, depth| {
                let inner = format!("x{depth}_");
                writer.line(&format!("{inner} := {variable} -> {index};"));
                writer.verdict(*id, &inner, |writer, valid| {
                    writer.line(&format!("IF {valid} THEN {indexes}[{index} + 1] := true; END IF;"));
                });
            });
        }
        self.branches(evaluated, variable, |writer, evaluated| {
            writer.evaluated_items(evaluated, variable, first, indexes);
        });
    }
}
