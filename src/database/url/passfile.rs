//! The file of passwords, `~/.pgpass` (<https://www.postgresql.org/docs/15/libpq-pgpass.html>).
//!
//! Always holds: a file that others may read is ignored.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};

/// The folders where libpq looks for the socket of the local server: in the file, that is `localhost`.
const LOCAL: [&str; 3] = ["/tmp", "/run/postgresql", "/var/run/postgresql"];

/// The lines of the file, or why it is ignored.
pub(super) enum Passfile {
    Lines(SecretString),
    Ignored(String),
    Missing,
}

impl Passfile {
    pub(super) fn read(path: &Path) -> Self {
        let ignored = |why: &str| {
            let why = format!("the password file {} is ignored: {why}", path.display());
            warn_once(path, &why);
            Self::Ignored(why)
        };
        let found = match fs::metadata(path) {
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Self::Missing;
            }
            Err(error) => return ignored(&error.to_string()),
            Ok(found) => found,
        };
        if !found.is_file() {
            return ignored("it is no plain file");
        }
        if found.permissions().mode() & 0o077 != 0 {
            return ignored("others may read it; run chmod 600 on it");
        }
        match fs::read_to_string(path) {
            Ok(text) => Self::Lines(text.into()),
            Err(error) => ignored(&error.to_string()),
        }
    }

    /// That of the first line that fits.
    pub(super) fn password(&self, host: &str, port: u16, database: &str, user: &str) -> Option<SecretString> {
        let Self::Lines(lines) = self else { return None };
        let host = if LOCAL.contains(&host) { "localhost" } else { host };
        let wanted = [host, &port.to_string(), database, user];
        let mut lines = lines.expose_secret().lines().filter(|line| !line.starts_with('#'));
        lines.find_map(|line| password_for(&wanted, line)).map(SecretString::from)
    }
}

/// `host:port:database:user:password`.
fn password_for(wanted: &[&str], line: &str) -> Option<String> {
    let mut rest = line;
    for part in wanted {
        let (field, after) = rest.split_at_checked(end_of_field(rest))?;
        if field != "*" && plain(field) != *part {
            return None;
        }
        rest = after.strip_prefix(':')?;
    }
    Some(plain(&rest[..end_of_field(rest)])).filter(|password| !password.is_empty())
}

/// Where its `:` is, or the end of the line.
fn end_of_field(text: &str) -> usize {
    let mut escaped = false;
    let end = text.find(|letter| {
        let ends = letter == ':' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// Without the backslashes that escape a letter.
fn plain(field: &str) -> String {
    let mut letters = field.chars();
    let mut plain = String::new();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or(letter) } else { letter });
    }
    plain
}

/// A URL is read more than once in a process.
fn warn_once(path: &Path, why: &str) {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        tracing::warn!("{why}");
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("db:5432:main:app:pw", Some("pw"))]
    #[case("*:*:*:*:pw", Some("pw"))]
    #[case("db:5432:main:app:p\\:w\\\\x", Some("p:w\\x"))]
    #[case("db:5432:main:app:pw:more", Some("pw"))]
    #[case("other:5432:main:app:pw", None)]
    #[case("db:5433:main:app:pw", None)]
    #[case("db:5432:main:app", None)]
    #[case("db:5432:main:app:", None)]
    #[case("\\*:5432:main:app:pw", None)]
    #[case("#db:5432:main:app:pw", None)]
    #[case("", None)]
    #[case("#*:*:*:*:no\nx:*:*:*:no\r\ndb:*:*:*:first\r\n*:*:*:*:second", Some("first"))]
    fn a_line_fits_as_in_libpq(#[case] lines: &str, #[case] password: Option<&str>) {
        let file = Passfile::Lines(lines.to_owned().into());
        let found = file.password("db", 5432, "main", "app");
        assert_eq!(found.as_ref().map(ExposeSecret::expose_secret), password);
    }

    #[rstest]
    #[case("::1", "\\:\\:1:*:*:*:pw")]
    #[case("/var/run/postgresql", "localhost:*:*:*:pw")]
    #[case("/srv/sockets", "/srv/sockets:*:*:*:pw")]
    fn hosts_are_named_as_in_libpq(#[case] host: &str, #[case] line: &str) {
        assert!(Passfile::Lines(line.to_owned().into()).password(host, 5432, "main", "app").is_some());
    }
}
