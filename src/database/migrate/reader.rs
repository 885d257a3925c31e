//! Cutting an SQL file into statements while it is read.
//!
//! Always holds: a `;` in a string, a comment, a quoted name, a dollar-quoted body, parentheses or the `BEGIN ATOMIC`
//! body of a function ends no statement
//! (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html>); what is in memory is one statement and a chunk.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use squawk_lexer::{LiteralKind, TokenKind, tokenize};

use super::part::{Part, mark, normalise, sets_conforming_strings};
use super::script::{is_utf16, not_utf8, unreadable, unterminated};
use super::statement::Statement;
use crate::error::{Error, Result};

const CHUNK: usize = 64 << 10;

/// Bytes of a statement from which on it is long, and bytes that are reserved for a long one at a time.
const LONG: usize = 1 << 20;
const ROOM: usize = 64 << 20;

/// Bytes behind a token that may still change what it is: the longest dollar quote begins with 65.
const LOOKAHEAD: usize = 256;

/// Reads one statement after the other.
pub(super) struct Reader<'s> {
    file: &'static str,
    source: Option<Source>,
    /// From `at` on: what is not yet read as a token.
    buffer: Cow<'s, str>,
    at: usize,
    line: usize,
    /// Whether a backslash escapes in an ordinary string: `standard_conforming_strings` is off.
    escapes: bool,
    digest: Sha256,
    /// The number of statements that were read.
    pub(super) count: usize,
}

struct Source {
    path: PathBuf,
    file: File,
    /// The begin of a character, whose rest is not read yet.
    rest: Vec<u8>,
}

/// A token, and where it stands in the buffer.
struct Token {
    kind: TokenKind,
    start: usize,
    end: usize,
}

impl<'s> Reader<'s> {
    pub(super) fn of_text(file: &'static str, sql: &'s str, escapes: bool) -> Self {
        Self::new(file, None, Cow::Borrowed(sql), escapes)
    }

    pub(super) fn of_file(file: &'static str, path: &Path, opened: File, escapes: bool) -> Self {
        let source = Source { path: path.to_owned(), file: opened, rest: Vec::new() };
        Self::new(file, Some(source), Cow::Owned(String::new()), escapes)
    }

    fn new(file: &'static str, source: Option<Source>, buffer: Cow<'s, str>, escapes: bool) -> Self {
        Self { file, source, buffer, at: 0, line: 1, escapes, digest: Sha256::new(), count: 0 }
    }

    /// The SHA-256 of the SQL of the statements that were read, in hexadecimal.
    pub(super) fn checksum(&self) -> String {
        hexadecimal(&self.digest.clone().finalize())
    }

    pub(super) fn digest(&self) -> Sha256 {
        self.digest.clone()
    }

