//! What holds for every picture, asked of the placed boxes and edges: of the tables of this crate, of a crowd, and of
//! random schemas.

use proptest::prelude::*;

use super::catalogue::{Column, Constraint, ConstraintKind, Schema, Table};
use super::layout::{Picture, Rect, picture, text_width, type_label};
use super::svg::Detail;

/// `users 12: tenants, users` is a table with so many columns beside its keys, and with a foreign key to each of
/// those.
fn schema(tables: &[String]) -> Schema {
    let column = |name: &str, n: usize| Column {
        of: String::new(),
        name: name.to_owned(),
        data_type: ["uuid", "timestamptz", "varchar(255)", "numeric(20,4)"][n % 4].to_owned(),
        nullable: n % 2 == 1,
        default: None,
        comment: String::new(),
    };
    let constraint = |kind, columns: &[&str], target: Option<&str>| Constraint {
        name: String::new(),
        kind,
        definition: String::new(),
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        target: target.map(str::to_owned),
        target_columns: target.map(|_| vec!["id".to_owned()]).unwrap_or_default(),
    };
    let table = |line: &String| {
        let (head, targets) = line.split_once(": ").unwrap_or((line, ""));
        let (name, count) = head.split_once(' ').unwrap();
        let targets: Vec<_> = targets.split(", ").filter(|target| !target.is_empty()).collect();
        let mut columns = vec![column("id", 0)];
        let mut constraints = vec![constraint(ConstraintKind::Primary, &["id"], None)];
        for (n, target) in targets.iter().enumerate() {
            let name = format!("{target}_{n}_id");
            columns.push(column(&name, n));
            constraints.push(constraint(ConstraintKind::Foreign, &[&name], Some(target)));
        }
        columns.extend((0..count.parse().unwrap()).map(|n| column(&format!("column_number_{n}"), n)));
        Table { name: name.to_owned(), columns, constraints, ..Table::default() }
    };
    Schema { tables: tables.iter().map(table).collect(), functions: Vec::new() }
}

fn lines(tables: &[&str]) -> Vec<String> {
    tables.iter().map(|line| (*line).to_owned()).collect()
}

/// As large as `main` is going to be.
const MAIN: [&str; 20] = [
    "tenants 8",
    "users 10: tenants",
    "user_organizations 2: users, organizations",
    "organizations 7: tenants",
    "user_roles 3: users",
    "user_entitlements 9: users",
    "api_keys 9: organizations, users, api_keys",
    "sessions 3",
    "business_ideas 8: users",
    "evaluations 12: business_ideas",
    "agent_results 12: evaluations",
    "form_definitions 6: tenants",
    "form_submissions 8: form_definitions",
    "events 14: tenants",
    "event_tags 3: events",
    "event_subscriptions 5: tenants",
    "outbox_events 15: tenants, events",
    "processed_events 5: tenants",
    "idempotency_keys 4: tenants",
    "audit_log 14",
];

/// Boxes lie apart and inside; every edge has a way, level or upright, from one box to the other and through no box.
fn holds(picture: &Picture<'_>, detail: Detail) -> Result<(), String> {
    for (n, a) in picture.boxes.iter().enumerate() {
        if a.rect.right() >= picture.width || a.rect.bottom() >= picture.height {
            return Err(format!("{} is not inside", a.table.name));
        }
        if let Some(b) = picture.boxes[..n].iter().find(|b| b.rect.overlaps(&a.rect)) {
            return Err(format!("{} and {} overlap", a.table.name, b.table.name));
        }
        for column in a.rows.iter().map(|n| &a.table.columns[*n]) {
            let label = if detail == Detail::Columns { text_width(&type_label(column), 10) } else { 0 };
            let needed = text_width(&column.name, 11) + label;
            if a.rect.width < needed + 40 {
                return Err(format!("{} has no room for {}", a.table.name, column.name));
            }
        }
    }
    for edge in &picture.edges {
        let (from, to) = (&picture.boxes[edge.from], &picture.boxes[edge.to]);
        let name = format!("{} → {}", from.table.name, to.table.name);
        let [first, .., last] = edge.points.as_slice() else { return Err(format!("{name} has no way")) };
        let at_side = |rect: &Rect, point: &(usize, usize)| {
            (point.0 == rect.x || point.0 == rect.right()) && rect.y < point.1 && point.1 < rect.bottom()
        };
        if !at_side(&from.rect, first) || !at_side(&to.rect, last) {
            return Err(format!("{name} does not reach from box to box: {:?}", edge.points));
        }
        for (a, b) in segments(&edge.points) {
            if a.0 != b.0 && a.1 != b.1 {
                return Err(format!("{name} is askew: {:?}", edge.points));
            }
            if let Some(hit) = picture.boxes.iter().find(|table| enters(&table.rect, a, b)) {
                return Err(format!("{name} runs through {}: {:?}", hit.table.name, edge.points));
            }
        }
    }
    Ok(())
}

