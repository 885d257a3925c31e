//! Standard output and standard error.
//!
//! Always holds: no command panics where nobody reads what it writes. A closed pipe (`bedplate status | head -1`) is no
//! error: the command does its work to the end, writes nothing more, and its exit code is that of the work. Anything
//! else that keeps standard output from being written, as a full disk, is an error with exit code 1. Standard error is
//! for people: where it cannot be written, nothing changes.
//!
//! In all of `cli`, `println!`, `print!`, `eprintln!` and `eprint!` are the macros of this file. The standard library's
//! panic where the write fails; with the same names, nobody takes them by accident.

use std::ffi::OsStr;
use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

macro_rules! print {
    ($($argument:tt)*) => { $crate::cli::out::write(::std::format_args!($($argument)*)) };
}

macro_rules! println {
    ($($argument:tt)*) => {
        $crate::cli::out::write(::std::format_args!("{}\n", ::std::format_args!($($argument)*)))
    };
}

macro_rules! eprint {
    ($($argument:tt)*) => { $crate::cli::out::write_error(::std::format_args!($($argument)*)) };
}

macro_rules! eprintln {
    ($($argument:tt)*) => {
        $crate::cli::out::write_error(::std::format_args!("{}\n", ::std::format_args!($($argument)*)))
    };
}

/// Why standard output took no more.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Writes to standard output, unless that has failed before.
pub(in crate::cli) fn write(text: Arguments<'_>) {
    attempt(|| std::io::stdout().write_fmt(text));
}

/// Writes to standard error, where that is possible.
pub(in crate::cli) fn write_error(text: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(text);
}

/// Writes what is still buffered, and tells whether anybody reads: a command without an end stops where nobody does.
pub(in crate::cli) fn is_read() -> bool {
    attempt(|| std::io::stdout().flush())
}

/// Ends the output.
///
/// # Errors
/// [`Error::Io`] where something was not written, and its reader is not the one who wanted that.
pub(in crate::cli) fn end() -> Result<()> {
    is_read();
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::io("writing to standard output")(error)),
        _ => Ok(()),
    }
}

fn attempt(write: impl FnOnce() -> std::io::Result<()>) -> bool {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        *failed = write().err();
    }
    failed.is_none()
}

/// Tells whether this stream takes colours and control characters: a terminal, unless `NO_COLOR` or `TERM=dumb` says no.
pub(in crate::cli) fn takes_colours(stream: &impl IsTerminal) -> bool {
    let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    stream.is_terminal() && wants_colours(no_color.as_deref(), term.as_deref())
}

fn wants_colours(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, None, true)]
    #[case(None, Some("xterm"), true)]
    #[case(Some(""), Some("xterm"), true)]
    #[case(Some("1"), Some("xterm"), false)]
    #[case(Some("0"), None, false)]
    #[case(None, Some("dumb"), false)]
    fn a_user_may_say_no_to_colours(#[case] no_color: Option<&str>, #[case] term: Option<&str>, #[case] wanted: bool) {
        assert_eq!(wants_colours(no_color.map(OsStr::new), term.map(OsStr::new)), wanted);
    }
}
