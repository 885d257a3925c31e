//! What a person sees: progress on standard error, tables on standard output.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};

use crate::database::migrate::Event;
pub(super) use crate::database::migrate::visible;
use crate::database::seed::Outcome;

/// A bar on a terminal, a line a step elsewhere.
#[derive(Clone)]
pub(super) struct Progress {
    spinner: Option<ProgressBar>,
    /// What every line begins with, where several things go on.
    prefix: String,
    /// The last detail that was printed where there is no terminal.
    told: Arc<Mutex<Option<Instant>>>,
}

/// Without a terminal, details come no closer than this.
const BETWEEN_DETAILS: Duration = Duration::from_secs(5);

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
        Self { spinner, prefix: String::new(), told: Arc::default() }
    }

    /// The same, for one of several things that go on.
    pub(super) fn of(&self, name: &str, several: usize) -> Self {
        let prefix = if several > 1 { format!("{name}: ") } else { String::new() };
        Self { prefix, ..self.clone() }
    }

    /// How the present step goes on.
    pub(super) fn detail(&self, message: &str) {
        let Some(bar) = &self.spinner else {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.is_some_and(|told| told.elapsed() >= BETWEEN_DETAILS) {
                eprintln!("  {}{message}", self.prefix);
                *told = Some(Instant::now());
            }
            return;
        };
        let step = bar.message();
        let step = step.split(" · ").next().unwrap_or_default();
        bar.set_message(format!("{step} · {message}"));
    }

    /// Something starts.
    pub(super) fn step(&self, message: &str) {
        if let Some(bar) = &self.spinner {
            bar.set_message(format!("{}{message}", self.prefix));
        } else {
            eprintln!("{}{message} …", self.prefix);
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Something small starts: shown on a terminal alone.
    pub(super) fn quiet_step(&self, message: &str) {
        if let Some(bar) = &self.spinner {
            bar.set_message(message.to_owned());
        }
    }

    /// Takes the spinner away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }

    /// Something is done, and worth a line that stays.
    pub(super) fn done(&self, message: &str) {
        match &self.spinner {
            Some(bar) => bar.println(format!("✓ {}{message}", self.prefix)),
            None => eprintln!("{}{message}", self.prefix),
        }
    }

    /// What the runner of migrations does.
    pub(super) fn migration(&self, event: Event) {
        match event {
            Event::Waiting { runner } => self.step(&format!("waiting for another runner of migrations: {runner}")),
            Event::Noticed { problem } => self.done(&format!("note: {} {}", problem.name, problem.message)),
            Event::Started { name, number, of } => {
                let bar = self.spinner.as_ref().map(|_| bar(number - 1, of)).unwrap_or_default();
                self.step(format!("{bar} migration {number} of {of}: {name}").trim_start());
            }
            Event::Statement { number, of, text } => self.detail(&format!("statement {number} of {of}: {text}")),
            Event::Working { how } => self.detail(&how),
            Event::Blocked { by } => self.done(&format!("{by}: rolled back, tried again when the lock is let go")),
            Event::Note { text } => self.done(&format!("note: {text}")),
            Event::Finished { name, took } => self.done(&format!("{name} ({} ms)", took.as_millis())),
        }
    }

    /// What became of the seed files.
    pub(super) fn seeds(&self, outcomes: &[(String, Outcome)]) {
        for (name, outcome) in outcomes {
            match outcome {
                Outcome::Loaded => self.done(&format!("{name} loaded")),
                Outcome::Reloaded => self.done(&format!("{name} changed: loaded again")),
                Outcome::Restored => {
                    self.done(&format!("{name} loaded again: a table that it fills had lost its rows"));
                }
                Outcome::Repeated => self.done(&format!("{name} loaded again")),
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

/// How many of so many are done.
fn bar(done: usize, of: usize) -> String {
    const WIDTH: usize = 20;
    let full = WIDTH * done / of.max(1);
    format!("{}{}", "█".repeat(full), "░".repeat(WIDTH - full))
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::visible;

    #[rstest]
    #[case("a\tb\nc", "a\tb\nc")]
    #[case("-a\r\n+a\n", "-a\\r\n+a\n")]
    #[case("\u{1b}[31mred", "\\u{1b}[31mred")]
    #[case("grün\u{7}\u{9b}", "grün\\u{7}\\u{9b}")]
    fn control_characters_are_seen(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(visible(text), shown);
    }
}