fn segments(points: &[(usize, usize)]) -> impl Iterator<Item = ((usize, usize), (usize, usize))> {
    points.windows(2).map(|pair| (pair[0], pair[1]))
}

/// Whether a part of the segment is strictly inside.
fn enters(rect: &Rect, a: (usize, usize), b: (usize, usize)) -> bool {
    a.0.min(b.0) < rect.right() && a.0.max(b.0) > rect.x && a.1.min(b.1) < rect.bottom() && a.1.max(b.1) > rect.y
}

/// Whether two segments share more than a point.
fn along(one: ((usize, usize), (usize, usize)), other: ((usize, usize), (usize, usize))) -> bool {
    let shared = |from: fn(&(usize, usize)) -> usize| {
        let span = |s: ((usize, usize), (usize, usize))| (from(&s.0).min(from(&s.1)), from(&s.0).max(from(&s.1)));
        let (one, other) = (span(one), span(other));
        one.0.max(other.0)..=one.1.min(other.1)
    };
    let (x, y) = (shared(|p| p.0), shared(|p| p.1));
    !x.is_empty() && !y.is_empty() && (x.start() < x.end() || y.start() < y.end())
}

#[test]
fn the_picture_of_main_is_clear() {
    for detail in [Detail::Columns, Detail::Keys] {
        let schema = schema(&lines(&MAIN));
        let picture = picture(&schema, detail);
        holds(&picture, detail).unwrap();
        assert!(picture.edges.len() >= 18, "{}", picture.edges.len());
        // Edges to different rows do not run on one another: nobody could follow them.
        for (n, a) in picture.edges.iter().enumerate() {
            for b in picture.edges[..n].iter().filter(|b| b.to != a.to) {
                let on = segments(&a.points).find(|s| segments(&b.points).any(|t| along(*s, t)));
                assert_eq!(on, None, "{:?} and {:?}", a.points, b.points);
            }
        }
        let (width, height) = (picture.width, picture.height);
        assert!(width < 2 * height && height < 2 * width, "{width} x {height} is out of proportion");
    }
}

#[test]
fn a_picture_of_nothing_and_of_one_table_is_a_picture() {
    for tables in [vec![], lines(&["alone 3: alone"])] {
        let schema = schema(&tables);
        let picture = picture(&schema, Detail::Columns);
        holds(&picture, Detail::Columns).unwrap();
        assert_eq!((picture.boxes.len(), picture.edges.len()), (tables.len(), tables.len()));
    }
}

/// Where the gutters cannot hold them, edges run on one another; through a box they never run.
#[test]
fn a_crowd_of_edges_finds_its_ways() {
    let all: Vec<_> = (0..12).map(|n| format!("table_{n}")).collect();
    let tables: Vec<_> = (0..12).map(|n| format!("table_{n} 2: {}", all[..8].join(", "))).collect();
    holds(&picture(&schema(&tables), Detail::Columns), Detail::Columns).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_picture_is_clear(tables in proptest::collection::vec((0..9usize, proptest::collection::vec(0..16usize, 0..3)), 1..16)) {
        let count = tables.len();
        let lines: Vec<_> = tables
            .iter()
            .enumerate()
            .map(|(n, (columns, targets))| {
                let targets: Vec<_> = targets.iter().map(|target| format!("table_{}", target % count)).collect();
                format!("table_{n} {columns}: {}", targets.join(", "))
            })
            .collect();
        let schema = schema(&lines);
        let first = picture(&schema, Detail::Columns);
        holds(&first, Detail::Columns).map_err(TestCaseError::fail)?;
        let again = picture(&schema, Detail::Columns);
        prop_assert_eq!(format!("{first:?}"), format!("{again:?}"));
    }
}
