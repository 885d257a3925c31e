//! The ways of the edges: orthogonal, on the grid's lines, around every box.
//!
//! Always holds: a way starts and ends with a straight piece from the side of a row, and comes no nearer to any box
//! than two lines of the grid. Edges to one row may join; others cross, and never run on one another where there is
//! room. Each way is the cheapest of all by length, corners and crossings (A*), given the others; so each is
//! sought again once the others are known.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::layout::{GRID, Rect};

/// From the side of a box to where its first corner may be: room for a crow's foot.
const STUB: usize = 2 * GRID;
const STEP: usize = 10;
/// Beside an edge that leads to the same row: then both go on as one.
const JOINED: usize = 6;
const CORNER: usize = 55;
const CROSSING: usize = 70;
/// One line beside another edge.
const NEAR: usize = 4;
/// On another edge. Not forbidden, so that there is a way for every edge, however many there are.
const ON: usize = 3000;
/// How often every way is sought again.
const ROUNDS: usize = 3;

/// The row of a box where an edge starts or ends, at either side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    pub(super) box_: usize,
    pub(super) y: usize,
}

/// An edge that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) from: Port,
    pub(super) to: Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Left,
    Right,
    Up,
    Down,
}

impl Direction {
    const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Up, Self::Down];

    fn back(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    fn is_level(self) -> bool {
        matches!(self, Self::Left | Self::Right)
    }
}

/// What an edge does at a node: from where it comes and to where it goes.
#[derive(Debug, Clone, Copy)]
struct Use {
    edge: usize,
    arms: [Direction; 2],
}

/// The grid, as nodes in rows, with what is known of each.
struct Grid {
    columns: usize,
    blocked: Vec<bool>,
    uses: Vec<Vec<Use>>,
}

impl Grid {
    fn node(&self, x: usize, y: usize) -> usize {
        y / GRID * self.columns + x / GRID
    }

    fn point(&self, node: usize) -> (usize, usize) {
        (node % self.columns * GRID, node / self.columns * GRID)
    }

    fn beside(&self, node: usize, direction: Direction) -> Option<usize> {
        let next = match direction {
            Direction::Left => (!node.is_multiple_of(self.columns)).then(|| node - 1),
            Direction::Right => Some(node + 1).filter(|next| !next.is_multiple_of(self.columns)),
            Direction::Up => node.checked_sub(self.columns),
            Direction::Down => Some(node + self.columns),
        };
        next.filter(|next| self.blocked.get(*next) == Some(&false))
    }

    /// What it costs an edge to come through a node and go on, given the others.
    fn cost(&self, node: usize, came: Direction, goes: Direction, to: usize, targets: &[usize]) -> usize {
        let mut cost = STEP + if came == goes { 0 } else { CORNER };
        let mut joined = false;
        for other in &self.uses[node] {
            if targets[other.edge] == to {
                joined |= other.arms.contains(&goes);
            } else if other.arms.contains(&goes) || other.arms.contains(&came.back()) {
                cost += ON;
            } else if came == goes && other.arms[0] == other.arms[1].back() {
                cost += CROSSING;
            } else {
                // Two corners that touch look like a branch.
                cost += ON / 2;
            }
        }
        if joined {
            return cost - STEP + JOINED;
        }
        let aside =
            if goes.is_level() { [Direction::Up, Direction::Down] } else { [Direction::Left, Direction::Right] };
        let near = aside.iter().filter_map(|side| self.beside(node, *side)).any(|beside| {
            self.uses[beside].iter().any(|other| targets[other.edge] != to && other.arms.contains(&goes))
        });
        cost + if near { NEAR } else { 0 }
    }
}

