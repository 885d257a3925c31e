//! Events as a person reads them, and as a program does.

use chrono::SecondsFormat;

use super::super::ui::table;
use crate::error::{Error, Result};
use crate::events::Event;

/// So much is left for the data at least.
const LEAST: usize = 20;

/// Position, time, type, tags, data.
fn cells(event: &Event) -> Vec<String> {
    vec![
        event.position.to_string(),
        event.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        event.event_type.clone(),
        event.tags.join(" "),
        event.event_data.to_string(),
    ]
}

/// A table, as wide as the terminal: the data are cut. Where there is no terminal, nothing is.
pub(super) fn print_table(events: &[Event]) {
    let mut rows: Vec<_> = events.iter().map(cells).collect();
    if let Some(width) = terminal() {
        let before: usize = (0..4).map(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0)).sum();
        // Two blanks and a border each, and one more.
        let left = width.saturating_sub(before + 3 * 5 + 1).max(LEAST);
        for row in &mut rows {
            row[4] = cut(&row[4], left);
        }
    }
    println!("{}", table(&["position", "time", "type", "tags", "data"], rows, &[0]));
}

/// A line for a person, cut to the terminal.
pub(super) fn line(event: &Event) -> String {
    let line = cells(event).join("  ");
    terminal().map_or(line.clone(), |width| cut(&line, width))
}

/// A line for a program.
pub(super) fn json(event: &Event) -> Result<String> {
    serde_json::to_string(event).map_err(|error| Error::invalid("event", error.to_string()))
}

fn terminal() -> Option<usize> {
    comfy_table::Table::new().width().map(usize::from)
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(cut("grün", 4), "grün");
        assert_eq!(cut("grüner", 4), "grü…");
    }
}
