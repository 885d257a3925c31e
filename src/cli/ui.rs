//! What a person sees: progress on standard error, tables on standard output.

use std::io::IsTerminal as _;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};

use crate::database::migrate::Event;
use crate::database::seed::Outcome;

/// A spinner on a terminal, a line a step elsewhere.
#[derive(Clone)]
pub(super) struct Progress {
    spinner: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { spinner }
    }

    /// Something starts.
    pub(super) fn step(&self, message: &str) {
        match &self.spinner {
            Some(bar) => bar.set_message(message.to_owned()),
            None => eprintln!("{message} …"),
        }
    }

    /// Something is done, and worth a line that stays.
    pub(super) fn done(&self, message: &str) {
        match &self.spinner {
            Some(bar) => bar.println(format!("✓ {message}")),
            None => eprintln!("{message}"),
        }
    }

    /// What the runner of migrations does.
    pub(super) fn migration(&self, event: Event) {
        match event {
            Event::Waiting => self.step("waiting for another runner of migrations"),
            Event::Started { name, number, of } => self.step(&format!("migration {number} of {of}: {name}")),
            Event::Finished { name, took } => self.done(&format!("{name} ({} ms)", took.as_millis())),
        }
    }

    /// What became of the seed files.
    pub(super) fn seeds(&self, outcomes: &[(String, Outcome)]) {
        for (name, outcome) in outcomes {
            match outcome {
                Outcome::Loaded => self.done(&format!("{name} loaded")),
                Outcome::Reloaded => self.done(&format!("{name} changed: loaded again")),
                Outcome::Unchanged => {}
            }
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }
}

/// A table with these headings; the columns of numbers are told by their place.
pub(super) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>, numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    if !headings.is_empty() {
        table.set_header(headings);
    }
    table.add_rows(rows);
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