/// The corners of every way, in the order of the requests. `size` is the picture's; lines go around `boxes` at a
/// distance, and just around `labels`.
pub(super) fn route(
    size: (usize, usize),
    boxes: &[Rect],
    labels: &[Rect],
    requests: &[Request],
) -> Vec<Vec<(usize, usize)>> {
    let columns = size.0 / GRID;
    let rows = size.1 / GRID;
    let free = |node: usize| {
        let (x, y) = (node % columns * GRID, node / columns * GRID);
        let within = |rect: &Rect, distance: usize| {
            x + distance > rect.x
                && x < rect.right() + distance
                && y + distance > rect.y
                && y < rect.bottom() + distance
        };
        x > 0 && y > 0 && !boxes.iter().any(|rect| within(rect, STUB)) && !labels.iter().any(|rect| within(rect, 0))
    };
    let blocked = (0..columns * rows).map(|node| !free(node)).collect();
    let mut grid = Grid { columns, blocked, uses: vec![Vec::new(); columns * rows] };

    // Edges to one row of one box are to the same target.
    let target = |request: &Request| grid.node(boxes[request.to.box_].x, request.to.y);
    let targets: Vec<_> = requests.iter().map(target).collect();
    // Short ones first: they have the least choice.
    let length = |request: &Request| {
        let (from, to) = (&boxes[request.from.box_], &boxes[request.to.box_]);
        from.x.abs_diff(to.x) + request.from.y.abs_diff(request.to.y)
    };
    let mut order: Vec<_> = (0..requests.len()).collect();
    order.sort_by_key(|n| (length(&requests[*n]), *n));
    let mut ways: Vec<Vec<usize>> = vec![Vec::new(); requests.len()];
    for _ in 0..ROUNDS {
        for &edge in &order {
            for node in std::mem::take(&mut ways[edge]) {
                grid.uses[node].retain(|other| other.edge != edge);
            }
            let request = &requests[edge];
            let ports = |port: &Port| sides(&boxes[port.box_], port.y);
            let way = cheapest(&grid, &ports(&request.from), &ports(&request.to), edge, &targets);
            for (n, (node, came)) in way.iter().enumerate() {
                let into = || into(&boxes[request.to.box_], grid.point(*node).0);
                let goes = way.get(n + 1).map_or_else(into, |(_, next)| *next);
                grid.uses[*node].push(Use { edge, arms: [came.back(), goes] });
            }
            ways[edge] = way.into_iter().map(|(node, _)| node).collect();
        }
    }
    let corners = requests.iter().zip(ways).map(|(request, way)| {
        let points: Vec<_> = way.iter().map(|node| grid.point(*node)).collect();
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
        let start = (side_nearest(&boxes[request.from.box_], first.0), request.from.y);
        let end = (side_nearest(&boxes[request.to.box_], last.0), request.to.y);
        straightened(&[&[start], points.as_slice(), &[end]].concat())
    });
    corners.collect()
}

/// Where the stubs of a row end, and the direction away from the box.
fn sides(rect: &Rect, y: usize) -> [(usize, usize, Direction); 2] {
    [(rect.x.saturating_sub(STUB), y, Direction::Left), (rect.right() + STUB, y, Direction::Right)]
}

fn into(rect: &Rect, x: usize) -> Direction {
    if x < rect.x { Direction::Right } else { Direction::Left }
}

fn side_nearest(rect: &Rect, x: usize) -> usize {
    if x < rect.x { rect.x } else { rect.right() }
}

/// Only the points where the direction changes, and both ends.
fn straightened(points: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for &point in points {
        if let [.., before, last] = kept.as_slice()
            && ((before.0 == last.0 && last.0 == point.0) || (before.1 == last.1 && last.1 == point.1))
        {
            kept.pop();
        }
        kept.push(point);
    }
    kept
}

/// A*: the nodes of the cheapest way, each with the direction in which it is entered.
fn cheapest(
    grid: &Grid,
    from: &[(usize, usize, Direction)],
    to: &[(usize, usize, Direction)],
    edge: usize,
    targets: &[usize],
) -> Vec<(usize, Direction)> {
    let ends: Vec<_> = to.iter().map(|(x, y, away)| (grid.node(*x, *y), away.back())).collect();
    let still = |node: usize| {
        let (x, y) = grid.point(node);
        let steps = ends.iter().map(|(end, _)| {
            let (to_x, to_y) = grid.point(*end);
            (x.abs_diff(to_x) + y.abs_diff(to_y)) / GRID
        });
        steps.min().unwrap_or(0) * JOINED
    };
    let state = |node: usize, direction: Direction| node * 4 + direction as usize;
    let mut known = vec![usize::MAX; grid.blocked.len() * 4];
    let mut before: Vec<Option<(usize, Direction)>> = vec![None; grid.blocked.len() * 4];
    let mut open = BinaryHeap::new();
    for (x, y, away) in from {
        let node = grid.node(*x, *y);
        if grid.blocked.get(node) == Some(&false) {
            known[state(node, *away)] = 0;
            open.push(Reverse((still(node), node, *away, false)));
        }
    }
    while let Some(Reverse((estimate, node, came, arrived))) = open.pop() {
        if arrived {
            let mut way = vec![(node, came)];
            while let Some((node, came)) = way.last().and_then(|(node, came)| before[state(*node, *came)]) {
                way.push((node, came));
            }
            way.reverse();
            return way;
        }
        let cost = known[state(node, came)];
        if estimate > cost + still(node) {
            continue;
        }
        for (end, into) in &ends {
            if *end == node {
                // The last piece, into the box, costs its corner too.
                let last = cost + grid.cost(node, came, *into, targets[edge], targets);
                open.push(Reverse((last, node, came, true)));
            }
        }
        for goes in Direction::ALL.into_iter().filter(|goes| *goes != came.back()) {
            let Some(next) = grid.beside(node, goes) else { continue };
            let cost = cost + grid.cost(node, came, goes, targets[edge], targets);
            if cost < known[state(next, goes)] {
                known[state(next, goes)] = cost;
                before[state(next, goes)] = Some((node, came));
                open.push(Reverse((cost + still(next), next, goes, false)));
            }
        }
    }
    Vec::new()
}