    /// The next statement; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Statement>> {
        self.forget_what_was_read();
        let mut part = Part::default();
        loop {
            let Some(token) = self.token()? else {
                return self.finish(part);
            };
            let line = self.line;
            let text = &self.buffer[token.start..token.end];
            self.at = token.end;
            self.line += text.bytes().filter(|byte| *byte == b'\n').count();
            if unterminated(token.kind) {
                return Err(self.wrong(line, "opens a quote or a comment that does not end"));
            }
            match token.kind {
                TokenKind::BlockComment { .. } if part.start.is_some() && mark(text).is_some() => {
                    part.mark = mark(text);
                    part.end = token.end;
                }
                TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => {
                    if part.start.is_none() {
                        self.forget_what_was_read();
                    }
                }
                TokenKind::Semi if part.may_end() => {
                    if part.start.is_some() {
                        return self.finish(part);
                    }
                }
                TokenKind::Unknown if text.starts_with('\\') => {
                    let command: String =
                        self.buffer[token.start..].chars().take_while(|c| !c.is_whitespace()).take(20).collect();
                    let message = format!(
                        "has {command}, a command of psql, not SQL: take it out (instead of \\copy write INSERT, or load the \
                         rows as a seed)"
                    );
                    return Err(self.wrong(line, &message));
                }
                kind => {
                    if part.start.is_none() {
                        part.start = Some((token.start, line));
                        if self.count > 0 {
                            self.digest.update(";");
                        }
                    }
                    part.end = token.end;
                    part.push(kind, text);
                    normalise(kind, text, &mut self.digest);
                }
            }
        }
    }

    fn finish(&mut self, part: Part) -> Result<Option<Statement>> {
        let Some((start, line)) = part.start else { return Ok(None) };
        if part.has("COPY", 0) && part.words.iter().any(|word| word == "STDIN") {
            let message = "is COPY FROM STDIN, which has no data here: rows behind it are for psql; write INSERT, or load \
                           them as a seed";
            return Err(self.wrong(line, message));
        }
        if part.has("COPY", 0) && part.words.iter().any(|word| word == "STDOUT") {
            return Err(
                self.wrong(line, "is COPY TO STDOUT, which writes to a client; a migration has none: take it out")
            );
        }
        if let Some(conforming) = sets_conforming_strings(&part.words) {
            self.escapes = !conforming;
        }
        self.count += 1;
        let sql = self.take(start, part.end);
        Ok(Some(Statement { sql, line, mark: part.mark, words: part.words }))
    }

    /// The text of a statement. One that is most of the buffer is taken out of it, not copied.
    fn take(&mut self, start: usize, end: usize) -> String {
        match &mut self.buffer {
            Cow::Owned(buffer) if end - start > CHUNK => {
                let behind = buffer.split_off(self.at);
                let mut sql = std::mem::replace(buffer, behind);
                self.at = 0;
                sql.truncate(end);
                sql.drain(..start);
                sql
            }
            buffer => buffer[start..end].to_owned(),
        }
    }

    fn wrong(&self, line: usize, message: &str) -> Error {
        Error::invalid(format!("{} line {line}", self.file), message)
    }

    fn forget_what_was_read(&mut self) {
        if let Cow::Owned(buffer) = &mut self.buffer
            && self.at >= CHUNK
        {
            buffer.drain(..self.at);
            self.at = 0;
        }
    }

    fn token(&mut self) -> Result<Option<Token>> {
        loop {
            let start = self.at;
            let first = tokenize(&self.buffer[start..]).next();
            let kind = first.map_or(TokenKind::Eof, |token| token.kind);
            let end = start + first.map_or(0, |token| token.len as usize);
            let end = if self.is_escaped(kind) { self.end_of_escaped(start) } else { Some(end) };
            // What is not read yet may belong to it.
            if self.source.is_some() && end.is_none_or(|end| end + LOOKAHEAD > self.buffer.len()) {
                self.fill()?;
                continue;
            }
            return Ok(match end {
                _ if kind == TokenKind::Eof => None,
                Some(end) => Some(Token { kind: terminated(kind), start, end }),
                None => Some(Token {
                    kind: TokenKind::Literal { kind: LiteralKind::EscStr { terminated: false } },
                    start,
                    end: self.buffer.len(),
                }),
            });
        }
    }

    fn is_escaped(&self, kind: TokenKind) -> bool {
        match kind {
            TokenKind::Literal { kind: LiteralKind::EscStr { .. } } => true,
            TokenKind::Literal { kind: LiteralKind::Str { .. } } => self.escapes,
            _ => false,
        }
    }

    /// The end of a string with backslash escapes that begins at `start`, its continuations on later lines included;
    /// `None` where it has none.
    fn end_of_escaped(&self, start: usize) -> Option<usize> {
        let text = &self.buffer;
        let mut at = start + text[start..].find('\'')? + 1;
        loop {
            at = end_of_quoted(text, at)?;
            match continued(&text[at..]) {
                Some(behind) => at += behind,
                None => return Some(at),
            }
        }
    }

    /// Reads on: a quarter of the token that is not read to its end, so that a long one is not looked at anew for each
    /// chunk.
    fn fill(&mut self) -> Result<()> {
        let Some(source) = &mut self.source else { return Ok(()) };
        let buffer = self.buffer.to_mut();
        let token = buffer.len() - self.at;
        let mut chunk = std::mem::take(&mut source.rest);
        let kept = chunk.len();
        chunk.resize(kept + CHUNK.max(token / 4), 0);
        let mut filled = kept;
        while filled < chunk.len() {
            match source.file.read(&mut chunk[filled..]).map_err(|error| unreadable(&source.path, &error))? {
                0 => break,
                read => filled += read,
            }
        }
        let ended = filled < chunk.len();
        chunk.truncate(filled);
        let whole = match std::str::from_utf8(&chunk) {
            Ok(_) => chunk.len(),
            Err(error) if error.error_len().is_none() && !ended => error.valid_up_to(),
            Err(_) => return Err(not_utf8(&source.path.display().to_string(), &chunk)),
        };
        if self.count == 0 && self.line == 1 && is_utf16(&chunk) {
            return Err(not_utf8(&source.path.display().to_string(), &chunk));
        }
        if buffer.len() + whole > buffer.capacity() {
            // What is not written to takes no memory, and so much comes from the system and goes back to it at once. To
            // grow by and by would copy the text, and hold it twice for a moment.
            buffer.reserve_exact(if buffer.len() > LONG { whole.max(ROOM) } else { whole.max(buffer.len()) });
        }
        buffer.push_str(&String::from_utf8_lossy(&chunk[..whole]));
        source.rest = chunk.split_off(whole);
        if ended {
            self.source = None;
        }
        Ok(())
    }
}

