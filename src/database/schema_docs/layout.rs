//! Where everything stands in the picture.
//!
//! Tables are boxes of one width in a few columns, domain after domain, the columns about equally high. All sides of
//! boxes and all middles of rows lie on a grid, on which [`super::route`] then finds the ways of the edges.
//!
//! An own layout, because those of crates draw badly here: they know no rows to start from and no domains, and
//! either leave the routing of edges to the caller or let edges run through boxes.

use super::catalogue::{Schema, Table};
use super::domains::{Domain, place};
use super::mermaid::is_optional;
use super::route::{Port, Request, route};
use super::svg::Detail;

/// The distance of the grid's lines, in pixels.
pub(super) const GRID: usize = 8;
/// The height of a column's row.
pub(super) const ROW: usize = 2 * GRID;
/// The height of a box's head.
pub(super) const HEAD: usize = 3 * GRID;
/// Where a column's name begins: before it are the marks of keys.
pub(super) const NAME: usize = 40;
/// Text never comes nearer to a box's right side.
pub(super) const PADDING: usize = 10;

/// Room for edges between two columns of boxes, and around all of them.
const GUTTER: usize = 8 * GRID;
const MARGIN: usize = 5 * GRID;
/// Between two boxes of a domain.
const GAP: usize = 5 * GRID;
/// From the top of a panel to its first box, with the domain's name between.
const PANEL_HEAD: usize = 4 * GRID;
/// Of a panel around its boxes.
const PANEL_EDGE: usize = 12;
/// Above everything, for the title.
const TOP: usize = 8 * GRID;
/// Never more columns: at the width of a page they could not be read.
const MOST_COLUMNS: usize = 4;
/// A column may be higher to keep a domain in one: by about the tenth part of all boxes, one above the other.
const SPLIT: usize = 10;

/// A rectangle; the origin is the picture's upper left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Rect {
    pub(super) fn right(&self) -> usize {
        self.x + self.width
    }

    pub(super) fn bottom(&self) -> usize {
        self.y + self.height
    }

    fn around(&self, other: &Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let (right, bottom) = (self.right().max(other.right()), self.bottom().max(other.bottom()));
        Self { x, y, width: right - x, height: bottom - y }
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }
}

/// A table's box, with the rows that it shows.
#[derive(Debug)]
pub(super) struct TableBox<'s> {
    pub(super) table: &'s Table,
    pub(super) domain: &'static Domain,
    pub(super) rect: Rect,
    /// Positions in `table.columns`.
    pub(super) rows: Vec<usize>,
}

impl TableBox<'_> {
    /// The middle of a row, from the picture's top; of the head where the column is not shown.
    pub(super) fn middle(&self, column: &str) -> usize {
        let row = self.rows.iter().position(|n| self.table.columns.get(*n).is_some_and(|c| c.name == column));
        self.rect.y + row.map_or(HEAD / 3, |row| HEAD + row * ROW + ROW / 2)
    }
}

/// The background of a domain.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) domain: &'static Domain,
    pub(super) rect: Rect,
}

/// A foreign key.
#[derive(Debug)]
pub(super) struct Edge {
    /// Positions in [`Picture::boxes`].
    pub(super) from: usize,
    pub(super) to: usize,
    /// Its corners, from the row that refers to the row that is referred to.
    pub(super) points: Vec<(usize, usize)>,
    /// Whether several rows may refer to the same one.
    pub(super) many: bool,
    /// Whether a row may refer to none.
    pub(super) optional: bool,
}

/// Everything, placed.
#[derive(Debug)]
pub(super) struct Picture<'s> {
    pub(super) width: usize,
    /// Without the legend.
    pub(super) height: usize,
    pub(super) boxes: Vec<TableBox<'s>>,
    pub(super) panels: Vec<Panel>,
    pub(super) edges: Vec<Edge>,
}

/// Places everything.
pub(super) fn picture(schema: &Schema, detail: Detail) -> Picture<'_> {
    let mut boxes: Vec<_> = schema.tables.iter().map(|table| unplaced(table, detail)).collect();
    let width = boxes.iter().map(|b| text_width_of(b, detail)).max().unwrap_or(0).next_multiple_of(2 * GRID);
    let mut pieces: Vec<Panel> = Vec::new();
    let (mut x, mut first) = (MARGIN, 0);
    for count in columns(&boxes) {
        let mut y = TOP;
        for n in first..first + count {
            let Some(table) = boxes.get_mut(n) else { continue };
            if n == first || pieces.last().is_none_or(|piece| piece.domain.name != table.domain.name) {
                y += if n == first { 0 } else { 2 * GRID };
                let rect = Rect { x: x - PANEL_EDGE, y, width: width + 2 * PANEL_EDGE, height: 0 };
                pieces.push(Panel { domain: table.domain, rect });
                y += PANEL_HEAD;
            } else {
                y += GAP - 2 * GRID;
            }
            table.rect = Rect { x, y, width, height: table.rect.height };
            if let Some(piece) = pieces.last_mut() {
                piece.rect.height = table.rect.bottom() + PANEL_EDGE - piece.rect.y;
            }
            y = table.rect.bottom() + 2 * GRID;
        }
        first += count;
        x += width + GUTTER;
    }
    let panels = merged(pieces, &boxes);
    let bottom = panels.iter().map(|panel| panel.rect.bottom()).max().unwrap_or(TOP);
    let mut picture = Picture {
        width: (x + MARGIN).saturating_sub(GUTTER),
        height: bottom + 2 * GRID,
        boxes,
        panels,
        edges: Vec::new(),
    };
    picture.edges = edges(schema, &picture);
    picture
}

