//! What `unevaluatedProperties` and `unevaluatedItems` leave over
//! (<https://json-schema.org/draft/2020-12/json-schema-core#section-11>): which schemas at the same place evaluate
//! what, under which conditions.

use super::Refusal;
use super::program::{Branch, Evaluated, Node, NodeId, When};

/// How many conditions may come together for one keyword.
const MAX_BRANCHES: usize = 200;
/// How many schemas may be asked what they evaluate, each as often as it is applied.
const MAX_VISITS: usize = 20_000;

struct Work {
    branches: usize,
    visits: usize,
}

impl Work {
    fn is_too_much(&self) -> bool {
        self.branches > MAX_BRANCHES || self.visits > MAX_VISITS
    }
}

/// Fills in what every `unevaluated…` needs to know. No node may lead to itself in place.
pub(super) fn fill(nodes: &mut [Node]) -> Result<(), Refusal> {
    let mut visits = 0;
    for id in 0..nodes.len() {
        for what in [What::Items, What::Properties] {
            let there = match what {
                What::Items => nodes[id].arrays.unevaluated.is_some(),
                What::Properties => nodes[id].objects.unevaluated.is_some(),
            };
            if !there {
                continue;
            }
            let mut work = Work { branches: 0, visits };
            let evaluated = what.collect(nodes, id, true, &mut work);
            visits = work.visits;
            if work.is_too_much() {
                let reason =
                    format!("more than {MAX_BRANCHES} conditions, or too many schemas, decide what is unevaluated");
                return Err(Refusal::new(nodes[id].place.clone(), reason));
            }
            let unevaluated = match what {
                What::Items => &mut nodes[id].arrays.unevaluated,
                What::Properties => &mut nodes[id].objects.unevaluated,
            };
            if let Some((_, found)) = unevaluated {
                *found = evaluated;
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum What {
    Items,
    Properties,
}

impl What {
    /// What a node evaluates; for the one that asks, without its own `unevaluated…`.
    fn collect(self, nodes: &[Node], id: NodeId, asking: bool, work: &mut Work) -> Evaluated {
        let node = &nodes[id];
        let mut found = Evaluated::default();
        match self {
            Self::Items => {
                found.prefix = node.arrays.prefix.len();
                found.all = node.arrays.items.is_some() || (!asking && node.arrays.unevaluated.is_some());
                found.contains.extend(node.arrays.contains.iter().map(|contains| contains.node));
            }
            Self::Properties => {
                let objects = &node.objects;
                found.names.extend(objects.properties.iter().map(|(name, _)| name.clone()));
                found.patterns.extend(objects.pattern_properties.iter().map(|(regex, _)| regex.clone()));
                found.all = objects.additional.is_some() || (!asking && objects.unevaluated.is_some());
            }
        }
        work.visits += 1;
        if work.is_too_much() {
            return found;
        }
        for child in node.references.iter().chain(&node.all_of) {
            let more = self.collect(nodes, *child, false, work);
            found.add(more);
        }
        for child in node.any_of.iter().chain(&node.one_of).flatten() {
            let then = self.collect(nodes, *child, false, work);
            found.branch(When::Valid(*child), then, Evaluated::default(), work);
        }
        if let Some(condition) = &node.condition {
            let mut then = self.collect(nodes, condition.test, false, work);
            if let Some(child) = condition.then {
                then.add(self.collect(nodes, child, false, work));
            }
            let otherwise = condition.otherwise.map(|child| self.collect(nodes, child, false, work));
            found.branch(When::Valid(condition.test), then, otherwise.unwrap_or_default(), work);
        }
        for (name, child) in &node.objects.dependent_schemas {
            let then = self.collect(nodes, *child, false, work);
            found.branch(When::Has(name.clone()), then, Evaluated::default(), work);
        }
        found
    }
}

impl Evaluated {
    fn add(&mut self, more: Self) {
        self.all |= more.all;
        self.names.extend(more.names);
        self.patterns.extend(more.patterns);
        self.prefix = self.prefix.max(more.prefix);
        self.contains.extend(more.contains);
        self.branches.extend(more.branches);
    }

    fn branch(&mut self, when: When, then: Self, otherwise: Self, work: &mut Work) {
        if !(then.is_empty() && otherwise.is_empty()) {
            work.branches += 1;
            self.branches.push(Branch { when, then, otherwise });
        }
    }

    /// The nodes whose validity it asks for.
    pub(super) fn asks(&self) -> Vec<NodeId> {
        let mut asked = self.contains.clone();
        for branch in &self.branches {
            if let When::Valid(node) = branch.when {
                asked.push(node);
            }
            asked.extend(branch.then.asks());
            asked.extend(branch.otherwise.asks());
        }
        asked
    }
}