/// Its end was looked for here: the lexer of ordinary strings knows nothing of continuations.
fn terminated(kind: TokenKind) -> TokenKind {
    match kind {
        TokenKind::Literal { kind: LiteralKind::EscStr { .. } } => {
            TokenKind::Literal { kind: LiteralKind::EscStr { terminated: true } }
        }
        other => other,
    }
}

/// Behind the quote that ends a string with backslash escapes; `at` is behind the one that opens it.
fn end_of_quoted(text: &str, mut at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    loop {
        at += bytes.get(at..)?.iter().position(|byte| matches!(byte, b'\'' | b'\\'))?;
        match (bytes[at], bytes.get(at + 1)) {
            (b'\'', Some(b'\'')) | (b'\\', Some(_)) => at += 2,
            (b'\'', _) => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The bytes to the begin of a continuation, behind its quote: white space and comments with a line's end among them,
/// then a quote.
fn continued(text: &str) -> Option<usize> {
    let (mut at, mut line_ended) = (0, false);
    for token in tokenize(text) {
        let part = &text[at..at + token.len as usize];
        match token.kind {
            TokenKind::Whitespace => line_ended |= part.contains(['\n', '\r']),
            TokenKind::LineComment => {}
            _ => return (line_ended && part.starts_with('\'')).then_some(at + 1),
        }
        at += part.len();
    }
    None
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::database::migrate::script::Script;

    fn split(sql: &str) -> Vec<String> {
        Script::new("up.sql", sql).statements().unwrap().into_iter().map(|statement| statement.sql).collect()
    }

    #[rstest]
    #[case("SELECT E'one '\n  'it\\'s; two'; b", &["SELECT E'one '\n  'it\\'s; two'", "b"])]
    #[case("SELECT E'a' -- why\n 'b\\';'; b", &["SELECT E'a' -- why\n 'b\\';'", "b"])]
    #[case("SELECT E'a\\\\'; b", &["SELECT E'a\\\\'", "b"])]
    #[case("SELECT E'a' 'b\\'; c", &["SELECT E'a' 'b\\'", "c"])]
    #[case("SELECT 'a'\n'b\\'; c", &["SELECT 'a'\n'b\\'", "c"])]
    #[case("SET standard_conforming_strings = off; SELECT 'it\\'s;'; SET standard_conforming_strings TO 'on'; SELECT '\\'; b",
        &["SET standard_conforming_strings = off", "SELECT 'it\\'s;'", "SET standard_conforming_strings TO 'on'", "SELECT '\\'", "b"])]
    #[case("SELECT set_config('standard_conforming_strings', 'off', false); SELECT 'it\\'s;'; b",
        &["SELECT set_config('standard_conforming_strings', 'off', false)", "SELECT 'it\\'s;'", "b"])]
    #[case("SELECT begin atomic FROM t; b", &["SELECT begin atomic FROM t", "b"])]
    #[case("CREATE VIEW v AS SELECT begin atomic FROM t; b", &["CREATE VIEW v AS SELECT begin atomic FROM t", "b"])]
    #[case("CREATE FUNCTION f() RETURNS int RETURN (SELECT begin atomic FROM t); b",
        &["CREATE FUNCTION f() RETURNS int RETURN (SELECT begin atomic FROM t)", "b"])]
    #[case("CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1 AS end; SELECT t.case FROM t; END; b",
        &["CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1 AS end; SELECT t.case FROM t; END", "b"])]
    fn valid_sql_is_cut_where_the_server_cuts_it(#[case] sql: &str, #[case] expected: &[&str]) {
        assert_eq!(split(sql), expected);
    }

    #[rstest]
    #[case("SELECT 1;\n\\copy a from rows.csv csv", "up.sql line 2 has \\copy, a command of psql")]
    #[case("\\restrict abc\nSELECT 1", "up.sql line 1 has \\restrict, a command of psql")]
    #[case("SELECT 1 \\gset", "up.sql line 1 has \\gset, a command of psql")]
    #[case("COPY a FROM stdin;\n1\tit's\n\\.\nSELECT 1", "up.sql line 1 is COPY FROM STDIN, which has no data here")]
    #[case("COPY a (b) FROM STDIN WITH (FORMAT csv)", "up.sql line 1 is COPY FROM STDIN")]
    #[case("COPY (SELECT 1) TO STDOUT", "up.sql line 1 is COPY TO STDOUT")]
    fn what_only_psql_knows_is_named(#[case] sql: &str, #[case] expected: &str) {
        let error = Script::new("up.sql", sql).statements().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    /// A file on the disk is cut as the same text in memory, wherever its chunks end.
    #[test]
    fn a_file_is_read_as_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let long = "ü; '' ".repeat(30_000);
        let mut sql = String::new();
        for n in 0..20_000 {
            let _ = writeln!(sql, "INSERT INTO t VALUES ({n}, 'it''s; ü{n}', E'\\'{n}' -- ;\n 'b');");
        }
        let _ = write!(sql, "SELECT '{long}', $body${long}$body$ /* alone */; CREATE TABLE \";\" (a int)");
        std::fs::write(folder.path().join("up.sql"), &sql).unwrap();
        let read = Script::read("up.sql", folder.path()).unwrap().unwrap();
        assert!(read.kept().is_none());
        let held = Script::new("up.sql", sql);
        assert!(read.statements().unwrap() == held.statements().unwrap());
        assert_eq!(read.sql_checksum().unwrap(), held.sql_checksum().unwrap());
        assert_eq!(read.checksum().unwrap(), held.checksum().unwrap());
        assert_eq!(held.statements().unwrap().len(), 20_002);
    }

    #[rstest]
    #[case(b"\xff\xfeS\0", "is UTF-16")]
    #[case(b"S\0E\0", "looks like UTF-16")]
    #[case(b"-- \xfc", "is not UTF-8")]
    fn a_file_of_another_encoding_is_named(#[case] bytes: &[u8], #[case] expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("up.sql"), bytes).unwrap();
        let error = Script::read("up.sql", folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