fn unplaced(table: &Table, detail: Detail) -> TableBox<'_> {
    let shown = |name: &str| detail == Detail::Columns || table.is_primary(name) || table.is_foreign(name);
    let rows: Vec<_> = (0..table.columns.len()).filter(|n| shown(&table.columns[*n].name)).collect();
    let height = HEAD + rows.len() * ROW + GRID;
    TableBox { table, domain: place(&table.name).0, rect: Rect { x: 0, y: 0, width: 0, height }, rows }
}

/// The width that a box needs for its longest row and for its name.
fn text_width_of(table: &TableBox<'_>, detail: Detail) -> usize {
    let rows = table.rows.iter().filter_map(|n| table.table.columns.get(*n)).map(|column| {
        let data_type = match detail {
            Detail::Columns => 14 + text_width(&type_label(column), 10),
            Detail::Keys => 0,
        };
        NAME + text_width(&column.name, 11) + data_type
    });
    let name = PADDING + text_width(&table.table.name, 13) * 11 / 10;
    rows.chain([name]).max().unwrap_or(0) + PADDING
}

/// The type, with a mark where the column may be NULL.
pub(super) fn type_label(column: &super::catalogue::Column) -> String {
    format!("{}{}", column.data_type, if column.nullable { "?" } else { "" })
}

/// How wide a text is at most: `DejaVu Sans` is the widest of the fonts that a browser takes for `sans-serif`.
pub(super) fn text_width(text: &str, size: usize) -> usize {
    let thousandths: usize = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | ' ' => 320,
            'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' => 415,
            'c' | 's' | 'z' | '_' | '?' => 550,
            'm' | 'w' | 'M' | 'W' => 990,
            'A'..='Z' => 720,
            'a'..='z' | '0'..='9' => 637,
            _ => 1000,
        })
        .sum();
    (thousandths * size).div_ceil(1000)
}

/// How many boxes each column gets: they stay in order, the columns become about equally high, and a domain is split
/// only where that makes a great difference. The sum of the squares of heights is the least when they are equal.
fn columns(boxes: &[TableBox<'_>]) -> Vec<usize> {
    cheapest_columns(boxes, MOST_COLUMNS, (height(boxes) / SPLIT).pow(2)).map(|(_, counts)| counts).unwrap_or_default()
}

/// Tries every count for the first column: there are few columns, and some dozens of tables at most.
fn cheapest_columns(boxes: &[TableBox<'_>], most: usize, split: usize) -> Option<(usize, Vec<usize>)> {
    if boxes.is_empty() || most == 0 {
        return boxes.is_empty().then(|| (0, Vec::new()));
    }
    let tries = (1..=boxes.len()).filter_map(|count| {
        let (first, others) = boxes.split_at(count);
        let is_split = others.first().is_some_and(|next| first.last().is_some_and(|last| same_domain(last, next)));
        let (rest, counts) = cheapest_columns(others, most - 1, split)?;
        let cost = height(first).pow(2) + if is_split { split } else { 0 } + rest;
        Some((cost, [&[count], counts.as_slice()].concat()))
    });
    tries.min_by_key(|(cost, _)| *cost)
}

fn same_domain(a: &TableBox<'_>, b: &TableBox<'_>) -> bool {
    a.domain.name == b.domain.name
}

fn height(column: &[TableBox<'_>]) -> usize {
    let boxes: usize = column.iter().map(|table| table.rect.height).sum();
    let gaps = column.windows(2).map(|pair| if same_domain(&pair[0], &pair[1]) { GAP } else { 2 * PANEL_HEAD });
    boxes + PANEL_HEAD + gaps.sum::<usize>()
}

/// One panel for the pieces of a domain in several columns, where nothing of another domain is between.
fn merged(pieces: Vec<Panel>, boxes: &[TableBox<'_>]) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for piece in pieces {
        if let Some(last) = panels.last_mut().filter(|last| last.domain.name == piece.domain.name) {
            let both = last.rect.around(&piece.rect);
            if !boxes.iter().any(|b| b.domain.name != piece.domain.name && b.rect.overlaps(&both)) {
                last.rect = both;
                continue;
            }
        }
        panels.push(piece);
    }
    panels
}

fn edges(schema: &Schema, picture: &Picture<'_>) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut requests = Vec::new();
    for (from, child) in picture.boxes.iter().enumerate() {
        for fk in schema.edges(child.table) {
            let target = picture.boxes.iter().position(|parent| Some(&parent.table.name) == fk.target.as_ref());
            let (Some(to), Some(column), Some(at)) = (target, fk.columns.last(), fk.target_columns.last()) else {
                continue;
            };
            let port = |n: usize, column: &str| Port { box_: n, y: picture.boxes[n].middle(column) };
            requests.push(Request { from: port(from, column), to: port(to, at) });
            let (many, optional) = (!child.table.is_key(&fk.columns), is_optional(child.table, fk));
            edges.push(Edge { from, to, points: Vec::new(), many, optional });
        }
    }
    // Lines do not run through the names of domains.
    let names = picture.panels.iter().map(|p| Rect { y: p.rect.y - GRID / 2, height: PANEL_HEAD, ..p.rect });
    let boxes: Vec<_> = picture.boxes.iter().map(|b| b.rect).collect();
    let ways = route((picture.width, picture.height), &boxes, &names.collect::<Vec<_>>(), &requests);
    for (edge, points) in edges.iter_mut().zip(ways) {
        edge.points = points;
    }
    edges
}
