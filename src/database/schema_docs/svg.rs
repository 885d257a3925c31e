//! The picture as SVG, without scripts and outer files, so that GitHub shows it in a page.
//!
//! It paints its own ground, in the dark too (`prefers-color-scheme`), and the comments of tables and columns are
//! under the pointer where it is opened by itself.

use super::catalogue::Schema;
use super::layout::{Edge, HEAD, NAME, PADDING, Picture, ROW, TableBox, picture, text_width, type_label};

/// How much of a table a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The columns of keys, without their types: small enough for a README.
    Keys,
    /// Every column with its type.
    Columns,
}

const STYLE: &str = "\
text { font-family: -apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif; font-size: 11px; fill: #1f2328 }
.page, .box { fill: #ffffff }
.box { stroke: #c4ccd4 }
.title { font-size: 20px; font-weight: 600 }
.name { font-size: 13px; font-weight: 600 }
.domain { font-size: 12px; font-weight: 600; letter-spacing: 0.04em }
.key { font-size: 8px; font-weight: 700; fill: #9a6700 }
.foreign { fill: #0969da }
.primary { font-weight: 600 }
.type { font-size: 10px; fill: #59636e }
.note { fill: #59636e }
.edge { fill: none; stroke-width: 1.5; stroke-linejoin: round; stroke-linecap: round }
.optional { stroke-dasharray: 5 3.5 }
.sample { stroke: #59636e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.page { fill: #0d1117 }
.box { fill: #161b22; stroke: #3d444d }
.key { fill: #e3b341 }
.foreign { fill: #58a6ff }
.type, .note { fill: #9198a1 }
.sample { stroke: #9198a1 }
}";

/// How round the corners of edges are.
const ROUND: usize = 5;
const LEGEND_LINE: usize = 20;

impl Schema {
    /// The picture of this database, which is called `name`. A foreign key to the tenant alone is left out where a
    /// table has another one; the legend says so.
    #[must_use]
    pub fn svg(&self, name: &str, detail: Detail) -> String {
        let picture = picture(self, detail);
        let legend = Legend::of(self, &picture, detail);
        let (width, height) = (picture.width.max(legend.width), picture.height + legend.height);
        let what = match detail {
            Detail::Keys => "tables and keys",
            Detail::Columns => "tables and columns",
        };
        let mut svg = vec![
            format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">"
            ),
            format!("<title>Database {}: {what}</title>", text(name)),
            format!("<style>\n{STYLE}\n</style>"),
            "<rect class=\"page\" width=\"100%\" height=\"100%\"/>".into(),
            format!(
                "<text x=\"28\" y=\"38\" class=\"title\">{}</text><text x=\"{}\" y=\"38\" class=\"note\">{} tables</text>",
                text(name),
                40 + text_width(name, 20),
                self.tables.len()
            ),
        ];
        for panel in &picture.panels {
            let (rect, colour) = (&panel.rect, panel.domain.colour);
            svg.push(format!(
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"{colour}\" fill-opacity=\"0.09\"/>\
                 <text x=\"{}\" y=\"{}\" class=\"domain\" style=\"fill: {colour}\">{}</text>",
                rect.x,
                rect.y,
                rect.width,
                rect.height,
                rect.x + 12,
                rect.y + 21,
                panel.domain.name
            ));
        }
        svg.extend(picture.edges.iter().filter(|edge| !edge.points.is_empty()).map(|edge| way(edge, &picture)));
        svg.extend(picture.boxes.iter().map(|table| table_box(table, detail)));
        svg.extend(legend.lines);
        svg.push("</svg>\n".into());
        svg.join("\n")
    }
}

fn way(edge: &Edge, picture: &Picture<'_>) -> String {
    let colour = picture.boxes[edge.to].domain.colour;
    let (child, parent) = (&picture.boxes[edge.from].table.name, &picture.boxes[edge.to].table.name);
    let class = if edge.optional { "edge optional" } else { "edge" };
    let ends =
        [edge.points.as_slice(), &edge.points.iter().rev().copied().collect::<Vec<_>>()].map(|points| match points {
            [end, next, ..] => (*end, next.0 > end.0),
            _ => ((0, 0), true),
        });
    let foot = if edge.many { crows_foot(ends[0].0, ends[0].1) } else { bar(ends[0].0, ends[0].1) };
    format!(
        "<g style=\"stroke: {colour}\"><title>{} → {}</title><path class=\"{class}\" d=\"{}\"/><path class=\"edge\" d=\"{foot}{}\"/></g>",
        text(child),
        text(parent),
        rounded(&edge.points),
        bar(ends[1].0, ends[1].1)
    )
}

/// Many: three toes on the box. `right`: the edge leaves to the right.
fn crows_foot((x, y): (usize, usize), right: bool) -> String {
    let heel = if right { x + 11 } else { x - 11 };
    format!("M{heel} {y}L{x} {}M{heel} {y}L{x} {}", y - 5, y + 5)
}

/// One: a bar before the box.
fn bar((x, y): (usize, usize), right: bool) -> String {
    let at = if right { x + 7 } else { x - 7 };
    format!("M{at} {}V{}", y - 5, y + 5)
}

/// The path through these corners, each made round.
fn rounded(points: &[(usize, usize)]) -> String {
    let corner = |points: &[(usize, usize)]| {
        let (x, y) = points[1];
        let (a, b) = (towards(points[1], points[0]), towards(points[1], points[2]));
        format!("L{} {}Q{x} {y} {} {}", a.0, a.1, b.0, b.1)
    };
    let end = |letter: char, point: Option<&(usize, usize)>| point.map(|(x, y)| format!("{letter}{x} {y}"));
    let corners = points.windows(3).map(corner);
    end('M', points.first()).into_iter().chain(corners).chain(end('L', points.last())).collect()
}

/// A point on the way to another, at most [`ROUND`] and half the way off.
fn towards(from: (usize, usize), to: (usize, usize)) -> (usize, usize) {
    let one = |from: usize, to: usize| {
        let off = ROUND.min(from.abs_diff(to) / 2);
        if to > from { from + off } else { from - off }
    };
    (one(from.0, to.0), one(from.1, to.1))
}

fn table_box(table: &TableBox<'_>, detail: Detail) -> String {
    let (rect, colour, name) = (&table.rect, table.domain.colour, text(&table.table.name));
    let (x, y, width, height) = (rect.x, rect.y, rect.width, rect.height);
    let mut svg = vec![format!(
        "<g><title>{name}: {}</title><rect class=\"box\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\
         <path d=\"M{x} {}V{}a6 6 0 0 1 6 -6H{}a6 6 0 0 1 6 6V{}Z\" fill=\"{colour}\" fill-opacity=\"0.22\"/>\
         <text class=\"name\" x=\"{}\" y=\"{}\">{name}</text>",
        text(&table.table.comment),
        y + HEAD - 4,
        y + 6,
        x + width - 6,
        y + HEAD - 4,
        x + PADDING,
        y + 15
    )];
    for (n, column) in table.rows.iter().filter_map(|n| table.table.columns.get(*n)).enumerate() {
        let line = y + HEAD + n * ROW + 12;
        let (primary, foreign) = (table.table.is_primary(&column.name), table.table.is_foreign(&column.name));
        let mark =
            |class: &str, x: usize, mark: &str| format!("<text class=\"{class}\" x=\"{x}\" y=\"{line}\">{mark}</text>");
        let data_type = || {
            let (right, label) = (x + width - PADDING, type_label(column));
            format!("<text class=\"type\" x=\"{right}\" y=\"{line}\" text-anchor=\"end\">{}</text>", text(&label))
        };
        let class = if primary { " class=\"primary\"" } else { "" };
        let row = [
            format!("<g><title>{}</title>", text(&column.comment)),
            if primary { mark("key", x + PADDING, "PK") } else { String::new() },
            if foreign { mark("key foreign", x + PADDING + 14, "FK") } else { String::new() },
            format!("<text{class} x=\"{}\" y=\"{line}\">{}</text>", x + NAME, text(&column.name)),
            if detail == Detail::Columns { data_type() } else { String::new() },
            "</g>".into(),
        ];
        svg.push(row.concat());
    }
    svg.push("</g>".into());
    svg.join("\n")
}

/// What the signs mean.
struct Legend {
    lines: Vec<String>,
    width: usize,
    height: usize,
}

impl Legend {
    fn of(schema: &Schema, picture: &Picture<'_>, detail: Detail) -> Self {
        let sample = |many: bool, class: &str| {
            let foot = if many { crows_foot((0, 8), true) } else { bar((0, 8), true) };
            format!(
                "<path class=\"edge sample{class}\" d=\"M0 8H40\"/><path class=\"edge sample\" d=\"{foot}{}\"/>",
                bar((40, 8), false)
            )
        };
        let mut entries = Vec::new();
        let edges = &picture.edges;
        if edges.iter().any(|edge| edge.many) {
            entries.push((sample(true, ""), "many rows refer to one"));
        }
        if edges.iter().any(|edge| edge.optional) {
            entries.push((sample(true, " optional"), "… or to none"));
        }
        if edges.iter().any(|edge| !edge.many) {
            entries.push((sample(false, ""), "at most one row refers to one"));
        }
        let key = |class: &str, text: &str| format!("<text class=\"{class}\" x=\"22\" y=\"12\">{text}</text>");
        entries.push((key("key", "PK"), "primary key"));
        entries.push((key("key foreign", "FK"), "foreign key"));
        if detail == Detail::Columns {
            entries.push((key("type", "?"), "may be NULL"));
        }
        let hidden = schema.tables.iter().any(|table| table.foreign_keys().count() > schema.edges(table).count());
        if hidden {
            entries.push((
                String::new(),
                "Every table with a tenant_id refers to tenants too: drawn only where it has no other foreign key.",
            ));
        }
        let width = picture.width.max(420);
        let (mut lines, mut x, mut y) = (Vec::new(), 28, picture.height + 8);
        for (sample, words) in entries {
            let indent = if sample.is_empty() { 0 } else { 48 };
            let needed = indent + text_width(words, 11);
            if x > 28 && x + needed > width - 28 {
                (x, y) = (28, y + LEGEND_LINE);
            }
            for (n, words) in wrapped(words, width - 56 - indent).iter().enumerate() {
                y += if n > 0 { LEGEND_LINE } else { 0 };
                let sample = if n == 0 { sample.as_str() } else { "" };
                lines.push(format!(
                    "<g transform=\"translate({x} {y})\">{sample}<text class=\"note\" x=\"{indent}\" y=\"12\">{}</text></g>",
                    text(words)
                ));
            }
            x += needed + 16;
        }
        Self { lines, width, height: y + LEGEND_LINE + 16 - picture.height }
    }
}

/// Lines that are no wider.
fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        if let Some(line) = lines.last_mut() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if text_width(&longer, 11) <= width || line.is_empty() {
                *line = longer;
                continue;
            }
        }
        lines.push(word.to_owned());
    }
    lines
}

/// Text in XML, without the control characters that it cannot hold.
fn text(raw: &str) -> String {
    let allowed: String = raw.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    allowed.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
