//! How much work a schema is, before anybody does it: schemas come from strangers.
//!
//! Always holds for what is let through: it never goes around in a circle; references followed, it is no larger than
//! [`MAX_COST`]; where it leads back to itself, it does so deeper in the data and once for each value, so the work
//! grows with the data and not as a power of its depth.

use std::collections::BTreeSet;

use super::Refusal;
use super::program::{Node, NodeId};

/// How many schemas may be applied to one value and what is in it, references followed.
const MAX_COST: usize = 50_000;
/// How much may be looked at to see whether work doubles: schemas at one place, times the names that they know.
const MAX_WORK: usize = 2_000_000;
/// How many schemas may be applied at one place, one leading to the other.
const MAX_HEIGHT: usize = 100;

/// What is known of each node.
pub(super) struct Shape {
    /// Whether it leads back to itself.
    pub(super) recursive: Vec<bool>,
    /// How many schemas it comes to, references followed; a way back counts nothing.
    pub(super) cost: Vec<usize>,
    /// Nodes that lead to each other have the same number.
    pub(super) component: Vec<usize>,
    /// The nodes, children before their parents.
    pub(super) order: Vec<NodeId>,
}

/// Refuses what goes around in a circle without going deeper.
pub(super) fn circles(nodes: &[Node]) -> Result<(), Refusal> {
    let edges: Vec<Vec<NodeId>> = nodes.iter().map(|node| node.in_place().collect()).collect();
    let (order, component) = components(&edges);
    let mut height = vec![0; nodes.len()];
    let mut size = vec![0; nodes.len()];
    for id in &component {
        size[*id] += 1;
    }
    for id in order {
        let refuse = |reason: &str| Refusal::new(nodes[id].place.clone(), reason);
        if size[component[id]] > 1 || edges[id].contains(&id) {
            return Err(refuse("refers to itself without going deeper into the data"));
        }
        height[id] = 1 + edges[id].iter().map(|child| height[*child]).max().unwrap_or(0);
        if height[id] > MAX_HEIGHT {
            return Err(refuse("too many schemas lead to one another at one place"));
        }
    }
    Ok(())
}

/// Measures, and refuses what is too much. After [`circles`] and [`super::evaluated::fill`].
pub(super) fn shape(nodes: &[Node]) -> Result<Shape, Refusal> {
    let edges: Vec<Vec<NodeId>> = nodes.iter().map(|node| leads_to(node).collect()).collect();
    let (order, component) = components(&edges);
    let mut size = vec![0; nodes.len()];
    for id in &component {
        size[*id] += 1;
    }
    let recursive: Vec<bool> = (0..nodes.len()).map(|id| size[component[id]] > 1 || edges[id].contains(&id)).collect();
    let mut cost = vec![1_usize; nodes.len()];
    let mut work = 0;
    for id in order.iter().copied() {
        let outside = edges[id].iter().filter(|child| component[**child] != component[id]);
        cost[id] = outside.fold(1, |sum, child| sum.saturating_add(cost[*child]));
        let refuse = |reason: String| Refusal::new(nodes[id].place.clone(), reason);
        if cost[id] > MAX_COST {
            return Err(refuse(format!("comes to more than {MAX_COST} schemas, references followed")));
        }
        if recursive[id] && multiplies(nodes, id, &component, &mut work) {
            return Err(refuse(
                "leads back to itself more than once for one value, or by too many ways: the work would double at every level".into(),
            ));
        }
    }
    Ok(Shape { recursive, cost, component, order })
}

fn asks(node: &Node) -> impl Iterator<Item = NodeId> {
    let unevaluated = [&node.arrays.unevaluated, &node.objects.unevaluated].into_iter().flatten();
    unevaluated.flat_map(|(_, evaluated)| evaluated.asks())
}

/// What a node applies anywhere.
pub(super) fn leads_to(node: &Node) -> impl Iterator<Item = NodeId> {
    node.in_place().chain(node.deeper()).chain(asks(node))
}

