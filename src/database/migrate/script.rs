//! An SQL file of a migration: its text, its statements, its checksums.
//!
//! There are two checksums: of the bytes, and of the SQL without comments and white space.
//!
//! Always holds: a file that is larger than [`KEPT`] is never in memory as a whole. It is read from the disk each time,
//! statement by statement, and the history keeps its checksums, not its text.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use squawk_lexer::{LiteralKind, TokenKind};

use super::reader::{Reader, hexadecimal};
use super::statement::Statement;
use crate::error::{Error, Result};

/// Bytes of a file up to which its text is held in memory and kept in the history: 1 MB.
pub(super) const KEPT: u64 = 1 << 20;

/// One SQL file of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// `up.sql` or `down.sql`.
    pub file: &'static str,
    text: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Held(String),
    OnDisk(PathBuf),
}

impl Script {
    /// A script with this text.
    #[must_use]
    pub fn new(file: &'static str, sql: impl Into<String>) -> Self {
        Self { file, text: Text::Held(sql.into()) }
    }

    /// The file of this name in a folder; `None` where there is no such file.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a file that cannot be read, or that is not UTF-8.
    pub(super) fn read(file: &'static str, folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(file);
        let unreadable = |error: &std::io::Error| unreadable(&path, error);
        let opened = match File::open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&error)),
        };
        // Most files are short; to ask for the size first takes as long as to read them.
        let mut bytes = Vec::with_capacity(8 << 10);
        let read = opened.take(KEPT + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if read as u64 > KEPT {
            return Ok(Some(Self { file, text: Text::OnDisk(path) }));
        }
        bytes.shrink_to_fit();
        if is_utf16(&bytes) {
            return Err(not_utf8(&path.display().to_string(), &bytes));
        }
        let sql = String::from_utf8(bytes).map_err(|error| not_utf8(&path.display().to_string(), error.as_bytes()))?;
        Ok(Some(Self::new(file, sql)))
    }

    /// The whole text. Reads a large file into memory.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a file that cannot be read.
    pub fn text(&self) -> Result<Cow<'_, str>> {
        match &self.text {
            Text::Held(sql) => Ok(Cow::Borrowed(sql)),
            Text::OnDisk(path) => {
                let read = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
                Ok(Cow::Owned(read))
            }
        }
    }

    /// The text that the history keeps; `None` for a large file.
    pub(super) fn kept(&self) -> Option<&str> {
        match &self.text {
            Text::Held(sql) => Some(sql),
            Text::OnDisk(_) => None,
        }
    }

    /// The SHA-256 of the bytes, in hexadecimal.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a file that cannot be read.
    pub fn checksum(&self) -> Result<String> {
        let path = match &self.text {
            Text::Held(sql) => return Ok(hexadecimal(&Sha256::digest(sql.as_bytes()))),
            Text::OnDisk(path) => path,
        };
        let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let (mut digest, mut chunk) = (Sha256::new(), vec![0; 64 << 10]);
        loop {
            match file.read(&mut chunk).map_err(|error| unreadable(path, &error))? {
                0 => return Ok(hexadecimal(&digest.finalize())),
                read => digest.update(&chunk[..read]),
            }
        }
    }

    /// The SHA-256 of the SQL: without comments, white space, and the case of names that no quotes hold. A line ends
    /// the same way whether it ends with LF or CRLF, also inside of a string or a function's body.
    ///
    /// # Errors
    /// As [`Script::statements`].
    pub fn sql_checksum(&self) -> Result<String> {
        let mut reader = self.reader(false)?;
        while reader.next()?.is_some() {}
        Ok(reader.checksum())
    }

    /// Its statements, in order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a quote or comment that does not end, a command of psql, and COPY from or to the client,
    /// with its line; [`Error::Configuration`] for a file that cannot be read.
    pub fn statements(&self) -> Result<Vec<Statement>> {
        let mut reader = self.reader(false)?;
        let mut statements = Vec::new();
        while let Some(statement) = reader.next()? {
            statements.push(statement);
        }
        Ok(statements)
    }

    /// Reads the statements one by one. `escapes`: whether a backslash escapes in an ordinary string at the file's
    /// start, because the server's `standard_conforming_strings` is off.
    pub(super) fn reader(&self, escapes: bool) -> Result<Reader<'_>> {
        match &self.text {
            Text::Held(sql) => Ok(Reader::of_text(self.file, sql, escapes)),
            Text::OnDisk(path) => {
                let file = File::open(path).map_err(|error| unreadable(path, &error))?;
                Ok(Reader::of_file(self.file, path, file, escapes))
            }
        }
    }
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::configuration(format!("{} cannot be read: {error}", path.display()))
}