/// Whether a node comes back to its component twice for one and the same value inside of its own.
fn multiplies(nodes: &[Node], id: NodeId, component: &[usize], work: &mut usize) -> bool {
    let back = |child: NodeId| usize::from(component[child] == component[id]);
    // Every node that is applied at the same place, as often as it is.
    let mut here = vec![id];
    let mut next = 0;
    while let Some(at) = here.get(next) {
        here.extend(nodes[*at].in_place().chain(asks_in_place(&nodes[*at])));
        next += 1;
        if here.len() > MAX_COST {
            return true;
        }
    }
    // Each schema here is asked about each name.
    let names_here: usize = here.iter().map(|at| nodes[*at].objects.properties.len()).sum();
    *work += here.len() * (names_here + 1);
    if *work > MAX_WORK {
        return true;
    }
    let here: Vec<&Node> = here.into_iter().map(|at| &nodes[at]).collect();
    let names: BTreeSet<&str> =
        here.iter().flat_map(|node| &node.objects.properties).map(|(name, _)| name.as_str()).collect();
    let properties = |name: Option<&str>| -> usize {
        let each = here.iter().map(|node| {
            let objects = &node.objects;
            let known = objects.properties.iter().find(|(known, _)| Some(known.as_str()) == name);
            let patterns: usize = objects.pattern_properties.iter().map(|(_, child)| back(*child)).sum();
            let unevaluated = objects.unevaluated.iter().map(|(child, _)| back(*child)).sum::<usize>();
            let rest = known.map_or_else(|| objects.additional.map_or(0, back), |(_, child)| back(*child));
            patterns + unevaluated + rest
        });
        each.sum()
    };
    let longest = here.iter().map(|node| node.arrays.prefix.len()).max().unwrap_or(0);
    let items = |n: usize| -> usize {
        let each = here.iter().map(|node| {
            let arrays = &node.arrays;
            let contains = arrays.contains.iter().map(|contains| back(contains.node)).sum::<usize>();
            let asked = arrays.unevaluated.iter().flat_map(|(_, evaluated)| &evaluated.contains);
            let unevaluated = arrays.unevaluated.iter().map(|(child, _)| back(*child)).sum::<usize>();
            let item = arrays.prefix.get(n).copied().or(arrays.items).map_or(0, back);
            contains + asked.map(|child| back(*child)).sum::<usize>() + unevaluated + item
        });
        each.sum()
    };
    names.into_iter().map(Some).chain([None]).any(|name| properties(name) > 1) || (0..=longest).any(|n| items(n) > 1)
}

/// What `unevaluated…` asks of the value itself once more.
fn asks_in_place(node: &Node) -> Vec<NodeId> {
    let unevaluated = [&node.arrays.unevaluated, &node.objects.unevaluated].into_iter().flatten();
    let mut asked = Vec::new();
    for (_, evaluated) in unevaluated {
        asked.extend(evaluated.asks());
        // Those are asked of the items.
        for item in &evaluated.contains {
            asked.retain(|node| node != item);
        }
    }
    asked
}

/// Kosaraju's algorithm, without recursion, for a schema can be a long chain: the nodes with every child outside of a
/// circle before its parents, and for each the number of its component.
fn components(edges: &[Vec<NodeId>]) -> (Vec<NodeId>, Vec<usize>) {
    let mut order = Vec::with_capacity(edges.len());
    let mut seen = vec![false; edges.len()];
    for start in 0..edges.len() {
        let mut path = vec![(start, 0)];
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        while let Some((id, next)) = path.last_mut() {
            if let Some(child) = edges[*id].get(*next) {
                *next += 1;
                if !std::mem::replace(&mut seen[*child], true) {
                    path.push((*child, 0));
                }
            } else {
                order.push(*id);
                path.pop();
            }
        }
    }
    let mut parents = vec![Vec::new(); edges.len()];
    for (id, children) in edges.iter().enumerate() {
        for child in children {
            parents[*child].push(id);
        }
    }
    let mut component = vec![usize::MAX; edges.len()];
    for root in order.iter().rev() {
        let mut path = vec![*root];
        while let Some(id) = path.pop() {
            if component[id] == usize::MAX {
                component[id] = *root;
                path.extend(parents[id].iter().filter(|parent| component[**parent] == usize::MAX));
            }
        }
    }
    (order, component)
}