/// Whether text begins as UTF-16 does: ASCII with a NUL beside each character.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0, first, 0, ..] | [first, 0, _, 0, ..] if *first != 0)
}

/// What a file is that is not UTF-8.
pub(super) fn not_utf8(path: &str, bytes: &[u8]) -> Error {
    let what = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "is UTF-16",
        [_, 0, ..] | [0, ..] => "looks like UTF-16",
        _ => "is not UTF-8 (it may be LATIN1)",
    };
    Error::configuration(format!("{path} {what}: save it as UTF-8, for example with `iconv -t UTF-8`"))
}

/// `/* batch */`: see `batch.rs`.
pub(super) fn is_batch_mark(comment: &str) -> bool {
    mark(comment) == "batch"
}

/// `/* alone */`: the statement is sent outside of any transaction.
pub(super) fn is_alone_mark(comment: &str) -> bool {
    mark(comment) == "alone"
}

fn mark(comment: &str) -> &str {
    comment.trim_start_matches("/*").trim_end_matches("*/").trim()
}

pub(super) fn unterminated(kind: TokenKind) -> bool {
    match kind {
        TokenKind::BlockComment { terminated } | TokenKind::QuotedIdent { terminated, .. } => !terminated,
        TokenKind::Literal { kind } => match kind {
            LiteralKind::Str { terminated }
            | LiteralKind::NationalStr { terminated }
            | LiteralKind::ByteStr { terminated }
            | LiteralKind::BitStr { terminated }
            | LiteralKind::DollarQuotedString { terminated }
            | LiteralKind::UnicodeEscStr { terminated }
            | LiteralKind::EscStr { terminated } => !terminated,
            LiteralKind::Int { .. } | LiteralKind::Numeric { .. } => false,
        },
        _ => false,
    }
}

/// The line, from 1, that this byte is in.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn script(sql: &str) -> Script {
        Script::new("up.sql", sql)
    }

    fn split(sql: &str) -> Vec<String> {
        script(sql).statements().unwrap().into_iter().map(|statement| statement.sql).collect()
    }

    #[rstest]
    #[case("", &[])]
    #[case("-- nothing; here\n /* ; /* ; */ ; */ ;;", &[])]
    #[case("a; b", &["a", "b"])]
    #[case("SELECT ';', E'\\';', \"x;y\", $$;$$, $a$ $$ ; $a$; b;", &["SELECT ';', E'\\';', \"x;y\", $$;$$, $a$ $$ ; $a$", "b"])]
    #[case("CREATE RULE r AS ON INSERT TO t DO (a; b); c", &["CREATE RULE r AS ON INSERT TO t DO (a; b)", "c"])]
    #[case(
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; c",
        &["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END", "c"]
    )]
    #[case("BEGIN; a; END; b", &["BEGIN", "a", "END", "b"])]
    #[case("a -- it's\n; b", &["a", "b"])]
    #[case("SELECT 1 /* ; */ + 1; ü", &["SELECT 1 /* ; */ + 1", "ü"])]
    fn only_a_semicolon_between_statements_ends_one(#[case] sql: &str, #[case] expected: &[&str]) {
        assert_eq!(split(sql), expected);
    }

    #[test]
    fn a_statement_knows_its_line() {
        let lines: Vec<_> =
            script("-- one\na;\n\n/* x\n*/ b\n;c").statements().unwrap().iter().map(|s| s.line).collect();
        assert_eq!(lines, [2, 5, 6]);
    }

    #[rstest]
    #[case("a;\n'open")]
    #[case("a;\n/* open")]
    #[case("a;\n$x$ open $$")]
    #[case("a;\n\"open")]
    fn what_does_not_end_is_told_with_its_line(#[case] sql: &str) {
        let error = script(sql).statements().unwrap_err().to_string();
        assert_eq!(error, "up.sql line 2 opens a quote or a comment that does not end");
    }

    #[rstest]
    #[case("CREATE TABLE t (id int);", "-- why\ncreate  table T(id INT)", true)]
    #[case("SELECT 'a b'", "SELECT 'a  b'", false)]
    #[case("SELECT \"A\"", "SELECT \"a\"", false)]
    #[case("a; b", "a b", false)]
    #[case("SELECT $$ -- x\n$$", "SELECT $$ $$", false)]
    fn the_second_checksum_sees_what_the_server_sees(#[case] a: &str, #[case] b: &str, #[case] same: bool) {
        let (a, b) = (script(a), script(b));
        assert_ne!(a.checksum().unwrap(), b.checksum().unwrap());
        assert_eq!(a.sql_checksum().unwrap() == b.sql_checksum().unwrap(), same);
    }
}
